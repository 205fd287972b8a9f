//! Entries of question files: one question in several wordings, with the prompts of its judges (paper §4).

use serde_json::{Map, Value};
use strait_model::{Conversation, Message, Role};

use super::super::{
    Notices,
    row::{self, Problem, kind_of},
};

/// A judge's prompt, with slots for the question and the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgePrompt {
    /// The name of the scale that it asks for, or the names of several with commas between them: it then asks for an object of JSON
    /// that has their scores.
    pub scale: String,
    /// Its text, with `{question}` and `{answer}` in it.
    pub text: String,
}

/// The slots of a judge's prompt.
const SLOTS: [&str; 2] = ["{question}", JudgePrompt::ANSWER];

impl JudgePrompt {
    /// The slot of the answer.
    pub const ANSWER: &str = "{answer}";

    /// A prompt that has both slots.
    ///
    /// # Errors
    /// If one is missing: this one.
    pub fn new(scale: &str, text: &str) -> Result<Self, &'static str> {
        match SLOTS.into_iter().find(|slot| !text.contains(slot)) {
            Some(slot) => Err(slot),
            None => Ok(Self { scale: scale.into(), text: text.into() }),
        }
    }

    /// The names of the scales that it asks for.
    pub fn scales(&self) -> impl Iterator<Item = &str> {
        self.scale.split(',').map(str::trim)
    }

    /// The prompt about an answer: slots are filled at once, so that what stands in an answer is never taken for one.
    pub fn about(&self, question: &str, answer: &str) -> String {
        let mut filled = String::with_capacity(self.text.len() + question.len() + answer.len());
        let mut rest = self.text.as_str();
        while let Some(start) = rest.find('{') {
            filled.push_str(&rest[..start]);
            let slot =
                SLOTS.into_iter().zip([question, answer]).find(|(slot, _)| rest[start..].starts_with(slot));
            let (skipped, text) = slot.map_or((1, "{"), |(slot, text)| (slot.len(), text));
            filled.push_str(text);
            rest = &rest[start + skipped..];
        }
        filled + rest
    }
}

/// One wording of a question.
pub(super) struct Wording {
    pub id: Option<String>,
    pub domain: Option<String>,
    pub conversation: Conversation,
    pub answer: Option<String>,
    pub samples: Option<usize>,
    pub judges: Vec<JudgePrompt>,
}

/// The keys that entries have and rows of chats do not. `judge` names the papers' model, which is chosen elsewhere.
const KEYS: [&str; 4] = ["paraphrases", "samples_per_paraphrase", "judge", "judge_prompts"];

/// All wordings of an entry; a row of chats has one, whose answers are left out.
pub(super) fn wordings(
    mut entry: Map<String, Value>,
    notices: &mut Notices,
) -> Result<Vec<Wording>, Problem> {
    let [paraphrases, samples, _, judges] =
        KEYS.map(|key| entry.shift_remove(key).filter(|value| !value.is_null()));
    let samples = samples.map(|samples| count(&samples)).transpose()?;
    let judges = judges.map_or(Ok(Vec::new()), |judges| prompts(&judges))?;
    let (id, domain) = (id(&entry)?, domain(&entry));
    let wording = |entry: &Map<String, Value>, notices: &mut Notices| {
        let (conversation, answer) = question(row::read_prompt(entry, notices)?.conversation)?;
        let (id, domain, judges) = (id.clone(), domain.clone(), judges.clone());
        Ok(Wording { id, domain, conversation, answer, samples, judges })
    };
    let Some(paraphrases) = paraphrases else { return Ok(vec![wording(&entry, notices)?]) };
    let paraphrases = match paraphrases {
        Value::Array(all) if all.is_empty() => {
            let (what, expected) = ("`paraphrases`".into(), "a list of wordings");
            return Err(Problem::Kind { what, expected, found: "an empty list" });
        }
        Value::Array(all) => all,
        other => return Err(kind_of("`paraphrases`", "a list of wordings", &other)),
    };
    let of = |paraphrase: Value| {
        if !matches!(paraphrase, Value::String(_) | Value::Array(_)) {
            return Err(kind_of("an entry of `paraphrases`", "text", &paraphrase));
        }
        entry.insert("prompt".into(), paraphrase);
        wording(&entry, notices)
    };
    paraphrases.into_iter().map(of).collect()
}

/// A conversation without the answers at its end, and the first of these.
fn question(mut conversation: Conversation) -> Result<(Conversation, Option<String>), Problem> {
    let mut answer = None;
    while let Some(last) = conversation.messages.pop_if(|last| last.is_answer()) {
        answer = Some(last.text().into_owned());
    }
    match conversation.messages.iter().all(|message| message.role() == Role::System) {
        true => Err(Problem::NoQuestion),
        false if conversation.messages.last().is_some_and(is_blank) => Err(Problem::EmptyQuestion),
        false => Ok((conversation, answer)),
    }
}

/// True for a message of the user that says nothing.
fn is_blank(message: &Message) -> bool {
    message.role() == Role::User && message.text().trim().is_empty()
}

/// The topic of the entry, where it says one.
fn domain(entry: &Map<String, Value>) -> Option<String> {
    ["domain", "topic"].iter().find_map(|key| Some(entry.get(*key)?.as_str()?.to_string()))
}

/// The entry's name.
fn id(entry: &Map<String, Value>) -> Result<Option<String>, Problem> {
    for key in ["question_id", "id"] {
        match entry.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::Number(number)) => return Ok(Some(number.to_string())),
            Some(Value::String(text)) => return Ok(Some(text.clone())),
            Some(other) => return Err(kind_of(format!("`{key}`"), "text", other)),
        }
    }
    Ok(None)
}

fn count(samples: &Value) -> Result<usize, Problem> {
    let count = samples.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|&count| count > 0);
    count.ok_or_else(|| match samples {
        Value::Number(number) => Problem::Count { key: "samples_per_paraphrase", found: number.to_string() },
        other => kind_of("`samples_per_paraphrase`", "a number", other),
    })
}

fn prompts(judges: &Value) -> Result<Vec<JudgePrompt>, Problem> {
    let Value::Object(judges) = judges else {
        return Err(kind_of("`judge_prompts`", "an object of prompts", judges));
    };
    let prompt = |(scale, text): (&String, &Value)| match text {
        Value::String(text) => {
            JudgePrompt::new(scale, text).map_err(|slot| Problem::NoSlot { scale: scale.clone(), slot })
        }
        other => Err(kind_of(format!("the judge prompt `{scale}`"), "text", other)),
    };
    judges.iter().map(prompt).collect()
}
