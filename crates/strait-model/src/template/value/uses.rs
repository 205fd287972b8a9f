//! Values made, and looked at as Python does.

use std::{cell::RefCell, rc::Rc};

use super::{Dict, Items, Iter, Key, Value, View};
use crate::template::{
    ast::Text,
    fault::{Meter, Result, VALUE, fail, unsupported},
};

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl Value {
    pub fn list(items: Vec<Self>) -> Result<Self> {
        Ok(Self::List(Rc::new(Items::new(items)?)))
    }

    pub fn tuple(items: Vec<Self>) -> Result<Self> {
        Ok(Self::Tuple(Rc::new(Items::new(items)?)))
    }

    pub fn dict(entries: impl IntoIterator<Item = (Self, Self)>, meter: &Meter) -> Result<Self> {
        Ok(Self::Dict(Rc::new(Dict::new(entries, meter)?)))
    }

    /// An iterator over these items, which gives them once.
    pub fn iter_of(items: impl IntoIterator<Item = Self>) -> Self {
        Self::Iter(Rc::new(Iter(RefCell::new(items.into_iter().collect()))))
    }

    pub fn size(length: usize) -> Self {
        Self::Int(length as i128)
    }

    /// A value of JSON, with its size in bytes added to `size`.
    pub fn from_json(json: &serde_json::Value, meter: &Meter) -> Result<Self> {
        Ok(match json {
            serde_json::Value::Null => Self::None,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => match (number.as_i128(), number.as_f64()) {
                (Some(number), _) => Self::Int(number),
                (None, Some(number)) => Self::Float(number),
                (None, None) => return unsupported(format!("the number {number}")),
            },
            serde_json::Value::String(text) => Self::Str(text.as_str().into()),
            serde_json::Value::Array(items) => {
                Self::list(items.iter().map(|item| Self::from_json(item, meter)).collect::<Result<_>>()?)?
            }
            serde_json::Value::Object(entries) => Self::from_object(entries, meter)?,
        })
    }

    /// An object of JSON.
    pub fn from_object(object: &serde_json::Map<String, serde_json::Value>, meter: &Meter) -> Result<Self> {
        let entry = |(key, value): (&String, _)| Ok((key.as_str().into(), Self::from_json(value, meter)?));
        Self::dict(object.iter().map(entry).collect::<Result<Vec<_>>>()?, meter)
    }

    pub(super) fn depth(&self) -> u32 {
        match self {
            Self::List(list) | Self::Tuple(list) => list.depth,
            Self::Dict(dict) | Self::View(_, dict) => dict.depth,
            _ => 0,
        }
    }

    /// The name of its type, as Python's errors give it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Markup(_) => "Markup",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::View(View::Keys, _) => "dict_keys",
            Self::View(View::Values, _) => "dict_values",
            Self::View(View::Items, _) => "dict_items",
            Self::Range(_) => "range",
            Self::Iter(_) => "generator",
            Self::Namespace(_) => "Namespace",
            Self::Method(_) => "method",
            Self::Function(_) => "function",
            Self::Macro(_) => "Macro",
            Self::Loop(_) => "LoopContext",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
        }
    }

    /// Its text, if it is one.
    pub fn as_str(&self) -> Option<&Text> {
        match self {
            Self::Str(text) | Self::Markup(text) => Some(text),
            _ => None,
        }
    }

    /// Its number, if it is an integer (or a boolean, which Python takes for one).
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Self::Bool(value) => Some(i128::from(*value)),
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            _ => self.as_int().map(|value| value as f64),
        }
    }

    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) | Self::Markup(text) => !text.is_empty(),
            Self::List(list) | Self::Tuple(list) => !list.items.is_empty(),
            Self::Dict(dict) | Self::View(_, dict) => !dict.entries.is_empty(),
            Self::Range(range) => range.length > 0,
            _ => true,
        }
    }

    /// `len(value)`.
    pub fn length(&self, meter: &Meter) -> Result<usize> {
        Ok(match self {
            Self::Undefined(_) => 0,
            Self::Str(text) | Self::Markup(text) => {
                meter.charge(text.len())?;
                text.chars().count()
            }
            Self::List(list) | Self::Tuple(list) => list.items.len(),
            Self::Dict(dict) | Self::View(_, dict) => dict.entries.len(),
            Self::Range(range) => range.length,
            Self::Loop(_) => return unsupported("the length of `loop` by a filter (use `loop.length`)"),
            _ => return fail(format!("object of type '{}' has no len()", self.kind())),
        })
    }

    /// All items that iterating over it gives.
    pub fn items(&self, meter: &Meter) -> Result<Vec<Self>> {
        if let Self::Str(text) | Self::Markup(text) = self {
            meter.charge_values(text.len())?;
            return Ok(text.chars().map(|c| c.to_string().into()).collect());
        }
        let items: Vec<Self> = match self {
            Self::Undefined(_) => Vec::new(),
            Self::List(list) | Self::Tuple(list) => {
                meter.charge_values(list.items.len())?;
                list.items.clone()
            }
            Self::Dict(dict) | Self::View(View::Keys, dict) => {
                meter.charge_values(dict.entries.len())?;
                dict.entries.iter().map(|(key, _)| key.clone()).collect()
            }
            Self::View(View::Values, dict) => {
                meter.charge_values(dict.entries.len())?;
                dict.entries.iter().map(|(_, value)| value.clone()).collect()
            }
            Self::View(View::Items, dict) => {
                meter.charge_values(3 * dict.entries.len())?;
                dict.entries
                    .iter()
                    .map(|(k, v)| Self::tuple(vec![k.clone(), v.clone()]))
                    .collect::<Result<_>>()?
            }
            Self::Range(range) => {
                meter.charge_values(range.length)?;
                (0..range.length).map(|index| range.item(index)).collect()
            }
            Self::Iter(iter) => {
                let items = std::mem::take(&mut *iter.0.borrow_mut());
                meter.charge_values(items.len())?;
                items.into()
            }
            Self::Loop(_) => return unsupported("iterating over `loop`"),
            _ => return fail(format!("'{}' object is not iterable", self.kind())),
        };
        Ok(items)
    }

    /// True if iterating over it works.
    pub fn is_iterable(&self) -> bool {
        self.as_str().is_some()
            || matches!(
                self,
                Self::Undefined(_)
                    | Self::List(_)
                    | Self::Tuple(_)
                    | Self::Dict(_)
                    | Self::View(..)
                    | Self::Range(_)
                    | Self::Iter(_)
                    | Self::Loop(_)
            )
    }

    /// It as a dictionary's key.
    pub fn key(&self, meter: &Meter) -> Result<Key> {
        meter.charge(VALUE)?;
        Ok(match self {
            Self::Undefined(_) => Key::Undefined,
            Self::None => Key::None,
            Self::Bool(value) => Key::Int(i128::from(*value)),
            Self::Int(value) => Key::Int(*value),
            Self::Float(value) if value.fract() == 0.0 && value.abs() < 1e30 => Key::Int(*value as i128),
            Self::Float(value) if value.is_nan() => return unsupported("`nan` as a key"),
            Self::Float(value) => Key::Float(value.to_bits()),
            Self::Str(text) | Self::Markup(text) => {
                meter.charge(text.len())?;
                Key::Str(text.clone())
            }
            Self::Tuple(items) => {
                Key::Tuple(items.items.iter().map(|item| item.key(meter)).collect::<Result<_>>()?)
            }
            Self::List(_) | Self::Dict(_) => return fail(format!("unhashable type: '{}'", self.kind())),
            _ => return unsupported(format!("a {} as a key", self.kind())),
        })
    }
}
