//! `text.format(...)`.

use crate::template::{
    args::Args,
    context::Context,
    fault::{Result, fail},
    format::{self, FormatPart},
    print,
    value::Value,
};

/// `text.format(...)`, through the sandbox's own look-ups.
pub fn format(run: &dyn Context, of: &str, args: Args) -> Result<Value> {
    let meter = run.meter();
    meter.charge(of.len())?;
    let mut out = String::new();
    let mut automatic = Some(0_usize);
    for piece in format::pieces(of)? {
        let (name, conversion, spec) = match piece {
            FormatPart::Text(text) => {
                out.push_str(&text);
                continue;
            }
            FormatPart::Field(name, conversion, spec) => (name, conversion, spec),
        };
        // Fields are numbered by themselves, or all by hand.
        let name = match (name, automatic) {
            ("", Some(next)) => {
                automatic = Some(next + 1);
                next.to_string()
            }
            ("", None) => return fail("cannot switch from manual to automatic field numbers"),
            (digits, _) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                if automatic.is_some_and(|next| next > 0) {
                    return fail("cannot switch from automatic to manual field numbers");
                }
                automatic = None;
                digits.to_string()
            }
            (name, _) => name.to_string(),
        };
        let (first, mut path) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
        let found = match first.parse::<usize>() {
            Ok(at) => args.positional.get(at),
            Err(_) => args.named.iter().find(|(found, _)| **found == *first).map(|(_, value)| value),
        };
        let Some(mut value) = found.cloned() else {
            return fail(format!("no argument `{first}` for `format`"));
        };
        while !path.is_empty() {
            if let Some(inner) = path.strip_prefix('[') {
                let Some((key, after)) = inner.split_once(']') else {
                    return fail("missing ']' in format string");
                };
                let index = if key.bytes().all(|b| b.is_ascii_digit()) {
                    key.parse().ok().map(Value::Int)
                } else {
                    None
                };
                value = run.item(&value, &index.unwrap_or_else(|| key.into()))?;
                path = after;
            } else {
                let inner = &path[1..];
                let (key, after) = inner.split_at(inner.find(['.', '[']).unwrap_or(inner.len()));
                value = run.attribute(&value, key)?;
                path = after;
            }
        }
        let text = match conversion {
            Some('r') => format::formatted(&print::repr(&value, meter)?.into(), spec, meter)?,
            Some(_) => format::formatted(&Value::Str(print::text_of(&value, meter)?), spec, meter)?,
            None => format::formatted(&value, spec, meter)?,
        };
        meter.charge(text.len())?;
        out.push_str(&text);
    }
    Ok(out.into())
}
