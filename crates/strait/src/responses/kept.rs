//! Responses that a run keeps for itself, in a file of its own.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind},
    path::Path,
};

use strait_model::{Error as FileError, Model, progress::Progress};

use super::{Problem, Response, Wanted, file::beside, sample};
use crate::Result;

/// The responses that are wanted, in the order of the questions, the factors and the samples. Those that the file has are not sampled
/// again; where they are of other settings the file is begun anew.
///
/// # Errors
/// As [`sample`], or if the file cannot be read.
pub fn kept(model: &Model, wanted: &Wanted, path: &Path, progress: &dyn Progress) -> Result<Vec<Response>> {
    match sample(model, wanted, path, progress) {
        Err(error) if error.problem().is_some_and(Problem::is_of_another) => {
            for old in [path.to_path_buf(), beside(path)] {
                match std::fs::remove_file(&old) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(FileError::io(old, "remove the file")(error).into());
                    }
                    _ => {}
                }
            }
            sample(model, wanted, path, progress)?;
        }
        done => drop(done?),
    }
    let file = File::open(path).map_err(FileError::io(path, "open the file"))?;
    let lines = BufReader::new(file).lines().zip(1..);
    let read = |(line, number): (std::io::Result<String>, u64)| {
        let line = line.map_err(FileError::io(path, "read the file"))?;
        serde_json::from_str(&line).map_err(|_| Problem::NoResponse.at(path, Some(number)))
    };
    lines.map(read).collect()
}
