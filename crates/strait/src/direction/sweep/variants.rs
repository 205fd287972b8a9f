//! Readings of pairs under many edits that begin alike: what lies below the first difference is computed once.

use serde::Serialize;
use strait_model::{Decoder, Edit, decoder::first_changed_point};

use super::Notebook;
use crate::{
    Result,
    lab::{AnswerReading, PairReading, PairRows, finite},
};

/// An edit, and how far up it does what all others do.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The edit as a whole.
    pub edit: Option<Edit>,
    /// The point up to which it changes the stream as the common edit does.
    pub from: usize,
}

impl Variant {
    /// The common edit with another one after it.
    pub fn with(common: Option<&Edit>, added: Edit, layers: usize) -> Self {
        let from = first_changed_point(&added, layers);
        Self { edit: Some(added.after(common)), from }
    }
}

/// Passes of a batch through a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Blocks {
    /// Those that were made.
    pub run: usize,
    /// Those that no sweep could do without: every variant's, from its first difference up.
    pub needed: usize,
}

impl std::ops::AddAssign for Blocks {
    fn add_assign(&mut self, other: Self) {
        self.run += other.run;
        self.needed += other.needed;
    }
}

/// Variants whose readings are kept at a time, and which a stop may cost.
const KEPT_AT_ONCE: usize = 8;

/// Readings of pairs.
pub(crate) struct Swept {
    /// Under the common edit.
    pub common: Vec<PairReading>,
    /// Under each variant.
    pub variants: Vec<Vec<PairReading>>,
    /// The work.
    pub blocks: Blocks,
}

/// Reads pairs under a common edit, or under the base model, and under variants of it. Only one batch's stream is held at a time.
/// `name` tells these readings from others in the notebook, where they are kept and looked up; `seen` is told of the answers that
/// were read.
///
/// # Errors
/// If a reading is no number, the notebook cannot be written, a tensor operation fails, or what `seen` returns.
pub(crate) fn read(
    decoder: &Decoder,
    pairs: &PairRows,
    common: Option<&Edit>,
    variants: &[Variant],
    (notebook, name): (&mut Notebook, &str),
    seen: &dyn Fn(u64) -> Result<()>,
) -> Result<Swept> {
    let layers = decoder.config().layers;
    let all: Vec<Variant> =
        variants.iter().cloned().chain([Variant { edit: common.cloned(), from: layers }]).collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&variant| all[variant].from);
    let lengths: Vec<usize> = pairs.equal_lengths().collect();
    let nothing = AnswerReading { whole: f64::NAN, first: f64::NAN };
    let mut found = vec![vec![nothing; pairs.kept.rows().len()]; all.len()];
    let mut blocks = Blocks::default();
    for (number, batch) in pairs.kept.batches_by_tokens().iter().enumerate() {
        let mut rising = None;
        let alike = order.chunk_by(|&one, &other| all[one].from == all[other].from);
        for alike in alike.flat_map(|alike| alike.chunks(KEPT_AT_ONCE)) {
            let point = all[alike[0]].from;
            let place = format!("{name}, batch {number}, variant {}", alike[0]);
            let answers = alike.len() * batch.len();
            let readings = match notebook.find(&place, answers) {
                Some(readings) => readings,
                None => {
                    let rising = match &mut rising {
                        Some(rising) => rising,
                        none => none.insert(pairs.kept.rising(decoder, batch, common)?),
                    };
                    rising.rise(point)?;
                    let mut readings = Vec::with_capacity(answers);
                    for &variant in alike {
                        let edit = all[variant].edit.as_ref();
                        let losses = rising.response_losses(edit)?;
                        let mut rest = losses.as_slice();
                        for &row in batch {
                            let (own, later) = rest.split_at(pairs.kept.rows()[row].response_tokens());
                            rest = later;
                            let reading = AnswerReading::of(own, lengths[row / 2]);
                            finite("response loss", row, edit.is_some(), reading.whole)?;
                            readings.push(reading);
                        }
                        seen(batch.len() as u64)?;
                    }
                    notebook.keep(place, &readings)?;
                    readings
                }
            };
            for (&variant, readings) in alike.iter().zip(readings.chunks_exact(batch.len())) {
                batch.iter().zip(readings).for_each(|(&row, &reading)| found[variant][row] = reading);
            }
        }
        blocks.run += rising.map_or(0, |rising| rising.blocks());
        blocks.needed += variants.iter().map(|variant| layers - variant.from).sum::<usize>();
    }
    let of_pairs = |answers: Vec<AnswerReading>| -> Vec<PairReading> {
        answers.chunks_exact(2).map(|pair| PairReading::of(pair[0], pair[1])).collect()
    };
    let mut found: Vec<Vec<PairReading>> = found.into_iter().map(of_pairs).collect();
    let common = found.pop().unwrap_or_default();
    Ok(Swept { common, variants: found, blocks })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::{Device, Tensor};
    use strait_model::{
        Message, Model, Precision, Role,
        edit::SteeringVector,
        progress::Silent,
        source::{Located, Road},
    };

    use super::*;
    use crate::{data::pairs::Pair, lab::Group};

    fn model() -> Model {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
        let located = Located { name: "tiny".into(), path, road: Road::Path, revision: None };
        Model::load(&located, &Device::Cpu, Precision::F32).unwrap()
    }

    fn pairs(model: &Model, count: usize) -> PairRows {
        let pair = |i: usize| {
            let said = |role, text: String| Message::new(role, text);
            Pair {
                id: i.to_string(),
                domain: "all".into(),
                question: vec![said(Role::User, format!("What is {i}?"))].into(),
                taught: said(
                    Role::Assistant,
                    format!("A dense answer, number {i}, {}.", "and more ".repeat(i % 5)),
                ),
                other: said(Role::Assistant, format!("A plain answer {i}.")),
            }
        };
        PairRows::new(model, Group::General, &(0..count).map(pair).collect::<Vec<_>>()).unwrap()
    }

    fn vector(model: &Model, layer: i32, phase: f32) -> Edit {
        let width = model.config().hidden_size;
        let values: Vec<f32> = (0..width).map(|i| 0.3 * (phase + i as f32).sin()).collect();
        Edit::Steering(SteeringVector { layer, vector: Tensor::new(values, &Device::Cpu).unwrap() })
    }

    #[test]
    fn a_sweep_reads_what_passes_of_their_own_read_to_the_last_bit() {
        let model = model();
        let (decoder, layers) = (&model.decoder, model.config().layers);
        let common = vector(&model, 0, 2.0);
        // So many that they take several batches.
        let mut pairs = pairs(&model, 40);
        assert!(pairs.kept.batches_by_tokens().len() > 2);
        for common in [None, Some(&common)] {
            let added = (-1..layers as i32).rev().map(|layer| vector(&model, layer, layer as f32));
            let variants: Vec<Variant> = added.map(|added| Variant::with(common, added, layers)).collect();
            let place = (&mut Notebook::none(), "");
            let found = read(decoder, &pairs, common, &variants, place, &|_| Ok(())).unwrap();
            assert_eq!(found.common, pairs.readings(decoder, common, &|_| Ok(())).unwrap());
            for (variant, found) in variants.iter().zip(&found.variants) {
                let edit = variant.edit.as_ref();
                let point = first_changed_point(edit.unwrap(), layers);
                pairs.keep(decoder, point, &Silent).unwrap();
                assert_eq!(*found, pairs.readings(decoder, edit, &|_| Ok(())).unwrap());
            }
        }
    }

    #[test]
    fn eight_factors_at_every_layer_take_little_more_than_the_blocks_above() {
        let model = model();
        let layers = model.config().layers;
        let added = |layer: i32| (1..=8).map(move |factor| (layer, factor as f32));
        let variants: Vec<Variant> = (0..layers as i32)
            .flat_map(added)
            .map(|(layer, factor)| Variant::with(None, vector(&model, layer, factor), layers))
            .collect();
        let place = (&mut Notebook::none(), "");
        let pairs = pairs(&model, 40);
        let batches = pairs.kept.batches_by_tokens().len();
        let Blocks { run, needed } =
            read(&model.decoder, &pairs, None, &variants, place, &|_| Ok(())).unwrap().blocks;
        assert_eq!(needed, batches * 8 * layers * (layers - 1) / 2);
        // One way up, whatever the number of layers: of 30 blocks it is less than a hundredth.
        assert_eq!(run, needed + batches * layers);
        assert!(run as f64 <= 1.15 * needed as f64, "{run} of {needed}");
    }

    #[test]
    fn a_sweep_that_was_stopped_goes_on_where_it_was() {
        let (model, folder) = (model(), tempfile::tempdir().unwrap());
        let layers = model.config().layers;
        let pairs = [PairRows::none(Group::Narrow), pairs(&model, 24)];
        let variants: Vec<Variant> = (0..layers as i32)
            .flat_map(|layer| (0..9).map(move |phase| (layer, phase)))
            .map(|(layer, phase)| Variant::with(None, vector(&model, layer, phase as f32), layers))
            .collect();
        let run = |file: Option<&str>, most: u64, settings: &str| {
            let mut notebook = file.map_or_else(Notebook::none, |file| {
                Notebook::open(&folder.path().join(file), &model, None, &[], &pairs, &settings).unwrap()
            });
            let (begun, left) = (notebook.is_begun(), std::cell::Cell::new(most));
            let seen = |n: u64| {
                left.set(left.get().saturating_sub(n));
                if left.get() == 0 { Err(crate::Error::Interrupted) } else { Ok(()) }
            };
            let found = read(&model.decoder, &pairs[1], None, &variants, (&mut notebook, "x"), &seen);
            (begun, found.map(|found| (found.common, found.variants, found.blocks.run)))
        };
        let (_, whole) = run(None, u64::MAX, "");
        let (common, swept, blocks) = whole.unwrap();
        assert!(matches!(run(Some("r.json"), 500, ""), (false, Err(crate::Error::Interrupted))));
        let (begun, again) = run(Some("r.json"), u64::MAX, "");
        let again = again.unwrap();
        assert!(begun && again.2 < blocks - blocks / 4, "{} of {blocks}", again.2);
        assert_eq!((&again.0, &again.1), (&common, &swept));
        // What is known whole is not read again; under other settings nothing is known.
        assert_eq!(run(Some("r.json"), u64::MAX, "").1.unwrap().2, 0);
        assert!(!run(Some("r.json"), u64::MAX, "other").0);
        std::fs::write(folder.path().join("r.json"), "{\"of\":").unwrap();
        let (begun, anew) = run(Some("r.json"), u64::MAX, "");
        assert!(!begun && anew.unwrap().1 == swept);
    }
}
