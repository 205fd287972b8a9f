//! Sweeps in a report.

use crate::{
    direction::sweep::{self, Ablated, AblatedRate, Steered, SteeredDomain, SteeredRate},
    measure::{Panel, Shown, plots},
    page::{Groups, numbers::number},
    table::Row,
};

pub fn panels() -> Vec<Panel> {
    let domains = "The shift in each domain at the layer and factor at which a solution's direction shifts base most while answers stay \
                   coherent.";
    vec![
        Panel::table(Steered::TABLE, "Steering, layer by factor", sweep::STEERING)
            .mapped(|shown| sweep::maps(&shown.rows())),
        Panel::table(SteeredDomain::TABLE, "Steering, domain by domain", domains).drawn(by_domain),
        Panel::table(
            SteeredRate::TABLE,
            "Steering by judged answers, layer by factor",
            sweep::STEERING_RATES,
        )
        .mapped(|shown| sweep::rate_maps(&shown.rows())),
        Panel::table(Ablated::TABLE, "Ablation", sweep::ABLATION).drawn(|shown| sweep::bars(&shown.rows())),
        Panel::table(AblatedRate::TABLE, "Ablation by judged answers", sweep::ABLATION_RATES)
            .drawn(|shown| sweep::rate_bars(&shown.rows())),
    ]
}

fn by_domain(shown: &Shown<'_>) -> Groups {
    let line = |row: SteeredDomain| {
        let name = format!("{} (layer {}, times {})", row.domain, row.layer, number(row.factor));
        (row.direction, name, row.shift)
    };
    let lines: Vec<plots::Line> = shown.rows().into_iter().map(line).collect();
    match lines.is_empty() {
        true => Vec::new(),
        false => vec![vec![plots::lines(
            "Base with the direction added",
            &shown.solutions,
            &lines,
            "nats a token",
        )]],
    }
}
