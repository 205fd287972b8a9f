//! `strait edit convert E OUT`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use strait_model::edit::Source;

use super::Context;
use crate::{failure::Failure, text::path};

/// Write an edit in another format
///
/// OUT ending in .safetensors is strait's own file, which any reader of safetensors opens. Any other name is a folder for
/// a PEFT adapter, which transformers and vLLM load; only a LoRA can become one.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The edit: a run folder, a PEFT folder, or a .safetensors or .pt file, with an optional factor as in E*2.5
    #[arg(value_name = "E")]
    edit: String,
    /// The file or folder to write
    #[arg(value_name = "OUT")]
    out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  strait edit convert runs/technical/solutions/narrow adapter/
  strait edit convert steering_vector.pt vector.safetensors
  strait edit convert 'adapter/*0.5' half.safetensors";

#[derive(Serialize)]
struct Converted<'a> {
    edit: &'a str,
    source: Source,
    out: &'a PathBuf,
}

impl fmt::Display for Converted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrote `{}`", path(self.out))
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let opened = strait_model::edit::convert(&arguments.edit, &arguments.out)?;
    context.warn_of(&opened);
    context.show(&Converted { edit: &arguments.edit, source: opened.source, out: &arguments.out })
}
