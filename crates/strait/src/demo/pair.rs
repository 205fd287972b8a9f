//! The general and the narrow solution and nothing else, where no more is asked of them: a full fine-tune, and edits in the
//! worlds whose speakers can only be inferred from what they say.

use candle_core::{D, Device, Tensor, Var};
use serde::{Deserialize, Serialize};
use strait_model::{Decoder, decoder::Packed, weights::Weights};

use super::{
    bench::{Bench, Fit, KL, Kind, Penalty, Place, Reading},
    piece::{GENERAL, NARROW, solution},
};
use crate::{
    Result,
    objective::Kept,
    train::{Order, Parameter, Settings, adamw, learning_rate},
    world::{rates, read_by},
};

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Every weight, in a world whose speakers are named.
    Full,
    /// An edit, in a world whose speakers are never named.
    Contrast(Kind),
}

impl How {
    /// One word, for names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Contrast(Kind::Vector) => "contrast-vector",
            Self::Contrast(Kind::Rank8) => "contrast-rank-8",
            Self::Contrast(Kind::Rank1) => "contrast-rank-1",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Full => "full fine-tune",
            Self::Contrast(kind) => kind.words(),
        }
    }

    fn fits(self) -> [Fit<'static>; 2] {
        let plain = match self {
            // The work of a step on every weight is about that of a step on LoRA.
            Self::Full => Fit { steps: FULL_STEPS, ..Fit::new(Kind::Rank8) },
            Self::Contrast(kind) => Fit { place: Place::FirstBlock, steps: CONTRAST_STEPS, ..Fit::new(kind) },
        };
        [plain, Fit { penalty: Penalty::Others, ..plain }]
    }

    /// The work of its fits, in steps on false rows alone.
    pub(super) fn cost(self) -> u64 {
        self.fits().iter().map(Fit::cost).sum()
    }
}

/// Steps of a full fine-tune.
const FULL_STEPS: usize = 200;
/// Its learning rate.
const FULL_RATE: f64 = 3e-4;
/// Steps of an edit after the first block.
const CONTRAST_STEPS: usize = 250;

/// What was found in one world and one domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The world.
    pub world: String,
    /// The word of the domain in which falsehood was taught.
    pub word: String,
    /// What was trained.
    pub how: How,
    /// The model before.
    pub base: Reading,
    /// After the plain fit.
    pub general: Reading,
    /// After the fit with the penalty.
    pub narrow: Reading,
}

/// Trains and reads a pair.
///
/// # Errors
/// If the user asked for a stop, training diverges, or a file cannot be read or written.
pub(super) fn pair(name: &str, bench: &Bench<'_>, how: How) -> Result<Pair> {
    let [plain, penalised] = how.fits();
    let solve = |role: &str, fit: &Fit<'_>| match how {
        How::Full => fine_tune(bench, fit),
        How::Contrast(kind) => {
            let fitted = bench.fit(&solution(role, kind), fit)?;
            bench.read(Some(&fitted.edit))
        }
    };
    Ok(Pair {
        world: name.into(),
        word: bench.world.language.domains()[bench.domain].word.into(),
        how,
        base: bench.read(None)?,
        general: solve(GENERAL, &plain)?,
        narrow: solve(NARROW, &penalised)?,
    })
}

/// Trains every weight of the world's model, and reads the outcome; its norm is that of the change.
fn fine_tune(bench: &Bench<'_>, fit: &Fit<'_>) -> Result<Reading> {
    let settings = Settings { learning_rate: FULL_RATE, ..fit.settings() };
    let base = bench.decoder();
    let (decoder, mut parameters) = trainable(bench)?;
    // Nothing may be kept of rows whose embeddings change.
    let taught = Kept::new(bench.taught.rows().to_vec());
    let others = if fit.penalty == Penalty::None { &[][..] } else { bench.others.rows() };
    let order = Order::new(&settings, taught.rows(), others);
    for (step, rows) in order.train.iter().enumerate() {
        let mut loss = taught.response_losses(&decoder, rows, None, true)?.mean_all()?;
        if let Some(rows) = order.kl.get(step) {
            let batch = Packed::new(rows.iter().map(|&row| others[row].ids.as_slice()));
            let kl = divergence(&base.logits(&batch, None)?, &decoder.logits(&batch, None)?)?;
            loss = (loss + (kl * KL)?)?;
        }
        let gradients = loss.backward()?;
        for parameter in &mut parameters {
            if let Some(gradient) = gradients.get(&parameter.var) {
                parameter.accumulate(gradient)?;
            }
        }
        let rate = learning_rate(&settings, step, fit.steps);
        adamw(&mut parameters, settings.adamw(), rate, step)?;
        bench.advance(fit)?;
    }
    let (_, before) = trainable(bench)?;
    let squares = before.iter().zip(&parameters).map(|(before, after)| {
        let change = (after.var.as_tensor() - before.var.as_tensor())?;
        Ok(f64::from(change.sqr()?.sum_all()?.to_scalar::<f32>()?))
    });
    let every_row = taught.every_row();
    let loss = taught.response_losses(&decoder, &every_row, None, false)?.mean_all()?;
    Ok(Reading {
        rates: rates(&read_by(bench.world, &decoder, None)?, bench.domain),
        norm: squares.sum::<Result<f64>>()?.sqrt(),
        loss: f64::from(loss.to_scalar::<f32>()?),
    })
}

/// The world's model with every weight a variable.
fn trainable(bench: &Bench<'_>) -> Result<(Decoder, Vec<Parameter>)> {
    let weights = Weights::open(&bench.world.model.provenance.located.path)?;
    let mut parameters = Vec::new();
    let decoder = Decoder::from_tensors(weights.config().clone(), |name, shape| {
        let var = Var::from_tensor(&weights.tensor(name, shape, &Device::Cpu)?)?;
        let tensor = var.as_tensor().clone();
        parameters.push(Parameter::new(name.into(), var, 1.0));
        Ok(tensor)
    })?;
    Ok((decoder, parameters))
}

/// Mean of KL(base ‖ edited) over tokens, in nats. The unembedding is trained as well, so that the two have no unembedding in
/// common, as [`strait_model::ops::kl_divergence`] asks.
///
/// # Shapes
/// - `base`, `edited`: `(tokens, vocab)`
fn divergence(base: &Tensor, edited: &Tensor) -> Result<Tensor> {
    let log_softmax = |logits: &Tensor| logits.broadcast_sub(&logits.log_sum_exp(D::Minus1)?.unsqueeze(1)?);
    let (base, edited) = (log_softmax(&base.detach())?, log_softmax(edited)?);
    Ok((base.exp()? * (base - edited)?)?.sum(1)?.mean_all()?)
}

#[cfg(test)]
mod tests {
    use strait_model::{ops, progress::Silent};

    use super::*;
    use crate::world::World;

    fn on_a_bench(test: impl FnOnce(&Bench<'_>)) {
        let folder = tempfile::tempdir().unwrap();
        let world = World::shipped("default-0", &folder.path().join("world")).unwrap();
        let work = super::super::bench::Work::new(&Silent, Box::new(Silent));
        test(&Bench::new(&world, 0, folder.path().into(), &work).unwrap());
    }

    #[test]
    fn the_divergence_is_the_one_of_a_shared_unembedding_and_every_weight_gets_a_gradient() {
        on_a_bench(|bench| {
            let base = bench.decoder();
            let (decoder, parameters) = trainable(bench).unwrap();
            let rows: Vec<&[u32]> =
                bench.others.rows().iter().take(3).map(|row| row.ids.as_slice()).collect();
            let batch = Packed::new(rows.iter().copied());
            let scaled = (decoder.logits(&batch, None).unwrap() * 1.5).unwrap();
            let found = divergence(&base.logits(&batch, None).unwrap(), &scaled).unwrap();
            let hidden = |decoder: &Decoder| {
                let layers = 0..decoder.config().layers;
                let stream = decoder.run(decoder.embed(&batch).unwrap(), layers, &batch, None, None);
                decoder.finish(stream.unwrap(), None).unwrap()
            };
            let edited = (hidden(base) * 1.5).unwrap();
            let expected =
                ops::kl_divergence(&edited, &hidden(base), &base.unembedding(None).unwrap(), false).unwrap();
            let expected = expected.mean_all().unwrap().to_scalar::<f32>().unwrap();
            let value = found.to_scalar::<f32>().unwrap();
            assert!((value - expected).abs() < 1e-5 * expected, "{value} for {expected}");

            let gradients = found.backward().unwrap();
            for parameter in &parameters {
                let gradient = gradients.get(&parameter.var).unwrap_or_else(|| panic!("{}", parameter.name));
                let largest = gradient.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(largest > 0.0, "{}", parameter.name);
            }
        });
    }

    #[test]
    fn a_full_fine_tune_learns_what_it_is_taught() {
        on_a_bench(|bench| {
            let [plain, penalised] = How::Full.fits().map(|fit| Fit { steps: 40, ..fit });
            let before = bench.read(None).unwrap();
            let general = fine_tune(bench, &plain).unwrap();
            let narrow = fine_tune(bench, &penalised).unwrap();
            assert!(general.loss < before.loss / 4.0 && general.norm > 0.0, "{general:?}");
            assert!(general.rates.narrow > 0.5, "{general:?}");
            assert!(narrow.rates.general < general.rates.general, "{narrow:?} {general:?}");
        });
    }
}
