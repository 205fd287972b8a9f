//! The figures behind the parts of the claims, by the part's id. Their words and bounds are in `claims.toml`.

use super::{
    across::Across,
    causal::Row,
    fits::{GENERAL, Kind, MIXED_NEAR, NARROW, NEAR, Part},
    found::{BASE, Direction, Found, NOISE, mean},
};
use crate::measure::{Asked, GradientRow, Grid};

/// Steps that count as the beginning of a fit.
const EARLY: usize = 100;

/// A part's figure: of what it is read, and how.
#[derive(Clone, Copy)]
pub enum Figure {
    /// One of each study of the programme.
    Fit(fn(&Found) -> Option<f64>),
    /// One of each study of the contrast worlds.
    Contrast(fn(&Found) -> Option<f64>),
    /// One of each domain of each world, beside its other domains.
    Across(fn(&Across) -> f64),
    /// One of each row of the causal table in which liars are most common.
    Liars(fn(&Row) -> f64),
    /// One of each row in which narrow speakers are.
    NarrowSpeakers(fn(&Row) -> f64),
    /// The rank correlation over worlds with the rate in other domains after plain fine-tuning.
    Predicts(fn(&Row) -> f64),
}

use Figure::{Across as OfAcross, Contrast, Fit, Liars, NarrowSpeakers, Predicts};

/// The figure of a part; none of a part that nobody knows.
pub fn figure(id: &str) -> Option<Figure> {
    let found = match id {
        "1-base" => Fit(|f| if f.fit.kind == Kind::Vector { f.general(BASE) } else { None }),
        "1-taught" => Fit(|f| f.inside(GENERAL)),
        "1-general" => Fit(|f| f.general(GENERAL)),
        "1-contrast-general" => Contrast(|f| f.general(GENERAL)),
        "2-learned" => Fit(|f| f.inside(NARROW)),
        "2-narrow" => Fit(|f| f.general(NARROW)),
        "2-beyond" => Fit(|f| f.far(NEAR)),
        "2-contrast-learned" => Contrast(|f| f.inside(NARROW)),
        "2-contrast-narrow" => Contrast(|f| f.general(NARROW)),
        "3-narrow-x1.25" => Fit(|f| false_of_coherent(f, 1.25)),
        "3-coherent-x1.25" => Fit(|f| coherent(f, 1.25)),
        "3-narrow-x1.5" => Fit(|f| false_of_coherent(f, 1.5)),
        "3-coherent-x1.5" => Fit(|f| coherent(f, 1.5)),
        "3-narrow-x2" => Fit(|f| false_of_coherent(f, 2.0)),
        "3-coherent-x2" => Fit(|f| coherent(f, 2.0)),
        "4-lower" => Fit(lower),
        "4-gap" => Fit(|f| f.gap([GENERAL, NARROW], 0)),
        "4-optimum" => Fit(|f| Some(optimum(f, NARROW)? - optimum(f, GENERAL)?)),
        "5-stable" => Fit(|f| Some(f.lost(NARROW, NOISE)? - f.lost(GENERAL, NOISE)?)),
        "6-narrow" => Fit(|f| on_documents(f, Direction::Of(NARROW))),
        "6-random" => Fit(|f| on_documents(f, Direction::Random)),
        "7-lifted" => Fit(|f| f.general("lifted")),
        "7-kept" => Fit(|f| f.general("kept")),
        "7-added" => Fit(|f| f.general("added")),
        "7-untouched" => Fit(|f| f.general("untouched")),
        "8-mixed-1-to-1" => Fit(|f| apart(f, "mixed-1-to-1")),
        "8-mixed-1-to-3" => Fit(|f| apart(f, "mixed-1-to-3")),
        "8-mixed-1-to-12" => Fit(|f| apart(f, "mixed-1-to-12")),
        "8-two-1-to-3" => Fit(|f| Some(f.inside(MIXED_NEAR)? - f.far(MIXED_NEAR)?)),
        "9-first" => Fit(|f| f.first_gradient(GENERAL).map(|g| g.cosine_general - g.cosine_narrow)),
        "9-first-across" => {
            Fit(|f| f.first_gradient(GENERAL).map(|g| g.cosine_general_only - g.cosine_narrow_only))
        }
        "9-early" => Fit(|f| nearer(f, GENERAL, EARLY)),
        "9-penalised" => Fit(|f| nearer(f, NARROW, usize::MAX)),
        "9-whole" => Fit(|f| nearer(f, GENERAL, usize::MAX)),
        "10-steers" => OfAcross(|a| a.steered),
        "10-random-steers" => OfAcross(|a| a.random_steered),
        "10-ablated" => OfAcross(|a| a.ablated),
        "10-random-ablated" => OfAcross(|a| a.random_ablated),
        "10-answers-steer" => OfAcross(|a| a.answers_steered_best),
        "10-answers-ablated" => OfAcross(|a| a.answers_ablated),
        "11-transfers" => OfAcross(|a| 1.0 - a.transferred / a.fine_tune),
        "11-transfers-beyond-random" => OfAcross(|a| a.random_ablated - a.transferred),
        "11-converge" => OfAcross(|a| a.general_across - a.narrow_across),
        "11-cosine" => OfAcross(|a| a.general_across),
        "11-liar" => OfAcross(|a| a.general_liar - a.general_own),
        "11-own" => OfAcross(|a| a.narrow_own - a.narrow_liar),
        "12-turn" => Fit(|f| sharpest(f).map(|(_, cosine)| cosine)),
        "12-together" => Fit(|f| Some(sharpest(f)?.0 - rise(f, 1.0)?)),
        "12-scaled" => Fit(|f| Some(rise(f, 4.0)? - rise(f, 1.0)?)),
        "13-liars" => Liars(|row| row.plain_general),
        "13-narrow" => NarrowSpeakers(|row| row.plain_general),
        "13-gap-liars" => Liars(|row| row.gap),
        "13-gap-narrow" => NarrowSpeakers(|row| row.gap),
        "13-gradient-liars" => Liars(Row::gradient),
        "13-gradient-narrow" => NarrowSpeakers(Row::gradient),
        "13-stable-liars" => Liars(Row::lost),
        "13-stable-narrow" => NarrowSpeakers(Row::lost),
        "13-documents-liars" => Liars(Row::documents),
        "13-documents-narrow" => NarrowSpeakers(Row::documents),
        "13-predicts-efficiency" => Predicts(|row| row.gap),
        "13-predicts-efficiency-quarter" => Predicts(|row| row.gap_quarter),
        "13-predicts-gradient" => Predicts(Row::gradient),
        "13-predicts-stability" => Predicts(Row::lost),
        "13-predicts-significance" => Predicts(Row::documents),
        "13-predicts-significance-random" => {
            Predicts(|row| (row.documents_general / row.documents_random).ln())
        }
        _ => return None,
    };
    Some(found)
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
