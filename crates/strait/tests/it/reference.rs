//! The references of the study file and the suite file, pages in `docs/src` and JSON schemas, written from the declarations of
//! their keys, and the example that `strait init` writes, held to them.
//!
//! `UPDATE=1 cargo test --workspace --test it reference` writes these files anew.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use strait::{
    keys::{Key, LeftOut, Shape, schema},
    study::{EXAMPLE, StudyFile},
    suite::Suite,
};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

// The page.

/// The tables of a page.
fn page(keys: Vec<Key>) -> String {
    let mut page = String::new();
    section("Above all tables", "", "", keys, &mut page);
    page
}

/// A section with the keys of one table, then those of the tables within it that have headings of their own.
fn section(heading: &str, about: &str, place: &str, keys: Vec<Key>, page: &mut String) {
    writeln!(page, "\n## {heading}\n").unwrap();
    if !about.is_empty() {
        let shared = match keys.iter().find(|key| key.shared).map(|key| key.name) {
            None => "",
            Some("minus") => {
                " The keys of a figure may stand here too, `minus` and all that follow it in `[[claim]]`."
            }
            Some(_) => " Every key of `[train]` may stand here too, for this solution alone.",
        };
        writeln!(page, "{about}{shared}\n").unwrap();
    }
    writeln!(page, "| key | value | left out | meaning |\n|---|---|---|---|").unwrap();
    let own = || keys.iter().filter(|key| !key.shared);
    for key in own().filter(|key| headed(place, key).is_none()) {
        row(key, key.name, page);
    }
    for key in own() {
        if let Some((heading, keys)) = headed(place, key) {
            section(&heading, &key.about, &joined(place, key.name), keys, page);
        }
    }
}

/// The heading and the keys of a table that has a heading in a study.
fn headed(place: &str, key: &Key) -> Option<(String, Vec<Key>)> {
    let place = joined(place, key.name);
    match key.form.shapes.as_slice() {
        [Shape::Table(keys)] => Some((format!("`[{place}]`"), keys())),
        [Shape::List(entries)] => match entries.as_slice() {
            [Shape::Table(keys)] => Some((format!("`[[{place}]]`"), keys())),
            _ => None,
        },
        _ => None,
    }
}

/// A key, and the keys of the table that may stand behind it; where also a list may, the words say all.
fn row(key: &Key, name: &str, page: &mut String) {
    let left_out = match &key.left_out {
        LeftOut::Required => "required".to_string(),
        LeftOut::Value(value) => format!("`{}`", toml_of(value)),
        LeftOut::Words(words) => words.clone(),
    };
    let cells = [&key.form.words, &left_out, &key.about].map(|cell| cell.replace('|', "\\|")).join(" | ");
    writeln!(page, "| `{name}` | {cells} |").unwrap();
    if key.form.shapes.iter().any(|shape| matches!(shape, Shape::List(_))) {
        return;
    }
    for keys in key.form.shapes.iter().filter_map(table) {
        for inner in keys {
            row(&inner, &joined(name, inner.name), page);
        }
    }
}

fn table(shape: &Shape) -> Option<Vec<Key>> {
    match shape {
        Shape::Table(keys) => Some(keys()),
        Shape::Plain(_) | Shape::List(_) => None,
    }
}

fn toml_of(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml_of).collect::<Vec<_>>().join(", ")),
        value => value.to_string(),
    }
}

fn joined(table: &str, key: &str) -> String {
    if table.is_empty() { key.into() } else { format!("{table}.{key}") }
}

/// Compares a file with what it should be, or with `UPDATE=1` writes it.
fn keep_in_step(path: &str, expected: &str) {
    let file = repository(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, expected).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let remedy = "`UPDATE=1 cargo test --workspace --test it reference` brings it into step";
    assert!(found == expected, "`{path}` is not what the code says; {remedy}");
}

const BEGIN: &str = "<!-- reference: begin; written by crates/strait/tests/it/reference.rs -->\n";
const END: &str = "\n<!-- reference: end -->";

/// The kinds of files that have a reference and a schema: the page, the schema and the keys of each.
fn kinds() -> [(&'static str, &'static str, &'static str, Vec<Key>); 2] {
    [
        ("docs/src/study-file.md", "docs/study.schema.json", "A study for strait", StudyFile::keys()),
        ("docs/src/suites.md", "docs/suite.schema.json", "A suite of studies for strait", Suite::keys()),
    ]
}

#[test]
fn the_pages_are_in_step_with_the_declarations() {
    for (path, _, _, keys) in kinds() {
        let text = fs::read_to_string(repository(path)).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (_, behind) = rest.split_once(END).unwrap();
        keep_in_step(path, &format!("{before}{BEGIN}{}{END}{behind}", page(keys)));
    }
}

#[test]
fn the_schemas_are_in_step_with_the_declarations() {
    for (_, path, title, keys) in kinds() {
        let expected = serde_json::to_string_pretty(&schema(title, &keys)).unwrap();
        keep_in_step(path, &format!("{expected}\n"));
    }
}

#[test]
fn studies_name_the_schema() {
    let files = ["studies", "studies/templates"].map(|folder| repository(folder).read_dir().unwrap());
    let files = files.into_iter().flatten().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let texts = files.map(|path| fs::read_to_string(path).unwrap()).chain([EXAMPLE.to_string()]);
    for text in texts {
        let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).unwrap();
        let named = named.trim_start_matches("../");
        assert!(repository(named).is_file(), "{named}");
    }
}

// The example.

/// A key as the example has it.
#[derive(Debug)]
struct Shown {
    /// Its value, where it has one on its own line.
    value: Option<toml::Value>,
    /// True if it stands behind `#`.
    is_left_out: bool,
    /// The words beside it, or above it.
    words: String,
}

/// The key of a line such as `key = value`.
fn assigned(line: &str) -> Option<&str> {
    let of_a_key = |c: char| c.is_ascii_lowercase() || matches!(c, '_' | '.');
    line.split_once(" = ").map(|(key, _)| key).filter(|key| !key.is_empty() && key.chars().all(of_a_key))
}

/// Every key and every heading of the example by full names, as it stands there first.
fn example() -> BTreeMap<String, Shown> {
    let mut example = BTreeMap::new();
    let (mut table, mut above) = (String::new(), Vec::new());
    for line in EXAMPLE.lines() {
        let behind_hash = line.strip_prefix("# ");
        let code = behind_hash.filter(|rest| assigned(rest).is_some() || rest.starts_with("[["));
        if let (Some(more), None) = (behind_hash, code) {
            above.push(more);
            continue;
        }
        let (is_left_out, (code, beside)) = (code.is_some(), code_and_words(code.unwrap_or(line)));
        let words = if beside.is_empty() { above.join(" ") } else { beside.to_string() };
        above.clear();
        if let Some(heading) = code.strip_prefix('[') {
            table = heading.trim_matches(['[', ']']).to_string();
            example.entry(table.clone()).or_insert(Shown { value: None, is_left_out, words });
        } else if let Some(key) = assigned(code) {
            let value = code.parse::<toml::Table>().ok().and_then(|mut table| table.remove(key));
            for inner in value.as_ref().and_then(toml::Value::as_table).into_iter().flatten() {
                let (name, value) = (joined(&joined(&table, key), inner.0), Some(inner.1.clone()));
                example.entry(name).or_insert(Shown { value, is_left_out, words: String::new() });
            }
            example.entry(joined(&table, key)).or_insert(Shown { value, is_left_out, words });
        }
    }
    example
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

/// Every declared key by its full name, but for headings, and for archives, which stand where paths do.
fn declared(place: &str, keys: Vec<Key>, all: &mut Vec<(String, Key)>) {
    for key in keys.into_iter().filter(|key| !key.shared) {
        let name = joined(place, key.name);
        if let Some((_, keys)) = headed(place, &key) {
            declared(&name, keys, all);
            continue;
        }
        if !key.form.shapes.iter().any(|shape| matches!(shape, Shape::List(_))) {
            key.form.shapes.iter().filter_map(table).for_each(|keys| declared(&name, keys, all));
        }
        all.push((name, key));
    }
}

/// A meaning as a comment: without a capital and a full stop.
fn comment(about: &str) -> String {
    let mut letters = about.trim_end_matches('.').chars();
    letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect()
}

#[test]
fn the_example_has_every_key_with_its_meaning() {
    let example = example();
    let mut keys = Vec::new();
    declared("", StudyFile::keys(), &mut keys);
    let elsewhere =
        [("train.", "solution."), ("data.general.", "data.narrow."), ("data.narrow.", "data.general.")];
    for (name, key) in keys {
        let others = elsewhere.iter().filter_map(|(of, at)| Some(format!("{at}{}", name.strip_prefix(of)?)));
        let mut places = std::iter::once(name.clone()).chain(others).filter_map(|name| example.get(&name));
        let Some(shown) = places.next() else { panic!("the example has no `{name}`") };
        let left_out = match &key.left_out {
            LeftOut::Required => String::new(),
            LeftOut::Value(value) => format!("; left out, {}", toml_of(value)),
            LeftOut::Words(words) => format!("; left out, {words}"),
        };
        let meaning = comment(&key.about);
        let words = comment(&shown.words);
        if !words.is_empty() {
            assert!(
                words == meaning || words == meaning.clone() + &left_out,
                "`{name}` of the example means `{words}`, declared `{meaning}`, `{left_out}`"
            );
        }
        if let (true, Some(value), LeftOut::Value(default)) = (shown.is_left_out, &shown.value, &key.left_out)
            && !value.is_table()
        {
            assert_eq!(
                number_or_text(&serde_json::to_value(value).unwrap()),
                number_or_text(default),
                "`{name}`"
            );
        }
    }
}

/// A value in which 1 and 1.0 are the same.
fn number_or_text(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(number_or_text).collect::<Vec<_>>().join(", "),
        Value::Number(n) => format!("{:?}", n.as_f64()),
        value => value.to_string(),
    }
}
