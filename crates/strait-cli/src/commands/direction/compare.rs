//! `strait direction compare FILES...`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use strait::direction::{
    files::{Folder, Named},
    geometry::{Angles, Geometry},
};

use super::Context;
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
    units,
};

/// Compare edits by their norms and by the cosine of every two
///
/// Steering vectors are compared as what they add, ablations as their direction, LoRAs of rank 1 as B, as long as the whole change
/// B A. Edits of one vector each are compared whatever their layers; those of several layers must have the same ones, and are
/// compared layer by layer and as one long vector. LoRAs of higher rank and full fine-tunes are compared by the change that they make
/// to the weights.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Edits, with an optional factor or layer as in E*2.5 and vector.pt@24; or folders of checkpoints, such as a solution's
    /// `checkpoints`. A `.pt` needs no layer here
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  strait direction compare runs/mine/solutions/general runs/mine/solutions/narrow
  strait direction compare vectors/general/*.pt --json | jq .norms
  strait direction compare runs/mine/solutions/general/checkpoints direction.safetensors   along a direction";

/// The most edits whose matrix of cosines fits on a screen.
const WIDEST: usize = 16;

#[derive(Serialize)]
struct Compared {
    /// Each edit as it was named; of a folder of checkpoints the paths.
    names: Vec<String>,
    /// For each edit the place among FILES of what named it.
    files: Vec<usize>,
    /// The steps of a folder's checkpoints; null for other edits.
    steps: Vec<Option<usize>>,
    #[serde(flatten)]
    whole: Angles,
    /// The same layer by layer, where there are several.
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    /// The layer or module.
    place: String,
    #[serde(flatten)]
    angles: Angles,
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = (!self.layers.is_empty()).then_some("all layers");
        self.table(f, place, &self.whole)?;
        for Layer { place, angles } in &self.layers {
            writeln!(f)?;
            self.table(f, Some(place), angles)?;
        }
        Ok(())
    }
}

impl Compared {
    /// Norms, and the cosines of every two; of many edits those with the last one alone.
    fn table(&self, f: &mut fmt::Formatter<'_>, place: Option<&str>, angles: &Angles) -> fmt::Result {
        if let Some(place) = place {
            writeln!(f, "{place}")?;
        }
        let count = self.names.len();
        let lines: Vec<String> = (0..count).map(|i| self.line(i, angles)).collect();
        if count > WIDEST {
            let mut table = Columns::new([Left("edit"), Right("norm"), Right("cosine with the last")]);
            for (i, name) in self.names.iter().enumerate() {
                let with_last = angles.cosine[i].last().copied().unwrap_or(f64::NAN);
                table.row([name.clone(), units::digits(angles.norms[i]), cosine(with_last)]);
            }
            return write!(f, "{table}");
        }
        let mut table = Columns::new([
            Right(""),
            Left("edit"),
            Right("norm"),
            Left("cosines, in the order of the lines"),
        ]);
        for (i, line) in lines.into_iter().enumerate() {
            table.row([(i + 1).to_string(), self.names[i].clone(), units::digits(angles.norms[i]), line]);
        }
        write!(f, "{table}")
    }

    fn line(&self, row: usize, angles: &Angles) -> String {
        angles.cosine[row].iter().map(|&x| cosine(x)).collect::<Vec<_>>().join(" ")
    }
}

/// Three digits behind the point, with the sign in a column of its own.
fn cosine(value: f64) -> String {
    if value.is_nan() { "     -".into() } else { format!("{value:>6.3}") }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let found = super::read(&arguments.files, Folder::Edit, context)?;
    let (names, files, steps) = super::columns(&found);
    let geometry = Geometry::of(found.into_iter().map(Named::member))?;
    let layers = match geometry.places() {
        places @ [_, _, ..] => {
            let layers = places.iter().cloned().zip(geometry.by_place());
            layers.map(|(place, angles)| Layer { place, angles }).collect()
        }
        _ => Vec::new(),
    };
    context.show(&Compared { names, files, steps, whole: geometry.angles()?, layers })
}
