//! Filters that write URLs and XML.

use crate::template::{
    args::text,
    ast::Text,
    fault::{Meter, Result, fail},
    print::text_of,
    value::Value,
};

pub(super) fn url_quoted(value: &Value, in_query: bool, meter: &Meter) -> Result<String> {
    let of = text_of(value, meter)?;
    meter.charge(of.len().saturating_mul(3))?;
    let mut out = String::new();
    for byte in of.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(byte.into()),
            b'/' if !in_query => out.push('/'),
            b' ' if in_query => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(out)
}

pub(super) fn url_encoded(value: &Value, meter: &Meter) -> Result<String> {
    if value.as_str().is_some() || !value.is_iterable() {
        return url_quoted(value, false, meter);
    }
    let pairs = match value {
        Value::Dict(dict) => {
            dict.entries.iter().map(|(key, value)| vec![key.clone(), value.clone()]).collect()
        }
        _ => value.items(meter)?.iter().map(|pair| pair.items(meter)).collect::<Result<Vec<_>>>()?,
    };
    let mut out = Vec::new();
    for pair in pairs {
        let [key, value] = &pair[..] else { return fail("urlencode() needs pairs") };
        out.push(format!("{}={}", url_quoted(key, true, meter)?, url_quoted(value, true, meter)?));
    }
    Ok(out.join("&"))
}

pub(super) fn xml_attributes(value: &Value, autospace: bool, meter: &Meter) -> Result<String> {
    let Value::Dict(dict) = value else {
        return match value {
            Value::Undefined(message) => fail(&**message),
            _ => fail(format!("'{}' object has no attribute 'items'", value.kind())),
        };
    };
    let mut out = Vec::new();
    for (key, value) in &dict.entries {
        if matches!(value, Value::None | Value::Undefined(_)) {
            continue;
        }
        let key = text(key, "xmlattr")?;
        if key.contains([' ', '\t', '\n', '\r', '\x0b', '\x0c', '/', '>', '=']) {
            return fail("invalid character in attribute name");
        }
        let value = match value {
            Value::Markup(text) => text.clone(),
            _ => escaped(&text_of(value, meter)?, meter)?,
        };
        out.push(format!("{}=\"{value}\"", escaped(&key, meter)?));
    }
    let text = out.join(" ");
    Ok(if autospace && !text.is_empty() { format!(" {text}") } else { text })
}

pub(super) fn escaped(of: &str, meter: &Meter) -> Result<Text> {
    meter.charge(of.len().saturating_mul(2))?;
    let mut out = String::with_capacity(of.len());
    for c in of.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    Ok(out.into())
}
