//! `[measure]`: what all measures share. Each declares its own keys.

use crate::{
    keys::{count, keys, list_with, most, number, positive},
    measure::{AS_TRAINED, list::OwnKeys},
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
        /// Training rows that efficiency, stability and gradient read, chosen by seeds.sampling.
        rows: usize = count(2..=most::ROWS), default 100;
        + asked: OwnKeys;
    }
}
