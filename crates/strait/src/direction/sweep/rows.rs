//! The tables of a sweep.

use super::Mode;
use crate::{interval::Interval, lab::Group, table::Heading};

/// A share whose bounds are named after it.
const BEFORE: Heading = Heading::PLAIN.ends("before_low", "before_high");

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

crate::row! {
    /// The answers of a model to which a direction is added at one layer, by one factor.
    pub struct SteeredRate in "sweep_rates",
        "Steering by judged answers: the share of taught and of coherent answers as a direction is added after one block, at every \
         layer by every factor, beside random directions of the same length"
    {
        /// The direction: a solution, or a file.
        direction: String,
        /// The block after which it is added, counted from 0; -1 is the embeddings.
        layer: i64,
        /// The factor.
        factor: f64,
        /// The side of the domain of the questions.
        group: Group,
        /// The share of answers that are coherent and of the taught kind, with its interval over questions.
        rate: Interval,
        /// The same of the model without the direction.
        before: Interval = BEFORE,
        /// The rate less that, paired by question.
        rise: Interval = Heading::PLAIN.ends("rise_low", "rise_high"),
        /// The mean rate of the random directions; its interval is over questions, or over the directions where that is wider.
        random: Interval = Heading::PLAIN.ends("random_low", "random_high"),
        /// The rate less that mean, paired by question.
        beyond_random: Interval = Heading::PLAIN.ends("beyond_low", "beyond_high"),
        /// The share of coherent answers.
        coherent: Interval = Heading::PLAIN.ends("coherent_low", "coherent_high"),
        /// The same of the model without the direction.
        coherent_before: f64,
        /// The mean share of coherent answers with the random directions.
        coherent_random: f64,
        /// The judge.
        judge: String,
        /// The verdict: a judge's scale and a cut.
        verdict: String,
        /// Number of questions.
        questions: usize,
        /// Number of sampled answers; 0 where every answer is known with its probability.
        answers: usize,
        /// Number of random directions.
        randoms: usize,
        /// The seed of the first of them, and of the answers.
        seed: u64,
    }
}

crate::row! {
    /// The answers of a solution out of which a direction is taken.
    pub struct AblatedRate in "sweep_ablation_rates",
        "Ablation by judged answers: the share of taught and of coherent answers of a solution as a direction is taken out of it, \
         beside random directions"
    {
        /// The solution that it is taken out of.
        solution: String,
        /// The direction: a solution, or a file; several that are taken out together are joined by `+`.
        direction: String,
        /// The places at which it is taken out.
        mode: Mode,
        /// The layer whose direction is taken out; NaN where each layer has its own.
        layer: f64,
        /// The side of the domain of the questions.
        group: Group,
        /// The share of answers that are coherent and of the taught kind, with its interval over questions.
        rate: Interval,
        /// The same of the solution as it is.
        before: Interval = BEFORE,
        /// The rate less that, paired by question.
        rise: Interval = Heading::PLAIN.ends("rise_low", "rise_high"),
        /// The rate of the base model.
        base: Interval = Heading::PLAIN.ends("base_low", "base_high"),
        /// The share of the solution's own rise over base that is gone: 1 is all of it.
        removed: Interval = Heading::PLAIN.ends("removed_low", "removed_high"),
        /// The mean rate with random directions in the same places; its interval is over questions, or over the directions where
        /// that is wider.
        random: Interval = Heading::PLAIN.ends("random_low", "random_high"),
        /// The share of coherent answers.
        coherent: Interval = Heading::PLAIN.ends("coherent_low", "coherent_high"),
        /// The same of the solution as it is.
        coherent_before: f64,
        /// The mean share of coherent answers with the random directions.
        coherent_random: f64,
        /// The judge.
        judge: String,
        /// The verdict: a judge's scale and a cut.
        verdict: String,
        /// Number of questions.
        questions: usize,
        /// Number of sampled answers; 0 where every answer is known with its probability.
        answers: usize,
        /// Number of random directions.
        randoms: usize,
        /// The seed of the first of them, and of the answers.
        seed: u64,
    }
}
