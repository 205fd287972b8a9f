//! Equality, order and membership as Python defines them.

use std::{cmp::Ordering, rc::Rc};

use super::{
    ast::Comparison,
    fault::{Meter, Result, fail, unsupported},
    value::{Value, View},
};

/// Carries out a comparison.
pub fn compare(comparison: Comparison, left: &Value, right: &Value, meter: &Meter) -> Result<bool> {
    let ordered = |sign, accept: fn(Ordering) -> bool| {
        order(left, right, sign, meter).map(|found| found.is_some_and(accept))
    };
    match comparison {
        Comparison::Equal => equal(left, right, meter),
        Comparison::NotEqual => Ok(!equal(left, right, meter)?),
        Comparison::Less => ordered("<", Ordering::is_lt),
        Comparison::LessOrEqual => ordered("<=", Ordering::is_le),
        Comparison::Greater => ordered(">", Ordering::is_gt),
        Comparison::GreaterOrEqual => ordered(">=", Ordering::is_ge),
        Comparison::In => contains(right, left, meter),
        Comparison::NotIn => Ok(!contains(right, left, meter)?),
    }
}

/// `left == right`.
pub fn equal(left: &Value, right: &Value, meter: &Meter) -> Result<bool> {
    meter.charge(super::fault::VALUE)?;
    if let (Some(a), Some(b)) = (left.as_str(), right.as_str()) {
        meter.charge(a.len().min(b.len()))?;
        return Ok(a == b);
    }
    if let (Some(_), Some(_)) = (left.as_float(), right.as_float()) {
        return Ok(number_order(left, right) == Some(Ordering::Equal));
    }
    Ok(match (left, right) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            if a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (a, b) in a.items.iter().zip(&b.items) {
                if !is_same(a, b) && !equal(a, b, meter)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Dict(a), Value::Dict(b)) => {
            if a.entries.len() != b.entries.len() {
                return Ok(false);
            }
            for (key, value) in &a.entries {
                match b.get(&key.key(meter)?) {
                    Some(other) if is_same(value, other) || equal(value, other, meter)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Range(a), Value::Range(b)) => {
            a.length == b.length
                && (a.length == 0 || a.start == b.start && (a.length == 1 || a.step == b.step))
        }
        (Value::View(View::Values, a), Value::View(View::Values, b)) => Rc::ptr_eq(a, b),
        (Value::View(..), _) | (_, Value::View(..)) => return unsupported("comparing views of dictionaries"),
        (Value::Method(_) | Value::Function(_), Value::Method(_) | Value::Function(_)) => {
            return unsupported("comparing functions");
        }
        _ => is_same(left, right),
    })
}

/// True if two values are one object, of those that have a place in memory.
pub fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => Rc::ptr_eq(a, b),
        (Value::Dict(a), Value::Dict(b)) => Rc::ptr_eq(a, b),
        (Value::Iter(a), Value::Iter(b)) => Rc::ptr_eq(a, b),
        (Value::Namespace(a), Value::Namespace(b)) => Rc::ptr_eq(a, b),
        (Value::Macro(a), Value::Macro(b)) => Rc::ptr_eq(a, b),
        (Value::Loop(a), Value::Loop(b)) => Rc::ptr_eq(a, b),
        (Value::Cycler(a), Value::Cycler(b)) => Rc::ptr_eq(a, b),
        (Value::Joiner(a), Value::Joiner(b)) => Rc::ptr_eq(a, b),
        _ => false,
    }
}

/// The order of two values; none if neither is the lesser, as with `nan`.
///
/// # Errors
/// If their types have no order.
pub fn order(left: &Value, right: &Value, sign: &str, meter: &Meter) -> Result<Option<Ordering>> {
    meter.charge(super::fault::VALUE)?;
    match (left, right) {
        (Value::Undefined(message), _) | (_, Value::Undefined(message)) => return fail(&**message),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            for (a, b) in a.items.iter().zip(&b.items) {
                if !is_same(a, b) && !equal(a, b, meter)? {
                    return order(a, b, sign, meter);
                }
            }
            return Ok(Some(a.items.len().cmp(&b.items.len())));
        }
        (Value::View(..), Value::View(..)) => return unsupported("comparing views of dictionaries"),
        _ => {}
    }
    if let (Some(a), Some(b)) = (left.as_str(), right.as_str()) {
        meter.charge(a.len().min(b.len()))?;
        // The order of UTF-8 is that of code points.
        return Ok(Some(a.cmp(b)));
    }
    if left.as_float().is_some() && right.as_float().is_some() {
        return Ok(number_order(left, right));
    }
    fail(format!("'{sign}' not supported between instances of '{}' and '{}'", left.kind(), right.kind()))
}

/// The order of two numbers, exact where one is an integer that a float would round.
fn number_order(left: &Value, right: &Value) -> Option<Ordering> {
    let exact = |number: i128, float: f64| -> Option<Ordering> {
        if float.is_nan() {
            return None;
        }
        if float.abs() >= 1e38 {
            return Some(if float > 0.0 { Ordering::Less } else { Ordering::Greater });
        }
        let whole = float.trunc();
        Some(number.cmp(&(whole as i128)).then(whole.total_cmp(&float)))
    };
    match (left, right) {
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Float(a), b) => exact(b.as_int()?, *a).map(Ordering::reverse),
        (a, Value::Float(b)) => exact(a.as_int()?, *b),
        (a, b) => Some(a.as_int()?.cmp(&b.as_int()?)),
    }
}

/// `item in container`.
pub fn contains(container: &Value, item: &Value, meter: &Meter) -> Result<bool> {
    match container {
        Value::Str(text) | Value::Markup(text) => match item.as_str() {
            Some(part) => {
                meter.charge(text.len() + part.len())?;
                Ok(text.contains(&**part))
            }
            None => fail(format!("'in <string>' requires string as left operand, not {}", item.kind())),
        },
        Value::Dict(dict) | Value::View(View::Keys, dict) => Ok(dict.get(&item.key(meter)?).is_some()),
        Value::Range(range) => {
            let Some(number) = item.as_float() else { return Ok(false) };
            let number = match item.as_int() {
                Some(number) => number,
                None if number.fract() == 0.0 && number.abs() < 1e30 => number as i128,
                None => return Ok(false),
            };
            let Some(from_start) = number.checked_sub(range.start) else { return Ok(false) };
            Ok(from_start % range.step == 0 && (0..range.length as i128).contains(&(from_start / range.step)))
        }
        Value::Iter(iter) => {
            // What comes before the item is gone afterwards, and so is the item.
            while let Some(found) = iter.next() {
                if equal(&found, item, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Namespace(_) | Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            fail(format!("argument of type '{}' is not iterable", container.kind()))
        }
        Value::List(list) | Value::Tuple(list) => {
            for found in &list.items {
                if is_same(found, item) || equal(found, item, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => {
            for found in container.items(meter)? {
                if equal(&found, item, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// The items in the order of their keys, equal ones as they stood.
pub fn sorted<T: Clone>(items: Vec<(Value, T)>, descending: bool, meter: &Meter) -> Result<Vec<(Value, T)>> {
    if items.len() < 2 {
        return Ok(items);
    }
    meter.charge_values(items.len())?;
    let mut left = items;
    let right = left.split_off(left.len() / 2);
    let (left, right) = (sorted(left, descending, meter)?, sorted(right, descending, meter)?);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some((a, _)), Some((b, _))) = (left.peek(), right.peek()) {
        let (first, second) = if descending { (a, b) } else { (b, a) };
        let Some(found) = order(first, second, "<", meter)? else { return unsupported("sorting `nan`") };
        merged.extend(if found.is_lt() { right.next() } else { left.next() });
    }
    Ok(merged.into_iter().chain(left).chain(right).collect())
}
