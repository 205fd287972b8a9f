//! The functions that every template may call.

use std::{cell::Cell, rc::Rc};

use super::{
    args::{Args, int, text},
    ast::Text,
    context::Context,
    fault::{Fault, Result, fail, unsupported},
    print::text_of,
    value::{Cycler, Function, Joiner, Range, Value},
};

/// Most items of a range in the sandbox.
const MAX_RANGE: usize = 100_000;
/// Largest bound or step of a range, so that its items can be computed.
const MAX_BOUND: u128 = 1 << 64;

pub const GLOBALS: [(&str, Function); 8] = [
    ("range", Function::Range),
    ("dict", Function::Dict),
    ("lipsum", Function::Lipsum),
    ("cycler", Function::Cycler),
    ("joiner", Function::Joiner),
    ("namespace", Function::Namespace),
    ("raise_exception", Function::RaiseException),
    ("strftime_now", Function::StrftimeNow),
];

pub fn call(run: &dyn Context, function: Function, args: Args) -> Result<Value> {
    let meter = run.meter();
    match function {
        Function::Range => {
            let [first, second, step] = args.positional("range", 1)?;
            let first = int(&first.expect("it is required"), "range")?;
            let (start, stop) = match second {
                Some(stop) => (first, int(&stop, "range")?),
                None => (0, first),
            };
            let step = step.map_or(Ok(1), |step| int(&step, "range"))?;
            if [start, stop, step].iter().any(|bound| bound.unsigned_abs() > MAX_BOUND) {
                return unsupported("a range of integers beyond 64 bits");
            }
            if step == 0 {
                return fail("range() arg 3 must not be zero");
            }
            match Range::new(start, stop, step).filter(|range| range.length <= MAX_RANGE) {
                Some(range) => Ok(Value::Range(range)),
                None => fail(format!("range too big: the sandbox blocks ranges larger than {MAX_RANGE}")),
            }
        }
        Function::Dict => Value::dict(entries(run, "dict", args)?, meter),
        Function::Namespace => {
            let entries = Value::dict(entries(run, "namespace", args)?, meter)?;
            let Value::Dict(dict) = entries else { return fail("namespace() needs a mapping") };
            let attribute = |(name, value): &(Value, Value)| Some((name.as_str()?.clone(), value.clone()));
            Ok(run.namespace(dict.entries.iter().filter_map(attribute).collect()))
        }
        Function::Cycler => {
            if !args.named.is_empty() {
                return fail("cycler() takes no keyword arguments");
            }
            if args.positional.is_empty() {
                return fail("at least one item has to be provided");
            }
            Ok(Value::Cycler(Rc::new(Cycler { items: args.positional, at: Cell::new(0) })))
        }
        Function::Joiner => {
            let [separator] = args.bind("joiner", ["sep"], 0)?;
            let separator = separator.unwrap_or_else(|| ", ".into());
            Ok(Value::Joiner(Rc::new(Joiner { separator, used: Cell::new(false) })))
        }
        Function::RaiseException => {
            let [message] = args.bind("raise_exception", ["message"], 1)?;
            Err(Fault::Raised(text_of(&message.expect("it is required"), meter)?.to_string()))
        }
        Function::StrftimeNow => {
            let [format] = args.bind("strftime_now", ["format"], 1)?;
            let format = text(&format.expect("it is required"), "strftime_now")?;
            Ok(run.date().formatted(&format, meter)?.into())
        }
        Function::Lipsum => unsupported("the function `lipsum`"),
    }
}

/// The entries of `dict(...)`: of a mapping or of pairs, and those that are named.
fn entries(run: &dyn Context, function: &str, args: Args) -> Result<Vec<(Value, Value)>> {
    let Args { positional, named } = args;
    let mut entries = Vec::new();
    if positional.len() > 1 {
        return fail(format!("{function} expected at most 1 argument, got {}", positional.len()));
    }
    match positional.first() {
        Some(Value::Dict(dict)) => entries.extend(dict.entries.iter().cloned()),
        Some(pairs) => {
            for pair in pairs.items(run.meter())? {
                match <[Value; 2]>::try_from(pair.items(run.meter())?) {
                    Ok([key, value]) => entries.push((key, value)),
                    Err(pair) => {
                        return fail(format!(
                            "an element of {function}() has length {}; 2 is required",
                            pair.len()
                        ));
                    }
                }
            }
        }
        None => {}
    }
    run.meter().charge_values(entries.len())?;
    entries.extend(named.into_iter().map(|(name, value): (Text, Value)| (Value::Str(name), value)));
    Ok(entries)
}
