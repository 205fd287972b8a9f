//! PyTorch's pickles, read without running anything.
//!
//! A pickle is a program for a stack machine whose `REDUCE` calls whatever it names. This reader interprets only the
//! opcodes that PyTorch writes for tensors in plain containers, knows a handful of globals by name, and builds data for
//! them itself: there is nothing that it could call. Everything else is refused with its name and its place. The nodes
//! live in an arena, because a container is put in the memo before it is filled, and are turned into a tree at the end
//! under limits of depth and size, so that neither a cycle nor a small file that unfolds for ever gets through.

mod machine;
mod opcodes;
mod problem;
#[cfg(test)]
mod tests;

pub use problem::Problem;

/// Longest pickle that is read, in bytes; the tensors' data lie outside it.
pub const MAX_BYTES: usize = 16 << 20;
/// Most objects that a pickle may build, before and after sharing is unfolded.
pub const MAX_OBJECTS: usize = 1 << 18;
/// Most values on the stack at once.
pub const MAX_STACK: usize = 1 << 16;
/// Deepest nesting of containers.
pub const MAX_DEPTH: usize = 32;
/// Most dimensions of a tensor.
pub const MAX_DIMENSIONS: usize = 8;

/// Interprets a pickle and returns its value; tensors are references into storages outside it.
///
/// # Errors
/// A [`Problem`] for anything but tensors in plain containers.
pub fn parse(bytes: &[u8]) -> Result<Value<TensorRef>, Problem> {
    if bytes.len() > MAX_BYTES {
        return Err(Problem::TooLong { bytes: bytes.len() });
    }
    machine::run(bytes)
}

/// A value in a pickle, with tensors of kind `T`: [`TensorRef`] as parsed, or loaded.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<T> {
    /// Python's `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A string.
    Str(String),
    /// A list.
    List(Vec<Self>),
    /// A tuple.
    Tuple(Vec<Self>),
    /// A dict or an `OrderedDict`, as written: of two equal keys the later one counts.
    Dict(Vec<(Self, Self)>),
    /// A tensor or parameter.
    Tensor(T),
}

impl<T> Value<T> {
    /// Its kind in one word, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dict",
            Self::Tensor(_) => "a tensor",
        }
    }

    /// The value of a string key, where this is a dict that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Dict(entries) = self else {
            return None;
        };
        entries.iter().rev().find_map(|(k, v)| matches!(k, Self::Str(k) if k == key).then_some(v))
    }

    /// The same value with each tensor replaced by what `load` makes of it.
    ///
    /// # Errors
    /// The first that `load` returns.
    pub fn try_map<U, E>(self, load: &mut impl FnMut(T) -> Result<U, E>) -> Result<Value<U>, E> {
        let mut all = |values: Vec<Self>| -> Result<Vec<Value<U>>, E> {
            values.into_iter().map(|v| v.try_map(load)).collect()
        };
        Ok(match self {
            Self::None => Value::None,
            Self::Bool(v) => Value::Bool(v),
            Self::Int(v) => Value::Int(v),
            Self::Float(v) => Value::Float(v),
            Self::Str(v) => Value::Str(v),
            Self::List(values) => Value::List(all(values)?),
            Self::Tuple(values) => Value::Tuple(all(values)?),
            Self::Dict(entries) => Value::Dict(
                entries
                    .into_iter()
                    .map(|(k, v)| Ok((k.try_map(load)?, v.try_map(load)?)))
                    .collect::<Result<_, E>>()?,
            ),
            Self::Tensor(tensor) => Value::Tensor(load(tensor)?),
        })
    }
}

/// The type of a storage's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// The upper half of a 32-bit float.
    BF16,
    /// 64-bit integer.
    I64,
    /// 32-bit integer.
    I32,
}

impl Number {
    /// Bytes of one number.
    pub fn width(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }
}

/// A storage, by the name of its record in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageRef {
    /// Its record, such as `0`.
    pub key: String,
    /// The type of its numbers.
    pub number: Number,
    /// The count of numbers that it is declared to hold.
    pub len: usize,
}

/// A tensor as a view of a storage; the view is proved to lie inside the declared length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorRef {
    /// Its storage.
    pub storage: StorageRef,
    /// Index of its first number in the storage.
    pub offset: usize,
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// Steps in the storage, one a dimension.
    pub strides: Vec<usize>,
}

impl TensorRef {
    /// The count of numbers that it shows; proved not to overflow when it was made.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True if it shows no number at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
