//! Edits and folders of checkpoints by the names that a user gives.

use std::path::{Path, PathBuf};

use strait_model::{
    edit::{self, Opened},
    error::Error as FileError,
    files::TEMPORARY_PREFIX,
    progress::{Progress, Unit},
};

use super::{geometry::Member, problem::Problem};
use crate::{Error, Result};

/// An edit among others.
pub struct Named {
    /// Its name: of a checkpoint its path, of others as it was given.
    pub name: String,
    /// The place of what was named among all that were.
    pub file: usize,
    /// The steps of training, for a checkpoint of a folder.
    pub step: Option<usize>,
    /// The edit.
    pub opened: Opened,
}

impl Named {
    /// The edit, to be compared with others.
    pub fn member(self) -> Member {
        Member { name: self.name, edit: self.opened.edit, placed: self.opened.placed }
    }
}

/// What a folder stands for that holds both an edit and the checkpoints of its training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// The edit.
    Edit,
    /// The checkpoints.
    Checkpoints,
}

/// The folder of checkpoints in a solution's folder.
const CHECKPOINTS: &str = "checkpoints";
/// The endings of checkpoints' files.
const ENDINGS: [&str; 4] = ["safetensors", "pt", "pth", "bin"];

/// Reads edits as [`edit::read_unplaced`] does, and the checkpoints of folders in the order of their steps.
///
/// # Errors
/// If one cannot be read, if a folder holds checkpoints of several trainings or lacks one, or if the user asked for a stop.
pub fn read(names: &[String], both: Folder, progress: &dyn Progress) -> Result<Vec<Named>> {
    let mut found = Vec::new();
    for (file, name) in names.iter().enumerate() {
        let path = Path::new(name);
        let holds_edit = || edit_in(path);
        let kept = if path.is_dir() { checkpoints(path)? } else { Vec::new() };
        if !path.is_dir() || (holds_edit() && (kept.is_empty() || both == Folder::Edit)) {
            found.push(Named { name: name.clone(), file, step: None, opened: edit::read_unplaced(name)? });
            continue;
        }
        if kept.is_empty() {
            return Err(Problem::NoCheckpoints.at(path));
        }
        let task = progress.begin(&format!("reading `{name}`"), Some(kept.len() as u64), Unit::Count);
        for (step, path) in kept {
            let name = path.display().to_string();
            found.push(Named { opened: edit::read_unplaced(&name)?, name, file, step: Some(step) });
            task.advance(1);
            if progress.stopped() {
                return Err(Error::Interrupted);
            }
        }
    }
    Ok(found)
}

fn edit_in(folder: &Path) -> bool {
    ["edit.safetensors", "adapter_config.json"].iter().any(|name| folder.join(name).exists())
}

/// The checkpoints in a folder, or in its folder `checkpoints`, in the order of their steps. A checkpoint is a file or a PEFT
/// folder whose name ends in its step, such as `step-000050.safetensors`, `steering_vector_checkpoint_50.pt` or
/// `checkpoint-50`; other files are passed over.
///
/// # Errors
/// If the folder cannot be read, holds checkpoints of several sorts, or lacks one of those that are evenly apart.
pub fn checkpoints(folder: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let inner = folder.join(CHECKPOINTS);
    let folder = if inner.is_dir() { &inner } else { folder };
    let mut found: Vec<(usize, PathBuf)> = Vec::new();
    let mut sort: Option<(String, String)> = None;
    for entry in std::fs::read_dir(folder).map_err(FileError::io(folder, "read the folder"))? {
        let path = entry.map_err(FileError::io(folder, "read the folder"))?.path();
        let Some((of, step)) = sort_and_step(&path) else { continue };
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match &sort {
            Some((known, one)) if *known != of => {
                return Err(Problem::Sorts { one: one.clone(), other: name(&path) }.at(folder));
            }
            Some(_) => {}
            None => sort = Some((of, name(&path))),
        }
        if let Some((_, twin)) = found.iter().find(|(other, _)| *other == step) {
            return Err(Problem::Sorts { one: name(twin), other: name(&path) }.at(folder));
        }
        found.push((step, path));
    }
    found.sort();
    let steps: Vec<usize> = found.iter().map(|(step, _)| *step).collect();
    match gap(&steps) {
        Some(problem) => Err(problem.at(folder)),
        None => Ok(found),
    }
}

/// The sort of a checkpoint, its name without its step, and the step; none for what is no checkpoint.
fn sort_and_step(path: &Path) -> Option<(String, usize)> {
    let name = path.file_name()?.to_str()?;
    let (stem, ending) = match path.is_dir() {
        true => (path.join("adapter_config.json").exists().then_some(name)?, ""),
        false => name.rsplit_once('.').filter(|(_, ending)| ENDINGS.contains(ending))?,
    };
    let begin = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    let step = stem[begin.len()..].parse().ok()?;
    (!name.starts_with(TEMPORARY_PREFIX)).then(|| (format!("{begin}.{ending}"), step))
}

/// The first step that is missing of those that are evenly apart. Steps are evenly apart where at least half of the ways from
/// one to the next are as long; further ones between them, at the beginning and at the end are no fault.
fn gap(steps: &[usize]) -> Option<Problem> {
    let mut ways: Vec<usize> = steps.windows(2).map(|two| two[1] - two[0]).collect();
    ways.sort_unstable();
    let runs = ways.chunk_by(|one, other| one == other);
    let longest = runs.max_by_key(|run| run.len())?;
    let (every, count) = (longest[0], longest.len());
    if count < 2 || 2 * count < ways.len() {
        return None;
    }
    let even: Vec<usize> = steps.iter().copied().filter(|step| step.is_multiple_of(every)).collect();
    let (&first, &last) = (even.first()?, even.last()?);
    let missing = (first..=last).step_by(every).find(|step| !even.contains(step))?;
    Some(Problem::Gap { missing, first, last, every })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_of_even_steps_is_a_gap() {
        let missing = |steps: &[usize]| match gap(steps) {
            None => None,
            Some(Problem::Gap { missing, .. }) => Some(missing),
            Some(other) => panic!("{other}"),
        };
        assert_eq!(missing(&[]), None);
        assert_eq!(missing(&[5]), None);
        assert_eq!(missing(&[50, 100, 200]), None);
        assert_eq!(missing(&[5, 50, 100, 150, 200, 226]), None);
        assert_eq!(missing(&[5, 50, 100, 200, 250, 300, 326]), Some(150));
        assert_eq!(missing(&[10, 20, 30, 60, 70, 80]), Some(40));
        // Further ones, and steps that grow, are no fault.
        assert_eq!(missing(&[1, 2, 5, 10, 20, 30, 40, 45, 50]), None);
        assert_eq!(missing(&[1, 2, 4, 8, 16, 32]), None);
    }

    #[test]
    fn checkpoints_are_in_the_order_of_their_steps() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in ["v_100.pt", "v_50.pt", "v_5.pt", "notes.txt", "final.pt", ".strait-7.pt"] {
            std::fs::write(at(name), "").unwrap();
        }
        let steps = |folder: &Path| {
            checkpoints(folder).map(|found| found.into_iter().map(|(step, _)| step).collect::<Vec<_>>())
        };
        assert_eq!(steps(place.path()).unwrap(), [5, 50, 100]);
        std::fs::create_dir_all(at("run/checkpoints/checkpoint-8")).unwrap();
        assert!(steps(&at("run")).unwrap().is_empty());
        std::fs::write(at("run/checkpoints/checkpoint-8/adapter_config.json"), "").unwrap();
        assert_eq!(steps(&at("run")).unwrap(), [8]);
        for other in ["w_3.pt", "v_050.pt"] {
            std::fs::write(at(other), "").unwrap();
            let error = steps(place.path()).unwrap_err();
            assert!(matches!(error.problem(), Some(Problem::Sorts { .. })), "{error}");
            std::fs::remove_file(at(other)).unwrap();
        }
    }
}
