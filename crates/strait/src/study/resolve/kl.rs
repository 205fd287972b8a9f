//! `kl`: the penalty, and the search for its weight.

use super::{
    Rows,
    data::{Sources, rows},
};
use crate::{
    keys::{self, At, Keys},
    study::{
        Preset, Problem, Search,
        file::{KlKeys, TopKeys, TrainKeys, WeightKeys},
        problem::{Checked, Fault},
    },
};

/// A KL penalty as a study says it.
pub(super) struct Penalty {
    pub weight: f64,
    /// Rows in a micro-batch.
    pub batch_size: usize,
    /// The rows that it holds on, where they are not those of `[data]`.
    pub rows: Option<Vec<Rows>>,
    pub search: Option<Search>,
}

/// The penalty of a solution with these keys, of which `own` are those in its own table; none without one or with a weight
/// of 0.
pub(super) fn penalty(
    solution: &str,
    keys: &TrainKeys,
    own: &TrainKeys,
    preset: Option<Preset>,
    top: &TopKeys,
    sources: &Sources,
) -> Checked<Option<Penalty>> {
    let Some(At { value: Some(kl), line }) = &keys.kl else {
        return Ok(None);
    };
    let fault = |problem| Fault { line: Some(*line), problem };
    let kl = match preset {
        Some(preset) => kl.clone().or(&preset.kl()),
        None => kl.clone(),
    };
    let auto = matches!(&kl.weight, Some(At { value: WeightKeys::Auto, .. }));
    if !auto && let Some(own) = own.kl() {
        no_search_keys(&own)?;
    }
    let (weight, search) = match &kl.weight {
        None => return Err(fault(Problem::NoKlWeight { solution: solution.into() })),
        Some(At { value: WeightKeys::Given(weights), .. }) => (*weights.first(), None),
        Some(At { value: WeightKeys::Auto, .. }) => {
            if top.data.value.narrow.is_none() || top.data.value.general.is_none() {
                return Err(fault(Problem::NoSearchPairs { solution: solution.into() }));
            }
            let search = search(&kl, *line, top.measure().certificate())?;
            ((search.from * search.to).sqrt(), Some(search))
        }
    };
    if weight == 0.0 {
        return Ok(None);
    }
    let rows = kl.rows.as_ref().map(|files| rows("kl.rows", files, sources)).transpose()?;
    if top.data.value.kl.is_none() && rows.is_none() {
        return Err(fault(Problem::NoKlRows { solution: solution.into() }));
    }
    Ok(Some(Penalty { weight, batch_size: kl.batch_size(), rows, search }))
}

fn search(keys: &KlKeys, line: u64, certificate: f64) -> keys::Checked<Search> {
    let (from, to) = (keys.from(), keys.to());
    if from >= to {
        let line = keys.from.as_ref().or(keys.to.as_ref()).map_or(line, |at| at.line);
        return Err(keys::Fault {
            line: Some(line),
            problem: keys::Problem::Unexpected {
                what: "`kl.from`".into(),
                found: from.to_string(),
                expected: format!("a weight below `kl.to`, which is {to}"),
            },
        });
    }
    Ok(Search {
        bound: keys.bound.as_ref().map_or(certificate, |bound| bound.value),
        keep: keys.keep(),
        from,
        to,
        tries: keys.tries(),
        unpenalised: None,
    })
}

/// Refuses the keys of a search where a weight is given.
fn no_search_keys(keys: &KlKeys) -> Checked<()> {
    let of_a_search = |(key, _): &(&str, u64)| !matches!(*key, "weight" | "batch_size" | "rows");
    match keys.given().into_iter().find(of_a_search) {
        None => Ok(()),
        Some((key, line)) => Err(Fault {
            line: Some(line),
            problem: Problem::Contradiction {
                key: format!("kl.{key}"),
                other: "kl.weight".into(),
                why: "only `weight = \"auto\"` searches".into(),
            },
        }),
    }
}
