//! The rates of answers as directions are added to a model.

use strait_model::Edit;

use super::{Examined, Figures, OF_BASE, Read};
use crate::{
    Result,
    behaviour::Subject,
    direction::sweep::{Set, SteeredRate, Sweep},
    judge::Rating,
    lab::Group,
};

/// A direction at a layer under every factor, or a random one in its place, among the subjects.
struct Place {
    set: usize,
    layer: i32,
    /// Its own place among the subjects, and those of the random directions.
    own: usize,
    randoms: Vec<usize>,
}

impl Sweep {
    /// The rates of answers as every direction is added to a model, with an edit or without, at every layer by every factor.
    ///
    /// # Errors
    /// If a direction has no vector at a layer, a judge cannot be asked, answers cannot be kept, or the user asked for a stop.
    pub fn steer_rates(
        &self,
        edit: Option<&Edit>,
        sets: &[Set],
        examined: &Examined<'_>,
    ) -> Result<Vec<SteeredRate>> {
        let mut factors: Vec<f64> = Vec::new();
        self.factors.iter().for_each(|factor| {
            if !factors.contains(factor) {
                factors.push(*factor);
            }
        });
        let mut subjects = vec![Subject::as_it_is(if edit.is_some() { "without" } else { OF_BASE }, edit)];
        let mut places = Vec::new();
        for (set, own) in sets.iter().enumerate() {
            let drawn = (0..examined.random).map(|draw| own.random_like(self.seed.wrapping_add(draw as u64)));
            let drawn: Vec<Set> = drawn.collect::<Result<_>>()?;
            for vector in own.chosen(&self.layers)? {
                let layer = vector.layer;
                let mut add = |of: &Set, random: Option<usize>| -> Option<usize> {
                    let name = format!("steered-{}-layer-{layer}", set + 1);
                    let added = of.at(layer)?.clone();
                    subjects.push(Subject {
                        name: random.map_or(name.clone(), |draw| format!("{name}-random-{}", draw + 1)),
                        beneath: edit,
                        edit: Some(Edit::Steering(added)),
                        factors: factors.clone(),
                    });
                    Some(subjects.len() - 1)
                };
                let Some(at) = add(own, None) else { continue };
                let randoms = drawn.iter().enumerate().filter_map(|(draw, of)| add(of, Some(draw))).collect();
                places.push(Place { set, layer, own: at, randoms });
            }
        }
        let found = examined.by.examine(&subjects)?;
        let mut rows = Vec::new();
        for (verdict, tally) in examined.by.tallies().iter().enumerate() {
            for group in [Group::Narrow, Group::General] {
                let Some(read) = Read::of(tally, group, &found[0][0][verdict]) else { continue };
                for Place { set, layer, own, randoms } in &places {
                    for (at, &factor) in self.factors.iter().enumerate() {
                        let under = factors.iter().position(|known| *known == factor).unwrap_or(at);
                        let of = |subject: usize| &found[subject][under][verdict][..];
                        let randoms: Vec<&[Rating]> = randoms.iter().map(|&random| of(random)).collect();
                        let figures = read.figures(of(*own), &randoms);
                        rows.push(self.steered_rate(&sets[*set].name, (*layer, factor), &read, figures));
                    }
                }
            }
        }
        Ok(rows)
    }

    fn steered_rate(
        &self,
        direction: &str,
        (layer, factor): (i32, f64),
        read: &Read<'_>,
        figures: Figures,
    ) -> SteeredRate {
        SteeredRate {
            direction: direction.into(),
            layer: layer.into(),
            factor,
            group: read.group,
            rate: figures.rate,
            before: read.taught(read.before),
            rise: figures.rise,
            random: figures.random,
            beyond_random: figures.beyond_random,
            coherent: figures.coherent,
            coherent_before: read.coherent(read.before),
            coherent_random: figures.coherent_random,
            judge: read.tally.judge.into(),
            verdict: read.tally.verdict.clone(),
            questions: read.some.len(),
            answers: read.some.len() * read.tally.answers,
            randoms: figures.randoms,
            seed: self.seed,
        }
    }
}
