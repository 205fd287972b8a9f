//! All that the responses of a file follow from.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use strait_model::{Edit, Model, Precision, files::hex, sample::Sampling};

use super::Wanted;
use crate::{Result, endpoint::Terms};

/// The settings beside a file of responses.
#[derive(Serialize)]
pub struct Settings<'a> {
    schema: u32,
    /// The model's name, as the user gave it.
    model: &'a str,
    #[serde(flatten)]
    source: Source<'a>,
    scales: &'a [f64],
    /// The mark of all questions: of their tokens, or of their messages for an endpoint.
    questions: String,
    /// Their number.
    rows: usize,
    /// Responses to each.
    count: usize,
    #[serde(flatten)]
    sampling: Sampling,
    stop: &'a [String],
    logprobs: Option<usize>,
}

/// The sources of responses.
#[derive(Serialize)]
#[serde(untagged)]
enum Source<'a> {
    Local {
        /// The mark of the model's weights.
        weights: &'a str,
        precision: Precision,
        /// The names of the edits, as the user gave them.
        edits: &'a [String],
        /// The mark of the edits.
        changes: Option<String>,
        /// The mark of the edit before them.
        #[serde(skip_serializing_if = "Option::is_none")]
        beneath: Option<String>,
    },
    Endpoint {
        endpoint: Served<'a>,
    },
}

/// A model that an endpoint serves.
#[derive(Serialize)]
struct Served<'a> {
    address: &'a str,
    model: &'a str,
}

impl<'a> Settings<'a> {
    /// Of a local model, and the tokens of its questions.
    pub fn of(model: &'a Model, wanted: &Wanted<'a>, prompts: &[Vec<u32>]) -> Result<Self> {
        let bytes = |ids: &Vec<u32>| ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let questions = prompts.iter().map(|ids| (ids.len(), bytes(ids)));
        let source = Source::Local {
            weights: model.decoder.fingerprint()?,
            precision: model.decoder.precision(),
            edits: wanted.edits,
            changes: wanted.edit.map(Edit::mark).transpose()?,
            beneath: wanted.beneath.map(Edit::mark).transpose()?,
        };
        Ok(Self::from(source, wanted, questions))
    }

    /// Of a model behind an endpoint, and the messages of its questions.
    pub fn of_endpoint(terms: &'a Terms, wanted: &Wanted<'a>, questions: &[String]) -> Self {
        let served = Served { address: &terms.address, model: &terms.model };
        let questions = questions.iter().map(|said| (said.len(), said.clone().into_bytes()));
        Self::from(Source::Endpoint { endpoint: served }, wanted, questions)
    }

    fn from(
        source: Source<'a>,
        wanted: &Wanted<'a>,
        questions: impl ExactSizeIterator<Item = (usize, Vec<u8>)>,
    ) -> Self {
        let (rows, mut hash) = (questions.len(), Sha256::new());
        for (length, bytes) in questions {
            hash.update((length as u64).to_le_bytes());
            hash.update(bytes);
        }
        Self {
            schema: 1,
            model: wanted.model,
            source,
            scales: wanted.scales,
            questions: hex(&hash.finalize()),
            rows,
            count: wanted.count,
            sampling: wanted.sampling,
            stop: wanted.stop,
            logprobs: wanted.logprobs,
        }
    }

    /// The factors on the edits.
    pub fn scales(&self) -> &[f64] {
        self.scales
    }

    /// True if a sample of a question is asked for.
    pub fn asks(&self, row: usize, sample: usize) -> bool {
        row < self.rows && sample < self.count
    }

    /// As JSON.
    pub fn written(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }
}

/// Names alone: the marks say whether it is another model or edit.
const NAMES: [&str; 2] = ["model", "edits"];

/// The first key whose values differ, with the value found and the one asked for.
pub fn difference(
    found: &Map<String, Value>,
    asked: &Map<String, Value>,
) -> Option<(String, String, String)> {
    let keys = asked.keys().chain(found.keys()).filter(|key| !NAMES.contains(&key.as_str()));
    let said =
        |map: &Map<String, Value>, key: &String| map.get(key).map_or("nothing".into(), Value::to_string);
    let mut different = keys.filter(|key| found.get(*key) != asked.get(*key));
    different.next().map(|key| (key.clone(), said(found, key), said(asked, key)))
}
