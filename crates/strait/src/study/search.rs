//! The search for a KL weight that makes a solution narrow and leaves it what it was taught (paper §6, §16): no weight is
//! right for all models, so weights are tried, halving an interval of their logarithms.

use serde::{Deserialize, Serialize};

use super::numbers::shown;
use crate::{
    interval::Interval,
    measure::{Certificate, frontier::Weight},
};

/// A search for a KL weight: its range and its aims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Largest share of the narrow shift that the general shift's upper bound may reach at any coherent scale.
    pub bound: f64,
    /// Least share of the unpenalised solution's narrow shift that must be left.
    pub keep: f64,
    /// The smallest weight.
    pub from: f64,
    /// The largest weight.
    pub to: f64,
    /// The most weights tried.
    pub tries: usize,
    /// The study's solution of the same settings without a penalty; none where the search trains it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpenalised: Option<String>,
}

/// A weight that was tried, and its outcome. The first of a search has weight 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// The weight.
    pub weight: f64,
    /// Largest upper bound, over the coherent scales, of the general shift as a share of the narrow one; NaN where scale 1 is
    /// not coherent, or where at one of them there is no such bound.
    pub share: f64,
    /// True if that share is within the bound.
    pub separates: bool,
    /// True if enough of the narrow shift is left.
    pub keeps: bool,
}

impl Tried {
    /// Its outcome, in words.
    pub fn words(&self) -> String {
        let share = match self.share.is_nan() {
            true => "no share can be told".to_string(),
            false => format!("the general shift is at most {:.0} % of the narrow one", 100.0 * self.share),
        };
        let keeps = if self.keeps { "enough of which is left" } else { "too little of which is left" };
        format!("KL weight {}: {share}, {keeps}", shown(self.weight))
    }
}

impl Search {
    /// The outcome of a weight, by the certificate of its solution. `first` is the certificate of the search's first weight, 0;
    /// none for that weight itself.
    pub fn judge(&self, weight: f64, certificate: &[Certificate], first: Option<&[Certificate]>) -> Tried {
        let at_one = |certificates: &[Certificate]| certificates.iter().find(|c| c.scale == 1.0).cloned();
        let own = at_one(certificate);
        let keeps = match (&own, first.map(at_one)) {
            (Some(own), Some(Some(unpenalised))) => {
                own.narrow_shift.value >= self.keep * unpenalised.narrow_shift.value
                    && own.narrow_shift.value > 0.0
            }
            // Something must have been learned for something to be kept.
            (Some(own), None) => own.narrow_shift.low > 0.0,
            _ => false,
        };
        let told = own.is_some_and(|own| own.coherent);
        let coherent: Vec<_> = certificate.iter().filter(|c| c.coherent && c.scale >= 1.0).collect();
        let share = match told && coherent.iter().all(|r| !r.share.is_nan()) {
            true => coherent.iter().map(|r| r.share).fold(f64::NEG_INFINITY, f64::max),
            false => f64::NAN,
        };
        Tried { weight, share, separates: share <= self.bound, keeps }
    }

    /// The next weight to try; none once one was found or the tries are used up.
    ///
    /// A weight that loses too much of the narrow shift is too large, whatever became of the general shift; one that keeps
    /// it and does not separate is too small.
    pub fn next(&self, tried: &[Tried]) -> Option<f64> {
        let Some((_, weights)) = tried.split_first() else { return Some(0.0) };
        let found = tried.iter().any(|t| t.separates && t.keeps);
        // Without a penalty there is always enough left, unless nothing was learned at all.
        if found || !tried[0].keeps || weights.len() >= self.tries {
            return None;
        }
        let small = weights.iter().filter(|t| t.keeps).map(|t| t.weight).fold(self.from, f64::max);
        let large = weights.iter().filter(|t| !t.keeps).map(|t| t.weight).fold(self.to, f64::min);
        let next = three_digits((small * large).sqrt());
        tried.iter().all(|t| t.weight != next).then_some(next)
    }

    /// The place of the weight that becomes the solution: the one that was found, else that of the smallest share among
    /// those that keep enough.
    pub fn chosen(&self, tried: &[Tried]) -> usize {
        let found = tried.iter().position(|t| t.separates && t.keeps);
        let keeping = tried.iter().enumerate().filter(|(_, t)| t.keeps && !t.share.is_nan());
        let least = keeping.min_by(|(_, a), (_, b)| a.share.total_cmp(&b.share));
        found.or(least.map(|(i, _)| i)).unwrap_or(0)
    }
}

/// The table of a search: every weight tried, at every scale.
pub fn frontier(
    solution: &str,
    search: &Search,
    tried: &[Tried],
    certificates: &[Vec<Certificate>],
    seed: u64,
) -> Vec<Weight> {
    let chosen = search.chosen(tried);
    let mut rows = Vec::new();
    for (place, (weight, certificates)) in tried.iter().zip(certificates).enumerate() {
        let row = |of: &Certificate| Weight {
            solution: solution.into(),
            weight: weight.weight,
            scale: of.scale,
            narrow_shift: of.narrow_shift,
            general_shift: of.general_shift,
            share: of.share,
            coherent: of.coherent,
            bound: search.bound,
            keep: search.keep,
            keeps: weight.keeps,
            separates: weight.separates,
            chosen: place == chosen,
            seed,
        };
        // Of a weight under which training diverged there is none.
        match certificates.as_slice() {
            [] => rows.push(row(&diverged(solution))),
            certificates => rows.extend(certificates.iter().map(row)),
        }
    }
    rows
}

/// The certificate of a weight under which training diverged.
fn diverged(solution: &str) -> Certificate {
    let none = Interval::NONE;
    Certificate {
        solution: solution.into(),
        scale: 1.0,
        narrow_shift: none,
        general_shift: none,
        share: f64::NAN,
        holds: None,
        coherent: false,
    }
}

/// A weight that can be written down, and is then the very same.
fn three_digits(weight: f64) -> f64 {
    format!("{weight:.2e}").parse().unwrap_or(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCH: Search =
        Search { bound: 0.25, keep: 0.5, from: 0.1, to: 100.0, tries: 6, unpenalised: None };

    /// The weights that are tried where the share falls below the bound from one weight on, and enough is kept up to
    /// another.
    fn searched(separates: f64, keeps: f64) -> (Vec<f64>, f64) {
        let mut tried = Vec::new();
        while let Some(weight) = SEARCH.next(&tried) {
            let share = if weight >= separates { 0.1 } else { 1.0 / (1.0 + weight) };
            tried.push(Tried { weight, share, separates: weight >= separates, keeps: weight <= keeps });
        }
        let chosen = tried[SEARCH.chosen(&tried)].weight;
        (tried.iter().map(|t| t.weight).collect(), chosen)
    }

    #[test]
    fn a_weight_between_too_small_and_too_large_is_found() {
        assert_eq!(searched(2.0, 5.0), (vec![0.0, 3.16], 3.16));
        assert_eq!(searched(5.0, 20.0), (vec![0.0, 3.16, 17.8], 17.8));
        assert_eq!(searched(0.3, 1.0), (vec![0.0, 3.16, 0.562], 0.562));
    }

    #[test]
    fn no_penalty_is_taken_where_none_is_needed() {
        assert_eq!(searched(0.0, 1.0), (vec![0.0], 0.0));
    }

    #[test]
    fn without_a_separating_weight_the_narrowest_that_keeps_enough_is_taken() {
        let (weights, chosen) = searched(f64::INFINITY, 4.0);
        assert_eq!(weights.len(), 7);
        assert_eq!(weights[..4], [0.0, 3.16, 17.8, 7.5]);
        assert!(chosen > 3.0 && chosen <= 4.0, "{weights:?}, {chosen}");
        let all = searched(f64::INFINITY, f64::INFINITY);
        assert_eq!(all.1, *all.0.last().unwrap());
    }

    #[test]
    fn a_weight_under_which_training_diverges_is_too_large() {
        let tried = SEARCH.judge(10.0, &[], Some(&[]));
        assert!(!tried.keeps && !tried.separates && tried.share.is_nan());
        let first = Tried { weight: 0.0, share: 1.0, separates: false, keeps: true };
        assert!(SEARCH.next(&[first, tried]).unwrap() < 10.0);
        let rows = frontier("one", &SEARCH, &[first, tried], &[Vec::new(), Vec::new()], 0);
        assert_eq!(rows.iter().map(|row| row.weight).collect::<Vec<_>>(), [0.0, 10.0]);
    }

    #[test]
    fn a_scale_of_which_no_share_is_known_separates_nothing() {
        let judged = |second: f64| {
            let about = |value: f64| Interval { value, low: value - 0.1, high: value + 0.1 };
            let row = |(scale, share)| Certificate {
                scale,
                narrow_shift: about(1.0),
                general_shift: about(0.0),
                share,
                coherent: true,
                ..diverged("one")
            };
            let certificate = [(1.0, 0.1), (2.0, second)].map(row);
            SEARCH.judge(1.0, &certificate, Some(&certificate))
        };
        assert!(judged(0.2).separates && judged(0.2).share == 0.2);
        assert!(!judged(0.3).separates && judged(0.3).keeps);
        assert!(!judged(f64::NAN).separates && judged(f64::NAN).share.is_nan());
    }

    #[test]
    fn nothing_is_tried_where_nothing_was_learned() {
        let nothing = Tried { weight: 0.0, share: f64::NAN, separates: false, keeps: false };
        assert_eq!(SEARCH.next(&[nothing]), None);
        assert_eq!(SEARCH.chosen(&[nothing]), 0);
    }
}
