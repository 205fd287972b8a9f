//! Directions in a report.

use super::{DirectionCosine, DirectionEffect, DirectionRow, RANDOM, Use};
use crate::{
    lab::Group,
    measure::{Panel, Shown, plots},
    page::{
        figure::Figure,
        numbers::{number, quoted},
    },
    table::{Row, Word},
};

pub fn panels() -> Vec<Panel> {
    let directions = "Mean differences of the residual stream after some blocks: the fine-tune less base over prompts outside the \
                      domain, and taught less other answers there. After the block of a steering vector the first is the vector \
                      itself; a trained vector and what it causes later may well lie apart. Reliability is the mean cosine of the directions of two random \
                      halves of the pairs, p the share of random swaps within pairs that give as long a direction: noise has \
                      a reliability near 0 and a p anywhere between 0 and 1.";
    let cosines = "Two directions that point the same way have a cosine of 1; random ones lie near 0, the nearer the wider the \
                   model.";
    let effects = "The preference shift of the base model with a direction added, and of a solution with one taken out: its own, \
                   another solution's (transfer), or a random one of the same length. A share of 1 is the shift of the \
                   solution as it was trained. The pairs ask other questions than those that gave the directions. It is the \
                   preference for written answers that is read, not what judges say of answers.";
    vec![
        Panel::table(DirectionRow::TABLE, "Directions", directions),
        Panel::table(DirectionCosine::TABLE, "Angles between directions", cosines),
        Panel::table(DirectionEffect::TABLE, "Steering and ablation", effects).drawn(draw),
    ]
}

fn draw(shown: &Shown<'_>) -> Vec<Vec<Figure>> {
    let rows: Vec<DirectionEffect> = shown.rows();
    let outside = |usage: Use| {
        let own = rows.iter().filter(move |row| row.usage == usage && row.group == Group::General);
        own.collect::<Vec<_>>()
    };
    let place = |row: &DirectionEffect| format!("{}, layer {}", row.source.word(), row.layer);
    let whose = |row: &DirectionEffect, own: &str| match row.direction.as_str() {
        RANDOM => RANDOM.to_string(),
        name if name == row.solution => own.to_string(),
        name => format!("that of {}", quoted(name)),
    };
    let steered = outside(Use::Steering).into_iter().map(|row| {
        let name = format!("{}: {}, times {}", place(row), whose(row, "its direction"), number(row.factor));
        (row.solution.clone(), name, row.shift)
    });
    let ablated = outside(Use::Ablation)
        .into_iter()
        .map(|row| (row.solution.clone(), format!("{}: {}", place(row), whose(row, "its own")), row.share));
    let figure = |caption: &str, lines: Vec<plots::Line>, title: &str| {
        (!lines.is_empty()).then(|| vec![plots::lines(caption, &shown.solutions, &lines, title)])
    };
    let steered = figure("Directions added to base, outside the domain", steered.collect(), "nats a token");
    let ablated = figure(
        "Directions taken out, outside the domain",
        ablated.collect(),
        "share of the shift that is left",
    );
    [steered, ablated].into_iter().flatten().collect()
}
