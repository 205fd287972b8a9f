//! `strait direction tokens`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use strait::{
    Table,
    direction::{DirectionToken, Pull, tokens},
};

use super::super::{Context, DateArgument, device::DeviceArgument, precision::PrecisionArgument};
use crate::{
    failure::Failure,
    text::{Columns, Heading::*},
};

/// Show the tokens that directions promote and demote
///
/// A direction is read as if it were the residual stream itself: through the final norm and the unembedding (logit lens). What
/// later blocks make of it is left out, so that the tokens say most at late layers.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Directions or a steering vector: a .safetensors or .pt file; FILE@12 is the direction of layer 12
    #[arg(value_name = "E")]
    edit: String,
    /// The model: a folder, a GGUF file, a hub id, a short name, or world:NAME of a built-in world
    #[arg(long, value_name = "M")]
    model: String,
    /// Tokens of either side
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    #[command(flatten)]
    device: DeviceArgument,
    #[command(flatten)]
    precision: PrecisionArgument,
    #[command(flatten)]
    day: DateArgument,
}

const EXAMPLES: &str = "\
Examples:
  strait direction tokens direction.safetensors --model M
  strait direction tokens direction.safetensors@12 --model M --top 30
  strait direction tokens runs/mine/solutions/general --model M --json";

#[derive(Serialize)]
struct Report<'a> {
    edit: &'a str,
    model: &'a str,
    /// A token each.
    tokens: Vec<Map<String, Value>>,
    #[serde(skip)]
    rows: Vec<DirectionToken>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Columns::new([Right("layer"), Left("promoted"), Left("demoted")]);
        for of_layer in self.rows.chunk_by(|one, other| one.layer == other.layer) {
            let side = |pull: Pull| {
                let own = of_layer.iter().filter(|row| row.pull == pull);
                // Blanks are part of a token.
                own.map(|row| format!("{:?}", row.token)).collect::<Vec<_>>().join(" ")
            };
            table.row([of_layer[0].layer.to_string(), side(Pull::Promoted), side(Pull::Demoted)]);
        }
        write!(f, "{table}")
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let opened = strait_model::edit::read(&arguments.edit)?;
    let Some(directions) = opened.edit.vectors() else {
        return Err(Failure::refused(
            format!("`{}` is more than steering vectors, and so has no directions to read", arguments.edit),
            "give a file of directions, such as `strait direction extract` writes, or a steering vector",
        ));
    };
    context.warn_of(&opened);
    let model =
        context.load(&arguments.model, &arguments.device, arguments.precision.precision, &arguments.day)?;
    model.decoder.check(&opened)?;
    let mut rows = Vec::new();
    for direction in directions {
        rows.extend(tokens(&model, direction, arguments.top.into())?);
    }
    let (edit, model) = (&arguments.edit, &arguments.model);
    context.show(&Report { edit, model, tokens: Table::of(&rows).objects(), rows })
}
