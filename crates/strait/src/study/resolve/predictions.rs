//! The predictions of a study's author.

use super::{Measures, Solution};
use crate::{
    keys::{self, At},
    report::{Subject, sentences},
    study::{Prediction, Problem, file::PredictionKeys, problem::Checked},
};

/// The sentences that the report on these solutions may conclude with.
pub(super) fn claims(solutions: &[&Solution], measures: &Measures) -> Vec<String> {
    let named = |name: &String| solutions.iter().copied().find(|solution| solution.name == *name);
    let subject = |solution: &&Solution| solution.subject(solution.from.as_ref().and_then(named));
    let subjects: Vec<Subject> = solutions.iter().map(subject).collect();
    let measured: Vec<&str> = measures.asked.0.iter().map(|measure| measure.name()).collect();
    let unsaid = || measures.asked.0.iter().flat_map(|measure| measure.unsaid());
    let mut all = sentences(&subjects, &measured);
    all.retain(|sentence| !unsaid().any(|claim| sentence.ends_with(&format!(": {claim}"))));
    all
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
