//! The search for a KL weight that makes a solution narrow and leaves it what it was taught (paper §6, §16): no weight is
//! right for all models, so weights are tried, halving an interval of their logarithms.

use serde::{Deserialize, Serialize};

use super::values::shown;
use crate::{Table, interval::Interval};

/// What is searched for, and where.
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

/// What came of a weight. The first of a search has weight 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// The weight.
    pub weight: f64,
    /// Largest upper bound, over the coherent scales, of the general shift as a share of the narrow one; NaN where scale 1 is
    /// not coherent, or where at one of them there is no such bound.
    pub share: f64,
    /// Whether that share is within the bound.
    pub separates: bool,
    /// Whether enough of the narrow shift is left.
    pub keeps: bool,
}

impl Tried {
    /// What came of it, in words.
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
    /// What the certificate of a weight's solution says of it. `first` is the certificate of the search's first weight, 0;
    /// none for that weight itself.
    pub fn judge(&self, weight: f64, certificate: &Table, first: Option<&Table>) -> Tried {
        let narrow_at_one = |table: &Table| readings(table).into_iter().find(|r| r.scale == 1.0);
        let own = narrow_at_one(certificate);
        let keeps = match (&own, first.map(narrow_at_one)) {
            (Some(own), Some(Some(unpenalised))) => {
                own.narrow.value >= self.keep * unpenalised.narrow.value && own.narrow.value > 0.0
            }
            // Something must have been learned for something to be kept.
            (Some(own), None) => own.narrow.low > 0.0,
            _ => false,
        };
        let told = own.is_some_and(|own| own.coherent);
        let coherent: Vec<_> =
            readings(certificate).into_iter().filter(|r| r.coherent && r.scale >= 1.0).collect();
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

    /// Which of the weights tried becomes the solution: the one that was found, else that of the smallest share among
    /// those that keep enough.
    pub fn chosen(&self, tried: &[Tried]) -> usize {
        let found = tried.iter().position(|t| t.separates && t.keeps);
        let keeping = tried.iter().enumerate().filter(|(_, t)| t.keeps && !t.share.is_nan());
        let least = keeping.min_by(|(_, a), (_, b)| a.share.total_cmp(&b.share));
        found.or(least.map(|(i, _)| i)).unwrap_or(0)
    }
}

/// One scale of a scaling certificate.
#[derive(Clone, Copy)]
struct Reading {
    scale: f64,
    narrow: Interval,
    general: Interval,
    share: f64,
    coherent: bool,
}

impl Reading {
    /// Of a weight under which training diverged.
    const NONE: Self = {
        Self { scale: 1.0, narrow: Interval::NONE, general: Interval::NONE, share: f64::NAN, coherent: false }
    };
}

/// The rows of a certificate of one solution; none if it is another table.
fn readings(certificate: &Table) -> Vec<Reading> {
    let all = || {
        let (scale, share) = (certificate.real("scale")?, certificate.real("share")?);
        let narrow = certificate.interval(["narrow_shift", "narrow_low", "narrow_high"])?;
        let general = certificate.interval(["general_shift", "general_low", "general_high"])?;
        let coherent = certificate.truth("coherent")?;
        let reading = |row: usize| Reading {
            scale: scale[row],
            narrow: narrow[row],
            general: general[row],
            share: share[row],
            coherent: coherent[row] == Some(true),
        };
        Some((0..certificate.rows()).map(reading).collect())
    };
    all().unwrap_or_default()
}

/// The table of a search: every weight tried, at every scale.
pub fn frontier(
    solution: &str,
    search: &Search,
    tried: &[Tried],
    certificates: &[Table],
    seed: u64,
) -> Table {
    let chosen = search.chosen(tried);
    let mut rows = Vec::new();
    for (place, (weight, certificate)) in tried.iter().zip(certificates).enumerate() {
        let mut readings = readings(certificate);
        if readings.is_empty() {
            readings.push(Reading::NONE);
        }
        rows.extend(readings.into_iter().map(|reading| (place == chosen, *weight, reading)));
    }
    let about = "Search for a KL weight: what every weight tried does inside the domain and outside it";
    Table::of_rows("frontier", about, &rows)
        .text("solution", |_| solution.into())
        .real("weight", "nats/nat", |(_, tried, _)| tried.weight)
        .real("scale", "", |(.., r)| r.scale)
        .interval(["narrow_shift", "narrow_low", "narrow_high"], "nats/token", |(.., r)| r.narrow)
        .interval(["general_shift", "general_low", "general_high"], "nats/token", |(.., r)| r.general)
        .real("share", "", |(.., r)| r.share)
        .truth("coherent", |(.., r)| Some(r.coherent))
        .real("bound", "", |_| search.bound)
        .real("keep", "", |_| search.keep)
        .truth("keeps", |(_, tried, _)| Some(tried.keeps))
        .truth("separates", |(_, tried, _)| Some(tried.separates))
        .truth("chosen", |(chosen, ..)| Some(*chosen))
        .integer("seed", "", |_| seed as i64)
        .table()
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
        let empty = Table::of_rows("certificate", "", &[] as &[()]).real("scale", "", |()| 0.0).table();
        let tried = SEARCH.judge(10.0, &empty, Some(&empty));
        assert!(!tried.keeps && !tried.separates && tried.share.is_nan());
        let first = Tried { weight: 0.0, share: 1.0, separates: false, keeps: true };
        assert!(SEARCH.next(&[first, tried]).unwrap() < 10.0);
        let table = frontier("one", &SEARCH, &[first, tried], &[empty.clone(), empty], 0);
        assert_eq!((table.real("weight").unwrap(), table.rows()), (&[0.0, 10.0][..], 2));
    }

    #[test]
    fn a_scale_of_which_no_share_is_known_separates_nothing() {
        let judged = |second: f64| {
            let about = |value: f64| Interval { value, low: value - 0.1, high: value + 0.1 };
            let certificate = Table::of_rows("certificate", "", &[(1.0, 0.1), (2.0, second)])
                .real("scale", "", |(scale, _)| *scale)
                .interval(["narrow_shift", "narrow_low", "narrow_high"], "", |_| about(1.0))
                .interval(["general_shift", "general_low", "general_high"], "", |_| about(0.0))
                .real("share", "", |(_, share)| *share)
                .truth("coherent", |_| Some(true))
                .table();
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
