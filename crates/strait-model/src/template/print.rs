//! Values as texts: `str`, `repr` and `json.dumps`.

use std::fmt::Write as _;

use super::{
    fault::{Meter, Result, VALUE, fail, unsupported},
    unicode::is_printable,
    value::Value,
};

/// `str(value)`.
pub fn text_of(value: &Value, meter: &Meter) -> Result<super::ast::Text> {
    Ok(match value {
        Value::Str(text) | Value::Markup(text) => text.clone(),
        Value::Undefined(_) => "".into(),
        _ => repr(value, meter)?.into(),
    })
}

/// `repr(value)`.
pub fn repr(value: &Value, meter: &Meter) -> Result<String> {
    let mut out = String::new();
    write_repr(&mut out, value, meter)?;
    Ok(out)
}

fn write_repr(out: &mut String, value: &Value, meter: &Meter) -> Result<()> {
    meter.charge(VALUE)?;
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(value) => out.push_str(if *value { "True" } else { "False" }),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Float(value) => out.push_str(&float(*value)),
        Value::Str(text) => write_quoted(out, text, meter)?,
        Value::Markup(text) => {
            out.push_str("Markup(");
            write_quoted(out, text, meter)?;
            out.push(')');
        }
        Value::List(list) => write_items(out, ["[", "]"], &list.items, meter)?,
        Value::Tuple(list) if list.items.len() == 1 => write_items(out, ["(", ",)"], &list.items, meter)?,
        Value::Tuple(list) => write_items(out, ["(", ")"], &list.items, meter)?,
        Value::Dict(dict) => {
            out.push('{');
            for (index, (key, value)) in dict.entries.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_repr(out, key, meter)?;
                out.push_str(": ");
                write_repr(out, value, meter)?;
            }
            out.push('}');
        }
        Value::View(..) => {
            out.push_str(value.kind());
            let items = value.items(meter)?;
            write_items(out, ["([", "])"], &items, meter)?;
        }
        Value::Range(range) => {
            let _ = write!(out, "range({}, {}", range.start, range.stop);
            if range.step != 1 {
                let _ = write!(out, ", {}", range.step);
            }
            out.push(')');
        }
        Value::Namespace(_) => return unsupported("printing a namespace"),
        other => return unsupported(format!("printing a {}", other.kind())),
    }
    Ok(())
}

fn write_items(out: &mut String, [open, close]: [&str; 2], items: &[Value], meter: &Meter) -> Result<()> {
    out.push_str(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_repr(out, item, meter)?;
    }
    out.push_str(close);
    Ok(())
}

/// A text in the quotes and escapes that Python chooses.
fn write_quoted(out: &mut String, text: &str, meter: &Meter) -> Result<()> {
    meter.charge(text.len())?;
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if c == quote => out.extend(['\\', c]),
            _ if c.is_ascii() && !c.is_ascii_control() || is_printable(c) => out.push(c),
            _ => {
                let code = c as u32;
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
    Ok(())
}

/// A floating point number as Python's `repr` writes it: the shortest digits that read back as it.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// The settings of `json.dumps`.
#[derive(Debug)]
pub struct Json {
    pub ensure_ascii: bool,
    /// The indentation of a level; all stands on one line if none.
    pub indent: Option<String>,
    pub item_separator: String,
    pub key_separator: String,
    pub sort_keys: bool,
}

impl Json {
    /// The text of a value.
    pub fn text(&self, value: &Value, meter: &Meter) -> Result<String> {
        let mut out = String::new();
        self.write(&mut out, value, 0, meter)?;
        Ok(out)
    }

    fn write(&self, out: &mut String, value: &Value, level: usize, meter: &Meter) -> Result<()> {
        meter.charge(VALUE)?;
        match value {
            Value::None => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) => {
                let _ = write!(out, "{value}");
            }
            Value::Float(value) => out.push_str(&json_float(*value)),
            Value::Str(text) | Value::Markup(text) => self.write_text(out, text, meter)?,
            Value::List(list) | Value::Tuple(list) => {
                out.push('[');
                for (index, item) in list.items.iter().enumerate() {
                    self.separate(out, index, level + 1, meter)?;
                    self.write(out, item, level + 1, meter)?;
                }
                self.close(out, ']', list.items.is_empty(), level, meter)?;
            }
            Value::Dict(dict) => {
                out.push('{');
                let mut entries: Vec<_> =
                    dict.entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                if self.sort_keys {
                    entries = super::compare::sorted(entries, false, meter)?;
                }
                for (index, (key, value)) in entries.iter().enumerate() {
                    self.separate(out, index, level + 1, meter)?;
                    let key = match key {
                        Value::Str(text) | Value::Markup(text) => text.to_string(),
                        Value::None => "null".into(),
                        Value::Bool(value) => value.to_string(),
                        Value::Int(value) => value.to_string(),
                        Value::Float(value) => json_float(*value),
                        _ => {
                            return fail(format!(
                                "keys must be str, int, float, bool or None, not {}",
                                key.kind()
                            ));
                        }
                    };
                    self.write_text(out, &key, meter)?;
                    out.push_str(&self.key_separator);
                    self.write(out, value, level + 1, meter)?;
                }
                self.close(out, '}', entries.is_empty(), level, meter)?;
            }
            other => return fail(format!("Object of type {} is not JSON serializable", other.kind())),
        }
        Ok(())
    }

    /// The separator and line break before an item.
    fn separate(&self, out: &mut String, index: usize, level: usize, meter: &Meter) -> Result<()> {
        if index > 0 {
            meter.charge(self.item_separator.len())?;
            out.push_str(&self.item_separator);
        }
        self.indent(out, level, meter)
    }

    fn indent(&self, out: &mut String, level: usize, meter: &Meter) -> Result<()> {
        if let Some(indent) = &self.indent {
            meter.charge(indent.len().saturating_mul(level))?;
            out.push('\n');
            (0..level).for_each(|_| out.push_str(indent));
        }
        Ok(())
    }

    fn close(
        &self,
        out: &mut String,
        bracket: char,
        is_empty: bool,
        level: usize,
        meter: &Meter,
    ) -> Result<()> {
        if !is_empty {
            self.indent(out, level, meter)?;
        }
        out.push(bracket);
        Ok(())
    }

    fn write_text(&self, out: &mut String, text: &str, meter: &Meter) -> Result<()> {
        meter.charge(text.len())?;
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                '\0'..='\x1f' => {
                    let _ = write!(out, "\\u{:04x}", c as u32);
                }
                _ if self.ensure_ascii && !(' '..='~').contains(&c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                _ => out.push(c),
            }
        }
        out.push('"');
        Ok(())
    }
}

fn json_float(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else {
        float(value)
    }
}
