//! Readings that are kept as they come, so that a sweep that was stopped goes on where it was.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strait_model::{
    Edit, Model,
    files::{self, hex},
};

use super::Set;
use crate::{
    Result,
    lab::{AnswerReading, PairRows},
};

/// The most bytes of a file of readings.
const MOST: u64 = 1 << 30;

/// Readings by their place in a sweep, in a file or in none.
#[derive(Debug, Default)]
pub struct Notebook {
    path: Option<PathBuf>,
    known: Readings,
}

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Readings {
    /// A hash of all that the readings follow from.
    of: String,
    /// Of every answer the mean loss of all of its tokens and of the first ones.
    readings: BTreeMap<String, Vec<[f64; 2]>>,
}

impl Notebook {
    /// One that keeps nothing: what is read in a study is kept by its step.
    pub fn none() -> Self {
        Self::default()
    }

    /// The readings in a file, as far as they follow from the same model, edit, directions and pairs; otherwise none yet.
    ///
    /// # Errors
    /// If the fingerprint of the model or an edit cannot be made. A file that is damaged counts as none: it is made again.
    pub fn open(
        path: &Path,
        model: &Model,
        edit: Option<&Edit>,
        sets: &[Set],
        pairs: &[PairRows; 2],
        settings: &impl Serialize,
    ) -> Result<Self> {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        part(model.decoder.fingerprint()?);
        part(&format!("{:?}", model.decoder.precision()));
        part(&edit.map(Edit::mark).transpose()?.unwrap_or_default());
        for set in sets {
            part(&set.edit().mark()?);
        }
        for row in pairs.iter().flat_map(|pairs| pairs.kept.rows()) {
            part(&format!("{:?} {:?}", row.ids, row.responses));
        }
        // Settings are plain numbers, words and lists: they have no value that JSON lacks.
        part(&serde_json::to_string(settings).unwrap_or_default());
        let of = hex(&hash.finalize());
        let read = path.exists().then(|| files::read_regular(path, MOST)).transpose()?;
        let known = read.and_then(|bytes| serde_json::from_slice::<Readings>(&bytes).ok());
        let known = known.filter(|known| known.of == of);
        let known = known.unwrap_or(Readings { of, readings: BTreeMap::new() });
        Ok(Self { path: Some(path.into()), known })
    }

    /// True if it holds readings of an earlier time.
    pub fn is_begun(&self) -> bool {
        !self.known.readings.is_empty()
    }

    /// The readings of so many answers at a place.
    pub(super) fn find(&self, place: &str, answers: usize) -> Option<Vec<AnswerReading>> {
        let known = self.known.readings.get(place)?;
        let reading = |&[whole, first]: &[f64; 2]| AnswerReading { whole, first };
        (known.len() == answers).then(|| known.iter().map(reading).collect())
    }

    /// Keeps readings, in the file where there is one: as a whole, or as it was.
    pub(super) fn keep(&mut self, place: String, readings: &[AnswerReading]) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let numbers = readings.iter().map(|reading| [reading.whole, reading.first]).collect();
        self.known.readings.insert(place, numbers);
        let text = serde_json::to_vec(&self.known)
            .map_err(candle_core::Error::wrap)
            .map_err(strait_model::Error::from)?;
        Ok(files::write(path, text)?)
    }
}
