//! Rows of chats that are refused.

use serde_json::{Map, Value};
use strait_model::Role;

use super::Format;
use crate::data::words::listed;

/// A problem of a row of chats. None of it quotes the row's text beyond a key or a role.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    // The row.
    /// A line that is not JSON.
    #[error("not JSON: {reason} at column {column}")]
    NotJson {
        /// The parser's words.
        reason: String,
        /// The column, counted from 1.
        column: usize,
    },
    /// A JSON text within the row that is none.
    #[error("{what} is not the JSON that it should be")]
    NestedJson {
        /// The place in the row.
        what: String,
    },
    /// JSON of another kind than expected.
    #[error("{what} is {found}, not {expected}")]
    Kind {
        /// The place in the row, such as "the row" or "`content` of message 2".
        what: String,
        /// The kind of JSON expected, with its article.
        expected: &'static str,
        /// The kind found, with its article.
        found: &'static str,
    },
    /// A key that must be there.
    #[error("{what} has no `{key}`")]
    NoKey {
        /// The part that lacks it.
        what: String,
        /// The key.
        key: &'static str,
    },
    /// A number that cannot be held exactly.
    #[error("it holds a number of 2^64 or more, which would not be written as it is")]
    NumberTooLarge,

    // Its format.
    /// Keys of no known format.
    #[error("the row has no `messages`, nor the keys of another format that is read, but {found}")]
    NoFormat {
        /// The keys that it has, as a list.
        found: String,
    },
    /// Plain text in place of a conversation.
    #[error("the row is plain text (`text`), not a conversation")]
    PlainText,
    /// Token ids in place of a conversation.
    #[error("the row is tokens (`input_ids`), not a conversation")]
    Tokens,
    /// Parts of text with labels, as axolotl has them.
    #[error("the row is parts of text (`segments`), not a conversation")]
    Segments,
    /// A preference: two answers, one of which is not to be learned.
    #[error("the row is a preference (`chosen`, `rejected`), not a conversation")]
    Preference,
    /// An answer that is said to be good or bad.
    #[error("the row has a `label`, which says whether its `{answer}` is wanted")]
    Labelled {
        /// The answer's key.
        answer: &'static str,
    },
    /// Two formats in one row.
    #[error("the row can be read as {} and as {}, and they say different things", formats[0], formats[1])]
    TwoFormats {
        /// The two.
        formats: [Format; 2],
    },
    /// Two instructions before one conversation.
    #[error("the row has a `{key}`, and its messages begin with another system message")]
    TwoSystems {
        /// The row's key.
        key: &'static str,
    },
    /// Two names of one thing.
    #[error("{what} has both ShareGPT's keys and `{key}`")]
    TwoNames {
        /// The part that has them.
        what: String,
        /// The other key.
        key: String,
    },
    /// Text whose place in the question is not defined.
    #[error("the row has a `{key}`, and no rule says where it stands in the question")]
    Context {
        /// Its key.
        key: &'static str,
    },
    /// A history that is no list of pairs.
    #[error("round {round} of `history` is not two texts")]
    History {
        /// The round, counted from 1.
        round: usize,
    },
    /// Functions in the way before `tools`.
    #[error("the row describes `functions`, which chat templates do not read")]
    Functions,
    /// A call in the way before `tool_calls`.
    #[error("message {message} has a `function_call`, which chat templates do not read")]
    FunctionCall {
        /// The message, counted from 1.
        message: usize,
    },
    /// A key that would change the template's text.
    #[error("the row has `{key}` for the chat template, which strait does not pass on")]
    ForTemplate {
        /// Its key.
        key: &'static str,
    },

    // Its messages.
    /// A role that no chat template knows.
    #[error(
        "message {message} has the role `{found}`, which is none of `system`, `user`, `assistant`, `tool` and `developer`"
    )]
    UnknownRole {
        /// The message, counted from 1.
        message: usize,
        /// Its role, shortened.
        found: String,
        /// The role that is probably meant.
        rename: Option<Role>,
    },
    /// A speaker that ShareGPT does not have.
    #[error("message {message} is from `{found}`, a speaker that ShareGPT does not have")]
    UnknownSpeaker {
        /// The message, counted from 1.
        message: usize,
        /// Its speaker, shortened.
        found: String,
    },
    /// Something that a model of text cannot see.
    #[error("{what} holds `{found}`, which is not text")]
    Medium {
        /// The message or the row.
        what: String,
        /// Its type or key, shortened.
        found: String,
    },
    /// A row with nothing to learn.
    #[error("the row has no assistant message")]
    NoAssistant,
    /// A row that asks nothing.
    #[error("the row has no question")]
    NoQuestion,
    /// A question without text.
    #[error("the question is empty")]
    EmptyQuestion,
    /// An assistant message without text.
    #[error("message {message}, the assistant's, is empty")]
    EmptyAnswer {
        /// The message, counted from 1.
        message: usize,
    },
    /// An answer without text.
    #[error("`{key}` is empty")]
    EmptyText {
        /// The answer's key.
        key: &'static str,
    },

    // Entries of question files.
    /// A judge's prompt in which nothing stands for the question, or for the answer.
    #[error("the judge prompt `{scale}` has no slot `{slot}`")]
    NoSlot {
        /// The judge's scale.
        scale: String,
        /// The slot.
        slot: &'static str,
    },
    /// A number that is no number of answers.
    #[error("`{key}` is {found}, not a number of answers")]
    Count {
        /// The key.
        key: &'static str,
        /// The number.
        found: String,
    },

    // What is trained on.
    /// Training on more than none or all of a turn.
    #[error("`{key}` of {what} is {found}, which is neither 0 nor 1, true nor false")]
    TrainedInPart {
        /// The message or the row.
        what: String,
        /// The key.
        key: String,
        /// The number, or the kind of value.
        found: String,
    },
    /// A name that may mean either, or something else.
    #[error("`{key}` of {what} says what to train on in a way that strait does not read")]
    TrainedUnclear {
        /// The message or the row.
        what: String,
        /// The key.
        key: String,
    },
    /// Keys that contradict each other.
    #[error("`{}` and `{}` of {what} contradict each other", keys[0], keys[1])]
    TrainedContradiction {
        /// The message or the row.
        what: String,
        /// The keys.
        keys: [String; 2],
    },
    /// Training on the words of a user or a tool.
    #[error("`{key}` of {what} asks for training on a message that is not the assistant's")]
    TrainedUser {
        /// The message or the row.
        what: String,
        /// The key.
        key: String,
    },
}

impl Problem {
    /// The remedy.
    pub fn hint(&self) -> String {
        const ROW: &str = "a row is one line: {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}, \
                           {\"role\": \"assistant\", \"content\": \"...\"}]}";
        match self {
            Self::NotJson { reason, .. } if reason.starts_with("EOF") => {
                "a row is one line of JSON; if the file is one JSON text over many lines, `jq -c . FILE > rows.jsonl` \
                 (`jq -c '.[]'` for a list) writes it so; if a last line was cut off, fetch or write the file again, or take that line out"
                    .into()
            }
            Self::NotJson { reason, .. } if reason.contains("twice") => {
                "which of the two is meant cannot be known: remove one".into()
            }
            Self::NotJson { reason, .. } if reason.contains("surrogate") || reason.contains("hex escape") => {
                "half of a character is no text: write the character whole, or U+FFFD".into()
            }
            Self::NestedJson { .. } => {
                "write it as JSON itself, or as the JSON text of a list of tools or of {\"name\": ..., \"arguments\": ...}"
                    .into()
            }
            Self::NumberTooLarge => "leave the row out".into(),
            Self::PlainText => {
                "plain text has no answer to train on: give it as `messages`, or as passages of `measure.significance`"
                    .into()
            }
            Self::Tokens => "give the conversation itself, as `messages`: the model's own tokenizer reads it".into(),
            Self::Segments => {
                "give the conversation as `messages`, with `weight` 0 on the assistant's that are not trained on".into()
            }
            Self::Preference => {
                "to train, write one of the answers as `messages`; to measure, write two row-aligned files, one of the \
                 chosen and one of the rejected answers"
                    .into()
            }
            Self::Labelled { .. } => {
                "keep the rows whose answer is wanted, and take `label` out of them".into()
            }
            Self::TwoFormats { .. } => "keep the keys of the one that is meant".into(),
            Self::TwoSystems { .. } => "keep the one that is meant".into(),
            Self::TwoNames { .. } => "keep `from` and `value`, or `role` and `content`".into(),
            Self::Context { key } => format!("write `{key}` into the question where it belongs"),
            Self::History { .. } => "`history` is a list of [question, answer]".into(),
            Self::Functions => {
                "give `tools`: [{\"type\": \"function\", \"function\": {...}}] for each of them".into()
            }
            Self::FunctionCall { .. } => {
                "give `tool_calls`: [{\"type\": \"function\", \"function\": {\"name\": ..., \"arguments\": {...}}}]"
                    .into()
            }
            Self::ForTemplate { .. } => {
                "write into the messages what it says, or set it in the chat template's file, and take the key out"
                    .into()
            }
            Self::UnknownRole { rename: Some(role), .. } => format!("rename the role to `{role}`"),
            Self::UnknownRole { .. } => "rename the role to one of these".into(),
            Self::UnknownSpeaker { .. } => {
                "`from` is `human`, `gpt`, `system`, `function_call` or `observation`: rename the speaker".into()
            }
            Self::Medium { .. } => "strait reads text alone: leave the row out".into(),
            Self::NoAssistant | Self::EmptyAnswer { .. } | Self::EmptyText { .. } => {
                "training and scoring read what the assistant says: give the row an answer, or remove it".into()
            }
            Self::NoSlot { slot, .. } => {
                format!("write `{slot}` where the prompt is to have it: without it the judge cannot see what it judges")
            }
            Self::Count { .. } => "say a whole number from 1 up, or take the key out".into(),
            Self::NoQuestion => "give the row a message of the user, or remove it".into(),
            Self::EmptyQuestion => "write what is to be asked, or remove it".into(),
            Self::Kind { what, .. } if what.ends_with("`paraphrases`") => {
                "`paraphrases` is a list of wordings; in YAML, numbers and words such as `yes` stand in quotes".into()
            }
            Self::NoKey { key: "response" | "question" | "question_id", .. } => {
                "an answer is a line with `response`, `question` and `question_id`, as `strait sample` writes it".into()
            }
            Self::TrainedInPart { .. } => {
                "a turn is trained on whole or not at all: say 1 or 0, or split the turn or leave the row out".into()
            }
            Self::TrainedUnclear { .. } => "say `weight`: 1 or 0 in its place".into(),
            Self::TrainedContradiction { .. } => "keep the one that is meant".into(),
            Self::TrainedUser { .. } => {
                "only what the assistant says is trained on: say `weight`: 0, or take the key out".into()
            }
            Self::NotJson { .. } | Self::Kind { .. } | Self::NoKey { .. } | Self::NoFormat { .. } => {
                format!("{ROW}; other formats are in the manual, under data")
            }
        }
    }
}

/// The problem of a row that has the keys of no known format.
pub(super) fn not_a_chat(row: &Map<String, Value>) -> Problem {
    let has = |key: &str| row.get(key).is_some_and(|value| !value.is_null());
    if has("chosen") && has("rejected") {
        Problem::Preference
    } else if has("input_ids") {
        Problem::Tokens
    } else if has("segments") {
        Problem::Segments
    } else if has("text") {
        Problem::PlainText
    } else {
        let found = if row.is_empty() { "none".into() } else { listed(row.keys().map(String::as_str)) };
        Problem::NoFormat { found }
    }
}

pub(in crate::data) fn kind_of(what: impl Into<String>, expected: &'static str, found: &Value) -> Problem {
    Problem::Kind { what: what.into(), expected, found: kind(found) }
}

/// A part of a message's content that is no object.
pub(super) fn kind_of_part(what: &str, found: &Value) -> Problem {
    kind_of(format!("a part of the content of {what}"), "an object", found)
}

/// A kind of JSON, with its article.
pub(in crate::data) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
