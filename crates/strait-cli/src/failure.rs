//! What a command ends with when it does not end well: a message, a remedy, an exit code.

use std::{
    error::Error,
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use serde::Serialize;

use crate::{output, text};

/// Exit code of a command that failed.
const FAILED: u8 = 1;
/// Exit code of arguments that make no sense.
const USAGE: u8 = 2;
/// Exit code of an interrupted command: 128 + SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub enum Failure {
    /// The library's answer.
    Library(strait::Error),
    /// The command's own refusal.
    Refused {
        /// One sentence.
        message: String,
        /// The remedy.
        hint: String,
    },
    /// Standard input or output failed.
    Stream(io::Error),
    /// Something did not pass, and the output says so already.
    Shown,
}

impl Failure {
    /// The command's own refusal, with its remedy.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), hint: hint.into() }
    }

    /// Shows the failure and gives the exit code. A reader that went away is no failure: `strait ... | head` is common.
    pub fn report(&self, json: bool) -> ExitCode {
        let (message, hint) = match self {
            Self::Stream(error) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Self::Shown => return FAILED.into(),
            Self::Stream(error) => (format!("standard input or output failed: {error}"), None),
            Self::Refused { message, hint } => (message.clone(), Some(hint.clone())),
            Self::Library(error) => (chain(error), error.hint()),
        };
        show(&message, hint.as_deref());
        if json {
            object(message, hint);
        }
        match self {
            Self::Library(strait::Error::Interrupted) => INTERRUPTED.into(),
            _ => FAILED.into(),
        }
    }

    /// Shows the failure and goes on: in a conversation one question may fail and the next succeed.
    pub fn mention(&self) {
        match self {
            Self::Library(error) => show(&chain(error), error.hint().as_deref()),
            Self::Refused { message, hint } => show(message, Some(hint)),
            Self::Stream(_) | Self::Shown => {}
        }
    }
}

impl From<strait::Error> for Failure {
    fn from(error: strait::Error) -> Self {
        Self::Library(error)
    }
}

impl From<strait_model::Error> for Failure {
    fn from(error: strait_model::Error) -> Self {
        Self::Library(error.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

/// Shows what clap says: help and version, or a complaint about the arguments, with the exit code of each.
pub fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to be done where even this cannot be written.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let rendered = error.render().to_string();
        let mut paragraphs =
            rendered.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        let message = paragraphs.next().unwrap_or_default();
        object(message.trim_start_matches("error: ").into(), paragraphs.next());
    }
    USAGE.into()
}

/// A message and those below it in one paragraph. A message that repeats the one below it stands alone.
fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let below = error.to_string();
        if !message.contains(&below) {
            message = format!("{message}: {below}");
        }
        cause = error.source();
    }
    message
}

/// `error: ...`, and after an empty line `hint: ...`, on standard error.
fn show(message: &str, hint: Option<&str>) {
    let label = console::style("error").red().bold().for_stderr();
    let mut lines = format!("{label}: {}\n", text::printable(message));
    if let Some(hint) = hint {
        let label = console::style("hint").bold().for_stderr();
        lines.push_str(&format!("\n{label}: {}\n", text::printable(hint)));
    }
    // Where standard error is closed, the exit code has to do.
    let _ = io::stderr().write_all(lines.as_bytes());
}

#[derive(Serialize)]
struct Report {
    error: Told,
}

#[derive(Serialize)]
struct Told {
    message: String,
    hint: Option<String>,
}

fn object(message: String, hint: Option<String>) {
    // The exit code tells of the failure where nobody reads the object.
    let _ = output::print_object(&Report { error: Told { message, hint } });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_says_nothing_twice() {
        let refused = || io::Error::from(ErrorKind::PermissionDenied);
        let error = strait_model::Error::io("runs/a", "write the file")(refused());
        assert_eq!(chain(&error), format!("`runs/a`: cannot write the file: {}", refused()));
        assert_eq!(
            chain(&strait::Error::from(error)),
            format!("`runs/a`: cannot write the file: {}", refused())
        );
    }
}
