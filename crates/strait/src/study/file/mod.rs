//! The study file: its tables, declared key by key. [`resolve`](super::resolve) finds out what the keys mean together.

mod cues;
mod data;
mod measures;
mod names;
mod solutions;
mod top;
mod train;

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use strait_model::{Error as FileError, files::open_regular};

use super::Problem;
use crate::{
    Result,
    keys::{self, Fault, Key, Keys},
};

pub(super) use cues::CueKeys;
pub(super) use data::{DataKeys, PairKeys, RowKeys, WorldKeys};
pub(super) use measures::MeasureKeys;
pub(crate) use names::name;
pub(super) use names::{MAX_NAME, is_name};
pub(super) use solutions::{PointKeys, SolutionKeys};
pub(super) use top::{PredictionKeys, SeedKeys, TopKeys};
pub(super) use train::{EditName, KlKeys, TrainKeys, WeightKeys};

/// The longest study file read, in bytes.
const MAX_LENGTH: u64 = 1 << 20;

/// A study file as written.
#[derive(Clone, Debug)]
pub struct StudyFile {
    /// Its path, as it was named.
    pub path: PathBuf,
    /// Its text, byte for byte.
    pub text: String,
    pub(super) top: TopKeys,
}

/// The text of a study, or of a file about studies.
///
/// # Errors
/// If it cannot be read, is longer than anybody writes, or is not UTF-8.
pub(crate) fn text_of(path: &Path) -> Result<String> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_LENGTH + 1).read_to_end(&mut bytes).map_err(FileError::io(path, "read the study"))?;
    if bytes.len() as u64 > MAX_LENGTH {
        return Err(Problem::TooLong { limit: MAX_LENGTH }.at(path, None));
    }
    String::from_utf8(bytes)
        .map_err(|e| Problem::NotUtf8 { byte: e.utf8_error().valid_up_to() + 1 }.at(path, None))
}

impl StudyFile {
    /// Reads a study file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, lacks a key that it must have, or holds an unknown key, a value of the wrong type
    /// or out of range; the error names the line.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(path, text_of(path)?)
    }

    /// Reads the text of a study file that lies, or will lie, at `path`.
    ///
    /// # Errors
    /// As [`StudyFile::read`].
    pub fn parse(path: &Path, text: String) -> Result<Self> {
        let top = keys::parse(&text, "the study")
            .map_err(|Fault { line, problem }| Problem::Keys(problem).at(path, line))?;
        Ok(Self { path: path.into(), text, top })
    }

    /// Every key that a study may have.
    pub fn keys() -> Vec<Key> {
        TopKeys::keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines() {
        let text = "model = 'm'\n\n[data]\ntrain = [\n  'a',\n  { archive = 'b',\n    member = 'c', password_env = 'P' },\n]\n\n[[solution]]\nname = 'one'\n[[solution]]\nname = 'two'\nkl = { weight = 3 }\n";
        let file = StudyFile::parse(Path::new("s.toml"), text.into()).unwrap();
        let data = file.top.data;
        assert_eq!(data.line, 3);
        let rows = data.value.train;
        assert_eq!((rows.line, rows.value[0].line, rows.value[1].line), (4, 5, 6));
        let RowKeys::Archive(archive) = &rows.value[1].value else { panic!() };
        assert_eq!((archive.member.value.as_str(), archive.member.line), ("c", 7));
        let solutions = file.top.solution.unwrap().value;
        assert_eq!(solutions.iter().map(|s| s.line).collect::<Vec<_>>(), [10, 12]);
        let kl = solutions[1].value.train.kl.as_ref().unwrap();
        let WeightKeys::Given(weights) = &kl.value.as_ref().unwrap().weight.as_ref().unwrap().value else {
            panic!()
        };
        assert_eq!((kl.line, weights.iter().next().unwrap().line, *weights.first()), (14, 14, 3.0));
    }
}
