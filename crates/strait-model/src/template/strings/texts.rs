//! Python's work on texts, apart from the arguments of its methods.

use crate::template::{
    args::{int, size, text},
    ast::Text,
    fault::{Meter, Result, VALUE, fail, unsupported},
    unicode::{is_cased, is_space, title},
    value::Value,
};

/// The bytes of a part whose bounds count characters; none if it begins beyond the end.
pub(super) fn range(
    of: &str,
    start: Option<Value>,
    stop: Option<Value>,
    name: &str,
) -> Result<Option<std::ops::Range<usize>>> {
    if start.is_none() && stop.is_none() {
        return Ok(Some(0..of.len()));
    }
    let length = of.chars().count() as i128;
    let bound = |bound: Option<Value>, default: i128| -> Result<i128> {
        match bound {
            None | Some(Value::None) => Ok(default),
            Some(bound) => {
                let bound = int(&bound, name)?;
                Ok(if bound < 0 { bound.saturating_add(length).max(0) } else { bound })
            }
        }
    };
    let (start, stop) = (bound(start, 0)?, bound(stop, length)?.min(length));
    if start > stop {
        return Ok(None);
    }
    let byte = |place: i128| of.char_indices().nth(place as usize).map_or(of.len(), |(at, _)| at);
    Ok(Some(byte(start)..byte(stop)))
}

/// The number of times that a part lies in a text.
pub(super) fn count(of: &str, part: &str) -> usize {
    if part.is_empty() { of.chars().count() + 1 } else { of.matches(part).count() }
}

/// `text.replace(old, new, count)`.
pub fn replaced(of: &str, old: &str, new: &str, limit: i128, meter: &Meter) -> Result<String> {
    meter.charge(of.len())?;
    let limit = if limit < 0 { usize::MAX } else { size(limit) };
    let times = count(of, old).min(limit);
    meter.charge(times.saturating_mul(new.len()))?;
    Ok(of.replacen(old, new, times))
}

/// `separator.join(items)`.
pub fn joined(separator: &str, items: &[Text], meter: &Meter) -> Result<String> {
    meter.charge(items.len().saturating_mul(separator.len()))?;
    for item in items {
        meter.charge(item.len())?;
    }
    Ok(items.join(separator))
}

/// The words of a text, and the rest after the last of `limit` cuts.
pub(super) fn words(of: &str, limit: usize, from_end: bool) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = if from_end { of.trim_end_matches(is_space) } else { of.trim_start_matches(is_space) };
    while !rest.is_empty() {
        if words.len() == limit {
            words.push(if from_end { rest.trim_end_matches(is_space) } else { rest });
            break;
        }
        if from_end {
            let start =
                rest.char_indices().rfind(|(_, c)| is_space(*c)).map_or(0, |(at, c)| at + c.len_utf8());
            words.push(&rest[start..]);
            rest = rest[..start].trim_end_matches(is_space);
        } else {
            let end = rest.find(is_space).unwrap_or(rest.len());
            words.push(&rest[..end]);
            rest = rest[end..].trim_start_matches(is_space);
        }
    }
    if from_end {
        words.reverse();
    }
    words
}

pub(super) fn parts<'t>(of: &'t str, separator: &str, limit: usize, from_end: bool) -> Result<Vec<&'t str>> {
    if separator.is_empty() {
        return fail("empty separator");
    }
    let limit = limit.saturating_add(1);
    if !from_end {
        return Ok(of.splitn(limit, separator).collect());
    }
    let mut parts: Vec<_> = of.rsplitn(limit, separator).collect();
    parts.reverse();
    Ok(parts)
}

/// The lines of a text, as Python tells them apart.
pub fn lines(of: &str, keep_ends: bool) -> Vec<&str> {
    let is_end = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\x0b' | '\x0c' | '\x1c' | '\x1d' | '\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = of;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_end(*c)) {
        let end = at + if rest[at..].starts_with("\r\n") { 2 } else { c.len_utf8() };
        lines.push(&rest[..if keep_ends { end } else { at }]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// A text without the characters at its ends; whitespace if none are given.
pub fn stripped<'t>(
    of: &'t str,
    chars: Option<&str>,
    left: bool,
    right: bool,
    meter: &Meter,
) -> Result<&'t str> {
    meter.charge(of.len())?;
    // Each character at an end may be looked for among all that are given.
    let is_stripped: Box<dyn Fn(char) -> bool> = match chars {
        Some(chars) => {
            let chars: std::collections::HashSet<char> = chars.chars().collect();
            Box::new(move |c| chars.contains(&c))
        }
        None => Box::new(is_space),
    };
    let of = if left { of.trim_start_matches(&*is_stripped) } else { of };
    Ok(if right { of.trim_end_matches(&*is_stripped) } else { of })
}

/// A text filled to a width on both sides (`center`), at its end (`ljust`) or at its beginning.
pub fn justified(of: &str, how: &str, width: i128, fill: char, meter: &Meter) -> Result<String> {
    let missing = lacking(of, width, fill, meter)?;
    let left = match how {
        // As Python halves: of an odd width, the left side gets the larger half.
        "center" => missing / 2 + (missing & size(width) & 1),
        "ljust" => 0,
        _ => missing,
    };
    let filled = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    Ok(format!("{}{of}{}", filled(left), filled(missing - left)))
}

pub(super) fn tabs_expanded(of: &str, width: usize, meter: &Meter) -> Result<String> {
    let mut out = String::new();
    let mut column = 0;
    for c in of.chars() {
        match c {
            '\t' if width > 0 => {
                let spaces = width - column % width;
                meter.charge(spaces)?;
                (0..spaces).for_each(|_| out.push(' '));
                column += spaces;
            }
            '\t' => {}
            _ => {
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
                out.push(c);
            }
        }
    }
    Ok(out)
}

/// A first character's title and the rest in small letters.
pub fn capitalized(of: &str) -> Result<String> {
    let mut chars = of.chars();
    let Some(first) = chars.next() else { return Ok(String::new()) };
    let Some(first) = title(first) else { return unsupported(format!("the title case of {first:?}")) };
    lowered(chars.as_str()).map(|rest| first + &rest)
}

/// Small letters for what follows a word's first character; a sigma's would depend on that.
fn lowered(rest: &str) -> Result<String> {
    if rest.contains('Σ') {
        unsupported("the small letter of `Σ` inside a word")
    } else {
        Ok(rest.to_lowercase())
    }
}

/// `str.title`: every letter that follows none is a title.
pub(super) fn titled(of: &str) -> Result<String> {
    let mut out = String::with_capacity(of.len());
    let mut after_cased = false;
    for c in of.chars() {
        if after_cased {
            out.push_str(&lowered(c.encode_utf8(&mut [0; 4]))?);
        } else {
            match title(c) {
                Some(title) => out.push_str(&title),
                None => return unsupported(format!("the title case of {c:?}")),
            }
        }
        after_cased = is_cased(c);
    }
    Ok(out)
}

/// A text's padding to a width in characters: what it lacks.
pub(super) fn lacking(text: &str, width: i128, fill: char, meter: &Meter) -> Result<usize> {
    meter.charge(text.len())?;
    let missing = size(width).saturating_sub(text.chars().count());
    meter.charge(missing.saturating_mul(fill.len_utf8()))?;
    Ok(missing)
}

/// The texts of a list for `join`, which takes nothing else.
pub(super) fn texts(items: &Value, meter: &Meter) -> Result<Vec<Text>> {
    let items = items.items(meter)?;
    meter.charge(items.len() * VALUE)?;
    items.iter().map(|item| text(item, "join")).collect()
}
