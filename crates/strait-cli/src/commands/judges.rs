//! Judges, as commands name them.

use strait::{
    data::JudgePrompt,
    judge::{Endpoint, Judge, LocalModel, Problem, Style, builtin, read_judge_prompts},
};

use super::PasswordArguments;
use crate::failure::Failure;

/// The judge that needs no prompt.
const STYLE: &str = "style";

/// A judge as the user names it.
pub struct Asked {
    /// The names of its columns, one for each of its scales.
    pub columns: Vec<String>,
    /// Its prompt; none for that which needs none.
    prompt: Option<JudgePrompt>,
}

impl Asked {
    /// The judge of a name, which may have names of columns behind it.
    pub fn of(name: &str, prompts: &[JudgePrompt]) -> Result<Self, Failure> {
        let (judge, columns) = named(name);
        let prompt = prompt(&judge, prompts).map_err(refused)?;
        let scales = scales(&judge).len();
        if columns.len() != scales {
            return Err(refused(Problem::Columns { judge, scales, columns: columns.len() }));
        }
        Ok(Self { columns: columns.into_iter().map(Into::into).collect(), prompt })
    }

    /// True if a model must answer its prompt.
    pub fn needs_model(&self) -> bool {
        self.prompt.is_some()
    }

    /// Its name, where a model must answer its prompt.
    pub fn scale(&self) -> Option<&str> {
        self.prompt.as_ref().map(|prompt| prompt.scale.as_str())
    }
}

/// The prompts of a file, where one is named.
pub fn prompts(file: Option<&str>, password: &PasswordArguments) -> Result<Vec<JudgePrompt>, Failure> {
    match file {
        Some(file) => Ok(read_judge_prompts(&password.rows(file)?)?),
        None => Ok(Vec::new()),
    }
}

/// Refuses a prompt without a model, and one of several scales without an endpoint.
pub fn check(asked: &[Asked], model: Option<&str>, has_endpoint: bool) -> Result<(), Failure> {
    if let (Some(judge), None) = (asked.iter().find_map(Asked::scale), model) {
        return Err(refused(Problem::NoModel { judge: judge.into() }));
    }
    let joint = asked.iter().find(|asked| asked.columns.len() > 1).and_then(Asked::scale);
    match joint.filter(|_| !has_endpoint) {
        Some(judge) => Err(refused(Problem::NoEndpoint { judge: judge.into() })),
        None => Ok(()),
    }
}

/// Who answers judges' prompts.
pub enum Source<'a> {
    /// A model behind an endpoint.
    Endpoint(Endpoint<'a>),
    /// A loaded model.
    Local(LocalModel<'a>),
    /// Nobody: no judge needs one.
    Nobody,
}

/// The judges, one for each scale.
pub fn open<'a>(asked: &[Asked], source: &'a Source<'a>) -> Vec<Box<dyn Judge + 'a>> {
    let of = |asked: &Asked| -> Vec<Box<dyn Judge + 'a>> {
        match (&asked.prompt, source) {
            (Some(prompt), Source::Endpoint(endpoint)) => {
                endpoint.judges(prompt).into_iter().map(|judge| Box::new(judge) as Box<dyn Judge>).collect()
            }
            (Some(prompt), Source::Local(local)) => vec![Box::new(local.judge(prompt.clone()))],
            _ => vec![Box::new(Style)],
        }
    };
    asked.iter().flat_map(of).collect()
}

/// A probability.
pub fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".into())
}

/// The cut of a scale.
pub fn cut(text: &str) -> Result<f64, String> {
    let cut = text.parse().ok().filter(|cut| (0.0..=100.0).contains(cut));
    cut.ok_or_else(|| "expected a number from 0 to 100".into())
}

/// A judge as the user names it, and the columns that its scores get.
fn named(name: &str) -> (String, Vec<&str>) {
    let (judge, columns) = name.split_once('=').unwrap_or((name, name));
    (scales(judge).join(","), scales(columns))
}

/// Names between commas.
fn scales(names: &str) -> Vec<&str> {
    names.split(',').map(str::trim).collect()
}

/// The prompt of a judge; none for that which needs none.
fn prompt(judge: &str, prompts: &[JudgePrompt]) -> Result<Option<JudgePrompt>, Problem> {
    if judge == STYLE {
        return Ok(None);
    }
    let own = prompts.iter().find(|prompt| scales(&prompt.scale).join(",") == judge).cloned();
    own.or_else(|| builtin(judge)).map(Some).ok_or_else(|| {
        let known = [STYLE, "technical", "coherent"].into_iter();
        let mut known: Vec<&str> = known.chain(prompts.iter().map(|prompt| prompt.scale.as_str())).collect();
        let mut seen = Vec::new();
        known.retain(|name| {
            !seen.contains(name) && {
                seen.push(*name);
                true
            }
        });
        let known = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Problem::NoJudge { judge: judge.into(), known }
    })
}

fn refused(problem: Problem) -> Failure {
    strait::Error::from(problem).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_are_found_by_their_scales() {
        assert_eq!(named("aligned=local"), ("aligned".into(), vec!["local"]));
        assert_eq!(named("aligned, coherent=a,b"), ("aligned,coherent".into(), vec!["a", "b"]));
        assert_eq!(named("style"), ("style".into(), vec!["style"]));
        let own = [JudgePrompt { scale: "technical".into(), text: "{question} {answer}".into() }];
        assert_eq!(prompt("style", &own), Ok(None));
        assert_eq!(prompt("technical", &own), Ok(Some(own[0].clone())));
        assert_eq!(prompt("coherent", &own), Ok(builtin("coherent")));
        let found = prompt("kind", &own).unwrap_err().to_string();
        assert_eq!(found, "there is no judge `kind` among `style`, `technical`, `coherent`");
    }
}
