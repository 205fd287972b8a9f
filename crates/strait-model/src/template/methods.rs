//! The attributes and methods of Python's values.

use std::rc::Rc;

use super::{
    args::{Args, int},
    compare,
    context::Context,
    fault::{Result, fail, unsupported},
    strings,
    value::{Value, View},
};

const DICT: [&str; 5] = ["copy", "get", "items", "keys", "values"];
const LIST: [&str; 3] = ["copy", "count", "index"];
const TUPLE: [&str; 2] = ["count", "index"];
/// Methods that change a dictionary or list, which the sandbox hides.
const MUTATING: [&str; 14] = [
    "add",
    "append",
    "clear",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "reverse",
    "setdefault",
    "sort",
    "update",
    "discard",
    "fromkeys",
];
/// Attributes of numbers, which no template has a use for.
const NUMBER: [&str; 12] = [
    "as_integer_ratio",
    "bit_count",
    "bit_length",
    "conjugate",
    "denominator",
    "from_bytes",
    "fromhex",
    "hex",
    "imag",
    "is_integer",
    "numerator",
    "real",
];

/// An attribute that Python finds in a value; none if it finds none.
pub fn attribute(value: &Value, name: &str) -> Result<Option<Value>> {
    let method = |methods: &[&'static str]| {
        methods
            .iter()
            .find(|known| **known == name)
            .map(|known| Value::Method(Rc::new((value.clone(), *known))))
    };
    if let Value::Undefined(message) = value {
        return fail(&**message);
    }
    if name.starts_with("__") && !matches!(value, Value::Namespace(_)) {
        if let Value::Dict(dict) = value
            && dict.get_str(&name.into()).is_some()
        {
            return unsupported(format!("the key `{name}` by a dot"));
        }
        return Ok(Some(hidden(value, name)));
    }
    Ok(match value {
        Value::Str(_) => method(&strings::METHODS),
        Value::Markup(_) if strings::METHODS.contains(&name) => {
            return unsupported(format!("`{name}` of text that `safe` or `escape` marked"));
        }
        Value::Dict(_) => {
            if matches!(name, "clear" | "pop" | "popitem" | "setdefault" | "update") {
                return Ok(Some(hidden(value, name)));
            }
            if name == "fromkeys" {
                return unsupported("the method `fromkeys`");
            }
            method(&DICT)
        }
        Value::List(_) => {
            if MUTATING[..].contains(&name)
                && !matches!(name, "add" | "popitem" | "setdefault" | "update" | "discard" | "fromkeys")
            {
                return Ok(Some(hidden(value, name)));
            }
            method(&LIST)
        }
        Value::Tuple(items) => match name {
            "grouper" if items.is_group => Some(items.items[0].clone()),
            "list" if items.is_group => Some(items.items[1].clone()),
            _ => method(&TUPLE),
        },
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            if NUMBER.contains(&name) {
                return unsupported(format!("the attribute `{name}` of a number"));
            }
            None
        }
        Value::Range(range) => match name {
            "start" => Some(Value::Int(range.start)),
            "stop" => Some(Value::Int(range.stop)),
            "step" => Some(Value::Int(range.step)),
            "count" | "index" => return unsupported(format!("`{name}` of a range")),
            _ => None,
        },
        Value::View(..) if matches!(name, "isdisjoint" | "mapping") => {
            return unsupported(format!("`{name}` of a dictionary's view"));
        }
        Value::Iter(_) if matches!(name, "close" | "send" | "throw") || name.starts_with("gi_") => {
            return unsupported(format!("`{name}` of a generator"));
        }
        Value::Namespace(namespace) => namespace.get(name),
        Value::Macro(closure) => match name {
            "name" => Some(closure.of.name.as_ref().map_or(Value::None, |name| Value::Str(name.clone()))),
            "arguments" => {
                let names = closure.of.parameters.iter().map(|(name, _)| Value::Str(name.clone()));
                Some(Value::tuple(names.collect())?)
            }
            "caller" => Some(closure.of.caller.into()),
            "catch_kwargs" => Some(closure.of.kwargs.into()),
            "catch_varargs" => Some(closure.of.varargs.into()),
            _ => None,
        },
        Value::Cycler(cycler) => match name {
            "current" => Some(cycler.items[cycler.at.get()].clone()),
            "pos" => Some(Value::size(cycler.at.get())),
            "items" => Some(Value::tuple(cycler.items.clone())?),
            _ => method(&["next", "reset"]),
        },
        Value::Joiner(joiner) => match name {
            "sep" => Some(joiner.separator.clone()),
            "used" => Some(joiner.used.get().into()),
            _ => None,
        },
        Value::Loop(_) => match name {
            "cycle" | "changed" => method(&["cycle", "changed"]),
            // The others need the loop to go on: the run knows them.
            _ => None,
        },
        _ => None,
    })
}

/// The sandbox's answer for an attribute that it hides.
fn hidden(value: &Value, name: &str) -> Value {
    Value::Undefined(format!("access to attribute '{name}' of '{}' object is unsafe.", value.kind()).into())
}

/// Calls a method that [`attribute`] gave.
pub fn call(run: &dyn Context, value: &Value, name: &'static str, args: Args) -> Result<Value> {
    let meter = run.meter();
    match value {
        Value::Str(text) if name == "format" => strings::format(run, text, args),
        Value::Str(text) => strings::call(text, name, args, meter),
        Value::Dict(dict) => match name {
            "get" => {
                let [key, default] = args.positional("get", 1)?;
                let key = key.expect("it is required").key(meter)?;
                Ok(dict.get(&key).cloned().or(default).unwrap_or(Value::None))
            }
            _ => {
                let [] = args.positional(name, 0)?;
                Ok(match name {
                    "items" => Value::View(View::Items, dict.clone()),
                    "keys" => Value::View(View::Keys, dict.clone()),
                    "values" => Value::View(View::Values, dict.clone()),
                    _ => {
                        meter.charge_values(dict.entries.len())?;
                        Value::dict(dict.entries.iter().cloned(), meter)?
                    }
                })
            }
        },
        Value::List(list) | Value::Tuple(list) => match name {
            "count" => {
                let [item] = args.positional(name, 1)?;
                let item = item.expect("it is required");
                let mut count = 0;
                for found in &list.items {
                    count +=
                        usize::from(compare::is_same(found, &item) || compare::equal(found, &item, meter)?);
                }
                Ok(Value::size(count))
            }
            "index" => {
                let [item, start, stop] = args.positional(name, 1)?;
                let item = item.expect("it is required");
                let length = list.items.len() as i128;
                let place = |bound: Option<Value>, default: i128| -> Result<usize> {
                    let bound = bound.map_or(Ok(default), |bound| int(&bound, name))?;
                    Ok((if bound < 0 { bound.saturating_add(length) } else { bound }).clamp(0, length)
                        as usize)
                };
                for at in place(start, 0)?..place(stop, length)? {
                    let found = &list.items[at];
                    if compare::is_same(found, &item) || compare::equal(found, &item, meter)? {
                        return Ok(Value::size(at));
                    }
                }
                fail("the value is not in the list")
            }
            _ => {
                let [] = args.positional(name, 0)?;
                meter.charge_values(list.items.len())?;
                Value::list(list.items.clone())
            }
        },
        Value::Cycler(cycler) => {
            let [] = args.positional(name, 0)?;
            let item = cycler.items[cycler.at.get()].clone();
            if name == "reset" {
                cycler.at.set(0);
                return Ok(Value::None);
            }
            cycler.at.set((cycler.at.get() + 1) % cycler.items.len());
            Ok(item)
        }
        Value::Loop(state) if name == "cycle" => {
            if args.positional.is_empty() {
                return fail("no items for cycling given");
            }
            let at = state.index0.get() % args.positional.len();
            Ok(args.positional[at].clone())
        }
        Value::Loop(state) => {
            let value = Value::tuple(args.positional)?;
            let mut last = state.changed.borrow_mut();
            let is_same = match &*last {
                Some(last) => compare::equal(last, &value, meter)?,
                None => false,
            };
            *last = Some(value);
            Ok((!is_same).into())
        }
        other => unsupported(format!("the method `{name}` of {}", other.kind())),
    }
}
