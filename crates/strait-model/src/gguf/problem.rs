//! Malformed GGUF files.

use candle_core::quantized::GgmlDType;

use super::{
    MAX_DIMENSIONS, MAX_NAME, MAX_NESTING, MIN_ALIGNMENT,
    types::{dtype_name, type_name},
};

/// A problem of a GGUF file. Offsets are bytes from the start of the file.
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
        /// The part being read.
        what: String,
        /// Its offset.
        offset: usize,
        /// Length of the file.
        length: usize,
        /// The bytes that are missing.
        missing: u64,
    },
    /// The header goes on for longer than any real one.
    #[error("the header is longer than {limit} bytes (reading {what} at byte {offset})")]
    HeaderTooLong {
        /// The part being read.
        what: String,
        /// Its offset.
        offset: usize,
        /// The limit.
        limit: usize,
    },
    /// A number of entries that the rest of the file cannot hold.
    #[error("{what}, at byte {offset}, is {found}, but the rest of the file has room for at most {room}")]
    Count {
        /// The things counted.
        what: String,
        /// The offset of the count.
        offset: usize,
        /// The count.
        found: u64,
        /// The largest possible count.
        room: u64,
    },
    /// A key or name longer than the format allows.
    #[error("{what}, at byte {offset}, is {found} bytes long, where {MAX_NAME} is the limit")]
    NameLength {
        /// The key or name.
        what: String,
        /// The offset of its length.
        offset: usize,
        /// Its length.
        found: u64,
    },
    /// Text that is not UTF-8.
    #[error("{what}, at byte {offset}, is not valid UTF-8 from its byte {valid} on")]
    Utf8 {
        /// The text's name.
        what: String,
        /// Its offset.
        offset: usize,
        /// The number of valid bytes before.
        valid: usize,
    },
    /// A type of metadata value that does not exist.
    #[error("{what}, at byte {offset}, has the unknown type {found}")]
    ValueType {
        /// The value's name.
        what: String,
        /// The offset of the type.
        offset: usize,
        /// The type's number.
        found: u32,
    },
    /// A truth value that is neither 0 nor 1.
    #[error("{what}, at byte {offset}, should be 0 or 1 (false or true) and is {found}")]
    Boolean {
        /// The value's name.
        what: String,
        /// Its offset.
        offset: usize,
        /// The value found.
        found: u8,
    },
    /// Arrays in arrays in arrays.
    #[error("{what} nests arrays more than {MAX_NESTING} deep at byte {offset}")]
    Nesting {
        /// The value's name.
        what: String,
        /// The offset of the array too many.
        offset: usize,
    },
    /// Two metadata entries with one key.
    #[error("the key `{key}` stands twice, the second time at byte {offset}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// The offset of the second entry.
        offset: usize,
    },
    /// Two tensors with one name.
    #[error("the tensor `{tensor}` stands twice, the second time at byte {offset}")]
    DuplicateTensor {
        /// The name.
        tensor: String,
        /// The offset of the second entry.
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
        /// The offset of the number.
        offset: usize,
        /// The number.
        found: u32,
    },
    /// Dimensions whose product no machine can count.
    #[error("the dimensions {shape:?} of tensor `{tensor}`, at byte {offset}, multiply past 2^64 bytes")]
    Overflow {
        /// The tensor.
        tensor: String,
        /// The offset of the dimensions.
        offset: usize,
        /// The dimensions, outermost first.
        shape: Vec<u64>,
    },
    /// A tensor type that is not read here.
    #[error("tensor `{tensor}` is of type {} (at byte {offset}), which is not supported", type_name(*found))]
    TensorType {
        /// The tensor.
        tensor: String,
        /// The offset of the type.
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
        /// The offset of its data.
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
        /// The kind needed.
        expected: &'static str,
        /// The kind found.
        found: String,
    },
    /// A tensor that is not in the file.
    #[error("there is no tensor `{tensor}`")]
    NoTensor {
        /// The tensor.
        tensor: String,
    },
}

impl crate::error::Problem for Problem {
    fn hint(&self) -> String {
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
