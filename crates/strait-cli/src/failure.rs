//! Failures of commands: a message, a remedy, an exit code.

use std::{
    error::Error,
    ffi::OsStr,
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use serde::Serialize;

use crate::{output, text};

/// Exit code of a command that failed.
pub const FAILED: u8 = 1;
/// Exit code of arguments that make no sense.
const USAGE: u8 = 2;
/// Exit code of an interrupted command: 128 + SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// The remedy where none is known.
pub const MISTAKE: &str = "this is a mistake in strait: please report it with the command, its version and, where \
                           they may be shared, the files";

/// The failure of a command.
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
    pub fn report(&self) -> ExitCode {
        let Some((message, hint)) = self.words() else {
            return match self {
                Self::Stream(_) => ExitCode::SUCCESS,
                _ => FAILED.into(),
            };
        };
        show(&message, &hint);
        if output::is_json() {
            // The exit code tells of the failure where nobody reads the object.
            let _ = output::print_object(&ErrorObject::of(message, hint));
        }
        match self {
            Self::Library(strait::Error::Interrupted) => INTERRUPTED.into(),
            _ => FAILED.into(),
        }
    }

    /// Shows the failure and goes on: in a conversation one question may fail and the next succeed.
    pub fn mention(&self) {
        if let Some((message, hint)) = self.words() {
            show(&message, &hint);
        }
    }

    /// The message and the remedy; none where nothing is to be said.
    fn words(&self) -> Option<(String, String)> {
        match self {
            Self::Library(error) => Some((chain(error), error.hint().unwrap_or_else(|| MISTAKE.into()))),
            Self::Refused { message, hint } => Some((message.clone(), hint.clone())),
            Self::Stream(error) if error.kind() == ErrorKind::BrokenPipe => None,
            Self::Stream(error) => {
                let hint = strait_model::error::io_hint(error);
                Some((
                    format!("standard input or output failed: {error}"),
                    hint.unwrap_or("look at where the input comes from and where the output goes").into(),
                ))
            }
            Self::Shown => None,
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
    if !error.use_stderr() {
        return match error.print() {
            Err(error) => Failure::Stream(error).report(),
            Ok(()) => ExitCode::SUCCESS,
        };
    }
    let rendered = error.render().to_string();
    // Arguments are repeated in it, whatever they hold. Nothing is left to be done where even this cannot be written.
    let _ = io::stderr().write_all(text::printable(&rendered).as_bytes());
    if output::is_json() {
        let mut paragraphs =
            rendered.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        let message = paragraphs.next().unwrap_or_default();
        let hint = paragraphs.next().unwrap_or_else(|| "`strait --help` shows what there is".into());
        let _ = output::print_object(&ErrorObject::of(message.trim_start_matches("error: ").into(), hint));
    }
    USAGE.into()
}

/// Tells a machine of a signal that ends the process.
pub fn interrupted() {
    if output::is_json() {
        let hint = "run the same command to continue a study or a demo";
        output::print_last_object(&ErrorObject::of("interrupted by a signal".into(), hint.into()));
    }
}

/// Refuses arguments that could neither be shown nor written into a record.
pub fn not_utf8(argument: &OsStr) -> ExitCode {
    let message = format!("the argument `{}` is not UTF-8", argument.to_string_lossy());
    Failure::refused(message, "give the file or folder a name in UTF-8").report();
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
fn show(message: &str, hint: &str) {
    let error_label = console::style("error").red().bold().for_stderr();
    let hint_label = console::style("hint").bold().for_stderr();
    let lines = format!("{error_label}: {}\n\n{hint_label}: {}\n", text::line(message), text::line(hint));
    // Where standard error is closed, the exit code has to do.
    let _ = io::stderr().write_all(lines.as_bytes());
}

#[derive(Serialize)]
struct ErrorObject {
    error: ErrorBody,
}

impl ErrorObject {
    fn of(message: String, hint: String) -> Self {
        Self { error: ErrorBody { message, hint } }
    }
}

#[derive(Serialize)]
struct ErrorBody {
    message: String,
    hint: String,
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
