//! What a study's author expects of its report.

use super::{Measures, Solution};
use crate::{
    keys::{self, At},
    report::{Expected, sentences},
    study::{Prediction, Problem, file::PredictionKeys, name, problem::Checked},
};

/// The sentences that the report on these solutions may conclude with.
pub(super) fn claims(solutions: &[&Solution], measures: &Measures) -> Vec<String> {
    let penalised = |name: &String| solutions.iter().any(|s| s.name == *name && s.train.kl.is_some());
    let expected: Vec<Expected<'_>> = solutions
        .iter()
        .map(|solution| Expected {
            name: &solution.name,
            penalised: solution.train.kl.is_some(),
            searched: solution.search.is_some(),
            freed: solution.train.kl.is_none() && solution.from.as_ref().is_some_and(penalised),
            control: solution.control,
            kind: solution.train.edit.kind(),
            variant: (solution.variant(), solution.train.seeds.initialisation),
        })
        .collect();
    let measured = [
        (name::EFFICIENCY, measures.efficiency.is_some()),
        (name::STABILITY, measures.stability.is_some()),
        (name::SIGNIFICANCE, measures.significance.is_some()),
    ];
    let measured: Vec<_> = measured.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
    sentences(&expected, &measured)
}

pub(super) fn predictions(written: &[At<PredictionKeys>], known: &[String]) -> Checked<Vec<Prediction>> {
    let mut predictions: Vec<Prediction> = Vec::new();
    for At { value: PredictionKeys { claim, probability }, .. } in written {
        // People may quote names as the report does.
        let sentence = claim.value.replace(['“', '”'], "");
        if !known.contains(&sentence) {
            return Err(claim.fault(Problem::UnknownClaim { claim: sentence, known: known.to_vec() }));
        }
        if predictions.iter().any(|p| p.claim == sentence) {
            let (key, value) = ("prediction".into(), format!("`{sentence}`"));
            return Err(claim.fault(keys::Problem::Repeated { key, value }.into()));
        }
        predictions.push(Prediction { claim: sentence, probability: probability.value });
    }
    Ok(predictions)
}
