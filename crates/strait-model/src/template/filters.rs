//! Jinja2's filters, with transformers' `tojson`.

mod lists;
mod texts;
mod web;

use super::{
    args::{Args, int, text},
    context::Context,
    fault::{Meter, Result, fail, unsupported},
    ops,
    print::{Json, text_of},
    value::Value,
};

/// Puts a value through a filter.
pub fn call(run: &dyn Context, name: &str, value: Value, args: Args) -> Result<Value> {
    let meter = run.meter();
    match name {
        "batch" | "dictsort" | "first" | "groupby" | "items" | "join" | "last" | "list" | "map" | "max"
        | "min" | "reject" | "rejectattr" | "reverse" | "select" | "selectattr" | "slice" | "sort"
        | "sum" | "unique" => lists::call(run, name, &value, args),
        "capitalize" | "center" | "e" | "escape" | "forceescape" | "format" | "indent" | "lower"
        | "pprint" | "replace" | "safe" | "string" | "striptags" | "title" | "trim" | "truncate"
        | "upper" | "urlencode" | "wordcount" | "wordwrap" | "xmlattr" => {
            texts::call(run, name, &value, args)
        }
        "abs" => {
            let [] = args.bind(name, [], 0)?;
            match &value {
                Value::Float(number) => Ok(Value::Float(number.abs())),
                _ => match value.as_int() {
                    Some(number) => ops::integer(number.checked_abs()),
                    None => fail(format!("bad operand type for abs(): '{}'", value.kind())),
                },
            }
        }
        "attr" => {
            let [attribute] = args.bind(name, ["name"], 1)?;
            let attribute = text(&attribute.expect("it is required"), name)?;
            attr(run, &value, &attribute)
        }
        "count" | "length" => {
            let [] = args.bind(name, [], 0)?;
            Ok(Value::size(value.length(meter)?))
        }
        "d" | "default" => {
            let [default, boolean] = args.bind(name, ["default_value", "boolean"], 0)?;
            let is_missing = matches!(value, Value::Undefined(_))
                || boolean.is_some_and(|boolean| boolean.is_truthy()) && !value.is_truthy();
            Ok(if is_missing { default.unwrap_or_else(|| "".into()) } else { value })
        }
        "filesizeformat" => {
            let [binary] = args.bind(name, ["binary"], 0)?;
            file_size(run, &value, binary.is_some_and(|binary| binary.is_truthy()))
        }
        "float" => {
            let [default] = args.bind(name, ["default"], 0)?;
            Ok(match to_float(&value)? {
                Some(number) => Value::Float(number),
                None => default.unwrap_or(Value::Float(0.0)),
            })
        }
        "int" => {
            let [default, base] = args.bind(name, ["default", "base"], 0)?;
            let base = base.map_or(Ok(10), |base| int(&base, name))?;
            to_int(&value, base, default.unwrap_or(Value::Int(0)), meter)
        }
        "round" => {
            let [precision, method] = args.bind(name, ["precision", "method"], 0)?;
            round(&value, precision, method)
        }
        "tojson" => {
            let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
            let [ensure_ascii, indent, separators, sort_keys] = args.bind(name, names, 0)?;
            to_json(&value, [ensure_ascii, indent, separators, sort_keys], meter)
        }
        "random" | "urlize" => unsupported(format!("the filter `{name}`")),
        _ => fail(format!("no filter named '{name}'")),
    }
}

/// `value|attr(name)`: an attribute, never an item.
fn attr(run: &dyn Context, value: &Value, name: &str) -> Result<Value> {
    if let Value::Dict(dict) = value
        && dict.get_str(&name.into()).is_some()
        && super::methods::attribute(value, name)?.is_none()
    {
        return Ok(Value::Undefined(format!("'dict' has no attribute '{name}'").into()));
    }
    run.attribute(value, name)
}

fn file_size(run: &dyn Context, value: &Value, binary: bool) -> Result<Value> {
    let Some(bytes) = to_float(value)? else { return fail("filesizeformat() needs a number") };
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return Ok("1 Byte".into());
    }
    if bytes < base {
        return Ok(format!("{} Bytes", bytes.trunc()).into());
    }
    let middle = if binary { "iB" } else { "B" };
    let mut unit = base;
    let mut prefix = 'k';
    for next in ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'] {
        unit *= base;
        prefix = if binary { next.to_ascii_uppercase() } else { next };
        if bytes < unit {
            break;
        }
    }
    run.meter().step()?;
    Ok(format!("{:.1} {prefix}{middle}", base * bytes / unit).into())
}

/// `float(value)`; none where Python says that it cannot be one.
fn to_float(value: &Value) -> Result<Option<f64>> {
    match value {
        Value::Undefined(message) => fail(&**message),
        Value::Str(text) | Value::Markup(text) => Ok(parsed_float(text)),
        _ => Ok(value.as_float()),
    }
}

/// The number that Python reads in a text.
fn parsed_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(super::unicode::is_space);
    let size = text.strip_prefix(['+', '-']).unwrap_or(text);
    let word = size.to_ascii_lowercase();
    if !matches!(word.as_str(), "inf" | "infinity" | "nan")
        && !size.starts_with(|c: char| c.is_ascii_digit() || c == '.')
    {
        return None;
    }
    without_underscores(text)?.parse().ok()
}

/// Digits without the underscores between them; none where one stands elsewhere.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let between = |at: usize| {
        let near = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        near(at.checked_sub(1)) && near(Some(at + 1))
    };
    (0..bytes.len()).all(|at| bytes[at] != b'_' || between(at)).then(|| text.replace('_', ""))
}

fn to_int(value: &Value, base: i128, default: Value, meter: &Meter) -> Result<Value> {
    let whole = |number: f64| {
        if number.abs() < 1e38 {
            Ok(Value::Int(number.trunc() as i128))
        } else {
            unsupported("such a large integer")
        }
    };
    match value {
        Value::Undefined(message) => fail(&**message),
        Value::Float(number) if number.is_infinite() => fail("cannot convert float infinity to integer"),
        Value::Float(number) if number.is_nan() => Ok(default),
        Value::Float(number) => whole(*number),
        Value::Str(text) => {
            meter.charge(text.len())?;
            if let Some(number) = parsed_int(text, base)? {
                return Ok(number);
            }
            match parsed_float(text) {
                Some(number) if number.is_finite() => whole(number),
                _ => Ok(default),
            }
        }
        Value::Markup(_) => unsupported("`int` of text that `safe` or `escape` marked"),
        _ => Ok(value.as_int().map_or(default, Value::Int)),
    }
}

/// `int(text, base)`; none where Python says that it is none.
fn parsed_int(text: &str, base: i128) -> Result<Option<Value>> {
    let text = text.trim_matches(super::unicode::is_space);
    if !text.is_ascii() && text.chars().any(char::is_numeric) {
        return unsupported("digits beyond ASCII");
    }
    if base != 0 && !(2..=36).contains(&base) {
        return Ok(None);
    }
    let (is_negative, mut digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut base = base as u32;
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    for (known, radix) in [("0b", 2), ("0o", 8), ("0x", 16)] {
        if prefix.as_deref() == Some(known) && (base == radix || base == 0) {
            digits = digits[2..].strip_prefix('_').unwrap_or(&digits[2..]);
            base = radix;
        }
    }
    if base == 0 {
        base = 10;
        if digits.starts_with('0') && digits.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
            return Ok(None);
        }
    }
    let Some(digits) = without_underscores(digits) else { return Ok(None) };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Ok(None);
    }
    match i128::from_str_radix(&digits, base) {
        Ok(number) => Ok(Some(Value::Int(if is_negative { -number } else { number }))),
        Err(_) => unsupported("an integer of more than 128 bits"),
    }
}

fn round(value: &Value, precision: Option<Value>, method: Option<Value>) -> Result<Value> {
    let method = method.map_or(Ok("common".into()), |method| text(&method, "round"))?;
    if !matches!(&*method, "common" | "ceil" | "floor") {
        return fail("method must be common, ceil or floor");
    }
    let precision = match precision {
        Some(Value::None) if &*method == "common" => return unsupported("`round` with a precision of none"),
        Some(precision) => int(&precision, "round")?,
        None => 0,
    };
    if let Value::Undefined(message) = value {
        return fail(&**message);
    }
    let Some(number) = value.as_float() else {
        return fail(format!("type {} doesn't define __round__ method", value.kind()));
    };
    if &*method != "common" {
        if !(-22..=22).contains(&precision) {
            return unsupported("`round` with so large a precision");
        }
        let scaled = if precision >= 0 {
            number * 10_f64.powi(precision as i32)
        } else {
            number / 10_f64.powi(-precision as i32)
        };
        if precision < 0 {
            return unsupported("`round` with a negative precision");
        }
        if !scaled.is_finite() || scaled.abs() > 9e15 {
            return unsupported("`round` of so large a number");
        }
        let whole = if &*method == "ceil" { scaled.ceil() } else { scaled.floor() };
        // Python's result is an integer before it is divided: it has no negative zero.
        return Ok(Value::Float((whole + 0.0) / 10_f64.powi(precision as i32)));
    }
    match (value, precision) {
        (Value::Float(number), 0..=1_000) if number.is_finite() => {
            let text = format!("{number:.*}", precision as usize);
            Ok(Value::Float(text.parse().unwrap_or(*number)))
        }
        (Value::Float(number), 0..) => Ok(Value::Float(*number)),
        (Value::Float(_), _) => unsupported("`round` with a negative precision"),
        (_, 0..) => Ok(Value::Int(value.as_int().unwrap_or_default())),
        (_, _) => unsupported("`round` with a negative precision"),
    }
}

/// `json.dumps` with transformers' defaults.
fn to_json(value: &Value, options: [Option<Value>; 4], meter: &Meter) -> Result<Value> {
    let [ensure_ascii, indent, separators, sort_keys] = options;
    let is_on = |option: Option<Value>| option.is_some_and(|option| option.is_truthy());
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(indent)) => Some(indent.to_string()),
        Some(other) => {
            let width = super::args::size(int(&other, "tojson")?);
            meter.charge(width)?;
            Some(" ".repeat(width))
        }
    };
    let (item_separator, key_separator) = match separators {
        None | Some(Value::None) => (if indent.is_some() { "," } else { ", " }.into(), ": ".into()),
        Some(separators) => match separators.items(meter)?.as_slice() {
            [item, key] => (text(item, "tojson")?.to_string(), text(key, "tojson")?.to_string()),
            _ => return fail("tojson() needs two separators"),
        },
    };
    let json = Json {
        ensure_ascii: is_on(ensure_ascii),
        indent,
        item_separator,
        key_separator,
        sort_keys: is_on(sort_keys),
    };
    Ok(json.text(value, meter)?.into())
}

/// The text that a filter of texts works on: of anything, as Python prints it.
fn soft_text(value: &Value, name: &str, meter: &Meter) -> Result<super::ast::Text> {
    match value {
        Value::Markup(_) => unsupported(format!("`{name}` of text that `safe` or `escape` marked")),
        _ => {
            let text = text_of(value, meter)?;
            meter.charge(text.len())?;
            Ok(text)
        }
    }
}
