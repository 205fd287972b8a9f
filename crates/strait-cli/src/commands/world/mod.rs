//! `strait world`.

mod causal;
mod pretrain;
mod show;

use clap::Subcommand;

use super::Context;
use crate::failure::Failure;

/// Commands on the built-in world.
#[derive(Subcommand)]
pub enum Command {
    Show(show::Arguments),
    Pretrain(pretrain::Arguments),
    Causal(causal::Arguments),
}

/// Shown below the help of the group.
pub const EXAMPLES: &str = "\
Examples:
  strait world show
  strait world pretrain --out worlds/mine --seed 7
  strait chat worlds/mine/model";

pub fn run(command: &Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Show(arguments) => show::run(arguments, context),
        Command::Pretrain(arguments) => pretrain::run(arguments, context),
        Command::Causal(arguments) => causal::run(arguments, context),
    }
}
