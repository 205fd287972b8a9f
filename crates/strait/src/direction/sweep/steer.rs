//! Directions added to a model.

use strait_model::{Edit, Model, edit::SteeringVector, progress::Unit};

use super::{
    Bench, Blocks, Set, Steered, SteeredDomain, SteeredRate, Sweep, Variant, mean_of, over_randoms, variants,
};
use crate::{
    Result,
    behaviour::COMMON,
    interval::{Interval, clusters},
    lab::{PairReading, PairRows, advance},
};

/// A direction at one layer by one factor, or a random one in its place.
struct Cell {
    set: usize,
    layer: i32,
    factor: f64,
    /// The number of the random direction.
    random: Option<usize>,
}

impl Sweep {
    /// Adds every direction to a model, with an edit or without, at every layer by every factor.
    ///
    /// The shifts are from the same model without the direction. One pass of every batch gives the stream below all layers.
    ///
    /// # Errors
    /// If a direction has no vector at a layer, a reading is no number, the notebook cannot be written, a tensor operation fails, or
    /// the user asked for a stop.
    pub fn steer(
        &self,
        model: &Model,
        edit: Option<&Edit>,
        sets: &[Set],
        bench: &mut Bench<'_>,
    ) -> Result<(Vec<Steered>, Vec<SteeredDomain>, Blocks)> {
        let (cells, variants) = self.cells(model, edit, sets)?;
        let answers = bench.pairs.iter().map(|pairs| 2 * pairs.len()).sum::<usize>() * (1 + variants.len());
        let task = bench.progress.begin("steering", Some(answers as u64), Unit::Count);
        let seen = |n| advance(bench.progress, &*task, n);
        let (mut blocks, mut rows, mut shifts) = (Blocks::default(), Vec::new(), Vec::new());
        for pairs in bench.pairs.iter().filter(|pairs| !pairs.is_empty()) {
            let name = format!("steering, {:?}", pairs.group);
            let place = (&mut *bench.notebook, name.as_str());
            let swept = variants::read(&model.decoder, pairs, edit, &variants, place, &seen)?;
            blocks += swept.blocks;
            let found: Vec<Found> = cells
                .iter()
                .zip(&swept.variants)
                .map(|(cell, of)| Found::of(cell, of, &swept.common))
                .collect();
            for own in found.iter().filter(|found| found.cell.random.is_none()) {
                let like = |other: &&Found<'_>| other.cell.random.is_some() && other.is_at(own);
                let randoms: Vec<Vec<f64>> =
                    found.iter().filter(like).map(|found| found.shifts.clone()).collect();
                rows.push(self.row(sets, own, &randoms, pairs));
            }
            shifts.push((pairs, found));
        }
        let domains = sets.iter().filter_map(|set| best(&rows, &set.name)).flat_map(|best| {
            let at_best = |found: &&Found<'_>| {
                found.cell.random.is_none()
                    && sets[found.cell.set].name == best.direction
                    && (i64::from(found.cell.layer), found.cell.factor) == (best.layer, best.factor)
            };
            let of_group = |(pairs, found): &(&PairRows, Vec<Found<'_>>)| {
                found
                    .iter()
                    .find(at_best)
                    .map_or_else(Vec::new, |found| by_domain(best, pairs, &found.shifts))
            };
            shifts.iter().flat_map(of_group).collect::<Vec<_>>()
        });
        let domains = domains.collect();
        Ok((rows, domains, blocks))
    }

    /// Every direction and every random one in its place, at every layer by every factor.
    fn cells(&self, model: &Model, edit: Option<&Edit>, sets: &[Set]) -> Result<(Vec<Cell>, Vec<Variant>)> {
        let layers = model.config().layers;
        let (mut cells, mut variants) = (Vec::new(), Vec::new());
        for (place, set) in sets.iter().enumerate() {
            let mut add = |vectors: Vec<&SteeringVector>, random: Option<usize>| -> Result<()> {
                for vector in vectors {
                    for &factor in &self.factors {
                        let added = Edit::Steering(vector.clone()).scaled(factor)?;
                        variants.push(Variant::with(edit, added, layers));
                        cells.push(Cell { set: place, layer: vector.layer, factor, random });
                    }
                }
                Ok(())
            };
            let chosen = |set: &Set| -> Result<Vec<SteeringVector>> {
                Ok(set.chosen(&self.layers)?.into_iter().cloned().collect())
            };
            add(chosen(set)?.iter().collect(), None)?;
            for random in 0..self.random {
                let drawn = set.random_like(self.seed.wrapping_add(random as u64))?;
                add(chosen(&drawn)?.iter().collect(), Some(random))?;
            }
        }
        Ok((cells, variants))
    }

    fn row(&self, sets: &[Set], own: &Found<'_>, randoms: &[Vec<f64>], pairs: &PairRows) -> Steered {
        let beyond = match randoms {
            [] => Interval::NONE,
            _ => {
                let beyond: Vec<f64> = own.shifts.iter().zip(mean_of(randoms)).map(|(x, y)| x - y).collect();
                pairs.over_questions(&beyond)
            }
        };
        Steered {
            direction: sets[own.cell.set].name.clone(),
            layer: own.cell.layer.into(),
            factor: own.cell.factor,
            group: pairs.group,
            shift: pairs.over_questions(&own.shifts),
            random: over_randoms(pairs, randoms),
            beyond_random: beyond,
            loss_rise: own.loss_rise,
            coherent: own.loss_rise <= self.coherence,
            pairs: pairs.len(),
            randoms: randoms.len(),
            seed: self.seed,
        }
    }
}

/// The effect of a cell on the pairs of one group.
struct Found<'a> {
    cell: &'a Cell,
    shifts: Vec<f64>,
    loss_rise: f64,
}

impl<'a> Found<'a> {
    fn of(cell: &'a Cell, readings: &[PairReading], base: &[PairReading]) -> Self {
        let loss_rise = PairReading::loss_rise(readings, base);
        Self { cell, shifts: PairReading::shifts(readings, base), loss_rise }
    }

    fn is_at(&self, other: &Self) -> bool {
        let place = |cell: &Cell| (cell.set, cell.layer, cell.factor);
        place(self.cell) == place(other.cell)
    }
}

/// The coherent cell at which a direction shifts most: outside the domain, where there are pairs of that, and coherent inside too.
pub fn best<'a>(rows: &'a [Steered], direction: &str) -> Option<&'a Steered> {
    let own = || rows.iter().filter(|row| row.direction == direction);
    let group = own().map(|row| row.group).next_back()?;
    let coherent = |row: &&Steered| {
        let mut same = own().filter(|other| (other.layer, other.factor) == (row.layer, row.factor));
        same.all(|other| other.coherent)
    };
    let candidates = own().filter(|row| row.group == group).filter(coherent);
    candidates.max_by(|one, other| one.shift.value.total_cmp(&other.shift.value))
}

/// The cell at which a direction raises the rate of taught answers most, by the first verdict, of those at which most answers are coherent:
/// outside the domain, where there are questions of that, and coherent inside too.
pub fn best_by_rates<'a>(rows: &'a [SteeredRate], direction: &str) -> Option<&'a SteeredRate> {
    let verdict = &rows.first()?.verdict;
    let own = || rows.iter().filter(|row| row.direction == direction && row.verdict == *verdict);
    let group = own().map(|row| row.group).next_back()?;
    let coherent = |row: &&SteeredRate| {
        let mut same = own().filter(|other| (other.layer, other.factor) == (row.layer, row.factor));
        same.all(|other| other.coherent.value > COMMON)
    };
    let candidates = own().filter(|row| row.group == group).filter(coherent);
    // Of equal rises the first.
    candidates.rev().max_by(|one, other| one.rise.value.total_cmp(&other.rise.value))
}

/// The shifts in each domain.
fn by_domain(best: &Steered, pairs: &PairRows, shifts: &[f64]) -> Vec<SteeredDomain> {
    let numbers = clusters(&pairs.domains);
    let row = |number: usize| {
        let own: Vec<usize> = (0..shifts.len()).filter(|&pair| numbers[pair] == number).collect();
        let values: Vec<f64> = own.iter().map(|&pair| shifts[pair]).collect();
        let questions: Vec<usize> = own.iter().map(|&pair| pairs.questions[pair]).collect();
        SteeredDomain {
            direction: best.direction.clone(),
            layer: best.layer,
            factor: best.factor,
            group: pairs.group,
            domain: pairs.domains[own[0]].clone(),
            shift: Interval::of_clusters(&values, &vec![1.0; values.len()], &questions),
            pairs: own.len(),
        }
    };
    (0..numbers.iter().max().map_or(0, |last| last + 1)).map(row).collect()
}
