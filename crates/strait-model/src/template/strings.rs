//! The methods of Python's texts. Places in a text count characters.

use super::{
    args::{Args, int, size, text},
    ast::Text,
    fault::{Meter, Result, VALUE, fail, unsupported},
    format::{self, Piece},
    methods::{lacking, texts},
    print,
    run::Run,
    unicode::{is_alphanumeric, is_cased, is_digit, is_letter, is_printable, is_space, title},
    value::Value,
};

pub const METHODS: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

/// Calls a method.
pub fn call(of: &str, name: &'static str, args: Args, meter: &Meter) -> Result<Value> {
    meter.charge(of.len())?;
    let needed = |value: Option<Value>| text(&value.expect("it is required"), name);
    Ok(match name {
        "split" | "rsplit" => {
            let [separator, limit] = args.bind(name, ["sep", "maxsplit"], 0)?;
            let limit = limit.map_or(Ok(-1), |limit| int(&limit, name))?;
            let limit = if limit < 0 { usize::MAX } else { size(limit) };
            let parts = match separator.filter(|separator| !matches!(separator, Value::None)) {
                None => words(of, limit, name == "rsplit"),
                Some(separator) => parts(of, &text(&separator, name)?, limit, name == "rsplit")?,
            };
            meter.charge(of.len() + parts.len() * VALUE)?;
            Value::list(parts.into_iter().map(Value::from).collect())?
        }
        "splitlines" => {
            let [keep] = args.bind(name, ["keepends"], 0)?;
            let lines = lines(of, keep.is_some_and(|keep| keep.is_truthy()));
            meter.charge(of.len() + lines.len() * VALUE)?;
            Value::list(lines.into_iter().map(Value::from).collect())?
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.positional(name, 0)?;
            let chars = match chars.filter(|chars| !matches!(chars, Value::None)) {
                Some(chars) => Some(text(&chars, name)?),
                None => None,
            };
            stripped(of, chars.as_deref(), name != "rstrip", name != "lstrip", meter)?.into()
        }
        "partition" | "rpartition" => {
            let [separator] = args.positional(name, 1)?;
            let separator = needed(separator)?;
            if separator.is_empty() {
                return fail("empty separator");
            }
            let found =
                if name == "partition" { of.split_once(&*separator) } else { of.rsplit_once(&*separator) };
            let parts = match found {
                Some((before, after)) => [before, &separator, after],
                None if name == "partition" => [of, "", ""],
                None => ["", "", of],
            };
            Value::tuple(parts.map(Value::from).to_vec())?
        }
        "replace" => {
            let [old, new, count] = args.positional(name, 2)?;
            let count = count.map_or(Ok(-1), |count| int(&count, name))?;
            replaced(of, &needed(old)?, &needed(new)?, count, meter)?.into()
        }
        "removeprefix" => {
            let [prefix] = args.positional(name, 1)?;
            of.strip_prefix(&*needed(prefix)?).unwrap_or(of).into()
        }
        "removesuffix" => {
            let [suffix] = args.positional(name, 1)?;
            of.strip_suffix(&*needed(suffix)?).unwrap_or(of).into()
        }
        "startswith" | "endswith" => {
            let [affix, start, stop] = args.positional(name, 1)?;
            let affixes = match affix.expect("it is required") {
                Value::Tuple(items) => {
                    items.items.iter().map(|item| text(item, name)).collect::<Result<_>>()?
                }
                other => vec![text(&other, name)?],
            };
            let Some(range) = range(of, start, stop, name)? else {
                return Ok(false.into());
            };
            let part = &of[range];
            let holds = |affix: &Text| match name {
                "startswith" => part.starts_with(&**affix),
                _ => part.ends_with(&**affix),
            };
            affixes.iter().any(holds).into()
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [part, start, stop] = args.positional(name, 1)?;
            let part = needed(part)?;
            let range = range(of, start, stop, name)?;
            if name == "count" {
                return Ok(Value::size(range.map_or(0, |range| count(&of[range], &part))));
            }
            let found = range.and_then(|range| {
                let within = &of[range.clone()];
                let at = if name.starts_with('r') { within.rfind(&*part) } else { within.find(&*part) };
                at.map(|at| of[..range.start + at].chars().count())
            });
            match found {
                Some(at) => Value::size(at),
                None if name.ends_with("index") => return fail("substring not found"),
                None => Value::Int(-1),
            }
        }
        "join" => {
            let [items] = args.positional(name, 1)?;
            let items = texts(&items.expect("it is required"), meter)?;
            joined(of, &items, meter)?.into()
        }
        "center" | "ljust" | "rjust" => {
            let [width, fill] = args.positional(name, 1)?;
            let width = int(&width.expect("it is required"), name)?;
            let fill = match fill {
                None => ' ',
                Some(fill) => {
                    let fill = text(&fill, name)?;
                    match (fill.chars().next(), fill.chars().nth(1)) {
                        (Some(fill), None) => fill,
                        _ => return fail("the fill character must be exactly one character long"),
                    }
                }
            };
            justified(of, name, width, fill, meter)?.into()
        }
        "zfill" => {
            let [width] = args.positional(name, 1)?;
            let missing = lacking(of, int(&width.expect("it is required"), name)?, '0', meter)?;
            let (sign, digits) = of.split_at(usize::from(of.starts_with(['+', '-'])));
            format!("{sign}{}{digits}", "0".repeat(missing)).into()
        }
        "expandtabs" => {
            let [width] = args.bind(name, ["tabsize"], 0)?;
            let width = width.map_or(Ok(8), |width| int(&width, name))?;
            tabs_expanded(of, size(width), meter)?.into()
        }
        "encode" | "format_map" | "maketrans" | "translate" => {
            return unsupported(format!("the method `{name}`"));
        }
        _ => {
            let [] = args.positional(name, 0)?;
            return simple(of, name);
        }
    })
}

/// Methods without arguments.
fn simple(of: &str, name: &str) -> Result<Value> {
    // All characters, of which there must be one.
    let all = |is: fn(char) -> Option<bool>| -> Result<Value> {
        let mut result = !of.is_empty();
        for c in of.chars() {
            match is(c) {
                Some(is) => result &= is,
                None => return unsupported(format!("`{name}` of {c:?}")),
            }
        }
        Ok(result.into())
    };
    Ok(match name {
        "lower" => of.to_lowercase().into(),
        "upper" => of.to_uppercase().into(),
        "casefold" if of.is_ascii() => of.to_lowercase().into(),
        "casefold" => return unsupported("`casefold` beyond ASCII"),
        "capitalize" => capitalized(of)?.into(),
        "title" => titled(of)?.into(),
        "swapcase" if of.contains('Σ') => return unsupported("`swapcase` of `Σ`"),
        "swapcase" => {
            of.chars()
                .map(|c| {
                    if c.is_uppercase() { c.to_lowercase().to_string() } else { c.to_uppercase().to_string() }
                })
                .collect::<String>()
                .into()
        }
        "isalpha" => all(is_letter)?,
        "isalnum" => all(is_alphanumeric)?,
        "isdigit" | "isdecimal" | "isnumeric" => all(is_digit)?,
        "isspace" => all(|c| Some(is_space(c)))?,
        "isascii" => of.is_ascii().into(),
        "isprintable" => of.chars().all(is_printable).into(),
        "islower" => {
            (of.chars().any(is_cased) && !of.chars().any(|c| is_cased(c) && !c.is_lowercase())).into()
        }
        "isupper" => {
            (of.chars().any(is_cased) && !of.chars().any(|c| is_cased(c) && !c.is_uppercase())).into()
        }
        "istitle" => {
            let mut after_cased = false;
            let mut any = false;
            for c in of.chars() {
                let cased = is_cased(c);
                if cased && (c.is_lowercase() != after_cased) {
                    return Ok(false.into());
                }
                any |= cased;
                after_cased = cased;
            }
            any.into()
        }
        "isidentifier" if of.is_ascii() => {
            let is_word = of.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
            (is_word && !of.is_empty() && !of.starts_with(|c: char| c.is_ascii_digit())).into()
        }
        "isidentifier" => return unsupported("`isidentifier` beyond ASCII"),
        _ => return unsupported(format!("the method `{name}`")),
    })
}

/// `text.format(...)`, through the sandbox's own look-ups.
pub fn format(run: &Run, of: &str, args: Args) -> Result<Value> {
    let meter = &run.meter;
    meter.charge(of.len())?;
    let mut out = String::new();
    let mut automatic = Some(0_usize);
    for piece in format::pieces(of)? {
        let (name, conversion, spec) = match piece {
            Piece::Text(text) => {
                out.push_str(&text);
                continue;
            }
            Piece::Field(name, conversion, spec) => (name, conversion, spec),
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

/// The bytes of a part whose bounds count characters; none if it begins beyond the end.
fn range(
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

/// How often a part lies in a text.
fn count(of: &str, part: &str) -> usize {
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

/// The words of a text, and what stands after the last of `limit` cuts.
fn words(of: &str, limit: usize, from_end: bool) -> Vec<&str> {
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

fn parts<'t>(of: &'t str, separator: &str, limit: usize, from_end: bool) -> Result<Vec<&'t str>> {
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

fn tabs_expanded(of: &str, width: usize, meter: &Meter) -> Result<String> {
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
fn titled(of: &str) -> Result<String> {
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
