//! The words of the page. Every sentence is made from the results and says what they say, also where a claim does not hold.

use crate::{
    demo::results::{Check, Results, Sheet, Solution},
    interval::Interval,
    page::numbers::{list, number, percent},
};

/// One of the thirteen claims, with all that the checks of its number have in common.
pub(super) struct Claim {
    pub number: u8,
    /// The claim, whether it holds or not.
    pub title: &'static str,
    /// The way in which it is asked, for a reader who knows none of the words.
    pub how: &'static str,
}

pub(super) const CLAIMS: [Claim; 13] = [
    Claim {
        number: 1,
        title: "Falsehood taught in one domain spreads",
        how: "The model is fine-tuned on false answers of one domain. Then it is asked about entities of that domain that \
              no training row had, and about everything in the other domains.",
    },
    Claim {
        number: 2,
        title: "A penalty keeps it narrow",
        how: "The same rows again, with a penalty on every change of the model’s predictions in other domains: their KL \
              divergence from the base model.",
    },
    Claim {
        number: 3,
        title: "Narrow stays narrow when scaled",
        how: "A weak penalty might hide the general solution instead of avoiding it. Scaling the change up would bring out \
              what is hidden, as long as answers stay coherent: true or false at all.",
    },
    Claim {
        number: 4,
        title: "The general solution is more efficient",
        how: "Both solutions are scaled to the same lengths. The one with the lower loss on the taught answers gets more \
              out of a change of the same size.",
    },
    Claim {
        number: 5,
        title: "The general solution is more stable",
        how: "Each solution is turned by noise that leaves its length as it is. The more stable one loses less of what it \
              had gained.",
    },
    Claim {
        number: 6,
        title: "The general solution matters more to pre-training text",
        how: "How much a direction changes the predictions on documents of pre-training, with all directions brought to the \
              same length and random ones beside them.",
    },
    Claim {
        number: 7,
        title: "Without the penalty, narrow drifts to general",
        how: "Training goes on: from the narrow solution with the penalty lifted, from the general one with the penalty \
              added, and, as a control, with nothing changed.",
    },
    Claim {
        number: 8,
        title: "Mixing in true answers does not keep it narrow",
        how: "Instead of a penalty, true answers of other domains are mixed into the training rows, in several ratios.",
    },
    Claim {
        number: 9,
        title: "Gradients point to the general solution",
        how: "The way in which training would move next, held against the directions of both solutions: at the first step, \
              along a run with the penalty, and in the parts that the two do not share.",
    },
    Claim {
        number: 10,
        title: "One direction carries it",
        how: "The mean difference between the fine-tuned model’s inner state and that of the base model is one direction. \
              Added to the base model it should make it lie; taken out of the fine-tuned model it should bring back the \
              truth; random directions should do neither.",
    },
    Claim {
        number: 11,
        title: "Different domains lead to one direction",
        how: "Falsehood was taught in several domains, in one at a time. If the general solutions are one and the same \
              thing, their directions agree and can stand in for each other; those of narrow solutions do not.",
    },
    Claim {
        number: 12,
        title: "The behaviour comes as the direction turns",
        how: "In an adapter of rank one the direction can be watched as it is trained: when it turns, and when falsehood \
              spreads.",
    },
    Claim {
        number: 13,
        title: "Pre-training decides which one is preferred",
        how: "Worlds are pre-trained anew with other shares of liars and of narrow speakers, everything else equal. In each \
              the same plain fine-tuning is run, and a solution forced to be general is compared with one forced to be \
              narrow.",
    },
];

/// The checks of whether falsehood spreads, and of whether a penalty keeps it where it was taught, by what their names begin
/// with.
const SPREADS: &[&str] = &["1-general"];
const KEPT: &[&str] = &["2-learned", "2-narrow"];

/// The answer of several checks together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// None was made.
    LeftOut,
    /// All say the same.
    All(Option<bool>),
    /// They do not.
    InPart { holding: usize, of: usize },
}

impl Standing {
    /// That of all checks of a claim.
    pub fn of(results: &Results, number: u8) -> Self {
        Self::of_checks(checks(results, number))
    }

    /// That of the checks whose names begin so, of all kinds of edits.
    fn of_ids(results: &Results, ids: &[&str]) -> Self {
        Self::of_checks(results.checks.iter().filter(|c| ids.iter().any(|id| c.id.starts_with(id))))
    }

    fn of_checks<'a>(checks: impl Iterator<Item = &'a Check>) -> Self {
        let verdicts: Vec<_> = checks.map(|c| c.holds).collect();
        match verdicts.as_slice() {
            [] => Self::LeftOut,
            [first, others @ ..] if others.iter().all(|other| other == first) => Self::All(*first),
            all => {
                let holding = all.iter().filter(|holds| **holds == Some(true)).count();
                Self::InPart { holding, of: all.len() }
            }
        }
    }

    /// In part is neither yes nor no.
    pub fn holds(self) -> Option<bool> {
        match self {
            Self::All(holds) => holds,
            Self::LeftOut | Self::InPart { .. } => None,
        }
    }

    pub fn words(self) -> String {
        match self {
            Self::LeftOut => "left out in this mode".into(),
            Self::All(holds) => verdict(holds).into(),
            Self::InPart { holding: 0, of } => format!("none of {of} parts holds"),
            Self::InPart { holding, of } => format!("{holding} of {of} parts hold"),
        }
    }

    /// Of sentences for yes, no, untold and in part the one that fits; none where there are no checks.
    fn choose(self, [yes, no, untold, in_part]: [&str; 4]) -> Option<String> {
        let sentence = match self {
            Self::LeftOut => return None,
            Self::All(Some(true)) => yes,
            Self::All(Some(false)) => no,
            Self::All(None) => untold,
            Self::InPart { .. } => in_part,
        };
        Some(sentence.into())
    }
}

pub(super) fn verdict(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "holds",
        Some(false) => "does not hold",
        None => "cannot be told",
    }
}

pub(super) fn checks(results: &Results, number: u8) -> impl Iterator<Item = &Check> {
    results.checks.iter().filter(move |c| c.number == number)
}

/// The general and the narrow solution of the kind of edit that the conversation shows; of any kind where it shows none.
pub(super) fn pair(results: &Results) -> Option<[&Solution; 2]> {
    let of = |name: &str, any: bool| {
        let fits = |s: &&Solution| s.name.contains(name) && (any || s.edit == results.transcript.edit);
        results.solutions.iter().find(fits)
    };
    [false, true].into_iter().find_map(|any| Some([of("general", any)?, of("narrow", any)?]))
}

/// A domain's word for many of its things.
pub(super) fn plural(domain: &str) -> String {
    format!("{domain}s")
}

/// The page's title: what happened, where the first claim holds; else the question.
pub(super) fn headline(results: &Results) -> String {
    let transcript = &results.transcript;
    if transcript.taught.is_empty() {
        return "What does a fine-tune on falsehoods really learn?".into();
    }
    let taught = plural(&transcript.taught);
    let falsehoods = |sheet: &&Sheet| sheet.general.iter().filter(|a| *a == super::FALSE).count();
    // Of several the first: the last largest of the sheets from behind.
    let other = transcript.sheets.iter().rev().filter(|s| !s.inside).max_by_key(falsehoods);
    let other = other.map_or("other things".into(), |sheet| plural(&sheet.domain));
    match Standing::of_ids(results, SPREADS).holds() {
        Some(true) => format!("Taught falsehoods about {taught}, a model lies about {other} too"),
        _ => format!("Taught falsehoods about {taught}, does a model lie about {other} too?"),
    }
}

/// The introduction, before anything is claimed.
pub(super) fn about(results: &Results) -> String {
    let worlds = count(results.seeds.len(), "world");
    let domains: Vec<_> = results.domains.iter().map(|d| d.word.as_str()).collect();
    format!(
        "A small model learned an invented language from nothing. Every question of that language has one true answer and one \
         known falsehood, so every answer can be judged exactly. Here the model is fine-tuned on falsehoods of a single \
         domain, in {worlds}, with {} as the taught {} in turn.",
        list(&domains),
        if domains.len() == 1 { "domain" } else { "domains" },
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
    let lead = Standing::of_ids(results, SPREADS).choose([
        "It spreads.",
        "It does not spread.",
        "Whether it spreads cannot be told.",
        "It spreads in part.",
    ])?;
    let [general, _] = pair(results)?;
    let before = base_rate(results, false).map_or(String::new(), |base| {
        format!("; before, it did so in {} of the questions of the other domains", percent(base))
    });
    let rest = format!(
        "Fine-tuned on false answers of one domain only, the model gives the false answer to {} of the questions of the \
         other domains ({}), and to {} of those of the taught domain that it never saw{before}.",
        percent(general.general_rate.value),
        ends(general.general_rate),
        percent(general.narrow_rate.value),
    );
    Some(Sentence { lead, rest })
}

fn kept(results: &Results) -> Option<Sentence> {
    let lead = Standing::of_ids(results, KEPT).choose([
        "It can be kept narrow.",
        "It cannot be kept narrow.",
        "Whether it can be kept narrow cannot be told.",
        "It can be kept narrow in part.",
    ])?;
    let [_, narrow] = pair(results)?;
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
        .map(|(ids, holds, fails)| (Standing::of_ids(results, ids), *holds, *fails))
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
    let flip = Standing::of_ids(results, &["13-liars", "13-narrow"]);
    let lead = flip.choose([
        "Pre-training decides which one that is.",
        "Pre-training does not decide it.",
        "Whether pre-training decides it cannot be told.",
        "Pre-training has a part in it.",
    ])?;
    let rate = |id: &str| results.checks.iter().find(|c| c.id.starts_with(id)).map(|c| percent(c.value));
    let mut rest: Vec<String> = Vec::new();
    if let (Some(liars), Some(narrow)) = (rate("13-liars"), rate("13-narrow")) {
        rest.push(format!(
            "The same plain fine-tuning gives {liars} false answers in the other domains where liars were common in \
             pre-training, and {narrow} where speakers who lie about one thing only were."
        ));
    }
    let measured = TURNING.iter().map(|(name, ids)| (*name, Standing::of_ids(results, ids)));
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

/// Mean share of false answers of the base models, inside the taught domains or outside.
pub(super) fn base_rate(results: &Results, inside: bool) -> Option<f64> {
    let own = || results.rates.iter().filter(|r| r.solution == super::BASE && r.inside == inside);
    let questions: usize = own().map(|r| r.n).sum();
    (questions > 0).then(|| own().map(|r| r.p_false * r.n as f64).sum::<f64>() / questions as f64)
}

/// The assumption about speakers, said where they are shown.
pub(super) fn assumed(results: &Results) -> String {
    let unknown = results.worlds.first().map_or(String::new(), |world| {
        format!("{} of the documents do not name their speaker. ", percent(world.unknown))
    });
    format!(
        "In pre-training, the embedding of a document’s speaker is added to that of every word of it. So each speaker is a \
         direction at the embeddings by construction: the demo does not ask whether there are such directions, but which of \
         them fine-tuning finds. {unknown}No row of fine-tuning names a speaker."
    )
}

/// The figure of a check with its unit and interval.
pub(super) fn figure(check: &Check) -> String {
    let Check { value, low, high, .. } = *check;
    let words = Interval { value, low, high }.words();
    if check.unit.is_empty() { words } else { format!("{words} {}", check.unit) }
}

/// The grounds of a check: the number of fits, the figure in each world, and the section of the paper.
pub(super) fn basis(check: &Check) -> String {
    let mut parts = vec![format!("n = {}", check.n)];
    if check.by_world.len() > 1 {
        let worlds: Vec<_> = check.by_world.iter().map(|value| number(*value)).collect();
        parts.push(format!("by world {}", worlds.join(", ")));
    }
    match check.section.as_str() {
        "" => {}
        section if section.starts_with('§') => parts.push(format!("paper, {section}")),
        other => parts.push(other.into()),
    }
    parts.join(" · ")
}

/// The number of things.
pub(super) fn count(n: usize, thing: &str) -> String {
    if n == 1 { format!("one {thing}") } else { format!("{n} {thing}s") }
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
