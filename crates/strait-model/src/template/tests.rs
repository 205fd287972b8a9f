//! Templates at their limits: beyond them they end soon.

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
    assert!(matches!(attack("{{ strftime_now('%Q') }}"), Problem::Unsupported { line: 1, .. }));
}

#[test]
fn another_day_can_be_told() {
    let mut template = Template::new("{{ strftime_now('%e %B %Y') }}", BTreeMap::new()).unwrap();
    assert_eq!(template.date(), Some(Date::default()));
    template.set_date("2025-01-03".parse().unwrap());
    let conversation = conversation().into();
    assert_eq!(template.render(&[View::new(&conversation, 1, true)]).unwrap(), [" 3 January 2025"]);
    assert_eq!(template.date().unwrap().to_string(), "2025-01-03");
    assert_eq!(Template::new("{{ 1 }}", BTreeMap::new()).unwrap().date(), None);
    for wrong in [
        "",
        "2025-02-29",
        "2025-1-3",
        "03-01-2025",
        "2025-13-01",
        "0999-01-01",
        "2025-01-03 ",
        "é025-01-0",
        "20250-1-03",
    ] {
        assert!(wrong.parse::<Date>().is_err(), "{wrong}");
    }
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
        "{% set s = 'a' * 9999999 %}{{ s.join('b' * 9999) }}",
        "{% set s = 'a' * 9999999 %}{% for i in range(9999) %}{% if s + 'b' == s %}{% endif %}{% endfor %}",
        "{% set s = 'a' * 9999999 %}{% for i in range(9999) %}{% if 'b' in s %}{% endif %}{% endfor %}",
        "{% set s = 'a\n' * 999999 %}{{ s | indent(64) }}",
        "{{ 'a' | indent(10**9) }}",
        "{{ [1] | tojson(indent=10**9) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '%.1000000000d' % 1 }}",
        "{{ '{:1000000000d}'.format(1) }}",
        "{{ 'a'.center(10**9) }}",
        "{{ 'a'.ljust(10**18, 'é') }}",
        "{{ 'a'.zfill(10**12) }}",
        "{{ 'a' | center(10**9) }}",
        "{{ '\t'.expandtabs(10**12) }}",
        "{{ ('a' * 999999).replace('', 'b' * 999) }}",
        "{{ ('a' * 999999) | replace('', 'b' * 999) }}",
        "{% set s = 'a' * 999999 %}{% for i in range(9999) %}{% if s.count('') %}{% endif %}{% endfor %}",
        "{% set s = 'ab' * 999999 %}{% for i in range(9999) %}{% if s.split('b') | length %}{% endif %}{% endfor %}",
        "{% set s = ' a' * 999999 %}{% for i in range(9999) %}{% if s.split() | length %}{% endif %}{% endfor %}",
        "{% set s = 'a ' * 99999 %}{% for i in range(9999) %}{% if s | wordwrap(3) %}{% endif %}{% endfor %}",
        "{% set s = 'a ' * 99999 %}{% for i in range(9999) %}{% if s | wordcount %}{% endif %}{% endfor %}",
        "{% set s = 'a\n' * 99999 %}{% for i in range(9999) %}{% if s.splitlines() | length %}{% endif %}{% endfor %}",
        "{% set s = 'é' * 999999 %}{% for i in range(9999) %}{% if s[-1] %}{% endif %}{% endfor %}",
        "{% set s = 'é' * 999999 %}{% for i in range(9999) %}{% if s | length %}{% endif %}{% endfor %}",
        "{% set s = 'é' * 999999 %}{% for i in range(9999) %}{% if s.strip('x') %}{% endif %}{% endfor %}",
        "{% set s = '<' * 999999 %}{% for i in range(9999) %}{% if s | e %}{% endif %}{% endfor %}",
        &format!("{{% for i in range(99999) %}}{raw}{{% endfor %}}"),
        &format!("{{% set s %}}{{% for i in range(99999) %}}{raw}{{% endfor %}}{{% endset %}}"),
    ] {
        let problem = attack(source);
        assert!(matches!(problem, Problem::TooMuchText { line: 1.. }), "{problem} for {:.200}", source);
    }
}

#[test]
fn bombs_of_values_do_not_go_off() {
    let doubled =
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}";
    let tail = [
        "{{ ns.l }}",
        "{{ ns.l ~ '' }}",
        "{{ ns.l | string }}",
        "{{ ns.l | tojson }}",
        "{{ ns.l | join }}",
        "{{ ns.l | upper }}",
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
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
        "{{ [1] | slice(10**18) | list }}",
        "{{ [1] | batch(10**18, 0) | list }}",
    ] {
        let problem = attack(source);
        assert!(matches!(problem, Problem::TooMuchText { line: 1 }), "{problem} for {source}");
    }
    attack("{% set ns = namespace(x=1) %}{% set ns.x = ns %}{{ ns }}");
    // What Python finds equal or unequal at once is so here.
    for tail in ["ns.l == [ns.l]", "1 in ns.l", "ns.l < ns.l", "ns.l is eq(ns.l)", "(ns.l | sort)[0] == 1"] {
        survive(&format!("{doubled}{{{{ {tail} }}}}")).unwrap();
    }
    let other = doubled.replace("ns", "other");
    assert!(matches!(
        attack(&format!("{doubled}{other}{{{{ ns.l == other.l }}}}")),
        Problem::TooMuchText { .. }
    ));
    for power in [
        "2 ** 10 ** 18",
        "10 ** 10 ** 10",
        "7 ** 99999999999",
        "1.5 ** 10 ** 30",
        "1 ** 10 ** 30",
        "(-1) ** 10 ** 30",
    ] {
        let _ = survive(&format!("{{{{ {power} }}}}"));
    }
    for walk in ["c.next()", "j()", "loop.cycle(1, 2)", "loop.changed(x)", "loop.length", "m(x)"] {
        let _ = survive(&format!(
            "{{% set c = cycler(1, 2) %}}{{% set j = joiner() %}}{{% macro m(x) %}}{{{{ x }}}}{{% endmacro %}}\
             {{% for i in range(99999) %}}{{% for x in range(99999) if x %}}{{{{ {walk} }}}}{{% endfor %}}{{% endfor %}}"
        ));
    }
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
            matches!(&problem, Problem::Unsupported { detail, .. } if detail.contains("other templates"));
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

/// Parts of templates, to be thrown together at random.
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
