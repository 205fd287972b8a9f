//! Tables of scalars.

use super::Scalars;
use crate::interval::{deviation, mean};

crate::row! {
    /// A response token with its scalars.
    pub struct TokenScalars in "scalars", "Scalars A x of every response token, a column for each" {
        /// The class of the row, or nothing.
        class: String,
        /// The row, counted from 1 within its class.
        row: usize,
        /// The token, counted from 1 within the row's response.
        token: usize,
        /// Its text.
        text: String,
        /// Its significance in nats; empty where it was not asked for.
        significance: f64 = crate::table::Heading::unit("nats"),
        /// True if it is among the tokens that are counted.
        kept: bool,
        /// The scalars.
        scalar: Vec<(String, f64)>,
    }
}

crate::row! {
    /// A scalar over all tokens that are counted.
    pub struct ReadScalar in "read", "Scalars of adapters over response tokens" {
        /// The scalar: its module, with a number behind it where the rank is above 1.
        scalar: String,
        /// Its mean.
        mean: f64,
        /// Its deviation.
        deviation: f64,
        /// The smallest.
        least: f64,
        /// The largest.
        greatest: f64,
    }
}

impl Scalars {
    /// Each scalar over all tokens, or over those that are kept.
    pub fn summary(&self, kept: Option<&[Vec<bool>]>) -> Vec<ReadScalar> {
        let is_kept = |row: usize, token: usize| kept.is_none_or(|kept| kept[row][token]);
        let of = |(at, name): (usize, &String)| {
            let rows = self.rows.iter().enumerate();
            let values = rows.flat_map(|(row, tokens)| {
                let counted = tokens.iter().enumerate().filter(move |(token, _)| is_kept(row, *token));
                counted.map(move |(_, token)| token[at])
            });
            let values: Vec<f64> = values.collect();
            ReadScalar {
                scalar: name.clone(),
                mean: mean(values.iter().copied()),
                deviation: deviation(&values),
                least: values.iter().copied().fold(f64::INFINITY, f64::min),
                greatest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            }
        };
        self.names.iter().enumerate().map(of).collect()
    }
}
