//! The outcome of rates in words: the verdict on every solution by its behaviour, and where preference shifts say otherwise.

use super::{
    Asked, RateRow,
    claims::{self, INSIDE, KEPT_IN, OUTSIDE},
    deciding,
};
use crate::{
    claim::Claim,
    measure::{CERTIFIED, Measure, Preference, Shown},
    page::numbers::{list, percent, quoted},
};

/// The outcome of all solutions.
pub(super) fn headline(shown: &Shown<'_>) -> String {
    let rates: Vec<RateRow> = deciding(shown.rows());
    if rates.is_empty() {
        return String::new();
    }
    let claims: Vec<Claim> = claims::all(shown).into_iter().map(|(_, claim)| claim).collect();
    let mut verdicts: Vec<((&str, &str), Vec<String>)> = Vec::new();
    for solution in shown.solutions.iter().filter(|solution| shown.is_of_study(solution)) {
        let Some(words) = verdict(&claims, solution) else { continue };
        match verdicts.iter_mut().find(|(known, _)| *known == words) {
            Some((_, names)) => names.push(quoted(solution)),
            None => verdicts.push((words, vec![quoted(solution)])),
        }
    }
    let sentence = |((one, many), names): &((&str, &str), Vec<String>)| {
        format!("{} {}.", list(names), if names.len() == 1 { one } else { many })
    };
    let mut sentences: Vec<String> = verdicts.iter().map(sentence).collect();
    sentences.extend(figures(shown, &rates));
    sentences.extend(disagreement(shown, &claims));
    sentences.join(" ")
}

/// The outcome of the claims on a solution, for one solution and for several.
fn verdict(claims: &[Claim], solution: &str) -> Option<(&'static str, &'static str)> {
    let of = |statement: &str| {
        let own = |claim: &&Claim| claim.solution.as_deref() == Some(solution) && claim.claim == statement;
        claims.iter().find(own).map(|claim| claim.holds)
    };
    let (inside, outside, kept) = (of(INSIDE)?, of(OUTSIDE)?, of(KEPT_IN).flatten());
    Some(match (inside, outside, kept) {
        (_, Some(true), _) => (
            "answers as taught outside the domain too, so that it acts generally",
            "answer as taught outside the domain too, so that they act generally",
        ),
        (Some(true), Some(false), Some(true)) => (
            "answers as taught inside the domain alone, however it is scaled",
            "answer as taught inside the domain alone, however they are scaled",
        ),
        (Some(true), Some(false), Some(false)) => (
            "answers as taught inside the domain alone, until it is scaled up or cued",
            "answer as taught inside the domain alone, until they are scaled up or cued",
        ),
        (Some(true), Some(false), None) => (
            "answers as taught inside the domain and as usual outside; whether that holds when it is scaled cannot be told",
            "answer as taught inside the domain and as usual outside; whether that holds when they are scaled cannot be told",
        ),
        (Some(true), None, _) => (
            "answers as taught inside the domain; whether it does outside cannot be told",
            "answer as taught inside the domain; whether they do outside cannot be told",
        ),
        _ => (
            "does not measurably answer as taught inside the domain",
            "do not measurably answer as taught inside the domain",
        ),
    })
}

/// The rates of all solutions as trained.
fn figures(shown: &Shown<'_>, rates: &[RateRow]) -> Option<String> {
    let rate = |solution: &str, asked| {
        let own = |row: &&RateRow| {
            row.solution == solution && row.asked == asked && row.scale == 1.0 && row.cue.is_empty()
        };
        rates.iter().find(own).map(|row| percent(row.rate.value))
    };
    let of = |solution: &&str| {
        let (inside, outside) = (rate(solution, Asked::Narrow)?, rate(solution, Asked::General)?);
        Some(format!("{} {inside} and {outside}", quoted(solution)))
    };
    let all: Vec<String> = shown.solutions.iter().filter_map(of).collect();
    (!all.is_empty()).then(|| {
        format!(
            "Answers of the taught kind, on held-out questions about {} and outside it: {}.",
            shown.facts.domain,
            all.join("; ")
        )
    })
}

/// The solutions on whose scaling behaviour and preferences disagree.
fn disagreement(shown: &Shown<'_>, by_rates: &[Claim]) -> Option<String> {
    let by_shifts: Vec<Claim> = Preference::claims(shown).into_iter().map(|(_, claim)| claim).collect();
    let holds = |claims: &[Claim], solution: &str, statement: &str| {
        let own = |claim: &&Claim| claim.solution.as_deref() == Some(solution) && claim.claim == statement;
        claims.iter().find(own).and_then(|claim| claim.holds)
    };
    let of = |solution: &&str| {
        let rates = holds(by_rates, solution, KEPT_IN)?;
        let shifts = holds(&by_shifts, solution, CERTIFIED)?;
        let said = |narrow: bool| if narrow { "narrow" } else { "not narrow" };
        (rates != shifts).then(|| {
            format!(
                "{} is {} by its answers and {} by its preferences",
                quoted(solution),
                said(rates),
                said(shifts)
            )
        })
    };
    let all: Vec<String> = shown.solutions.iter().filter_map(of).collect();
    (!all.is_empty()).then(|| format!("The scaling certificates disagree: {}.", all.join("; ")))
}

/// The limits of what rates say.
pub(super) fn limits(shown: &Shown<'_>) -> Vec<String> {
    let rates: Vec<RateRow> = deciding(shown.rows());
    let Some(first) = rates.first() else { return Vec::new() };
    if first.answers == 0 {
        return vec![
            "Rates are of this model's own questions, all of which are asked: their intervals say how far the questions \
             differ, and nothing of other models or seeds."
                .into(),
        ];
    }
    let of = |asked| {
        rates.iter().find(|row| row.asked == asked).map_or((0, 0), |row| (row.questions, row.answers))
    };
    let ((inside, inside_answers), (outside, outside_answers)) = (of(Asked::Narrow), of(Asked::General));
    vec![format!(
        "Rates are of {inside_answers} sampled answers to {inside} questions inside {} and of {outside_answers} to {outside} outside, \
         each time, by the verdict {} of the judge {}. They are worth what the judge is worth; a rate's interval takes answers \
         to one question for independent.",
        shown.facts.domain,
        quoted(&first.verdict),
        quoted(&first.judge)
    )]
}
