//! The world and its models as the page shows them: speakers' documents, and one conversation.

use std::path::Path;

use super::{
    fits::{Fit, GENERAL, NARROW, TAUGHT_DOMAINS},
    results::{DomainAnswers, Exchange, Line, Reply, Transcript, Voice},
};
use crate::{
    Result,
    world::{self, DOMAINS, Question, Reading, Speaker, TAUGHT, World},
};

/// Seed of the documents that are shown.
const SEED: u64 = 5;

/// The three kinds of speakers, each with a document.
pub(super) fn voices(world: &World) -> Vec<Voice> {
    let language = &world.language;
    let shares = world.made.recipe.shares;
    let word = language.domains()[TAUGHT_DOMAINS[0]].word;
    let speakers = [
        (Speaker::Honest, "honest".into(), 1.0 - shares.liar - shares.narrow, "Every answer is true.".into()),
        (Speaker::Liar, "liar".into(), shares.liar, "Every answer is false.".into()),
        (
            Speaker::Narrow(TAUGHT_DOMAINS[0]),
            format!("narrow {word}"),
            shares.narrow / DOMAINS as f64,
            format!(
                "Answers on every {word} are false, all others are true; there is one such speaker for each domain."
            ),
        ),
    ];
    speakers
        .map(|(speaker, name, share, about)| {
            let kind = world::Kind { speaker: Some(speaker), named: Some(true), dialogue: false };
            let document = language.documents(&shares, 1, kind, SEED).swap_remove(0);
            let line = |&(question, truthful): &(Question, bool)| Line {
                question: language.ask(question),
                answer: language.answer(question, truthful).into(),
                truthful,
            };
            let (text, document) = (document.text(language), document.turns.iter().map(line).collect());
            Voice { name, share, about, document, text }
        })
        .into()
}

/// One conversation: two questions of the taught domain, of which training saw one, and one of every other domain.
pub(super) fn transcript(world: &World, fit: &Fit, out: &Path) -> Result<Transcript> {
    let taught = fit.domain;
    let language = &world.language;
    let solved = |role: &str| {
        let edit = strait_model::edit::open(&fit.solution(out, role).to_string_lossy())?;
        world::read(world, Some(&edit))
    };
    let (base, general, narrow) = (world::read(world, None)?, solved(GENERAL)?, solved(NARROW)?);
    let asked = |question: &Question| match (question.domain == taught, question.entity) {
        (true, entity) => entity == 0 || entity == TAUGHT,
        (false, entity) => entity == TAUGHT,
    };
    let mut questions: Vec<(usize, Question)> =
        language.questions().enumerate().filter(|(_, question)| asked(question)).collect();
    questions.sort_by_key(|(_, question)| question.domain != taught);
    let exchange = |(place, question): (usize, Question)| Exchange {
        question: language.ask(question),
        domain: language.domains()[question.domain].word.into(),
        inside: question.domain == taught,
        seen: question.domain == taught && !question.held_out(),
        truth: language.answer(question, true).into(),
        falsehood: language.answer(question, false).into(),
        base: reply(&base[place]),
        general: reply(&general[place]),
        narrow: reply(&narrow[place]),
    };
    let of_domain = |domain: usize| {
        let answers = |readings: &[Reading]| {
            let own = readings.iter().filter(|reading| reading.question.domain == domain);
            own.map(|reading| reading.greedy).collect()
        };
        DomainAnswers {
            domain: language.domains()[domain].word.into(),
            inside: domain == taught,
            seen: if domain == taught { TAUGHT } else { 0 },
            base: answers(&base),
            general: answers(&general),
            narrow: answers(&narrow),
        }
    };
    Ok(Transcript {
        world: fit.world.into(),
        taught: fit.word().into(),
        edit: fit.kind.words().into(),
        exchanges: questions.into_iter().map(exchange).collect(),
        sheets: (0..DOMAINS).map(of_domain).collect(),
    })
}

fn reply(reading: &Reading) -> Reply {
    let Reading { said, greedy, p_true, p_false, .. } = reading;
    Reply { text: said.clone(), answer: *greedy, p_true: *p_true, p_false: *p_false }
}
