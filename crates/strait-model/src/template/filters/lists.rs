//! Filters of lists and dictionaries.

use std::collections::HashSet;
use std::rc::Rc;

use crate::template::{
    args::{Args, int, size, text},
    ast::Operator,
    checks,
    compare::{equal, order, sorted},
    context::Context,
    fault::{Result, fail, unsupported},
    ops,
    print::text_of,
    strings::joined,
    value::{Items, Value, View},
};

pub fn call(run: &dyn Context, name: &str, value: &Value, args: Args) -> Result<Value> {
    let meter = run.meter();
    match name {
        "list" => {
            let [] = args.bind(name, [], 0)?;
            Value::list(value.items(meter)?)
        }
        "items" => {
            let [] = args.bind(name, [], 0)?;
            match value {
                Value::Undefined(_) => Ok(Value::iter_of([])),
                Value::Dict(dict) => Ok(Value::iter_of(Value::View(View::Items, dict.clone()).items(meter)?)),
                _ => fail("can only get item pairs from a mapping"),
            }
        }
        "first" => {
            let [] = args.bind(name, [], 0)?;
            if let Value::Iter(iter) = value {
                return Ok(iter.next().unwrap_or_else(|| nothing("first")));
            }
            Ok(value.items(meter)?.into_iter().next().unwrap_or_else(|| nothing("first")))
        }
        "last" => {
            let [] = args.bind(name, [], 0)?;
            reversible(value)?;
            Ok(value.items(meter)?.pop().unwrap_or_else(|| nothing("last")))
        }
        "reverse" => {
            let [] = args.bind(name, [], 0)?;
            if let Value::Markup(_) = value {
                return unsupported("`reverse` of text that `safe` or `escape` marked");
            }
            let mut items = value.items(meter)?;
            items.reverse();
            if let Value::Str(text) = value {
                return Ok(text.chars().rev().collect::<String>().into());
            }
            // What cannot be gone through backwards becomes a list.
            if reversible(value).is_err() { Value::list(items) } else { Ok(Value::iter_of(items)) }
        }
        "join" => {
            let [separator, attribute] = args.bind(name, ["d", "attribute"], 0)?;
            let separator = separator.map_or(Ok("".into()), |separator| text_of(&separator, meter))?;
            let getter = Getter::new(attribute.filter(|a| !matches!(a, Value::None)).as_ref(), false)?;
            let items = value.items(meter)?.into_iter().map(|item| text_of(&getter.of(run, item)?, meter));
            Ok(joined(&separator, &items.collect::<Result<Vec<_>>>()?, meter)?.into())
        }
        "sum" => {
            let [attribute, start] = args.bind(name, ["attribute", "start"], 0)?;
            let getter = Getter::new(attribute.filter(|a| !matches!(a, Value::None)).as_ref(), false)?;
            let mut total = start.unwrap_or(Value::Int(0));
            if total.as_str().is_some() {
                return fail("sum() can't sum strings");
            }
            for item in value.items(meter)? {
                total = ops::binary(Operator::Add, &total, &getter.of(run, item)?, meter)?;
            }
            Ok(total)
        }
        "min" | "max" => {
            let [case_sensitive, attribute] = args.bind(name, ["case_sensitive", "attribute"], 0)?;
            let getter = Getter::new(attribute.as_ref(), !is_on(case_sensitive))?;
            let mut best: Option<(Value, Value)> = None;
            for item in value.items(meter)? {
                let key = getter.of(run, item.clone())?;
                let is_better = match &best {
                    None => true,
                    Some((best, _)) if name == "min" => {
                        order(&key, best, "<", meter)?.is_some_and(|o| o.is_lt())
                    }
                    Some((best, _)) => order(&key, best, ">", meter)?.is_some_and(|o| o.is_gt()),
                };
                if is_better {
                    best = Some((key, item));
                }
            }
            Ok(best.map_or_else(|| nothing("aggregated"), |(_, item)| item))
        }
        "unique" => {
            let [case_sensitive, attribute] = args.bind(name, ["case_sensitive", "attribute"], 0)?;
            let getter = Getter::new(attribute.as_ref(), !is_on(case_sensitive))?;
            let mut seen = HashSet::new();
            let mut kept = Vec::new();
            for item in value.items(meter)? {
                if seen.insert(getter.of(run, item.clone())?.key(meter)?) {
                    kept.push(item);
                }
            }
            Ok(Value::iter_of(kept))
        }
        "sort" => {
            let [reverse, case_sensitive, attribute] =
                args.bind(name, ["reverse", "case_sensitive", "attribute"], 0)?;
            let getters = Getter::several(attribute.as_ref(), !is_on(case_sensitive))?;
            let mut keyed = Vec::new();
            for item in value.items(meter)? {
                let keys =
                    getters.iter().map(|getter| getter.of(run, item.clone())).collect::<Result<_>>()?;
                keyed.push((Value::list(keys)?, item));
            }
            let sorted = sorted(keyed, is_on(reverse), meter)?;
            Value::list(sorted.into_iter().map(|(_, item)| item).collect())
        }
        "dictsort" => {
            let [case_sensitive, by, reverse] = args.bind(name, ["case_sensitive", "by", "reverse"], 0)?;
            let by = by.map_or(Ok("key".into()), |by| text(&by, name))?;
            let getter = Getter::new(None, !is_on(case_sensitive))?;
            let Value::Dict(dict) = value else {
                return match value {
                    Value::Undefined(message) => fail(&**message),
                    _ => fail(format!("'{}' object has no attribute 'items'", value.kind())),
                };
            };
            let mut keyed = Vec::new();
            for (key, value) in &dict.entries {
                let by = match &*by {
                    "key" => key,
                    "value" => value,
                    _ => return fail("you can only sort by either \"key\" or \"value\""),
                };
                keyed.push((getter.of(run, by.clone())?, (key.clone(), value.clone())));
            }
            let pairs = sorted(keyed, is_on(reverse), meter)?;
            Value::list(pairs.into_iter().map(|(_, (k, v))| Value::tuple(vec![k, v])).collect::<Result<_>>()?)
        }
        "groupby" => groupby(run, value, args),
        "batch" => {
            let [count, fill] = args.bind(name, ["linecount", "fill_with"], 1)?;
            let count = count.expect("it is required");
            let Some(count) = count.as_int() else {
                return unsupported("`batch` by something else than an integer");
            };
            let items = value.items(meter)?;
            if items.is_empty() {
                return Ok(Value::iter_of([]));
            }
            // A batch that is never full takes all, of zero as of a negative size; an empty one stands before the first.
            if count <= 0 {
                return unsupported("`batch` by less than one");
            }
            let mut batches: Vec<Vec<Value>> = items.chunks(size(count)).map(<[Value]>::to_vec).collect();
            if let (Some(fill), Some(last)) =
                (fill.filter(|fill| !matches!(fill, Value::None)), batches.last_mut())
            {
                let missing = size(count) - last.len();
                meter.charge_values(missing)?;
                last.extend(std::iter::repeat_n(fill, missing));
            }
            Ok(Value::iter_of(batches.into_iter().map(Value::list).collect::<Result<Vec<_>>>()?))
        }
        "slice" => {
            let [slices, fill] = args.bind(name, ["slices", "fill_with"], 1)?;
            let slices = int(&slices.expect("it is required"), name)?;
            slices_of(run, &value.items(meter)?, slices, fill.filter(|fill| !matches!(fill, Value::None)))
        }
        "map" => map(run, value, args),
        _ => select(run, name, value, args),
    }
}

fn nothing(which: &str) -> Value {
    Value::Undefined(format!("no {which} item, sequence was empty").into())
}

fn is_on(option: Option<Value>) -> bool {
    option.is_some_and(|option| option.is_truthy())
}

/// Refuses a value that Python does not go through backwards.
fn reversible(value: &Value) -> Result<()> {
    match value {
        Value::Iter(_) | Value::Loop(_) => fail(format!("'{}' object is not reversible", value.kind())),
        _ => Ok(()),
    }
}

/// The part that a filter's `attribute` takes from an item: a path of attributes and indices.
struct Getter {
    path: Vec<Value>,
    ignore_case: bool,
}

impl Getter {
    fn new(attribute: Option<&Value>, ignore_case: bool) -> Result<Self> {
        let path = match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Str(path)) => {
                let is_index = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                path.split('.')
                    .map(|part| match part.parse() {
                        Ok(index) if is_index(part) => Value::Int(index),
                        _ => part.into(),
                    })
                    .collect()
            }
            Some(other) => vec![other.clone()],
        };
        Ok(Self { path, ignore_case })
    }

    /// One for each of several attributes with commas between them.
    fn several(attribute: Option<&Value>, ignore_case: bool) -> Result<Vec<Self>> {
        match attribute {
            Some(Value::Str(paths)) => {
                paths.split(',').map(|path| Self::new(Some(&path.into()), ignore_case)).collect()
            }
            other => Ok(vec![Self::new(other, ignore_case)?]),
        }
    }

    fn of(&self, run: &dyn Context, item: Value) -> Result<Value> {
        self.or(run, item, None)
    }

    /// With a default for values that are missing.
    fn or(&self, run: &dyn Context, mut item: Value, default: Option<&Value>) -> Result<Value> {
        run.meter().step()?;
        for part in &self.path {
            item = run.item(&item, part)?;
            if let (Some(default), Value::Undefined(_)) = (default, &item) {
                item = default.clone();
            }
        }
        match item {
            Value::Str(text) if self.ignore_case => {
                run.meter().charge(text.len())?;
                Ok(text.to_lowercase().into())
            }
            other => Ok(other),
        }
    }
}

fn groupby(run: &dyn Context, value: &Value, args: Args) -> Result<Value> {
    let meter = run.meter();
    let [attribute, default, case_sensitive] =
        args.bind("groupby", ["attribute", "default", "case_sensitive"], 1)?;
    let default = default.filter(|default| !matches!(default, Value::None));
    let ignore_case = !is_on(case_sensitive);
    let getter = Getter::new(attribute.as_ref(), ignore_case)?;
    let as_written = Getter::new(attribute.as_ref(), false)?;
    let mut keyed = Vec::new();
    for item in value.items(meter)? {
        keyed.push((getter.or(run, item.clone(), default.as_ref())?, item));
    }
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, item) in sorted(keyed, false, meter)? {
        match groups.last_mut() {
            Some((last, items)) if equal(last, &key, meter)? => items.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    let mut pairs = Vec::new();
    for (key, items) in groups {
        let key = if ignore_case { as_written.or(run, items[0].clone(), default.as_ref())? } else { key };
        let mut pair = Items::new(vec![key, Value::list(items)?])?;
        pair.is_group = true;
        pairs.push(Value::Tuple(Rc::new(pair)));
    }
    Value::list(pairs)
}

fn slices_of(run: &dyn Context, items: &[Value], slices: i128, fill: Option<Value>) -> Result<Value> {
    if slices == 0 {
        return fail("integer division or modulo by zero");
    }
    let slices = size(slices);
    run.meter().charge_values(slices.saturating_add(items.len()))?;
    if slices == 0 {
        return Ok(Value::iter_of([]));
    }
    let (each, with_extra) = (items.len() / slices, items.len() % slices);
    let mut rest = items;
    let mut result = Vec::new();
    for number in 0..slices {
        let (slice, after) = rest.split_at(each + usize::from(number < with_extra));
        rest = after;
        let mut slice = slice.to_vec();
        if number >= with_extra {
            slice.extend(fill.clone());
        }
        result.push(Value::list(slice)?);
    }
    Ok(Value::iter_of(result))
}

fn map(run: &dyn Context, value: &Value, mut args: Args) -> Result<Value> {
    if !value.is_truthy() {
        return Ok(Value::iter_of([]));
    }
    let items = value.items(run.meter())?;
    let named = |args: &Args, name: &str| {
        args.named.iter().find(|(found, _)| **found == *name).map(|(_, v)| v.clone())
    };
    if let (true, Some(attribute)) = (args.positional.is_empty(), named(&args, "attribute")) {
        if args.named.iter().any(|(name, _)| !matches!(&**name, "attribute" | "default")) {
            return fail("unexpected keyword argument of map()");
        }
        let default = named(&args, "default").filter(|default| !matches!(default, Value::None));
        let getter = Getter::new(Some(&attribute), false)?;
        let mapped = items.into_iter().map(|item| getter.or(run, item, default.as_ref()));
        return Ok(Value::iter_of(mapped.collect::<Result<Vec<_>>>()?));
    }
    if args.positional.is_empty() {
        return fail("map requires a filter argument");
    }
    let filter = text(&args.positional.remove(0), "map")?;
    let mapped = items.into_iter().map(|item| {
        run.meter().step()?;
        let args = Args { positional: args.positional.clone(), named: args.named.clone() };
        super::call(run, &filter, item, args)
    });
    Ok(Value::iter_of(mapped.collect::<Result<Vec<_>>>()?))
}

/// `select`, `reject`, `selectattr` and `rejectattr`.
fn select(run: &dyn Context, name: &str, value: &Value, mut args: Args) -> Result<Value> {
    if !value.is_truthy() {
        return Ok(Value::iter_of([]));
    }
    let items = value.items(run.meter())?;
    let getter = if name.ends_with("attr") {
        if args.positional.is_empty() {
            return fail("missing parameter for attribute name");
        }
        Getter::new(Some(&args.positional.remove(0)), false)?
    } else {
        Getter::new(None, false)?
    };
    let test = if args.positional.is_empty() { None } else { Some(text(&args.positional.remove(0), name)?) };
    let is_kept = name.starts_with("select");
    let mut kept = Vec::new();
    for item in items {
        let value = getter.of(run, item.clone())?;
        let holds = match &test {
            Some(test) => {
                let args = Args { positional: args.positional.clone(), named: args.named.clone() };
                checks::call(run, test, &value, args)?
            }
            None => value.is_truthy(),
        };
        if holds == is_kept {
            kept.push(item);
        }
    }
    Ok(Value::iter_of(kept))
}
