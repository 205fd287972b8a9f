//! Values as Python has them.

mod uses;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

use super::{
    ast::{For, Macro, Text},
    fault::{Meter, Result, fail},
};

/// Deepest nesting of a value; Python's own recursion ends about there.
const MAX_DEPTH: u32 = 400;

#[derive(Clone, Debug)]
pub enum Value {
    /// With the words of Jinja2 for its use.
    Undefined(Text),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Text),
    /// A text that `safe` or `escape` marked as HTML: it may be printed, and little else.
    Markup(Text),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    /// The result of `keys()`, `values()` or `items()` of a dictionary.
    View(View, Rc<Dict>),
    Range(Range),
    /// An iterator, which gives its items once.
    Iter(Rc<Iter>),
    Namespace(Rc<Namespace>),
    Method(Rc<(Value, &'static str)>),
    Function(Function),
    Macro(Rc<Closure>),
    Loop(Rc<Loop>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<Joiner>),
}

/// A view of a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Keys,
    Values,
    Items,
}

/// The items of a list or tuple, and how deep they nest.
#[derive(Debug)]
pub struct Items {
    pub items: Vec<Value>,
    /// True if it is a pair that `groupby` made, whose parts have names.
    pub is_group: bool,
    depth: u32,
}

impl Items {
    pub fn new(items: Vec<Value>) -> Result<Self> {
        let depth = deeper(items.iter())?;
        Ok(Self { items, is_group: false, depth })
    }
}

/// One more than the deepest of some values.
fn deeper<'v>(values: impl Iterator<Item = &'v Value>) -> Result<u32> {
    let depth = 1 + values.map(Value::depth).max().unwrap_or(0);
    if depth > MAX_DEPTH {
        return fail(format!("values nested more than {MAX_DEPTH} deep"));
    }
    Ok(depth)
}

/// A dictionary's key, equal where Python finds it equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Undefined,
    None,
    Int(i128),
    Float(u64),
    Str(Text),
    Tuple(Vec<Key>),
}

/// A dictionary, in the order of insertion.
#[derive(Debug, Default)]
pub struct Dict {
    pub entries: Vec<(Value, Value)>,
    places: HashMap<Key, usize>,
    depth: u32,
}

impl Dict {
    pub fn new(entries: impl IntoIterator<Item = (Value, Value)>, meter: &Meter) -> Result<Self> {
        let mut dict = Self::default();
        for (key, value) in entries {
            meter.charge_values(2)?;
            let place = dict.places.len();
            match dict.places.entry(key.key(meter)?) {
                std::collections::hash_map::Entry::Occupied(old) => dict.entries[*old.get()].1 = value,
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(place);
                    dict.entries.push((key, value));
                }
            }
        }
        dict.depth = deeper(dict.entries.iter().flat_map(|(key, value)| [key, value]))?;
        Ok(dict)
    }

    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.places.get(key).map(|&place| &self.entries[place].1)
    }

    pub fn get_str(&self, key: &Text) -> Option<&Value> {
        self.get(&Key::Str(key.clone()))
    }
}

/// `range(start, stop, step)`; the sandbox allows 100,000 items.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub start: i128,
    pub stop: i128,
    pub step: i128,
    pub length: usize,
}

impl Range {
    pub fn item(&self, index: usize) -> Value {
        Value::Int(self.start + self.step * index as i128)
    }

    /// A range; none if its step is zero.
    pub fn new(start: i128, stop: i128, step: i128) -> Option<Self> {
        let span = if step > 0 { stop.checked_sub(start)? } else { start.checked_sub(stop)? };
        let step_size = step.checked_abs().filter(|&size| size > 0)?;
        let length = span.max(0).checked_add(step_size - 1)? / step_size;
        Some(Self { start, stop, step, length: usize::try_from(length).ok()? })
    }
}

/// Items that are given once.
#[derive(Debug, Default)]
pub struct Iter(pub RefCell<VecDeque<Value>>);

impl Iter {
    pub fn next(&self) -> Option<Value> {
        self.0.borrow_mut().pop_front()
    }
}

/// The result of `namespace()`.
#[derive(Debug, Default)]
pub struct Namespace(pub RefCell<Vec<(Text, Value)>>);

impl Namespace {
    pub fn get(&self, name: &str) -> Option<Value> {
        self.0.borrow().iter().find(|(found, _)| **found == *name).map(|(_, value)| value.clone())
    }

    pub fn set(&self, name: &Text, value: Value) {
        let mut attributes = self.0.borrow_mut();
        match attributes.iter_mut().find(|(found, _)| found == name) {
            Some((_, old)) => *old = value,
            None => attributes.push((name.clone(), value)),
        }
    }
}

/// A macro with the scope in which it stands.
#[derive(Debug)]
pub struct Closure {
    pub of: Arc<Macro>,
    pub scope: Rc<Scope>,
}

/// The result of `cycler()`.
#[derive(Debug)]
pub struct Cycler {
    pub items: Vec<Value>,
    pub at: Cell<usize>,
}

/// The result of `joiner()`.
#[derive(Debug)]
pub struct Joiner {
    pub separator: Value,
    pub used: Cell<bool>,
}

/// A function that every template may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Range,
    Dict,
    Lipsum,
    Cycler,
    Joiner,
    Namespace,
    RaiseException,
    StrftimeNow,
}

/// Names and their values.
#[derive(Debug, Default)]
pub struct Scope {
    pub names: RefCell<Vec<(Text, Value)>>,
    parent: Option<Rc<Scope>>,
}

impl Scope {
    /// A scope inside another.
    pub fn inside(parent: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self { names: RefCell::default(), parent: Some(parent.clone()) })
    }

    pub fn find(&self, name: &str) -> Option<Value> {
        let mut scope = Some(self);
        while let Some(current) = scope {
            let names = current.names.borrow();
            if let Some((_, value)) = names.iter().find(|(found, _)| **found == *name) {
                return Some(value.clone());
            }
            scope = current.parent.as_deref();
        }
        None
    }

    pub fn set(&self, name: &Text, value: Value) {
        let mut names = self.names.borrow_mut();
        match names.iter_mut().find(|(found, _)| found == name) {
            Some((_, old)) => *old = value,
            None => names.push((name.clone(), value)),
        }
    }
}

/// The object under the name `loop`.
#[derive(Debug)]
pub struct Loop {
    pub source: Rc<Iter>,
    /// Of what has a length before it is gone through.
    pub length: Cell<Option<usize>>,
    /// The loop's condition and the scope in which it is asked.
    pub test: Option<(Arc<For>, Rc<Scope>)>,
    /// Items that were looked at before their turn.
    pub ready: RefCell<VecDeque<Value>>,
    pub index0: Cell<usize>,
    pub depth0: usize,
    pub previous: RefCell<Option<Value>>,
    /// The value that `changed` was last asked about.
    pub changed: RefCell<Option<Value>>,
    /// The loop to go through again when it is called, and the scope in which it stands.
    pub recursive: Option<(Arc<For>, Rc<Scope>)>,
}
