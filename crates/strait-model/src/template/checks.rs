//! Tests: the words that may stand behind `is`.

use super::{
    args::Args,
    ast::Comparison,
    compare::{compare, is_same},
    context::Context,
    fault::{Result, fail, unsupported},
    names::{FILTERS, TESTS},
    ops,
    print::text_of,
    unicode::is_cased,
    value::Value,
};

/// Asks a test of a value.
pub fn call(run: &dyn Context, name: &str, value: &Value, args: Args) -> Result<bool> {
    let meter = run.meter();
    let comparison = match name {
        "==" | "eq" | "equalto" => Some(Comparison::Equal),
        "!=" | "ne" => Some(Comparison::NotEqual),
        ">" | "gt" | "greaterthan" => Some(Comparison::Greater),
        ">=" | "ge" => Some(Comparison::GreaterOrEqual),
        "<" | "lt" | "lessthan" => Some(Comparison::Less),
        "<=" | "le" => Some(Comparison::LessOrEqual),
        "in" => Some(Comparison::In),
        _ => None,
    };
    if let Some(comparison) = comparison {
        let [other] = args.bind(name, [if name == "in" { "seq" } else { "" }], 1)?;
        return compare(comparison, value, &other.expect("it is required"), meter);
    }
    match name {
        "divisibleby" => {
            let [number] = args.bind(name, ["num"], 1)?;
            return rest_is(run, value, &number.expect("it is required"), 0);
        }
        "sameas" => {
            let [other] = args.bind(name, ["other"], 1)?;
            return same(run, value, &other.expect("it is required"));
        }
        _ if !TESTS.contains(&name) => return fail(format!("no test named '{name}'")),
        _ => {}
    }
    let [] = args.bind(name, [], 0)?;
    Ok(match name {
        "odd" => rest_is(run, value, &Value::Int(2), 1)?,
        "even" => rest_is(run, value, &Value::Int(2), 0)?,
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "filter" => value.as_str().is_some_and(|name| FILTERS.contains(&&**name)),
        "test" => value.as_str().is_some_and(|name| TESTS.contains(&&**name)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "false" => matches!(value, Value::Bool(false)),
        "true" => matches!(value, Value::Bool(true)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.as_float().is_some(),
        "string" => value.as_str().is_some(),
        "mapping" => matches!(value, Value::Dict(_)),
        "sequence" => matches!(
            value,
            Value::Str(_)
                | Value::Markup(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::Range(_)
                | Value::Undefined(_)
        ),
        "iterable" => value.is_iterable(),
        "callable" => matches!(
            value,
            Value::Method(_)
                | Value::Function(_)
                | Value::Macro(_)
                | Value::Loop(_)
                | Value::Joiner(_)
                | Value::Undefined(_)
        ),
        "escaped" => matches!(value, Value::Markup(_)),
        _ => {
            let text = text_of(value, meter)?;
            meter.charge(text.len())?;
            let is_right = |c: char| if name == "lower" { c.is_lowercase() } else { c.is_uppercase() };
            let mut cased = text.chars().filter(|&c| is_cased(c)).peekable();
            cased.peek().is_some() && cased.all(is_right)
        }
    })
}

/// `value % number == rest`.
fn rest_is(run: &dyn Context, value: &Value, number: &Value, rest: i128) -> Result<bool> {
    let found = ops::binary(super::ast::Operator::Modulo, value, number, run.meter())?;
    compare(Comparison::Equal, &found, &Value::Int(rest), run.meter())
}

/// `value is other`: told of what Python keeps one of, and of what differs.
fn same(run: &dyn Context, value: &Value, other: &Value) -> Result<bool> {
    match (value, other) {
        (Value::None, Value::None) => return Ok(true),
        (Value::Bool(a), Value::Bool(b)) => return Ok(a == b),
        (Value::Function(a), Value::Function(b)) => return Ok(a == b),
        // Small integers are kept.
        (Value::Int(a), Value::Int(b)) if a == b && (-5..=256).contains(a) => return Ok(true),
        _ => {}
    }
    if value.kind() != other.kind() {
        return Ok(false);
    }
    let is_plain = matches!(
        value,
        Value::Str(_) | Value::Markup(_) | Value::Int(_) | Value::Float(_) | Value::Undefined(_)
    );
    let is_empty_tuple = matches!(value, Value::Tuple(items) if items.items.is_empty());
    if !is_plain && !is_empty_tuple {
        return Ok(is_same(value, other));
    }
    if compare(Comparison::Equal, value, other, run.meter())? {
        return unsupported(format!("`sameas` of two equal values of type {}", value.kind()));
    }
    Ok(false)
}
