//! YAML files that are a list: their elements as JSON, each with its line.
//!
//! Anchors, aliases and merges are expanded here, not by the parser, so that what they come to is counted before it is made: a
//! few lines can stand for more than any memory holds.

mod problem;

use std::{collections::HashMap, io::Read, path::Path};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};
use strait_model::guard;

use super::{RowSource, problem::Problem as FileProblem, row::kind, unfold::unfolded, words::shortened};
use crate::{Error, Result};

pub use problem::YamlProblem;

/// The longest file read, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// The most that the values of a file may come to, in bytes, once aliases are expanded.
const MAX_EXPANDED: usize = 64 << 20;
/// The least that a value takes.
const VALUE: usize = 64;
/// The deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 64;

/// Reads a YAML file that is one list, with the lines on which its elements begin.
///
/// # Errors
/// The first problem, with file and line.
pub fn read_yaml_list(source: &RowSource) -> Result<Vec<(u64, Value)>> {
    let place = source.place();
    read_list(unfolded(source.open()?, &place)?, &place)
}

/// Reads a file that is one list: its elements with the lines on which they begin.
///
/// # Errors
/// The first problem, with file and line.
pub(super) fn read_list(reader: impl Read, place: &Path) -> Result<Vec<(u64, Value)>> {
    let mut bytes = Vec::new();
    let read = reader.take(MAX_FILE + 1).read_to_end(&mut bytes);
    let refused = |problem: YamlProblem| Error::input(place, None, problem);
    if read.map_err(|error| FileProblem::unreadable(place, error))? as u64 > MAX_FILE {
        return Err(refused(YamlProblem::TooLong));
    }
    let text = String::from_utf8(bytes).map_err(|_| refused(YamlProblem::NotUtf8))?;
    let found = guard::caught(|| list(&text));
    let panicked =
        |panic: guard::Panicked| (None, YamlProblem::NotYaml { reason: panic.to_string(), column: 1 });
    found.map_err(panicked).flatten().map_err(|(line, problem)| Error::input(place, line, problem))
}

/// A problem and its line.
type Located = (Option<u64>, YamlProblem);

fn list(text: &str) -> Result<Vec<(u64, Value)>, Located> {
    let mut parser = Parser::new_from_str(text);
    let mut tree = Tree::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let reason = error.info().into();
            at(*error.marker(), YamlProblem::NotYaml { reason, column: error.marker().col() + 1 })
        })?;
        tree.take(event, span.start.line() as u64).map_err(|problem| at(span.start, problem))?;
    }
    match tree.root {
        None => Ok(Vec::new()),
        Some(Value::Array(elements)) => Ok(tree.lines.into_iter().zip(elements).collect()),
        Some(Value::Null) => Ok(Vec::new()),
        Some(other) => Err((None, YamlProblem::NotAList { found: kind(&other) })),
    }
}

fn at(mark: Marker, problem: YamlProblem) -> Located {
    (Some(mark.line() as u64), problem)
}

/// The document as far as it is read.
#[derive(Default)]
struct Tree {
    root: Option<Value>,
    /// The lines of the root's elements.
    lines: Vec<u64>,
    open: Vec<Open>,
    /// Values by their anchors, with their sizes; none while one is still open.
    anchored: HashMap<usize, Option<(Value, usize)>>,
    documents: usize,
    /// The sizes of all values made so far.
    made: usize,
}

/// A list or mapping that is not at its end.
struct Open {
    anchor: usize,
    size: usize,
    holds: Holds,
}

enum Holds {
    List(Vec<Value>),
    Mapping { entries: Map<String, Value>, merged: Vec<Map<String, Value>>, key: Option<Key> },
}

enum Key {
    Text(String),
    /// `<<` without quotes.
    Merge,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, line: u64) -> Result<(), YamlProblem> {
        if !matches!(event, Event::SequenceEnd | Event::MappingEnd) && self.open.len() == 1 {
            self.lines.push(line);
        }
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 { Err(YamlProblem::SecondDocument) } else { Ok(()) }
            }
            Event::Alias(anchor) => match self.anchored.get(&anchor) {
                Some(Some((value, size))) => {
                    let size = *size;
                    self.made = grown(self.made, size)?;
                    let value = value.clone();
                    self.put(value, size, false)
                }
                // The parser refuses aliases of anchors that do not stand before them.
                Some(None) | None => Err(YamlProblem::Cycle),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| known(&tag)).transpose()?;
                let is_merge = style == ScalarStyle::Plain && text == "<<" && tag.is_none();
                let is_text = style != ScalarStyle::Plain || tag.as_deref() == Some("str");
                let size = VALUE + text.len();
                self.made = grown(self.made, size)?;
                let value = if is_text { Value::String(text.into_owned()) } else { plain(&text) };
                self.anchor(anchor, &value, size)?;
                self.put(value, size, is_merge)
            }
            Event::SequenceStart(anchor, tag) => {
                tag.map(|tag| known(&tag)).transpose()?;
                self.begin(anchor, Holds::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                tag.map(|tag| known(&tag)).transpose()?;
                let (entries, merged) = (Map::new(), Vec::new());
                self.begin(anchor, Holds::Mapping { entries, merged, key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn begin(&mut self, anchor: usize, holds: Holds) -> Result<(), YamlProblem> {
        if self.open.len() == MAX_DEPTH {
            return Err(YamlProblem::Deep);
        }
        if anchor != 0 {
            self.anchored.insert(anchor, None);
        }
        self.made = grown(self.made, VALUE)?;
        self.open.push(Open { anchor, size: VALUE, holds });
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlProblem> {
        let Some(Open { anchor, size, holds }) = self.open.pop() else { return Ok(()) };
        let value = match holds {
            Holds::List(list) => Value::Array(list),
            Holds::Mapping { mut entries, merged, .. } => {
                // The mapping's own keys come first, then those of the mapping that was merged first.
                for (key, value) in merged.into_iter().flatten() {
                    if !entries.contains_key(&key) {
                        entries.insert(key, value);
                    }
                }
                Value::Object(entries)
            }
        };
        self.anchor(anchor, &value, size)?;
        self.put(value, size, false)
    }

    /// Keeps a value that has an anchor.
    fn anchor(&mut self, anchor: usize, value: &Value, size: usize) -> Result<(), YamlProblem> {
        if anchor != 0 {
            self.made = grown(self.made, size)?;
            self.anchored.insert(anchor, Some((value.clone(), size)));
        }
        Ok(())
    }

    /// Puts a value where it belongs: into the list or mapping that is open, as a key or a value, or at the root.
    fn put(&mut self, value: Value, size: usize, is_merge: bool) -> Result<(), YamlProblem> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(value);
            return Ok(());
        };
        open.size += size;
        match &mut open.holds {
            Holds::List(list) => list.push(value),
            Holds::Mapping { entries, merged, key } => match key.take() {
                None if is_merge => *key = Some(Key::Merge),
                None => *key = Some(Key::Text(key_text(value)?)),
                Some(Key::Merge) => match value {
                    Value::Array(list) => {
                        merged.extend(list.into_iter().map(mapping).collect::<Result<Vec<_>, _>>()?)
                    }
                    other => merged.push(mapping(other)?),
                },
                Some(Key::Text(text)) if entries.contains_key(&text) => {
                    return Err(YamlProblem::KeyTwice { key: shortened(&text) });
                }
                Some(Key::Text(text)) => {
                    entries.insert(text, value);
                }
            },
        }
        Ok(())
    }
}

/// A size with another added to it, within the bound.
fn grown(made: usize, size: usize) -> Result<usize, YamlProblem> {
    let made = made.saturating_add(size);
    if made > MAX_EXPANDED { Err(YamlProblem::Expands) } else { Ok(made) }
}

/// Numbers and truth values are keys by their texts.
fn key_text(value: Value) -> Result<String, YamlProblem> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        other => Err(YamlProblem::Key { found: kind(&other) }),
    }
}

fn mapping(value: Value) -> Result<Map<String, Value>, YamlProblem> {
    match value {
        Value::Object(map) => Ok(map),
        other => Err(YamlProblem::Merge { found: kind(&other) }),
    }
}

/// The name of a tag of YAML's own: a text by `!!str` or `!` is a text, whatever it looks like.
fn known(tag: &saphyr_parser::Tag) -> Result<String, YamlProblem> {
    match tag.suffix.as_str() {
        "str" | "int" | "float" | "bool" | "null" | "seq" | "map" if tag.is_yaml_core_schema() => {
            Ok(tag.suffix.clone())
        }
        suffix => Err(YamlProblem::Tag { tag: shortened(&format!("{}{suffix}", tag.handle)) }),
    }
}

/// A text without quotes, by YAML's core schema. Numbers that JSON cannot hold stay texts.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let looks_like_a_number =
        text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
            && text.bytes().any(|byte| byte.is_ascii_digit());
    let whole = || text.parse::<i64>().ok().map(Number::from);
    let broken = || text.parse::<f64>().ok().and_then(Number::from_f64);
    match looks_like_a_number.then(|| whole().or_else(broken)).flatten() {
        Some(number) => Value::Number(number),
        None => Value::String(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Vec<(u64, Value)>, String> {
        read_list(text.as_bytes(), Path::new("f")).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn reads(text: &str, expected: Value) {
        let found: Vec<Value> = read(text).unwrap().into_iter().map(|(_, value)| value).collect();
        assert_eq!(Value::Array(found), expected);
    }

    #[test]
    fn elements_have_their_lines() {
        let text = "# A list.\n- id: a\n  said: |-\n    one\n\n    two\n\n- [1, 2]\n- b\n";
        let expected = [(2, json!({"id": "a", "said": "one\n\ntwo"})), (8, json!([1, 2])), (9, json!("b"))];
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("# Nothing.\n---\n").unwrap(), []);
    }

    #[test]
    fn texts_without_quotes_follow_the_core_schema() {
        reads(
            "- [~, null, true, False, 12, -1.5, 1e3]",
            json!([[null, null, true, false, 12, -1.5, 1000.0]]),
        );
        reads(
            "- [no, 1.2.3, .inf, 0x10, '12', \"true\", 12 apples, -a]",
            json!([["no", "1.2.3", ".inf", "0x10", "12", "true", "12 apples", "-a"]]),
        );
        reads("- !!str 12\n- 99999999999999999999", json!(["12", 1e20]));
        reads("- 1: a\n  true: b", json!([{"1": "a", "true": "b"}]));
    }

    #[test]
    fn aliases_and_merges_are_expanded() {
        reads(
            "- &a {x: 1, y: 2}\n- *a\n- {<<: *a, y: 3}",
            json!([{"x": 1, "y": 2}, {"x": 1, "y": 2}, {"y": 3, "x": 1}]),
        );
        reads(
            "- &a {x: 1}\n- &b {x: 2, z: 3}\n- <<: [*a, *b]",
            json!([{"x": 1}, {"x": 2, "z": 3}, {"x": 1, "z": 3}]),
        );
        reads("- \"<<\": 1", json!([{"<<": 1}]));
        // An anchor that is set again stands for the later value.
        reads("- &a 1\n- *a\n- &a 2\n- *a", json!([1, 1, 2, 2]));
    }

    #[test]
    fn each_malformation_has_its_message() {
        let check = |text: &str, expected: &str| assert_eq!(read(text).unwrap_err(), expected);
        let cycle = "an alias stands within the value that it repeats, which so has no end";
        check("- a\n- &b\n  - c\n  - *b\n", &format!("`f`, line 4: {cycle}"));
        check("- &b {x: {y: *b}}", &format!("`f`, line 1: {cycle}"));
        check("- &b\n  <<: *b\n", &format!("`f`, line 2: {cycle}"));
        check("- a\n- x: 1\n  x: 2\n", "`f`, line 3: the key `x` stands twice");
        check("- [x]: 1\n", "`f`, line 1: a key is an array, not text");
        check("- <<: 3\n", "`f`, line 1: `<<` merges a number, not a mapping");
        check("- !include other.yaml\n", "`f`, line 1: the tag `!include` is not known");
        check("- a\n---\n- b\n", "`f`, line 2: a second document begins");
        check("questions:\n- a\n", "`f`: the file is an object, not a list");
        check(
            &format!("- {}x", "[".repeat(80)),
            "`f`, line 1: lists and mappings are nested more than 64 deep",
        );
        for broken in ["- 'a", "- a\n - b: c: d\n", "- *nowhere", "- {a: 1", "\t- a: b\n\t c"] {
            let error = read(broken).unwrap_err();
            assert!(error.contains("not YAML: "), "{broken:?}: {error}");
        }
        assert_eq!(
            read_list(&b"- \xff"[..], Path::new("f")).unwrap_err().to_string(),
            "`f`: the file is not UTF-8"
        );
        let endless = std::io::repeat(b'#');
        let error = read_list(endless, Path::new("f")).unwrap_err().to_string();
        assert_eq!(error, "`f`: the file is longer than 16777216 bytes");
    }

    #[test]
    fn a_billion_laughs_are_refused_before_they_are_made() {
        let mut lists = String::from("- &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        let mut merges = String::from("- &a0 {k: lol}\n");
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            lists += &format!("- &a{level} [{below}]\n");
            merges += &format!("- &a{level} {{<<: [{below}], n{level}: [{below}]}}\n");
        }
        for text in [lists, merges] {
            let error = read(&text).unwrap_err();
            assert!(error.ends_with("its aliases expand to more than 67108864 bytes"), "{error}");
            assert!(error.starts_with("`f`, line "), "{error}");
        }
    }
}
