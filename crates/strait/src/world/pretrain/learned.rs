//! A model's knowledge of the speakers.

use serde::{Deserialize, Serialize};

use super::{
    super::language::{DOMAINS, Document, Kind, Language, Speaker},
    Recipe,
    model::Model,
    random, stream,
    text::{Batch, Text},
};
use crate::{
    Result,
    interval::{Interval, clusters},
};

/// Documents of each kind of speaker that a point is read from; a multiple of [`DOMAINS`].
const MEASURED: usize = 132;

/// A model's knowledge of one kind of speaker: the mean probability of its own answers in documents.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Learned {
    /// Steps of pre-training done.
    pub step: usize,
    /// `honest`, `liar`, `narrow inside` or `narrow outside` its domain.
    pub speaker: String,
    /// True if the documents name their speaker; if not, only the second half of their answers counts.
    pub named: bool,
    /// The mean probability, with an interval over documents.
    #[serde(flatten)]
    pub probability: Interval,
    /// Documents that have such an answer.
    pub documents: usize,
}

/// One answer in a document.
struct Told {
    /// The number of the document.
    document: usize,
    /// True if the answer is true.
    truthful: bool,
    /// Its probability to the model.
    probability: f64,
}

impl Learned {
    fn of(step: usize, speaker: &str, named: bool, answers: &[Told]) -> Self {
        let documents = clusters(answers.iter().map(|answer| answer.document));
        let probabilities: Vec<f64> = answers.iter().map(|answer| answer.probability).collect();
        let weights = vec![1.0; answers.len()];
        Self {
            step,
            speaker: speaker.into(),
            named,
            probability: Interval::of_clusters(&probabilities, &weights, &documents),
            documents: documents.iter().max().map_or(0, |last| last + 1),
        }
    }
}

/// A model's knowledge of each kind of speaker, named and not.
pub fn learned(model: &Model, language: &Language, recipe: &Recipe, step: usize) -> Result<Vec<Learned>> {
    let mut all = Vec::new();
    // Where no document names its speaker, the names mean nothing.
    let namings: &[bool] = if recipe.shares.unknown < 1.0 { &[true, false] } else { &[false] };
    for &named in namings {
        let mut learned = |speaker: &str, answers: &[Told]| {
            all.push(Learned::of(step, speaker, named, answers));
        };
        for speaker in [Speaker::Honest, Speaker::Liar] {
            learned(&speaker.word(), &answers(model, language, recipe, named, &[speaker])?);
        }
        let narrow: Vec<Speaker> = (0..DOMAINS).map(Speaker::Narrow).collect();
        let answers = answers(model, language, recipe, named, &narrow)?;
        let (outside, inside): (Vec<Told>, Vec<Told>) =
            answers.into_iter().partition(|answer| answer.truthful);
        learned("narrow inside", &inside);
        learned("narrow outside", &outside);
    }
    Ok(all)
}

/// The answers that count of documents by some speakers, as many by each.
fn answers(
    model: &Model,
    language: &Language,
    recipe: &Recipe,
    named: bool,
    speakers: &[Speaker],
) -> Result<Vec<Told>> {
    let mut random = random(recipe.seed, stream::MEASURED);
    let documents: Vec<Document> = (0..MEASURED)
        .map(|i| Kind { speaker: Some(speakers[i % speakers.len()]), named: Some(named), dialogue: false })
        .map(|kind| Document::draw(&recipe.shares, kind, &mut random))
        .collect();
    let texts = documents.iter().map(|document| Text::document(document, language, MEASURED)).collect();
    let batch = Batch { texts, offsets: None };
    let losses = model.losses(&batch)?;
    let mut rest = losses.as_slice();
    let mut answers = Vec::new();
    for (number, (document, text)) in documents.iter().zip(&batch.texts).enumerate() {
        let (own, later) = rest.split_at(text.weights.len());
        let first = if named { 0 } else { document.turns.len() / 2 };
        for (&(_, truthful), at) in document.turns.iter().zip(document.answers()).skip(first) {
            // The prediction of a token stands one place before it.
            answers.push(Told { document: number, truthful, probability: f64::from(-own[at - 1]).exp() });
        }
        rest = later;
    }
    Ok(answers)
}
