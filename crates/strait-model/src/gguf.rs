//! GGUF files: metadata and quantised tensors, read at their places.
//!
//! The header is read by hand and every number in it is doubted: a count is held against the bytes that are left, a
//! product of dimensions is checked, an offset must lie in the file. So a hostile header costs memory in proportion to
//! its own length only, and a damaged one is refused with the place of the damage. Tensors are read and dequantised one at
//! a time, piece by piece.

mod header;
mod types;

use std::{borrow::Cow, path::Path};

use candle_core::quantized::GgmlDType;
use rayon::prelude::*;

use crate::{Error, Result, files::Pinned};
pub use header::Header;
use types::type_name;
pub(crate) use types::{dtype_name, is_float};

/// Longest key and longest tensor name that the format allows, in bytes.
const MAX_NAME: u64 = 65_535;
const MAX_DIMENSIONS: u32 = 4;
/// How deep arrays may lie in arrays. No key in use nests at all.
const MAX_NESTING: usize = 4;
/// The format asks for a multiple of eight; a block of any type may then be read in place.
const MIN_ALIGNMENT: u64 = 8;
/// Bytes of a file that are read for its header at first; as long as they do not hold it, four times as many.
const FIRST_READ: usize = 1 << 22;
/// Weights dequantised by one task, a multiple of every block size.
const PIECE: usize = 1 << 16;

/// What is wrong with a GGUF file. Offsets are bytes from the start of the file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: its first bytes are `{}`, not `GGUF`", found.escape_ascii())]
    Magic {
        /// The first bytes.
        found: [u8; 4],
    },
    /// A version that is not read here.
    #[error("GGUF version {found}, where 2 and 3 are supported")]
    Version {
        /// The file's version.
        found: u32,
    },
    /// A file for machines of the other byte order.
    #[error("a big-endian GGUF file (version {version}), where only little-endian ones are supported")]
    BigEndian {
        /// The file's version, in its own byte order.
        version: u32,
    },
    /// The file ends in the middle of something.
    #[error(
        "the file ends at byte {length} inside {what}, which starts at byte {offset}: {missing} bytes are missing"
    )]
    Truncated {
        /// What was being read.
        what: String,
        /// Where it starts.
        offset: usize,
        /// Length of the file.
        length: usize,
        /// How many bytes more it would take.
        missing: u64,
    },
    /// The header goes on for longer than any real one.
    #[error("the header is longer than {limit} bytes (reading {what} at byte {offset})")]
    HeaderTooLong {
        /// What was being read.
        what: String,
        /// Where it starts.
        offset: usize,
        /// The limit.
        limit: usize,
    },
    /// A number of entries that the rest of the file cannot hold.
    #[error("{what}, at byte {offset}, is {found}, but the rest of the file has room for at most {room}")]
    Count {
        /// What is counted.
        what: String,
        /// Where the count stands.
        offset: usize,
        /// The count.
        found: u64,
        /// The largest possible count.
        room: u64,
    },
    /// A key or name longer than the format allows.
    #[error("{what}, at byte {offset}, is {found} bytes long, where {MAX_NAME} is the limit")]
    NameLength {
        /// Which name.
        what: String,
        /// Where its length stands.
        offset: usize,
        /// Its length.
        found: u64,
    },
    /// Text that is not UTF-8.
    #[error("{what}, at byte {offset}, is not valid UTF-8 from its byte {valid} on")]
    Utf8 {
        /// Which text.
        what: String,
        /// Where it starts.
        offset: usize,
        /// How many of its bytes are valid.
        valid: usize,
    },
    /// A type of metadata value that does not exist.
    #[error("{what}, at byte {offset}, has the unknown type {found}")]
    ValueType {
        /// Which value.
        what: String,
        /// Where the type stands.
        offset: usize,
        /// The type's number.
        found: u32,
    },
    /// A truth value that is neither 0 nor 1.
    #[error("{what}, at byte {offset}, should be 0 or 1 (false or true) and is {found}")]
    Boolean {
        /// Which value.
        what: String,
        /// Where it stands.
        offset: usize,
        /// What stands there.
        found: u8,
    },
    /// Arrays in arrays in arrays.
    #[error("{what} nests arrays more than {MAX_NESTING} deep at byte {offset}")]
    Nesting {
        /// Which value.
        what: String,
        /// Where the array too many starts.
        offset: usize,
    },
    /// Two metadata entries with one key.
    #[error("the key `{key}` stands twice, the second time at byte {offset}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where the second entry starts.
        offset: usize,
    },
    /// Two tensors with one name.
    #[error("the tensor `{tensor}` stands twice, the second time at byte {offset}")]
    DuplicateTensor {
        /// The name.
        tensor: String,
        /// Where the second entry starts.
        offset: usize,
    },
    /// An alignment that the format does not allow.
    #[error("`general.alignment` is {found}, not a power of two of at least {MIN_ALIGNMENT}")]
    Alignment {
        /// The alignment.
        found: u64,
    },
    /// More dimensions than a tensor can have.
    #[error(
        "tensor `{tensor}`, at byte {offset}, has {found} dimensions, where {MAX_DIMENSIONS} is the limit"
    )]
    Dimensions {
        /// The tensor.
        tensor: String,
        /// Where the number stands.
        offset: usize,
        /// The number.
        found: u32,
    },
    /// Dimensions whose product no machine can count.
    #[error("the dimensions {shape:?} of tensor `{tensor}`, at byte {offset}, multiply past 2^64 bytes")]
    Overflow {
        /// The tensor.
        tensor: String,
        /// Where the dimensions stand.
        offset: usize,
        /// The dimensions, outermost first.
        shape: Vec<u64>,
    },
    /// A tensor type that is not read here.
    #[error("tensor `{tensor}` is of type {} (at byte {offset}), which is not supported", type_name(*found))]
    TensorType {
        /// The tensor.
        tensor: String,
        /// Where the type stands.
        offset: usize,
        /// The type's number.
        found: u32,
    },
    /// Rows that do not consist of whole blocks.
    #[error(
        "tensor `{tensor}` has rows of {row} weights, which is not a multiple of {block}, the block size of {}",
        dtype_name(*dtype)
    )]
    Block {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: GgmlDType,
        /// Weights in a row.
        row: usize,
        /// Weights in a block.
        block: usize,
    },
    /// Data that does not start where data may start.
    #[error(
        "the data of tensor `{tensor}` starts {found} bytes into the data section, which is not a multiple of the alignment {alignment}"
    )]
    Misaligned {
        /// The tensor.
        tensor: String,
        /// Its offset in the data section.
        found: u64,
        /// The alignment.
        alignment: u64,
    },
    /// Data that the file does not hold.
    #[error(
        "the {size} bytes of tensor `{tensor}` start at byte {start}, but the file ends at byte {length}"
    )]
    Outside {
        /// The tensor.
        tensor: String,
        /// Where its data starts.
        start: u128,
        /// Bytes of its data.
        size: usize,
        /// Length of the file.
        length: usize,
    },
    /// A key whose value is of another kind than it has to be.
    #[error("the value of `{key}` should be {expected} and is {found}")]
    WrongKind {
        /// The key.
        key: String,
        /// What is needed.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A tensor that is not in the file.
    #[error("there is no tensor `{tensor}`")]
    NoTensor {
        /// The tensor.
        tensor: String,
    },
}

impl Problem {
    /// The remedy.
    pub fn hint(&self) -> String {
        match self {
            Self::Magic { .. } => {
                "give a `.gguf` file, or a folder with `config.json` and `model.safetensors`"
            }
            Self::Version { found: 1 } => {
                "convert the model again with a llama.cpp of September 2023 or later"
            }
            Self::Version { .. } => "look for a newer version of strait, or convert to GGUF version 3",
            Self::BigEndian { .. } => "convert the model again as a little-endian file",
            Self::TensorType { .. } => {
                "use a file quantised as F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K (of the `_K_S`, `_K_M` kinds)"
            }
            Self::WrongKind { .. } | Self::NoTensor { .. } => {
                "the file was not written by the usual converter: convert the model again with llama.cpp"
            }
            _ => "the file is damaged or not whole: fetch it again and compare its checksum",
        }
        .into()
    }
}

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

/// Where a tensor lies and how it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Its name in the file, such as `blk.3.ffn_down.weight`.
    pub name: String,
    /// Row-major dimensions, outermost first (the file has them innermost first).
    pub shape: Vec<usize>,
    /// How its weights are quantised.
    pub dtype: GgmlDType,
    /// Where its data starts, in bytes from the start of the file.
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
    file: Pinned,
    header: Header,
}

impl Gguf {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// If the file cannot be opened or is malformed.
    pub fn open(path: &Path) -> Result<Self> {
        let file = Pinned::open(path, &[])?;
        let header = read_header(&file)?.map_err(|problem| at(path, problem))?;
        Ok(Self { file, header })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The file as it is held.
    pub(crate) fn file(&self) -> &Pinned {
        &self.file
    }

    /// The value of a metadata key, of whatever kind.
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
            at(self.path(), Problem::NoTensor { tensor })
        })?;
        let mut weights = vec![0.0; info.shape.iter().product()];
        let bytes_of = |weights: usize| weights / info.dtype.block_size() * info.dtype.type_size();
        weights.par_chunks_mut(PIECE).enumerate().try_for_each(|(i, weights)| {
            let mut bytes = vec![0; bytes_of(weights.len())];
            self.file.read_at((info.offset + i * bytes_of(PIECE)) as u64, &mut bytes)?;
            Ok::<_, Error>(dequantise_piece(info.dtype, &bytes, weights)?)
        })?;
        Ok((info.shape.clone(), weights))
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

    /// The integer under `key`, of whatever width, if the key is there.
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

    /// The integers under `key`, of whatever width, if the key is there.
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
            None => Err(at(self.path(), wrong_kind(key, expected, value))),
        }
    }
}

/// Reads as much of the file's start as its header takes.
fn read_header(file: &Pinned) -> Result<Result<Header, Problem>> {
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

/// Turns whole blocks into weights.
fn dequantise_piece(dtype: GgmlDType, bytes: &[u8], weights: &mut [f32]) -> candle_core::Result<()> {
    let blocks = dtype.from_data(Cow::Borrowed(bytes));
    let dequantised = blocks.dequantize(weights.len())?;
    weights.copy_from_slice(dequantised.as_slice::<f32>()?);
    Ok(())
}

fn at(path: &Path, problem: Problem) -> Error {
    Error::Gguf { path: path.into(), problem: Box::new(problem) }
}
