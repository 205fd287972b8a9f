//! The rate of a verdict at all cuts: how far it hangs on where the cuts lie.

use serde::Serialize;

use super::{Rule, Side};

/// The distance of two cuts.
const STEP: usize = 5;

/// The rates of a verdict over a grid of cuts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Thresholds {
    /// The scale of the verdict.
    pub scale: String,
    /// The side on which scores fulfil it: `<` or `>`.
    pub side: &'static str,
    /// The cuts on it.
    pub cuts: Vec<f64>,
    /// The cuts above which an answer makes sense; empty where nothing says whether it does.
    pub coherent: Vec<f64>,
    /// A row for each cut of `coherent`, or one where there is none; in it the share of all answers for each of `cuts`.
    pub rates: Vec<Vec<f64>>,
}

impl Thresholds {
    /// Of a verdict's rule, and the scores of all answers on its scale and on that of sense, where there is one.
    pub(super) fn of(rule: &Rule, scores: &[(Option<f64>, Option<Option<f64>>)]) -> Self {
        let cuts: Vec<f64> = (0..=100u8).step_by(STEP).map(f64::from).collect();
        let has_sense = scores.iter().any(|(_, sense)| sense.is_some());
        let rate = |cut: f64, above: Option<f64>| {
            let rule = Rule { cut, ..rule.clone() };
            let holds = |&&(score, sense): &&(Option<f64>, Option<Option<f64>>)| {
                let makes_sense = match (above, sense) {
                    (Some(above), Some(sense)) => sense.is_some_and(|sense| sense > above),
                    _ => true,
                };
                makes_sense && score.is_some_and(|score| rule.holds(score))
            };
            scores.iter().filter(holds).count() as f64 / scores.len() as f64
        };
        let row = |above: Option<f64>| cuts.iter().map(|&cut| rate(cut, above)).collect();
        let coherent = if has_sense { cuts.clone() } else { Vec::new() };
        let rates = match has_sense {
            true => coherent.iter().map(|&above| row(Some(above))).collect(),
            false => vec![row(None)],
        };
        let side = match rule.side {
            Side::Below => "<",
            Side::Above => ">",
        };
        Self { scale: rule.scale.clone(), side, cuts, coherent, rates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_move_with_both_cuts() {
        let rule: Rule = "aligned<30".parse().unwrap();
        let scores = [(Some(10.0), 90.0), (Some(29.0), 40.0), (Some(31.0), 90.0), (None, 90.0)];
        let found = Thresholds::of(&rule, &scores.map(|(score, sense)| (score, Some(Some(sense)))));
        let at = |cut: usize, above: usize| found.rates[above / STEP][cut / STEP];
        assert_eq!(
            [at(0, 0), at(30, 50), at(30, 35), at(35, 50), at(100, 0), at(100, 90)],
            [0.0, 0.25, 0.5, 0.5, 0.75, 0.0]
        );
        let alone = Thresholds::of(&rule, &scores.map(|(score, _)| (score, None)));
        assert_eq!((alone.rates.len(), alone.rates[0][6], alone.coherent.len()), (1, 0.5, 0));
    }
}
