//! The header, read by hand.

use std::collections::{HashMap, hash_map::Entry};

use candle_core::quantized::GgmlDType;

use super::{
    Array, MAX_DIMENSIONS, MAX_NAME, MAX_NESTING, MIN_ALIGNMENT, Problem, TensorInfo, Value,
    types::supported_type, wrong_kind,
};

pub(super) const MAGIC: [u8; 4] = *b"GGUF";
/// Longest header that is read, in bytes. The largest vocabularies in use take a tenth of it.
const MAX_HEADER: usize = 1 << 28;
/// Bytes of the shortest metadata entry: key length, value type, one byte of value.
const MIN_ENTRY: u64 = 8 + 4 + 1;
/// Bytes of the shortest tensor entry: name length, number of dimensions, type, offset.
const MIN_TENSOR: u64 = 8 + 4 + 4 + 8;
const ALIGNMENT_KEY: &str = "general.alignment";
pub(super) const DEFAULT_ALIGNMENT: u64 = 32;

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
        Self::read(&mut Reader::new(bytes, bytes.len()))
    }

    /// As [`parse`](Self::parse), of a file of `length` bytes that begins with `start`; `None` where its header is longer.
    pub(super) fn parse_start(start: &[u8], length: usize) -> Option<Result<Self, Problem>> {
        let mut reader = Reader::new(start, length);
        let result = Self::read(&mut reader);
        (!reader.short).then_some(result)
    }

    fn read(reader: &mut Reader) -> Result<Self, Problem> {
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
            .map(|entry| entry.place(data, alignment, reader.length))
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
    /// The start of the file, perhaps all of it.
    bytes: &'a [u8],
    /// Length of the file.
    length: usize,
    at: usize,
    /// True if the start turned out to be too short.
    short: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], length: usize) -> Self {
        Self { bytes, length, at: 0, short: false }
    }

    fn left(&self) -> u64 {
        (self.length - self.at) as u64
    }

    /// The next `n` bytes.
    fn take(&mut self, n: u64, what: &str) -> Result<&'a [u8], Problem> {
        if n > self.left() {
            return Err(Problem::Truncated {
                what: what.into(),
                offset: self.at,
                length: self.length,
                missing: n - self.left(),
            });
        }
        let end = self.at + n as usize;
        if end > MAX_HEADER {
            return Err(Problem::HeaderTooLong { what: what.into(), offset: self.at, limit: MAX_HEADER });
        }
        let Some(taken) = self.bytes.get(self.at..end) else {
            self.short = true;
            let missing = (end - self.bytes.len()) as u64;
            return Err(Problem::Truncated {
                what: what.into(),
                offset: self.at,
                length: self.bytes.len(),
                missing,
            });
        };
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

/// The encoding of a metadata value; numbers have their width in bytes.
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
