//! The rates of answers as directions are taken out of solutions.

use strait_model::Model;

use super::{Examined, OF_BASE, Read};
use crate::{
    Result,
    behaviour::Subject,
    direction::sweep::{AblatedRate, Of, Removal, Sweep},
    interval::Interval,
    judge::Rating,
    lab::Group,
    table::Word,
};

/// A removal from a solution among the subjects.
struct Place<'a> {
    of: Of<'a>,
    /// The place of the solution as it is.
    whole: usize,
    removal: &'a Removal,
    /// Its own place, and those of the random directions.
    own: usize,
    randoms: Vec<usize>,
}

impl Sweep {
    /// The rates of answers as directions are taken out of solutions, beside random directions in the same places.
    ///
    /// # Errors
    /// If a direction does not fit, a judge cannot be asked, answers cannot be kept, or the user asked for a stop.
    pub fn remove_rates(
        &self,
        model: &Model,
        taken: &[(Of<'_>, &Removal)],
        examined: &Examined<'_>,
    ) -> Result<Vec<AblatedRate>> {
        let mut subjects = vec![Subject::as_it_is(OF_BASE, None)];
        let mut wholes: Vec<(&str, usize)> = Vec::new();
        let mut places: Vec<Place<'_>> = Vec::new();
        for (at, &(of, removal)) in taken.iter().enumerate() {
            let whole = match (wholes.iter().find(|(name, _)| *name == of.name), of.edit) {
                (Some((_, whole)), _) => *whole,
                (None, None) => 0,
                (None, Some(edit)) => {
                    let name = format!("solution-{}", wholes.len() + 1);
                    subjects.push(Subject { edit: Some(edit.clone()), ..Subject::as_it_is(&name, None) });
                    wholes.push((of.name, subjects.len() - 1));
                    subjects.len() - 1
                }
            };
            let mut add = |removal: &Removal, random: Option<usize>| -> Result<Option<usize>> {
                let Some(variant) = removal.variant(of, model)? else { return Ok(None) };
                let name = format!("ablated-{}-{}", at + 1, removal.mode.word());
                let name = random.map_or(name.clone(), |draw| format!("{name}-random-{}", draw + 1));
                subjects.push(Subject { edit: variant.edit, ..Subject::as_it_is(&name, None) });
                Ok(Some(subjects.len() - 1))
            };
            let Some(own) = add(removal, None)? else { continue };
            // Removals from the same places of a solution share their random directions.
            let alike =
                |other: &&Place<'_>| other.of.name == of.name && other.removal.places() == removal.places();
            let randoms = match places.iter().find(alike) {
                Some(other) => other.randoms.clone(),
                None => {
                    let drawn = (0..examined.random).map(|draw| removal.random(self.seed, draw));
                    let added = drawn.enumerate().map(|(draw, removal)| add(&removal?, Some(draw)));
                    added.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()
                }
            };
            places.push(Place { of, whole, removal, own, randoms });
        }
        let found = examined.by.examine(&subjects)?;
        let mut rows = Vec::new();
        for (verdict, tally) in examined.by.tallies().iter().enumerate() {
            for group in [Group::Narrow, Group::General] {
                for Place { of, whole, removal, own, randoms } in &places {
                    let under = |subject: usize| &found[subject][0][verdict][..];
                    let Some(read) = Read::of(tally, group, under(*whole)) else { continue };
                    let randoms: Vec<&[Rating]> = randoms.iter().map(|&random| under(random)).collect();
                    let base = under(0);
                    let trained = read.risen(read.before, base);
                    let left = -read.risen(under(*own), base).over(trained);
                    let removed =
                        Interval { value: 1.0 + left.value, low: 1.0 + left.low, high: 1.0 + left.high };
                    let figures = read.figures(under(*own), &randoms);
                    rows.push(AblatedRate {
                        solution: of.name.into(),
                        direction: removal.name(),
                        mode: removal.mode,
                        layer: if removal.mode.is_of_one_layer() { removal.layer.into() } else { f64::NAN },
                        group,
                        rate: figures.rate,
                        before: read.taught(read.before),
                        rise: figures.rise,
                        base: read.taught(base),
                        removed,
                        random: figures.random,
                        coherent: figures.coherent,
                        coherent_before: read.coherent(read.before),
                        coherent_random: figures.coherent_random,
                        judge: tally.judge.into(),
                        verdict: tally.verdict.clone(),
                        questions: read.some.len(),
                        answers: read.some.len() * tally.answers,
                        randoms: figures.randoms,
                        seed: self.seed,
                    });
                }
            }
        }
        Ok(rows)
    }
}
