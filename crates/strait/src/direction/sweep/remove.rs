//! Directions taken out of solutions.

use strait_model::{Edit, Model, progress::Unit};

use super::{Ablated, Bench, Blocks, Mode, Set, Sweep, Variant, ablation, mean_of, variants, without};
use crate::{
    Result,
    interval::Interval,
    lab::{PairReading, PairRows, advance},
};

/// Directions that are taken out at once, and from where.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The directions.
    pub sets: Vec<Set>,
    /// The places.
    pub mode: Mode,
    /// The layer whose directions they are; of no effect where each layer has its own.
    pub layer: i32,
}

/// A model that directions are taken out of.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// Its name.
    pub name: &'a str,
    /// The edit; none for the base model.
    pub edit: Option<&'a Edit>,
}

impl Removal {
    pub(super) fn name(&self) -> String {
        self.sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>().join(" + ")
    }

    /// The layers at which something is taken out that depends on them, and the number of directions: random ones in the same places
    /// serve all removals that are alike in this.
    pub(super) fn places(&self) -> (Mode, Vec<i32>, usize) {
        let layers =
            if self.mode.is_of_one_layer() { vec![self.layer] } else { ablation::layers_of(&self.sets) };
        (self.mode, layers, self.sets.len())
    }

    pub(super) fn random(&self, seed: u64, draw: usize) -> Result<Self> {
        let count = self.sets.len();
        let drawn =
            |(member, set): (usize, &Set)| set.random_like(seed.wrapping_add((draw * count + member) as u64));
        let sets = self.sets.iter().enumerate().map(drawn).collect::<Result<_>>()?;
        Ok(Self { sets, ..self.clone() })
    }

    pub(super) fn variant(&self, of: Of<'_>, model: &Model) -> Result<Option<Variant>> {
        without(of.edit, &self.sets, self.mode, self.layer, model.config())
    }
}

impl Sweep {
    /// The removals of some directions, each alone or all together, in some ways: at each of the sweep's layers where a way is of one.
    ///
    /// # Errors
    /// If a direction has no vector at a layer that is named.
    pub fn removals(&self, sets: &[Set], together: bool, modes: &[Mode]) -> Result<Vec<Removal>> {
        let groups: Vec<&[Set]> = if together { vec![sets] } else { sets.chunks(1).collect() };
        let mut found = Vec::new();
        for group in groups {
            for set in group {
                set.chosen(&self.layers)?;
            }
            let layers =
                if self.layers.is_empty() { ablation::layers_of(group) } else { self.layers.clone() };
            for &mode in modes {
                let count = if mode.is_of_one_layer() { layers.len() } else { 1 };
                let removal = |&layer| Removal { sets: group.to_vec(), mode, layer };
                found.extend(layers.iter().take(count).map(removal));
            }
        }
        Ok(found)
    }

    /// Takes directions out of solutions, each removal from each solution, beside random directions in the same places. The shifts
    /// are from the base model.
    ///
    /// # Errors
    /// If a direction does not fit, a reading is no number, the notebook cannot be written, a tensor operation fails, or the user
    /// asked for a stop.
    pub fn remove(
        &self,
        model: &Model,
        of: &[Of<'_>],
        removals: &[Removal],
        bench: &mut Bench<'_>,
    ) -> Result<(Vec<Ablated>, Blocks)> {
        // The randoms in the places of each removal, by their places among all.
        let mut places: Vec<(Mode, Vec<i32>, usize)> = Vec::new();
        let mut all: Vec<Removal> = removals.to_vec();
        for removal in removals {
            if !places.contains(&removal.places()) {
                places.push(removal.places());
                for draw in 0..self.random {
                    all.push(removal.random(self.seed, draw)?);
                }
            }
        }
        let answers =
            bench.pairs.iter().map(|pairs| 2 * pairs.len()).sum::<usize>() * (1 + of.len() * (1 + all.len()));
        let task = bench.progress.begin("ablation", Some(answers as u64), Unit::Count);
        let seen = |n| advance(bench.progress, &*task, n);
        let (mut rows, mut blocks) = (Vec::new(), Blocks::default());
        for pairs in bench.pairs.iter().filter(|pairs| !pairs.is_empty()) {
            let mut read = |name: &str, edit: Option<&Edit>, variants: &[Variant]| {
                let name = format!("{name}, {:?}", pairs.group);
                let place = (&mut *bench.notebook, name.as_str());
                variants::read(&model.decoder, pairs, edit, variants, place, &seen)
            };
            let base = read("base", None, &[])?.common;
            for &of in of {
                let (mut variants, mut numbers) = (Vec::new(), Vec::with_capacity(all.len()));
                for removal in &all {
                    let variant = removal.variant(of, model)?;
                    numbers.push(variant.is_some().then_some(variants.len()));
                    variants.extend(variant);
                }
                let swept = read(&format!("ablation of {}", of.name), of.edit, &variants)?;
                blocks += swept.blocks;
                let trained = PairReading::shifts(&swept.common, &base);
                for (removal, number) in removals.iter().zip(&numbers) {
                    let Some(number) = *number else { continue };
                    let place =
                        places.iter().position(|place| *place == removal.places()).unwrap_or_default();
                    let randoms = numbers.iter().skip(removals.len() + place * self.random).take(self.random);
                    let left = |number: usize| PairReading::shifts(&swept.variants[number], &base);
                    let randoms: Vec<Vec<f64>> = randoms.flatten().map(|&number| left(number)).collect();
                    let loss_rise = PairReading::loss_rise(&swept.variants[number], &base);
                    let shifts = [left(number), trained.clone()];
                    rows.push(self.ablated(of, removal, pairs, shifts, &randoms, loss_rise));
                }
            }
        }
        Ok((rows, blocks))
    }

    fn ablated(
        &self,
        of: Of<'_>,
        removal: &Removal,
        pairs: &PairRows,
        [left, trained]: [Vec<f64>; 2],
        randoms: &[Vec<f64>],
        loss_rise: f64,
    ) -> Ablated {
        let gone = |left: &[f64]| {
            let share = -Interval::of_ratio(left, &trained, &pairs.questions);
            Interval { value: 1.0 + share.value, low: 1.0 + share.low, high: 1.0 + share.high }
        };
        let random_removed = match randoms {
            [] => Interval::NONE,
            _ => {
                let each: Vec<f64> = randoms.iter().map(|left| gone(left).value).collect();
                gone(&mean_of(randoms)).no_narrower_than(Interval::of_mean(&each))
            }
        };
        Ablated {
            solution: of.name.into(),
            direction: removal.name(),
            mode: removal.mode,
            layer: if removal.mode.is_of_one_layer() { removal.layer.into() } else { f64::NAN },
            group: pairs.group,
            shift: pairs.over_questions(&left),
            removed: gone(&left),
            random_removed,
            loss_rise,
            coherent: loss_rise <= self.coherence,
            pairs: pairs.len(),
            randoms: randoms.len(),
            seed: self.seed,
        }
    }
}
