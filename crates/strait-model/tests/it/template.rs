//! Templates against what transformers renders: `scripts/golden/templates.py` writes the expected texts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use strait_model::{
    Conversation,
    template::{Problem, Template, View},
};

/// The conversation that snippets are given.
const SNIPPETS: usize = 1;

/// The features that strait refuses by name where Jinja2 gives a text: nothing else may be refused.
const REFUSED: &[&str] = &[
    "`batch` by less than one",
    "`upper` of text that `safe` or `escape` marked",
    "`wordwrap` of text with hyphens",
    "a slice of a value of type NoneType",
    "a slice of a value of type dict",
    "a slice of a value of type int",
    "a slice by a value of type float",
    "a slice by a value of type str",
    "a width or precision of `*` in `%`",
    "an integer of more than 128 bits",
    "an operator on text that `safe` or `escape` marked",
    "comparing views of dictionaries",
    "complex numbers",
    "division of integers beyond 53 bits",
    "the escape `\\N{...}`",
    "the filter `random`",
    "the filter `urlize`",
    "the flag `#` with a float",
    "the function `lipsum`",
    "the method `encode`",
    "the method `format_map`",
    "the method `translate`",
    "the name `self`",
    "the tag `autoescape`",
    "the tag `block`",
];

fn golden() -> Value {
    serde_json::from_str(include_str!("../fixtures/templates.json")).unwrap()
}

fn specials() -> BTreeMap<String, String> {
    [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, token)| (name.into(), token.into())).into()
}

fn render(template: &Template, conversation: &Conversation, prompt: bool) -> Result<String, Problem> {
    let view = View::new(conversation, conversation.messages.len(), prompt);
    Ok(template.render(&[view])?.remove(0))
}

#[test]
fn renders_what_transformers_renders_or_refuses_by_name() {
    let golden = golden();
    let conversations: Vec<Conversation> = serde_json::from_value(golden["conversations"].clone()).unwrap();
    let mut refused = BTreeSet::new();
    let mut texts = 0;
    for case in golden["cases"].as_array().unwrap() {
        let family = case["template"].as_str();
        let source = family.map_or(&case["source"], |family| &golden["templates"][family]).as_str().unwrap();
        let at = case["conversation"].as_u64().map_or(SNIPPETS, |at| at as usize);
        let prompt = case["prompt"].as_bool().unwrap_or_default();
        let found = Template::new(source, specials())
            .and_then(|template| render(&template, &conversations[at], prompt));
        let name = family.unwrap_or(source);
        match (case["text"].as_str(), found) {
            (Some(expected), Ok(found)) => {
                assert_eq!(found, expected, "{name} on conversation {at}");
                texts += 1;
            }
            (Some(_), Err(Problem::Unsupported { detail, .. })) if family.is_none() => {
                assert!(REFUSED.contains(&detail.as_str()), "refused: {detail} for {name}");
                refused.insert(detail);
            }
            (Some(expected), Err(problem)) => panic!("{problem} for {name}, where {expected:?} is right"),
            (None, Ok(found)) => panic!("{found:?} for {name}, which is an error: {}", case["error"]),
            (None, Err(_)) => {}
        }
    }
    assert!(texts > 3_000, "{texts}");
    let unused: Vec<_> = REFUSED.iter().filter(|what| !refused.contains(**what)).collect();
    assert!(unused.is_empty(), "these are not refused any more: {unused:?}");
}

#[test]
fn writes_days_as_python_does() {
    let golden = golden();
    let conversation = Conversation::default();
    for case in golden["dates"].as_array().unwrap() {
        let source = format!("{{{{ strftime_now({}) }}}}", case["format"]);
        let mut template = Template::new(&source, specials()).unwrap();
        template.set_date(case["date"].as_str().unwrap().parse().unwrap());
        let text = render(&template, &conversation, false);
        assert_eq!(text.unwrap(), case["text"].as_str().unwrap(), "{case}");
    }
}

/// Values that are not printed, since Python prints where they lie in memory.
#[test]
fn what_has_no_text_of_its_own_is_refused() {
    for source in golden()["unstable"].as_array().unwrap() {
        let template = Template::new(source.as_str().unwrap(), specials()).unwrap();
        let problem = render(&template, &Conversation::default(), false).unwrap_err();
        assert!(matches!(problem, Problem::Unsupported { .. }), "{problem} for {source}");
    }
}

#[test]
fn line_ends_of_any_kind_are_one() {
    let conversation = Conversation::default();
    let source = "{% if true %}\n  a\n{% endif %}\n\nb\n{{ 'c\nd' }}\n";
    let expected = render(&Template::new(source, specials()).unwrap(), &conversation, false).unwrap();
    for end in ["\r\n", "\r"] {
        let template = Template::new(&source.replace('\n', end), specials()).unwrap();
        assert_eq!(render(&template, &conversation, false).unwrap(), expected, "{end:?}");
    }
}
