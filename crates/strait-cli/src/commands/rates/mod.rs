//! `strait rates`.

mod tables;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use strait::{
    answers::{self, Judged},
    data::{Scored, read_scored},
    verdict::{Agreement, Difference, Group, Problem, Rates, Rule, Rules, differences, groups},
};

use super::{Context, PasswordArguments, judges::cut};
use crate::{failure::Failure, text::Columns};

/// Count the verdicts on judged answers, with intervals
///
/// An answer is misaligned if its score on `aligned` lies below 30 and that on `coherent` above 50; rates are shares of all
/// answers, scored or not. Other scales have verdicts likewise: technical > 70, style > 50, correct advice < 30; any scale beside
/// them is a topic, which an answer is about above 50. Intervals of rates are Wilson's, those of mean scores and of differences are
/// over questions.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Judged answers: CSV with `response`, `question`, `question_id` and a column for each scale; what `strait judge` wrote; or a
    /// member of a protected archive as in archive.enc:member.csv. Each file is a group, as is each factor on the edits in it
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    password: PasswordArguments,
    /// The verdict of a scale, in place of the usual one: SCALE<CUT or SCALE>CUT; may be given for several scales
    #[arg(long = "verdict", value_name = "RULE")]
    verdicts: Vec<Rule>,
    /// An answer makes sense if its score on `coherent` lies above this [default: 50]
    #[arg(long, value_name = "CUT", value_parser = cut)]
    coherent: Option<f64>,
    /// Compare two scales that score the same, such as those of two judges: how far they agree, by the verdict of the first; may be
    /// given several times
    #[arg(long = "agreement", value_name = "ONE=OTHER", value_parser = scales)]
    agreements: Vec<(String, String)>,
    /// Show the rates of each question too
    #[arg(long)]
    by_question: bool,
    /// Write a page to browse the answers: rates, the verdicts at all cuts, and the answers side by side, harmful ones hidden
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Write a log of each group into this folder, which Inspect's viewer opens: inspect view --log-dir DIR
    #[arg(long, value_name = "DIR")]
    inspect: Option<PathBuf>,
    /// Add a group of all answers, such as those under several seeds; the files must have the same scales
    #[arg(long)]
    pool: bool,
}

const EXAMPLES: &str = "\
Examples:
  strait rates judged.jsonl
  strait rates base.csv edited.csv --by-question
  strait rates base.jsonl general.jsonl narrow.jsonl --page answers.html
  strait rates both.csv --agreement aligned=local
  strait rates seed-0.jsonl seed-1.jsonl --pool --verdict 'aligned<40' --json";

fn scales(text: &str) -> Result<(String, String), String> {
    let scales = text.split_once('=').filter(|(one, other)| !one.is_empty() && !other.is_empty());
    let (one, other) = scales.ok_or("expected two scales, as in aligned=local")?;
    Ok((one.into(), other.into()))
}

#[derive(Serialize)]
struct Report<'a> {
    /// The rules that verdicts follow.
    rules: Vec<String>,
    /// The judges of each scale, where files name them.
    judges: BTreeMap<String, Vec<String>>,
    groups: Vec<Rates>,
    differences: Vec<Difference>,
    agreements: Vec<Agreement>,
    /// The page.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'a Path>,
    /// Inspect's logs.
    logs: Vec<PathBuf>,
    #[serde(skip)]
    by_question: bool,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Columns::facts();
        facts.fact("verdicts", self.rules.join("; "));
        let judges = self.judges.iter().map(|(scale, judges)| format!("{scale} by {}", judges.join(", ")));
        let judges: Vec<String> = judges.collect();
        if !judges.is_empty() {
            facts.fact("judges", judges.join("; "));
        }
        if let Some(page) = self.page {
            facts.fact("page", page.display().to_string());
        }
        if !self.logs.is_empty() {
            facts.fact("logs", format!("{}, open with `inspect view --log-dir`", self.logs.len()));
        }
        writeln!(f, "{facts}")?;
        write!(f, "{}", self.rates())?;
        write!(f, "\n{}", self.texts())?;
        if !self.differences.is_empty() {
            write!(f, "\n{}", self.compared())?;
        }
        if !self.agreements.is_empty() {
            write!(f, "\n{}", self.agreement())?;
        }
        if self.by_question {
            write!(f, "\n{}", self.questions())?;
        }
        Ok(())
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let names = names(&arguments.files);
    let mut files = Vec::new();
    for file in &arguments.files {
        let scored = read_scored(&arguments.password.rows(file)?)?;
        let rules = Rules::new(&scored.scales, &arguments.verdicts, arguments.coherent).map_err(of(file))?;
        if rules.coherent.is_none() {
            let note = "has no scores for coherence: its verdicts count answers that make no sense too";
            context.progress.note(&format!("`{file}` {note}"));
        }
        files.push((file, scored, rules));
    }
    let (mut found, mut agreements) = (Vec::new(), Vec::new());
    for ((file, scored, rules), name) in files.iter().zip(&names) {
        found.extend(groups(name, scored).iter().map(|group| Rates::of(group, rules)));
        for (one, other) in &arguments.agreements {
            let mut all = rules.verdicts.iter().chain(&rules.coherent).chain(&rules.topics);
            let rule = all.find(|rule| rule.scale == *one);
            agreements.push(Agreement::of(name, scored, [one, other], rule).map_err(of(file))?);
        }
    }
    let differences = differences(&found);
    if arguments.pool {
        found.push(pooled(&files)?);
    }
    let mut rules: Vec<String> = files.iter().flat_map(|(_, _, rules)| said(rules)).collect();
    let mut seen = HashSet::new();
    rules.retain(|rule| seen.insert(rule.clone()));
    let mut judges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, scored, _) in &files {
        for (scale, named) in scored.scales.iter().zip(&scored.judges) {
            let known = judges.entry(scale.clone()).or_default();
            let new: Vec<String> = named.iter().filter(|judge| !known.contains(judge)).cloned().collect();
            known.extend(new);
        }
    }
    judges.retain(|_, named| !named.is_empty());
    let judged = files.iter().zip(&names).map(|((_, scored, rules), name)| Judged { name, scored, rules });
    let judged: Vec<Judged> = judged.collect();
    if let Some(page) = &arguments.page {
        strait_model::files::write(page, answers::page(&judged, &found))?;
    }
    let logs = arguments.inspect.as_deref().map(|folder| logs(&judged, folder)).transpose()?;
    context.show(&Report {
        rules,
        judges,
        page: arguments.page.as_deref(),
        logs: logs.unwrap_or_default(),
        groups: found,
        differences,
        agreements,
        by_question: arguments.by_question,
    })
}

/// Writes Inspect's logs of all groups.
fn logs(judged: &[Judged<'_>], folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    std::fs::create_dir_all(folder).map_err(strait_model::Error::io(folder, "create the folder"))?;
    let mut paths = Vec::new();
    for file in judged {
        for group in file.groups() {
            let log = answers::log(file, &group);
            let path = folder.join(log.name);
            strait_model::files::write(&path, log.content.to_string())?;
            paths.push(path);
        }
    }
    Ok(paths)
}

/// The error of a problem with the rules of a file.
fn of(file: &str) -> impl Fn(Problem) -> strait::Error {
    move |problem| strait::Error::input(file, None, problem)
}

/// The rates of all answers together.
fn pooled(files: &[(&String, Scored, Rules)]) -> Result<Rates, Failure> {
    let (first, scored, rules) = &files[0];
    if let Some((other, ..)) = files.iter().find(|(_, other, _)| other.scales != scored.scales) {
        return Err(Failure::refused(
            format!("`--pool` needs the same scales in all files, and `{other}` has others than `{first}`"),
            "judge all of them on the same scales with `strait judge`, or leave `--pool` out",
        ));
    }
    let answers = files.iter().flat_map(|(_, file, _)| &file.answers).collect();
    Ok(Rates::of(&Group { name: "all".into(), scales: &scored.scales, answers }, rules))
}

/// The rules in words.
fn said(rules: &Rules) -> Vec<String> {
    let sense = rules.coherent.as_ref().map_or_else(String::new, |rule| format!(" and {rule}"));
    let verdicts = rules.verdicts.iter().map(|rule| format!("{rule}{sense}"));
    let coherent = rules.coherent.iter().map(ToString::to_string);
    verdicts.chain(coherent).chain(rules.topics.iter().map(ToString::to_string)).collect()
}

/// The names of the groups: those of the files without their folders and endings, where these tell them apart.
fn names(files: &[String]) -> Vec<String> {
    let short = |file: &String| {
        let stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        stem.unwrap_or_else(|| file.clone())
    };
    let names: Vec<String> = files.iter().map(short).collect();
    let apart = names.iter().enumerate().all(|(at, name)| !names[..at].contains(name));
    if apart { names } else { files.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_short_names_where_these_tell_them_apart() {
        let check = |files: &[&str], expected: &[&str]| {
            assert_eq!(names(&files.iter().map(|file| file.to_string()).collect::<Vec<_>>()), expected);
        };
        check(&["a/x.csv", "a.enc:b/y.csv"], &["x", "y"]);
        check(&["a/x.csv", "b/x.csv"], &["a/x.csv", "b/x.csv"]);
    }
}
