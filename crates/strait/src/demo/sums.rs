//! The solutions over all their fits, and their false rates domain by domain.

use std::path::Path;

use super::{
    fits::{GENERAL, Kind, NARROW, Part},
    found::{BASE, Found},
    results::{Rate, Solution},
};
use crate::{
    interval::Interval,
    measure::{Asked, RateRow},
    table::Word,
    world::{DOMAIN_WORDS, ENTITIES, TAUGHT},
};

/// The general and the narrow solution of every kind of edit, but for those of the contrast worlds.
pub fn solutions(found: &[Found], out: &Path) -> Vec<Solution> {
    let mut solutions = Vec::new();
    for kind in Kind::ALL {
        let of_kind = |f: &&Found| f.fit.kind == kind && matches!(f.fit.part, Part::Programme | Part::Full);
        let own: Vec<&Found> = found.iter().filter(of_kind).collect();
        for role in [GENERAL, NARROW] {
            let all = |asked, of: fn(&RateRow) -> f64| -> Vec<f64> {
                own.iter().filter_map(|found| found.row(role, 1.0, asked)).map(of).collect()
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
                folders: own.iter().map(|found| found.fit.solution(out, role)).collect(),
            }));
        }
    }
    solutions
}

/// False rates domain by domain. The base model is the same under every kind of edit, and stands there once.
pub fn rates(found: &[Found]) -> Vec<Rate> {
    let programme: Vec<&Found> = found.iter().filter(|found| found.fit.part == Part::Programme).collect();
    let first = programme.first().map(|found| found.fit.kind);
    let mut rates = Vec::new();
    for found in &programme {
        let fit = found.fit;
        for role in [BASE, GENERAL, NARROW] {
            let base = role == BASE;
            if base && first != Some(fit.kind) {
                continue;
            }
            for (domain, (word, _)) in DOMAIN_WORDS.iter().enumerate() {
                let inside = domain == fit.domain;
                let rate = if inside { found.inside(role) } else { found.in_domain(role, domain) };
                rates.extend(rate.map(|p_false| Rate {
                    solution: if base { "base".into() } else { format!("{role} {}", fit.kind.word()) },
                    edit: if base { String::new() } else { fit.kind.words().into() },
                    world: fit.world.into(),
                    taught: fit.word().into(),
                    domain: (*word).into(),
                    inside,
                    p_false,
                    n: if inside { ENTITIES - TAUGHT } else { ENTITIES },
                }));
            }
        }
    }
    rates
}
