//! Named f32 tensors with metadata in a safetensors file.
//!
//! Written with metadata and tensors in the caller's order, so that equal edits make equal files. Read one tensor after
//! the other, with every size checked against the file first, and widened to f32.

use std::{
    collections::HashMap,
    io::{BufReader, Read},
    path::Path,
};

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use safetensors::{Dtype, tensor::Metadata};
use serde_json::{Map, Value};

use super::{Problem, problem::in_file};
use crate::{
    Error, Result,
    files::{Entry, open_real, write_numbers, write_tensors},
    json,
};

/// Longest header that is read: an adapter on every projection of a thousand layers needs 2 MB.
const MAX_HEADER: u64 = 16 << 20;
const LENGTH_BYTES: u64 = size_of::<u64>() as u64;

/// A safetensors file's content.
pub(super) struct Contents {
    pub(super) metadata: HashMap<String, String>,
    /// In the order of the file.
    pub(super) tensors: Vec<(String, Tensor)>,
}

/// Writes the file as a whole or not at all. Values must be finite: what is saved can be opened.
pub(super) fn write(path: &Path, metadata: Map<String, Value>, tensors: &[(String, Tensor)]) -> Result<()> {
    let entry = |(name, tensor): &(String, Tensor)| {
        finite_values(name, tensor)?;
        Ok(Entry { name: name.clone(), dtype: Dtype::F32, shape: tensor.dims().to_vec() })
    };
    let entries = tensors.iter().map(entry).collect::<Result<Vec<_>>>().map_err(in_file(path))?;
    // The values are taken again rather than kept, so that only one tensor is in memory twice.
    write_tensors(path, metadata, &entries, |index, file| {
        let (name, tensor) = &tensors[index];
        write_numbers(file, &finite_values(name, tensor).map_err(std::io::Error::other)?)
    })
}

/// Reads a file of floats. NaN and infinities are left for [`finite_values`] to find.
pub(super) fn read(path: &Path) -> Result<Contents> {
    let file = open_real(path, &[])?;
    let io = || Error::io(path, "read the file");
    let bytes = file.metadata().map_err(io())?.len();
    let mut file = BufReader::new(file);

    let mut length = [0; LENGTH_BYTES as usize];
    let limit = bytes.saturating_sub(LENGTH_BYTES).min(MAX_HEADER);
    if bytes < LENGTH_BYTES {
        return Err(Problem::Header(format!("the file has only {bytes} bytes")).at(path));
    }
    file.read_exact(&mut length).map_err(io())?;
    let claimed = u64::from_le_bytes(length);
    if claimed > limit {
        return Err(Problem::HeaderSize { claimed, limit }.at(path));
    }
    let mut header = vec![0; claimed as usize];
    file.read_exact(&mut header).map_err(io())?;
    let header: Metadata = json::from_slice(&header).map_err(|e| Problem::Header(e.to_string()).at(path))?;
    let expected = (LENGTH_BYTES + claimed).saturating_add(header.data_len() as u64);
    if bytes != expected {
        return Err(Problem::FileSize { expected, found: bytes }.at(path));
    }

    // The header was proved to describe the file without gaps, so the tensors follow each other.
    let mut tensors = Vec::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else {
            continue;
        };
        let mut data = vec![0; info.data_offsets.1 - info.data_offsets.0];
        file.read_exact(&mut data).map_err(io())?;
        let values = floats(&name, info.dtype, &data).map_err(|p| p.at(path))?;
        let tensor = Tensor::from_vec(values, info.shape.as_slice(), &Device::Cpu)?;
        tensors.push((name, tensor));
    }
    Ok(Contents { metadata: header.metadata().clone().unwrap_or_default(), tensors })
}

fn floats(name: &str, dtype: Dtype, data: &[u8]) -> Result<Vec<f32>, Problem> {
    fn each<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        data.as_chunks().0.iter().map(|&bytes| value(bytes)).collect()
    }
    Ok(match dtype {
        Dtype::F32 => each(data, f32::from_le_bytes),
        Dtype::F16 => each(data, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => each(data, |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F64 => each(data, |b| f64::from_le_bytes(b) as f32),
        other => {
            return Err(Problem::DataType { tensor: name.into(), dtype: other.to_string() });
        }
    })
}

/// A tensor's values in row-major order; NaN and infinities are an error that names the tensor.
pub(super) fn finite_values(name: &str, tensor: &Tensor) -> Result<Vec<f32>> {
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(values),
        Some(index) => Err(Problem::NotFinite { tensor: name.into(), index, value: values[index] }.into()),
    }
}
