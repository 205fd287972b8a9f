//! Chat templates: a conversation to the text that the model was trained on.
//!
//! Templates are programs that come with a model from the internet. They are rendered as transformers renders them: with
//! Jinja2's syntax, Python's values and Python's way to print them. What would come out otherwise is refused by name, and
//! what does not end by itself is ended.
//!
//! The engine is our own: those of Rust print `true` for `True`, know no tuples and no big integers, look for items where
//! Jinja2 looks for methods, and run some filters without a bound.

mod args;
mod ast;
mod builtin;
mod checks;
mod compare;
mod date;
mod fault;
mod filters;
mod format;
mod lexer;
mod methods;
mod ops;
mod parser;
mod print;
mod run;
mod strings;
mod symbols;
mod unicode;
mod value;

use std::collections::BTreeMap;

pub use date::{Date, NoDate};

use crate::{Conversation, Message};
use ast::Text;
use fault::{Fault, Meter};
use parser::Wrong;
use run::Run;
use value::Value;

/// Longest template that is read, in bytes; the longest in use are a third of it.
pub const MAX_TEMPLATE: usize = 1 << 16;
/// Most bytes of a template's own words that are repeated in an error.
const MAX_QUOTE: usize = 300;
/// Stack of a rendering, in bytes.
const STACK: usize = 1 << 28;

/// What is wrong with a chat template, a tokenizer, or a conversation that they do not fit.
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
    /// The template uses what is not supported: its text would not be that of Jinja2.
    #[error("the chat template uses in line {line} what is not supported: {detail}")]
    Unsupported {
        /// The line, counted from 1.
        line: usize,
        /// What it is.
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
        /// Where the two texts part.
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
    /// A folder without a tokenizer that can be read.
    #[error("the folder has no `tokenizer.json`")]
    NoTokenizer,
    /// A file that is not the JSON it should be.
    #[error("`{file}`: {source}")]
    Json {
        /// Its name.
        file: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A metadata key that every tokenizer needs.
    #[error("the metadata has no `{key}`")]
    NoKey {
        /// The key.
        key: &'static str,
    },
    /// A kind of tokenizer that is not known.
    #[error("`tokenizer.ggml.model` is `{found}`, where `gpt2` and `llama` are supported")]
    Kind {
        /// The kind.
        found: String,
    },
    /// A way of cutting text into words that is not known.
    #[error("`tokenizer.ggml.pre` is `{found}`, where {} are supported", quoted(known))]
    PreTokenizer {
        /// The name.
        found: String,
        /// Those that are known.
        known: Vec<&'static str>,
    },
    /// Two lists that should be as long as one another.
    #[error("`{key}` has {found} entries for {tokens} tokens")]
    Length {
        /// The list's key.
        key: &'static str,
        /// Its length.
        found: usize,
        /// The number of tokens.
        tokens: usize,
    },
    /// A token id that is no token's.
    #[error("`{key}` is {found}, but there are {tokens} tokens")]
    TokenId {
        /// Where it stands.
        key: &'static str,
        /// The id.
        found: i64,
        /// The number of tokens.
        tokens: usize,
    },
    /// A merge rule that does not lead from two tokens to a token.
    #[error("`tokenizer.ggml.merges` entry {index}, `{found}`, does not join two tokens to a token")]
    Merge {
        /// Its place in the list, counted from 0.
        index: usize,
        /// The rule.
        found: String,
    },
    /// The tokenizers library refused.
    #[error("the tokenizer cannot {doing}: {detail}")]
    Library {
        /// What was being done.
        doing: &'static str,
        /// The library's words.
        detail: String,
    },
}

impl Problem {
    /// The remedy.
    pub fn hint(&self) -> String {
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
            Self::NoTokenizer => {
                "load the tokenizer with transformers' `AutoTokenizer` and `save_pretrained` it into the folder, which writes `tokenizer.json`"
            }
            Self::Json { .. } | Self::Library { .. } => {
                "fetch the model's files again; the tokenizer must be one that the `tokenizers` library reads"
            }
            Self::Kind { .. } | Self::PreTokenizer { .. } => {
                "take the model as a Hugging Face folder, whose `tokenizer.json` says how text is cut"
            }
            Self::NoKey { .. } | Self::Length { .. } | Self::TokenId { .. } | Self::Merge { .. } => {
                "the GGUF file's tokenizer is damaged: convert or fetch the file again"
            }
        }
        .into()
    }
}

/// Names as a list in words.
fn quoted(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// What a template is given of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct View<'c> {
    conversation: &'c Conversation,
    /// How many of its messages, from the first.
    messages: usize,
    /// Whether the beginning of an answer is to follow.
    generation_prompt: bool,
}

impl<'c> View<'c> {
    /// The first `messages` messages of a conversation, followed by the beginning of an answer if asked for.
    pub fn new(conversation: &'c Conversation, messages: usize, generation_prompt: bool) -> Self {
        Self { conversation, messages, generation_prompt }
    }

    /// The messages that the template sees.
    pub fn messages(&self) -> &'c [Message] {
        &self.conversation.messages[..self.messages]
    }
}

/// A compiled chat template.
#[derive(Debug)]
pub struct Template {
    body: ast::Body,
    specials: BTreeMap<String, String>,
    date: Date,
    /// Whether the source names `strftime_now`.
    asks_date: bool,
}

impl Template {
    /// Compiles a template. `specials` are the tokens that it may name, such as `bos_token`.
    ///
    /// # Errors
    /// If the source is too long or not Jinja.
    pub fn new(source: &str, specials: BTreeMap<String, String>) -> Result<Self, Problem> {
        if source.len() > MAX_TEMPLATE {
            return Err(Problem::TemplateTooLong { found: source.len() });
        }
        let parsed = on_deep_stack(|| parser::parse(source))?;
        let body = parsed.map_err(|(wrong, line)| match wrong {
            Wrong::TooLong => Problem::LongExpression { line: line as usize },
            Wrong::Fault(fault) => problem(fault, line as usize),
        })?;
        let asks_date = source.contains("strftime_now");
        Ok(Self { body, specials, date: Date::default(), asks_date })
    }

    /// Tells the template another day.
    pub fn set_date(&mut self, date: Date) {
        self.date = date;
    }

    /// The day that the template is told, if it asks for it.
    pub fn date(&self) -> Option<Date> {
        self.asks_date.then_some(self.date)
    }

    /// The text of each of several views of conversations.
    ///
    /// # Errors
    /// If the template refuses a conversation, fails, or does not come to an end.
    pub fn render(&self, views: &[View]) -> Result<Vec<String>, Problem> {
        on_deep_stack(|| {
            let mut given: Option<Given> = None;
            views
                .iter()
                .map(|view| {
                    // Views of one conversation follow each other: it is read once.
                    let given = match given.take().filter(|given| std::ptr::eq(given.of, view.conversation)) {
                        Some(same) => given.insert(same),
                        None => {
                            given.insert(Given::new(view.conversation).map_err(|fault| problem(fault, 1))?)
                        }
                    };
                    let run = Run::new(Meter::new(given.size), self.date);
                    let context = self.context(view, given).map_err(|fault| problem(fault, 1))?;
                    run.render(&self.body, context).map_err(|fault| problem(fault, run.line()))
                })
                .collect()
        })?
    }

    fn context(&self, view: &View, given: &Given) -> fault::Result<Vec<(Text, Value)>> {
        let specials = self.specials.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str())));
        // What transformers always passes is there even where it is nothing: templates test it for being none.
        let always = [
            ("messages", Value::list(given.messages[..view.messages].to_vec())?),
            ("add_generation_prompt", Value::from(view.generation_prompt)),
            ("tools", given.tools.clone()),
            ("documents", Value::None),
        ];
        Ok(always.into_iter().chain(specials).map(|(name, value)| (name.into(), value)).collect())
    }
}

/// A conversation as the engine's values.
struct Given<'c> {
    of: &'c Conversation,
    messages: Vec<Value>,
    tools: Value,
    /// Its size in bytes, by which a rendering's work is bounded.
    size: usize,
}

impl<'c> Given<'c> {
    fn new(of: &'c Conversation) -> fault::Result<Self> {
        // What is given is as large as it is: only what the template makes of it is bounded.
        let meter = Meter::new(usize::MAX);
        let messages = of
            .messages
            .iter()
            .map(|message| Value::from_object(message.keys(), &meter))
            .collect::<fault::Result<_>>()?;
        let tools = of.tools.as_ref().map_or(Ok(Value::None), |tools| Value::from_json(tools, &meter))?;
        let texts = of.messages.iter().flat_map(|message| message.keys().values()).chain(&of.tools);
        Ok(Self { of, messages, tools, size: texts.map(size_of).sum() })
    }
}

/// About how many bytes a value of JSON takes there.
fn size_of(json: &serde_json::Value) -> usize {
    let inside = match json {
        serde_json::Value::String(text) => text.len(),
        serde_json::Value::Array(items) => items.iter().map(size_of).sum(),
        serde_json::Value::Object(entries) => {
            entries.iter().map(|(key, value)| key.len() + size_of(value)).sum()
        }
        _ => 0,
    };
    inside + 32
}

/// Runs `work` on a stack on which even the deepest values can be built, compared and dropped. A panic there is an error.
fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Problem> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|source| Problem::NoThread { source })?;
        thread.join().map_err(|panic| {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
            Problem::Engine { detail: shortened(words.unwrap_or("it said nothing")) }
        })
    })
}

/// An end of the engine in our words.
fn problem(fault: Fault, line: usize) -> Problem {
    match fault {
        Fault::Syntax(detail) => Problem::Syntax { line, detail: shortened(&detail) },
        Fault::Failed(detail) => Problem::Failed { line, detail: shortened(&detail) },
        Fault::Unsupported(detail) => Problem::Unsupported { line, detail: shortened(&detail) },
        Fault::Raised(message) => Problem::Refused { message: shortened(&message) },
        Fault::Endless => Problem::Endless { line },
        Fault::Work => Problem::TooMuchText { line },
    }
}

/// The start of a text that a stranger wrote.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_QUOTE {
        return text.into();
    }
    format!("{} ...", &text[..text.floor_char_boundary(MAX_QUOTE)])
}

#[cfg(test)]
mod tests;
