//! `strait edit inspect E`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use strait_model::edit::{Kind, Source, Summary, layers_in_words};

use super::Context;
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Describe an edit: kind, layers, sites and norms
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The edit: a run folder, a PEFT folder, or a .safetensors or .pt file, with an optional factor as in E*2.5
    #[arg(value_name = "E")]
    edit: String,
}

const EXAMPLES: &str = "\
Examples:
  strait edit inspect runs/technical/solutions/narrow
  strait edit inspect steering_vector.pt
  strait edit inspect 'vector.pt@24*2.5'        a vector that does not say its layer, or one of several";

#[derive(Serialize)]
struct Inspected {
    path: PathBuf,
    source: Source,
    #[serde(flatten)]
    summary: Summary,
    /// True if it leaves every model as it is.
    changes_nothing: bool,
    notes: Vec<String>,
    provenance: Value,
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("edit", self.path.display());
        describe(&self.summary, &mut facts);
        let mut sites = Columns::new([Left("site"), Right("norm")]);
        list_sites(&self.summary, &mut sites);
        write!(f, "{facts}\n{sites}")
    }
}

fn describe(summary: &Summary, facts: &mut Columns) {
    let kind = match summary.kind {
        Kind::Steering => "steering vector",
        Kind::Lora => "LoRA",
        Kind::Ablation => "ablation",
        Kind::Full => "full fine-tune",
        Kind::Composed => "composition",
    };
    facts.fact("kind", kind);
    facts.fact("layers", layers_in_words(&summary.layers));
    if let Some(lora) = &summary.lora {
        let root = if lora.rslora { " (rsLoRA)" } else { "" };
        facts.fact("rank", lora.rank);
        facts.fact("alpha", format!("{}{root}", lora.alpha));
        facts.fact("scale", units::digits(lora.scale));
    }
    facts.fact("norm", units::digits(summary.norm));
    facts.fact("parameters", units::count(summary.parameters as u64));
}

/// Its sites, or those of its parts.
fn list_sites(summary: &Summary, table: &mut Columns) {
    for site in &summary.sites {
        table.row([site.site.clone(), units::digits(site.norm)]);
    }
    for part in &summary.parts {
        list_sites(part, table);
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let opened = strait_model::edit::read(&arguments.edit)?;
    context.warn_of(&opened);
    context.show(&Inspected {
        summary: opened.edit.summary()?,
        changes_nothing: opened.edit.changes_nothing()?,
        path: opened.path,
        source: opened.source,
        notes: opened.notes,
        provenance: opened.provenance,
    })
}
