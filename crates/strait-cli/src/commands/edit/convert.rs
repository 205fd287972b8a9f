//! `strait edit convert E OUT`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use strait::world::locate;
use strait_model::{
    Weights,
    edit::{self, Source},
    merged,
};

use super::Context;
use crate::{failure::Failure, text::path};

/// Write an edit in another format
///
/// OUT ending in .safetensors is strait's own file, which any reader of safetensors opens. OUT ending in .gguf is for llama.cpp:
/// of steering vectors a control vector, of a LoRA an adapter; --model names the model that it is for. Any other name is a
/// folder: of a LoRA a PEFT adapter, or with --model a whole model in float32 with the edit in its weights. A full
/// fine-tune, a LoRA, and an ablation of a direction after every layer can be put into weights. transformers and vLLM
/// load both kinds of folders.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The edit: a run folder, a PEFT folder, or a .safetensors, .gguf or .pt file, with an optional factor as in E*2.5
    #[arg(value_name = "E")]
    edit: String,
    /// The file or folder to write
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The model that the edit was made for: a Hugging Face folder, a hub id or a short name, and but for a folder a GGUF file too
    #[arg(long, value_name = "M")]
    model: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  strait edit convert runs/technical/solutions/narrow adapter/
  strait edit convert steering_vector.pt vector.safetensors
  strait edit convert 'adapter/*0.5' half.safetensors
  strait edit convert runs/technical/solutions/narrow narrow.gguf --model smollm2
  strait edit convert runs/mine/solutions/full model/ --model smollm2      a whole model";

#[derive(Serialize)]
struct Converted<'a> {
    edit: &'a str,
    source: Source,
    out: &'a PathBuf,
    notes: Vec<String>,
}

impl fmt::Display for Converted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrote `{}`", path(self.out))
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let (name, out) = (&arguments.edit, &arguments.out);
    let mut written = Vec::new();
    let opened = match &arguments.model {
        None => edit::convert(name, out, None)?,
        Some(model) => {
            let located = locate(model, &*context.progress)?;
            let weights = Weights::open(&located.path)?;
            if edit::is_file_name(out) {
                edit::convert(name, out, Some(weights.config()))?
            } else {
                let opened = edit::read_for(name, weights.config())?;
                written = merged::write(&opened, &located, out)?;
                opened
            }
        }
    };
    context.warn_of(&opened);
    for note in &written {
        context.progress.note(&format!("`{}`: {note}", path(out)));
    }
    let notes = opened.notes.into_iter().chain(written).collect();
    context.show(&Converted { edit: name, source: opened.source, out, notes })
}
