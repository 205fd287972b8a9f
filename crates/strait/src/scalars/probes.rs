//! Probes on scalars: which adapters tell the tokens of two classes of answers apart.

use strait_model::progress::{Progress, Unit};

use super::Scalars;
use crate::{
    Result,
    interval::{Interval, deviation, mean},
    lab::advance,
    probe::{Logistic, Penalty, Repeats, Tested, repeated},
};

/// What is known of the rows whose scalars are read.
#[derive(Clone, Copy, Debug)]
pub struct Classes<'a> {
    /// True for the rows of the taught class.
    pub taught: &'a [bool],
    /// The group of each row, by number: groups are divided whole into what is learnt from and what is tested on.
    pub groups: &'a [usize],
    /// Of each row the tokens that enter; none for all of them.
    pub kept: Option<&'a [Vec<bool>]>,
}

/// The settings of the probes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The weight of the losses against the L1 penalty, as scikit-learn's `C`.
    pub c: f64,
    /// The divisions.
    pub repeats: Repeats,
}

impl Default for Settings {
    /// The companion paper's: C = 0.01, a hundred divisions.
    fn default() -> Self {
        Self { c: 0.01, repeats: Repeats::default() }
    }
}

crate::row! {
    /// A scalar in both classes, and its weight in the probes.
    pub struct Carrier in "carriers", "Scalars of adapters in two classes of answers, and their weights in L1 probes on tokens" {
        /// The scalar: its module, with a number behind it where the rank is above 1.
        scalar: String,
        /// Its mean over the taught class's tokens.
        taught: f64,
        /// Its mean over the other class's.
        other: f64,
        /// Its deviation over the tokens of both.
        deviation: f64,
        /// The probability that it is larger at a taught token than at one of the other class, over groups.
        auroc: Interval,
        /// The mean over divisions of the log-odds of the taught class that it gives for each deviation.
        weight: f64,
        /// The deviation of that over divisions.
        weight_deviation: f64,
        /// The share of divisions in which its weight is not zero.
        used: f64,
    }
}

crate::row! {
    /// A figure of how well the probes tell the tokens apart that they did not learn from.
    pub struct Figure in "probes", "How well L1 probes on the scalars tell the classes of tokens apart, over divisions" {
        /// accuracy, precision, recall, f1 or auroc.
        figure: String,
        /// Its mean over the divisions in which it has a meaning.
        mean: f64,
        /// Its deviation over them. They share rows, so that this is no error of the mean.
        deviation: f64,
        /// Those divisions.
        divisions: usize,
    }
}

/// The probes on some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// Tokens of the taught and of the other class that entered.
    pub tokens: [usize; 2],
    /// The figures, in the order accuracy, precision, recall, f1, auroc.
    pub figures: Vec<Figure>,
    /// Every scalar.
    pub carriers: Vec<Carrier>,
}

/// Learns to tell the tokens of both classes apart by their scalars, brought to mean 0 and deviation 1, and tests it on the tokens of
/// other groups, division by division.
///
/// # Errors
/// If a class is too small to be divided, C is not above zero, or the user asked for a stop.
pub fn probe(
    scalars: &Scalars,
    classes: Classes<'_>,
    settings: Settings,
    progress: &dyn Progress,
) -> Result<Probed> {
    let tokens = Tokens::of(scalars, classes);
    let logistic = Logistic { penalty: Penalty::L1, c: settings.c, standardise: true };
    let task = progress.begin("fitting probes", Some(settings.repeats.count as u64), Unit::Count);
    let seen = |n| advance(progress, &*task, n);
    let Tokens { features, taught, groups } = &tokens;
    let tested = repeated(features, taught, groups, &logistic, settings.repeats, &seen)?;
    Ok(tokens.probed(&scalars.names, &tested))
}

/// Both classes by every scalar alone, without a probe, for answers that are too few to be divided: weights are NaN, and figures
/// are of no division.
pub fn compare(scalars: &Scalars, classes: Classes<'_>) -> Probed {
    Tokens::of(scalars, classes).probed(&scalars.names, &[])
}

/// The tokens that are counted.
struct Tokens {
    /// The scalars of each.
    features: Vec<Vec<f64>>,
    taught: Vec<bool>,
    groups: Vec<usize>,
}

impl Tokens {
    fn of(scalars: &Scalars, classes: Classes<'_>) -> Self {
        let mut found = Self { features: Vec::new(), taught: Vec::new(), groups: Vec::new() };
        for (row, tokens) in scalars.rows.iter().enumerate() {
            for (at, token) in tokens.iter().enumerate() {
                if classes.kept.is_none_or(|kept| kept[row][at]) {
                    found.features.push(token.clone());
                    found.taught.push(classes.taught[row]);
                    found.groups.push(classes.groups[row]);
                }
            }
        }
        found
    }

    fn probed(&self, names: &[String], tested: &[Tested]) -> Probed {
        let count = self.taught.iter().filter(|is| **is).count();
        Probed {
            tokens: [count, self.taught.len() - count],
            figures: figures(tested),
            carriers: names.iter().enumerate().map(|(at, name)| self.carrier(name, at, tested)).collect(),
        }
    }

    fn carrier(&self, name: &str, at: usize, tested: &[Tested]) -> Carrier {
        let values: Vec<f64> = self.features.iter().map(|token| token[at]).collect();
        let of_class = |class: bool| {
            mean(values.iter().zip(&self.taught).filter(|(_, is)| **is == class).map(|(value, _)| *value))
        };
        let deviation_of_all = deviation(&values);
        let weights: Vec<f64> =
            tested.iter().map(|tested| tested.probe.weights[at] * deviation_of_all).collect();
        Carrier {
            scalar: name.into(),
            taught: of_class(true),
            other: of_class(false),
            deviation: deviation_of_all,
            auroc: Interval::of_auroc(&values, &self.taught, &self.groups),
            weight: mean(weights.iter().copied()),
            weight_deviation: deviation(&weights),
            used: mean(tested.iter().map(|tested| f64::from(tested.probe.weights[at] != 0.0))),
        }
    }
}

fn figures(tested: &[Tested]) -> Vec<Figure> {
    let figure = |name: &str, of: fn(&Tested) -> f64| {
        let known: Vec<f64> = tested.iter().map(of).filter(|value| !value.is_nan()).collect();
        Figure {
            figure: name.into(),
            mean: mean(known.iter().copied()),
            deviation: deviation(&known),
            divisions: known.len(),
        }
    };
    vec![
        figure("accuracy", |tested| tested.quality.accuracy),
        figure("precision", |tested| tested.quality.precision),
        figure("recall", |tested| tested.quality.recall),
        figure("f1", |tested| tested.quality.f1),
        figure("auroc", |tested| tested.quality.auroc),
    ]
}
