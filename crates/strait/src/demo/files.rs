//! Files of a demo.

use std::{io::Write, path::Path};

use serde::Serialize;
use strait_model::files::write_atomically;

/// Writes a value as JSON, as a whole or not at all.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> strait_model::Result<()> {
    write_atomically(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        file.write_all(b"\n")
    })
}
