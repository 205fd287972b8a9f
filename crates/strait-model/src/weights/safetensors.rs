//! Folders of safetensors, whole or in shards.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::{Component, Path, PathBuf},
};

use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::{Dtype, tensor::Metadata};
use serde::Deserialize;

use super::{PIECE, Problem, at, check_finite, check_shape};
use crate::{Error, Result, config::read_bounded};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
/// Bytes of the number with which a file starts, the length of its header.
const LENGTH: usize = 8;
/// Longest header that is read, in bytes: the limit of the format's own library.
const MAX_HEADER: u64 = 100_000_000;
/// Longest index that is read, in bytes.
const MAX_INDEX: u64 = 1 << 26;

/// A folder's safetensors.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    shards: Vec<Shard>,
    /// Which shard holds a tensor.
    index: HashMap<String, usize>,
}

/// One file.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    map: Mmap,
    header: Metadata,
    /// Where the data starts, in bytes.
    data: usize,
}

#[derive(Deserialize)]
struct Index {
    /// The shard of every tensor.
    weight_map: BTreeMap<String, String>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.join(WHOLE).is_file() {
            return Self::open_whole(path);
        }
        if path.join(INDEX).is_file() {
            return Self::open_shards(path);
        }
        let problem = match PICKLES.into_iter().find(|file| path.join(file).is_file()) {
            Some(file) => Problem::Pickle { file },
            None => Problem::NoWeights,
        };
        Err(at(path, problem))
    }

    fn open_whole(path: &Path) -> Result<Self> {
        let shard = Shard::open(path.join(WHOLE))?;
        let index = shard.header.offset_keys().into_iter().map(|name| (name, 0)).collect();
        Ok(Self { path: path.into(), shards: vec![shard], index })
    }

    fn open_shards(path: &Path) -> Result<Self> {
        let index_path = path.join(INDEX);
        let problem = |problem| at(&index_path, problem);
        let index: Index = serde_json::from_slice(&read_bounded(&index_path, MAX_INDEX)?)
            .map_err(|e| problem(Problem::Index { reason: e.to_string() }))?;
        let mut shards: Vec<Shard> = vec![];
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut tensors = HashMap::new();
        for (tensor, shard) in index.weight_map {
            let place = match places.get(&shard) {
                Some(&place) => place,
                None => {
                    let file = shard_path(path, &shard).map_err(problem)?;
                    shards.push(Shard::open(file)?);
                    places.insert(shard.clone(), shards.len() - 1);
                    shards.len() - 1
                }
            };
            if shards[place].header.info(&tensor).is_none() {
                return Err(problem(Problem::NotInShard { tensor, shard }));
            }
            tensors.insert(tensor, place);
        }
        Ok(Self { path: path.into(), shards, index: tensors })
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// All files, by name.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = self.shards.iter().map(|shard| shard.path.clone()).collect();
        files.sort();
        files
    }

    /// A tensor's weights as f32; refuses other shapes than `shape`, and what is not a finite number.
    pub(super) fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        match self.index.get(name) {
            Some(&shard) => self.shards[shard].read(name, shape),
            None => Err(at(&self.path, Problem::NoTensor { tensor: name.into() })),
        }
    }
}

/// Where a shard lies; it may not lie outside the folder.
fn shard_path(folder: &Path, shard: &str) -> Result<PathBuf, Problem> {
    let inside = Path::new(shard).components().all(|c| matches!(c, Component::Normal(_)));
    if !inside || shard.is_empty() {
        return Err(Problem::ShardOutside { shard: shard.into() });
    }
    let path = folder.join(shard);
    if path.is_file() { Ok(path) } else { Err(Problem::ShardMissing { shard: shard.into() }) }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(Error::io(&path, "open the file"))?;
        // SAFETY: the map is only read; that no one else changes the file meanwhile is the documented condition.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(&path, "map the file"))?;
        let (header, data) = read_header(&map).map_err(|problem| at(&path, problem))?;
        Ok(Self { path, map, header, data })
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let problem = |problem| at(&self.path, problem);
        let info = self.header.info(name);
        let info = info.ok_or_else(|| problem(Problem::NoTensor { tensor: name.into() }))?;
        check_shape(name, shape, &info.shape).map_err(problem)?;
        let (start, end) = info.data_offsets;
        let bytes = &self.map[self.data + start..self.data + end];
        let weights = match info.dtype {
            Dtype::F32 => convert(bytes, f32::from_le_bytes),
            Dtype::F16 => convert(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => convert(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F64 => convert(bytes, |b| f64::from_le_bytes(b) as f32),
            other => {
                let found = other.to_string();
                return Err(problem(Problem::Dtype { tensor: name.into(), found }));
            }
        };
        check_finite(name, &weights).map_err(problem)?;
        Ok(weights)
    }
}

/// The header of a file and where its data starts.
///
/// The library checks the tensors among themselves (sizes by shape and type, no gap, no overlap). What it would say of the
/// file's lengths names no numbers, so these are checked here.
fn read_header(bytes: &[u8]) -> Result<(Metadata, usize), Problem> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
        return Err(Problem::TooShort { length: bytes.len() });
    };
    let found = u64::from_le_bytes(*length);
    if found > MAX_HEADER {
        return Err(Problem::HeaderTooLong { found, limit: MAX_HEADER });
    }
    let Some((header, data)) = rest.split_at_checked(found as usize) else {
        return Err(Problem::HeaderTruncated { found, left: rest.len() });
    };
    let header: Metadata =
        serde_json::from_slice(header).map_err(|e| Problem::Header { reason: e.to_string() })?;
    if header.data_len() != data.len() {
        return Err(Problem::DataLength { expected: header.data_len(), found: data.len() });
    }
    Ok((header, LENGTH + found as usize))
}

/// Numbers of `N` bytes each as f32.
fn convert<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32 + Sync) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks::<N>();
    let mut weights = vec![0.0; numbers.len()];
    weights.par_chunks_mut(PIECE).zip(numbers.par_chunks(PIECE)).for_each(|(weights, numbers)| {
        weights.iter_mut().zip(numbers).for_each(|(weight, &bytes)| *weight = number(bytes));
    });
    weights
}
