//! Filters of texts.

use super::{
    soft_text,
    web::{escaped, url_encoded, xml_attributes},
};
use crate::template::{
    args::{Args, int, size, text},
    ast::Text,
    compare::sorted,
    context::Context,
    fault::{Meter, Result, VALUE, fail, unsupported},
    format, print,
    print::text_of,
    strings::{self, justified, lines, replaced, stripped},
    unicode::{is_alphanumeric, is_space, title},
    value::Value,
};

/// Width up to which `pprint` writes one line.
const LINE: usize = 80;

pub fn call(run: &dyn Context, name: &str, value: &Value, args: Args) -> Result<Value> {
    let meter = run.meter();
    let soft = || soft_text(value, name, meter);
    Ok(match name {
        "string" => {
            let [] = args.bind(name, [], 0)?;
            match value {
                Value::Markup(_) => value.clone(),
                _ => Value::Str(text_of(value, meter)?),
            }
        }
        "safe" => {
            let [] = args.bind(name, [], 0)?;
            Value::Markup(text_of(value, meter)?)
        }
        "e" | "escape" | "forceescape" => {
            let [] = args.bind(name, [], 0)?;
            match value {
                Value::Markup(text) if name == "forceescape" => Value::Markup(escaped(text, meter)?),
                Value::Markup(_) => value.clone(),
                _ => Value::Markup(escaped(&text_of(value, meter)?, meter)?),
            }
        }
        "lower" | "upper" => {
            let [] = args.bind(name, [], 0)?;
            let text = soft()?;
            if name == "lower" { text.to_lowercase().into() } else { text.to_uppercase().into() }
        }
        "capitalize" => {
            let [] = args.bind(name, [], 0)?;
            strings::capitalized(&soft()?)?.into()
        }
        "title" => {
            let [] = args.bind(name, [], 0)?;
            titled(&soft()?)?.into()
        }
        "center" => {
            let [width] = args.bind(name, ["width"], 0)?;
            let width = width.map_or(Ok(80), |width| int(&width, name))?;
            justified(&soft()?, name, width, ' ', meter)?.into()
        }
        "trim" => {
            let [chars] = args.bind(name, ["chars"], 0)?;
            let chars = match chars.filter(|chars| !matches!(chars, Value::None)) {
                Some(chars) => Some(text(&chars, name)?),
                None => None,
            };
            stripped(&soft()?, chars.as_deref(), true, true, meter)?.into()
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"], 2)?;
            let of = text_of(value, meter)?;
            let [old, new] = [old, new].map(|part| text_of(&part.expect("it is required"), meter));
            let count = match count.filter(|count| !matches!(count, Value::None)) {
                Some(count) => int(&count, name)?,
                None => -1,
            };
            replaced(&of, &old?, &new?, count, meter)?.into()
        }
        "format" => {
            let of = soft()?;
            if !args.positional.is_empty() && !args.named.is_empty() {
                return fail("can't handle positional and keyword arguments at the same time");
            }
            let values = if args.named.is_empty() {
                Value::tuple(args.positional)?
            } else {
                Value::dict(args.named.into_iter().map(|(name, value)| (Value::Str(name), value)), meter)?
            };
            format::percent(&of, &values, meter)?.into()
        }
        "indent" => {
            let [width, first, blank] = args.bind(name, ["width", "first", "blank"], 0)?;
            let is_on = |option: Option<Value>| option.is_some_and(|option| option.is_truthy());
            let indentation = match width {
                None => "    ".into(),
                Some(Value::Str(text)) => text.to_string(),
                Some(width) => {
                    let width = size(int(&width, name)?);
                    meter.charge(width)?;
                    " ".repeat(width)
                }
            };
            indented(&needed(value, name)?, &indentation, is_on(first), is_on(blank), meter)?.into()
        }
        "truncate" => {
            let [length, killwords, end, leeway] =
                args.bind(name, ["length", "killwords", "end", "leeway"], 0)?;
            let length = length.map_or(Ok(255), |length| int(&length, name))?;
            let end = end.map_or(Ok("...".into()), |end| text(&end, name))?;
            let leeway = match leeway.filter(|leeway| !matches!(leeway, Value::None)) {
                Some(leeway) => int(&leeway, name)?,
                None => 5,
            };
            let killwords = killwords.is_some_and(|killwords| killwords.is_truthy());
            truncated(&needed(value, name)?, length, killwords, &end, leeway, meter)?.into()
        }
        "wordwrap" => wrapped(&needed(value, name)?, args, meter)?.into(),
        "wordcount" => {
            let [] = args.bind(name, [], 0)?;
            Value::size(word_count(&soft()?)?)
        }
        "urlencode" => {
            let [] = args.bind(name, [], 0)?;
            url_encoded(value, meter)?.into()
        }
        "xmlattr" => {
            let [autospace] = args.bind(name, ["autospace"], 0)?;
            xml_attributes(value, autospace.is_none_or(|autospace| autospace.is_truthy()), meter)?.into()
        }
        "striptags" => {
            let [] = args.bind(name, [], 0)?;
            let of = text_of(value, meter)?;
            without_tags(&of, meter)?.into()
        }
        _ => {
            let [] = args.bind(name, [], 0)?;
            pretty(value, meter)?.into()
        }
    })
}

/// A text, for filters that take nothing else.
fn needed(value: &Value, name: &str) -> Result<Text> {
    match value {
        Value::Undefined(message) => fail(&**message),
        _ => text(value, name),
    }
}

/// A title: the first character of each word, the rest in small letters. Words end at spaces, hyphens and brackets.
fn titled(of: &str) -> Result<String> {
    let mut out = String::with_capacity(of.len());
    let mut starts = true;
    for c in of.chars() {
        if is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<') {
            // What stands between words goes through the same function, and has no case.
            out.push(c);
            starts = true;
        } else if starts {
            match title(c) {
                Some(title) => out.push_str(&title),
                // The filter takes capitals where `str.title` takes titles.
                None => out.extend(c.to_uppercase()),
            }
            starts = false;
        } else if c == 'Σ' {
            return unsupported("the small letter of `Σ` inside a word");
        } else {
            out.extend(c.to_lowercase());
        }
    }
    Ok(out)
}

fn indented(of: &str, indentation: &str, first: bool, blank: bool, meter: &Meter) -> Result<String> {
    let with_end = format!("{of}\n");
    let lines = lines(&with_end, false);
    meter.charge(of.len().saturating_add(lines.len().saturating_mul(indentation.len() + VALUE)))?;
    let mut out = String::new();
    if first {
        out.push_str(indentation);
    }
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push('\n');
            if blank || !line.is_empty() {
                out.push_str(indentation);
            }
        }
        out.push_str(line);
    }
    Ok(out)
}

fn truncated(
    of: &str,
    length: i128,
    killwords: bool,
    end: &str,
    leeway: i128,
    meter: &Meter,
) -> Result<String> {
    let ending = end.chars().count();
    if length < ending as i128 || leeway < 0 {
        return fail(format!("expected length >= {ending} and leeway >= 0, got {length} and {leeway}"));
    }
    meter.charge(of.len())?;
    if of.chars().count() as i128 <= length.saturating_add(leeway) {
        return Ok(of.into());
    }
    let kept: String = of.chars().take(size(length) - ending).collect();
    let kept = if killwords { &kept } else { kept.rsplit_once(' ').map_or(kept.as_str(), |(kept, _)| kept) };
    Ok(format!("{kept}{end}"))
}

/// `textwrap.wrap` of each line, where words have no hyphens at which it would cut.
fn wrapped(of: &str, args: Args, meter: &Meter) -> Result<String> {
    let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
    let [width, break_long, separator, on_hyphens] = args.bind("wordwrap", names, 0)?;
    let width = width.map_or(Ok(79), |width| int(&width, "wordwrap"))?;
    let break_long = break_long.is_none_or(|option| option.is_truthy());
    let separator = match separator.filter(|separator| !matches!(separator, Value::None)) {
        Some(separator) => text(&separator, "wordwrap")?,
        None => "\n".into(),
    };
    if of.contains(['-', '—']) && on_hyphens.is_none_or(|option| option.is_truthy()) {
        return unsupported("`wordwrap` of text with hyphens");
    }
    if of.chars().any(|c| is_space(c) && !c.is_ascii()) {
        return unsupported("`wordwrap` of text with spaces beyond ASCII");
    }
    if width <= 0 {
        return fail(format!("invalid width {width} (must be > 0)"));
    }
    let width = size(width);
    let mut out = Vec::new();
    for line in lines(of, false) {
        meter.charge(line.len() + VALUE)?;
        let wrapped = wrapped_line(line, width, break_long);
        meter.charge(wrapped.len().saturating_mul(separator.len() + VALUE))?;
        out.push(wrapped.join(&*separator));
    }
    meter.charge(out.len().saturating_mul(separator.len()))?;
    Ok(out.join(&*separator))
}

fn wrapped_line(line: &str, width: usize, break_long: bool) -> Vec<String> {
    // Words and the spaces between them, in turn.
    let mut chunks: Vec<Vec<char>> = Vec::new();
    for c in line.chars() {
        match chunks.last_mut() {
            Some(chunk) if is_space(chunk[0]) == is_space(c) => chunk.push(c),
            _ => chunks.push(vec![c]),
        }
    }
    let mut chunks: std::collections::VecDeque<_> = chunks.into();
    let is_blank = |chunk: &Vec<char>| chunk.iter().all(|&c| is_space(c));
    let mut out: Vec<String> = Vec::new();
    while !chunks.is_empty() {
        let mut current: Vec<Vec<char>> = Vec::new();
        let mut length = 0;
        if !out.is_empty() && chunks.front().is_some_and(is_blank) {
            chunks.pop_front();
        }
        while let Some(chunk) = chunks.front()
            && length + chunk.len() <= width
        {
            length += chunk.len();
            current.extend(chunks.pop_front());
        }
        if let Some(chunk) = chunks.front_mut()
            && chunk.len() > width
        {
            if break_long {
                let rest = chunk.split_off(width - length);
                current.push(std::mem::replace(chunk, rest));
            } else if current.is_empty() {
                current.extend(chunks.pop_front());
            }
        }
        if current.last().is_some_and(is_blank) {
            current.pop();
        }
        if !current.is_empty() {
            out.push(current.concat().into_iter().collect());
        }
    }
    out
}

fn word_count(of: &str) -> Result<usize> {
    let mut count = 0;
    let mut inside = false;
    for c in of.chars() {
        let is_word = if c == '_' { Some(true) } else { is_alphanumeric(c) };
        let Some(is_word) = is_word else { return unsupported(format!("`wordcount` of {c:?}")) };
        count += usize::from(is_word && !inside);
        inside = is_word;
    }
    Ok(count)
}

fn without_tags(of: &str, meter: &Meter) -> Result<String> {
    meter.charge(of.len())?;
    let mut text = of.to_string();
    for (open, close) in [("<!--", "-->"), ("<", ">")] {
        let mut kept = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(start) = rest.find(open) {
            let Some(end) = rest[start..].find(close) else { break };
            kept.push_str(&rest[..start]);
            rest = &rest[start + end + close.len()..];
        }
        kept.push_str(rest);
        text = kept;
    }
    if text.contains('&') {
        return unsupported("`striptags` of text with `&`");
    }
    Ok(text.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
}

/// `pprint` of a value that fits on one line.
fn pretty(value: &Value, meter: &Meter) -> Result<String> {
    let text = print::repr(&with_sorted_keys(value, meter)?, meter)?;
    if text.chars().count() > LINE {
        return unsupported("`pprint` of more than one line");
    }
    Ok(text)
}

/// The same with every dictionary's keys in order.
fn with_sorted_keys(value: &Value, meter: &Meter) -> Result<Value> {
    let all =
        |items: &[Value]| items.iter().map(|item| with_sorted_keys(item, meter)).collect::<Result<Vec<_>>>();
    meter.charge(VALUE)?;
    match value {
        Value::List(list) => Value::list(all(&list.items)?),
        Value::Tuple(list) => Value::tuple(all(&list.items)?),
        Value::Dict(dict) => {
            let entries = dict.entries.iter().map(|(k, v)| (k.clone(), (k.clone(), v.clone()))).collect();
            let entries = sorted(entries, false, meter)?.into_iter();
            let entries = entries
                .map(|(_, (key, value))| Ok((key, with_sorted_keys(&value, meter)?)))
                .collect::<Result<Vec<_>>>()?;
            Value::dict(entries, meter)
        }
        other => Ok(other.clone()),
    }
}
