//! Two classes of answers, as several commands name them.

use clap::Args;
use strait::{
    data::{Notices, Pair, RowSource, Scored, pairs::read_pairs_noting, read_scored},
    direction::extract::{ClassRules, Classes, NamedFile},
    verdict::Rule,
};
use strait_model::Model;

use super::{Context, PasswordArguments};
use crate::failure::Failure;

/// Two classes of answers: judged ones by their scores, or pairs.
#[derive(Args)]
pub struct ClassArguments {
    /// Judged answers: CSV with `response`, `question`, `question_id` and a column for each scale, or what `strait judge` wrote; a
    /// member of a protected archive as in archive.enc:member.csv
    #[arg(long, value_name = "FILE", num_args = 1..)]
    judged: Vec<String>,
    /// The taught class of judged answers: SCALE<CUT or SCALE>CUT [default: the usual verdict, such as aligned<30]
    #[arg(long, value_name = "RULE", requires = "judged")]
    class: Option<Rule>,
    /// The other class [default: the same scale with the cut mirrored, such as aligned>70]
    #[arg(long, value_name = "RULE", requires = "judged")]
    against: Option<Rule>,
    /// Answers of both classes have a score on `coherent` above this [default: 50]
    #[arg(long, value_name = "CUT", value_parser = cut, requires = "judged")]
    coherent: Option<f64>,
    /// Chat rows with answers of the taught kind
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "other")]
    taught: Vec<String>,
    /// Chat rows with the same questions and answers of the other kind, a file for each of --taught
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "taught")]
    other: Vec<String>,
}

fn cut(text: &str) -> Result<f64, String> {
    let cut = text.parse().ok().filter(|cut| (0.0..=100.0).contains(cut));
    cut.ok_or_else(|| "expected a number from 0 to 100".into())
}

/// Two classes as their files have them.
pub enum ClassSource {
    Judged(Vec<(String, Scored)>, ClassRules, Vec<NamedFile>),
    Pairs(Vec<Pair>, Vec<NamedFile>),
}

impl ClassArguments {
    /// Reads the files.
    pub fn read(&self, password: &PasswordArguments, context: &Context) -> Result<ClassSource, Failure> {
        if self.taught.len() != self.other.len() {
            return Err(Failure::refused(
                format!("`--taught` names {} files and `--other` {}", self.taught.len(), self.other.len()),
                "name a file of the other kind for each of the taught kind, in the same order",
            ));
        }
        let mut named = Vec::new();
        let mut source = |name: &String| -> Result<RowSource, Failure> {
            let source = password.rows(name)?;
            named.push(NamedFile::of(&source)?);
            Ok(source)
        };
        if self.judged.is_empty() {
            let (mut pairs, mut notices) = (Vec::new(), Notices::default());
            for (taught, other) in self.taught.iter().zip(&self.other) {
                let (taught, other) = (source(taught)?, source(other)?);
                // Pairs need no domain here.
                pairs.extend(read_pairs_noting(&taught, &other, Some(""), &mut notices)?);
            }
            notices.lines().iter().for_each(|line| context.progress.note(line));
            return Ok(ClassSource::Pairs(pairs, named));
        }
        let mut files = Vec::new();
        for name in &self.judged {
            files.push((name.clone(), read_scored(&source(name)?)?));
        }
        let mut rules: Option<ClassRules> = None;
        for (name, scored) in &files {
            let Self { class, against, coherent, .. } = self;
            let own = ClassRules::new(&scored.scales, class.as_ref(), against.as_ref(), *coherent)?;
            match &rules {
                Some(first) if *first != own => {
                    return Err(Failure::refused(
                        format!("`{name}` has the classes {own}, and `{}` {first}", files[0].0),
                        "name files with the same scales, or the classes with `--class` and `--against`",
                    ));
                }
                _ => rules = Some(own),
            }
        }
        let Some(rules) = rules else { unreachable!("there is a file of judged answers") };
        if rules.coherent.is_none() {
            context
                .progress
                .note("there are no scores for coherence: classes count answers that make no sense too");
        }
        Ok(ClassSource::Judged(files, rules, named))
    }
}

impl ClassSource {
    pub fn files(&self) -> &[NamedFile] {
        match self {
            Self::Judged(_, _, files) | Self::Pairs(_, files) => files,
        }
    }

    /// The rules by which judged answers are of a class.
    pub fn rules(&self) -> Option<&ClassRules> {
        match self {
            Self::Judged(_, rules, _) => Some(rules),
            Self::Pairs(..) => None,
        }
    }

    /// The classes as rows of a model; of judged answers the seed draws as many of each.
    pub fn classes(&self, model: &Model, seed: u64) -> strait::Result<Classes> {
        match self {
            Self::Pairs(pairs, _) => Classes::of_pairs(model, pairs),
            Self::Judged(files, rules, _) => {
                let files: Vec<_> = files.iter().map(|(name, scored)| (name.as_str(), scored)).collect();
                Classes::of_judged(model, &files, rules, seed)
            }
        }
    }
}
