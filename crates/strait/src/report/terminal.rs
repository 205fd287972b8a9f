//! The conclusion for the end of a run in a terminal.

use super::Conclusion;
use crate::{
    measure::{CERTIFIED, GENERAL, LEARNED},
    page::{
        numbers::percent,
        words::{shortened, wrapped},
    },
};

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
