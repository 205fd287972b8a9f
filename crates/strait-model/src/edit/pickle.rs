//! PyTorch's pickles, read without running anything.
//!
//! A pickle is a program for a stack machine whose `REDUCE` calls whatever it names. This reader interprets only the
//! opcodes that PyTorch writes for tensors in plain containers, knows a handful of globals by name, and builds data for
//! them itself: there is nothing that it could call. Everything else is refused with its name and its place. The nodes
//! live in an arena, because a container is put in the memo before it is filled, and are turned into a tree at the end
//! under limits of depth and size, so that neither a cycle nor a small file that unfolds for ever gets through.

use std::collections::HashMap;

/// Longest pickle that is read, in bytes; the tensors' data lie outside it.
pub const MAX_BYTES: usize = 16 << 20;
/// Most objects that a pickle may build, before and after sharing is unfolded.
pub const MAX_OBJECTS: usize = 1 << 20;
/// Most values on the stack at once.
pub const MAX_STACK: usize = 1 << 16;
/// Deepest nesting of containers.
pub const MAX_DEPTH: usize = 32;
/// Most dimensions of a tensor.
pub const MAX_DIMENSIONS: usize = 8;
/// The newest protocol that is known.
const MAX_PROTOCOL: u8 = 5;

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
    /// What it is, in one word, for messages.
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

/// How a storage's numbers are written.
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
    /// How its numbers are written.
    pub number: Number,
    /// How many numbers it is declared to hold.
    pub len: usize,
}

/// A tensor as a view of a storage; the view is proved to lie inside the declared length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorRef {
    /// Where its numbers are.
    pub storage: StorageRef,
    /// Index of its first number in the storage.
    pub offset: usize,
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// Steps in the storage, one a dimension.
    pub strides: Vec<usize>,
}

impl TensorRef {
    /// How many numbers it shows; proved not to overflow when it was made.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it shows no number at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is wrong with a pickle. An offset counts bytes from the pickle's start and points at the opcode.
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
        /// Where it ends.
        offset: usize,
    },
    /// A protocol that is not known.
    #[error("pickle protocol {found} at byte {offset} is not known")]
    Protocol {
        /// The protocol's number.
        found: u8,
        /// Where it stands.
        offset: usize,
    },
    /// An opcode that is not on the list.
    #[error("pickle opcode {name} (0x{byte:02x}) at byte {offset} is not allowed")]
    Opcode {
        /// The opcode.
        byte: u8,
        /// Its name in Python's `pickletools`.
        name: &'static str,
        /// Where it stands.
        offset: usize,
    },
    /// A global that is not on the list: code, or a class that strait does not know.
    #[error("pickle names the global `{name}` at byte {offset}, which is not allowed")]
    Global {
        /// Module and name.
        name: String,
        /// Where it stands.
        offset: usize,
    },
    /// A call of something that cannot be called.
    #[error("pickle calls {found} at byte {offset}, which is not allowed")]
    Call {
        /// What was to be called.
        found: String,
        /// Where it stands.
        offset: usize,
    },
    /// An allowed call with arguments that PyTorch would not write.
    #[error("pickle calls `{function}` at byte {offset} with other arguments than PyTorch writes: {detail}")]
    Arguments {
        /// The function's name.
        function: &'static str,
        /// What is wrong with them.
        detail: String,
        /// Where it stands.
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
        /// Where it stands.
        offset: usize,
    },
    /// An opcode that fills containers, used on something else.
    #[error("pickle opcode {opcode} at byte {offset} acts on {found}, which is not {wanted}")]
    Container {
        /// The opcode.
        opcode: &'static str,
        /// What it must act on.
        wanted: &'static str,
        /// What it acts on.
        found: &'static str,
        /// Where it stands.
        offset: usize,
    },
    /// A dict key that is neither a string nor an int.
    #[error("pickle opcode {opcode} at byte {offset} uses {found} as a key")]
    Key {
        /// The opcode.
        opcode: &'static str,
        /// What the key is.
        found: &'static str,
        /// Where it stands.
        offset: usize,
    },
    /// An opcode that needs more values, or a mark, than the stack has.
    #[error("pickle opcode {opcode} at byte {offset} needs more than is on the stack")]
    Stack {
        /// The opcode.
        opcode: &'static str,
        /// Where it stands.
        offset: usize,
    },
    /// A memo entry that was never put.
    #[error("pickle opcode {opcode} at byte {offset} asks for memo entry {index}, which was never put")]
    Memo {
        /// The opcode.
        opcode: &'static str,
        /// The entry asked for.
        index: u32,
        /// Where it stands.
        offset: usize,
    },
    /// A string that is not UTF-8.
    #[error("the string at byte {offset} of the pickle is not UTF-8")]
    Text {
        /// Where it stands.
        offset: usize,
    },
    /// A whole number beyond 64 bits.
    #[error("the whole number at byte {offset} of the pickle has {bytes} bytes, more than 8")]
    Integer {
        /// Its length.
        bytes: usize,
        /// Where it stands.
        offset: usize,
    },
    /// More objects, stack or memo than the limits allow.
    #[error("the pickle builds more than {limit} {what}")]
    TooMany {
        /// What there are too many of.
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
        /// What it is.
        found: &'static str,
    },
}

/// Interprets a pickle and returns what it holds; tensors are references into storages outside it.
///
/// # Errors
/// A [`Problem`] for anything but tensors in plain containers.
pub fn parse(bytes: &[u8]) -> Result<Value<TensorRef>, Problem> {
    if bytes.len() > MAX_BYTES {
        return Err(Problem::TooLong { bytes: bytes.len() });
    }
    let mut machine = Machine {
        bytes,
        position: 0,
        at: 0,
        opcode: "PROTO",
        arena: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let root = machine.run()?;
    let mut budget = MAX_OBJECTS;
    machine.unfold(root, 0, &mut budget)
}

/// The globals that PyTorch names in a pickle of tensors.
#[derive(Clone, Copy, Debug)]
enum Global {
    RebuildTensor,
    RebuildParameter,
    OrderedDict,
    Storage(Number),
}

impl Global {
    const REBUILD_TENSOR: &str = "torch._utils._rebuild_tensor_v2";
    const REBUILD_PARAMETER: &str = "torch._utils._rebuild_parameter";
    const ORDERED_DICT: &str = "collections.OrderedDict";

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            Self::REBUILD_TENSOR => Self::RebuildTensor,
            Self::REBUILD_PARAMETER => Self::RebuildParameter,
            Self::ORDERED_DICT => Self::OrderedDict,
            "torch.DoubleStorage" => Self::Storage(Number::F64),
            "torch.FloatStorage" => Self::Storage(Number::F32),
            "torch.HalfStorage" => Self::Storage(Number::F16),
            "torch.BFloat16Storage" => Self::Storage(Number::BF16),
            "torch.LongStorage" => Self::Storage(Number::I64),
            "torch.IntStorage" => Self::Storage(Number::I32),
            _ => return None,
        })
    }
}

/// Index of a node in the arena.
type Id = usize;

#[derive(Clone, Debug)]
enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(StorageRef),
    Tensor(TensorRef),
}

impl Node {
    fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a class or function",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Offset of the opcode at work, for messages.
    at: usize,
    /// Its name, for messages.
    opcode: &'static str,
    arena: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack at each open `MARK`; nothing below the last one may be taken.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// Runs to `STOP` and returns the value that is left.
    fn run(&mut self) -> Result<Id, Problem> {
        loop {
            self.at = self.position;
            let [byte] = self.array()?;
            self.opcode = opcode_name(byte);
            match byte {
                0x80 => self.protocol()?,
                // FRAME: its length is only a hint for reading ahead.
                0x95 => _ = self.array::<8>()?,
                b'.' => return self.pop(),
                b'(' => self.mark()?,
                b'N' => self.push(Node::None)?,
                0x88 => self.push(Node::Bool(true))?,
                0x89 => self.push(Node::Bool(false))?,
                b'K' => {
                    let [value] = self.array()?;
                    self.push(Node::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.push(Node::Int(value.into()))?;
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Node::Int(value.into()))?;
                }
                0x8a => self.long()?,
                b'G' => {
                    let value = f64::from_be_bytes(self.array()?);
                    self.push(Node::Float(value))?;
                }
                b'X' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.string(length as usize)?;
                }
                0x8c => {
                    let [length] = self.array()?;
                    self.string(length.into())?;
                }
                b')' => self.push(Node::Tuple(Vec::new()))?,
                b']' => self.push(Node::List(Vec::new()))?,
                b'}' => self.push(Node::Dict(Vec::new()))?,
                b't' => {
                    let items = self.pop_mark()?;
                    self.push(Node::Tuple(items))?;
                }
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.pop_mark()?;
                    self.append(items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set_items(&items)?;
                }
                b'q' => {
                    let [index] = self.array()?;
                    self.put(index.into())?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.put(index)?;
                }
                // MEMOIZE: the entry's index is how many there are; the memo's limit keeps it inside 32 bits.
                0x94 => self.put(self.memo.len() as u32)?,
                b'h' => {
                    let [index] = self.array()?;
                    self.get(index.into())?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.get(index)?;
                }
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.global(&format!("{module}.{name}"))?;
                }
                0x93 => self.stack_global()?,
                b'Q' => self.persistent()?,
                b'R' => self.reduce()?,
                _ => {
                    return Err(Problem::Opcode { byte, name: self.opcode, offset: self.at });
                }
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..length).ok_or(Problem::Truncated { offset: self.bytes.len() })?;
        self.position += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A line of text without its end, as protocol 2 writes a global's module and name.
    fn line(&mut self) -> Result<String, Problem> {
        let rest = &self.bytes[self.position..];
        let length =
            rest.iter().position(|&b| b == b'\n').ok_or(Problem::Truncated { offset: self.bytes.len() })?;
        let text = self.text(length)?;
        self.position += 1;
        Ok(text)
    }

    fn text(&mut self, length: usize) -> Result<String, Problem> {
        let offset = self.at;
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes).map_err(|_| Problem::Text { offset })
    }

    fn push(&mut self, node: Node) -> Result<(), Problem> {
        if self.arena.len() == MAX_OBJECTS {
            return Err(Problem::TooMany { what: "objects", limit: MAX_OBJECTS });
        }
        self.arena.push(node);
        self.push_id(self.arena.len() - 1)
    }

    fn push_id(&mut self, id: Id) -> Result<(), Problem> {
        if self.stack.len() == MAX_STACK {
            return Err(Problem::TooMany { what: "values on its stack", limit: MAX_STACK });
        }
        self.stack.push(id);
        Ok(())
    }

    fn starved(&self) -> Problem {
        Problem::Stack { opcode: self.opcode, offset: self.at }
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn top(&self) -> Result<Id, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(id),
            _ => Err(self.starved()),
        }
    }

    fn mark(&mut self) -> Result<(), Problem> {
        if self.marks.len() == MAX_STACK {
            return Err(Problem::TooMany { what: "open marks", limit: MAX_STACK });
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let floor = self.marks.pop().ok_or_else(|| self.starved())?;
        Ok(self.stack.split_off(floor))
    }

    fn protocol(&mut self) -> Result<(), Problem> {
        let offset = self.at;
        let [found] = self.array()?;
        if found > MAX_PROTOCOL {
            return Err(Problem::Protocol { found, offset });
        }
        Ok(())
    }

    /// `LONG1`: little-endian two's complement of as many bytes as it says.
    fn long(&mut self) -> Result<(), Problem> {
        let offset = self.at;
        let [length] = self.array()?;
        let length = usize::from(length);
        let bytes = self.take(length)?;
        if length > size_of::<i64>() {
            return Err(Problem::Integer { bytes: length, offset });
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut value = [if negative { 0xff } else { 0 }; size_of::<i64>()];
        value[..length].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(value)))
    }

    fn string(&mut self, length: usize) -> Result<(), Problem> {
        let text = self.text(length)?;
        self.push(Node::Str(text))
    }

    fn tuple(&mut self, length: usize) -> Result<(), Problem> {
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Node::Tuple(items))
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), Problem> {
        let target = self.top()?;
        match &mut self.arena[target] {
            Node::List(list) => {
                list.extend(items);
                Ok(())
            }
            other => Err(Problem::Container {
                opcode: self.opcode,
                wanted: "a list",
                found: other.kind(),
                offset: self.at,
            }),
        }
    }

    /// Sets alternating keys and values in the dict on top of the stack.
    fn set_items(&mut self, items: &[Id]) -> Result<(), Problem> {
        let target = self.top()?;
        let (pairs, odd) = items.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(self.starved());
        }
        for &[key, _] in pairs {
            if !matches!(self.arena[key], Node::Str(_) | Node::Int(_)) {
                return Err(Problem::Key {
                    opcode: self.opcode,
                    found: self.arena[key].kind(),
                    offset: self.at,
                });
            }
        }
        match &mut self.arena[target] {
            Node::Dict(entries) => {
                entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            other => Err(Problem::Container {
                opcode: self.opcode,
                wanted: "a dict",
                found: other.kind(),
                offset: self.at,
            }),
        }
    }

    fn put(&mut self, index: u32) -> Result<(), Problem> {
        let id = self.top()?;
        if self.memo.len() == MAX_OBJECTS {
            return Err(Problem::TooMany { what: "memo entries", limit: MAX_OBJECTS });
        }
        self.memo.insert(index, id);
        Ok(())
    }

    fn get(&mut self, index: u32) -> Result<(), Problem> {
        let id = self.memo.get(&index).copied().ok_or(Problem::Memo {
            opcode: self.opcode,
            index,
            offset: self.at,
        })?;
        self.push_id(id)
    }

    fn global(&mut self, name: &str) -> Result<(), Problem> {
        let global =
            Global::named(name).ok_or_else(|| Problem::Global { name: name.to_string(), offset: self.at })?;
        self.push(Node::Global(global))
    }

    /// `STACK_GLOBAL`: module and name come from the stack, so a file may build them in any way it likes.
    fn stack_global(&mut self) -> Result<(), Problem> {
        let name = self.pop()?;
        let module = self.pop()?;
        let (Node::Str(module), Node::Str(name)) = (&self.arena[module], &self.arena[name]) else {
            return Err(Problem::Global {
                name: format!("{}.{}", self.arena[module].kind(), self.arena[name].kind()),
                offset: self.at,
            });
        };
        self.global(&format!("{module}.{name}"))
    }

    /// `BINPERSID`: PyTorch's `("storage", class, key, device, numbers)`.
    fn persistent(&mut self) -> Result<(), Problem> {
        let id = self.pop()?;
        let storage = self.storage(id).ok_or_else(|| Problem::Arguments {
            function: "persistent_load",
            detail: "not (\"storage\", class, key, device, length)".into(),
            offset: self.at,
        })?;
        self.push(Node::Storage(storage))
    }

    fn storage(&self, id: Id) -> Option<StorageRef> {
        let Node::Tuple(fields) = &self.arena[id] else {
            return None;
        };
        let &[word, class, key, device, len] = fields.as_slice() else {
            return None;
        };
        match (&self.arena[word], &self.arena[class], &self.arena[key], &self.arena[device], &self.arena[len])
        {
            (
                Node::Str(word),
                Node::Global(Global::Storage(number)),
                Node::Str(key),
                Node::Str(_),
                &Node::Int(len),
            ) if word == "storage" => {
                Some(StorageRef { key: key.clone(), number: *number, len: usize::try_from(len).ok()? })
            }
            _ => None,
        }
    }

    /// `REDUCE`: builds what an allowed function would have returned.
    fn reduce(&mut self) -> Result<(), Problem> {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let Node::Tuple(arguments) = &self.arena[arguments] else {
            return Err(self.call_refused(self.arena[arguments].kind()));
        };
        match self.arena[function] {
            Node::Global(Global::RebuildTensor) => {
                let tensor = self.tensor(arguments)?;
                self.push(Node::Tensor(tensor))
            }
            Node::Global(Global::RebuildParameter) => match arguments.first().copied() {
                Some(data) if matches!(self.arena[data], Node::Tensor(_)) => self.push_id(data),
                _ => Err(self.wrong(Global::REBUILD_PARAMETER, "the first is not a tensor")),
            },
            Node::Global(Global::OrderedDict) if arguments.is_empty() => self.push(Node::Dict(Vec::new())),
            Node::Global(Global::OrderedDict) => {
                Err(self.wrong(Global::ORDERED_DICT, "there should be none"))
            }
            ref other => Err(self.call_refused(other.kind())),
        }
    }

    fn call_refused(&self, found: &str) -> Problem {
        Problem::Call { found: found.to_string(), offset: self.at }
    }

    fn wrong(&self, function: &'static str, detail: impl Into<String>) -> Problem {
        Problem::Arguments { function, detail: detail.into(), offset: self.at }
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks[, metadata])`.
    fn tensor(&self, arguments: &[Id]) -> Result<TensorRef, Problem> {
        let wrong = |detail: &str| self.wrong(Global::REBUILD_TENSOR, detail);
        let [storage, start, shape, strides, ..] = arguments else {
            return Err(wrong("fewer than four"));
        };
        let Node::Storage(storage) = &self.arena[*storage] else {
            return Err(wrong("the first is not a storage"));
        };
        let start = self.size(*start).ok_or_else(|| wrong("the offset is not a whole number from 0 up"))?;
        let shape =
            self.sizes(*shape).ok_or_else(|| wrong("the shape is not a tuple of whole numbers from 0 up"))?;
        let mut strides = self
            .sizes(*strides)
            .ok_or_else(|| wrong("the strides are not a tuple of whole numbers from 0 up"))?;
        if shape.len() != strides.len() || shape.len() > MAX_DIMENSIONS {
            return Err(wrong(&format!(
                "{} sizes and {} strides, where equal numbers up to {MAX_DIMENSIONS} are known",
                shape.len(),
                strides.len()
            )));
        }
        if !view_fits(start, &shape, &strides, storage.len) {
            return Err(Problem::View { shape, strides, start, len: storage.len, offset: self.at });
        }
        // A dimension of one value is never stepped along: its stride may be anything, and means nothing.
        for (stride, &size) in strides.iter_mut().zip(&shape) {
            if size <= 1 {
                *stride = 0;
            }
        }
        Ok(TensorRef { storage: storage.clone(), offset: start, shape, strides })
    }

    fn size(&self, id: Id) -> Option<usize> {
        match self.arena[id] {
            Node::Int(value) => usize::try_from(value).ok(),
            _ => None,
        }
    }

    fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        match &self.arena[id] {
            Node::Tuple(items) => items.iter().map(|&item| self.size(item)).collect(),
            _ => None,
        }
    }

    /// The tree below a node, each shared node once for every place that shows it.
    fn unfold(&self, id: Id, depth: usize, budget: &mut usize) -> Result<Value<TensorRef>, Problem> {
        if depth > MAX_DEPTH {
            return Err(Problem::TooDeep);
        }
        *budget = budget
            .checked_sub(1)
            .ok_or(Problem::TooMany { what: "objects once shared ones are unfolded", limit: MAX_OBJECTS })?;
        let mut below = |id: Id| self.unfold(id, depth + 1, budget);
        Ok(match &self.arena[id] {
            Node::None => Value::None,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::Int(*value),
            Node::Float(value) => Value::Float(*value),
            Node::Str(value) => Value::Str(value.clone()),
            Node::List(items) => {
                Value::List(items.iter().map(|&item| below(item)).collect::<Result<_, _>>()?)
            }
            Node::Tuple(items) => {
                Value::Tuple(items.iter().map(|&item| below(item)).collect::<Result<_, _>>()?)
            }
            Node::Dict(entries) => Value::Dict(
                entries
                    .iter()
                    .map(|&(key, value)| Ok((below(key)?, below(value)?)))
                    .collect::<Result<_, _>>()?,
            ),
            Node::Tensor(tensor) => Value::Tensor(tensor.clone()),
            other @ (Node::Global(_) | Node::Storage(_)) => {
                return Err(Problem::NoValue { found: other.kind() });
            }
        })
    }
}

/// Whether a view stays inside `len` numbers and shows no more of them than there are. An expanded tensor (stride 0)
/// can show any number of values from one, which must not become memory.
fn view_fits(start: usize, shape: &[usize], strides: &[usize], len: usize) -> bool {
    let Some(shown) = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size)) else {
        return false;
    };
    if shown == 0 {
        return start <= len;
    }
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(start, |last, (&size, &stride)| last.checked_add((size - 1).checked_mul(stride)?));
    shown <= len && last.is_some_and(|last| last < len)
}

/// Names of all opcodes, as Python's `pickletools` prints them.
fn opcode_name(byte: u8) -> &'static str {
    match byte {
        b'(' => "MARK",
        b'.' => "STOP",
        b'0' => "POP",
        b'1' => "POP_MARK",
        b'2' => "DUP",
        b'F' => "FLOAT",
        b'I' => "INT",
        b'J' => "BININT",
        b'K' => "BININT1",
        b'L' => "LONG",
        b'M' => "BININT2",
        b'N' => "NONE",
        b'P' => "PERSID",
        b'Q' => "BINPERSID",
        b'R' => "REDUCE",
        b'S' => "STRING",
        b'T' => "BINSTRING",
        b'U' => "SHORT_BINSTRING",
        b'V' => "UNICODE",
        b'X' => "BINUNICODE",
        b'a' => "APPEND",
        b'b' => "BUILD",
        b'c' => "GLOBAL",
        b'd' => "DICT",
        b'}' => "EMPTY_DICT",
        b'e' => "APPENDS",
        b'g' => "GET",
        b'h' => "BINGET",
        b'i' => "INST",
        b'j' => "LONG_BINGET",
        b'l' => "LIST",
        b']' => "EMPTY_LIST",
        b'o' => "OBJ",
        b'p' => "PUT",
        b'q' => "BINPUT",
        b'r' => "LONG_BINPUT",
        b's' => "SETITEM",
        b't' => "TUPLE",
        b')' => "EMPTY_TUPLE",
        b'u' => "SETITEMS",
        b'G' => "BINFLOAT",
        b'B' => "BINBYTES",
        b'C' => "SHORT_BINBYTES",
        0x80 => "PROTO",
        0x81 => "NEWOBJ",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x85 => "TUPLE1",
        0x86 => "TUPLE2",
        0x87 => "TUPLE3",
        0x88 => "NEWTRUE",
        0x89 => "NEWFALSE",
        0x8a => "LONG1",
        0x8b => "LONG4",
        0x8c => "SHORT_BINUNICODE",
        0x8d => "BINUNICODE8",
        0x8e => "BINBYTES8",
        0x8f => "EMPTY_SET",
        0x90 => "ADDITEMS",
        0x91 => "FROZENSET",
        0x92 => "NEWOBJ_EX",
        0x93 => "STACK_GLOBAL",
        0x94 => "MEMOIZE",
        0x95 => "FRAME",
        0x96 => "BYTEARRAY8",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REBUILD: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n";
    const STORAGE: &[u8] =
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x08tQ";

    fn join(pieces: &[&[u8]]) -> Vec<u8> {
        pieces.concat()
    }

    /// A tensor of eight numbers whose arguments after the storage are given.
    fn tensor(arguments: &[u8]) -> Vec<u8> {
        join(&[REBUILD, b"(", STORAGE, arguments, b"tR."])
    }

    #[test]
    fn plain_values() {
        let check = |pickle: &[u8], expected: Value<TensorRef>| {
            assert_eq!(parse(pickle).unwrap(), expected, "{pickle:?}");
        };
        check(b"\x80\x02N.", Value::None);
        check(b"\x88.", Value::Bool(true));
        check(b"\x89.", Value::Bool(false));
        check(b"K\xff.", Value::Int(255));
        check(b"M\x01\x02.", Value::Int(513));
        check(b"J\xff\xff\xff\xff.", Value::Int(-1));
        check(b"\x8a\x00.", Value::Int(0));
        check(b"\x8a\x01\xff.", Value::Int(-1));
        check(b"\x8a\x02\xff\x00.", Value::Int(255));
        check(b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", Value::Int(i64::MIN));
        check(b"G\x3f\xf8\x00\x00\x00\x00\x00\x00.", Value::Float(1.5));
        check(b"X\x02\x00\x00\x00\xc3\xa9.", Value::Str("é".into()));
        check(b"\x8c\x01a.", Value::Str("a".into()));
        check(b"\x95\x02\x00\x00\x00\x00\x00\x00\x00N.", Value::None);
        let one_two = || vec![Value::Int(1), Value::Int(2)];
        check(b"K\x01K\x02\x86.", Value::Tuple(one_two()));
        check(b"(K\x01K\x02t.", Value::Tuple(one_two()));
        check(b"](K\x01K\x02e.", Value::List(one_two()));
        check(b"]K\x01aK\x02a.", Value::List(one_two()));
        check(
            b"ccollections\nOrderedDict\n)RK\x01K\x02s.",
            Value::Dict(vec![(Value::Int(1), Value::Int(2))]),
        );
    }

    #[test]
    fn a_container_is_filled_after_it_was_remembered() {
        // x = []; y = (x, x); x.append(1)
        let shared = parse(b"]q\x00h\x00h\x00\x86q\x01h\x00K\x01ah\x01.").unwrap();
        let one = Value::List(vec![Value::Int(1)]);
        assert_eq!(shared, Value::Tuple(vec![one.clone(), one]));
        // The same with the numbering of protocol 4.
        let again = parse(b"]\x94h\x00h\x00\x86\x94h\x00K\x01ah\x01.").unwrap();
        assert_eq!(again, shared);
    }

    #[test]
    fn the_later_of_two_equal_keys_counts() {
        let dict = parse(b"}(\x8c\x01aK\x01\x8c\x01aK\x02u.").unwrap();
        assert_eq!(dict.get("a"), Some(&Value::Int(2)));
    }

    #[test]
    fn tensors() {
        let good = parse(&tensor(b"K\x02K\x03K\x01\x86K\x01K\x63\x86")).unwrap();
        let Value::Tensor(good) = good else {
            panic!("{good:?}");
        };
        assert_eq!(good.storage.number, Number::F32);
        assert_eq!((good.storage.key.as_str(), good.storage.len), ("0", 8));
        assert_eq!((good.offset, good.shape.as_slice()), (2, &[3, 1][..]));
        assert_eq!(good.strides, [1, 0], "a stride along one value means nothing");
        assert_eq!((good.len(), good.is_empty()), (3, false));

        let detail = |arguments: &[u8]| match parse(&tensor(arguments)).unwrap_err() {
            Problem::Arguments { detail, .. } => detail,
            other => panic!("{other}"),
        };
        assert_eq!(detail(b""), "fewer than four");
        assert!(detail(b"J\xff\xff\xff\xff))").starts_with("the offset"));
        assert!(detail(b"K\x00K\x01)").starts_with("the shape"));
        assert!(detail(b"K\x00)K\x01").starts_with("the strides"));
        assert!(detail(b"K\x00K\x01\x85)").starts_with("1 sizes and 0 strides"));

        let refused = join(&[REBUILD, b"(K\x01K\x00))tR."]);
        assert!(parse(&refused).unwrap_err().to_string().contains("not a storage"));
    }

    #[test]
    fn views() {
        assert!(view_fits(0, &[8], &[1], 8));
        assert!(view_fits(0, &[2, 4], &[1, 2], 8));
        assert!(view_fits(7, &[], &[], 8));
        assert!(view_fits(8, &[0, 3], &[1, 1], 8));
        assert!(!view_fits(9, &[0, 3], &[1, 1], 8));
        assert!(!view_fits(1, &[8], &[1], 8));
        assert!(!view_fits(0, &[9], &[0], 8), "an expanded tensor");
        assert!(!view_fits(0, &[2, 4], &[usize::MAX, 1], 8));
        assert!(!view_fits(usize::MAX, &[2], &[1], 8));
        assert!(!view_fits(0, &[usize::MAX, 2, 0], &[1, 1, 1], 8));
    }

    #[test]
    fn each_malformation_has_its_problem() {
        let check = |pickle: &[u8], expected: &str| {
            let problem = parse(pickle).unwrap_err().to_string();
            assert_eq!(problem, expected, "{pickle:?}");
        };
        check(b"", "the pickle ends at byte 0, inside or before an opcode");
        check(b"N", "the pickle ends at byte 1, inside or before an opcode");
        check(b"X\xff\xff\xff\xffa", "the pickle ends at byte 6, inside or before an opcode");
        check(b"ctorch\n", "the pickle ends at byte 7, inside or before an opcode");
        check(b"\x80\x06.", "pickle protocol 6 at byte 0 is not known");
        check(b"NP", "pickle opcode PERSID (0x50) at byte 1 is not allowed");
        check(b"\x82\x01.", "pickle opcode EXT1 (0x82) at byte 0 is not allowed");
        check(b"}}b.", "pickle opcode BUILD (0x62) at byte 2 is not allowed");
        check(b"\xff", "pickle opcode unknown (0xff) at byte 0 is not allowed");
        check(b"cos\nsystem\n.", "pickle names the global `os.system` at byte 0, which is not allowed");
        check(b"})R.", "pickle calls a dict at byte 2, which is not allowed");
        check(b"ccollections\nOrderedDict\n]R.", "pickle calls a list at byte 26, which is not allowed");
        check(
            b"ccollections\nOrderedDict\nN\x85R.",
            "pickle calls `collections.OrderedDict` at byte 27 with other arguments than PyTorch writes: there should \
             be none",
        );
        check(
            b"ctorch._utils\n_rebuild_parameter\n)R.",
            "pickle calls `torch._utils._rebuild_parameter` at byte 34 with other arguments than PyTorch writes: the \
             first is not a tensor",
        );
        check(
            b"NQ.",
            "pickle calls `persistent_load` at byte 1 with other arguments than PyTorch writes: not (\"storage\", \
             class, key, device, length)",
        );
        check(b"NNa.", "pickle opcode APPEND at byte 2 acts on None, which is not a list");
        check(b"N(NNu.", "pickle opcode SETITEMS at byte 4 uses None as a key");
        check(b"N(K\x01Nu.", "pickle opcode SETITEMS at byte 5 acts on None, which is not a dict");
        check(b"}(Nu.", "pickle opcode SETITEMS at byte 3 needs more than is on the stack");
        check(b".", "pickle opcode STOP at byte 0 needs more than is on the stack");
        check(b"N(\x85.", "pickle opcode TUPLE1 at byte 2 needs more than is on the stack");
        check(b"t.", "pickle opcode TUPLE at byte 0 needs more than is on the stack");
        check(b"q\x00.", "pickle opcode BINPUT at byte 0 needs more than is on the stack");
        check(b"h\x07.", "pickle opcode BINGET at byte 0 asks for memo entry 7, which was never put");
        check(b"\x8c\x01\xff.", "the string at byte 0 of the pickle is not UTF-8");
        check(
            b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.",
            "the whole number at byte 0 of the pickle has 9 bytes, more than 8",
        );
        check(b"ctorch\nFloatStorage\n.", "the pickle holds a class or function where a value should be");
        check(
            &[b"N".repeat(MAX_STACK + 1), b".".to_vec()].concat(),
            "the pickle builds more than 65536 values on its stack",
        );
        check(&b"(".repeat(MAX_STACK + 1), "the pickle builds more than 65536 open marks");
        check(
            &[b"]".to_vec(), b"Na".repeat(MAX_OBJECTS)].concat(),
            "the pickle builds more than 1048576 objects",
        );
        check(&vec![b'N'; MAX_BYTES + 1], "the pickle has 16777217 bytes, more than the limit of 16777216");
    }

    #[test]
    fn a_pickle_cut_off_anywhere_is_truncated() {
        let whole = tensor(b"K\x00K\x08\x85K\x01\x85\x89ccollections\nOrderedDict\n)R");
        assert!(parse(&whole).is_ok());
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]).unwrap_err(), Problem::Truncated { offset: length });
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_opcodes_do_harm(opcodes in prop::collection::vec(
            prop::sample::select(&b"NK]})(tae\x85\x86suqhRQ.\x93\x94"[..]), 0..100,
        )) {
            let _ = parse(&opcodes);
        }
    }
}
