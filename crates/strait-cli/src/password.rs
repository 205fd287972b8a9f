//! Passwords of archives: from a variable, or typed unseen.

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::Path,
};

use crate::{failure::Failure, text::line};

/// The password of an archive: what the variable holds, or without one what is typed on the terminal.
pub fn of(archive: &Path, variable: Option<&str>) -> Result<String, Failure> {
    match variable {
        Some(variable) => from_variable(variable),
        None => asked(&format!("password of `{}`: ", archive.display()), archive),
    }
}

/// The password for an archive that is to be made. It is typed twice: a slip would lock the rows away.
pub fn chosen(archive: &Path, variable: Option<&str>) -> Result<String, Failure> {
    if let Some(variable) = variable {
        return from_variable(variable);
    }
    let password = asked(&format!("password for `{}`: ", archive.display()), archive)?;
    if password.is_empty() {
        return Err(Failure::refused("the password is empty", "type at least one character"));
    }
    if asked("the same again: ", archive)? != password {
        return Err(Failure::refused("the two passwords differ", "run the same command again"));
    }
    Ok(password)
}

fn asked(question: &str, archive: &Path) -> Result<String, Failure> {
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        return Ok(typed(question)?);
    }
    Err(Failure::refused(
        format!("`{}` needs a password, and there is no terminal to ask on", archive.display()),
        "put the password into an environment variable and name that with `--password-env VAR`",
    ))
}

fn from_variable(variable: &str) -> Result<String, Failure> {
    let problem = match env::var(variable) {
        Ok(password) if !password.is_empty() => return Ok(password),
        Ok(_) => "is empty",
        Err(env::VarError::NotPresent) => "is not set",
        Err(env::VarError::NotUnicode(_)) => "is not UTF-8",
    };
    Err(Failure::refused(
        format!("the environment variable `{variable}` {problem}"),
        format!("put the archive's password into it, as in `export {variable}=...`"),
    ))
}

fn typed(question: &str) -> io::Result<String> {
    write!(io::stderr(), "{}", line(question))?;
    let _echo = echo_after_a_signal()?;
    let password = console::Term::stderr().read_secure_line()?;
    writeln!(io::stderr())?;
    Ok(password)
}

/// Without this, Ctrl-C while typing would leave the user's shell without echo.
#[cfg(unix)]
fn echo_after_a_signal() -> io::Result<crate::interrupt::Guard> {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

    let settings = tcgetattr(io::stdin())?;
    Ok(crate::interrupt::clean_up_first(move || {
        // The process ends either way.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &settings);
        let _ = writeln!(io::stderr());
    }))
}

#[cfg(not(unix))]
fn echo_after_a_signal() -> io::Result<()> {
    Ok(())
}
