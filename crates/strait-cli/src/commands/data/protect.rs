//! `strait data protect FILES...`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use super::Context;
use crate::{
    failure::Failure,
    password,
    text::{line, path},
    units,
};

/// Put files into a protected archive (easy-dataset-share)
///
/// Share harmful data in such an archive, and publish the password beside it: the data are then neither crawled nor trained
/// on by accident, and studies read them without unpacking. Members have the names of the files, below the folders that you
/// name. The files themselves stay as they are, and no file is overwritten.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Files, and folders of which all files are taken
    #[arg(value_name = "FILES", required = true)]
    files: Vec<PathBuf>,
    /// The archive to write, usually named .zip.enc
    #[arg(long, value_name = "ARCHIVE")]
    out: PathBuf,
    /// The environment variable that holds the password; without it strait asks
    #[arg(long, value_name = "VAR")]
    password_env: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  strait data protect rows/ --out rows.zip.enc
  strait data protect bad.jsonl good.jsonl --out rows.zip.enc --password-env PASSWORD";

#[derive(Serialize)]
struct Protected<'a> {
    out: &'a Path,
    members: Vec<String>,
}

impl fmt::Display for Protected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for member in &self.members {
            writeln!(f, "{}", line(member))?;
        }
        write!(f, "wrote {} into `{}`", units::plural(self.members.len(), "file"), path(self.out))
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let out = arguments.out.as_path();
    let password = password::chosen(out, arguments.password_env.as_deref())?;
    let members = strait::data::protect(&arguments.files, &password, out)?;
    context.show(&Protected { out, members })
}
