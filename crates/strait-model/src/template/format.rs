//! Python's two ways to format: `text % values` and `text.format(...)`.

mod numbers;

use super::{
    fault::{Meter, Result, fail, unsupported},
    print,
    value::Value,
};
use numbers::{float, integer};

/// Most digits of a floating point number; no such number has more that are not zero.
const MAX_PRECISION: usize = 1_100;

/// The form in which a value is written.
#[derive(Debug, Default)]
pub struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// `text % right`.
pub fn percent(text: &str, right: &Value, meter: &Meter) -> Result<String> {
    meter.charge(text.len())?;
    let values = match right {
        Value::Tuple(items) => items.items.clone(),
        other => vec![other.clone()],
    };
    // What has items by key may be left over.
    let is_mapping = matches!(right, Value::Dict(_) | Value::List(_) | Value::Range(_) | Value::Undefined(_));
    let mut values = values.into_iter();
    let mut next = || values.next().map_or_else(|| fail("not enough arguments for format string"), Ok);
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut named = None;
        if let Some(inner) = rest.strip_prefix('(') {
            let Some(end) = closing(inner) else { return fail("incomplete format key") };
            let Value::Dict(dict) = right else { return fail("format requires a mapping") };
            let key = Value::from(&inner[..end]);
            match dict.get(&key.key(meter)?) {
                Some(value) => named = Some(value.clone()),
                None => return fail(format!("KeyError: {:?}", &inner[..end])),
            }
            rest = &inner[end + 1..];
        }
        let mut spec = Spec { align: Some('>'), ..Spec::default() };
        let flags = rest.len() - rest.trim_start_matches(['-', '+', ' ', '#', '0']).len();
        let mut is_zero = false;
        for flag in rest[..flags].chars() {
            match flag {
                '-' => spec.align = Some('<'),
                '+' => spec.sign = Some('+'),
                ' ' if spec.sign.is_none() => spec.sign = Some(' '),
                '#' => spec.alternate = true,
                '0' => is_zero = true,
                _ => {}
            }
        }
        rest = &rest[flags..];
        spec.width = number(&mut rest)?.unwrap_or(0);
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            spec.precision = Some(number(&mut rest)?.unwrap_or(0));
        }
        if rest.starts_with('*') {
            return unsupported("a width or precision of `*` in `%`");
        }
        rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        let Some(kind) = rest.chars().next() else { return fail("incomplete format") };
        rest = &rest[kind.len_utf8()..];
        if kind == '%' {
            if flags > 0 || spec.width > 0 || spec.precision.is_some() {
                return unsupported("`%` with a width in `%`");
            }
            out.push('%');
            continue;
        }
        let value = match named {
            Some(value) => value,
            None => next()?,
        };
        meter.charge(spec.width.saturating_add(spec.precision.unwrap_or(0)))?;
        if is_zero && spec.align == Some('>') && !matches!(kind, 's' | 'r' | 'c') {
            spec.fill = Some('0');
            spec.align = Some('=');
        }
        out.push_str(&conversion(kind, &value, spec, meter)?);
    }
    if values.next().is_some() && !is_mapping {
        return fail("not all arguments converted during string formatting");
    }
    out.push_str(rest);
    Ok(out)
}

/// The place at which the bracket closes that opened before a text.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.char_indices().find_map(|(at, c)| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        (depth == 0).then_some(at)
    })
}

/// The decimal number that a text begins with, which is taken from it.
fn number(text: &mut &str) -> Result<Option<usize>> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits == 0 {
        return Ok(None);
    }
    let (number, rest) = text.split_at(digits);
    *text = rest;
    match number.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => fail("width or precision too big"),
    }
}

/// One conversion of `%`.
fn conversion(kind: char, value: &Value, mut spec: Spec, meter: &Meter) -> Result<String> {
    let whole = |value: &Value| match value {
        Value::Float(number) if number.is_finite() && number.abs() < 1e38 => Ok(number.trunc() as i128),
        _ => match value.as_int() {
            Some(number) => Ok(number),
            None => fail(format!("%{kind} format: a number is required, not {}", value.kind())),
        },
    };
    match kind {
        's' => {
            let text = print::text_of(value, meter)?;
            text_padded(&text, &spec, meter)
        }
        'r' => text_padded(&print::repr(value, meter)?, &spec, meter),
        'a' => unsupported("the conversion `%a`"),
        'c' => {
            let text = match (value.as_str(), value.as_int()) {
                (Some(text), _) if text.chars().count() == 1 => text.to_string(),
                (None, Some(code)) => match u32::try_from(code).ok().and_then(char::from_u32) {
                    Some(c) => c.to_string(),
                    None => return fail("%c arg not in range(0x110000)"),
                },
                _ => return fail("%c requires int or char"),
            };
            spec.precision = None;
            text_padded(&text, &spec, meter)
        }
        'd' | 'i' | 'u' => integer(whole(value)?, 'd', &spec, meter),
        'o' | 'x' | 'X' => match value.as_int() {
            Some(number) => integer(number, kind, &spec, meter),
            None => fail(format!("%{kind} format: an integer is required, not {}", value.kind())),
        },
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => match value.as_float() {
            Some(number) => float(number, kind, &spec, meter),
            None => fail(format!("must be real number, not {}", value.kind())),
        },
        other => fail(format!("unsupported format character '{other}'")),
    }
}

/// A value as `format(value, spec)` writes it.
pub fn formatted(value: &Value, spec: &str, meter: &Meter) -> Result<String> {
    if spec.is_empty() {
        return Ok(print::text_of(value, meter)?.to_string());
    }
    let mut spec = parsed(spec)?;
    meter.charge(spec.width.saturating_add(spec.precision.unwrap_or(0)))?;
    match value {
        Value::Str(text) => {
            let wrong =
                spec.sign.is_some() || spec.alternate || spec.grouping.is_some() || spec.align == Some('=');
            if wrong || !matches!(spec.kind, None | Some('s')) {
                return fail("this format is not allowed for a string");
            }
            spec.align = spec.align.or(Some('<'));
            text_padded(text, &spec, meter)
        }
        Value::Bool(_) if spec.kind.is_none() => unsupported("a boolean with a width in `format`"),
        Value::Bool(_) | Value::Int(_) => {
            let number = value.as_int().unwrap_or_default();
            spec.align = spec.align.or(Some('>'));
            match spec.kind {
                None | Some('d' | 'b' | 'o' | 'x' | 'X') if spec.precision.is_some() => {
                    fail("precision not allowed in integer format specifier")
                }
                None | Some('d' | 'b' | 'o' | 'x' | 'X') => {
                    integer(number, spec.kind.unwrap_or('d'), &spec, meter)
                }
                Some(kind @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) => {
                    float(number as f64, kind, &spec, meter)
                }
                Some('c' | 'n') => unsupported("the formats `c` and `n`"),
                Some(kind) => fail(format!("unknown format code '{kind}' for object of type 'int'")),
            }
        }
        Value::Float(number) => {
            spec.align = spec.align.or(Some('>'));
            match spec.kind {
                None if spec.precision.is_none() => {
                    let text = print::float(number.abs());
                    number_padded(number.is_sign_negative(), "", &text, &spec, meter)
                }
                None => unsupported("a float with a precision and no type in `format`"),
                Some(kind @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) => float(*number, kind, &spec, meter),
                Some('n') => unsupported("the format `n`"),
                Some(kind) => fail(format!("unknown format code '{kind}' for object of type 'float'")),
            }
        }
        _ => fail(format!("unsupported format string passed to {}.__format__", value.kind())),
    }
}

/// A spec of `format`: `[[fill]align][sign][#][0][width][grouping][.precision][type]`.
fn parsed(text: &str) -> Result<Spec> {
    let mut spec = Spec::default();
    let is_align = |c: char| matches!(c, '<' | '>' | '=' | '^');
    let mut rest = text;
    let mut chars = rest.chars();
    match (chars.next(), chars.next()) {
        (Some(fill), Some(align)) if is_align(align) => {
            (spec.fill, spec.align) = (Some(fill), Some(align));
            rest = chars.as_str();
        }
        (Some(align), _) if is_align(align) => {
            spec.align = Some(align);
            rest = &rest[1..];
        }
        _ => {}
    }
    if let Some(sign) = rest.chars().next().filter(|c| matches!(c, '+' | '-' | ' ')) {
        spec.sign = Some(sign);
        rest = &rest[1..];
    }
    if let Some(after) = rest.strip_prefix('#') {
        spec.alternate = true;
        rest = after;
    }
    if let Some(after) = rest.strip_prefix('0') {
        if spec.align.is_none() {
            (spec.fill, spec.align) = (Some('0'), Some('='));
        } else {
            spec.fill = spec.fill.or(Some('0'));
        }
        rest = after;
    }
    spec.width = number(&mut rest)?.unwrap_or(0);
    if let Some(grouping) = rest.chars().next().filter(|c| matches!(c, ',' | '_')) {
        spec.grouping = Some(grouping);
        rest = &rest[1..];
    }
    if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        spec.precision = number(&mut rest)?;
        if spec.precision.is_none() {
            return fail("format specifier missing precision");
        }
    }
    let mut chars = rest.chars();
    spec.kind = chars.next();
    if !chars.as_str().is_empty() {
        return fail("invalid format specifier");
    }
    if spec.fill == Some('0') && spec.align == Some('=') && spec.grouping.is_some() {
        return unsupported("zeros and grouping in one format");
    }
    Ok(spec)
}

/// A text cut to the precision and filled to the width.
fn text_padded(text: &str, spec: &Spec, meter: &Meter) -> Result<String> {
    let cut: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
    padded("", &cut, spec, meter)
}

/// A sign or prefix and a body, filled to the width.
fn padded(head: &str, body: &str, spec: &Spec, meter: &Meter) -> Result<String> {
    meter.charge(body.len())?;
    let missing = spec.width.saturating_sub(head.chars().count() + body.chars().count());
    let fill = spec.fill.unwrap_or(' ');
    let filled = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    Ok(match spec.align {
        Some('=') => format!("{head}{}{body}", filled(missing)),
        Some('^') => format!("{}{head}{body}{}", filled(missing / 2), filled(missing - missing / 2)),
        Some('<') => format!("{head}{body}{}", filled(missing)),
        _ => format!("{}{head}{body}", filled(missing)),
    })
}

/// Digits with their sign and prefix.
fn number_padded(
    is_negative: bool,
    prefix: &str,
    digits: &str,
    spec: &Spec,
    meter: &Meter,
) -> Result<String> {
    let sign = match spec.sign {
        _ if is_negative => "-",
        Some('+') => "+",
        Some(' ') => " ",
        _ => "",
    };
    padded(&format!("{sign}{prefix}"), digits, spec, meter)
}

/// A piece of a text for `format`.
pub enum FormatPart<'t> {
    Text(String),
    /// A field's name, its conversion and its spec.
    Field(&'t str, Option<char>, &'t str),
}

/// The pieces of a text for `format`.
pub fn pieces(text: &str) -> Result<Vec<FormatPart<'_>>> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return fail("single '}' encountered in format string");
        }
        pieces.push(FormatPart::Text(std::mem::take(&mut plain)));
        let Some(end) = rest.find('}') else { return fail("expected '}' before end of string") };
        let field = &rest[..end];
        if field.contains('{') {
            return unsupported("a field inside a field of `format`");
        }
        rest = &rest[end + 1..];
        let (name, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, conversion) = match name.split_once('!') {
            Some((name, conversion)) => {
                let mut chars = conversion.chars();
                match (chars.next(), chars.next()) {
                    (Some(c @ ('s' | 'r')), None) => (name, Some(c)),
                    (Some('a'), None) => return unsupported("the conversion `!a`"),
                    _ => return fail("unknown conversion in format string"),
                }
            }
            None => (name, None),
        };
        pieces.push(FormatPart::Field(name, conversion, spec));
    }
    plain.push_str(rest);
    pieces.push(FormatPart::Text(plain));
    Ok(pieces)
}
