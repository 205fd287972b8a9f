//! GGUF files: metadata and quantised tensors, read at their places.
//!
//! The header is read by hand and every number in it is doubted: a count is held against the bytes that are left, a
//! product of dimensions is checked, an offset must lie in the file. So a hostile header costs memory in proportion to
//! its own length only, and a damaged one is refused with the place of the damage. Tensors are read and dequantised one at
//! a time, piece by piece.

mod header;
mod problem;
mod types;
mod write;

use std::{path::Path, sync::Arc};

use candle_core::quantized::GgmlDType;
use rayon::prelude::*;

use crate::{
    Error, Result,
    files::OpenFile,
    ops::stored::{self, Stored},
};
pub use header::Header;
pub use problem::Problem;
pub(crate) use types::{dtype_name, is_float};
pub(crate) use write::{Entry, write};

/// Longest key and longest tensor name that the format allows, in bytes.
const MAX_NAME: u64 = 65_535;
const MAX_DIMENSIONS: u32 = 4;
/// The deepest nesting of arrays. No key in use nests at all.
const MAX_NESTING: usize = 4;
/// The format asks for a multiple of eight; a block of any type may then be read in place.
const MIN_ALIGNMENT: u64 = 8;
/// Bytes of a file that are read for its header at first; as long as they do not hold it, four times as many.
const FIRST_READ: usize = 1 << 22;
/// Weights dequantised by one task, a multiple of every block size.
const PIECE: usize = 1 << 16;

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned integer type.
    Unsigned(u64),
    /// Any signed integer type.
    Signed(i64),
    /// Either floating-point type.
    Float(f64),
    /// A truth value.
    Boolean(bool),
    /// Text.
    Text(String),
    /// Values of one type.
    Array(Array),
}

/// An array of metadata values of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Of any unsigned integer type.
    Unsigned(Vec<u64>),
    /// Of any signed integer type.
    Signed(Vec<i64>),
    /// Of either floating-point type.
    Float(Vec<f64>),
    /// Of truth values.
    Boolean(Vec<bool>),
    /// Of texts.
    Text(Vec<String>),
    /// Of arrays.
    Array(Vec<Array>),
}

impl Value {
    /// The value's kind in words, for messages.
    fn kind(&self) -> &'static str {
        match self {
            Self::Unsigned(_) | Self::Signed(_) => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "a truth value",
            Self::Text(_) => "a text",
            Self::Array(Array::Unsigned(_) | Array::Signed(_)) => "an array of integers",
            Self::Array(Array::Float(_)) => "an array of numbers with fractions",
            Self::Array(Array::Boolean(_)) => "an array of truth values",
            Self::Array(Array::Text(_)) => "an array of texts",
            Self::Array(Array::Array(_)) => "an array of arrays",
        }
    }
}

/// A tensor's place and type.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Its name in the file, such as `blk.3.ffn_down.weight`.
    pub name: String,
    /// Row-major dimensions, outermost first (the file has them innermost first).
    pub shape: Vec<usize>,
    /// The type of its weights.
    pub dtype: GgmlDType,
    /// The offset of its data, in bytes from the start of the file.
    pub offset: usize,
    /// Bytes of its data.
    pub size: usize,
}

fn wrong_kind(key: &str, expected: &'static str, found: &Value) -> Problem {
    Problem::WrongKind { key: key.into(), expected, found: found.kind().into() }
}

/// An open GGUF file.
#[derive(Debug)]
pub struct Gguf {
    file: OpenFile,
    header: Header,
}

impl Gguf {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// If the file cannot be opened or is malformed.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenFile::open(path, &[])?;
        let header = read_header(&file)?.map_err(|problem| Error::input(path, problem))?;
        Ok(Self { file, header })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The file as it is held.
    pub(crate) fn file(&self) -> &OpenFile {
        &self.file
    }

    /// The value of a metadata key, of any kind.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.header.get(key)
    }

    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        self.header.tensors()
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.header.tensor(name)
    }

    /// A tensor's weights as `f32`, row-major, with its shape.
    ///
    /// # Errors
    /// If there is no such tensor.
    pub fn dequantise(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let info = self.tensor(name).ok_or_else(|| {
            let tensor = name.into();
            Error::input(self.path(), Problem::NoTensor { tensor })
        })?;
        let mut weights = vec![0.0; info.shape.iter().product()];
        let bytes_of = |weights: usize| weights / info.dtype.block_size() * info.dtype.type_size();
        weights.par_chunks_mut(PIECE).enumerate().try_for_each(|(i, weights)| {
            let mut bytes = vec![0; bytes_of(weights.len())];
            self.file.read_at((info.offset + i * bytes_of(PIECE)) as u64, &mut bytes)?;
            let count = weights.len();
            stored::widen(info.dtype, (1, |_| &bytes[..]), 0..count, weights, count);
            Ok::<_, Error>(())
        })?;
        Ok((info.shape.clone(), weights))
    }

    /// A matrix where it lies; `paired` as in [`Stored::new`].
    pub(crate) fn stored(&self, tensor: &TensorInfo, paired: Option<usize>) -> Result<Option<Stored>> {
        let &[rows, width] = &tensor.shape[..] else { return Ok(None) };
        let map = Arc::clone(self.file.map()?);
        Ok(Stored::new(map, tensor.offset, tensor.dtype, (rows, width), paired))
    }

    /// The text under `key`, if the key is there.
    ///
    /// # Errors
    /// If the value is of another kind.
    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The integer under `key`, of any width, if the key is there.
    ///
    /// # Errors
    /// If the value is of another kind or needs more than 63 bits.
    pub fn integer(&self, key: &str) -> Result<Option<i64>> {
        self.typed(key, "an integer below 2^63", |value| match *value {
            Value::Unsigned(n) => n.try_into().ok(),
            Value::Signed(n) => Some(n),
            _ => None,
        })
    }

    /// The floating-point number under `key`, if the key is there.
    ///
    /// # Errors
    /// If the value is of another kind.
    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number with a fraction", |value| match *value {
            Value::Float(x) => Some(x),
            _ => None,
        })
    }

    /// The truth value under `key`, if the key is there.
    ///
    /// # Errors
    /// If the value is of another kind.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a truth value", |value| match *value {
            Value::Boolean(truth) => Some(truth),
            _ => None,
        })
    }

    /// The texts under `key`, if the key is there.
    ///
    /// # Errors
    /// If the value is of another kind.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>> {
        self.typed(key, "an array of texts", |value| match value {
            Value::Array(Array::Text(texts)) => Some(texts.as_slice()),
            _ => None,
        })
    }

    /// The integers under `key`, of any width, if the key is there.
    ///
    /// # Errors
    /// If the value is of another kind or one of them needs more than 63 bits.
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>> {
        self.typed(key, "an array of integers below 2^63", |value| match value {
            Value::Array(Array::Unsigned(ns)) => ns.iter().map(|&n| n.try_into().ok()).collect(),
            Value::Array(Array::Signed(ns)) => Some(ns.clone()),
            _ => None,
        })
    }

    /// The floating-point numbers under `key`, if the key is there.
    ///
    /// # Errors
    /// If the value is of another kind.
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.typed(key, "an array of numbers with fractions", |value| match value {
            Value::Array(Array::Float(xs)) => Some(xs.clone()),
            _ => None,
        })
    }

    /// The value under `key` as `read` takes it; `read` gives `None` for a value of another kind.
    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match read(value) {
            Some(found) => Ok(Some(found)),
            None => Err(Error::input(self.path(), wrong_kind(key, expected, value))),
        }
    }
}

/// Reads as much of the file's start as its header takes.
fn read_header(file: &OpenFile) -> Result<Result<Header, Problem>> {
    let length = usize::try_from(file.length()).unwrap_or(usize::MAX);
    let mut read = FIRST_READ;
    loop {
        let start = file.start(read)?;
        if let Some(header) = Header::parse_start(&start, length) {
            return Ok(header);
        }
        read = read.saturating_mul(4);
    }
}
