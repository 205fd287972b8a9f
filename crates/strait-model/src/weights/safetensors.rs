//! Folders of safetensors, whole or in shards.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use candle_core::quantized::GgmlDType;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::{Dtype, tensor::Metadata};
use serde::Deserialize;

use super::{PIECE, Problem, check_finite, check_shape, fit};
use crate::{
    Error, Result,
    config::read_bounded,
    files::{OpenFile, unfinished_beside},
    json,
    ops::stored::Stored,
};

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
    /// The shard of every tensor.
    index: HashMap<String, usize>,
}

/// One file.
#[derive(Debug)]
struct Shard {
    file: OpenFile,
    header: Metadata,
    /// The offset of the data, in bytes.
    data: u64,
}

#[derive(Deserialize)]
struct Index {
    /// The shard of every tensor.
    weight_map: BTreeMap<String, String>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.join(WHOLE).exists() {
            return Self::open_whole(path);
        }
        if path.join(INDEX).exists() {
            return Self::open_shards(path);
        }
        let unfinished = unfinished_beside(&path.join(WHOLE));
        let pickle = PICKLES.into_iter().find(|file| path.join(file).is_file());
        Err(Error::input(
            path,
            match (unfinished, pickle) {
                (Some(part), _) => Problem::Unfinished {
                    file: part.file_name().unwrap_or_default().to_string_lossy().into(),
                },
                (None, Some(file)) => Problem::Pickle { file },
                (None, None) => Problem::NoWeights,
            },
        ))
    }

    fn open_whole(path: &Path) -> Result<Self> {
        let shard = Shard::open(&path.join(WHOLE))?;
        let index = shard.header.offset_keys().into_iter().map(|name| (name, 0)).collect();
        Ok(Self { path: path.into(), shards: vec![shard], index })
    }

    fn open_shards(path: &Path) -> Result<Self> {
        let index_path = path.join(INDEX);
        let problem = |problem| Error::input(&index_path, problem);
        let index: Index = json::from_slice(&read_bounded(&index_path, MAX_INDEX)?)
            .map_err(|e| problem(Problem::Index { reason: e.to_string() }))?;
        let mut shards: Vec<Shard> = vec![];
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut tensors = HashMap::new();
        for (tensor, shard) in index.weight_map {
            let place = match places.get(&shard) {
                Some(&place) => place,
                None => {
                    let file = shard_path(path, &shard).map_err(problem)?;
                    shards.push(Shard::open(&file)?);
                    places.insert(shard.clone(), shards.len() - 1);
                    shards.len() - 1
                }
            };
            if shards[place].header.info(&tensor).is_none() {
                return Err(problem(Problem::NotInShard { tensor, shard }));
            }
            tensors.insert(tensor, place);
        }
        for (shard, &place) in &places {
            let elsewhere = |tensor: &String| tensors.get(tensor) != Some(&place);
            if let Some(tensor) = shards[place].header.offset_keys().into_iter().find(elsewhere) {
                let named = tensors.get(&tensor).and_then(|at| places.iter().find(|(_, place)| *place == at));
                let elsewhere = named.map(|(shard, _)| shard.clone());
                return Err(problem(Problem::NotInIndex { tensor, shard: shard.clone(), elsewhere }));
            }
        }
        Ok(Self { path: path.into(), shards, index: tensors })
    }

    /// All tensors.
    pub(super) fn tensors(&self) -> Vec<fit::Stored<'_>> {
        let stored = self.index.iter().filter_map(|(name, &shard)| {
            let info = self.shards[shard].header.info(name)?;
            let read = matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64);
            Some(fit::Stored { name, shape: &info.shape, unread: (!read).then(|| info.dtype.to_string()) })
        });
        stored.collect()
    }

    /// Type and shape of all tensors.
    pub(super) fn types(&self) -> HashMap<String, (Dtype, Vec<usize>)> {
        let types = self.index.iter().filter_map(|(name, &shard)| {
            let info = self.shards[shard].header.info(name)?;
            Some((name.clone(), (info.dtype, info.shape.clone())))
        });
        types.collect()
    }

    /// A tensor's bytes.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let shard = self.index.get(name).map(|&shard| &self.shards[shard]);
        let Some((shard, info)) = shard.and_then(|shard| Some((shard, shard.header.info(name)?))) else {
            return Err(Error::input(&self.path, Problem::NoTensor { tensor: name.into() }));
        };
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        shard.file.read_at(shard.data + start as u64, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// All files, by name.
    pub(super) fn files(&self) -> Vec<&OpenFile> {
        let mut files: Vec<_> = self.shards.iter().map(|shard| &shard.file).collect();
        files.sort_by_key(|file| file.path());
        files
    }

    /// A matrix where it lies, if it is one of numbers that are read there.
    pub(super) fn stored(&self, name: &str, shape: &[usize]) -> Result<Option<Stored>> {
        match (self.index.get(name), shape) {
            (Some(&shard), &[rows, width]) => self.shards[shard].stored(name, (rows, width)),
            _ => Ok(None),
        }
    }

    /// A tensor's weights as f32; refuses other shapes than `shape`, and numbers that are not finite.
    pub(super) fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        match self.index.get(name) {
            Some(&shard) => self.shards[shard].read(name, shape),
            None => Err(Error::input(&self.path, Problem::NoTensor { tensor: name.into() })),
        }
    }
}

/// The path of a shard; it may not lie outside the folder.
fn shard_path(folder: &Path, shard: &str) -> Result<PathBuf, Problem> {
    let inside = Path::new(shard).components().all(|c| matches!(c, Component::Normal(_)));
    if !inside || shard.is_empty() {
        return Err(Problem::ShardOutside { shard: shard.into() });
    }
    let path = folder.join(shard);
    if path.is_file() { Ok(path) } else { Err(Problem::ShardMissing { shard: shard.into() }) }
}

impl Shard {
    fn open(path: &Path) -> Result<Self> {
        let file = OpenFile::open(path, &[])?;
        let (header, data) = read_header(&file)?.map_err(|problem| Error::input(path, problem))?;
        Ok(Self { file, header, data })
    }

    fn stored(&self, name: &str, (rows, width): (usize, usize)) -> Result<Option<Stored>> {
        let Some(info) = self.header.info(name).filter(|info| info.shape == [rows, width]) else {
            return Ok(None);
        };
        let dtype = match info.dtype {
            Dtype::F32 => GgmlDType::F32,
            Dtype::F16 => GgmlDType::F16,
            Dtype::BF16 => GgmlDType::BF16,
            _ => return Ok(None),
        };
        let offset = self.data as usize + info.data_offsets.0;
        Ok(Stored::new(Arc::clone(self.file.map()?), offset, dtype, (rows, width), None))
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let problem = |problem| Error::input(self.file.path(), problem);
        let info = self.header.info(name);
        let info = info.ok_or_else(|| problem(Problem::NoTensor { tensor: name.into() }))?;
        check_shape(name, shape, &info.shape).map_err(problem)?;
        let weights = shape.iter().product();
        let offset = self.data + info.data_offsets.0 as u64;
        let weights = match info.dtype {
            Dtype::F32 => self.convert(offset, weights, f32::from_le_bytes),
            Dtype::F16 => self.convert(offset, weights, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => self.convert(offset, weights, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F64 => self.convert(offset, weights, |b| f64::from_le_bytes(b) as f32),
            other => {
                let found = other.to_string();
                return Err(problem(Problem::Dtype { tensor: name.into(), found }));
            }
        }?;
        check_finite(name, &weights).map_err(problem)?;
        Ok(weights)
    }

    /// So many numbers of `N` bytes each from `offset` on as f32, piece by piece.
    fn convert<const N: usize>(
        &self,
        offset: u64,
        weights: usize,
        number: impl Fn([u8; N]) -> f32 + Sync,
    ) -> Result<Vec<f32>> {
        let mut weights = vec![0.0; weights];
        weights.par_chunks_mut(PIECE).enumerate().try_for_each(|(i, weights)| {
            let mut bytes = vec![0; weights.len() * N];
            self.file.read_at(offset + (i * PIECE * N) as u64, &mut bytes)?;
            let (numbers, _) = bytes.as_chunks::<N>();
            weights.iter_mut().zip(numbers).for_each(|(weight, &bytes)| *weight = number(bytes));
            Ok::<_, crate::Error>(())
        })?;
        Ok(weights)
    }
}

/// The header of a file and where its data starts.
///
/// The library checks the tensors among themselves (sizes by shape and type, no gap, no overlap). What it would say of the
/// file's lengths names no numbers, so these are checked here.
fn read_header(file: &OpenFile) -> Result<Result<(Metadata, u64), Problem>> {
    let length = file.length();
    let Some(left) = length.checked_sub(LENGTH as u64) else {
        return Ok(Err(Problem::TooShort { length }));
    };
    let mut found = [0; LENGTH];
    file.read_at(0, &mut found)?;
    let found = u64::from_le_bytes(found);
    if found > MAX_HEADER {
        return Ok(Err(Problem::HeaderTooLong { found, limit: MAX_HEADER }));
    }
    let Some(data) = left.checked_sub(found) else {
        return Ok(Err(Problem::HeaderTruncated { found, left }));
    };
    let mut header = vec![0; found as usize];
    file.read_at(LENGTH as u64, &mut header)?;
    Ok(parse_header(&header, data).map(|header| (header, LENGTH as u64 + found)))
}

/// A header before `data` bytes of tensors.
fn parse_header(header: &[u8], data: u64) -> Result<Metadata, Problem> {
    let header: Metadata = json::from_slice(header).map_err(|e| Problem::Header { reason: e.to_string() })?;
    let expected = header.data_len() as u64;
    if expected != data {
        return Err(Problem::DataLength { expected, found: data });
    }
    Ok(header)
}
