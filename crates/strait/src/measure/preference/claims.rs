//! Claims from the shifts of solutions: one learned the narrow task, acts generally, is certified narrow; one of two is
//! narrower (paper §6, §8).

use super::{
    Certificate, CuedShift, Difference, Facts, Shift, Shown,
    cued::{UnderCues, under_cues},
};
use crate::{
    claim::{Bound, Claim, Place, Subject, opposed, sentence, shared_seeds},
    interval::Interval,
    measure::{
        FamilyDifference,
        difference::{OVER_SEEDS, between},
    },
    page::numbers::{list, number, percent, quoted},
};

/// The statement that a solution learned what it was taught.
pub(crate) const LEARNED: &str = "learned the narrow task";
/// The statement that a solution carried it beyond the domain.
pub(crate) const GENERAL: &str = "acts generally";
/// The statement of the scaling certificate.
pub(crate) const CERTIFIED: &str = "certified narrow";

/// The reason for which there is no interval.
const NO_INTERVAL: &str = "an interval takes at least three questions whose figures differ";

/// The statements of the claims, before anything is measured.
pub(super) fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
    let mut all = Vec::new();
    for (i, subject) in subjects.iter().enumerate() {
        let own = [LEARNED, GENERAL, CERTIFIED].map(|claim| sentence(Some(&subject.name), claim));
        all.extend(own.map(|statement| (Place::Solution(i), statement)));
    }
    for (i, [plain, held]) in opposed(subjects).into_iter().enumerate() {
        all.push((Place::Pair(i, false), sentence(None, &narrower([&plain.name, &held.name]))));
        if shared_seeds(subjects, [plain, held]) > 1 {
            let statement = narrower([&plain.variant, &held.variant]) + OVER_SEEDS;
            all.push((Place::Pair(i, true), sentence(None, &statement)));
        }
    }
    all
}

/// The claims on every solution, and on every pair of which one was held to base.
pub(super) fn all(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
    let judged = judged(shown);
    let mut all = Vec::new();
    for (i, pair) in shown.opposed().into_iter().enumerate() {
        let [plain, held] = pair;
        let of_two = comparison(shown.facts, &judged, [&plain.name, &held.name]);
        all.extend(of_two.map(|claim| (Place::Pair(i, false), claim)));
        let over_seeds = narrower_over_seeds(shown, [&plain.variant, &held.variant]);
        all.extend(over_seeds.map(|claim| (Place::Pair(i, true), claim)));
    }
    for (i, Judged { learned, general, certified, .. }) in judged.into_iter().enumerate() {
        all.extend([learned, general, certified].map(|claim| (Place::Solution(i), claim)));
    }
    all
}

/// The outcome of all solutions.
/// Not shown for solutions whose answers were judged: what these come to is said instead.
pub(super) fn headline(shown: &Shown<'_>) -> String {
    if shown.is_judged() {
        return String::new();
    }
    let mut judged = judged(shown);
    judged.retain(|judged| shown.is_of_study(judged.solution));
    headline_of(&judged)
}

/// The limits of the claims.
pub(super) fn limits(shown: &Shown<'_>) -> Vec<String> {
    let (facts, shifts) = (shown.facts, shown.rows::<Shift>());
    let mut limits = Vec::new();
    if !shifts.is_empty() {
        let judged = match shown.is_judged() {
            true => "that is in the rates",
            false => "what the model writes by itself was not judged",
        };
        limits.push(format!("A shift of preference between given answers is not behaviour: {judged}."));
        limits.extend(pairs(facts, &shifts));
        limits.extend(lengths(facts, &shifts));
    }
    let certificates = shown.rows::<Certificate>();
    for solution in &shown.solutions {
        let lost: Vec<_> = certificates.iter().filter(|c| c.solution == *solution && !c.coherent).collect();
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
    limits
}

/// The differences between two solutions' shares of the shift outside in that inside, at every scale.
pub(super) fn differences(shifts: &[Shift]) -> Vec<Difference> {
    let whole: Vec<&Shift> = shifts.iter().filter(|shift| shift.is_whole()).collect();
    let (mut solutions, mut scales): (Vec<&str>, Vec<f64>) = (Vec::new(), Vec::new());
    for shift in &whole {
        if !solutions.contains(&shift.solution.as_str()) {
            solutions.push(&shift.solution);
        }
        if !scales.contains(&shift.scale) {
            scales.push(shift.scale);
        }
    }
    let shift_of = |solution: &str, inside: bool, scale: f64| {
        let own = |s: &&&Shift| s.solution == solution && s.is_inside() == inside && s.scale == scale;
        whole.iter().find(own).filter(|shift| shift.coherent).map(|shift| shift.shift.value)
    };
    let mut differences = Vec::new();
    for &scale in &scales {
        // A share of a shift that is not above zero says nothing.
        let share = |solution: &str| {
            let inside = shift_of(solution, true, scale).filter(|&inside| inside > 0.0)?;
            Some(shift_of(solution, false, scale)? / inside)
        };
        for (i, one) in solutions.iter().enumerate() {
            for other in &solutions[i + 1..] {
                if let Some((one_share, other_share)) = share(one).zip(share(other)) {
                    differences.push(Difference {
                        solution: one.to_string(),
                        other: other.to_string(),
                        what: "outside/inside".into(),
                        at: scale,
                        difference: Interval::bare(one_share - other_share),
                        unit: "share",
                    });
                }
            }
        }
    }
    differences
}

/// A solution with its claims.
struct Judged<'a> {
    solution: &'a str,
    /// True if it is coherent at scale 1; none where that was not measured.
    coherent: Option<bool>,
    /// True if it acts generally at a coherent scale above 1.
    general_when_scaled: bool,
    learned: Claim,
    general: Claim,
    certified: Claim,
}

fn judged<'a>(shown: &'a Shown<'_>) -> Vec<Judged<'a>> {
    let (shifts, certificates, cued): (Vec<Shift>, Vec<Certificate>, Vec<CuedShift>) =
        (shown.rows(), shown.rows(), shown.rows());
    let judged = |solution: &&'a str| {
        let cued: Vec<&CuedShift> = cued.iter().filter(|row| row.solution == *solution).collect();
        Judged::new(shown.facts, solution, &shifts, &certificates, &cued)
    };
    shown.solutions.iter().map(judged).collect()
}

impl<'a> Judged<'a> {
    fn new(
        facts: &Facts,
        solution: &'a str,
        shifts: &[Shift],
        certificates: &[Certificate],
        cued: &[&CuedShift],
    ) -> Self {
        let at_one = |inside| {
            shifts
                .iter()
                .find(|s| s.solution == solution && s.is_inside() == inside && s.is_whole() && s.scale == 1.0)
        };
        let (narrow, general) = (at_one(true), at_one(false));
        let mut scales: Vec<_> =
            certificates.iter().filter(|c| c.solution == solution && c.scale >= 1.0).collect();
        scales.sort_by(|a, b| a.scale.total_cmp(&b.scale));
        Self {
            solution,
            coherent: narrow.or(general).map(|s| s.coherent),
            general_when_scaled: scales.iter().any(|c| {
                c.scale > 1.0 && c.coherent && clearly_general(facts, c.narrow_shift, c.general_shift)
            }),
            learned: learned(facts, narrow).of(solution),
            general: general_at_one(facts, narrow, general).of(solution),
            certified: certified(facts, &scales, cued).of(solution),
        }
    }

    /// The share of the general shift in the narrow one, where the narrow one is known to be positive.
    fn share(&self) -> Option<Interval> {
        let known = self.learned.holds == Some(true) && !self.general.value.is_nan();
        known.then(|| self.general.figure().over(self.learned.figure()))
    }
}

fn learned(facts: &Facts, narrow: Option<&Shift>) -> Claim {
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

/// True if the shift outside the domain is more than none, and more than the share of the narrow shift that a certified
/// solution may reach.
fn clearly_general(facts: &Facts, narrow: Interval, general: Interval) -> bool {
    narrow.is_known() && general.low > 0.0 && general.value > facts.certificate * narrow.value
}

/// The claim that the solution moved outside the domain too, at scale 1.
fn general_at_one(facts: &Facts, narrow: Option<&Shift>, general: Option<&Shift>) -> Claim {
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

fn incoherent_at_one(facts: &Facts, shift: &Shift) -> String {
    format!(
        "at scale 1 it is incoherent: the response loss rises by {} nats a token, where the study allows {}",
        number(shift.loss_rise),
        number(facts.coherence)
    )
}

/// The claim that the solution stays narrow when it is scaled up (paper §6): a weak penalty hides the general solution
/// instead of avoiding it. It holds only if it holds under the cues too. `scales` holds the scales from 1 up, in order.
fn certified(facts: &Facts, scales: &[&Certificate], cued: &[&CuedShift]) -> Claim {
    let claim = |holds, figure, words| Claim::new(CERTIFIED, "§6", holds, figure, words);
    let domain = &facts.domain;
    let limit = percent(facts.certificate);
    let (coherent, incoherent): (Vec<&Certificate>, Vec<_>) = scales.iter().partition(|c| c.coherent);
    let Some(worst) = coherent.iter().max_by(|a, b| a.share.total_cmp(&b.share)) else {
        let words = match scales {
            [] => "the scaling certificate was not measured",
            _ => "it is coherent at no scale from 1 up",
        };
        return claim(None, Interval::NONE, words.into());
    };
    if let Some(unclear) = coherent.iter().find(|c| c.narrow_shift.low.is_nan() || c.narrow_shift.low <= 0.0)
    {
        let words = match unclear.narrow_shift.is_known() {
            true => format!(
                "at {} its shift inside {domain}, {} nats a token, is not clearly above zero: there is nothing to certify",
                scales_in_words(&[unclear]),
                unclear.narrow_shift.words()
            ),
            false => format!("of its shift inside {domain} nothing is clear: {NO_INTERVAL}"),
        };
        return claim(None, Interval::NONE, words);
    }
    let figure = Interval { high: worst.share, ..worst.general_shift.over(worst.narrow_shift) };
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
    if !coherent.iter().all(|c| c.holds == Some(true)) {
        return claim(None, figure, words);
    }
    match under_cues(&coherent, cued, facts.certificate) {
        None => claim(Some(true), figure, words),
        Some(UnderCues { holds: Some(true), words: cued, .. }) => {
            claim(Some(true), figure, format!("{words}; {cued}"))
        }
        Some(UnderCues { holds, share, words: cued }) => claim(holds, share, format!("{words}; but {cued}")),
    }
}

/// "scale 4", "scales 1, 2 and 4".
fn scales_in_words(rows: &[&Certificate]) -> String {
    let scales: Vec<_> = rows.iter().map(|c| number(c.scale)).collect();
    format!("{} {}", if scales.len() == 1 { "scale" } else { "scales" }, list(&scales))
}

/// The verdict on a solution in the headline: the words for one solution and for several.
fn verdict(solution: &Judged<'_>) -> (&'static str, &'static str) {
    let Judged { coherent, general_when_scaled, learned, general, certified, .. } = solution;
    match (certified.holds, general.holds, learned.holds) {
        (Some(true), ..) => ("is certified narrow", "are certified narrow"),
        (_, Some(true), _) => ("acts generally", "act generally"),
        (.., None | Some(false)) => match coherent {
            Some(true) if !learned.figure().is_known() => (
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
fn headline_of(judged: &[Judged<'_>]) -> String {
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

/// The number of pairs that the shifts rest on.
fn pairs(facts: &Facts, shifts: &[Shift]) -> Option<String> {
    let fewest = |inside| {
        let rows = shifts.iter().filter(|s| s.is_inside() == inside && s.is_whole());
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

/// The part of length in the shifts, where the answers of one kind are longer by a tenth.
fn lengths(facts: &Facts, shifts: &[Shift]) -> Option<String> {
    let mut unequal = Vec::new();
    for shift in shifts.iter().filter(|s| s.is_whole() && s.scale == 1.0) {
        let [taught, other] = [shift.taught_tokens, shift.other_tokens];
        if taught.max(other) > 1.1 * taught.min(other) {
            let place = if shift.is_inside() { format!("inside {}", facts.domain) } else { "outside".into() };
            unequal.push((
                format!(
                    "{place} taught answers have {} tokens and the others {}",
                    number(taught),
                    number(other)
                ),
                format!(
                    "{} {place} {} instead of {}",
                    quoted(&shift.solution),
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

/// The claim that the solution that was held to base moves less outside for each nat that it moves inside; none where one of
/// the two did not learn the task.
fn comparison(facts: &Facts, judged: &[Judged<'_>], [plain, held]: [&str; 2]) -> Option<Claim> {
    let share = |name| judged.iter().find(|s| s.solution == name).and_then(Judged::share);
    let (wide, slim) = (share(plain)?, share(held)?);
    let difference =
        Interval { value: wide.value - slim.value, low: wide.low - slim.high, high: wide.high - slim.low };
    let holds = Bound::Above(0.0).judge(difference, &[]);
    let words = format!(
        "at scale 1, for each nat of shift inside {}, {} moves by {} and {} moves by {} outside; the intervals {}",
        facts.domain,
        quoted(plain),
        wide.words(),
        quoted(held),
        slim.words(),
        if holds.is_some() { "are apart" } else { "overlap" }
    );
    Some(Claim::new(narrower([plain, held]), "§8", holds, difference, words))
}

fn narrower([plain, held]: [&str; 2]) -> String {
    format!("{} is narrower than {}", quoted(held), quoted(plain))
}

/// The claim that the shift outside is a smaller share of that inside for the variant that was held to base, at scale 1.
fn narrower_over_seeds(shown: &Shown<'_>, [plain, held]: [&str; 2]) -> Option<Claim> {
    let rows = FamilyDifference::of(shown, "preference");
    let seeds = rows.iter().map(|row| row.seeds).min()?;
    let at_one = rows.iter().filter(|row| row.at == 1.0);
    let figure =
        at_one.filter_map(|row| between([&row.family, &row.other], [plain, held], row.difference)).next()?;
    let words = format!(
        "at scale 1 the shift outside as a share of that inside is larger for {} by {}, a 95 % interval over {seeds} seeds",
        quoted(plain),
        figure.words()
    );
    let holds = Bound::Above(0.0).judge(figure, &[]);
    Some(Claim::new(narrower([plain, held]) + OVER_SEEDS, "§8", holds, figure, words))
}
