//! `strait demo`.

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;
use strait::{
    demo::{self, Mode, Options, Results, claims},
    suite::Standing,
};

use super::Context;
use crate::{
    failure::Failure,
    interrupt,
    memory::MemoryArgument,
    text::{Columns, Heading::*, path},
    units,
};

/// Test the papers' claims on the built-in worlds
///
/// Tiny models, whose every answer is known to be true or false, are taught falsehoods in one domain. The general and the
/// narrow solution are trained and measured, and thirteen claims are judged by what is found; those that do not hold are
/// shown as such. It needs no network and no model. After Ctrl-C run the same command to continue.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// One world, steering vectors only and fewer claims: half a minute instead of two
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every claim for every kind of edit, nothing from a shipped table: about ten minutes
    #[arg(long)]
    full: bool,
    /// The folder for worlds, studies, tables and the report
    #[arg(long, value_name = "DIR", default_value_os = demo::default_folder().as_os_str())]
    out: PathBuf,
    #[command(flatten)]
    memory: MemoryArgument,
}

const EXAMPLES: &str = "\
Examples:
  strait demo
  strait demo --quick --json | jq '.checks[] | select(.holds == false) | .claim'
  strait demo --full --out runs/full --threads 8
  strait chat runs/demo/worlds/default-0/model \\
    --edit runs/demo/studies/default-0-herb-vector/solutions/general";

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    results: Results,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Results { checks, solutions, report, seconds, .. } = &self.results;
        let mut table = Columns::new([Right(""), Left("claim"), Left("in these worlds")]);
        for claim in &claims().claims {
            let standing = Standing::of(checks, claim.number);
            table.row([claim.number.to_string(), claim.title.clone(), standing.words()]);
        }
        writeln!(f, "{table}")?;
        let mut table = Columns::new([
            Left("solution"),
            Right("in the taught domain"),
            Right("in the others"),
            Right("coherent"),
            Right("norm"),
            Right("loss"),
            Right("fits"),
        ]);
        for solution in solutions {
            table.row([
                solution.name.clone(),
                rounded(solution.narrow_rate.value),
                rounded(solution.general_rate.value),
                rounded(solution.coherence.value),
                rounded(solution.norm.value),
                rounded(solution.loss.value),
                solution.n.to_string(),
            ]);
        }
        writeln!(f, "{table}")?;
        let count = |holds| checks.iter().filter(|check| check.holds == holds).count();
        writeln!(
            f,
            "of their parts {} hold, {} do not, {} cannot be told; {}",
            count(Some(true)),
            count(Some(false)),
            count(None),
            units::duration(std::time::Duration::from_secs_f64(*seconds))
        )?;
        if let Some(report) = report {
            write!(f, "report: {}", path(report))?;
        }
        Ok(())
    }
}

/// Two digits behind the point, as rates are read; more for figures near zero.
fn rounded(value: f64) -> String {
    match value {
        value if value.is_nan() => "-".into(),
        value if value.abs() < 0.095 => format!("{value:.3}"),
        value => format!("{value:.2}"),
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let progress = context.progress.clone();
    let _guard = interrupt::stop_first(move || {
        progress.note("stopping; run the same command to continue; Ctrl-C again stops at once");
    });
    let mode = match (arguments.quick, arguments.full) {
        (true, _) => Mode::Quick,
        (_, true) => Mode::Full,
        _ => Mode::Default,
    };
    let (threads, memory) = (context.threads()?, arguments.memory.memory);
    let options = Options { mode, out: arguments.out.clone(), threads, memory };
    let results = demo::demo(&options, &*context.progress)?;
    context.show(&Shown { results })
}
