//! The answers themselves: filtered by verdict, question and solution, side by side, what may be harmful hidden until it is asked for.

use maud::{Markup, PreEscaped, html};

use super::Judged;
use crate::{data::ScoredAnswer, page::numbers::number, verdict::Group};

/// Answers to a question in a group that the page has.
const MOST: usize = 100;

const SCRIPT: &str = include_str!("browser.js");

/// A group with the file that it is of.
pub type Of<'a> = (&'a Judged<'a>, &'a Group<'a>);

/// The answers of some groups.
pub fn browser(groups: &[Of<'_>]) -> Markup {
    let (mut questions, mut verdicts) = (Vec::new(), Vec::new());
    let mut left_out = 0;
    for (judged, group) in groups {
        for answer in &group.answers {
            let question = (answer.question_id.as_str(), answer.question.as_str());
            if !questions.contains(&question) {
                questions.push(question);
            }
            for label in judged.rules.labels(&judged.scored.scales, answer) {
                if !verdicts.contains(&label) {
                    verdicts.push(label);
                }
            }
        }
    }
    let column = |(judged, group): &Of<'_>, question: (&str, &str)| {
        let own =
            |answer: &&&ScoredAnswer| (answer.question_id.as_str(), answer.question.as_str()) == question;
        let answers: Vec<&ScoredAnswer> = group.answers.iter().filter(own).copied().collect();
        html! { div.column data-group=(group.name) {
            h4 { (group.name) }
            @for answer in answers.iter().take(MOST) { (one(judged, answer)) }
        } }
    };
    for (_, group) in groups {
        let mut counts = std::collections::HashMap::new();
        for answer in &group.answers {
            *counts.entry((&answer.question_id, &answer.question)).or_insert(0) += 1;
        }
        left_out += counts.values().map(|count: &usize| count.saturating_sub(MOST)).sum::<usize>();
    }
    html! {
        form.filter {
            (choice("by-verdict", "Verdict", verdicts.iter().map(String::as_str)))
            (choice("by-question", "Question", distinct(questions.iter().map(|question| question.0))))
            (choice("by-group", "Solution", groups.iter().map(|(_, group)| group.name.as_str())))
            button type="button" id="hide" { "Hide all texts" }
            output id="shown" aria-live="polite" {}
        }
        @if left_out > 0 {
            p.soft { (left_out) " answers are left out: the page has " (MOST) " to each question in each solution; the files have all." }
        }
        @for question in &questions {
            div.asked data-question=(question.0) {
                h3 { (question.0) }
                p { (question.1) }
                div.beside style={ "--columns:" (groups.len()) } { @for of in groups { (column(of, *question)) } }
            }
        }
        script { (PreEscaped(SCRIPT)) }
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut seen = std::collections::HashSet::new();
    names.filter(move |name| seen.insert(*name))
}

fn choice<'a>(id: &str, label: &str, options: impl Iterator<Item = &'a str>) -> Markup {
    html! { label { (label) " " select id=(id) {
        option value="" { "all" }
        @for option in options { option value=(option) { (option) } }
    } } }
}

/// An answer with its scores.
fn one(judged: &Judged<'_>, answer: &ScoredAnswer) -> Markup {
    let labels = judged.rules.labels(&judged.scored.scales, answer);
    let scores = judged.scored.scales.iter().zip(&answer.scores).enumerate();
    let scores = scores.map(|(at, (scale, score))| match score {
        Some(score) => format!("{scale} {}", number(*score)),
        None => {
            let reason = answer.reasons.get(at).and_then(Option::as_deref);
            format!("{scale}: {}", reason.unwrap_or("no score"))
        }
    });
    let scores: Vec<String> = scores.collect();
    html! {
        details.answer open[judged.is_harmless(answer)] data-labels=(labels.join("\n")) {
            summary {
                (scores.join(", "))
                @for label in &labels { " " span.label { (label) } }
            }
            div.text { (answer.response) }
        }
    }
}
