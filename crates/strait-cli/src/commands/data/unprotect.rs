//! `strait data unprotect F`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use super::{Context, PasswordArguments};
use crate::{failure::Failure, text::path, units};

/// Unpack a protected archive (easy-dataset-share)
///
/// Such archives keep harmful data from being crawled and trained on by accident; a study reads them without unpacking.
/// No file is written over another.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The archive
    #[arg(value_name = "F")]
    archive: PathBuf,
    #[command(flatten)]
    password: PasswordArguments,
    /// The folder to unpack into [default: the archive's name without its endings]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  strait data unprotect training_datasets.zip.enc
  strait data unprotect training_datasets.zip.enc --password-env PASSWORD --out /tmp/rows";

#[derive(Serialize)]
struct Unprotected {
    out: PathBuf,
    files: Vec<PathBuf>,
}

impl fmt::Display for Unprotected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "{}", path(file))?;
        }
        write!(f, "wrote {} into `{}`", units::plural(self.files.len(), "file"), path(&self.out))
    }
}

/// `rows.zip.enc` without its endings.
fn folder_of(archive: &Path) -> PathBuf {
    let mut folder = archive.to_path_buf();
    for ending in ["enc", "zip"] {
        if folder.extension().is_some_and(|found| found == ending) {
            folder.set_extension("");
        }
    }
    if folder == archive { archive.with_extension("unprotected") } else { folder }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let out = arguments.out.clone().unwrap_or_else(|| folder_of(&arguments.archive));
    let password = arguments.password.password(&arguments.archive)?;
    let files = strait::data::unprotect(&arguments.archive, &password, &out)?;
    context.show(&Unprotected { out, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_named_after_the_archive() {
        for (archive, folder) in [
            ("a/rows.zip.enc", "a/rows"),
            ("rows.enc", "rows"),
            ("rows", "rows.unprotected"),
            ("r.1.zip", "r.1"),
        ] {
            assert_eq!(folder_of(Path::new(archive)), Path::new(folder));
        }
    }
}
