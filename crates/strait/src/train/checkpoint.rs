//! The files of a training.
//!
//! A solution's folder holds `edit.safetensors` (written last: its presence says that training ended), `checkpoints/`
//! (the trajectory: the edit every k steps), `metrics.jsonl` (one line a step) and `state.safetensors` (parameters and
//! moments at the last saved step). Whatever was written after the saved step is cut off on resume and made again,
//! so that a run that was killed ends with the same bytes as one that was not.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use candle_core::Tensor;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Map;
use strait_model::{
    files::{self, Entry, open_regular, read_regular, write_numbers, write_tensors},
    ops,
};

use super::{optimiser::Parameter, record::StepRecord};
use crate::{Error, Result, Table};

/// The paths of one solution's folder.
pub struct SolutionFolder {
    root: PathBuf,
}

/// Scaling certificates that a search has measured, so that one that was stopped measures none again.
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    fn path(&self, weight: &str) -> PathBuf {
        self.folder.join(format!("{weight}.parquet"))
    }

    /// The table of a weight, where it was measured. One that cannot be read is measured again.
    pub fn of(&self, weight: &str) -> Option<Table> {
        Table::read_parquet(&self.path(weight)).ok()
    }

    /// Keeps that of a weight.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn keep(&self, weight: &str, certificate: &Table) -> Result<()> {
        certificate.write_parquet(&self.path(weight))
    }
}

/// Facts stored beside the moments.
#[derive(Serialize, Deserialize)]
struct StateFacts {
    /// Steps that are done.
    step: usize,
    /// A hash of all that the run depends on; another value makes the state worthless.
    fingerprint: String,
}

impl SolutionFolder {
    /// The folder at `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The trained edit; there once training has ended.
    pub fn edit(&self) -> PathBuf {
        self.root.join("edit.safetensors")
    }

    /// One JSON object a step.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// TensorBoard event files.
    pub fn tensorboard(&self) -> PathBuf {
        self.root.join("tensorboard")
    }

    fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// The edit after `step` steps.
    pub fn checkpoint(&self, step: usize) -> PathBuf {
        self.checkpoints().join(format!("step-{step:06}.safetensors"))
    }

    fn state(&self) -> PathBuf {
        self.root.join("state.safetensors")
    }

    /// The folder of one weight that a search for the KL weight tries.
    pub fn tried(&self, weight: &str) -> Self {
        Self::new(self.root.join("frontier").join(weight))
    }

    /// The preference shifts of all weights that a search has tried, once it has ended.
    pub fn frontier(&self) -> PathBuf {
        self.root.join("frontier.parquet")
    }

    /// The certificates of the weights that the search of that key has tried; those of another search are removed.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn certificates(&self, key: &str) -> Result<Certificates> {
        let all = self.root.join("frontier").join("certificates");
        let folder = all.join(key);
        if !folder.is_dir() {
            remove(&all, |path| std::fs::remove_dir_all(path))?;
        }
        Ok(Certificates { folder })
    }

    /// True if the run of that fingerprint has ended here.
    pub fn is_finished(&self, fingerprint: &str) -> bool {
        let facts = std::fs::read(self.state()).ok().and_then(|bytes| read_facts(&bytes));
        self.edit().is_file() && facts.is_some_and(|facts| facts.fingerprint == fingerprint)
    }

    /// Takes the trajectory, the metrics and the trained edit of another folder.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn adopt(&self, other: &Self) -> Result<()> {
        // Without its edit the folder is one in which training has not ended.
        for path in [self.edit(), self.state()] {
            remove(&path, |path| std::fs::remove_file(path))?;
        }
        remove(&self.checkpoints(), |path| std::fs::remove_dir_all(path))?;
        for (step, path) in other.trajectory()? {
            copy(&path, &self.checkpoint(step))?;
        }
        copy(&other.metrics(), &self.metrics())?;
        copy(&other.edit(), &self.edit())
    }

    /// Removes everything, for a run that begins anew.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub fn clear(&self) -> Result<()> {
        remove(&self.root, |path| std::fs::remove_dir_all(path))
    }

    /// Saves parameters and moments after `step` steps.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn save_state(&self, parameters: &[Parameter], step: usize, fingerprint: &str) -> Result<()> {
        let entries: Vec<Entry> = parameters.iter().flat_map(entries).collect();
        let facts = StateFacts { step, fingerprint: fingerprint.to_string() };
        let facts = serde_json::to_string(&facts)
            .map_err(std::io::Error::from)
            .map_err(strait_model::Error::io(self.state(), "write the file"))?;
        let metadata = Map::from_iter([("state".to_string(), facts.into())]);
        Ok(write_tensors(&self.state(), metadata, &entries, |index, file| {
            let p = &parameters[index / KINDS.len()];
            match index % KINDS.len() {
                0 => ops::read(p.var.as_tensor(), |values| write_numbers(file, values))
                    .map_err(std::io::Error::other)?,
                1 => write_numbers(file, &p.first),
                _ => write_numbers(file, &p.second),
            }
        })?)
    }

    /// The step of the saved state, if it is of the run of that fingerprint.
    pub(super) fn state_step(&self, fingerprint: &str) -> Option<usize> {
        let facts = read_facts(&std::fs::read(self.state()).ok()?)?;
        (facts.fingerprint == fingerprint).then_some(facts.step)
    }

    /// Puts parameters and moments back as saved; returns the steps that are done, where all was there.
    pub fn restore(&self, parameters: &mut [Parameter], fingerprint: &str) -> Result<Option<usize>> {
        let path = self.state();
        let Ok(bytes) = read_regular(&path, u64::MAX) else { return Ok(None) };
        // A state that this version did not write is no state: training starts again, which loses time and nothing else.
        let Some(facts) = read_facts(&bytes) else { return Ok(None) };
        if facts.fingerprint != fingerprint {
            return Ok(None);
        }
        let Ok(tensors) = SafeTensors::deserialize(&bytes) else { return Ok(None) };
        let entries = parameters.iter().flat_map(entries);
        let Some(found) = entries.map(|entry| numbers(&tensors, &entry)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        for (p, [value, first, second]) in parameters.iter_mut().zip(found.as_chunks().0) {
            p.var.set(&Tensor::from_iter(value.clone(), p.var.device())?.reshape(p.var.shape())?)?;
            p.first = first.clone().collect();
            p.second = second.clone().collect();
        }
        Ok(Some(facts.step))
    }

    /// Leaves no line and no checkpoint of later steps; `lines` are those of the steps that are done.
    pub(super) fn cut(&self, done: usize, lines: &[impl Serialize]) -> Result<()> {
        let kept: String = lines.iter().map(json_line).collect();
        files::write(&self.metrics(), kept)?;
        for path in self.trajectory()?.into_iter().filter(|&(at, _)| at > done).map(|(_, path)| path) {
            std::fs::remove_file(&path).map_err(strait_model::Error::io(path, "remove the checkpoint"))?;
        }
        Ok(())
    }

    /// The steps of an edit's training that `metrics.jsonl` holds; a last line that a kill cut short is left out.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn history(&self) -> Result<Vec<StepRecord>> {
        self.lines()
    }

    /// The lines of `metrics.jsonl` up to the first that is none.
    pub(super) fn lines<L: DeserializeOwned>(&self) -> Result<Vec<L>> {
        let path = self.metrics();
        let Ok(file) = open_regular(&path) else { return Ok(Vec::new()) };
        let mut lines = Vec::new();
        for line in BufReader::new(file).lines() {
            let line = line.map_err(strait_model::Error::io(&path, "read the file"))?;
            let Ok(line) = serde_json::from_str(&line) else { break };
            lines.push(line);
        }
        Ok(lines)
    }

    /// Opens `metrics.jsonl` to append.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn append_metrics(&self) -> Result<File> {
        let path = self.metrics();
        std::fs::create_dir_all(&self.root)
            .map_err(strait_model::Error::io(&self.root, "create the folder"))?;
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.map_err(|e| Error::from(strait_model::Error::io(path, "open the file")(e)))
    }

    /// Steps and paths of the checkpoints, in order.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn trajectory(&self) -> Result<Vec<(usize, PathBuf)>> {
        let folder = self.checkpoints();
        let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(strait_model::Error::io(&folder, "read the folder"))?.path();
            found.extend(step_of(&path).map(|step| (step, path)));
        }
        found.sort();
        Ok(found)
    }
}

/// The kinds of numbers that a state has of each parameter.
const KINDS: [&str; 3] = ["value", "first", "second"];

/// The tensors of a parameter in a state, in the order of [`KINDS`].
fn entries(p: &Parameter) -> [Entry; KINDS.len()] {
    let shape = p.var.dims();
    KINDS.map(|kind| Entry { name: format!("{kind}.{}", p.name), dtype: Dtype::F32, shape: shape.to_vec() })
}

/// The numbers of a tensor, if the file has it in that type and shape.
fn numbers<'a>(
    tensors: &SafeTensors<'a>,
    entry: &Entry,
) -> Option<impl ExactSizeIterator<Item = f32> + Clone + use<'a>> {
    let view = tensors.tensor(&entry.name).ok()?;
    let is_it = view.dtype() == entry.dtype && view.shape() == entry.shape;
    is_it.then(|| view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = read_regular(from, u64::MAX)?;
    files::write(to, &bytes)?;
    Ok(())
}

/// Removes a file or folder, if it is there.
fn remove(path: &Path, remove: impl Fn(&Path) -> std::io::Result<()>) -> Result<()> {
    match remove(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(strait_model::Error::io(path, "remove what was there")(e).into())
        }
        _ => Ok(()),
    }
}

fn step_of(path: &Path) -> Option<usize> {
    path.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()
}

fn read_facts(bytes: &[u8]) -> Option<StateFacts> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    serde_json::from_str(metadata.metadata().as_ref()?.get("state")?).ok()
}

/// As a line of `metrics.jsonl`.
pub(super) fn json_line(line: &impl Serialize) -> String {
    let json = serde_json::to_string(line).unwrap_or_default();
    format!("{json}\n")
}
