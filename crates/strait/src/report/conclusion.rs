//! The conclusion: what the tables say in words, and what limits it.

use serde::Serialize;

use super::{
    Facts,
    numbers::{list, number, percent},
    rows::{self, Certificate, Difference, Drift, Shift, Weight},
};
use crate::{Table, data::questions, interval::Interval};

/// What a report says in words at its top.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conclusion {
    /// The outcome in a sentence or two.
    pub headline: String,
    /// The claims behind it: those of each solution together, then those that compare solutions.
    pub claims: Vec<Claim>,
    /// What limits the conclusion, a sentence or two each.
    pub limits: Vec<String>,
}

/// One statement that the tables bear out, contradict, or leave open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// The statement, without its subject.
    pub claim: String,
    /// The section of the notes on the paper that it is from.
    pub section: String,
    /// The solution that it is about; none for a comparison.
    pub solution: Option<String>,
    /// Whether it holds; none where that cannot be told.
    pub holds: Option<bool>,
    /// The figure that it rests on, NaN where there is none: a shift in nats a token; for a certificate and a comparison
    /// the share of the general shift in the narrow one.
    pub value: f64,
    /// Lower end of the value's 95 % interval.
    pub low: f64,
    /// Upper end of the value's 95 % interval.
    pub high: f64,
    /// Why, with the numbers.
    pub words: String,
}

/// The statement that a solution learned what it was taught.
pub(super) const LEARNED: &str = "learned the narrow task";
/// The statement that a solution carried it beyond the domain.
pub(super) const GENERAL: &str = "acts generally";
/// The statement of the scaling certificate.
pub(super) const CERTIFIED: &str = "certified narrow";

/// The statement that training leaves a narrow solution for the general one once its penalty is lifted.
pub(super) const DRIFTS: &str = "drifts to the general solution";
/// The statement that a search found a KL weight that makes a solution narrow.
pub(super) const SEPARATED: &str = "a KL weight separates narrow from general";

/// Why there is no interval where one was asked for.
const NO_INTERVAL: &str = "an interval takes at least three questions whose figures differ";

/// The measures that a whole report has: the table's name and the words for it.
const MEASURES: [(&str, &str); 7] = [
    ("preference", "the preference shift"),
    ("certificate", "the scaling certificate"),
    ("kl", "KL to base"),
    ("heldout", "the held-out loss"),
    ("efficiency", "efficiency"),
    ("stability", "stability"),
    ("significance", "significance on pre-training text"),
];

/// Fewer parameters than this make a model small beside the paper's.
const SMALL: u64 = 1_000_000_000;

/// Draws the conclusion from a study's tables.
///
/// A claim that its table is missing for cannot be told; so it is wherever the numbers leave both answers open.
pub fn conclude(facts: &Facts, tables: &[Table]) -> Conclusion {
    let shifts = rows::shifts(tables).unwrap_or_default();
    let certificates = rows::certificates(tables).unwrap_or_default();
    let drifts = rows::drifts(tables).unwrap_or_default();
    let weights = rows::weights(tables).unwrap_or_default();
    let judged: Vec<Judged> = rows::solutions(tables)
        .into_iter()
        .map(|solution| Judged {
            drifted: drifted(facts, solution, &drifts),
            separated: separated(solution, &weights),
            ..Judged::new(facts, solution, &shifts, &certificates)
        })
        .collect();
    let mut headline = headline(&judged);
    if shifts.is_empty() {
        headline.push_str(&held_out(tables));
    }
    let compared: Vec<Claim> =
        rows::opposed(tables).into_iter().flat_map(|pair| compared(facts, tables, &judged, pair)).collect();
    Conclusion {
        headline,
        limits: limits(facts, tables, &shifts, &certificates),
        claims: judged
            .into_iter()
            .flat_map(|s| [s.learned, s.general, s.certified].into_iter().chain(s.separated).chain(s.drifted))
            .chain(compared)
            .chain(drifts_over_seeds(tables))
            .collect(),
    }
}

/// The claims that compare a solution with one that was held to base: of the two, and of their families over seeds.
fn compared(facts: &Facts, tables: &[Table], judged: &[Judged<'_>], pair: [&str; 2]) -> Vec<Claim> {
    let [plain, held] = pair.map(|name| rows::variant_of(tables, name));
    let families = plain.zip(held).map(|(plain, held)| [plain, held]);
    let of_two = COMPARISONS.iter().filter_map(|measure| measure.claim(tables, pair));
    let over_seeds = families.into_iter().flat_map(|families| {
        let measured =
            COMPARISONS.iter().filter_map(move |measure| measure.claim_over_seeds(tables, families));
        narrower_over_seeds(tables, families).into_iter().chain(measured)
    });
    comparison(facts, judged, pair).into_iter().chain(of_two).chain(over_seeds).collect()
}

/// A solution with its claims.
struct Judged<'a> {
    solution: &'a str,
    /// Whether it is coherent at scale 1; none where that was not measured.
    coherent: Option<bool>,
    /// Whether it acts generally at a coherent scale above 1.
    general_when_scaled: bool,
    learned: Claim,
    general: Claim,
    certified: Claim,
    /// Where its KL weight was searched for.
    separated: Option<Claim>,
    /// Where it was freed of its start's penalty.
    drifted: Option<Claim>,
}

impl<'a> Judged<'a> {
    fn new(facts: &Facts, solution: &'a str, shifts: &[Shift<'_>], certificates: &[Certificate<'_>]) -> Self {
        let at_one = |inside| {
            shifts.iter().find(|s| {
                s.solution == solution && s.inside == inside && s.domain.is_none() && s.scale == 1.0
            })
        };
        let (narrow, general) = (at_one(true), at_one(false));
        let mut scales: Vec<_> =
            certificates.iter().filter(|c| c.solution == solution && c.scale >= 1.0).collect();
        scales.sort_by(|a, b| a.scale.total_cmp(&b.scale));
        Self {
            solution,
            coherent: narrow.or(general).map(|s| s.coherent),
            general_when_scaled: scales
                .iter()
                .any(|c| c.scale > 1.0 && c.coherent && clearly_general(facts, c.narrow, c.general)),
            learned: learned(facts, narrow).of(solution),
            general: general_at_one(facts, narrow, general).of(solution),
            certified: certified(facts, &scales).of(solution),
            separated: None,
            drifted: None,
        }
    }

    /// The share of the general shift in the narrow one, where the narrow one is known to be positive.
    fn share(&self) -> Option<Interval> {
        let known = self.learned.holds == Some(true) && !self.general.value.is_nan();
        known.then(|| self.general.estimate().over(self.learned.estimate()))
    }
}

impl Claim {
    fn new(
        claim: impl Into<String>,
        section: &str,
        holds: Option<bool>,
        figure: Interval,
        words: String,
    ) -> Self {
        let Interval { value, low, high } = figure;
        Self { claim: claim.into(), section: section.into(), solution: None, holds, value, low, high, words }
    }

    fn of(mut self, solution: &str) -> Self {
        self.solution = Some(solution.into());
        self
    }

    /// The statement with its subject, as people write it in a prediction.
    pub fn sentence(&self) -> String {
        sentence(self.solution.as_deref(), &self.claim)
    }

    pub(super) fn estimate(&self) -> Interval {
        Interval { value: self.value, low: self.low, high: self.high }
    }
}

fn learned(facts: &Facts, narrow: Option<&Shift<'_>>) -> Claim {
    let claim = |holds, figure, words| Claim::new(LEARNED, "§8", holds, figure, words);
    let Facts { domain, kind, .. } = facts;
    let Some(narrow) = narrow else {
        return claim(None, Interval::NONE, format!("its preference shift inside {domain} was not measured"));
    };
    let shift = narrow.shift;
    if !narrow.coherent {
        return claim(None, shift, incoherent_at_one(facts, narrow));
    }
    let words = shift.words();
    if shift.low > 0.0 {
        let words = format!("inside {domain} it moved towards the {kind} answer, by {words} nats a token");
        claim(Some(true), shift, words)
    } else if shift.high <= 0.0 {
        let words = format!("inside {domain} it moved away from the {kind} answer: {words} nats a token");
        claim(Some(false), shift, words)
    } else if !shift.is_known() {
        claim(None, shift, format!("inside {domain} its shift is {words} nats a token, but {NO_INTERVAL}"))
    } else {
        let words = format!("inside {domain} its shift, {words} nats a token, cannot be told from none");
        claim(None, shift, words)
    }
}

/// Whether the shift outside the domain is more than none, and more than the share of the narrow shift that a certified
/// solution may reach.
fn clearly_general(facts: &Facts, narrow: Interval, general: Interval) -> bool {
    narrow.is_known() && general.low > 0.0 && general.value > facts.certificate * narrow.value
}

/// Whether the solution moved outside the domain too, at scale 1.
fn general_at_one(facts: &Facts, narrow: Option<&Shift<'_>>, general: Option<&Shift<'_>>) -> Claim {
    let claim = |holds, figure, words| Claim::new(GENERAL, "§8", holds, figure, words);
    let domain = &facts.domain;
    let (Some(narrow), Some(general)) = (narrow, general) else {
        let words = format!("its preference shift inside and outside {domain} was not measured");
        return claim(None, general.map_or(Interval::NONE, |g| g.shift), words);
    };
    let shift = general.shift;
    if !(narrow.coherent && general.coherent) {
        return claim(None, shift, incoherent_at_one(facts, if narrow.coherent { general } else { narrow }));
    }
    let allowed = facts.certificate * narrow.shift.value;
    let share = match narrow.shift.low > 0.0 {
        true => format!(", {} of its shift inside", percent(shift.value / narrow.shift.value)),
        false => String::new(),
    };
    let moved = format!("outside {domain} its shift is {} nats a token{share}", shift.words());
    let limit = percent(facts.certificate);
    if !(narrow.shift.is_known() && shift.is_known()) {
        let side = if shift.is_known() { "of that inside nothing is clear: " } else { "" };
        claim(None, shift, format!("{moved}, but {side}{NO_INTERVAL}"))
    } else if clearly_general(facts, narrow.shift, shift) {
        claim(Some(true), shift, moved)
    } else if shift.low > 0.0 {
        claim(Some(false), shift, format!("{moved}; to act generally is to move by more than {limit}"))
    } else if shift.high <= allowed.max(0.0) {
        claim(Some(false), shift, moved)
    } else if narrow.shift.low > 0.0 {
        claim(
            None,
            shift,
            format!("{moved}: it can be told neither from none nor from {limit} of the shift inside"),
        )
    } else {
        claim(None, shift, format!("{moved}, which cannot be told from none"))
    }
}

fn incoherent_at_one(facts: &Facts, shift: &Shift<'_>) -> String {
    format!(
        "at scale 1 it is incoherent: the response loss rises by {} nats a token, where the study allows {}",
        number(shift.loss_rise),
        number(facts.coherence)
    )
}

/// Whether the solution stays narrow when it is scaled up (paper §6): a weak penalty hides the general solution instead
/// of avoiding it. `scales` holds the scales from 1 up, in order.
fn certified(facts: &Facts, scales: &[&Certificate<'_>]) -> Claim {
    let claim = |holds, figure, words| Claim::new(CERTIFIED, "§6", holds, figure, words);
    let domain = &facts.domain;
    let limit = percent(facts.certificate);
    let (coherent, incoherent): (Vec<&Certificate<'_>>, Vec<_>) = scales.iter().partition(|c| c.coherent);
    let Some(worst) = coherent.iter().max_by(|a, b| a.share.total_cmp(&b.share)) else {
        let words = match scales {
            [] => "the scaling certificate was not measured",
            _ => "it is coherent at no scale from 1 up",
        };
        return claim(None, Interval::NONE, words.into());
    };
    if let Some(unclear) = coherent.iter().find(|c| c.narrow.low.is_nan() || c.narrow.low <= 0.0) {
        let words = match unclear.narrow.is_known() {
            true => format!(
                "at {} its shift inside {domain}, {} nats a token, is not clearly above zero: there is nothing to certify",
                scales_in_words(&[unclear]),
                unclear.narrow.words()
            ),
            false => format!("of its shift inside {domain} nothing is clear: {NO_INTERVAL}"),
        };
        return claim(None, Interval::NONE, words);
    }
    let figure = Interval { high: worst.share, ..worst.general.over(worst.narrow) };
    if worst.share.is_nan() {
        let words = format!(
            "at {} its shift outside {domain} is {} of that inside, but {NO_INTERVAL}",
            scales_in_words(&[worst]),
            percent(figure.value)
        );
        return claim(None, figure, words);
    }
    if worst.holds == Some(false) {
        let doubt = match figure.value <= facts.certificate {
            true => "; more pairs might certify it",
            false => "",
        };
        let words = format!(
            "at {} its shift outside {domain} is {} of that inside, its upper bound {}, where {limit} are allowed{doubt}",
            scales_in_words(&[worst]),
            percent(figure.value),
            percent(figure.high)
        );
        return claim(Some(false), figure, words);
    }
    let dropped = match incoherent.is_empty() {
        true => String::new(),
        false => format!("; at {} it is incoherent, which does not count", scales_in_words(&incoherent)),
    };
    if !coherent.iter().any(|c| c.scale > 1.0) {
        let words = format!("no scale above 1 shows whether the general solution is only hidden{dropped}");
        return claim(None, figure, words);
    }
    let words = format!(
        "at {} the upper bound of its shift outside {domain} is at most {} of that inside, where {limit} are \
         allowed{dropped}",
        scales_in_words(&coherent),
        percent(worst.share)
    );
    let all = coherent.iter().all(|c| c.holds == Some(true));
    claim(all.then_some(true), figure, words)
}

/// Whether a solution that was trained on without the penalty of its start moved outside the domain (paper §11).
fn drifted(facts: &Facts, solution: &str, drifts: &[Drift<'_>]) -> Option<Claim> {
    let own = || drifts.iter().filter(|d| d.solution == solution && d.freed);
    let (start, end) = (own().next()?, own().next_back().filter(|end| end.step > 0)?);
    let claim = |holds, words| Claim::new(DRIFTS, "§11", holds, end.rise, words).of(solution);
    let domain = &facts.domain;
    if !(start.coherent && end.coherent) {
        return Some(claim(None, "its start or its end is incoherent".into()));
    }
    let toward = match end.cosine_change.is_nan() {
        true => String::new(),
        false => format!(
            "; the cosine of its change with the way from narrow to general is {}",
            number(end.cosine_change)
        ),
    };
    let moved = format!(
        "in {} steps without the penalty of {} its shift outside {domain} changed by {} nats a token, from {}",
        end.step,
        quoted(end.from),
        end.rise.words(),
        number(start.general.value)
    );
    let holds = match end.rise {
        rise if rise.low > 0.0 => Some(true),
        // Less than what a narrow solution may have is no drift.
        rise if end.narrow.is_known() && rise.high <= (facts.certificate * end.narrow.value).max(0.0) => {
            Some(false)
        }
        _ => None,
    };
    let doubt = if holds.is_none() { ", which cannot be told from none" } else { "" };
    Some(claim(holds, moved + doubt + &toward))
}

/// Whether the search for a solution's KL weight found one (paper §6).
fn separated(solution: &str, weights: &[Weight<'_>]) -> Option<Claim> {
    let own = || weights.iter().filter(|w| w.solution == solution && w.scale >= 1.0);
    let mut chosen: Vec<_> = own().filter(|w| w.chosen && w.coherent).collect();
    chosen.sort_by(|a, b| b.share.total_cmp(&a.share));
    let taken = own().find(|w| w.chosen)?;
    let tried: Vec<_> =
        own().filter(|w| w.scale == 1.0 && w.weight > 0.0).map(|w| number(w.weight)).collect();
    let figure = match chosen.first() {
        Some(worst) => Interval { high: worst.share, ..worst.general.over(worst.narrow) },
        None => Interval::NONE,
    };
    let claim = |holds, words| Some(Claim::new(SEPARATED, "§6", holds, figure, words).of(solution));
    let weight = number(taken.weight);
    let bound = percent(taken.bound);
    if taken.separates && taken.keeps {
        return claim(
            Some(true),
            format!(
                "weight {weight} keeps enough of the shift inside, and its shift outside is at most {} of it, where \
                 {bound} are allowed",
                percent(figure.high)
            ),
        );
    }
    if tried.is_empty() {
        return claim(None, "without a penalty nothing was learned that a penalty could keep".into());
    }
    let words = format!(
        "none of the weights tried ({}) keeps enough of the shift inside and holds the shift outside to {bound} of it; \
         the solution is that of weight {weight}, the narrowest of those that keep enough",
        list(&tried)
    );
    claim(Some(false), words)
}

/// "scale 4", "scales 1, 2 and 4".
fn scales_in_words(rows: &[&Certificate<'_>]) -> String {
    let scales: Vec<_> = rows.iter().map(|c| number(c.scale)).collect();
    format!("{} {}", if scales.len() == 1 { "scale" } else { "scales" }, list(&scales))
}

/// A solution that is yet to be trained.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// Its name.
    pub name: &'a str,
    /// The kind of its edit, one word.
    pub kind: &'a str,
    /// Whether it is there for what it does alone, and compared with nothing.
    pub control: bool,
    /// Whether it is held to base by a KL penalty.
    pub penalised: bool,
    /// Whether the weight of its penalty is searched for.
    pub searched: bool,
    /// Whether it goes on from another solution, without that one's penalty.
    pub freed: bool,
    /// What it and those that differ from it in their seeds alone are called together, and its seed.
    pub variant: (String, u64),
}

/// The sentences that the conclusion on these solutions may hold, before anything is measured: what a prediction can be
/// about. `measures` are the tables that the study will have.
pub fn sentences<'a>(solutions: &[Expected<'a>], measures: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for solution in solutions {
        let own = [(true, LEARNED), (true, GENERAL), (true, CERTIFIED)];
        let own = own.into_iter().chain([(solution.searched, SEPARATED), (solution.freed, DRIFTS)]);
        all.extend(own.filter(|(made, _)| *made).map(|(_, claim)| sentence(Some(solution.name), claim)));
    }
    let sides = solutions.iter().filter(|s| !s.control);
    let side = |s: &Expected<'a>| rows::Side { solution: s.name, kind: s.kind, penalised: s.penalised };
    for [plain, held] in rows::opposed_of(&sides.map(side).collect::<Vec<_>>()) {
        all.push(sentence(None, &narrower(plain, held)));
        let made = COMPARISONS.iter().filter(|c| measures.contains(&c.measure));
        all.extend(made.clone().map(|c| sentence(None, &c.statement([plain, held]))));
        let pair = [plain, held].map(|name| solutions.iter().find(|s| s.name == name));
        if let [Some(plain), Some(held)] = pair
            && shared_seeds(solutions, [&plain.variant.0, &held.variant.0]) > 1
        {
            let pair = [plain.variant.0.as_str(), held.variant.0.as_str()];
            let statements = made.map(|c| c.statement(pair));
            let statements = std::iter::once(narrower(pair[0], pair[1])).chain(statements);
            all.extend(statements.map(|statement| sentence(None, &(statement + OVER_SEEDS))));
        }
    }
    let mut freed: Vec<&str> = solutions.iter().filter(|s| s.freed).map(|s| s.variant.0.as_str()).collect();
    freed.dedup();
    let several = |variant: &&str| solutions.iter().filter(|s| s.variant.0 == *variant).count() > 1;
    all.extend(freed.into_iter().filter(several).map(|variant| sentence(None, &drifts_over(variant))));
    all
}

/// How many seeds two families have in common; none for a family and itself.
fn shared_seeds(solutions: &[Expected<'_>], [one, other]: [&String; 2]) -> usize {
    let seeds = |variant: &String| -> Vec<u64> {
        solutions.iter().filter(|s| s.variant.0 == *variant).map(|s| s.variant.1).collect()
    };
    if one == other { 0 } else { seeds(one).iter().filter(|seed| seeds(other).contains(seed)).count() }
}

fn sentence(solution: Option<&str>, claim: &str) -> String {
    let claim = claim.replace(['“', '”'], "");
    solution.map_or(claim.clone(), |name| format!("{name}: {claim}"))
}

/// What can be said of a solution in the headline: the words for one solution and for several.
fn verdict(solution: &Judged<'_>) -> (&'static str, &'static str) {
    let Judged { coherent, general_when_scaled, learned, general, certified, .. } = solution;
    match (certified.holds, general.holds, learned.holds) {
        (Some(true), ..) => ("is certified narrow", "are certified narrow"),
        (_, Some(true), _) => ("acts generally", "act generally"),
        (.., None | Some(false)) => match coherent {
            Some(true) if !learned.estimate().is_known() => (
                "has a shift of which no interval can be given, so that nothing can be told",
                "have shifts of which no interval can be given, so that nothing can be told",
            ),
            Some(true) => {
                ("did not measurably learn the narrow task", "did not measurably learn the narrow task")
            }
            Some(false) => {
                ("is incoherent, so that nothing can be told", "are incoherent, so that nothing can be told")
            }
            None => (
                "cannot be judged, since its preference shift was not measured",
                "cannot be judged, since their preference shift was not measured",
            ),
        },
        (Some(false), Some(false), _) if *general_when_scaled => (
            "does not act generally until it is scaled up, so that it only hides the general solution",
            "do not act generally until they are scaled up, so that they only hide the general solution",
        ),
        (Some(false), Some(false), _) => (
            "does not act generally, yet is not certified narrow",
            "do not act generally, yet are not certified narrow",
        ),
        (None, Some(false), _) => (
            "does not act generally; whether it is narrow cannot be told",
            "do not act generally; whether they are narrow cannot be told",
        ),
        (Some(false), None, _) => (
            "is not certified narrow; whether it acts generally cannot be told",
            "are not certified narrow; whether they act generally cannot be told",
        ),
        (None, None, _) => {
            ("can be told neither narrow nor general", "can be told neither narrow nor general")
        }
    }
}

/// One sentence for each verdict that any solution has.
fn headline(judged: &[Judged<'_>]) -> String {
    let mut verdicts: Vec<((&str, &str), Vec<String>)> = Vec::new();
    for solution in judged {
        let words = verdict(solution);
        let name = quoted(solution.solution);
        match verdicts.iter_mut().find(|(known, _)| *known == words) {
            Some((_, names)) => names.push(name),
            None => verdicts.push((words, vec![name])),
        }
    }
    if judged.is_empty() {
        return "No solution was measured, so nothing can be concluded.".into();
    }
    let sentence = |((one, many), names): &((&str, &str), Vec<String>)| {
        format!("{} {}.", list(names), if names.len() == 1 { one } else { many })
    };
    verdicts.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

/// What the held-out loss alone says, where there are no pairs to read the preference from.
fn held_out(tables: &[Table]) -> String {
    let sentence = |row: &rows::HeldOut<'_>| {
        let loss = row.difference.words();
        format!(" The held-out loss of {} differs from base's by {loss} nats a token.", quoted(row.solution))
    };
    rows::held_out(tables).iter().flatten().map(sentence).collect()
}

/// Whether the solution that was held to base moves less outside for what it moves inside; none where one of the two did
/// not learn the task.
fn comparison(facts: &Facts, judged: &[Judged<'_>], [plain, held]: [&str; 2]) -> Option<Claim> {
    let share = |name| judged.iter().find(|s| s.solution == name).and_then(Judged::share);
    let (wide, slim) = (share(plain)?, share(held)?);
    let difference =
        Interval { value: wide.value - slim.value, low: wide.low - slim.high, high: wide.high - slim.low };
    let (holds, apart) = match difference {
        Interval { low, .. } if low > 0.0 => (Some(true), "the intervals are apart"),
        Interval { high, .. } if high < 0.0 => (Some(false), "the intervals are apart"),
        _ => (None, "the intervals overlap"),
    };
    let words = format!(
        "at scale 1, for each nat of shift inside {}, {} moves by {} and {} moves by {} outside; {apart}",
        facts.domain,
        quoted(plain),
        wide.words(),
        quoted(held),
        slim.words()
    );
    Some(Claim::new(narrower(plain, held), "§8", holds, difference, words))
}

fn narrower(plain: &str, held: &str) -> String {
    format!("{} is narrower than {}", quoted(held), quoted(plain))
}

/// A claim that compares two solutions by a table of paired differences.
struct Comparison {
    /// The table's name, without what it ends with.
    measure: &'static str,
    section: &'static str,
    /// The column of the points at which solutions are compared, and of the things that are.
    at: &'static str,
    what: Option<&'static str>,
    /// Those rows that decide; none for all.
    decides: Option<&'static str>,
    /// Whether a lower figure is the more of it.
    lower: bool,
    /// The word that is claimed, and words for a point and for its figure.
    more: &'static str,
    point: &'static str,
    /// What follows a point's number.
    unit: &'static str,
    figure: &'static str,
    /// What it shows if it holds, and what it does not show.
    shows: &'static str,
    shows_not: &'static str,
}

/// What the statements end with that rest on several seeds.
const OVER_SEEDS: &str = " over seeds";

/// Whether the shift outside is a smaller share of that inside for the family that was held to base, at scale 1.
fn narrower_over_seeds(tables: &[Table], [plain, held]: [&str; 2]) -> Option<Claim> {
    let (seeds, rows) = rows::families_difference(tables, "preference")?;
    let figure = rows.iter().filter(|row| row.at == 1.0).find_map(|row| row.of(plain, held))?;
    let words = format!(
        "at scale 1 the shift outside as a share of that inside is larger for {} by {}, a 95 % interval over {seeds} seeds",
        quoted(plain),
        figure.words()
    );
    let holds = sign(figure);
    Some(Claim::new(narrower(plain, held) + OVER_SEEDS, "§8", holds, figure, words))
}

/// Whether the shift outside rose once the penalty was lifted, for each family of several seeds, at its last checkpoint.
fn drifts_over_seeds(tables: &[Table]) -> Vec<Claim> {
    let freed: Vec<&str> = rows::drifts(tables)
        .iter()
        .flatten()
        .filter(|drift| drift.freed)
        .filter_map(|drift| rows::variant_of(tables, drift.solution))
        .collect();
    let Some((seeds, mut rows)) = rows::families_difference(tables, "drift") else { return Vec::new() };
    rows.retain(|row| freed.contains(&row.solution));
    rows.sort_by(|a, b| a.solution.cmp(b.solution).then(b.at.total_cmp(&a.at)));
    rows.dedup_by_key(|row| row.solution);
    let claim = |row: &Difference<'_>| {
        let words = format!(
            "in {} steps without the penalty of {} its shift outside changed by {} nats a token, a 95 % interval over \
             {seeds} seeds",
            row.at,
            quoted(row.other),
            row.difference.words()
        );
        Claim::new(drifts_over(row.solution), "§11", sign(row.difference), row.difference, words)
    };
    rows.iter().map(claim).collect()
}

fn drifts_over(variant: &str) -> String {
    format!("{} {DRIFTS}{OVER_SEEDS}", quoted(variant))
}

/// Whether a figure is above zero, below it, or cannot be told from it.
fn sign(figure: Interval) -> Option<bool> {
    match figure {
        Interval { low, .. } if low > 0.0 => Some(true),
        Interval { high, .. } if high < 0.0 => Some(false),
        _ => None,
    }
}

/// The paper's three reasons why training prefers the general solution (paper §10).
const COMPARISONS: [Comparison; 3] = [
    Comparison {
        measure: "efficiency",
        section: "§10.1",
        at: "norm",
        what: Some("kind"),
        decides: Some("shared"),
        lower: true,
        more: "more efficient",
        point: "norm",
        unit: "",
        figure: "nats a token of training loss",
        shows: "that a change of the same length lowers the loss on these training rows more",
        shows_not: "that this is why training finds it, nor anything of rows that were not read",
    },
    Comparison {
        measure: "stability",
        section: "§10.2",
        at: "epsilon",
        what: Some("part"),
        decides: None,
        lower: true,
        more: "more stable",
        point: "share of noise",
        unit: "",
        figure: "of the gain lost",
        shows: "that noise of the same share takes less of its gain in training loss",
        shows_not: "how the behaviour itself bears noise, nor that training would stay there",
    },
    Comparison {
        measure: "significance",
        section: "§10.3",
        at: "relative_norm",
        what: None,
        decides: None,
        lower: false,
        more: "more significant",
        point: "norm",
        unit: " in mean norms of the solutions",
        figure: "nats a token of KL to base on pre-training text",
        shows: "that a change of the same length moves predictions on unrelated text more",
        shows_not: "that what it moves was of use in pre-training, nor which behaviour it brings",
    },
];

impl Comparison {
    fn statement(&self, [plain, held]: [&str; 2]) -> String {
        format!("{} is {} than {}", quoted(plain), self.more, quoted(held))
    }

    /// Whether the plain solution has more of it, at every point that is compared; none where nothing is.
    fn claim(&self, tables: &[Table], pair: [&str; 2]) -> Option<Claim> {
        let rows = rows::differences(tables, self.measure, self.at, self.what)?;
        let intervals = "by the 95 % intervals of paired differences";
        Some(self.judged(self.statement(pair), &rows, pair, intervals))
    }

    /// The same of two families, by their differences over seeds.
    fn claim_over_seeds(&self, tables: &[Table], pair: [&str; 2]) -> Option<Claim> {
        let (seeds, rows) = rows::families_difference(tables, self.measure)?;
        let intervals = format!("by 95 % intervals over {seeds} seeds");
        Some(self.judged(self.statement(pair) + OVER_SEEDS, &rows, pair, &intervals))
    }

    fn judged(
        &self,
        claim: String,
        rows: &[Difference<'_>],
        [one, other]: [&str; 2],
        intervals: &str,
    ) -> Claim {
        let rows: Vec<_> = rows.iter().filter_map(|row| Some((row, row.of(one, other)?))).collect();
        let (deciding, rest): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(row, _)| self.decides.is_none() || row.what == self.decides);
        let more = |e: &Interval| if self.lower { e.high < 0.0 } else { e.low > 0.0 };
        let less = |e: &Interval| if self.lower { e.low > 0.0 } else { e.high < 0.0 };
        let count = |told: &dyn Fn(&Interval) -> bool| deciding.iter().filter(|(_, e)| told(e)).count();
        let (more, less, all) = (count(&more), count(&less), deciding.len());
        let holds = match (more, less) {
            _ if all == 0 => None,
            (more, 0) if more == all => Some(true),
            (_, 0) => None,
            _ => Some(false),
        };
        // The middle point stands for all of them.
        let Some((row, figure)) = deciding.get(all / 2) else {
            let words = format!("the two are edits of different kinds, of which no {} compares", self.point);
            return Claim::new(claim, self.section, None, Interval::NONE, words);
        };
        if figure.value.is_nan() {
            let words =
                "one of the two lowers the training loss by nothing, of which no share can be lost".into();
            return Claim::new(claim, self.section, None, Interval::NONE, words);
        }
        let part = match row.what {
            Some(part) if self.decides.is_none() => format!(" ({part})"),
            _ => String::new(),
        };
        let at_best = rest.first().map_or(String::new(), |(_, e)| format!(", at their optima {}", e.words()));
        let shows = match holds {
            Some(true) => "this shows",
            _ => "if it held, that would show",
        };
        let words = format!(
            "{more} of {all} points say so and {less} the contrary, {intervals}; at {} {}{}{part} the difference is \
             {} {}{at_best}; {shows} {}, but not {}",
            self.point,
            number(row.at),
            self.unit,
            figure.words(),
            self.figure,
            self.shows,
            self.shows_not
        );
        Claim::new(claim, self.section, holds, *figure, words)
    }
}

impl Difference<'_> {
    /// The difference as one solution's less the other's; none if it is of others.
    fn of(&self, one: &str, other: &str) -> Option<Interval> {
        let Interval { value, low, high } = self.difference;
        match (self.solution == one && self.other == other, self.solution == other && self.other == one) {
            (true, _) => Some(self.difference),
            (_, true) => Some(Interval { value: -value, low: -high, high: -low }),
            _ => None,
        }
    }
}

fn limits(
    facts: &Facts,
    tables: &[Table],
    shifts: &[Shift<'_>],
    certificates: &[Certificate<'_>],
) -> Vec<String> {
    let mut limits = Vec::new();
    let measured = |name: &str| tables.iter().any(|t| t.name() == name);
    let missing: Vec<_> =
        MEASURES.iter().filter(|(name, _)| !measured(name)).map(|(_, words)| *words).collect();
    if !missing.is_empty() {
        limits.push(format!("Not measured: {}.", list(&missing)));
    }
    if !shifts.is_empty() {
        limits.push(
            "A shift of preference between given answers is not behaviour: what the model writes by itself was not \
             judged."
                .into(),
        );
        limits.extend(pairs(facts, shifts));
        limits.extend(lengths(facts, shifts));
    }
    let left_out = tables.iter().find(|t| t.name() == "left_out");
    limits.extend(left_out.map(questions::in_words).unwrap_or_default());
    let solutions = rows::solutions(tables);
    let families = rows::families(tables).unwrap_or_default();
    if let Some(fewest) = families.iter().map(|f| f.seeds).min() {
        limits.push(format!(
            "What another seed would change is known from {fewest} seeds at least, for the sweeps over seeds alone; \
             the intervals of single solutions do not cover it."
        ));
    } else if !solutions.is_empty() {
        limits.push(
            "Each solution was trained once: how much another seed would change is not known, and the intervals do not \
         cover it."
                .into(),
        );
    }
    for solution in solutions {
        let lost: Vec<_> = certificates.iter().filter(|c| c.solution == solution && !c.coherent).collect();
        if !lost.is_empty() {
            limits.push(format!(
                "{} is incoherent at {}: its response loss rises by more nats a token than the study allows ({}), so that \
                 nothing is read there.",
                quoted(solution),
                scales_in_words(&lost),
                number(facts.coherence)
            ));
        }
    }
    if let Some(parameters) = facts.parameters.filter(|&n| n < SMALL) {
        limits.push(format!(
            "The model is small, {:.0} million parameters; most of the paper's findings are on one of 14\u{a0}billion.",
            parameters as f64 / 1e6
        ));
    }
    if let Some(format) = &facts.quantisation {
        limits.push(format!(
            "The weights were read from {format}, which rounds them: figures differ a little from those of the \
             unrounded model."
        ));
    }
    if !facts.fixed.is_empty() {
        limits.push(format!(
            "Held fixed, so that nothing is known of other values: {}.",
            facts.fixed.join("; ")
        ));
    }
    limits
}

/// How many pairs the shifts rest on.
fn pairs(facts: &Facts, shifts: &[Shift<'_>]) -> Option<String> {
    let fewest = |inside| {
        let rows = shifts.iter().filter(|s| s.inside == inside && s.domain.is_none());
        rows.map(|s| s.pairs).min().unwrap_or(0)
    };
    let (inside, outside) = (fewest(true), fewest(false));
    (inside + outside > 0).then(|| {
        format!(
            "The shifts are means over {inside} pairs of answers inside {} and {outside} outside; the intervals cover \
             the choice of questions only, in the domains that were asked about.",
            facts.domain
        )
    })
}

/// What length has to do with the shifts, where the answers of one kind are longer by a tenth.
fn lengths(facts: &Facts, shifts: &[Shift<'_>]) -> Option<String> {
    let mut unequal = Vec::new();
    for shift in shifts.iter().filter(|s| s.domain.is_none() && s.scale == 1.0) {
        let [taught, other] = shift.tokens;
        if taught.max(other) > 1.1 * taught.min(other) {
            let place = if shift.inside { format!("inside {}", facts.domain) } else { "outside".into() };
            unequal.push((
                format!(
                    "{place} taught answers have {} tokens and the others {}",
                    number(taught),
                    number(other)
                ),
                format!(
                    "{} {place} {} instead of {}",
                    quoted(shift.solution),
                    shift.equal_shift.words(),
                    shift.shift.words()
                ),
            ));
        }
    }
    let mut lengths: Vec<String> = unequal.iter().map(|(lengths, _)| lengths.clone()).collect();
    lengths.sort();
    lengths.dedup();
    let shifts: Vec<String> = unequal.into_iter().map(|(_, shifts)| shifts).collect();
    (!lengths.is_empty()).then(|| {
        format!(
            "The two kinds of answers differ in length: {}. Over as many tokens of both, the shifts at scale 1 are: {}.",
            lengths.join(", "),
            shifts.join("; ")
        )
    })
}

pub(super) fn quoted(name: &str) -> String {
    format!("“{name}”")
}

/// The verdict for the end of a run in a terminal: at most 12 lines of at most 100 columns.
pub fn terminal_verdict(conclusion: &Conclusion) -> String {
    const COLUMNS: usize = 100;
    const HEADLINE: usize = 4;
    const SOLUTIONS: usize = 5;
    const NAME: usize = 24;
    let mut lines = wrapped(&conclusion.headline, COLUMNS, HEADLINE);
    let mut named = conclusion.claims.iter().filter_map(|c| c.solution.as_deref()).collect::<Vec<_>>();
    named.dedup();
    let width = named.iter().map(|n| n.chars().count()).max().unwrap_or(0).clamp("solution".len(), NAME);
    if !named.is_empty() {
        lines.push(format!(
            "{:width$}  {LEARNED:23}  {GENERAL:14}  {CERTIFIED:16}  outside/inside",
            "solution"
        ));
    }
    for name in named.iter().take(SOLUTIONS) {
        let find = |claim: &str| {
            conclusion.claims.iter().find(|c| c.solution.as_deref() == Some(name) && c.claim == claim)
        };
        let answer = |claim| match find(claim).and_then(|c| c.holds) {
            Some(true) => "yes",
            Some(false) => "no",
            None => "cannot be told",
        };
        let share = match (find(LEARNED), find(GENERAL)) {
            (Some(l), Some(g)) if l.holds == Some(true) && !g.value.is_nan() => percent(g.value / l.value),
            _ => "–".into(),
        };
        lines.push(format!(
            "{:width$}  {:23}  {:14}  {:16}  {share}",
            shortened(name, width),
            answer(LEARNED),
            answer(GENERAL),
            answer(CERTIFIED),
        ));
    }
    if named.len() > SOLUTIONS {
        lines.push(format!("and {} more in the report", named.len() - SOLUTIONS));
    }
    lines.push(match conclusion.limits.len() {
        1 => "One limit of this conclusion stands in the report.".into(),
        n => format!("{n} limits of this conclusion stand in the report."),
    });
    lines.join("\n")
}

/// Text broken at spaces into lines of at most `columns` characters; what more than `most` lines would hold is cut.
pub(super) fn wrapped(text: &str, columns: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').map(|word| shortened(word, columns)) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = shortened(&format!("{last} …"), columns);
        }
    }
    lines
}

/// At most `most` characters, the last an ellipsis where something is cut.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most.saturating_sub(1)) {
        Some((end, last)) if end + last.len_utf8() < text.len() => format!("{}…", &text[..end]),
        _ => text.into(),
    }
}
