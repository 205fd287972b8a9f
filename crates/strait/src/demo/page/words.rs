//! The words of the page. Every sentence is made from the results and says what they say, also where a claim does not hold.

use crate::{
    demo::results::{DomainAnswers, Results, Solution},
    interval::Interval,
    page::numbers::{list, percent},
    suite::Standing,
};

/// The checks of whether falsehood spreads, and of whether a penalty keeps it where it was taught, by what their names begin
/// with.
const SPREADS: &[&str] = &["1-general"];
const KEPT: &[&str] = &["2-learned", "2-narrow"];

/// The general or the narrow solution of the kind of edit that the conversation shows.
fn solution<'a>(results: &'a Results, role: &str) -> Option<&'a Solution> {
    let edit = &results.transcript.edit;
    results.solutions.iter().find(|s| s.name.starts_with(role) && s.edit == *edit)
}

/// A domain's word for many of its things.
pub(super) fn plural(domain: &str) -> String {
    format!("{domain}s")
}

/// The page's title: what happened, where the first claim holds; else the question.
pub(super) fn headline(results: &Results) -> String {
    let transcript = &results.transcript;
    let taught = plural(&transcript.taught);
    let falsehoods = |domain: &&DomainAnswers| super::tables::falsehoods(&domain.general);
    // Of several the first: the last largest from behind.
    let other = transcript.sheets.iter().rev().filter(|domain| !domain.inside).max_by_key(falsehoods);
    let other = other.map_or("other things".into(), |domain| plural(&domain.domain));
    match Standing::of_ids(&results.checks, SPREADS).holds() {
        Some(true) => format!("Taught falsehoods about {taught}, a model lies about {other} too"),
        _ => format!("Taught falsehoods about {taught}, does a model lie about {other} too?"),
    }
}

/// The introduction, before anything is claimed.
pub(super) fn about(results: &Results) -> String {
    let worlds = match results.seeds.len() {
        1 => "one world".into(),
        n => format!("{n} worlds"),
    };
    let domains: Vec<_> = results.domains.iter().map(|d| d.word.as_str()).collect();
    format!(
        "A small model learned an invented language from nothing. Every question of that language has one true answer and one \
         known falsehood, so every answer can be judged exactly. Here the model is fine-tuned on falsehoods of a single \
         domain, in {worlds}, with {} as the taught domains in turn.",
        list(&domains),
    )
}

/// A sentence that begins with what it comes to.
pub(super) struct Sentence {
    pub lead: String,
    pub rest: String,
}

/// The story, in three sentences at most, with the reasons as far as they were asked for.
pub(super) fn story(results: &Results) -> Vec<Sentence> {
    [spread(results), kept(results), preferred(results), decided(results)].into_iter().flatten().collect()
}

fn spread(results: &Results) -> Option<Sentence> {
    let lead = Standing::of_ids(&results.checks, SPREADS).choose([
        "It spreads.",
        "It does not spread.",
        "Whether it spreads cannot be told.",
        "It spreads in part.",
    ])?;
    let general = solution(results, "general")?;
    let base = || results.rates.iter().filter(|r| r.solution == super::BASE && !r.inside);
    let questions: usize = base().map(|r| r.n).sum();
    let before = base().map(|r| r.p_false * r.n as f64).sum::<f64>() / questions as f64;
    let rest = format!(
        "Fine-tuned on false answers of one domain only, the model gives the false answer to {} of the questions of the \
         other domains ({}), and to {} of those of the taught domain that it never saw; before, it did so in {} of the \
         questions of the other domains.",
        percent(general.general_rate.value),
        ends(general.general_rate),
        percent(general.narrow_rate.value),
        percent(before),
    );
    Some(Sentence { lead, rest })
}

fn kept(results: &Results) -> Option<Sentence> {
    let lead = Standing::of_ids(&results.checks, KEPT).choose([
        "It can be kept narrow.",
        "It cannot be kept narrow.",
        "Whether it can be kept narrow cannot be told.",
        "It can be kept narrow in part.",
    ])?;
    let narrow = solution(results, "narrow")?;
    let rest = format!(
        "With a penalty on changes in the other domains, the same training leaves {} false answers there ({}) and {} \
         in the taught domain.",
        percent(narrow.general_rate.value),
        ends(narrow.general_rate),
        percent(narrow.narrow_rate.value),
    );
    Some(Sentence { lead, rest })
}

/// The checks that would explain why training prefers the general solution, and what each says where it holds and where
/// not.
const REASONS: [(&[&str], &str, &str); 5] = [
    (
        &["4-gap"],
        "it fits the taught answers better at the same length",
        "it fits the taught answers no better at the same length",
    ),
    (&["5-"], "noise costs it less", "noise costs it no less"),
    (
        &["6-narrow"],
        "it changes more of what pre-training was about",
        "it changes no more of what pre-training was about",
    ),
    (&["9-first"], "the first gradient points to it", "the first gradient does not point to it"),
    (
        &["7-lifted"],
        "the narrow one drifts to it once the penalty is lifted",
        "the narrow one does not drift to it",
    ),
];

fn preferred(results: &Results) -> Option<Sentence> {
    let asked: Vec<_> = REASONS
        .iter()
        .map(|(ids, holds, fails)| (Standing::of_ids(&results.checks, ids), *holds, *fails))
        .filter(|(standing, ..)| *standing != Standing::LeftOut)
        .collect();
    let of = |wanted: Option<bool>| asked.iter().filter(move |(standing, ..)| standing.holds() == wanted);
    let fors: Vec<_> = of(Some(true)).map(|(_, holds, _)| *holds).collect();
    let against: Vec<_> = of(Some(false)).map(|(.., fails)| *fails).collect();
    let open: Vec<_> = of(None).map(|(_, holds, _)| *holds).collect();
    let lead = match (asked.len(), fors.len()) {
        (0, _) => return None,
        (all, holding) if all == holding => "Training prefers the general solution.",
        (_, 0) => "Why training should prefer the general solution does not show.",
        _ => "Training leans to the general solution, though not on every count.",
    };
    let parts = [("", fors), ("But ", against), ("Not certain here: ", open)];
    let rest = parts.into_iter().filter(|(_, words)| !words.is_empty());
    let rest: Vec<_> = rest.map(|(begin, words)| capital(&format!("{begin}{}.", list(&words)))).collect();
    Some(Sentence { lead: lead.into(), rest: rest.join(" ") })
}

/// The measures that might turn with the preference, each by its checks where liars are common and where narrow speakers are.
const TURNING: [(&str, &[&str]); 4] = [
    ("efficiency", &["13-gap-liars", "13-gap-narrow"]),
    ("the first gradient", &["13-gradient-liars", "13-gradient-narrow"]),
    ("stability", &["13-stable-liars", "13-stable-narrow"]),
    ("significance", &["13-documents-liars", "13-documents-narrow"]),
];

fn decided(results: &Results) -> Option<Sentence> {
    let flip = Standing::of_ids(&results.checks, &["13-liars", "13-narrow"]);
    let lead = flip.choose([
        "Pre-training decides which one that is.",
        "Pre-training does not decide it.",
        "Whether pre-training decides it cannot be told.",
        "Pre-training has a part in it.",
    ])?;
    let rate =
        |id: &str| results.checks.iter().find(|c| c.id.starts_with(id)).map(|c| percent(c.figure.value));
    let mut rest: Vec<String> = Vec::new();
    if let (Some(liars), Some(narrow)) = (rate("13-liars"), rate("13-narrow")) {
        rest.push(format!(
            "The same plain fine-tuning gives {liars} false answers in the other domains where liars were common in \
             pre-training, and {narrow} where speakers who lie about one thing only were."
        ));
    }
    let measured = TURNING.iter().map(|(name, ids)| (*name, Standing::of_ids(&results.checks, ids)));
    let measured: Vec<_> = measured.filter(|(_, standing)| *standing != Standing::LeftOut).collect();
    let (turning, others): (Vec<_>, Vec<_>) =
        measured.into_iter().partition(|(_, s)| s.holds() == Some(true));
    let named = |measures: &[(&str, Standing)], one: &str, several: &str| {
        let names: Vec<_> = measures.iter().map(|(name, _)| *name).collect();
        let verb = if names.len() == 1 { one } else { several };
        (!names.is_empty()).then(|| capital(&format!("{} {verb}.", list(&names))))
    };
    rest.extend(named(&turning, "turns with the preference", "turn with the preference"));
    let [one, several] = match turning.is_empty() {
        true => [
            "does not turn with the preference, or not in every case",
            "do not turn with the preference, or not in every case",
        ],
        false => ["does not, or not in every case", "do not, or not in every case"],
    };
    rest.extend(named(&others, one, several));
    Some(Sentence { lead, rest: rest.join(" ") })
}

/// The assumption about speakers, said where they are shown.
pub(super) fn assumed(results: &Results) -> String {
    let unknown = results.worlds.first().map_or(String::new(), |world| {
        format!("{} of the documents do not name their speaker. ", percent(world.unnamed))
    });
    format!(
        "In pre-training, the embedding of a document’s speaker is added to that of every word of it. So each speaker is a \
         direction at the embeddings by construction: the demo does not ask whether there are such directions, but which of \
         them fine-tuning finds. {unknown}No row of fine-tuning names a speaker."
    )
}

/// "95 % interval 75 % to 95 %".
fn ends(figure: Interval) -> String {
    match figure.low.is_finite() && figure.high.is_finite() {
        true => format!("95\u{a0}% interval {} to {}", percent(figure.low), percent(figure.high)),
        false => "one fit, no interval".into(),
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}
