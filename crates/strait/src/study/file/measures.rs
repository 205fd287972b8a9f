//! `[measure]`: what is measured, and how.

use crate::{
    keys::{
        Several, count, keys, list, list_with, most, number, off_or_table, positive, several, switch, table,
        word,
    },
    measure::{EfficiencySettings, SignificanceSettings, StabilitySettings},
};

keys! {
    /// `[measure]`.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct MeasureKeys {
        /// Factors for the certificate: a narrow solution must stay narrow when it is scaled up, as a weak penalty only hides.
        scales: Vec<f64> = list_with(positive(most::FACTOR), 1.0, AS_TRAINED), default vec![1.0, 2.0, 4.0];
        /// The most that the general shift of a narrow solution may be, at the upper end of its interval, as a share of the narrow one.
        certificate: f64 = number(0.0..=1.0), default 0.25;
        /// Nats per token that answers may become less likely by until a scale no longer counts.
        coherence: f64 = positive(most::FACTOR), default 1.0;
        /// Of no effect any more, since no interval is drawn at random; read for older studies.
        resamples: usize = count(100..=100_000), left_out "the same";
        /// Training rows that efficiency and stability read, chosen by seeds.sampling.
        rows: usize = count(2..=most::ROWS), default 100;
        /// Loss as solutions are scaled, and at norms they share.
        efficiency: Option<EfficiencyKeys> = switch("{ factors = [0, 1, 2] }"), default Some(EfficiencyKeys::default());
        /// Loss under noise, of which each share costs a pass a seed.
        stability: Option<StabilityKeys> = switch("{ seeds = 10 }"), default Some(StabilityKeys::default());
        /// How much the solutions change plain text, beside random directions as long as they are. It is measured where `text`
        /// is given: `.txt` (paragraphs), `.jsonl` (`text` of each line) or `.parquet` (column `text`), a path or a list of
        /// them. Norms are multiples of the mean norm of the solutions as trained.
        significance: Option<SignificanceKeys> = off_or_table(r#"{ text = "passages.jsonl" }"#), default None;
        /// Reading at every checkpoint of a solution that goes on from another.
        drift: DriftKeys = table(), default DriftKeys::default();
    }
}

/// Why 1 is among factors.
const AS_TRAINED: &str = "it is the solution as trained";

keys! {
    /// `measure.efficiency`, by default with the paper's factors (paper §10.1).
    #[derive(Clone, Debug, Default)]
    pub(crate) struct EfficiencyKeys {
        /// Factors that solutions are scaled by.
        factors: Vec<f64> = list_with(number(0.0..=most::FACTOR), 1.0, AS_TRAINED),
            default (0..=8).map(|quarters| f64::from(quarters) / 4.0).collect();
        /// How many norms all solutions are brought to.
        norms: usize = count(1..=most::PASSES), default 8;
    }
}

impl EfficiencyKeys {
    /// What they mean.
    pub fn settings(&self) -> EfficiencySettings {
        EfficiencySettings { factors: self.factors(), norms: self.norms() }
    }
}

keys! {
    /// `measure.stability`, by default with about half of the paper's shares (paper §10.2): each costs a pass a seed.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct StabilityKeys {
        /// Shares of noise.
        epsilons: Vec<f64> = list(positive(1.0)), default vec![0.05, 0.1, 0.2, 0.4, 0.7, 1.0];
        /// How often the noise is drawn.
        seeds: usize = count(2..=most::PASSES), default 10;
    }
}

impl StabilityKeys {
    /// What they mean.
    pub fn settings(&self) -> StabilitySettings {
        StabilitySettings { epsilons: self.epsilons(), seeds: self.seeds() }
    }
}

keys! {
    /// `measure.significance`.
    #[derive(Clone, Debug)]
    pub(crate) struct SignificanceKeys {
        /// Files of passages.
        text: Several<String> = several(word()), required;
        /// Passages that are read.
        passages: usize = count(2..=most::ROWS), default 100;
        /// The most tokens of a passage that are read.
        tokens: usize = count(2..=most::TOKENS), default 512;
        /// Random directions beside each solution.
        random: usize = count(1..=most::PASSES), default 5;
        /// Multiples of the mean norm of the solutions as trained.
        norms: Vec<f64> = list(positive(most::FACTOR)), default vec![0.25, 0.5, 1.0, 1.5, 2.0];
    }
}

impl SignificanceKeys {
    /// The directions that they mean.
    pub fn directions(&self) -> SignificanceSettings {
        SignificanceSettings { norms: self.norms(), random: self.random() }
    }
}

keys! {
    /// `[measure.drift]`.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct DriftKeys {
        /// The most pairs of each group read at every checkpoint of a drift.
        pairs: usize = count(2..=most::ROWS), left_out "all";
    }
}
