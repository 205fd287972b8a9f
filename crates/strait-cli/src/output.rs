//! Standard output: one JSON object, or text for people.

use std::{
    fmt::Display,
    io::{self, Write},
};

use serde::Serialize;

/// The version of the objects that `--json` prints. Keys may be added under one version; a key that goes or changes its
/// meaning makes a new one.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema: u32,
    #[serde(flatten)]
    body: &'a T,
}

/// Prints a result as text, or with `--json` as an object.
pub fn print(result: &(impl Serialize + Display), json: bool) -> io::Result<()> {
    if json { print_object(result) } else { print_text(result) }
}

/// Prints an object on one line, with its schema version.
pub fn print_object(body: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Versioned { schema: SCHEMA, body })?;
    line.push(b'\n');
    write(&line)
}

/// Prints text, ended by one line break.
fn print_text(text: &impl Display) -> io::Result<()> {
    let text = text.to_string();
    write(format!("{}\n", text.trim_end_matches('\n')).as_bytes())
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
