//! `strait edit convert E OUT`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use strait::world::locate;
use strait_model::{
    edit::{self, Source},
    merged,
};

use super::Context;
use crate::{failure::Failure, text::path};

/// Write an edit in another format
///
/// OUT ending in .safetensors is strait's own file, which any reader of safetensors opens. Any other name is a folder: of a
/// LoRA a PEFT adapter, of a full fine-tune a whole model in float32, for which --model names the model that it was trained
/// from. transformers and vLLM load both.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The edit: a run folder, a PEFT folder, or a .safetensors or .pt file, with an optional factor as in E*2.5
    #[arg(value_name = "E")]
    edit: String,
    /// The file or folder to write
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The model that a full fine-tune was trained from, to be written with it: a Hugging Face folder, a hub id or a short name
    #[arg(long, value_name = "M")]
    model: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  strait edit convert runs/technical/solutions/narrow adapter/
  strait edit convert steering_vector.pt vector.safetensors
  strait edit convert 'adapter/*0.5' half.safetensors
  strait edit convert runs/mine/solutions/full model/ --model smollm2      a whole model";

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
    let opened = match &arguments.model {
        None => edit::convert(&arguments.edit, &arguments.out)?,
        Some(model) => {
            let opened = edit::read(&arguments.edit)?;
            merged::write(&opened, &locate(model, &*context.progress)?, &arguments.out)?;
            opened
        }
    };
    context.warn_of(&opened);
    context.show(&Converted { edit: &arguments.edit, source: opened.source, out: &arguments.out })
}
