//! The files that a finished step has made, known by hash: results that were damaged, edited or removed since are noticed.

use std::{collections::BTreeMap, fmt, path::Path};

use sha2::{Digest, Sha256};
use strait_model::{
    Error as FileError,
    files::{TEMPORARY_PREFIX, hex, sha256_of},
};

use super::{
    Step,
    file::is_name,
    layout::{self, DATA, MODEL, REPORT},
};
use crate::Result;

/// The files of a step, by their paths in the run folder, with their SHA-256.
pub type Made = BTreeMap<String, String>;

/// Event files hold the time of day: they are for looking at, and nothing rests on them.
const NOT_RESULTS: &str = "tensorboard";

/// The files that a step makes, as they are in the folder.
///
/// # Errors
/// If a file cannot be read.
pub fn made(folder: &Path, step: &str) -> Result<Made> {
    let mut files = Vec::new();
    match step {
        Step::MODEL => files.push(MODEL.into()),
        Step::DATA => files.push(DATA.into()),
        training if training.starts_with(Step::TRAINING) => {
            let solution = training.trim_start_matches(Step::TRAINING);
            // A plan of another hand may name what is no solution's folder.
            if is_name(solution) {
                files_below(folder, &format!("{}/{solution}", layout::SOLUTIONS), &mut files)?;
            }
        }
        measure => {
            let tables = layout::tables_of(measure).iter();
            files.extend(tables.flat_map(|table| layout::TABLE_KINDS.map(|kind| table_name(table, kind))));
            files.extend((measure == Step::REPORT).then(|| REPORT.into()));
        }
    }
    // A FIFO or a device in the place of a file is none, and would be waited for without end.
    let present = files.into_iter().filter(|file| folder.join(file).is_file());
    present.map(|file| Ok((file.clone(), sha256_of(&folder.join(&file), |_| ())?))).collect()
}

fn table_name(table: &str, kind: &str) -> String {
    format!("{}/{table}.{kind}", layout::TABLES)
}

/// The files in a folder of the run folder and below it; none where it is not there.
fn files_below(folder: &Path, inside: &str, files: &mut Vec<String>) -> Result<()> {
    let path = folder.join(inside);
    let entries = match std::fs::read_dir(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(FileError::io(&path, "read the folder"))?,
    };
    for entry in entries {
        let entry = entry.map_err(FileError::io(&path, "read the folder"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let below = format!("{inside}/{name}");
        let kind = entry.file_type().map_err(FileError::io(&path, "read the folder"))?;
        match (kind.is_dir(), name.as_str()) {
            (true, NOT_RESULTS) => {}
            (true, _) => files_below(folder, &below, files)?,
            (false, name) if name.starts_with(TEMPORARY_PREFIX) => {}
            (false, _) => files.push(below),
        }
    }
    Ok(())
}

/// One hash of all that a step made.
pub fn digest(made: &Made) -> String {
    let lines: String = made.iter().map(|(file, sha256)| format!("{file}\t{sha256}\n")).collect();
    hex(&Sha256::digest(lines))
}

/// A file that is not what a step made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its path in the run folder.
    pub file: String,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Missing,
    Changed,
    Strange,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Missing => "is missing",
            How::Changed => "is not as it was made",
            How::Strange => "was put there since",
        };
        write!(f, "`{}` {how}", self.file)
    }
}

/// The differences between the files that are found and those that were made.
pub fn damages(made: &Made, found: &Made) -> Vec<Damage> {
    let lost = made.iter().filter_map(|(file, sha256)| match found.get(file) {
        None => Some((file, How::Missing)),
        Some(found) if found != sha256 => Some((file, How::Changed)),
        Some(_) => None,
    });
    let strange = found.keys().filter(|file| !made.contains_key(*file)).map(|file| (file, How::Strange));
    lost.chain(strange).map(|(file, how)| Damage { file: file.clone(), how }).collect()
}

/// Several damages in words: the first, and how many more.
pub fn in_words(damages: &[Damage]) -> String {
    match damages {
        [] => String::new(),
        [one] => one.to_string(),
        [first, more @ ..] => format!("{first}, and so with {} more", more.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_from_health_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for name in ["edit.safetensors", "checkpoints/step-000001.safetensors", "tensorboard/events"] {
            write(&format!("solutions/one/{name}"), name);
        }
        write("solutions/one-more/edit.safetensors", "of another");
        write("tables/kl.csv", "kl");
        let made = |step: &str| super::made(folder.path(), step).unwrap();
        let (one, kl) = (made("train-one"), made("kl"));
        assert_eq!(one.len(), 2, "{one:?}");
        assert_eq!((kl.len(), made("kl")), (1, kl.clone()));
        assert!(made("train-../solutions").is_empty() && made("train-").is_empty());
        assert!(made("drift").is_empty() && damages(&kl, &made("kl")).is_empty());

        let said = |before: &Made, step: &str| in_words(&damages(before, &made(step)));
        write("tables/kl.csv", "KL");
        assert_eq!(said(&kl, "kl"), "`tables/kl.csv` is not as it was made");
        assert_ne!(digest(&kl), digest(&made("kl")));
        write("tables/kl.csv", "kl");
        write("tables/kl.parquet", "more");
        assert_eq!(said(&kl, "kl"), "`tables/kl.parquet` was put there since");
        write("solutions/one/tensorboard/events", "later");
        assert_eq!(said(&one, "train-one"), "");
        std::fs::remove_dir_all(folder.path().join("solutions/one")).unwrap();
        assert_eq!(
            said(&one, "train-one"),
            "`solutions/one/checkpoints/step-000001.safetensors` is missing, and so with 1 more"
        );
    }
}
