//! Pickles that are damaged or unsafe.

use super::{MAX_BYTES, MAX_DEPTH};

/// A problem of a pickle. An offset counts bytes from the pickle's start and points at the opcode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Longer than [`MAX_BYTES`].
    #[error("the pickle has {bytes} bytes, more than the limit of {MAX_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It ends inside an opcode, or before `STOP`.
    #[error("the pickle ends at byte {offset}, inside or before an opcode")]
    Truncated {
        /// Its end.
        offset: usize,
    },
    /// A protocol that is not known.
    #[error("pickle protocol {found} at byte {offset} is not known")]
    Protocol {
        /// The protocol's number.
        found: u8,
        /// Its offset.
        offset: usize,
    },
    /// An opcode that is not on the list.
    #[error("pickle opcode {name} (0x{byte:02x}) at byte {offset} is not allowed")]
    Opcode {
        /// The opcode.
        byte: u8,
        /// Its name in Python's `pickletools`.
        name: &'static str,
        /// Its offset.
        offset: usize,
    },
    /// A global that is not on the list: code, or a class that strait does not know.
    #[error("pickle names the global `{name}` at byte {offset}, which is not allowed")]
    Global {
        /// Module and name.
        name: String,
        /// Its offset.
        offset: usize,
    },
    /// A call of something that cannot be called.
    #[error("pickle calls {found} at byte {offset}, which is not allowed")]
    Call {
        /// The function that was to be called.
        found: String,
        /// Its offset.
        offset: usize,
    },
    /// An allowed call with arguments that PyTorch would not write.
    #[error("pickle calls `{function}` at byte {offset} with other arguments than PyTorch writes: {detail}")]
    Arguments {
        /// The function's name.
        function: &'static str,
        /// The reason.
        detail: String,
        /// Its offset.
        offset: usize,
    },
    /// A tensor that reaches outside its storage, or shows more numbers than it holds.
    #[error(
        "a tensor of shape {shape:?}, strides {strides:?} and offset {start} at byte {offset} of the pickle does not \
         fit into its storage of {len} numbers"
    )]
    View {
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides.
        strides: Vec<usize>,
        /// Index of its first number.
        start: usize,
        /// Numbers in the storage.
        len: usize,
        /// Its offset.
        offset: usize,
    },
    /// An opcode that fills containers, used on something else.
    #[error("pickle opcode {opcode} at byte {offset} acts on {found}, which is not {wanted}")]
    Container {
        /// The opcode.
        opcode: &'static str,
        /// The kind that it must act on.
        wanted: &'static str,
        /// The kind that it acts on.
        found: &'static str,
        /// Its offset.
        offset: usize,
    },
    /// A dict key that is neither a string nor an int.
    #[error("pickle opcode {opcode} at byte {offset} uses {found} as a key")]
    Key {
        /// The opcode.
        opcode: &'static str,
        /// The kind of the key.
        found: &'static str,
        /// Its offset.
        offset: usize,
    },
    /// An opcode that needs more values, or a mark, than the stack has.
    #[error("pickle opcode {opcode} at byte {offset} needs more than is on the stack")]
    Stack {
        /// The opcode.
        opcode: &'static str,
        /// Its offset.
        offset: usize,
    },
    /// A memo entry that was never put.
    #[error("pickle opcode {opcode} at byte {offset} asks for memo entry {index}, which was never put")]
    Memo {
        /// The opcode.
        opcode: &'static str,
        /// The entry asked for.
        index: u32,
        /// Its offset.
        offset: usize,
    },
    /// A string that is not UTF-8.
    #[error("the string at byte {offset} of the pickle is not UTF-8")]
    Text {
        /// Its offset.
        offset: usize,
    },
    /// A whole number beyond 64 bits.
    #[error("the whole number at byte {offset} of the pickle has {bytes} bytes, more than 8")]
    Integer {
        /// Its length.
        bytes: usize,
        /// Its offset.
        offset: usize,
    },
    /// More objects, stack or memo than the limits allow.
    #[error("the pickle builds more than {limit} {what}")]
    TooMany {
        /// The things of which there are too many.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Containers nested too deeply, perhaps in themselves.
    #[error("the pickle nests containers more than {MAX_DEPTH} deep")]
    TooDeep,
    /// A value of a kind that is no data, such as a bare class.
    #[error("the pickle holds {found} where a value should be")]
    NoValue {
        /// Its kind.
        found: &'static str,
    },
}
