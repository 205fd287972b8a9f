//! `strait model inspect M`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use strait::world::locate;
use strait_model::{Config, Tokenizer, Weights, source::Located};

use super::{Context, pull};
use crate::{failure::Failure, text::Columns, units};

/// Describe a model: architecture, sizes, files and memory
///
/// Only headers are read. A model that is not on this machine is fetched first.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(value_name = "M")]
    model: String,
}

const EXAMPLES: &str = "\
Examples:
  strait model inspect smollm2-135m-instruct
  strait model inspect path/to/model.gguf --json | jq .layers";

#[derive(Serialize)]
struct Inspected {
    #[serde(flatten)]
    located: Located,
    format: &'static str,
    quantised: Option<String>,
    files: Vec<WeightFile>,
    parameters: usize,
    /// Bytes that the weights take once they are loaded, in f32.
    memory: usize,
    /// Tokens that the tokenizer knows; the embedding may have more rows.
    tokens: usize,
    chat_template: bool,
    /// Tensors of the files that have no part in the text model.
    left_out: Vec<String>,
    #[serde(flatten)]
    config: Config,
}

#[derive(Serialize)]
struct WeightFile {
    path: PathBuf,
    bytes: u64,
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        let mut facts = Columns::facts();
        pull::describe(&self.located, &mut facts);
        facts.fact("format", self.format);
        if let Some(quantised) = &self.quantised {
            facts.fact("quantised", quantised);
        }
        for WeightFile { path, bytes } in &self.files {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            facts.fact("file", format!("{name}, {}", units::bytes(*bytes)));
        }
        let count = |n: usize| units::count(n as u64);
        facts.fact("architecture", format!("{:?}", config.architecture).to_lowercase());
        facts.fact("parameters", count(self.parameters));
        facts.fact("layers", count(config.layers));
        facts.fact("hidden size", count(config.hidden_size));
        facts.fact("MLP size", count(config.intermediate_size));
        let heads = format!("{} of {}, {} key-value", config.heads, config.head_dim, config.kv_heads);
        facts.fact("heads", heads);
        if let Some(window) = config.sliding_window {
            facts.fact("sliding window", format!("{} tokens", count(window)));
        }
        facts.fact("context", format!("{} tokens", count(config.context_length)));
        facts.fact("vocabulary", format!("{} tokens, {} rows", count(self.tokens), count(config.vocab_size)));
        facts.fact("chat template", if self.chat_template { "yes" } else { "none" });
        if let Some(first) = self.left_out.first() {
            let left_out = units::plural(self.left_out.len(), "tensor");
            facts.fact("left out", format!("{left_out} without a part in the text model, such as `{first}`"));
        }
        facts.fact("memory", format!("{} for the weights, in f32", units::bytes(self.memory as u64)));
        write!(f, "{facts}")
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let located = locate(&arguments.model, &*context.progress)?;
    let weights = Weights::open(&located.path)?;
    let left_out = weights.fit()?;
    let (tokenizer, format) = match weights.gguf() {
        Some(gguf) => (Tokenizer::from_gguf(&located.path, gguf)?, "gguf"),
        None => (Tokenizer::from_folder(&located.path)?, "safetensors"),
    };
    let file = |path: PathBuf| WeightFile { bytes: path.metadata().map_or(0, |file| file.len()), path };
    let parameters = weights.config().parameters();
    context.show(&Inspected {
        format,
        quantised: weights.quantised(),
        files: weights.files().into_iter().map(file).collect(),
        parameters,
        memory: parameters.saturating_mul(size_of::<f32>()),
        tokens: tokenizer.vocab_size(),
        chat_template: tokenizer.has_chat_template(),
        left_out,
        config: weights.config().clone(),
        located,
    })
}
