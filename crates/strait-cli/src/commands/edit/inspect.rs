//! `strait edit inspect E`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use strait_model::edit::{Kind, SiteSummary, Source, Summary, layers_in_words};

use super::Context;
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Describe an edit: kind, layers, sites, norms and spectra
///
/// A LoRA adds a matrix of low rank to each module. Its stable rank is ||D||^2 / s1^2 with the largest singular value s1; its
/// effective rank is exp of the entropy of the singular values as shares of their sum; flatness is the geometric over the
/// arithmetic mean of their squares. Of a full fine-tune's matrices the stable rank is shown. --json has the values themselves.
/// Training methods differ in all of these: no threshold on them carries over from one to another.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The edit: a run folder, a PEFT folder, or a .safetensors, .gguf or .pt file, with an optional factor as in E*2.5
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
        let mut listed = Vec::new();
        list_sites(&self.summary, &mut listed);
        if listed.iter().all(|site| site.spectrum.is_none()) {
            let mut sites = Columns::new([Left("site"), Right("norm")]);
            for site in listed {
                sites.row([site.site.clone(), units::digits(site.norm)]);
            }
            return write!(f, "{facts}\n{sites}");
        }
        let heads = [
            Left("site"),
            Right("norm"),
            Right("stable rank"),
            Right("effective rank"),
            Right("entropy"),
            Right("flatness"),
        ];
        let mut sites = Columns::new(heads);
        for site in listed {
            sites.row(figures(site));
        }
        write!(
            f,
            "{facts}\n{sites}\nno threshold on ranks, entropy or flatness carries over from one way of training to another\n"
        )
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
fn list_sites<'a>(summary: &'a Summary, listed: &mut Vec<&'a SiteSummary>) {
    listed.extend(&summary.sites);
    summary.parts.iter().for_each(|part| list_sites(part, listed));
}

/// A site with the figures of its spectrum, as far as they are known.
fn figures(site: &SiteSummary) -> [String; 6] {
    let shown = |figure: Option<f64>| figure.map_or_else(String::new, |figure| format!("{figure:.3}"));
    let whole = site.spectrum.as_ref().and_then(|spectrum| spectrum.whole.as_ref());
    [
        site.site.clone(),
        units::digits(site.norm),
        shown(site.spectrum.as_ref().map(|spectrum| spectrum.stable_rank)),
        shown(whole.map(|whole| whole.effective_rank)),
        shown(whole.map(|whole| whole.spectrum_entropy)),
        shown(whole.map(|whole| whole.spectrum_flatness)),
    ]
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let opened = strait_model::edit::read(&arguments.edit)?;
    context.warn_of(&opened);
    context.show(&Inspected {
        summary: opened.edit.summary_with_spectra()?,
        changes_nothing: opened.edit.changes_nothing()?,
        path: opened.path,
        source: opened.source,
        notes: opened.notes,
        provenance: opened.provenance,
    })
}
