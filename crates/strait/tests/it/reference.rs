//! The reference of the study file, `docs/src/study-file.md` and `docs/study.schema.json`, written from the code.
//!
//! Nothing here knows a key. The reader is asked: an unknown key makes a table list the keys that it knows; a date, which no
//! key takes, makes a key say what it expects; values of each type are tried. What a key is for stands beside it in the
//! example that `strait init` writes; what it means to leave it out is found by leaving it out.
//!
//! `UPDATE=1 cargo test -p strait --test it reference` writes both files anew.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use strait::{
    Error,
    study::{EXAMPLE, Problem, StudyFile},
};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A study that lies where the paths of the example lead to files.
fn parse(text: String) -> Result<StudyFile, Problem> {
    StudyFile::parse(&repository("studies/the-file-name.toml"), text).map_err(problem)
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Study { problem, .. } => *problem,
        other => panic!("{other}"),
    }
}

// What the reader takes.

/// What no key takes.
const DATE: &str = "1979-05-27";

/// A place for a value: the text before it and behind it.
struct Place {
    before: String,
    behind: String,
}

impl Place {
    fn key(key: &str) -> Self {
        Self { before: format!("{key} = "), behind: String::new() }
    }

    fn within(&self, opening: &str, closing: &str) -> Self {
        Self { before: format!("{}{opening}", self.before), behind: format!("{closing}{}", self.behind) }
    }

    fn put(&self, value: &str) -> Result<StudyFile, Problem> {
        parse(format!("{}{value}{}", self.before, self.behind))
    }

    fn takes(&self, value: &str) -> bool {
        self.put(value).is_ok()
    }

    /// What the reader expects.
    fn expected(&self) -> String {
        match self.put(DATE) {
            Err(Problem::Unexpected { expected, .. }) => expected,
            other => panic!("{:?} behind `{}`", other.err(), self.before),
        }
    }

    /// Whether the reader looks at a value of this place by itself: then its error is about the date.
    fn is_read(&self) -> bool {
        matches!(self.put(DATE), Err(Problem::Unexpected { found, .. }) if found.contains("date"))
    }
}

/// What may stand in a place.
struct Shape {
    /// The reader's words.
    expected: String,
    /// A JSON schema for each type of value.
    schemas: Vec<Value>,
    /// Whether any text may stand there.
    text: bool,
    /// The keys, where a table or a list of tables may stand there.
    keys: Vec<Key>,
}

/// A key and what may stand there.
type Key = (&'static str, Shape);

fn shape(place: &Place) -> Shape {
    let mut expected = place.expected();
    let mut schemas = Vec::new();
    match (place.takes("true"), place.takes("false")) {
        (false, false) => {}
        (true, true) => schemas.push(json!({ "type": "boolean" })),
        (on, _) => schemas.push(json!({ "const": on })),
    }
    schemas.extend(number(place, &expected));
    let text = place.takes("'a'") || place.takes("'A'");
    let is_day = |day: &str| place.takes(&format!("'{day}'"));
    match text {
        true => schemas.push(json!({ "type": "string" })),
        false if is_day("2024-02-29") && !is_day("2023-02-29") => {
            schemas.push(json!({ "type": "string", "format": "date" }));
        }
        false => schemas.extend(names(place, &expected)),
    }
    let mut keys = Vec::new();
    if let Err(Problem::UnknownKey { known, .. }) = place.put("{ '?' = 1 }") {
        let inner = |key| shape(&place.within(&format!("{{ {key} = "), " }"));
        keys = known.into_iter().map(|key| (key, inner(key))).collect();
        schemas.push(object(&keys, &|_| None));
    }
    // A list of any length, or of two numbers.
    let (any, two) = (place.within("[", "]"), place.within("[0.5, ", "]"));
    if any.is_read() {
        let entry = shape(&any);
        if schemas.is_empty() {
            expected = format!("{expected}, each entry {}", entry.expected);
        }
        schemas.push(json!({ "type": "array", "items": any_of(&entry.schemas), "minItems": 1 }));
        if keys.is_empty() {
            keys = entry.keys;
        }
    } else if two.is_read() {
        let items = any_of(&shape(&two).schemas);
        schemas.push(json!({ "type": "array", "items": items, "minItems": 2, "maxItems": 2 }));
    }
    Shape { expected, schemas, text, keys }
}

fn any_of(schemas: &[Value]) -> Value {
    match schemas {
        [] => panic!("nothing that the reader takes was tried"),
        [one] => one.clone(),
        several => json!({ "anyOf": several }),
    }
}

fn object(keys: &[Key], about: &dyn Fn(&str) -> Option<String>) -> Value {
    let property = |(key, shape): &Key| {
        let mut schema = any_of(&shape.schemas);
        if let Some(words) = about(key) {
            schema["description"] = words.into();
        }
        (key.to_string(), schema)
    };
    let properties: Map<String, Value> = keys.iter().map(property).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn number(place: &Place, expected: &str) -> Option<Value> {
    let whole = ["-1", "0", "1", "2", "10", "100"].iter().any(|value| place.takes(value));
    let real = place.takes("0.5") || place.takes("1.5");
    let mut schema = match (whole, real) {
        (false, false) => return None,
        (true, false) => json!({ "type": "integer" }),
        (_, true) => json!({ "type": "number" }),
    };
    for (name, bound, beyond) in bounds(expected) {
        let inclusive = !name.starts_with("exclusive");
        // A greater one is written with its exponent, as only a real number can be.
        let is_plain = bound.abs() < 1e15;
        let written = |bound: f64| if is_plain { bound.to_string() } else { format!("{bound:e}") };
        assert_eq!(place.takes(&written(bound)), inclusive, "{bound} behind `{}`", place.before);
        assert!(!place.takes(&written(beyond)), "{beyond} behind `{}`", place.before);
        schema[name] = if bound.fract() == 0.0 && is_plain { json!(bound as i64) } else { json!(bound) };
    }
    Some(schema)
}

/// The bounds that the reader's words name: the schema's word for each, its value, and a value beyond it.
fn bounds(expected: &str) -> Vec<(&'static str, f64, f64)> {
    let number = |text: &str| match text {
        "a billion" => Some(1e9),
        _ => text.split([' ', ',']).next()?.parse::<f64>().ok(),
    };
    let behind = |words: &str| expected.split_once(words).and_then(|(_, rest)| number(rest));
    let below = |name, low: Option<f64>| low.map(|low| (name, low, low - 1.0));
    let above =
        |name, high: Option<f64>| high.map(|high| (name, high, (high + 1.0).max(high * (1.0 + 1e-12))));
    let mut found = Vec::new();
    if let Some((low, high)) = expected.split_once(" from ").and_then(|(_, rest)| rest.split_once(" to ")) {
        found.extend(below("minimum", number(low)));
        found.extend(match high.strip_prefix("below ") {
            Some(high) => above("exclusiveMaximum", number(high)),
            None => above("maximum", number(high)),
        });
    }
    found.extend(below("exclusiveMinimum", behind(" greater than ")));
    if let Some((most, _)) = expected.split_once(" at most") {
        found.extend(above("maximum", most.rsplit(' ').next().and_then(number)));
    }
    if expected.ends_with(" or more") {
        found.extend(below("minimum", behind(" of ")));
    }
    found
}

/// The texts that the reader names.
fn names(place: &Place, expected: &str) -> Option<Value> {
    let of_text = match place.put("'?'") {
        Err(Problem::Unexpected { expected, .. }) => expected,
        _ => String::new(),
    };
    let marked = |text: &str, mark| text.split(mark).skip(1).step_by(2).map(String::from).collect::<Vec<_>>();
    let mut names = [marked(expected, '`'), marked(&of_text, '"')].concat();
    names.retain(|name| place.takes(&format!("'{name}'")));
    (!names.is_empty()).then(|| json!({ "enum": names }))
}

/// Every key of a study.
fn keys() -> Vec<Key> {
    let Err(Problem::UnknownKey { known, .. }) = parse("'?' = 1".into()) else { panic!("`?` is a key") };
    known.into_iter().map(|key| (key, shape(&Place::key(key)))).collect()
}

// What the example says.

/// The key of a line such as `key = value`.
fn assigned(line: &str) -> Option<&str> {
    let of_a_key = |c: char| c.is_ascii_lowercase() || matches!(c, '_' | '.');
    line.split_once(" = ").map(|(key, _)| key).filter(|key| !key.is_empty() && key.chars().all(of_a_key))
}

/// The example's lines, those with a key or a table that it leaves out without their mark.
fn lines() -> impl Iterator<Item = &'static str> {
    let is_code = |rest: &&str| assigned(rest).is_some() || rest.starts_with("[[");
    EXAMPLE.lines().map(move |line| line.strip_prefix("# ").filter(is_code).unwrap_or(line))
}

/// The words beside every key of the example and every heading of a table, or above it, by full names.
fn notes() -> BTreeMap<String, String> {
    let mut notes = BTreeMap::new();
    let (mut table, mut above) = (String::new(), Vec::new());
    for line in lines() {
        if let Some(more) = line.strip_prefix("# ") {
            above.push(more);
            continue;
        }
        let (code, beside) = code_and_words(line);
        let words = if beside.is_empty() { above.join(" ") } else { beside.to_string() };
        if let Some(heading) = code.strip_prefix('[') {
            table = heading.trim_matches(['[', ']']).to_string();
            notes.entry(table.clone()).or_insert(words);
        } else if let Some(key) = assigned(code) {
            notes.entry(joined(&table, key)).or_insert(words);
        }
        above.clear();
    }
    notes
}

/// A line up to its comment, and the comment.
fn code_and_words(line: &str) -> (&str, &str) {
    let mut quoted = false;
    let hash = line.char_indices().find(|&(_, c)| {
        quoted ^= c == '"';
        c == '#' && !quoted
    });
    let (code, words) = hash.map_or((line, ""), |(at, _)| line.split_at(at));
    (code.trim(), words.trim_start_matches('#').trim())
}

fn joined(table: &str, key: &str) -> String {
    if table.is_empty() { key.into() } else { format!("{table}.{key}") }
}

// What it means to leave a key out.

/// Deep enough that half the depth is no block that the example names.
const DEPTH: usize = 40;

/// What a study means: its values by their places.
fn resolved(study: &toml::Table) -> Result<BTreeMap<String, String>, Problem> {
    let study =
        parse(study.to_string())?.resolve().and_then(|study| study.fix_layers(DEPTH)).map_err(problem)?;
    let mut values = BTreeMap::new();
    collect(&study.to_toml().unwrap().parse::<toml::Table>().unwrap().into(), "", &mut values);
    Ok(values)
}

fn collect(value: &toml::Value, place: &str, values: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            table.iter().for_each(|(key, value)| collect(value, &format!("{place}.{key}"), values));
        }
        toml::Value::Array(list) if list.iter().any(toml::Value::is_table) => {
            list.iter().enumerate().for_each(|(i, value)| collect(value, &format!("{place}.{i}"), values));
        }
        value => drop(values.insert(place.into(), value.to_string())),
    }
}

/// The table that a key of this name stands in; of a list of tables the last.
fn around<'a>(study: &'a mut toml::Table, name: &str) -> Option<&'a mut toml::Table> {
    let mut names: Vec<&str> = name.split('.').collect();
    names.pop();
    names.into_iter().try_fold(study, |table, name| match table.get_mut(name)? {
        toml::Value::Array(list) => list.last_mut()?.as_table_mut(),
        value => value.as_table_mut(),
    })
}

/// What a key means that is left out, of the example: `required`, a value, or nothing that can be told.
fn left_out(name: &str) -> Option<String> {
    let key = name.rsplit('.').next()?;
    let code = |value: &str| Some(format!("`{value}`"));
    let mut example: toml::Table = EXAMPLE.parse().unwrap();
    let whole = resolved(&example).ok()?;
    if let Some(value) = around(&mut example, name)?.remove(key) {
        return match resolved(&example) {
            Err(Problem::Missing { .. }) => Some("required".into()),
            Err(_) => None,
            Ok(without) if without == whole => code(&value.to_string()),
            Ok(without) => {
                let mut new: Vec<_> =
                    without.iter().filter(|(place, value)| whole.get(*place) != Some(value)).collect();
                new.dedup_by_key(|(_, value)| *value);
                match new[..] {
                    [(_, value)] => code(value),
                    _ => None,
                }
            }
        };
    }
    let mut full: toml::Table = lines().collect::<Vec<_>>().join("\n").parse().unwrap();
    let value = around(&mut full, name)?.remove(key)?;
    // Keys of LoRA are refused elsewhere.
    ["steering", "lora"].into_iter().find_map(|edit| {
        let mut without: toml::Table = EXAMPLE.parse().unwrap();
        without.get_mut("train")?.as_table_mut()?.insert("edit".into(), edit.into());
        let mut with = without.clone();
        around(&mut with, name)?.insert(key.into(), value.clone());
        let same = resolved(&with).ok()? == resolved(&without).ok()?;
        same.then(|| code(&value.to_string())).flatten()
    })
}

// The two files.

struct Reference {
    notes: BTreeMap<String, String>,
    /// Tables with a heading in the example, in their order.
    headed: Vec<String>,
}

impl Reference {
    fn new() -> Self {
        let headings = EXAMPLE.lines().filter_map(|line| line.strip_prefix('['));
        let mut headed: Vec<_> = headings
            .filter_map(|line| line.trim_start_matches('[').split_once(']'))
            .map(|(name, _)| name.to_string())
            .collect();
        headed.dedup();
        Self { notes: notes(), headed }
    }

    /// The words on a key, from where they stand for it.
    fn words(&self, name: &str) -> &str {
        let elsewhere = [
            ("train.", "solution."),
            ("solution.", "train."),
            ("data.general.", "data.narrow."),
            ("data.narrow.", "data.general."),
        ];
        let others = elsewhere.iter().filter_map(|(of, at)| Some(format!("{at}{}", name.strip_prefix(of)?)));
        let mut places = std::iter::once(name.to_string()).chain(others);
        places
            .find_map(|name| self.notes.get(&name).filter(|words| !words.is_empty()))
            .map_or("", String::as_str)
    }

    fn page(&self, keys: &[Key]) -> String {
        let mut page = String::new();
        self.section("", &keys.iter().collect::<Vec<_>>(), &mut page);
        page
    }

    /// A table of the reference for one table of the study, and then for the tables within it that have headings.
    fn section(&self, table: &str, keys: &[&Key], page: &mut String) {
        let heading = match table {
            "" => "Above all tables".into(),
            "solution" => "`[[solution]]`".into(),
            _ => format!("`[{table}]`"),
        };
        writeln!(page, "\n## {heading}\n").unwrap();
        match (table, self.words(table)) {
            ("solution", _) => {
                let words = "One for each edit to train. Every key of `[train]` may stand here too, for this solution alone.";
                writeln!(page, "{words}\n").unwrap();
            }
            (_, "") => {}
            (_, words) => writeln!(page, "{}{}.\n", words[..1].to_uppercase(), &words[1..]).unwrap(),
        }
        writeln!(page, "| key | value | left out | meaning |\n|---|---|---|---|").unwrap();
        let is_headed = |key: &&Key| self.headed.contains(&joined(table, key.0));
        let (tables, keys): (Vec<&Key>, Vec<&Key>) = keys.iter().copied().partition(is_headed);
        for (key, shape) in keys {
            self.rows(table, key, shape, page);
        }
        let shared: Vec<_> =
            tables.iter().filter(|key| key.0 == "train").flat_map(|key| &key.1.keys).collect();
        for (name, shape) in tables {
            let of_its_own = |key: &&Key| *name != "solution" || shared.iter().all(|known| known.0 != key.0);
            self.section(
                &joined(table, name),
                &shape.keys.iter().filter(of_its_own).collect::<Vec<_>>(),
                page,
            );
        }
    }

    /// A key, and the keys within it. Where text may stand instead of a table, as for rows, the reader's words say all.
    fn rows(&self, table: &str, key: &str, shape: &Shape, page: &mut String) {
        let full = joined(table, key);
        let words = match (self.words(&full), key.rsplit_once('.')) {
            ("", Some((outer, _))) => format!("see `{outer}`"),
            (words, _) => words.to_string(),
        };
        let left_out = left_out(&full).unwrap_or_default();
        let row = [&shape.expected, &left_out, &words].map(|cell| cell.replace('|', "\\|")).join(" | ");
        writeln!(page, "| `{key}` | {row} |").unwrap();
        for (inner, shape) in shape.keys.iter().filter(|_| !shape.text) {
            self.rows(table, &format!("{key}.{inner}"), shape, page);
        }
    }

    fn schema(&self, keys: &[Key]) -> Value {
        let mut schema = object(keys, &|key| self.described(key));
        for (key, shape) in keys.iter().filter(|(key, _)| self.headed.contains(&key.to_string())) {
            let about = |inner: &str| self.described(&joined(key, inner));
            let of_table = object(&shape.keys, &about);
            let within = &mut schema["properties"][key];
            match within["type"].as_str() {
                Some("array") => within["items"] = of_table,
                _ => within["properties"] = of_table["properties"].clone(),
            }
            for (inner, shape) in &shape.keys {
                let full = joined(key, inner);
                if self.headed.contains(&full) {
                    let described = object(&shape.keys, &|key| self.described(&joined(&full, key)));
                    schema["properties"][key]["properties"][inner]["properties"] =
                        described["properties"].clone();
                }
            }
        }
        let mut whole = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "A study for strait",
        });
        whole.as_object_mut().unwrap().extend(schema.as_object().unwrap().clone());
        whole
    }

    fn described(&self, name: &str) -> Option<String> {
        Some(self.words(name)).filter(|words| !words.is_empty()).map(String::from)
    }
}

/// Compares a file with what it should be, or with `UPDATE=1` writes it.
fn keep_in_step(path: &str, expected: &str) {
    let file = repository(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, expected).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let remedy = "`UPDATE=1 cargo test -p strait --test it reference` brings it into step";
    assert!(found == expected, "`{path}` is not what the code says; {remedy}");
}

const BEGIN: &str = "<!-- reference: begin; written by crates/strait/tests/it/reference.rs -->\n";
const END: &str = "\n<!-- reference: end -->";

#[test]
fn the_reference_is_in_step_with_the_reader() {
    let path = "docs/src/study-file.md";
    let page = fs::read_to_string(repository(path)).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, behind) = rest.split_once(END).unwrap();
    keep_in_step(path, &format!("{before}{BEGIN}{}{END}{behind}", Reference::new().page(&keys())));
}

#[test]
fn the_schema_is_in_step_with_the_reader() {
    let schema = serde_json::to_string_pretty(&Reference::new().schema(&keys())).unwrap();
    keep_in_step("docs/study.schema.json", &format!("{schema}\n"));
}

#[test]
fn studies_name_the_schema() {
    let studies = repository("studies").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let texts = studies.map(|path| fs::read_to_string(path).unwrap()).chain([EXAMPLE.to_string()]);
    for text in texts {
        let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema ../")).unwrap();
        assert!(repository(named).is_file(), "{named}");
    }
}

#[test]
fn bounds_are_read_from_words() {
    for (words, expected) in [
        ("a number greater than 0", vec![("exclusiveMinimum", 0.0, -1.0)]),
        ("a number of 0 or more", vec![("minimum", 0.0, -1.0)]),
        ("a number from 0 to 0.9", vec![("minimum", 0.0, -1.0), ("maximum", 0.9, 1.9)]),
        ("a number from 0 to below 1", vec![("minimum", 0.0, -1.0), ("exclusiveMaximum", 1.0, 2.0)]),
        ("a number greater than 0, 1 at most", vec![("exclusiveMinimum", 0.0, -1.0), ("maximum", 1.0, 2.0)]),
        ("a whole number from 1 to a billion", vec![("minimum", 1.0, 0.0), ("maximum", 1e9, 1e9 + 1.0)]),
        ("a block, counted from 0, or -1 for the embeddings", vec![]),
        ("true or false", vec![]),
    ] {
        assert_eq!(bounds(words), expected, "{words}");
    }
}
