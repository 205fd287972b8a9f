//! `strait direction pca FILES...`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use strait::direction::{
    files::{Folder, Named},
    geometry::Geometry,
};

use super::Context;
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Place edits, or the checkpoints of trainings, along the components in which they differ most
///
/// All edits are stacked, their mean is taken away, and the principal components of what is left are found. A folder with
/// checkpoints stands for these, in the order of their steps. What an edit's vector is, `strait direction compare --help` says.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Solutions' folders, folders of checkpoints (`..._N.pt`, `step-N.safetensors`, PEFT's `checkpoint-N`), or edits, with an
    /// optional factor as in E*2.5. A `.pt` needs no layer here
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// Divide each coordinate by its standard deviation first, so that all weigh the same, as the paper does
    #[arg(long)]
    standardise: bool,
    /// The number of components
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = components)]
    components: usize,
}

const EXAMPLES: &str = "\
Examples:
  strait direction pca runs/mine/solutions/general runs/mine/solutions/narrow
  strait direction pca --standardise vectors/general vectors/narrow --json | jq .explained";

/// The most components that are told.
const MOST: usize = 1000;

fn components(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=MOST).contains(count));
    count.ok_or_else(|| format!("expected a whole number from 1 to {MOST}"))
}

#[derive(Serialize)]
struct Components {
    /// Each edit as it was named; of a folder of checkpoints the paths.
    names: Vec<String>,
    /// For each edit the place among FILES of what named it.
    files: Vec<usize>,
    /// The steps of a folder's checkpoints; null for other edits.
    steps: Vec<Option<usize>>,
    standardised: bool,
    /// The share of all variance along each component.
    explained: Vec<f64>,
    /// For each edit its place along each component.
    scores: Vec<Vec<f64>>,
}

/// The components whose scores fit on a screen.
const SHOWN: usize = 3;

impl fmt::Display for Components {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        let shares: Vec<String> =
            self.explained.iter().map(|share| format!("{:.1} %", 100.0 * share)).collect();
        facts.fact("explained", shares.join(", "));
        facts.fact("coordinates", if self.standardised { "standardised" } else { "as they are" });
        let mut table = Columns::new([Left("edit"), Right("step"), Left("along the first components")]);
        for ((name, step), scores) in self.names.iter().zip(&self.steps).zip(&self.scores) {
            let step = step.map_or_else(String::new, |step| step.to_string());
            let scores: Vec<String> =
                scores.iter().take(SHOWN).map(|&x| format!("{:>9}", units::digits(x))).collect();
            table.row([name.clone(), step, scores.join(" ")]);
        }
        write!(f, "{facts}\n{table}")
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let found = super::read(&arguments.files, Folder::Checkpoints, context)?;
    let (names, files, steps) = super::columns(&found);
    let geometry = Geometry::of(found.into_iter().map(Named::member))?;
    let pca = geometry.pca(arguments.standardise, arguments.components)?;
    let standardised = arguments.standardise;
    let (explained, scores) = (pca.explained, pca.scores);
    context.show(&Components { names, files, steps, standardised, explained, scores })
}
