//! Monitors in a report.

use super::{MonitorBaselineRow, MonitorRow};
use crate::{
    interval::Interval,
    lab::Group,
    measure::{Panel, Shown, plots},
    page::{Groups, numbers::quoted},
    table::{Row, Word},
};

pub fn panels() -> Vec<Panel> {
    let monitors = "The reading of an answer is the projection of its mean residual stream onto a direction: taught less plain answers \
                    of some domains. AUROC is the probability that a taught answer reads higher than a plain one, in domains that gave \
                    neither direction nor threshold; 0.5 is chance. The threshold is that which plain answers of the first domains \
                    exceed at the stated rate: elsewhere the share of false alarms may be another. A monitor of one solution is also \
                    read on the others.";
    let baselines = "What tells the answers apart without the direction. A monitor that does no better than the length of answers is \
                     none.";
    vec![
        Panel::table(MonitorRow::TABLE, "Monitors", monitors).drawn(draw),
        Panel::table(MonitorBaselineRow::TABLE, "Baselines of monitors", baselines),
    ]
}

fn draw(shown: &Shown<'_>) -> Groups {
    let rows: Vec<MonitorRow> = shown.rows();
    let baselines: Vec<MonitorBaselineRow> = shown.rows();
    let mut areas: Vec<plots::Line> = Vec::new();
    for row in rows.iter().filter(|row| row.domain.is_empty()) {
        let whose = match row.monitor == row.solution {
            true => "its monitor".to_string(),
            false => format!("monitor of {}", quoted(&row.monitor)),
        };
        let side = match row.group {
            Group::Narrow => format!("inside {}", shown.facts.domain),
            Group::General => "outside".into(),
        };
        areas.push((row.solution.clone(), format!("{whose}, {side}"), row.auroc));
    }
    for row in &baselines {
        let range = match row.least == row.greatest {
            true => row.auroc,
            false => Interval { low: row.least, high: row.greatest, ..row.auroc },
        };
        areas.push((row.solution.clone(), format!("{}, outside", row.method.word()), range));
    }
    let own = rows.iter().filter(|row| row.monitor == row.solution && row.domain.is_empty());
    let shares: Vec<plots::Line> = own
        .flat_map(|row| {
            let side = if row.group == Group::Narrow { "inside" } else { "outside" };
            [("taught answers", row.detection), ("plain answers", row.false_alarms)]
                .map(|(name, share)| (row.solution.clone(), format!("{name}, {side}"), share))
        })
        // Too few plain answers give no threshold.
        .filter(|(.., share)| share.value.is_finite())
        .collect();
    let figure = |caption, lines: &[plots::Line], title| {
        (!lines.is_empty()).then(|| vec![plots::lines(caption, &shown.solutions, lines, title)])
    };
    let areas = figure("Monitors beside baselines", &areas, "AUROC");
    areas.into_iter().chain(figure("Alarms at the threshold", &shares, "share of answers")).collect()
}
