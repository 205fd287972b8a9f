//! The `strait` command: parses, calls the library, shows what comes back.

mod allocator;
mod commands;
mod failure;
mod interrupt;
mod last_words;
mod memory;
mod output;
mod password;
mod progress;
mod text;
mod threads;
mod units;

use std::{ffi::OsString, num::NonZeroUsize, process::ExitCode};

use clap::Parser;

use commands::{Command, Context};
use failure::Failure;

/// Measures what a fine-tune really learned.
///
/// strait trains the narrow and the general solution of a fine-tune of a chat model, certifies which is which, and
/// measures what each does inside and outside the taught domain. Start with `strait init`, or with a study of the
/// repository.
#[derive(Parser)]
#[command(name = "strait", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The arguments of every command.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// Print one JSON object to standard output, and all else to standard error
    #[arg(long, global = true)]
    json: bool,
    /// Use N threads [default: one a core]
    #[arg(long, global = true, value_name = "N", value_parser = threads::number)]
    threads: Option<NonZeroUsize>,
}

const EXAMPLES: &str = "\
A model M is a folder, a GGUF file, a hub id (org/name[@revision], org/name:file.gguf) or a short name such as \
smollm2-135m-instruct. An edit E is a run folder, a PEFT folder, or a .safetensors or .pt file, with an optional \
factor: E*2.5.

Exit codes: 0 done (also where a claim does not hold), 1 failed, 2 wrong usage, 130 interrupted.

Examples:
  strait init study.toml                        write a commented study
  strait run study.toml                         run it, or continue it
  strait chat smollm2-135m-instruct             talk to a model
  strait score --model M --edit E --data F      the response loss of an edited model";

fn main() -> ExitCode {
    allocator::keep_what_is_freed();
    keep_candle_to_one_thread();
    last_words::install();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Known before the arguments are understood: a mistake in them is an object too.
    if arguments.iter().any(|argument| argument == "--json") {
        output::promise_json();
    }
    match threads::with_whole_stack(move || answer(&arguments)) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn answer(arguments: &[OsString]) -> ExitCode {
    if let Some(argument) = arguments.iter().find(|argument| argument.to_str().is_none()) {
        return failure::not_utf8(argument);
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    // SAFETY: no other thread runs yet that could read the environment; the main thread waits for this one.
    let threads = unsafe { threads::set(cli.global.threads) };
    match threads.and_then(|()| last_words::caught(|| run(cli))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// candle adds large tensors on threads of its own, which spin while they wait: beside the threads of the matrix products they
/// take the cores away from these, and a loaded machine then does little but spin.
fn keep_candle_to_one_thread() {
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
}

fn run(cli: Cli) -> Result<(), Failure> {
    interrupt::install()?;
    cli.command.run(&Context::default())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
