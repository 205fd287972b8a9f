//! Templates that are none, fail, or do not fit a conversation.

use super::{MAX_TEMPLATE, parser};
use crate::error::quoted;

/// A problem of a chat template, or of a conversation that it does not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The model brings no chat template.
    #[error("the model has no chat template")]
    NoTemplate,
    /// A list of named templates without the one that is used.
    #[error("there are chat templates named {}, but none is named `default`", quoted(found))]
    NoDefaultTemplate {
        /// The names there are.
        found: Vec<String>,
    },
    /// A template longer than any real one.
    #[error("the chat template is {found} bytes long, where {MAX_TEMPLATE} is the limit")]
    TemplateTooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// An expression longer than any real one.
    #[error("the chat template has an expression of more than {} tokens in line {line}", parser::MAX_TOKENS)]
    LongExpression {
        /// The line, counted from 1, in which it is too long.
        line: usize,
    },
    /// The template is not Jinja.
    #[error("the chat template has an error in line {line}: {detail}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// The engine's words.
        detail: String,
    },
    /// The template refused the conversation.
    #[error("the chat template refuses the conversation: {message}")]
    Refused {
        /// The template's words.
        message: String,
    },
    /// The template failed while it was rendered.
    #[error("the chat template fails in line {line}: {detail}")]
    Failed {
        /// The line, counted from 1.
        line: usize,
        /// The engine's words.
        detail: String,
    },
    /// The template uses a feature that is not supported: its text would not be that of Jinja2.
    #[error("the chat template uses in line {line} what is not supported: {detail}")]
    Unsupported {
        /// The line, counted from 1.
        line: usize,
        /// The part that is not supported.
        detail: String,
    },
    /// The engine failed.
    #[error("the chat template makes the template engine fail: {detail}")]
    Engine {
        /// Its last words.
        detail: String,
    },
    /// The template takes more steps than any real one.
    #[error("the chat template does not come to an end: it was stopped in line {line}")]
    Endless {
        /// The line, counted from 1, that was being carried out.
        line: usize,
    },
    /// The template handles more text than any real one.
    #[error("the chat template handles far more text than it is given: it was stopped in line {line}")]
    TooMuchText {
        /// The line, counted from 1, that was being carried out.
        line: usize,
    },
    /// The system gave no thread to render on.
    #[error("no thread to render the chat template on: {source}")]
    NoThread {
        /// The system's answer.
        source: std::io::Error,
    },
    /// The template writes turns differently once others follow.
    #[error(
        "the chat template rewrites the conversation: what it writes up to the assistant turn (message {message}) \
         and for it changes at byte {byte} once all messages are there"
    )]
    Rewritten {
        /// The turn's number among the messages, counted from 1.
        message: usize,
        /// The byte at which the two texts part.
        byte: usize,
    },
    /// A conversation without messages.
    #[error("the conversation has no messages")]
    NoMessages,
    /// A conversation with nothing to learn from.
    #[error("the conversation has no assistant turn")]
    NoAssistant,
    /// A response of no tokens at all.
    #[error("the chat template writes nothing for the assistant turn (message {message})")]
    EmptyResponse {
        /// The message's number, counted from 1.
        message: usize,
    },
}

impl crate::error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::NoTemplate => {
                "this is a base model: take its instruction-tuned sibling for chats, or give plain text instead of messages"
            }
            Self::NoDefaultTemplate { .. } => "name one of them `default` in `tokenizer_config.json`",
            Self::Refused { .. } => "change the conversation as the message asks: roles, their order, or the system message",
            Self::Syntax { .. }
            | Self::Failed { .. }
            | Self::Unsupported { .. }
            | Self::Engine { .. }
            | Self::Endless { .. }
            | Self::TooMuchText { .. }
            | Self::LongExpression { .. }
            | Self::TemplateTooLong { .. } => {
                "put a corrected template into `chat_template.jinja` in the model's folder, or take the model from its original source"
            }
            Self::NoThread { .. } => "free some memory, or raise the limit on threads and address space",
            Self::Rewritten { .. } => "leave the row out, or give the model a template that writes what stands before an answer the same without it",
            Self::NoMessages | Self::NoAssistant => {
                "give every row a user message and an assistant message after it"
            }
            Self::EmptyResponse { .. } => "give the assistant turn some content",
        }
        .into()
    }
}
