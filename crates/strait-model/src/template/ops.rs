//! Python's arithmetic, items and slices.

use super::{
    ast::Operator,
    fault::{Meter, Result, VALUE, fail, unsupported},
    format,
    value::{Range, Value},
};

/// Integers up to which a float is exact.
const EXACT: i128 = 1 << 53;

/// Carries out an operator.
pub fn binary(operator: Operator, left: &Value, right: &Value, meter: &Meter) -> Result<Value> {
    // Whatever stands behind it, a text formats it.
    if let (Operator::Modulo, Value::Str(text)) = (operator, left) {
        return Ok(format::percent(text, right, meter)?.into());
    }
    for value in [left, right] {
        match value {
            Value::Undefined(message) => return fail(&**message),
            Value::Markup(_) => return unsupported("an operator on text that `safe` or `escape` marked"),
            _ => {}
        }
    }
    match operator {
        Operator::Add => {
            if let Some(sum) = add_sequences(left, right, meter)? {
                return Ok(sum);
            }
        }
        Operator::Multiply => {
            for (sequence, times) in [(left, right), (right, left)] {
                if let Some(times) = times.as_int()
                    && let Some(product) = repeated(sequence, times, meter)?
                {
                    return Ok(product);
                }
            }
        }
        Operator::Subtract if matches!((left, right), (Value::View(..), _) | (_, Value::View(..))) => {
            return unsupported("differences of dictionaries' views");
        }
        _ => {}
    }
    if let (Some(a), Some(b)) = (left.as_int(), right.as_int()) {
        return integers(operator, a, b);
    }
    if let (Some(a), Some(b)) = (left.as_float(), right.as_float()) {
        return floats(operator, a, b);
    }
    fail(format!(
        "unsupported operand type(s) for {}: '{}' and '{}'",
        operator.sign(),
        left.kind(),
        right.kind()
    ))
}

fn add_sequences(left: &Value, right: &Value, meter: &Meter) -> Result<Option<Value>> {
    Ok(Some(match (left, right) {
        (Value::Str(a), Value::Str(b)) => {
            meter.charge(a.len() + b.len())?;
            [&**a, &**b].concat().into()
        }
        (Value::List(a), Value::List(b)) => {
            meter.charge_values(a.items.len() + b.items.len())?;
            Value::list([&a.items[..], &b.items].concat())?
        }
        (Value::Tuple(a), Value::Tuple(b)) => {
            meter.charge_values(a.items.len() + b.items.len())?;
            Value::tuple([&a.items[..], &b.items].concat())?
        }
        _ => return Ok(None),
    }))
}

fn repeated(sequence: &Value, times: i128, meter: &Meter) -> Result<Option<Value>> {
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    Ok(Some(match sequence {
        Value::Str(text) => {
            meter.charge(text.len().saturating_mul(times))?;
            text.repeat(if text.is_empty() { 0 } else { times }).into()
        }
        Value::List(list) | Value::Tuple(list) => {
            meter.charge_values(list.items.len().saturating_mul(times))?;
            let items = if list.items.is_empty() {
                Vec::new()
            } else {
                (0..times).flat_map(|_| list.items.iter().cloned()).collect()
            };
            if matches!(sequence, Value::List(_)) { Value::list(items)? } else { Value::tuple(items)? }
        }
        _ => return Ok(None),
    }))
}

fn integers(operator: Operator, a: i128, b: i128) -> Result<Value> {
    let whole = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::FloorDivide | Operator::Modulo | Operator::Divide if b == 0 => {
            return fail("division by zero");
        }
        Operator::Divide => {
            if a.abs() > EXACT || b.abs() > EXACT {
                return unsupported("division of integers beyond 53 bits");
            }
            return Ok(Value::Float(a as f64 / b as f64));
        }
        Operator::FloorDivide => a.checked_div_euclid(b).map(|quotient| {
            // Euclid's remainder is never negative; Python's has the sign of the divisor.
            if b < 0 && a.rem_euclid(b) != 0 { quotient - 1 } else { quotient }
        }),
        Operator::Modulo => {
            a.checked_rem_euclid(b).map(|rest| if b < 0 && rest != 0 { rest + b } else { rest })
        }
        Operator::Power if b < 0 => return floats(operator, a as f64, b as f64),
        Operator::Power => match a {
            0 | 1 => Some(if b == 0 { 1 } else { a }),
            -1 => Some(if b % 2 == 0 { 1 } else { -1 }),
            _ => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        },
    };
    integer(whole)
}

/// An integer, if it is one that 128 bits hold.
pub fn integer(number: Option<i128>) -> Result<Value> {
    match number {
        Some(number) => Ok(Value::Int(number)),
        None => unsupported("an integer of more than 128 bits"),
    }
}

fn floats(operator: Operator, a: f64, b: f64) -> Result<Value> {
    if b == 0.0 && matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Modulo) {
        return fail("float division by zero");
    }
    let number = match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::Modulo => floor_division(a, b).1,
        Operator::FloorDivide => floor_division(a, b).0,
        Operator::Power if a == 0.0 && b < 0.0 => return fail("0.0 cannot be raised to a negative power"),
        Operator::Power if a < 0.0 && b.is_finite() && b.fract() != 0.0 => {
            return unsupported("complex numbers");
        }
        Operator::Power => {
            let power = a.powf(b);
            if power.is_infinite() && a.is_finite() && b.is_finite() {
                return fail("numerical result out of range");
            }
            power
        }
    };
    Ok(Value::Float(number))
}

/// Python's quotient, rounded down, and the rest, which has the sign of the divisor.
fn floor_division(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest == 0.0 {
        rest = 0.0_f64.copysign(b);
    } else if (b < 0.0) != (rest < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0.0_f64.copysign(a / b), rest);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest)
}

/// `-value`.
pub fn negative(value: &Value) -> Result<Value> {
    match value {
        Value::Float(number) => Ok(Value::Float(-number)),
        _ => sign(value, "-").and_then(|number| integer(number.checked_neg())),
    }
}

/// `+value`.
pub fn positive(value: &Value) -> Result<Value> {
    match value {
        Value::Float(number) => Ok(Value::Float(*number)),
        _ => sign(value, "+").map(Value::Int),
    }
}

fn sign(value: &Value, sign: &str) -> Result<i128> {
    match value {
        Value::Undefined(message) => fail(&**message),
        _ => match value.as_int() {
            Some(number) => Ok(number),
            None => fail(format!("bad operand type for unary {sign}: '{}'", value.kind())),
        },
    }
}

/// The item at an index that may count from the end.
pub fn indexed(value: &Value, index: i128, meter: &Meter) -> Result<Option<Value>> {
    let place = |length: usize| {
        let from_start = if index < 0 { index + length as i128 } else { index };
        usize::try_from(from_start).ok().filter(|&place| place < length)
    };
    Ok(match value {
        Value::Str(text) | Value::Markup(text) => {
            meter.charge(text.len())?;
            if matches!(value, Value::Markup(_)) {
                return unsupported("an item of text that `safe` or `escape` marked");
            }
            let c = match index {
                0.. => usize::try_from(index).ok().and_then(|index| text.chars().nth(index)),
                _ => usize::try_from(-1 - index).ok().and_then(|index| text.chars().rev().nth(index)),
            };
            c.map(|c| c.to_string().into())
        }
        Value::List(list) | Value::Tuple(list) => {
            place(list.items.len()).map(|place| list.items[place].clone())
        }
        Value::Range(range) => place(range.length).map(|place| range.item(place)),
        _ => None,
    })
}

/// `value[start:stop:step]`.
pub fn sliced(value: &Value, bounds: [Option<Value>; 3], meter: &Meter) -> Result<Value> {
    let length = match value {
        Value::Undefined(message) => return fail(&**message),
        Value::Markup(_) => return unsupported("a slice of text that `safe` or `escape` marked"),
        Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_) => value.length(meter)?,
        // Of a literal, Jinja2 makes something undefined; of anything else, an error.
        _ => return unsupported(format!("a slice of a value of type {}", value.kind())),
    };
    let bound = |bound: &Option<Value>| match bound {
        None | Some(Value::None) => Ok(None),
        Some(bound) => match bound.as_int() {
            Some(bound) => Ok(Some(bound)),
            None => unsupported(format!("a slice by a value of type {}", bound.kind())),
        },
    };
    let step = bound(&bounds[2])?.unwrap_or(1);
    if step == 0 {
        return fail("slice step cannot be zero");
    }
    let length = length as i128;
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamped =
        |bound: i128| if bound < 0 { bound.saturating_add(length) } else { bound }.clamp(lowest, highest);
    let (first, last) = if step > 0 { (lowest, highest) } else { (highest, lowest) };
    let start = bound(&bounds[0])?.map_or(first, clamped);
    let stop = bound(&bounds[1])?.map_or(last, clamped);
    // A step beyond the length takes one item at most, whichever it is.
    let step = step.clamp(-length - 1, length + 1);
    let Some(places) = Range::new(start, stop, step) else { return unsupported("a slice with such bounds") };
    meter.charge(places.length.saturating_mul(VALUE))?;
    let picked = |items: &[Value]| {
        (0..places.length)
            .map(|at| items[(places.start + places.step * at as i128) as usize].clone())
            .collect()
    };
    match value {
        Value::List(list) => Value::list(picked(&list.items)),
        Value::Tuple(list) => Value::tuple(picked(&list.items)),
        Value::Range(range) => {
            let at = |place: i128| range.start + range.step * place;
            match Range::new(at(start), at(stop), range.step * step) {
                Some(range) => Ok(Value::Range(range)),
                None => unsupported("a slice with such bounds"),
            }
        }
        Value::Str(text) if step == 1 => {
            let (start, count) = (start as usize, places.length);
            Ok(text.chars().skip(start).take(count).collect::<String>().into())
        }
        Value::Str(text) => {
            meter.charge_values(text.len())?;
            let chars: Vec<char> = text.chars().collect();
            let picked = |at: usize| chars[(places.start + places.step * at as i128) as usize];
            Ok((0..places.length).map(picked).collect::<String>().into())
        }
        _ => unsupported("such a slice"),
    }
}
