//! GGUF files: metadata and quantised tensors over a memory map.
//!
//! The header is read by hand and every number in it is doubted: a count is held against the bytes that are left, a
//! product of dimensions is checked, an offset must lie in the file. So a hostile header costs no more memory than its
//! own length, and a damaged one is refused with the place of the damage. Tensors are dequantised one at a time,
//! straight from the map.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    fs::File,
    path::{Path, PathBuf},
};

use candle_core::quantized::GgmlDType;
use memmap2::Mmap;
use rayon::prelude::*;

use crate::{Error, Result};

const MAGIC: [u8; 4] = *b"GGUF";
/// Longest key and longest tensor name that the format allows, in bytes.
const MAX_NAME: u64 = 65_535;
/// Longest header that is read, in bytes. The largest vocabularies in use take a tenth of it.
const MAX_HEADER: usize = 1 << 28;
const MAX_DIMENSIONS: u32 = 4;
/// How deep arrays may lie in arrays. No key in use nests at all.
const MAX_NESTING: usize = 4;
/// Bytes of the shortest metadata entry: key length, value type, one byte of value.
const MIN_ENTRY: u64 = 8 + 4 + 1;
/// Bytes of the shortest tensor entry: name length, number of dimensions, type, offset.
const MIN_TENSOR: u64 = 8 + 4 + 4 + 8;
const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;
/// The format asks for a multiple of eight; a block of any type may then be read in place.
const MIN_ALIGNMENT: u64 = 8;
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
        "tensor `{tensor}` has rows of {row} weights, which is not a multiple of {block}, the block size of {dtype:?}"
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

/// The parsed header of a GGUF file: everything but the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    metadata: HashMap<String, Value>,
    tensors: Vec<TensorInfo>,
    index: HashMap<String, usize>,
}

impl Header {
    /// Reads the header of the whole file `bytes` and checks that every tensor's data lies within it.
    ///
    /// # Errors
    /// The first malformation met, see [`Problem`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut reader = Reader { bytes, at: 0 };
        let magic = reader.array("the magic number")?;
        if magic != MAGIC {
            return Err(Problem::Magic { found: magic });
        }
        check_version(reader.u32("the version")?)?;
        let tensors = reader.count("the number of tensors", MIN_TENSOR)?;
        let entries = reader.count("the number of metadata entries", MIN_ENTRY)?;
        let metadata = reader.metadata(entries)?;
        let alignment = alignment(&metadata)?;
        let (entries, index) = reader.tensor_entries(tensors)?;
        let data = (reader.at as u128).next_multiple_of(u128::from(alignment));
        let tensors = entries
            .into_iter()
            .map(|entry| entry.place(data, alignment, bytes.len()))
            .collect::<Result<_, _>>()?;
        Ok(Self { metadata, tensors, index })
    }

    /// The value of a metadata key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).map(|&i| &self.tensors[i])
    }
}

fn check_version(version: u32) -> Result<(), Problem> {
    match version {
        2 | 3 => Ok(()),
        _ if matches!(version.swap_bytes(), 1..=3) => {
            Err(Problem::BigEndian { version: version.swap_bytes() })
        }
        found => Err(Problem::Version { found }),
    }
}

fn alignment(metadata: &HashMap<String, Value>) -> Result<u64, Problem> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::Unsigned(n)) if n.is_power_of_two() && n >= MIN_ALIGNMENT => Ok(n),
        Some(&Value::Unsigned(found)) => Err(Problem::Alignment { found }),
        Some(other) => Err(wrong_kind(ALIGNMENT_KEY, "an unsigned integer", other)),
    }
}

fn wrong_kind(key: &str, expected: &'static str, found: &Value) -> Problem {
    Problem::WrongKind { key: key.into(), expected, found: found.kind().into() }
}

/// A tensor as its entry describes it, before its data is looked for.
struct TensorEntry {
    name: String,
    shape: Vec<usize>,
    dtype: GgmlDType,
    size: usize,
    /// From the start of the data section.
    offset: u64,
}

impl TensorEntry {
    /// Finds the data in a file of `length` bytes whose data section starts at `data`.
    fn place(self, data: u128, alignment: u64, length: usize) -> Result<TensorInfo, Problem> {
        if !self.offset.is_multiple_of(alignment) {
            return Err(Problem::Misaligned { tensor: self.name, found: self.offset, alignment });
        }
        let start = data + u128::from(self.offset);
        match usize::try_from(start) {
            Ok(offset) if start + self.size as u128 <= length as u128 => Ok(TensorInfo {
                name: self.name,
                shape: self.shape,
                dtype: self.dtype,
                offset,
                size: self.size,
            }),
            _ => Err(Problem::Outside { tensor: self.name, start, size: self.size, length }),
        }
    }
}

/// A cursor over the file that never goes past its end.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// The next `n` bytes.
    fn take(&mut self, n: u64, what: &str) -> Result<&'a [u8], Problem> {
        if n > self.left() {
            return Err(Problem::Truncated {
                what: what.into(),
                offset: self.at,
                length: self.bytes.len(),
                missing: n - self.left(),
            });
        }
        let end = self.at + n as usize;
        if end > MAX_HEADER {
            return Err(Problem::HeaderTooLong { what: what.into(), offset: self.at, limit: MAX_HEADER });
        }
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    fn u32(&mut self, what: &str) -> Result<u32, Problem> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, Problem> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A number of entries of at least `smallest` bytes each, which the rest of the file must be able to hold.
    fn count(&mut self, what: &str, smallest: u64) -> Result<usize, Problem> {
        let offset = self.at;
        let found = self.u64(what)?;
        let room = self.left() / smallest;
        if found > room {
            return Err(Problem::Count { what: what.into(), offset, found, room });
        }
        Ok(found as usize)
    }

    fn text(&mut self, what: &str) -> Result<String, Problem> {
        let length = self.u64(what)?;
        self.text_of(length, what)
    }

    fn text_of(&mut self, length: u64, what: &str) -> Result<String, Problem> {
        let offset = self.at;
        let bytes = self.take(length, what)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.into()),
            Err(e) => Err(Problem::Utf8 { what: what.into(), offset, valid: e.valid_up_to() }),
        }
    }

    /// A key or a tensor's name.
    fn name(&mut self, what: &str) -> Result<String, Problem> {
        let offset = self.at;
        let found = self.u64(what)?;
        if found > MAX_NAME {
            return Err(Problem::NameLength { what: what.into(), offset, found });
        }
        self.text_of(found, what)
    }

    fn metadata(&mut self, entries: usize) -> Result<HashMap<String, Value>, Problem> {
        let mut metadata = HashMap::new();
        for i in 0..entries {
            let offset = self.at;
            let key = self.name(&format!("the key of metadata entry {i}"))?;
            let value = self.value(&format!("the value of `{key}`"))?;
            match metadata.entry(key) {
                Entry::Vacant(place) => place.insert(value),
                Entry::Occupied(place) => {
                    return Err(Problem::DuplicateKey { key: place.key().clone(), offset });
                }
            };
        }
        Ok(metadata)
    }

    fn value(&mut self, what: &str) -> Result<Value, Problem> {
        Ok(match self.value_type(what)? {
            ValueType::Unsigned(width) => Value::Unsigned(self.unsigned(width, what)?),
            ValueType::Signed(width) => Value::Signed(self.signed(width, what)?),
            ValueType::Float(width) => Value::Float(self.float(width, what)?),
            ValueType::Boolean => Value::Boolean(self.boolean(what)?),
            ValueType::Text => Value::Text(self.text(what)?),
            ValueType::Array => Value::Array(self.values(what, 1)?),
        })
    }

    /// An array that lies in `depth - 1` others.
    fn values(&mut self, what: &str, depth: usize) -> Result<Array, Problem> {
        if depth > MAX_NESTING {
            return Err(Problem::Nesting { what: what.into(), offset: self.at });
        }
        let kind = self.value_type(what)?;
        let n = self.count(&format!("the number of elements in {what}"), kind.smallest())?;
        Ok(match kind {
            ValueType::Unsigned(width) => Array::Unsigned(repeat(n, || self.unsigned(width, what))?),
            ValueType::Signed(width) => Array::Signed(repeat(n, || self.signed(width, what))?),
            ValueType::Float(width) => Array::Float(repeat(n, || self.float(width, what))?),
            ValueType::Boolean => Array::Boolean(repeat(n, || self.boolean(what))?),
            ValueType::Text => Array::Text(repeat(n, || self.text(what))?),
            ValueType::Array => Array::Array(repeat(n, || self.values(what, depth + 1))?),
        })
    }

    fn value_type(&mut self, what: &str) -> Result<ValueType, Problem> {
        let offset = self.at;
        Ok(match self.u32(what)? {
            0 => ValueType::Unsigned(1),
            1 => ValueType::Signed(1),
            2 => ValueType::Unsigned(2),
            3 => ValueType::Signed(2),
            4 => ValueType::Unsigned(4),
            5 => ValueType::Signed(4),
            6 => ValueType::Float(4),
            7 => ValueType::Boolean,
            8 => ValueType::Text,
            9 => ValueType::Array,
            10 => ValueType::Unsigned(8),
            11 => ValueType::Signed(8),
            12 => ValueType::Float(8),
            found => {
                return Err(Problem::ValueType { what: what.into(), offset, found });
            }
        })
    }

    fn unsigned(&mut self, width: u64, what: &str) -> Result<u64, Problem> {
        let bytes = self.take(width, what)?;
        Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn signed(&mut self, width: u64, what: &str) -> Result<i64, Problem> {
        // Shifting up and back down again copies the sign into the bytes that the file leaves out.
        let spare = 64 - 8 * width;
        Ok(((self.unsigned(width, what)? << spare) as i64) >> spare)
    }

    fn float(&mut self, width: u64, what: &str) -> Result<f64, Problem> {
        Ok(match width {
            4 => f32::from_le_bytes(self.array(what)?).into(),
            _ => f64::from_le_bytes(self.array(what)?),
        })
    }

    fn boolean(&mut self, what: &str) -> Result<bool, Problem> {
        let offset = self.at;
        match self.array(what)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [found] => Err(Problem::Boolean { what: what.into(), offset, found }),
        }
    }

    /// The entries of `n` tensors, and at which place each name stands.
    fn tensor_entries(&mut self, n: usize) -> Result<(Vec<TensorEntry>, HashMap<String, usize>), Problem> {
        let mut entries = Vec::new();
        let mut index = HashMap::new();
        for i in 0..n {
            let offset = self.at;
            let entry = self.tensor_entry(i)?;
            if index.insert(entry.name.clone(), i).is_some() {
                return Err(Problem::DuplicateTensor { tensor: entry.name, offset });
            }
            entries.push(entry);
        }
        Ok((entries, index))
    }

    fn tensor_entry(&mut self, i: usize) -> Result<TensorEntry, Problem> {
        let name = self.name(&format!("the name of tensor {i}"))?;
        let what = format!("the entry of tensor `{name}`");
        let shape_at = self.at;
        let dimensions = self.u32(&what)?;
        if dimensions > MAX_DIMENSIONS {
            return Err(Problem::Dimensions { tensor: name, offset: shape_at, found: dimensions });
        }
        let mut shape = repeat(dimensions as usize, || self.u64(&what))?;
        shape.reverse();
        let type_at = self.at;
        let number = self.u32(&what)?;
        let Some(dtype) = supported_type(number) else {
            return Err(Problem::TensorType { tensor: name, offset: type_at, found: number });
        };
        let Some((shape, elements)) = count_elements(&shape) else {
            return Err(Problem::Overflow { tensor: name, offset: shape_at + 4, shape });
        };
        let (row, block) = (*shape.last().unwrap_or(&1), dtype.block_size());
        if row % block != 0 {
            return Err(Problem::Block { tensor: name, dtype, row, block });
        }
        Ok(TensorEntry {
            offset: self.u64(&what)?,
            // No block takes more bytes than four for each of its weights, which `count_elements` has left room for.
            size: elements / block * dtype.type_size(),
            name,
            shape,
            dtype,
        })
    }
}

/// How a metadata value is written; numbers with their width in bytes.
#[derive(Clone, Copy)]
enum ValueType {
    Unsigned(u64),
    Signed(u64),
    Float(u64),
    Boolean,
    Text,
    Array,
}

impl ValueType {
    /// Bytes of the shortest value of this type.
    fn smallest(self) -> u64 {
        match self {
            Self::Unsigned(width) | Self::Signed(width) | Self::Float(width) => width,
            Self::Boolean => 1,
            Self::Text => 8,
            Self::Array => 4 + 8,
        }
    }
}

/// Reads `n` things. The vector grows as they come, because `n` is only the file's word.
fn repeat<T>(n: usize, mut read: impl FnMut() -> Result<T, Problem>) -> Result<Vec<T>, Problem> {
    (0..n).map(|_| read()).collect()
}

/// The shape in machine words and its product; `None` where the weights as `f32` could not be addressed.
fn count_elements(shape: &[u64]) -> Option<(Vec<usize>, usize)> {
    let shape: Vec<usize> = shape.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<_>>()?;
    let elements = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n))?;
    elements.checked_mul(size_of::<f32>())?;
    Some((shape, elements))
}

fn supported_type(number: u32) -> Option<GgmlDType> {
    Some(match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

/// The name of a type that is not supported, where it has one.
fn type_name(number: u32) -> Cow<'static, str> {
    Cow::Borrowed(match number {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        40 => "NVFP4",
        _ => return Cow::Owned(format!("number {number}")),
    })
}

/// An open GGUF file.
///
/// The file is mapped, not read: it must not be changed while the value lives.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    map: Mmap,
    header: Header,
}

impl Gguf {
    /// Maps a file and reads its header.
    ///
    /// # Errors
    /// If the file cannot be opened or is malformed.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "open the file"))?;
        // SAFETY: the map is only read; that no one else changes the file meanwhile is the documented condition.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path, "map the file"))?;
        let header = Header::parse(&map).map_err(|problem| at(path, problem))?;
        Ok(Self { path: path.into(), map, header })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
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
            at(&self.path, Problem::NoTensor { tensor })
        })?;
        let bytes = &self.map[info.offset..info.offset + info.size];
        let mut weights = vec![0.0; info.shape.iter().product()];
        weights
            .par_chunks_mut(PIECE)
            .zip(bytes.par_chunks(PIECE / info.dtype.block_size() * info.dtype.type_size()))
            .try_for_each(|(weights, bytes)| dequantise_piece(info.dtype, bytes, weights))?;
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
            None => Err(at(&self.path, wrong_kind(key, expected, value))),
        }
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
