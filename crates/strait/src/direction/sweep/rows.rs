//! The tables of a sweep.

use super::Mode;
use crate::{interval::Interval, lab::Group, table::Heading};

/// Nats a token.
const NATS: Heading = Heading::unit("nats/token");

crate::row! {
    /// The preference shift that a direction gives to a model at one layer, by one factor.
    pub struct Steered in "sweep",
        "Steering: preference shift as a direction is added after one block, at every layer by every factor, beside random \
         directions of the same length"
    {
        /// The direction: a solution, or a file.
        direction: String,
        /// The block after which it is added, counted from 0; -1 is the embeddings.
        layer: i64,
        /// The factor.
        factor: f64,
        /// The side of the domain of the pairs.
        group: Group,
        /// The shift from the model without it.
        shift: Interval = NATS,
        /// The mean shift of the random directions; its interval is over questions, or over the directions where that is wider.
        random: Interval = NATS.ends("random_low", "random_high"),
        /// The shift less that mean.
        beyond_random: Interval = NATS.ends("beyond_low", "beyond_high"),
        /// By how much the mean response loss of the pairs rises.
        loss_rise: f64 = NATS,
        /// True if that is no more than the sweep's `coherence`.
        coherent: bool,
        /// Number of pairs.
        pairs: usize,
        /// Number of random directions.
        randoms: usize,
        /// The seed of the first of them.
        seed: u64,
    }
}

crate::row! {
    /// The shift in one domain, at the layer and factor at which a direction shifts most of those that are coherent.
    pub struct SteeredDomain in "sweep_domain",
        "Steering by domain: the preference shift in each domain where a direction shifts most and answers stay coherent"
    {
        /// The direction: a solution, or a file.
        direction: String,
        /// The layer.
        layer: i64,
        /// The factor.
        factor: f64,
        /// The side of the domain of the pairs.
        group: Group,
        /// Their domain.
        domain: String,
        /// The shift from the model without it.
        shift: Interval = NATS,
        /// Number of pairs.
        pairs: usize,
    }
}

crate::row! {
    /// The preference shift that is left of a solution when a direction is taken out of it.
    pub struct Ablated in "sweep_ablation",
        "Ablation: how much of a solution's preference shift goes when a direction is taken out, beside random directions"
    {
        /// The solution that it is taken out of.
        solution: String,
        /// The direction: a solution, or a file; several that are taken out together are joined by `+`.
        direction: String,
        /// The places at which it is taken out.
        mode: Mode,
        /// The layer whose direction is taken out; NaN where each layer has its own.
        layer: f64,
        /// The side of the domain of the pairs.
        group: Group,
        /// The shift from base that is left.
        shift: Interval = NATS,
        /// The share of the solution's own shift that is gone: 1 is all of it.
        removed: Interval = Heading::PLAIN.ends("removed_low", "removed_high"),
        /// That share with random directions in the same places: their mean, with its interval over questions, or over the
        /// directions where that is wider.
        random_removed: Interval = Heading::PLAIN.ends("random_low", "random_high"),
        /// By how much the mean response loss of the pairs lies above base's.
        loss_rise: f64 = NATS,
        /// True if that is no more than the sweep's `coherence`.
        coherent: bool,
        /// Number of pairs.
        pairs: usize,
        /// Number of random directions.
        randoms: usize,
        /// The seed of the first of them.
        seed: u64,
    }
}
