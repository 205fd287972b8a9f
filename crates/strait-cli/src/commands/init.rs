//! `strait init`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use strait_model::files;

use super::Context;
use crate::{failure::Failure, text::path};

/// Write a commented study to start from
///
/// It has every key of a study with its usual value and the reason for it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The file to write; an existing file is never overwritten
    #[arg(value_name = "STUDY.toml", default_value = "study.toml")]
    study: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  strait init
  strait init studies/mine.toml";

#[derive(Serialize)]
struct Written<'a> {
    study: &'a PathBuf,
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let study = path(self.study);
        writeln!(f, "wrote `{study}`: name your model and your rows in it, then")?;
        writeln!(f, "  strait run {study} --dry-run")?;
        write!(f, "  strait run {study}")
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let study = &arguments.study;
    if study.exists() {
        let message = format!("`{}` is there already", study.display());
        return Err(Failure::refused(message, "name another file, as in `strait init mine.toml`"));
    }
    files::write(study, strait::study::EXAMPLE)?;
    context.show(&Written { study })
}
