//! `strait run STUDY.toml`.

use std::{fmt, num::NonZeroUsize, path::PathBuf};

use candle_core::Device;
use clap::Args;
use serde::Serialize;
use strait::{
    study::{self, DryRun, Limits, Outcome, State, StepStatus},
    suite::{Suite, SuiteOutcome, verdict},
};

use super::{Context, device::DeviceArgument, status};
use crate::{
    failure::Failure,
    interrupt,
    memory::MemoryArgument,
    text::{self, Columns, Heading::*, path},
    threads,
};

/// Run a study or a suite of studies, or continue one
///
/// Finished steps are kept; after a change of the study or of a file only the steps that depend on it run again. The results
/// lie in one folder: tables, edits, metrics and a report. After Ctrl-C, a kill or a power cut run the same command to
/// continue.
///
/// A file with a table `[suite]` is a suite: a study with holes, and values for the holes. Each combination of values is one
/// study in a folder of its own.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The study file, or the suite file
    #[arg(value_name = "STUDY.toml")]
    study: PathBuf,
    /// The folder for the results [default: runs/ and the study's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run N independent steps of a study, or N studies of a suite, at the same time; they share the threads [default: one step
    /// for every four threads, as far as memory allows; one study]
    #[arg(long, value_name = "N", value_parser = threads::number)]
    jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    memory: MemoryArgument,
    #[command(flatten)]
    device: DeviceArgument,
    /// Check the study and show the steps to run, with their time and memory; run none of them
    #[arg(long)]
    dry_run: bool,
}

const EXAMPLES: &str = "\
Examples:
  strait run studies/technical.toml
  strait run studies/technical.toml --dry-run
  strait run my.toml --out /data/runs/my --threads 8
  strait run studies/technical-full.toml --jobs 2 --memory 4GiB
  strait run studies/worlds.toml --jobs 2";

#[derive(Serialize)]
struct Plan {
    steps: Vec<StepStatus>,
    lines: Vec<String>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", status::table(&self.steps))?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{}", text::line(line)))
    }
}

/// A suite before it is run.
#[derive(Serialize)]
struct SuitePlan {
    studies: Vec<StudyPlan>,
}

#[derive(Serialize)]
struct StudyPlan {
    study: String,
    #[serde(flatten)]
    plan: Plan,
}

impl fmt::Display for SuitePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Columns::new([Left("study"), Right("steps left"), Left("")]);
        for StudyPlan { study, plan } in &self.studies {
            let left = plan.steps.iter().filter(|step| step.state != State::Done).count();
            // The estimate is the last line.
            table.row([study.clone(), left.to_string(), plan.lines.last().cloned().unwrap_or_default()]);
        }
        write!(f, "{table}")
    }
}

/// A run that ended.
#[derive(Serialize)]
pub struct Ended(pub Outcome);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.0.verdict.trim_end())?;
        write!(f, "report: {}", path(&self.0.report))
    }
}

/// A suite that ended.
#[derive(Serialize)]
struct SuiteEnded(SuiteOutcome);

impl fmt::Display for SuiteEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SuiteOutcome { studies, claims, checks, report, .. } = &self.0;
        if !checks.is_empty() {
            let mut table = Columns::new([Left("the suite's claims"), Left("")]);
            for check in checks {
                table.row([verdict(check.holds).into(), check.claim.clone()]);
            }
            writeln!(f, "{table}")?;
        }
        let mut table =
            Columns::new([Right("yes"), Right("no"), Right("open"), Left("claim, over all studies")]);
        for claim in claims {
            let counts = [claim.yes, claim.no, claim.open].map(|count| count.to_string());
            let [yes, no, open] = counts;
            table.row([yes, no, open, claim.claim.clone()]);
        }
        writeln!(f, "{table}")?;
        let left = studies.iter().filter(|study| study.conclusion.is_none()).count();
        if left > 0 {
            writeln!(
                f,
                "other runs are at work on {left} of {} studies, which are not counted yet",
                studies.len()
            )?;
        }
        write!(f, "report: {}", path(report))
    }
}

impl Arguments {
    fn limits(&self) -> Limits {
        Limits { jobs: self.jobs, memory: self.memory.memory }
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let device = arguments.device.open()?;
    context.threads()?;
    match Suite::read(&arguments.study)? {
        Some(suite) => run_suite(&suite, arguments, &device, context),
        None => run_study(arguments, &device, context),
    }
}

fn run_study(arguments: &Arguments, device: &Device, context: &Context) -> Result<(), Failure> {
    let (out, limits) = (arguments.out.as_deref(), arguments.limits());
    if arguments.dry_run {
        let DryRun { steps, lines, .. } =
            study::dry_run(&arguments.study, out, device, limits, &*context.progress)?;
        return context.show(&Plan { steps, lines });
    }
    let _guard = stop_first(context);
    let outcome = study::run(&arguments.study, out, device, limits, &*context.progress)?;
    context.show(&Ended(outcome))
}

fn run_suite(
    suite: &Suite,
    arguments: &Arguments,
    device: &Device,
    context: &Context,
) -> Result<(), Failure> {
    let out = arguments.out.clone().unwrap_or_else(|| study::default_folder(&suite.name));
    if arguments.dry_run {
        let plan =
            |DryRun { study, steps, lines }| StudyPlan { study: study.name, plan: Plan { steps, lines } };
        let studies = suite
            .dry_run(&out, device, arguments.limits(), &*context.progress)?
            .into_iter()
            .map(plan)
            .collect();
        return context.show(&SuitePlan { studies });
    }
    let _guard = stop_first(context);
    let outcome = suite.run(&out, device, arguments.limits(), &*context.progress)?;
    context.show(&SuiteEnded(outcome))
}

fn stop_first(context: &Context) -> interrupt::Guard {
    let progress = context.progress.clone();
    interrupt::stop_first(move || {
        progress.note("stopping as soon as the state is saved; Ctrl-C again stops at once");
    })
}
