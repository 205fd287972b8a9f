//! The stack machine, of which a pickle is the program.

use std::collections::HashMap;

use super::{
    MAX_DEPTH, MAX_DIMENSIONS, MAX_OBJECTS, MAX_STACK, Number, Problem, StorageRef, TensorRef, Value,
    opcodes::opcode_name,
};

/// Longest name of a storage's record, in bytes; PyTorch counts them from 0.
const MAX_KEY: usize = 32;
/// Bytes of text that count as one object when shared objects are unfolded.
const TEXT_OBJECT: usize = 64;
/// Most characters of a name that a message shows.
const SHOWN: usize = 100;
/// The newest protocol that is known.
const MAX_PROTOCOL: u8 = 5;

/// Interprets a pickle and unfolds its value into a tree.
pub(super) fn run(bytes: &[u8]) -> Result<Value<TensorRef>, Problem> {
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
            match self.opcode {
                "PROTO" => self.protocol()?,
                // Its length is only a hint for reading ahead.
                "FRAME" => _ = self.array::<8>()?,
                "STOP" => return self.pop(),
                "MARK" => self.mark()?,
                "NONE" => self.push(Node::None)?,
                "NEWTRUE" => self.push(Node::Bool(true))?,
                "NEWFALSE" => self.push(Node::Bool(false))?,
                "BININT1" => {
                    let [value] = self.array()?;
                    self.push(Node::Int(value.into()))?;
                }
                "BININT2" => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.push(Node::Int(value.into()))?;
                }
                "BININT" => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Node::Int(value.into()))?;
                }
                "LONG1" => self.long()?,
                "BINFLOAT" => {
                    let value = f64::from_be_bytes(self.array()?);
                    self.push(Node::Float(value))?;
                }
                "BINUNICODE" => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.string(length as usize)?;
                }
                "SHORT_BINUNICODE" => {
                    let [length] = self.array()?;
                    self.string(length.into())?;
                }
                "EMPTY_TUPLE" => self.push(Node::Tuple(Vec::new()))?,
                "EMPTY_LIST" => self.push(Node::List(Vec::new()))?,
                "EMPTY_DICT" => self.push(Node::Dict(Vec::new()))?,
                "TUPLE" => {
                    let items = self.pop_mark()?;
                    self.push(Node::Tuple(items))?;
                }
                "TUPLE1" => self.tuple(1)?,
                "TUPLE2" => self.tuple(2)?,
                "TUPLE3" => self.tuple(3)?,
                "APPEND" => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                "APPENDS" => {
                    let items = self.pop_mark()?;
                    self.append(items)?;
                }
                "SETITEM" => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set_items(&[key, value])?;
                }
                "SETITEMS" => {
                    let items = self.pop_mark()?;
                    self.set_items(&items)?;
                }
                "BINPUT" => {
                    let [index] = self.array()?;
                    self.put(index.into())?;
                }
                "LONG_BINPUT" => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.put(index)?;
                }
                // The entry's index is how many there are; the memo's limit keeps it inside 32 bits.
                "MEMOIZE" => self.put(self.memo.len() as u32)?,
                "BINGET" => {
                    let [index] = self.array()?;
                    self.get(index.into())?;
                }
                "LONG_BINGET" => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.get(index)?;
                }
                "GLOBAL" => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.global(&format!("{module}.{name}"))?;
                }
                "STACK_GLOBAL" => self.stack_global()?,
                "BINPERSID" => self.persistent()?,
                "REDUCE" => self.reduce()?,
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
        let global = Global::named(name).ok_or_else(|| Problem::Global {
            // The name is the file's: no control character of it may reach a terminal.
            name: name.chars().take(SHOWN).flat_map(char::escape_debug).collect(),
            offset: self.at,
        })?;
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
            ) if word == "storage" && key.len() <= MAX_KEY => {
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
        // Text is shared as well: a long string shown often would become memory.
        let cost = match &self.arena[id] {
            Node::Str(text) => 1 + text.len() / TEXT_OBJECT,
            _ => 1,
        };
        *budget = budget
            .checked_sub(cost)
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

/// True if a view stays inside `len` numbers and shows no more of them than there are. An expanded tensor (stride 0)
/// can show any number of values from one, which must not become memory.
pub(super) fn view_fits(start: usize, shape: &[usize], strides: &[usize], len: usize) -> bool {
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
