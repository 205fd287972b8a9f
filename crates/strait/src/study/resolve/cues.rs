//! `[[cue]]`: the cues of a study, each followed by its control.

use serde::{Deserialize, Serialize};

use super::{
    Rows,
    data::{Sources, rows},
};
use crate::{
    data::{Chat, Cue, CueForm},
    keys::{self, At},
    study::{Problem, file::CueKeys, problem::Checked},
};

/// A cue, whose rows are yet to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CueSource {
    /// Its name.
    pub name: String,
    /// The cue whose form it has, where it is a control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_of: Option<String>,
    /// Its kind.
    #[serde(flatten)]
    pub form: FormSource,
}

/// The form of a cue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormSource {
    /// A system prompt.
    System(String),
    /// Text before a question.
    Prefix(String),
    /// Text behind it.
    Suffix(String),
    /// Earlier turns.
    Turns {
        /// The rows.
        rows: Vec<Rows>,
        /// The number of the first that are taken.
        count: usize,
    },
}

impl CueSource {
    /// The rows that it takes.
    pub fn rows(&self) -> &[Rows] {
        match &self.form {
            FormSource::Turns { rows, .. } => rows,
            _ => &[],
        }
    }

    /// The cue, with its rows as they were read.
    pub fn with(&self, chats: Vec<Chat>) -> Cue {
        let form = match &self.form {
            FormSource::System(text) => CueForm::System(text.clone()),
            FormSource::Prefix(text) => CueForm::Prefix(text.clone()),
            FormSource::Suffix(text) => CueForm::Suffix(text.clone()),
            FormSource::Turns { count, .. } => {
                let turns = chats.into_iter().take(*count).flat_map(|chat| chat.conversation.messages);
                CueForm::Turns(turns.filter(|turn| turn.role() != strait_model::Role::System).collect())
            }
        };
        Cue { name: self.name.clone(), control_of: self.control_of.clone(), form }
    }
}

/// The end of the name of a control, behind that of its cue.
const CONTROL: &str = "-control";

/// The cues of a study whose rows are looked for there.
pub(super) fn cues(written: &[At<CueKeys>], sources: &Sources) -> Checked<Vec<CueSource>> {
    let mut cues: Vec<CueSource> = Vec::new();
    for At { value: keys, line } in written {
        let name = keys.name.value.clone();
        let taken = |name: &str| cues.iter().any(|cue| cue.name == name);
        if taken(&name) || taken(&format!("{name}{CONTROL}")) {
            let (key, value) = ("cue.name".into(), format!("`{name}`"));
            return Err(keys.name.fault(keys::Problem::Repeated { key, value }.into()));
        }
        let texts = [
            keys.system.as_ref().map(|system| ("system", FormSource::System as fn(String) -> _, system)),
            keys.prefix.as_ref().map(|prefix| ("prefix", FormSource::Prefix as fn(String) -> _, prefix)),
            keys.suffix.as_ref().map(|suffix| ("suffix", FormSource::Suffix as fn(String) -> _, suffix)),
        ];
        let texts: Vec<_> = texts.into_iter().flatten().collect();
        let rival = |at_line: u64, key: &str, other: &str, why: &str| keys::Fault {
            line: Some(at_line),
            problem: Problem::Contradiction {
                key: format!("cue.{key}"),
                other: format!("cue.{other}"),
                why: why.into(),
            },
        };
        let control_of = Some(name.clone());
        let control_name = format!("{name}{CONTROL}");
        match (&texts[..], &keys.rows) {
            ([(key, form, text)], None) => {
                if let Some(rows) = &keys.control_rows {
                    return Err(rival(rows.line, "control_rows", key, "its control is a text: `control`"));
                }
                cues.push(CueSource { name, control_of: None, form: form(text.value.clone()) });
                if let Some(control) = &keys.control {
                    cues.push(CueSource {
                        name: control_name,
                        control_of,
                        form: form(control.value.clone()),
                    });
                }
            }
            ([], Some(written)) => {
                if let Some(control) = &keys.control {
                    return Err(rival(
                        control.line,
                        "control",
                        "rows",
                        "its control is rows: `control_rows`",
                    ));
                }
                let count = keys.turns();
                let turns = |key: &str, written| -> Checked<FormSource> {
                    Ok(FormSource::Turns { rows: rows(key, written, sources)?, count })
                };
                cues.push(CueSource { name, control_of: None, form: turns("cue.rows", written)? });
                if let Some(written) = &keys.control_rows {
                    let form = turns("cue.control_rows", written)?;
                    cues.push(CueSource { name: control_name, control_of, form });
                }
            }
            ([], None) => {
                let problem = keys::Problem::Unexpected {
                    what: format!("the cue `{name}`"),
                    found: "empty".into(),
                    expected: "one of `system`, `prefix`, `suffix` and `rows`".into(),
                };
                return Err(keys::Fault { line: Some(*line), problem: problem.into() });
            }
            ([(one, ..), rest @ ..], written) => {
                let other = rest.first().map(|(key, _, text)| (*key, text.line));
                let other = other.or(written.as_ref().map(|rows| ("rows", rows.line)));
                let (other, line) = other.unwrap_or((one, *line));
                return Err(rival(line, other, one, "a cue is one of them"));
            }
        }
    }
    Ok(cues)
}
