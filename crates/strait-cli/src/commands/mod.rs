//! The commands, one module each, and what several of them need.

mod bench;
mod chat;
mod check;
mod classes;
mod completions;
mod data;
mod demo;
mod device;
mod direction;
mod edit;
mod endpoint;
mod init;
mod judge;
mod judges;
mod model;
mod monitor;
mod precision;
mod rates;
mod report;
mod run;
mod sample;
mod sampling;
mod score;
mod status;
mod world;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand};
use serde::Serialize;
use strait::{data::RowSource, world::locate};
use strait_model::{Edit, Model, Precision, edit::Opened, progress::Progress, template::Date};

use device::DeviceArgument;

use crate::{failure::Failure, output, password, progress, threads};

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    Demo(demo::Arguments),
    Init(init::Arguments),
    Run(run::Arguments),
    Status(status::Arguments),
    Report(report::Arguments),
    Score(score::Arguments),
    Sample(sample::Arguments),
    Judge(judge::Arguments),
    Rates(rates::Arguments),
    Check(check::Arguments),
    Bench(bench::Arguments),
    Chat(chat::Arguments),
    /// Watch for a behaviour: the reading of a direction on every token, against a calibrated threshold
    #[command(subcommand, after_help = monitor::EXAMPLES)]
    Monitor(monitor::Command),
    /// Fetch or describe a model
    #[command(subcommand, after_help = model::EXAMPLES)]
    Model(model::Command),
    /// Describe an edit, test it, or write it in another format
    #[command(subcommand, after_help = edit::EXAMPLES)]
    Edit(edit::Command),
    /// Make directions in the residual stream, compare them, and find what they do
    #[command(subcommand, after_help = direction::EXAMPLES)]
    Direction(direction::Command),
    /// Describe a file of chat rows, or pack and unpack protected archives
    #[command(subcommand, after_help = data::EXAMPLES)]
    Data(data::Command),
    /// Show the built-in worlds, or make one: a language in which every answer is known to be true or false
    #[command(subcommand, after_help = world::EXAMPLES)]
    World(world::Command),
    Completions(completions::Arguments),
}

impl Command {
    /// Runs the command.
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Demo(arguments) => demo::run(arguments, context),
            Self::Init(arguments) => init::run(arguments, context),
            Self::Run(arguments) => run::run(arguments, context),
            Self::Status(arguments) => status::run(arguments, context),
            Self::Report(arguments) => report::run(arguments, context),
            Self::Score(arguments) => score::run(arguments, context),
            Self::Sample(arguments) => sample::run(arguments, context),
            Self::Judge(arguments) => judge::run(arguments, context),
            Self::Rates(arguments) => rates::run(arguments, context),
            Self::Check(arguments) => check::run(arguments, context),
            Self::Bench(arguments) => bench::run(arguments, context),
            Self::Chat(arguments) => chat::run(arguments, context),
            Self::Monitor(command) => monitor::run(command, context),
            Self::Model(command) => model::run(command, context),
            Self::Edit(command) => edit::run(command, context),
            Self::Direction(command) => direction::run(command, context),
            Self::Data(command) => data::run(command, context),
            Self::World(command) => world::run(command, context),
            Self::Completions(arguments) => completions::run(arguments, context),
        }
    }
}

/// The means by which a command shows its result and its progress.
pub struct Context {
    progress: Arc<dyn Progress>,
}

impl Default for Context {
    /// Results on standard output, progress on standard error.
    fn default() -> Self {
        Self { progress: progress::on_standard_error() }
    }
}

impl Context {
    /// Starts the threads and returns their number.
    fn threads(&self) -> Result<usize, Failure> {
        threads::start()?;
        Ok(rayon::current_num_threads())
    }

    fn show(&self, result: &(impl Serialize + Display)) -> Result<(), Failure> {
        Ok(output::print(result)?)
    }

    /// Finds and reads a model, onto a device, and tells its chat template the day, to compute with it.
    fn load(
        &self,
        name: &str,
        device: &DeviceArgument,
        precision: Precision,
        day: &DateArgument,
    ) -> Result<Model, Failure> {
        let device = device.open()?;
        self.threads()?;
        let mut model =
            strait::lab::load(&locate(name, &*self.progress)?, &device, precision, &*self.progress)?;
        model.tokenizer.set_date(day.date);
        Ok(model)
    }

    /// Edits as one that fits the model; none where none is named.
    fn edits(&self, names: &[String], model: &Model) -> Result<Option<Edit>, Failure> {
        let mut edits = Vec::new();
        for name in names {
            let opened = strait_model::edit::read_for(name, model.decoder.config())?;
            model.decoder.check(&opened)?;
            self.warn_of(&opened);
            edits.push(opened.edit.to_device(model.decoder.device())?);
        }
        Ok((!edits.is_empty()).then(|| Edit::composed(edits)))
    }

    /// Prints the notes on an edit that was read on standard error.
    fn warn_of(&self, opened: &Opened) {
        for note in &opened.notes {
            self.progress.note(&format!("`{}`: {note}", opened.path.display()));
        }
    }
}

/// `--date`.
#[derive(Args)]
struct DateArgument {
    /// The date for chat templates that ask for today's: fixed, so that they give the same tokens every day
    #[arg(long, value_name = "YYYY-MM-DD", default_value_t)]
    date: Date,
}

/// `--edit`, as often as wanted.
#[derive(Args)]
struct EditArguments {
    /// An edit to apply, with an optional factor as in E*2.5; several add their effects
    #[arg(long = "edit", value_name = "E")]
    names: Vec<String>,
}

impl EditArguments {
    /// All of them as one edit that fits the model; none where none is named.
    fn read(&self, model: &Model, context: &Context) -> Result<Option<Edit>, Failure> {
        context.edits(&self.names, model)
    }
}

/// The password of a protected archive.
#[derive(Args)]
struct PasswordArguments {
    /// The environment variable that holds the archive's password; without it strait asks
    #[arg(long, value_name = "VAR")]
    password_env: Option<String>,
}

impl PasswordArguments {
    fn password(&self, archive: &Path) -> Result<String, Failure> {
        password::of(archive, self.password_env.as_deref())
    }

    /// The rows that a user names: a file, or `ARCHIVE:MEMBER`.
    fn rows(&self, name: &str) -> Result<RowSource, Failure> {
        Ok(match archive_and_member(name) {
            None => RowSource::File(name.into()),
            Some((archive, member)) => {
                let password = self.password(&archive)?;
                RowSource::Archive { archive, password, member: member.into() }
            }
        })
    }
}

/// `ARCHIVE:MEMBER` taken apart, where the name is no file and ARCHIVE is one.
fn archive_and_member(name: &str) -> Option<(PathBuf, &str)> {
    if Path::new(name).exists() {
        return None;
    }
    // A member's name may hold colons, so the archive ends at the first that leaves a file.
    name.match_indices(':').find_map(|(at, _)| {
        let archive = Path::new(&name[..at]);
        archive.is_file().then(|| (archive.into(), &name[at + 1..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_archives_are_named_after_a_colon() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("rows:1.enc");
        std::fs::write(&archive, "").unwrap();
        let name = |end: &str| format!("{}{end}", archive.display());
        assert_eq!(archive_and_member(&name("")), None);
        assert_eq!(archive_and_member(&name(":a/b:c.jsonl")), Some((archive.clone(), "a/b:c.jsonl")));
        assert_eq!(archive_and_member("nowhere.enc:rows.jsonl"), None);
    }
}
