//! Chat templates: a conversation to the text that the model was trained on.
//!
//! Templates are programs that come with a model from the internet. They are rendered as transformers renders them,
//! in a sandbox (`template/sandbox.rs`) that ends whatever does not end by itself.

mod sandbox;

use std::collections::BTreeMap;

use minijinja::{Environment, ErrorKind, Value};

use crate::{Conversation, Message};

/// Longest template that is read, in bytes; the longest in use are a third of it.
pub const MAX_TEMPLATE: usize = 1 << 16;
/// Most bytes of a template's own words that are repeated in an error.
const MAX_QUOTE: usize = 300;
/// The template's name inside the engine.
const NAME: &str = "chat template";

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
    #[error("the chat template has an expression of more than {} tokens in line {line}", sandbox::MAX_TOKENS)]
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
    /// The template takes more steps than any real one.
    #[error("the chat template does not come to an end: it was stopped in line {line}")]
    Endless {
        /// The line, counted from 1, that was being carried out.
        line: usize,
    },
    /// The template handles more text than any real one.
    #[error(
        "the chat template builds more than {} MiB of text: it was stopped in line {line}",
        sandbox::MAX_WORK >> 20
    )]
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
    /// A file that is longer than any real one.
    #[error("`{file}` is longer than {limit} bytes")]
    FileTooLong {
        /// Its name.
        file: &'static str,
        /// The limit.
        limit: u64,
    },
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
            | Self::Endless { .. }
            | Self::TooMuchText { .. }
            | Self::LongExpression { .. }
            | Self::TemplateTooLong { .. } => {
                "put a corrected template into `chat_template.jinja` in the model's folder, or take the model from its original source"
            }
            Self::NoThread { .. } => "free some memory, or raise the limit on threads and address space",
            Self::Rewritten { .. } => "split the conversation into rows with one assistant turn each, as its last message",
            Self::NoMessages | Self::NoAssistant => {
                "give every row a user message and an assistant message after it"
            }
            Self::EmptyResponse { .. } => "give the assistant turn some content",
            Self::NoTokenizer => {
                "load the tokenizer with transformers' `AutoTokenizer` and `save_pretrained` it into the folder, which writes `tokenizer.json`"
            }
            Self::FileTooLong { .. } | Self::Json { .. } | Self::Library { .. } => {
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
    environment: Environment<'static>,
    specials: BTreeMap<String, String>,
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
        let source = sandbox::deferred(&without_generation_tags(source))
            .map_err(|line| Problem::LongExpression { line })?;
        let mut environment = sandbox::environment();
        sandbox::on_deep_stack(|| environment.add_template_owned(NAME, source))
            .map_err(|source| Problem::NoThread { source })?
            .map_err(|error| problem(&error))?;
        Ok(Self { environment, specials })
    }

    /// The text of each of several views of conversations.
    ///
    /// # Errors
    /// If the template refuses a conversation, fails, or does not come to an end.
    pub fn render(&self, views: &[View]) -> Result<Vec<String>, Problem> {
        sandbox::on_deep_stack(|| {
            views
                .iter()
                .map(|view| {
                    sandbox::render(&self.environment, NAME, self.context(view))
                        .map_err(|error| problem(&error))
                })
                .collect()
        })
        .map_err(|source| Problem::NoThread { source })?
    }

    fn context(&self, view: &View) -> Value {
        let specials = self.specials.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str())));
        // What transformers always passes is there even where it is nothing: templates test it for being none.
        [
            ("messages", Value::from_serialize(view.messages())),
            ("add_generation_prompt", Value::from(view.generation_prompt)),
            ("tools", Value::from_serialize(&view.conversation.tools)),
            ("documents", Value::from(())),
        ]
        .into_iter()
        .chain(specials)
        .collect()
    }
}

/// The engine's error in our words.
fn problem(error: &minijinja::Error) -> Problem {
    let line = error.line().unwrap_or(1);
    match stop(error) {
        Some(sandbox::Stop::Raised(message)) => return Problem::Refused { message: shortened(message) },
        Some(sandbox::Stop::Work) => return Problem::TooMuchText { line },
        None => {}
    }
    let detail = match error.detail() {
        Some(detail) => shortened(detail),
        None => error.kind().to_string(),
    };
    match error.kind() {
        ErrorKind::OutOfFuel => Problem::Endless { line },
        ErrorKind::SyntaxError | ErrorKind::BadEscape => Problem::Syntax { line, detail },
        _ => Problem::Failed { line, detail },
    }
}

/// Why the sandbox stopped the template, if it did.
fn stop(error: &minijinja::Error) -> Option<&sandbox::Stop> {
    let first: &dyn std::error::Error = error;
    std::iter::successors(Some(first), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// The start of a text that a stranger wrote.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_QUOTE {
        return text.into();
    }
    format!("{} ...", &text[..text.floor_char_boundary(MAX_QUOTE)])
}

/// The template with `{% generation %}` blocks, which mark the assistant's words for transformers and print nothing,
/// turned into blocks that the engine knows and that trim whitespace alike.
fn without_generation_tags(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        result.push_str(before);
        rest = match replaced_tag(tag, "generation", "if true").or(replaced_tag(
            tag,
            "endgeneration",
            "endif",
        )) {
            Some((replacement, after)) => {
                result.push_str(&replacement);
                after
            }
            None => {
                result.push_str("{%");
                &tag[2..]
            }
        };
    }
    result + rest
}

/// If `text` starts with the block tag `name`: the tag with `replacement` in its place, and the text after it.
fn replaced_tag<'a>(text: &'a str, name: &str, replacement: &str) -> Option<(String, &'a str)> {
    let (tag, after) = text.split_once("%}")?;
    let marks = |c| c == '-' || c == '+';
    let inner = tag.strip_prefix("{%")?;
    let opening = inner.find(|c| !marks(c))?;
    let closing = inner.rfind(|c| !marks(c))? + 1;
    if inner[opening..].get(..closing - opening)?.trim() != name {
        return None;
    }
    Some((format!("{{%{} {replacement} {}%}}", &inner[..opening], &inner[closing..]), after))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::Role;

    /// A conversation of a user's `a` and an assistant's `b`.
    fn conversation() -> Vec<Message> {
        vec![Message::new(Role::User, "a"), Message::new(Role::Assistant, "b")]
    }

    fn render(source: &str, messages: &[Message], generation_prompt: bool) -> Result<String, Problem> {
        let specials = [("bos_token", "<s>"), ("eos_token", "</s>")]
            .map(|(name, token)| (name.to_string(), token.to_string()));
        let template = Template::new(source, specials.into())?;
        let conversation = messages.to_vec().into();
        Ok(template.render(&[View::new(&conversation, messages.len(), generation_prompt)])?.remove(0))
    }

    fn check(source: &str, expected: &str) {
        assert_eq!(render(source, &conversation(), true).unwrap(), expected, "{source}");
    }

    /// Renders a hostile template, which must end quickly.
    fn survive(source: &str) -> Result<usize, Problem> {
        let start = Instant::now();
        let length = render(source, &conversation(), false).map(|text| text.len());
        // Far from what an idle machine takes, for machines that are busy.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?} for {source:.200}", start.elapsed());
        length
    }

    /// Renders a hostile template and gives its error.
    fn attack(source: &str) -> Problem {
        survive(source).expect_err(&format!("{source:.200}"))
    }

    #[test]
    fn renders_as_transformers_does() {
        check(
            "{% for m in messages %}\n  {% if true %}\n{{ m.role }}: {{ m['content'] }}\n  {% endif %}\n{% endfor %}\n",
            "user: a\nassistant: b\n",
        );
        check("{{ bos_token + messages[0]['content'] ~ eos_token }}", "<s>a</s>");
        check("{% if tools is none and documents is none %}x{% endif %}{{ tools }}", "xNone");
        check("{{ add_generation_prompt }} {{ 1 == 2 }} {{ 1.0 }} {{ missing }}", "True False 1.0 ");
        check("{% if missing is defined %}x{% endif %}{{ missing == '' }}", "False");
        check(
            "{% for i in range(5) %}{% if i == 3 %}{% break %}{% elif i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
            "02",
        );
        check(
            "{{ messages | tojson }}",
            r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]"#,
        );
        check("{{ {'x': [1, '<é>']} | tojson(indent=1) }}", "{\n \"x\": [\n  1,\n  \"<é>\"\n ]\n}");
        check("{{ ' x '.strip() }}{{ 'a,b'.split(',')[-1] }}{{ 'abc'.startswith('ab') }}", "xbTrue");
        check(
            "{{ messages[0].get('tool_calls') is none }}{{ messages[::-1][0].content }}{{ 'abcd'[1:3] }}",
            "Truebbc",
        );
        check("{{ 'a' in 'abc' }}{{ 'role' in messages[0] }}{{ 'q' not in ['a'] }}", "TrueTrueTrue");
        check(
            "{% set ns = namespace(s='') %}{% for m in messages %}{% set ns.s = ns.s + m.content %}{% endfor %}{{ ns.s }}",
            "ab",
        );
        check("{% set s %}x{{ 1 + 2 }}{% endset %}{{ s * 2 }}{{ [1] + [2] }}", "x3x3[1, 2]");
        check("{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f(1) }}{{ f(2) | upper }}", "[1][2]");
        check("{{ 'x' is sequence }}{{ messages is sequence }}{{ 1 is sequence }}", "TrueTrueFalse");
        check(
            "{{ ['a', 'b'] | join(', ') }}{{ 'aXa' | replace('X', '-') }}{{ 'a\nb' | indent(2) }}",
            "a, ba-aa\n  b",
        );
        check(
            "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | length }}",
            "1",
        );
        check("{{ (messages | length - 1) * 2 }}{{ 7 // 2 }}{{ 7 % 4 }}{{ 2 ** 3 }}", "2338");
    }

    #[test]
    fn generation_blocks_print_what_they_hold() {
        check("a {%- generation -%} b {%- endgeneration %} c", "ab c");
        check(
            "{% generation %}{{ 'x' }}{% endgeneration %}{{ '{%' }}{% if true %}generation{% endif %}",
            "x{%generation",
        );
    }

    #[test]
    fn today_is_the_same_day_every_day() {
        check("{{ strftime_now('%d %b %Y, %A %j %%') }}", "26 Jul 2024, Friday 208 %");
        assert!(matches!(attack("{{ strftime_now('%Q') }}"), Problem::Failed { line: 1, .. }));
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let problem = render("a\nb\n{% if %}", &conversation(), false).unwrap_err();
        assert!(matches!(problem, Problem::Syntax { line: 3, .. }), "{problem}");
    }

    #[test]
    fn a_refusal_gives_the_templates_words() {
        let problem =
            render("{{ raise_exception('Roles must alternate') }}", &conversation(), false).unwrap_err();
        assert_eq!(problem.to_string(), "the chat template refuses the conversation: Roles must alternate");
        let Problem::Refused { message } = attack("{{ raise_exception('é' * 1000) }}") else { panic!() };
        assert!(message.len() < 2 * MAX_QUOTE);
    }

    #[test]
    fn a_failure_names_its_line() {
        let problem =
            render("{{ 'x' }}\n{{ messages[0].content.nothing() }}", &conversation(), false).unwrap_err();
        assert!(matches!(problem, Problem::Failed { line: 2, .. }), "{problem}");
    }

    #[test]
    fn a_template_that_is_too_long_is_not_compiled() {
        let problem = render(&"x".repeat(MAX_TEMPLATE + 1), &[], false).unwrap_err();
        assert!(matches!(problem, Problem::TemplateTooLong { found } if found == MAX_TEMPLATE + 1));
    }

    #[test]
    fn endless_templates_end() {
        for source in [
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
            "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}",
            "{% for i in [0] * 1000000 %}{{ i }}{% endfor %}",
        ] {
            let problem = attack(source);
            assert!(
                matches!(problem, Problem::Endless { line: 1 } | Problem::TooMuchText { line: 1 }),
                "{problem} for {source}"
            );
        }
    }

    #[test]
    fn recursion_ends() {
        attack("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}");
        attack("{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}");
        attack(&format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000)));
        attack(&"{% if true %}".repeat(4_000));
    }

    #[test]
    fn long_expressions_are_not_compiled() {
        for operator in ["+", "~", "*", "and", "==", "|upper|", ".x.", "[0] or "] {
            for first in ["1", "x"] {
                let chain = |length| format!("{{{{ {first}{} }}}}", format!(" {operator} 1").repeat(length));
                let problem = attack(&format!("\n\n{}", chain(5_000)));
                let expected = Problem::LongExpression { line: 3 }.to_string();
                let not_jinja = matches!(problem, Problem::Syntax { .. });
                assert!(problem.to_string() == expected || not_jinja, "{problem}");
                // As many as may be; some of these mean something.
                let _ = survive(&chain(240).repeat(40));
            }
        }
    }

    #[test]
    fn bombs_of_text_do_not_go_off() {
        let raw = "x".repeat(60_000);
        for source in [
            "{{ 'a' * 10**9 }}",
            "{{ 'a' * 10**18 }}",
            "{{ 10**18 * 'a' }}",
            &"{% set a = 'a' * 99999999 %}".repeat(2000),
            "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
            "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
            "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set t %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = t %}{% endfor %}",
            "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] | join %}{% endfor %}",
            "{% set ns = namespace(s='aa') %}{% for i in range(60) %}{% set ns.s = ns.s | replace('a', ns.s) %}{% endfor %}",
            "{% set ns = namespace(s='aa') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('a', ns.s) %}{% endfor %}",
            "{% set s = 'a' * 9999999 %}{{ s.join(range(9999)) }}",
            "{% set s = 'a' * 9999999 %}{% for i in range(9999) %}{% if s + 'b' == s %}{% endif %}{% endfor %}",
            "{% set s = 'a' * 9999999 %}{% for i in range(9999) %}{% if 'b' in s %}{% endif %}{% endfor %}",
            "{% set s = 'a\n' * 999999 %}{{ s | indent(64) }}",
            &format!("{{% for i in range(99999) %}}{raw}{{% endfor %}}"),
            &format!("{{% set s %}}{{% for i in range(99999) %}}{raw}{{% endfor %}}{{% endset %}}"),
        ] {
            let problem = attack(source);
            assert!(matches!(problem, Problem::TooMuchText { line: 1.. }), "{problem} for {:.200}", source);
        }
        assert!(matches!(attack("{{ 'a' | indent(10**9) }}"), Problem::Failed { .. }));
        assert!(matches!(attack("{{ [1] | tojson(indent=10**9) }}"), Problem::Failed { .. }));
        assert!(matches!(attack("{{ '%1000000000d' | format(1) }}"), Problem::Failed { .. }));
        assert!(matches!(attack("{{ '{:1000000000d}'.format(1) }}"), Problem::Failed { .. }));
    }

    #[test]
    fn bombs_of_values_do_not_go_off() {
        let doubled = "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}";
        let tail = [
            "{{ ns.l }}",
            "{{ ns.l ~ '' }}",
            "{{ ns.l | string }}",
            "{{ ns.l | tojson }}",
            "{{ ns.l == [ns.l] }}",
            "{{ 1 in ns.l }}",
            "{{ ns.l | join }}",
            "{{ ns.l | upper }}",
            "{{ ns.l | sort }}",
            "{{ ns.l is eq(ns.l) }}",
            "{{ ns.l < ns.l }}",
        ];
        for tail in tail {
            let problem = attack(&format!("{doubled}{tail}"));
            assert!(matches!(problem, Problem::TooMuchText { line: 1 }), "{problem} for {tail}");
        }
        for source in [
            "{{ [1] * 10**12 }}",
            "{{ ([1] * 10**12) | length }}",
            "{{ ([1, 2] * 18446744073709551615) | length }}",
            "{{ ([1] * 10**12) | list }}",
            "{{ ([1] * 10**12) | sum }}",
            "{% for i in range(99999) %}{{ range(99999) | sum }}{% endfor %}",
            "{% for i in range(99999) %}{{ range(99999)[99998] }}{% endfor %}",
            "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
            "{% set ns = namespace(x=1) %}{% set ns.x = ns %}{{ ns }}",
        ] {
            let problem = attack(source);
            assert!(matches!(problem, Problem::TooMuchText { line: 1 }), "{problem} for {source}");
        }
        assert!(matches!(attack("{{ [1] | batch(10**18) }}"), Problem::Failed { .. }));
        assert!(matches!(attack("{{ [1] | slice(10**18) }}"), Problem::Failed { .. }));
    }

    #[test]
    fn values_nested_as_deep_as_can_be_do_not_overflow_the_stack() {
        for wrap in ["[ns.l]", "{'a': ns.l}", "ns.l | list", "ns.l * 1", "ns.l + [1]", "ns.l | reverse"] {
            // About as many steps as there are, less a few for the tail.
            let build =
                "{% set ns = namespace(l=[1]) %}{% for i in range(50000) %}{% set ns.l = WRAP %}{% endfor %}";
            let build = build.replace("WRAP", wrap);
            for tail in ["{{ ns.l }}", "{{ ns.l == [ns.l] }}", "{{ ns.l | tojson }}"] {
                // Whether or not the template comes to its end, nothing must crash.
                let _ = render(&format!("{build}{tail}"), &[], false);
            }
        }
    }

    #[test]
    fn no_other_template_is_read() {
        for source in [
            "{% include 'chat template' %}",
            "{% include '/etc/passwd' %}",
            "{% extends 'chat template' %}",
            "{% import 'x' as y %}",
            "{% from 'x' import y %}",
        ] {
            let problem = attack(source);
            let refused =
                matches!(&problem, Problem::Failed { detail, .. } if detail.contains("other templates"));
            assert!(refused, "{problem} for {source}");
        }
    }

    #[test]
    fn long_conversations_stay_within_the_limits() {
        let content = "word ".repeat(200);
        let messages: Vec<_> = (0..2000)
            .map(|i| Message::new(if i % 2 == 0 { Role::User } else { Role::Assistant }, &content))
            .collect();
        let source = "{% for m in messages %}{% if m.role == 'user' and not loop.first %}{{ '\n' }}{% endif %}\
                      {{ '<|im_start|>' + m.role + '\n' + m.content | trim + '<|im_end|>' + '\n' }}{% endfor %}";
        assert!(render(source, &messages, false).unwrap().len() > 2_000_000);
        let megabytes = "word ".repeat(1_000_000);
        assert!(render(source, &[Message::new(Role::User, &megabytes)], false).unwrap().len() > 4_999_990);
    }

    /// What templates are made of, to be thrown together at random.
    const PIECES: [&str; 64] = [
        "{{",
        "}}",
        "{%-",
        "-%}",
        "{%",
        "%}",
        " if ",
        " else ",
        " endif ",
        " for ",
        " in ",
        " endfor ",
        " set ",
        " macro ",
        " endmacro ",
        "x",
        "y",
        " = ",
        "messages",
        "loop",
        "namespace()",
        "range(9)",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        ".",
        "|",
        "+",
        "-",
        "*",
        "**",
        "/",
        "//",
        "%",
        "~",
        "==",
        "<",
        " and ",
        " not ",
        " is ",
        "'a'",
        "\"é\"",
        "1",
        "-1",
        "0.5",
        "9223372036854775807",
        "99999999999999999999999",
        "none",
        "true",
        "join",
        "list",
        "length",
        "replace",
        "content",
        "role",
        "split",
        "string",
        "\n",
        "text",
    ];

    proptest! {
        #[test]
        fn no_template_does_harm(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40),
            expressions in prop::collection::vec(prop::collection::vec(prop::sample::select(&PIECES[6..]), 1..8), 0..6),
        ) {
            let _ = survive(&pieces.concat());
            let tags = expressions.iter().map(|pieces| format!("{{{{ {} }}}}", pieces.concat()));
            let _ = survive(&tags.collect::<String>());
            let _ = survive(&expressions.iter().map(|e| format!("{{% set x = {} %}}", e.concat())).collect::<String>());
        }
    }
}
