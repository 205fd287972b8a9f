//! The methods of Python's texts. Places in a text count characters.

mod fields;
mod texts;

use super::{
    args::{Args, int, size, text},
    ast::Text,
    fault::{Meter, Result, VALUE, fail, unsupported},
    unicode::{is_alphanumeric, is_cased, is_digit, is_letter, is_printable, is_space},
    value::Value,
};
pub use fields::format;
pub use texts::{capitalized, joined, justified, lines, replaced, stripped};
use texts::{count, lacking, parts, range, tabs_expanded, texts, titled, words};

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
