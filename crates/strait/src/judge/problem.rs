//! Judges that cannot judge.

use crate::error::{self, Error, Place};

/// A problem of a judge, or of what it is to judge.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A model whose numbers cannot be told apart.
    #[error("the model's chat template and tokenizer do not tell the answers `{one}` and `{other}` apart")]
    SameReply {
        /// A number from 0 to 100.
        one: usize,
        /// Another.
        other: usize,
    },
    /// A file of judges' prompts that holds none.
    #[error("there is no judge's prompt")]
    NoPrompt,
    /// An entry that is no judge's prompt.
    #[error("{found} is no judge's prompt")]
    NotAPrompt {
        /// The kind of what was found, with its article.
        found: String,
    },
    /// A judge's prompt without a place for the question or the answer.
    #[error("the judge prompt `{scale}` has no slot `{slot}`")]
    NoSlot {
        /// The scale.
        scale: String,
        /// The slot.
        slot: String,
    },
    /// Two prompts of one scale.
    #[error("there are two prompts for the scale `{scale}`, and they differ")]
    TwoPrompts {
        /// The scale.
        scale: String,
    },
    /// A column that is there already, or that files of answers use for something else.
    #[error("the name `{column}` is taken")]
    ColumnTaken {
        /// The column.
        column: String,
    },
    /// A file in the place of the new one.
    #[error("there is a file of this name already, which judging did not write")]
    NotOurs,
    /// A judge that is not known.
    #[error("there is no judge `{judge}` among {known}")]
    NoJudge {
        /// The judge asked for.
        judge: String,
        /// The judges that are known, as a list.
        known: String,
    },
    /// A judge that needs a model.
    #[error("the judge `{judge}` is a prompt, and there is no model to answer it")]
    NoModel {
        /// The judge.
        judge: String,
    },
    /// The key of an endpoint that is not there.
    #[error("the environment variable `{variable}` holds no key")]
    NoKey {
        /// The variable.
        variable: String,
    },
    /// A judge of several scales that is no endpoint's.
    #[error("the judge `{judge}` replies in JSON, for which there is no endpoint")]
    NoEndpoint {
        /// The judge.
        judge: String,
    },
    /// More or fewer names of columns than a judge has scales.
    #[error("the judge `{judge}` has {scales} scales, and {columns} columns are named")]
    Columns {
        /// The judge.
        judge: String,
        /// Its scales.
        scales: usize,
        /// The columns named.
        columns: usize,
    },
    /// A file of scores that something else wrote.
    #[error("these are no scores that strait kept")]
    NotScores,
    /// A file of scores that another process writes.
    #[error("another strait is writing into it")]
    InUse,
}

impl From<Problem> for Error {
    /// The problem of something that is no file.
    fn from(problem: Problem) -> Self {
        Self::Input { place: Place::Nowhere, problem: Box::new(problem) }
    }
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::SameReply { .. } => "take another model as judge: this one has no token for every digit".into(),
            Self::NoPrompt | Self::NotAPrompt { .. } => {
                "a file of judges' prompts is a YAML list with entries `- SCALE: PROMPT`, or one of questions with `judge_prompts`"
                    .into()
            }
            Self::NoSlot { slot, .. } => {
                format!("write `{slot}` where the prompt is to have it: without it the judge cannot see what it judges")
            }
            Self::TwoPrompts { .. } => "keep one of them, or give the other scale a name of its own".into(),
            Self::ColumnTaken { .. } => "give the judge's scores another name: `--judge JUDGE=NAME`".into(),
            Self::NotOurs => "choose another name with `--out`, or move that file away".into(),
            Self::NoJudge { .. } => {
                "name one of these, or the file with its prompt: `--prompts judges.yaml`, `--prompts questions.yaml`".into()
            }
            Self::NoModel { .. } => "name the model that is to judge: `--model M`".into(),
            Self::NoKey { .. } => "set it, or name another one with `key_env`".into(),
            Self::NoEndpoint { .. } => {
                "name the endpoint: `--endpoint URL`; for a local model, give each scale a prompt of its own".into()
            }
            Self::Columns { .. } => "give a name for each scale: `--judge ONE,OTHER=NAME,NAME`".into(),
            Self::NotScores => "choose another name with `--scores`, or move that file away".into(),
            Self::InUse => "wait for it, or choose another name with `--scores`".into(),
        }
    }
}
