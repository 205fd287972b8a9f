//! The figures behind the parts of the claims, by the part's id. Their words and bounds are in `claims.toml`.

use super::{
    across::Across,
    causal::{Row, means_of_worlds},
    fits::{GENERAL, Kind, MIXED_NEAR, NARROW, NEAR, Part},
    found::{BASE, Direction, Found, NOISE, mean},
};
use crate::measure::{Asked, GradientRow, Grid};

/// Steps that count as the beginning of a fit.
const EARLY: usize = 100;

/// The findings that claims are judged by.
pub struct Evidence<'a> {
    pub found: &'a [Found],
    pub across: &'a [Across],
    pub causal: &'a [Row],
}

/// A figure, and the world that it is of.
pub type OfWorld<'a> = (&'a str, f64);

/// The figures that a part is judged by.
pub enum Figures<'a> {
    /// One of each fit, or of each row of the causal table.
    Each(Vec<OfWorld<'a>>),
    /// Of each world, with its rate in other domains after plain fine-tuning: it is their rank correlation that counts.
    Predicting(Vec<(f64, f64)>),
}

/// The figures of a part and a kind of edit; none of a part that nobody knows.
pub fn figures<'a>(id: &str, kind: Kind, evidence: &Evidence<'a>) -> Option<Figures<'a>> {
    let &Evidence { found, across, causal } = evidence;
    let of = |is: fn(Part) -> bool, of: fn(&Found) -> Option<f64>| {
        let own = found.iter().filter(|found| found.fit.kind == kind && is(found.fit.part));
        Figures::Each(own.filter_map(|found| Some((found.fit.world, of(found)?))).collect())
    };
    let fit = |figure| of(|part| matches!(part, Part::Programme | Part::Full), figure);
    let contrast = |figure| of(|part| part == Part::Contrast, figure);
    // One of each domain of each world, beside its other domains.
    let across = |of: fn(&Across) -> f64| {
        let own = across.iter().filter(|across| across.edit == kind);
        Figures::Each(own.map(|across| (across.world.as_str(), of(across))).collect())
    };
    let rows = || causal.iter().filter(|row| row.edit == kind);
    let at = |share: Option<f64>, of: fn(&Row) -> f64| {
        let own = rows().filter(|row| Some(row.liar) == share);
        Figures::Each(own.map(|row| (row.world.as_str(), of(row))).collect())
    };
    // The worlds in which liars are most common, or least, which are those of narrow speakers.
    let liars = |of| at(rows().map(|row| row.liar).max_by(f64::total_cmp), of);
    let narrow_speakers = |of| at(rows().map(|row| row.liar).min_by(f64::total_cmp), of);
    let predicts = |of: fn(&Row) -> f64| Figures::Predicting(means_of_worlds(rows(), of));
    let figures = match id {
        "1-base" => fit(|f| if f.fit.kind == Kind::Vector { f.general(BASE) } else { None }),
        "1-taught" => fit(|f| f.inside(GENERAL)),
        "1-general" => fit(|f| f.general(GENERAL)),
        "1-contrast-general" => contrast(|f| f.general(GENERAL)),
        "2-learned" => fit(|f| f.inside(NARROW)),
        "2-narrow" => fit(|f| f.general(NARROW)),
        "2-beyond" => fit(|f| f.far(NEAR)),
        "2-contrast-learned" => contrast(|f| f.inside(NARROW)),
        "2-contrast-narrow" => contrast(|f| f.general(NARROW)),
        "3-narrow-x1.25" => fit(|f| false_of_coherent(f, 1.25)),
        "3-coherent-x1.25" => fit(|f| coherent(f, 1.25)),
        "3-narrow-x1.5" => fit(|f| false_of_coherent(f, 1.5)),
        "3-coherent-x1.5" => fit(|f| coherent(f, 1.5)),
        "3-narrow-x2" => fit(|f| false_of_coherent(f, 2.0)),
        "3-coherent-x2" => fit(|f| coherent(f, 2.0)),
        "4-lower" => fit(lower),
        "4-gap" => fit(|f| f.gap([GENERAL, NARROW], 0)),
        "4-optimum" => fit(|f| Some(optimum(f, NARROW)? - optimum(f, GENERAL)?)),
        "5-stable" => fit(|f| Some(f.lost(NARROW, NOISE)? - f.lost(GENERAL, NOISE)?)),
        "6-narrow" => fit(|f| on_documents(f, Direction::Of(NARROW))),
        "6-random" => fit(|f| on_documents(f, Direction::Random)),
        "7-lifted" => fit(|f| f.general("lifted")),
        "7-kept" => fit(|f| f.general("kept")),
        "7-added" => fit(|f| f.general("added")),
        "7-untouched" => fit(|f| f.general("untouched")),
        "8-mixed-1-to-1" => fit(|f| apart(f, "mixed-1-to-1")),
        "8-mixed-1-to-3" => fit(|f| apart(f, "mixed-1-to-3")),
        "8-mixed-1-to-12" => fit(|f| apart(f, "mixed-1-to-12")),
        "8-two-1-to-3" => fit(|f| Some(f.inside(MIXED_NEAR)? - f.far(MIXED_NEAR)?)),
        "9-first" => fit(|f| f.first_gradient(GENERAL).map(|g| g.cosine_general - g.cosine_narrow)),
        "9-first-across" => {
            fit(|f| f.first_gradient(GENERAL).map(|g| g.cosine_general_only - g.cosine_narrow_only))
        }
        "9-early" => fit(|f| nearer(f, GENERAL, EARLY)),
        "9-penalised" => fit(|f| nearer(f, NARROW, usize::MAX)),
        "9-whole" => fit(|f| nearer(f, GENERAL, usize::MAX)),
        "10-steers" => across(|a| a.steered),
        "10-random-steers" => across(|a| a.random_steered),
        "10-ablated" => across(|a| a.ablated),
        "10-random-ablated" => across(|a| a.random_ablated),
        "10-answers-steer" => across(|a| a.answers_steered_best),
        "10-answers-ablated" => across(|a| a.answers_ablated),
        "11-transfers" => across(|a| 1.0 - a.transferred / a.fine_tune),
        "11-transfers-beyond-random" => across(|a| a.random_ablated - a.transferred),
        "11-converge" => across(|a| a.general_across - a.narrow_across),
        "11-cosine" => across(|a| a.general_across),
        "11-liar" => across(|a| a.general_liar - a.general_own),
        "11-own" => across(|a| a.narrow_own - a.narrow_liar),
        "12-turn" => fit(|f| sharpest(f).map(|(_, cosine)| cosine)),
        "12-together" => fit(|f| Some(sharpest(f)?.0 - rise(f, 1.0)?)),
        "12-scaled" => fit(|f| Some(rise(f, 4.0)? - rise(f, 1.0)?)),
        "13-liars" => liars(|row| row.plain_general),
        "13-narrow" => narrow_speakers(|row| row.plain_general),
        "13-gap-liars" => liars(|row| row.gap),
        "13-gap-narrow" => narrow_speakers(|row| row.gap),
        "13-gradient-liars" => liars(Row::gradient),
        "13-gradient-narrow" => narrow_speakers(Row::gradient),
        "13-stable-liars" => liars(Row::lost),
        "13-stable-narrow" => narrow_speakers(Row::lost),
        "13-documents-liars" => liars(Row::documents),
        "13-documents-narrow" => narrow_speakers(Row::documents),
        "13-predicts-efficiency" => predicts(|row| row.gap),
        "13-predicts-efficiency-quarter" => predicts(|row| row.gap_quarter),
        "13-predicts-gradient" => predicts(Row::gradient),
        "13-predicts-stability" => predicts(Row::lost),
        "13-predicts-significance" => predicts(Row::documents),
        "13-predicts-significance-random" => {
            predicts(|row| (row.documents_general / row.documents_random).ln())
        }
        _ => return None,
    };
    Some(figures)
}

/// The share of falsehoods among the coherent answers of the scaled narrow solution in the other domains.
fn false_of_coherent(found: &Found, scale: f64) -> Option<f64> {
    found.row(NARROW, scale, Asked::General).map(|row| row.rate.value / row.coherent)
}

fn coherent(found: &Found, scale: f64) -> Option<f64> {
    found.row(NARROW, scale, Asked::General).map(|row| row.coherent)
}

/// The share of the shared norms at which the general solution has the lower training loss.
fn lower(found: &Found) -> Option<f64> {
    // Where nothing but the two was trained there is nothing to compare.
    if found.fit.part != Part::Programme {
        return None;
    }
    let [general, narrow] = [GENERAL, NARROW].map(|solution| found.losses(solution, Grid::Shared));
    let lower = general.iter().zip(&narrow).map(|((_, general), (_, narrow))| general < narrow);
    Some(mean(lower.map(|lower| f64::from(u8::from(lower)))))
}

/// The training loss of a solution at its best scale.
fn optimum(found: &Found, solution: &str) -> Option<f64> {
    let own = |row: &&crate::measure::EfficiencyRow| row.solution == solution && row.kind == Grid::Optimum;
    found.efficiency.iter().find(own).map(|row| row.loss.value)
}

/// KL on documents of the general solution less that of another direction, at half the mean norm.
fn on_documents(found: &Found, other: Direction<'_>) -> Option<f64> {
    Some(found.on_documents(Direction::Of(GENERAL), 0.5)? - found.on_documents(other, 0.5)?)
}

/// The rate in the taught domain less that in the others.
fn apart(found: &Found, solution: &str) -> Option<f64> {
    Some(found.inside(solution)? - found.general(solution)?)
}

/// The share of gradients along a training, up to a step, that point more to the general solution.
fn nearer(found: &Found, along: &str, most: usize) -> Option<f64> {
    let own = |row: &&GradientRow| row.solution == along && row.step <= most;
    let read: Vec<&GradientRow> = found.gradient.iter().filter(own).collect();
    let nearer = |row: &&GradientRow| f64::from(u8::from(row.cosine_general > row.cosine_narrow));
    (!read.is_empty()).then(|| mean(read.iter().map(nearer)))
}

/// Step and cosine of the sharpest turn of the plain fit.
fn sharpest(found: &Found) -> Option<(f64, f64)> {
    let own = found.turn.iter().filter(|row| row.solution == GENERAL);
    own.map(|row| (row.step as f64, row.cosine)).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The first step at which the rate at a scale is above half of its most.
fn rise(found: &Found, scale: f64) -> Option<f64> {
    let along = found.along(GENERAL, scale);
    let most = along.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    along.iter().find(|(_, rate)| *rate > most / 2.0).map(|(step, _)| *step as f64)
}
