//! Kinds of number.

use std::ops::{Range, RangeInclusive};

use serde_json::{Value, json};

use super::Kind;

/// A number within bounds.
pub fn number(range: RangeInclusive<f64>) -> Kind<f64> {
    let (low, high) = (*range.start(), *range.end());
    let schema = json!({ "type": "number", "minimum": plain(low), "maximum": plain(high) });
    real(format!("a number from {} to {}", shown(low), shown(high)), schema, move |n| range.contains(&n))
}

/// A number from a bound to below another.
pub fn number_below(range: Range<f64>) -> Kind<f64> {
    let (low, high) = (range.start, range.end);
    let schema = json!({ "type": "number", "minimum": plain(low), "exclusiveMaximum": plain(high) });
    real(format!("a number from {} to below {}", shown(low), shown(high)), schema, move |n| {
        range.contains(&n)
    })
}

/// A number above 0, up to a bound.
pub fn positive(most: f64) -> Kind<f64> {
    let schema = json!({ "type": "number", "exclusiveMinimum": 0, "maximum": plain(most) });
    real(format!("a number greater than 0, {} at most", shown(most)), schema, move |n| n > 0.0 && n <= most)
}

/// Any number.
pub fn any_number() -> Kind<f64> {
    real("a number".into(), json!({ "type": "number" }), |_| true)
}

fn real(words: String, schema: Value, holds: impl Fn(f64) -> bool + 'static) -> Kind<f64> {
    let read = move |n: f64| {
        // What is read is computed with in single precision, where a smaller number is 0.
        let vanishes = n != 0.0 && n.abs() < f64::from(f32::MIN_POSITIVE);
        (n.is_finite() && !vanishes && holds(n)).then_some(n)
    };
    Kind::plain(words, schema, move |cell| cell.number().and_then(&read), |&n| plain(n))
}

/// A whole number within bounds.
pub fn count(range: RangeInclusive<usize>) -> Kind<usize> {
    let (least, most) = (*range.start(), *range.end());
    let words = match most {
        1_000_000_000 => format!("a whole number from {least} to a billion"),
        most => format!("a whole number from {least} to {most}"),
    };
    let schema = json!({ "type": "integer", "minimum": least, "maximum": most });
    let read = move |n| usize::try_from(n).ok().filter(|n| range.contains(n));
    Kind::plain(words, schema, move |cell| cell.whole().and_then(&read), |&n| n.into())
}

/// A whole number of 0 or more.
pub fn whole() -> Kind<u64> {
    let schema = json!({ "type": "integer", "minimum": 0 });
    let read = |n| u64::try_from(n).ok();
    Kind::plain(
        "a whole number of 0 or more",
        schema,
        move |cell| cell.whole().and_then(&read),
        |&n| n.into(),
    )
}

/// A bound in words.
fn shown(bound: f64) -> String {
    if bound < 1e9 { bound.to_string() } else { format!("{bound:e}") }
}

/// A number as JSON: a whole one without a point.
fn plain(number: f64) -> Value {
    let is_whole = number.fract() == 0.0 && number.abs() < 1e15;
    if is_whole { json!(number as i64) } else { json!(number) }
}
