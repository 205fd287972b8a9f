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
mod context;
mod date;
mod fault;
mod filters;
mod format;
mod lexer;
mod methods;
mod names;
mod ops;
mod parser;
mod print;
mod problem;
mod run;
mod strings;
mod symbols;
mod unicode;
mod value;

use std::collections::BTreeMap;

pub use date::{Date, NoDate};
pub use problem::Problem;

use crate::{Conversation, Message};
use ast::Text;
use fault::{Fault, Meter};
use parser::ParseError;
use run::Run;
use value::Value;

/// Longest template that is read, in bytes; the longest in use are a third of it.
pub const MAX_TEMPLATE: usize = 1 << 16;
/// Most bytes of a template's own words that are repeated in an error.
const MAX_QUOTE: usize = 300;
/// Stack of a rendering, in bytes.
const STACK: usize = 1 << 28;

/// The part of a conversation that a template is given.
#[derive(Clone, Copy, Debug)]
pub struct View<'c> {
    conversation: &'c Conversation,
    /// The number of its messages, from the first.
    messages: usize,
    /// True if the beginning of an answer is to follow.
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
    /// True if the source names `strftime_now`.
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
            ParseError::TooLong => Problem::LongExpression { line: line as usize },
            ParseError::Fault(fault) => problem(fault, line as usize),
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
            let mut given: Option<Inputs> = None;
            views
                .iter()
                .map(|view| {
                    // Views of one conversation follow each other: it is read once.
                    let given = match given.take().filter(|given| std::ptr::eq(given.of, view.conversation)) {
                        Some(same) => given.insert(same),
                        None => {
                            given.insert(Inputs::new(view.conversation).map_err(|fault| problem(fault, 1))?)
                        }
                    };
                    let run = Run::new(Meter::new(given.size), self.date);
                    let context = self.context(view, given).map_err(|fault| problem(fault, 1))?;
                    run.render(&self.body, context).map_err(|fault| problem(fault, run.line()))
                })
                .collect()
        })?
    }

    fn context(&self, view: &View, given: &Inputs) -> fault::Result<Vec<(Text, Value)>> {
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
struct Inputs<'c> {
    of: &'c Conversation,
    messages: Vec<Value>,
    tools: Value,
    /// Its size in bytes, by which a rendering's work is bounded.
    size: usize,
}

impl<'c> Inputs<'c> {
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
