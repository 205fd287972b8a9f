//! `strait completions SHELL`.

use std::fmt;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde::Serialize;

use super::Context;
use crate::{Cli, failure::Failure};

/// Print completions for a shell
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  strait completions bash > ~/.local/share/bash-completion/completions/strait
  strait completions zsh > ~/.zfunc/_strait
  strait completions fish > ~/.config/fish/completions/strait.fish";

#[derive(Serialize)]
struct Completions {
    shell: String,
    script: String,
}

impl fmt::Display for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.script)
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "strait", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    context.show(&Completions { shell: arguments.shell.to_string(), script })
}
