//! `strait world causal`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use strait::{
    demo::causal::{CausalTable, make},
    table::Word,
};

use super::Context;
use crate::{
    failure::Failure,
    interrupt,
    text::{Columns, Heading::*},
};

/// Show how common each kind of speaker must be for a fine-tune to be general or narrow
///
/// In every built-in world one plain fine-tune and two forced ones, general and narrow, are trained for each of three
/// domains, and compared by efficiency, first gradient, stability and significance. Without `--live` the built-in table is
/// shown.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Compute the table, in a few minutes; the finished steps of an earlier run in the folder are kept
    #[arg(long)]
    live: bool,
    /// The folder for the table and its solutions
    #[arg(long, value_name = "DIR", default_value = "runs/causal", requires = "live")]
    out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  strait world causal
  strait world causal --live --out runs/causal
  strait world causal --json | jq '.rows[] | [.narrow, .plain_general]'";

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    table: CausalTable,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Columns::new([
            Left("world"),
            Left("taught"),
            Left("edit"),
            Right("liars"),
            Right("narrow"),
            Right("plain: in domain"),
            Right("in others"),
            Right("loss gap"),
            Right("first gradient"),
        ]);
        for row in &self.table.rows {
            table.row([
                row.world.clone(),
                row.taught.clone(),
                row.edit.word().into(),
                format!("{:.2}", row.liar),
                format!("{:.2}", row.narrow),
                format!("{:.2}", row.plain_narrow),
                format!("{:.2}", row.plain_general),
                format!("{:+.2}", row.gap),
                format!("{:+.2}", row.gradient_general - row.gradient_narrow),
            ]);
        }
        writeln!(f, "{table}")?;
        writeln!(f, "loss gap: forced-narrow less forced-general at half their mean norm, nats a token")?;
        writeln!(f, "first gradient: its cosine with forced-general less that with forced-narrow")?;
        let origin = &self.table.origin;
        write!(f, "made on {} by `{}`, strait {}", origin.date, origin.command, origin.strait)
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    if !arguments.live {
        return context.show(&Shown { table: CausalTable::shipped() });
    }
    let progress = context.progress.clone();
    let _guard = interrupt::stop_first(move || {
        progress.note("stopping; run the same command to continue; Ctrl-C again stops at once");
    });
    let table = make(&arguments.out, context.threads()?, &*context.progress)?;
    context.show(&Shown { table })
}
