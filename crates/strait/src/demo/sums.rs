//! The solutions over all their fits, and their false rates domain by domain.

use std::path::Path;

use super::{
    fits::{GENERAL, Kind, NARROW, Part},
    programme::Study,
    results::{Rate, Solution},
};
use crate::{
    Result,
    interval::Interval,
    measure::{Asked, RateRow},
    table::Word,
    world::DOMAIN_WORDS,
};

/// The base model's name in tables.
const BASE: &str = "base model";

/// The general and the narrow solution of every kind of edit, but for those of the contrast worlds.
///
/// # Errors
/// If a table of rates is another one.
pub fn solutions(studies: &[Study], out: &Path) -> Result<Vec<Solution>> {
    let mut solutions = Vec::new();
    for kind in Kind::ALL {
        let of_kind = |s: &&Study| s.fit.kind == kind && matches!(s.fit.part, Part::Programme | Part::Full);
        let own: Vec<&Study> = studies.iter().filter(of_kind).collect();
        let rates = own.iter().map(|study| study.rates()).collect::<Result<Vec<_>>>()?;
        let rows: Vec<RateRow> = rates.into_iter().flatten().filter(|row| row.scale == 1.0).collect();
        for role in [GENERAL, NARROW] {
            let all = |asked, of: fn(&RateRow) -> f64| -> Vec<f64> {
                rows.iter().filter(|row| row.solution == role && row.asked == asked).map(of).collect()
            };
            let general = |of| all(Asked::General, of);
            solutions.extend((!own.is_empty()).then(|| Solution {
                name: format!("{role} {}", kind.word()),
                edit: kind.words().into(),
                narrow_rate: Interval::of_shares(&all(Asked::Narrow, |row| row.rate.value)),
                general_rate: Interval::of_shares(&general(|row| row.rate.value)),
                coherence: Interval::of_shares(&general(|row| row.coherent)),
                norm: Interval::of_mean(&general(|row| row.norm)),
                loss: Interval::of_mean(&general(|row| row.loss)),
                n: own.len(),
                folders: own.iter().map(|study| study.fit.solution(out, role)).collect(),
            }));
        }
    }
    Ok(solutions)
}

/// False rates domain by domain. The base model is the same under every kind of edit, and stands there once.
///
/// # Errors
/// If a table of rates is another one.
pub fn rates(studies: &[Study]) -> Result<Vec<Rate>> {
    let programme: Vec<&Study> = studies.iter().filter(|study| study.fit.part == Part::Programme).collect();
    let first = programme.first().map(|study| study.fit.kind);
    let mut rates = Vec::new();
    for study in &programme {
        let (fit, rows) = (study.fit, study.rates()?);
        for role in [BASE, GENERAL, NARROW] {
            let base = role == BASE;
            if base && first != Some(fit.kind) {
                continue;
            }
            let scale = if base { 0.0 } else { 1.0 };
            for (word, _) in DOMAIN_WORDS {
                let inside = word == fit.word();
                let is_meant = |row: &&RateRow| {
                    let asked = match row.asked {
                        Asked::Narrow => inside,
                        Asked::Domain => !inside && row.domain == word,
                        _ => false,
                    };
                    asked && row.solution == role && row.scale == scale
                };
                rates.extend(rows.iter().find(is_meant).map(|row| Rate {
                    solution: if base { "base".into() } else { format!("{role} {}", fit.kind.word()) },
                    edit: if base { String::new() } else { fit.kind.words().into() },
                    world: fit.world.into(),
                    taught: fit.word().into(),
                    domain: word.into(),
                    inside,
                    p_false: row.rate.value,
                    n: row.questions,
                }));
            }
        }
    }
    Ok(rates)
}
