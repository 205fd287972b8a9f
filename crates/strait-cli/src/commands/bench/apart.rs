//! Each step in a process of its own: its memory is its alone, and one that finds no room ends no other.

use std::{
    env,
    io::Read,
    process::{self, Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;
use strait::bench::{Report, Untimed};
use strait_model::progress::Unit;

use super::Context;
use crate::{failure::Failure, interrupt, output};

/// The report of a process on its step.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Report(Report),
    Failure { error: Told },
}

/// Why it failed.
#[derive(Deserialize)]
struct Told {
    message: String,
    hint: String,
}

/// Measures each step by this command again, with that step alone.
///
/// # Errors
/// If no step can be measured.
pub fn each(steps: &[String], context: &Context) -> Result<Report, Failure> {
    let task = context.progress.begin("benchmark", Some(steps.len() as u64), Unit::Count);
    let mut whole: Option<Report> = None;
    let mut failed = Vec::new();
    let mut hint = None;
    for step in steps {
        task.say(step);
        match measured(step)? {
            Said::Report(report) => match &mut whole {
                Some(whole) => {
                    whole.machine = whole.machine.or(report.machine);
                    whole.results.extend(report.results);
                }
                None => whole = Some(report),
            },
            Said::Failure { error } => {
                hint.get_or_insert(error.hint);
                failed.push(Untimed { name: step.clone(), error: error.message });
            }
        }
        task.advance(1);
    }
    match (whole, failed.first()) {
        (Some(whole), _) => Ok(Report { failed, ..whole }),
        (None, first) => {
            let message = first.map(|first| first.error.clone()).unwrap_or_default();
            Err(Failure::refused(message, hint.unwrap_or_default()))
        }
    }
}

fn measured(step: &str) -> Result<Said, Failure> {
    let mut command = process::Command::new(env::current_exe()?);
    // The last `--steps` counts.
    command.args(env::args_os().skip(1)).args(["--steps", step]);
    if !output::is_json() {
        command.arg("--json");
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut answer = String::new();
    let stdout = child.stdout.take();
    let child = Arc::new(Mutex::new(child));
    let killed = Arc::clone(&child);
    let _guard = interrupt::clean_up_first(move || {
        // One that has ended already needs no killing.
        let _ = with(&killed, Child::kill);
    });
    if let Some(mut stdout) = stdout {
        stdout.read_to_string(&mut answer)?;
    }
    let status = with(&child, Child::wait)?;
    Ok(serde_json::from_str(&answer).unwrap_or_else(|_| Said::Failure {
        error: Told {
            message: format!(
                "its process ended without a result ({status}), as where the system has no memory left"
            ),
            hint: "choose others with `--steps`".into(),
        },
    }))
}

fn with<T>(child: &Mutex<Child>, act: impl FnOnce(&mut Child) -> T) -> T {
    act(&mut child.lock().unwrap_or_else(PoisonError::into_inner))
}
