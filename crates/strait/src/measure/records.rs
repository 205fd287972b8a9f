//! The parts of a report that show no measure: what was trained, how, and what was left out.

use super::{Panel, Shown, plots::HEIGHT, unit::NATS};
use crate::{
    data::LeftOut,
    interval::Interval,
    page::{
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout},
        numbers::number,
    },
    table::{Heading, Row},
};

crate::row! {
    /// A trained edit. Columns for the axes of a sweep may stand behind these, and [`OWN_ROWS`].
    pub struct Trained in "solutions", "The trained edits" {
        /// The solution.
        solution: String,
        /// The kind of its edit, one word.
        kind: String,
        /// The edit in words.
        edit: String,
        /// The layers that it acts on.
        layers: String,
        /// Number of its parameters.
        parameters: usize,
        /// Its norm.
        norm: f64,
        /// The norm of a steering vector over the median norm of the residual stream where it acts.
        relative_norm: f64 = Heading::unit("median residual norms"),
        /// The weight of its KL penalty, 0 without one.
        kl_weight: f64 = Heading::unit("nats/nat"),
        /// Optimiser steps.
        steps: usize,
        /// The seed of initialisation.
        seed: u64,
        /// The name that the study gives it, or its whole sweep.
        family: String,
        /// Its name without its seed.
        variant: String,
        /// True for a control: its own effect is read, and it is compared with nothing.
        control: bool,
    }
}

/// The column behind those of [`Trained`] that says which solutions train on rows of their own, where some do.
pub const OWN_ROWS: &str = "own_rows";

crate::row! {
    /// One optimiser step of one solution.
    pub struct TrainingStep in "training", "Every optimiser step of every solution" {
        /// The solution.
        solution: String,
        /// The step, counted from 1.
        step: usize,
        /// The learning rate.
        learning_rate: f64,
        /// The objective before the step.
        loss: f64 = NATS,
        /// The response loss.
        response_loss: f64 = NATS,
        /// The KL on the KL rows, NaN without a penalty.
        kl: f64 = NATS,
        /// The norm of the gradient before it was clipped.
        gradient_norm: f64,
        /// The norm of the edit after the step.
        norm: f64,
        /// The response loss on held-out rows, NaN between checkpoints.
        heldout_loss: f64 = NATS,
    }
}

/// The name of the table of predictions.
pub const PREDICTIONS: &str = "predictions";

/// The panels that stand before those of the measures.
pub(crate) fn first() -> Vec<Panel> {
    vec![
        Panel::table(
            PREDICTIONS,
            "What was predicted",
            "What the study's author expected of each claim before the first step, and what came out. The score is the \
             square of how far the probability was from the outcome: 0 is best, a half always scores 0.25.",
        ),
        Panel::table(
            LeftOut::TABLE,
            "What was left out",
            "A figure read on what training has seen measures memory, or what a penalty was fitted to. Pairs whose \
             question a row asks that any solution is trained on, held-out rows that KL or mixed-in rows ask, and \
             passages that are a message of such a row are not measured, for all solutions alike.",
        ),
    ]
}

/// The panels that stand behind those of the measures.
pub(crate) fn last() -> Vec<Panel> {
    vec![
        super::frontier::panel(),
        Panel::table(
            TrainingStep::TABLE,
            "Training",
            "What the optimiser saw. A curve that still falls at its end was stopped early; a KL that grows shows \
             a penalty that does not hold.",
        )
        .drawn(|shown: &Shown<'_>| vec![figures(&shown.solutions, &shown.rows())]),
        Panel::table(
            Trained::TABLE,
            "Solutions",
            "What was trained, and how. A solution's name says how it was trained, never what it turned out to be.",
        ),
    ]
}

/// Loss, KL and norm over the optimiser's steps.
fn figures(solutions: &[&str], rows: &[TrainingStep]) -> Vec<Figure> {
    type Quantity = fn(&TrainingStep) -> f64;
    let curve = |caption: &str, title: &str, line: Quantity, marks: Option<Quantity>| {
        let mut drawing = Drawing::new(Growing::Up);
        for (place, solution) in solutions.iter().enumerate() {
            let points = |quantity: Quantity, of: &str| {
                let own = rows.iter().filter(|s| s.solution == *solution);
                let known = own.map(|s| (s.step, quantity(s))).filter(|(_, value)| value.is_finite());
                let point = |(step, value): (usize, f64)| Point {
                    at: step as f64,
                    value: Interval::bare(value),
                    words: format!("{solution}{of}, step {step}: {}", number(value)),
                };
                known.map(point).collect()
            };
            let look = Look::at(place);
            let name = Some((*solution).into());
            drawing.add(Series { name, look, style: Style::Line, points: points(line, "") });
            if let Some(marks) = marks {
                drawing.add(Series {
                    name: None,
                    look,
                    style: Style::Marks,
                    points: points(marks, ", held out"),
                });
            }
        }
        let layout = layout(axis("optimiser step"), axis(title));
        (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
    };
    let loss = curve(
        "Loss (markers: held out)",
        "nats a response token",
        |s| s.response_loss,
        Some(|s| s.heldout_loss),
    );
    let kl = curve("KL on the KL set", "KL(base ‖ edited) (nats a token)", |s| s.kl, None);
    let norm = curve("Norm of the edit", "norm", |s| s.norm, None);
    [loss, kl, norm].into_iter().flatten().collect()
}
