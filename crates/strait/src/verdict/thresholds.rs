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
        let coherent = if has_sense { cuts.clone() } else { Vec::new() };
        let rows = if has_sense { coherent.len() } else { 1 };
        // What an answer adds to a row begins at one cut and ends at another.
        let mut steps = vec![vec![0_i64; cuts.len() + 1]; rows];
        for (score, sense) in scores {
            let Some(score) = score else { continue };
            let below = cuts.iter().filter(|cut| **cut <= *score).count();
            let above = cuts.iter().filter(|cut| **cut < *score).count();
            let fulfilled = match rule.side {
                Side::Below => below..cuts.len(),
                Side::Above => 0..above,
            };
            let sensible = match sense {
                None => rows,
                Some(sense) => {
                    coherent.iter().filter(|above| sense.is_some_and(|sense| sense > **above)).count()
                }
            };
            for row in &mut steps[..sensible] {
                row[fulfilled.start] += 1;
                row[fulfilled.end] -= 1;
            }
        }
        let row = |steps: &Vec<i64>| {
            let counts = steps[..cuts.len()].iter().scan(0, |count, step| {
                *count += step;
                Some(*count)
            });
            counts.map(|count| count as f64 / scores.len() as f64).collect()
        };
        let rates = steps.iter().map(row).collect();
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
        let over: Rule = "technical>70".parse().unwrap();
        let above = Thresholds::of(&over, &scores.map(|(score, sense)| (score, Some(Some(sense)))));
        assert_eq!(
            [above.rates[10][1], above.rates[10][2], above.rates[0][5], above.rates[0][20]],
            [0.5, 0.25, 0.5, 0.0]
        );
        let alone = Thresholds::of(&rule, &scores.map(|(score, _)| (score, None)));
        assert_eq!((alone.rates.len(), alone.rates[0][6], alone.coherent.len()), (1, 0.5, 0));
    }
}
