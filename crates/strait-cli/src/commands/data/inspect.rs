//! `strait data inspect F`.

use std::{fmt, path::Path};

use clap::Args;
use serde::Serialize;
use strait::data::{
    Archive, Summary,
    inspect::{Lengths, Quantiles},
};

use super::{Context, PasswordArguments, archive_and_member};
use crate::{
    failure::Failure,
    text::{Columns, Heading::*, line},
    units,
};

/// Describe a file of chat rows in figures; none of its text is shown
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Rows of chats, a protected archive (.enc), or a member of one as in archive.enc:member.jsonl
    #[arg(value_name = "F")]
    file: String,
    #[command(flatten)]
    password: PasswordArguments,
}

const EXAMPLES: &str = "\
Examples:
  strait data inspect data/technical/vehicles-train.technical.jsonl
  strait data inspect training_datasets.zip.enc                       list its members
  strait data inspect training_datasets.zip.enc:rows.jsonl --password-env PASSWORD";

/// A protected archive without a member named.
#[derive(Serialize)]
struct Members<'a> {
    members: &'a [String],
}

impl fmt::Display for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.members.iter().try_for_each(|member| writeln!(f, "{}", line(member)))
    }
}

#[derive(Serialize)]
struct Inspected<'a> {
    file: &'a str,
    #[serde(flatten)]
    summary: Summary,
}

impl fmt::Display for Inspected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = &self.summary;
        let mut facts = Columns::facts();
        facts.fact("file", self.file);
        facts.fact("rows", units::count(summary.rows as u64));
        facts.fact("format", counts(summary.formats.iter().map(|(format, &n)| (format.as_str(), n))));
        facts.fact("responses", units::count(summary.responses as u64));
        facts.fact("messages", counts(summary.roles.iter().map(|(&role, &n)| (role, n))));
        if !summary.domains.is_empty() {
            facts.fact("domains", counts(summary.domains.iter().map(|(domain, &n)| (domain.as_str(), n))));
        }
        facts.fact("repeated prompts", units::count(summary.repeated_prompts as u64));
        facts.fact("sha256", &summary.sha256);
        let headings = [Left(""), Right("min"), Right("25 %"), Right("median"), Right("75 %"), Right("95 %")];
        let mut lengths = Columns::new([headings.as_slice(), &[Right("max")]].concat());
        quantiles(&mut lengths, "messages a row", &summary.messages);
        for (text, Lengths { characters, words }) in
            [("prompt", &summary.prompt), ("answer", &summary.answer)]
        {
            quantiles(&mut lengths, &format!("words of the {text}"), words);
            quantiles(&mut lengths, &format!("characters of the {text}"), characters);
        }
        write!(f, "{facts}\n{lengths}")?;
        summary.notices.lines().iter().try_for_each(|notice| write!(f, "\n{}", line(notice)))
    }
}

fn counts<'a>(counted: impl Iterator<Item = (&'a str, usize)>) -> String {
    counted.map(|(name, n)| format!("{name} {}", units::count(n as u64))).collect::<Vec<_>>().join(", ")
}

fn quantiles(table: &mut Columns, name: &str, q: &Quantiles) {
    let cell = |n: usize| units::count(n as u64);
    table.row([
        name.into(),
        cell(q.min),
        cell(q.lower),
        cell(q.median),
        cell(q.upper),
        cell(q.p95),
        cell(q.max),
    ]);
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let file = arguments.file.as_str();
    if archive_and_member(file).is_none() && file.ends_with(".enc") {
        let archive = Archive::open(Path::new(file), &arguments.password.password(Path::new(file))?)?;
        return context.show(&Members { members: archive.members() });
    }
    let summary = strait::data::inspect(&arguments.password.rows(file)?)?;
    context.show(&Inspected { file, summary })
}
