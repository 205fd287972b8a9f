//! The page of a demo.

use std::{io::Write, path::Path};

use strait_model::files::write_atomically;

use super::Results;
use crate::Result;

/// Writes the page.
///
/// # Errors
/// If the file cannot be written.
pub fn write(results: &Results, path: &Path) -> Result<()> {
    let claims = results.checks.iter().map(|check| format!("<li>{}: {}</li>", check.claim, check.verdict()));
    let page = format!("<!doctype html><title>strait demo</title><ul>{}</ul>", claims.collect::<String>());
    Ok(write_atomically(path, |file| file.write_all(page.as_bytes()))?)
}
