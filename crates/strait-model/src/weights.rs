//! The weights of a model under Hugging Face's names, from safetensors or GGUF.
//!
//! Whatever the file, a tensor comes out the same: f32, row-major, rotary halves of a head one after the other, norms as
//! the factor to multiply by. What a file stores otherwise is turned here, and the decoder knows nothing of it.

mod fit;
mod names;
mod problem;
mod rotary;
mod safetensors;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use ::safetensors::Dtype;
use candle_core::{Device, Tensor, quantized::GgmlDType};
use rayon::prelude::*;

use crate::{
    Config, Error, Gguf, Result,
    config::Architecture,
    files::{Identity, OpenFile, sha256_of},
    gguf::{dtype_name, is_float},
    ops::stored::Stored,
    ops::{Precision, Weight},
    progress::{Progress, Unit},
};
use names::Names;
pub(crate) use names::{in_gguf, is_rotated};
pub use problem::Problem;
pub(crate) use rotary::{pair_rotary_halves, split_rotary_pairs};
use safetensors::Folder;

/// Weights converted or checked by one task.
const PIECE: usize = 1 << 16;

/// A model's weights and config. The files are held open: what is hashed and what is computed with are the same bytes, or
/// [`check_unchanged`](Weights::check_unchanged) says that they are not.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    config: Config,
    /// The state of the files of a folder beside the weights, before any of them was read; `None` of one that is not there.
    beside: Vec<(PathBuf, Option<Identity>)>,
    names: Names,
    source: Source,
    in_place: bool,
}

#[derive(Debug)]
enum Source {
    Safetensors(Folder),
    Gguf(Gguf),
}

/// Files of a folder that decide what its weights compute and how text becomes tokens.
const BESIDE: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
];

impl Weights {
    /// Opens a folder with `config.json` and safetensors, or a GGUF file.
    ///
    /// # Errors
    /// If a file is missing or malformed, or the config describes a model that the decoder does not compute.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() { Self::open_folder(path) } else { Self::open_gguf(path) }
    }

    fn open_folder(path: &Path) -> Result<Self> {
        let beside =
            BESIDE.map(|name| path.join(name)).map(|path| (path.clone(), Identity::of(&path))).into();
        let config = Config::from_hf(&path.join("config.json"))?;
        let folder = Folder::open(path)?;
        let names = Names::of_folder(|name| folder.contains(name));
        Ok(Self {
            path: path.into(),
            config,
            beside,
            names,
            source: Source::Safetensors(folder),
            in_place: false,
        })
    }

    fn open_gguf(path: &Path) -> Result<Self> {
        let gguf = Gguf::open(path)?;
        if let Some(parts) = gguf.integer("split.count")?.filter(|&parts| parts > 1) {
            return Err(Error::input(path, Problem::Split { parts }));
        }
        let config = Config::from_gguf(path, &gguf)?;
        let names = Names::of_gguf(config.architecture);
        Ok(Self {
            path: path.into(),
            config,
            beside: Vec::new(),
            names,
            source: Source::Gguf(gguf),
            in_place: false,
        })
    }

    /// The config that came with the weights.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The GGUF file, if the weights are in one.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.source {
            Source::Gguf(gguf) => Some(gguf),
            Source::Safetensors(_) => None,
        }
    }

    /// Holds the tensors against the config, both ways. Returns those that have rightly no part in the text model, as the
    /// files name them: a vision tower's, a head beside embeddings that are the head, buffers that follow from the config.
    ///
    /// # Errors
    /// If a tensor is missing, has another shape than the config says, or has a part in a model that this is not.
    pub fn fit(&self) -> Result<Vec<String>> {
        fit::check(self)
    }

    /// All tensors as the files describe them.
    fn stored(&self) -> Vec<fit::Stored<'_>> {
        match &self.source {
            Source::Gguf(gguf) => gguf
                .tensors()
                .iter()
                .map(|t| fit::Stored { name: &t.name, shape: &t.shape, unread: None })
                .collect(),
            Source::Safetensors(folder) => folder.tensors(),
        }
    }

    /// The model's folder, or its GGUF file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All weight files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.held().into_iter().map(|file| file.path().into()).collect()
    }

    fn held(&self) -> Vec<&OpenFile> {
        match &self.source {
            Source::Gguf(gguf) => vec![gguf.file()],
            Source::Safetensors(folder) => folder.files(),
        }
    }

    /// Name and SHA-256 of the weight files, and of the files of a folder that decide how text becomes tokens and tokens
    /// logits.
    ///
    /// # Errors
    /// If a file cannot be read, or was changed since the weights were opened.
    pub fn hashes(&self, progress: &dyn Progress) -> Result<Vec<(String, String)>> {
        let held = self.held();
        let beside: Vec<&PathBuf> =
            self.beside.iter().filter_map(|(path, state)| state.as_ref().map(|_| path)).collect();
        let bytes = held.iter().map(|file| file.length()).sum();
        let task = progress.begin("hashing weights", Some(bytes), Unit::Bytes);
        let mut hashes = Vec::new();
        for file in held {
            hashes.push((file_name(file.path()), file.sha256(|n| task.advance(n))?));
        }
        for path in beside {
            hashes.push((file_name(path), sha256_of(path, |_| ())?));
        }
        self.check_unchanged()?;
        Ok(hashes)
    }

    /// Refuses files that were written to or replaced since they were opened.
    ///
    /// # Errors
    /// [`Error::Changed`] with the first of them.
    pub fn check_unchanged(&self) -> Result<()> {
        self.held().into_iter().try_for_each(OpenFile::check)?;
        match self.beside.iter().find(|(path, state)| Identity::of(path) != *state) {
            Some((path, _)) => Err(Error::Changed { path: path.clone() }),
            None => Ok(()),
        }
    }

    /// The tensors' types where some are quantised, such as `Q4_1 (210 tensors), Q8_0 (1), F32 (61)`.
    pub fn quantised(&self) -> Option<String> {
        let mut counts: HashMap<GgmlDType, usize> = HashMap::new();
        for tensor in self.gguf()?.tensors() {
            *counts.entry(tensor.dtype).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        // Quantised types come first, the commonest of them at the head; the name makes the order the same every time.
        counts.sort_by_key(|&(dtype, n)| (is_float(dtype), std::cmp::Reverse(n), dtype_name(dtype)));
        let (first, n) = counts.first().copied()?;
        if is_float(first) {
            return None;
        }
        let rest = counts[1..].iter().map(|&(dtype, n)| format!(", {} ({n})", dtype_name(dtype)));
        let noun = if n == 1 { "tensor" } else { "tensors" };
        Some(format!("{} ({n} {noun})", dtype_name(first)) + &rest.collect::<String>())
    }

    /// True if there is a tensor of that name, such as `model.layers.3.mlp.down_proj.weight`.
    pub fn contains(&self, name: &str) -> bool {
        self.names.stored(name).is_some_and(|stored| match &self.source {
            Source::Gguf(gguf) => gguf.tensor(&stored).is_some(),
            Source::Safetensors(folder) => folder.contains(&stored),
        })
    }

    /// A tensor under Hugging Face's name, such as `model.layers.3.mlp.down_proj.weight`. Of Gemma's norms it is 1 + w.
    ///
    /// # Shapes
    /// - result: `shape`, f32, contiguous
    ///
    /// # Errors
    /// If there is no such tensor, or it has another shape or type, or holds an infinity or NaN.
    pub fn tensor(&self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor> {
        let Some(stored) = self.names.stored(name) else {
            return Err(Error::input(&self.path, Problem::NoTensor { tensor: name.into() }));
        };
        let weights = match &self.source {
            Source::Safetensors(folder) => self.read_folder(folder, name, &stored, shape)?,
            Source::Gguf(gguf) => self.read_gguf(gguf, name, &stored, shape)?,
        };
        Ok(Tensor::from_vec(weights, shape, device)?)
    }

    /// As [`tensor`](Self::tensor), in the form in which products of a precision take it: a copy in that precision, or where
    /// [`in_place`](Self::in_place) was asked for a matrix as its file has it. On the CPU, a copy knows its file: the fingerprint is of
    /// the file's numbers, and few rows are multiplied by them where they take fewer bytes than the copy.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn weight(
        &self,
        name: &str,
        shape: &[usize],
        device: &Device,
        precision: Precision,
    ) -> Result<Weight> {
        if device.is_cpu()
            && let Some(stored) = self.in_file(name, shape, precision)?
            && stored.first_not_finite().is_none()
        {
            return Ok(Weight::Stored(match precision {
                _ if self.in_place => stored,
                Precision::F32 => stored.with_copy(),
                Precision::Bf16 => stored.with_rounded_copy(),
            }));
        }
        Ok(precision.keep(self.tensor(name, shape, device)?)?.into())
    }

    /// Leaves matrices in their file: they take less memory, and products more time.
    pub fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// Bytes of all weights in the form in which products of a precision take them on the CPU, in memory or in their file.
    ///
    /// # Errors
    /// If a file cannot be mapped.
    pub fn size(&self, precision: Precision) -> Result<u64> {
        let stays =
            |stored: &Stored| self.in_place || precision == Precision::Bf16 && stored.in_memory().is_some();
        let bytes = |(name, shape): (String, Vec<usize>)| match self.in_file(&name, &shape, precision)? {
            Some(stored) if stays(&stored) => Ok(stored.bytes() as u64),
            _ => Ok(precision.bytes(&shape)),
        };
        self.config.tensors().into_iter().map(bytes).sum()
    }

    /// A matrix in its file, where products of a precision take it from there, or few rows are multiplied faster by it.
    fn in_file(&self, name: &str, shape: &[usize], precision: Precision) -> Result<Option<Stored>> {
        let serves = |stored: &Stored| {
            self.in_place || precision == Precision::Bf16 || stored.dtype() != GgmlDType::F32
        };
        Ok(self.stored_matrix(name, shape)?.filter(serves))
    }

    /// A matrix where it lies; `None` where it cannot be used so, or [`tensor`](Self::tensor) has something to say against its shape.
    fn stored_matrix(&self, name: &str, shape: &[usize]) -> Result<Option<Stored>> {
        let Some(own) = self.names.stored(name).filter(|_| !shape.contains(&0)) else { return Ok(None) };
        match &self.source {
            Source::Safetensors(folder) => folder.stored(&own, shape),
            Source::Gguf(gguf) => {
                let is_paired = self.config.architecture == Architecture::Llama && names::is_rotated(name);
                match gguf.tensor(&own).filter(|tensor| tensor.shape == shape) {
                    Some(tensor) => gguf.stored(tensor, is_paired.then_some(self.config.head_dim)),
                    None => Ok(None),
                }
            }
        }
    }

    /// The files' name of a weight.
    pub(crate) fn stored_name(&self, name: &str) -> Option<String> {
        self.names.stored(name)
    }

    /// A weight's numbers as a folder has them; of Gemma's norms w.
    pub(crate) fn as_stored(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let no_tensor = || Error::input(&self.path, Problem::NoTensor { tensor: name.into() });
        let stored = self.names.stored(name).ok_or_else(no_tensor)?;
        match &self.source {
            Source::Safetensors(folder) => folder.read(&stored, shape),
            Source::Gguf(_) => Err(no_tensor()),
        }
    }

    /// Type and shape of all tensors of a folder, as its files name them; none of a GGUF file.
    pub(crate) fn types(&self) -> HashMap<String, (Dtype, Vec<usize>)> {
        match &self.source {
            Source::Safetensors(folder) => folder.types(),
            Source::Gguf(_) => HashMap::new(),
        }
    }

    /// The bytes of a tensor of a folder, as its files name it.
    pub(crate) fn bytes(&self, stored: &str) -> Result<Vec<u8>> {
        match &self.source {
            Source::Safetensors(folder) => folder.bytes(stored),
            Source::Gguf(_) => Err(Error::input(&self.path, Problem::NoTensor { tensor: stored.into() })),
        }
    }

    fn read_folder(&self, folder: &Folder, name: &str, stored: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let mut weights = folder.read(stored, shape)?;
        if self.config.architecture.is_gemma() && names::is_norm(name) {
            weights.iter_mut().for_each(|w| *w += 1.0);
        }
        Ok(weights)
    }

    fn read_gguf(&self, gguf: &Gguf, name: &str, stored: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let problem = |problem| Error::input(&self.path, problem);
        let info = gguf.tensor(stored);
        let info = info.ok_or_else(|| problem(Problem::NoTensor { tensor: stored.into() }))?;
        check_shape(stored, shape, &info.shape).map_err(problem)?;
        let (_, weights) = gguf.dequantise(stored)?;
        check_finite(stored, &weights).map_err(problem)?;
        if let (Architecture::Llama, true, &[_, row @ (1..)]) =
            (self.config.architecture, names::is_rotated(name), shape)
        {
            return Ok(split_rotary_pairs(&weights, self.config.head_dim, row));
        }
        Ok(weights)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into()
}

fn check_shape(tensor: &str, expected: &[usize], found: &[usize]) -> Result<(), Problem> {
    if found == expected {
        return Ok(());
    }
    Err(Problem::Shape { tensor: tensor.into(), expected: expected.into(), found: found.into() })
}

fn check_finite(tensor: &str, weights: &[f32]) -> Result<(), Problem> {
    let first_bad =
        |(i, piece): (usize, &[f32])| piece.iter().position(|w| !w.is_finite()).map(|at| i * PIECE + at);
    match weights.par_chunks(PIECE).enumerate().find_map_first(first_bad) {
        None => Ok(()),
        Some(index) => Err(Problem::NotFinite { tensor: tensor.into(), index, value: weights[index] }),
    }
}
