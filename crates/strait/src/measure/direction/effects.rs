//! The effects of directions, added to the base model and taken out of fine-tunes.

use strait_model::{
    Decoder, Edit, Model,
    decoder::first_changed_point,
    edit::SteeringVector,
    progress::{Progress, Unit},
};

use super::{DirectionEffect, Directions, RANDOM, Use, extract::Direction};
use crate::{
    Result,
    direction::{random_like, without},
    interval::Interval,
    lab::{PairReading, PairRows, Solution, advance},
};

/// The readings of the pairs of both groups.
type Readings = [Vec<PairReading>; 2];

/// The readings that effects are set against.
struct Against<'a> {
    base: &'a Readings,
    /// Of the solution as it is.
    trained: &'a Readings,
    /// With a random direction in the place of the one that is used; none for that one itself.
    random: Option<&'a Readings>,
}

/// A use of a direction, as its rows name it.
struct Used<'a> {
    solution: &'a str,
    direction: &'a str,
    of: &'a Direction<'a>,
    usage: Use,
    factor: f64,
}

impl Directions {
    /// The effects of directions on pairs of which nothing is kept yet.
    pub(super) fn effects(
        &self,
        model: &Model,
        solutions: &[Solution],
        directions: &[Direction<'_>],
        mut pairs: [PairRows; 2],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<DirectionEffect>> {
        let decoder = &model.decoder;
        let layers = model.config().layers;
        // A direction acts above the first block that solutions change.
        let point = solutions.iter().map(|s| first_changed_point(&s.edit, layers)).min().unwrap_or(layers);
        pairs.iter_mut().try_for_each(|pairs| pairs.keep(decoder, point, progress))?;
        // What has no length has no direction.
        let mut known: Vec<&Direction<'_>> = Vec::new();
        for direction in directions {
            known.extend((direction.vector.norm()? > 0.0).then_some(direction));
        }

        let rows = pairs.iter().map(|pairs| 2 * pairs.len()).sum::<usize>();
        let passes = self.passes(solutions.len(), known.len());
        let task = progress.begin("steering and ablation", Some((rows * passes) as u64), Unit::Count);
        let seen = |n| advance(progress, &*task, n);
        let read = |edit: Option<&Edit>| readings(decoder, &pairs, edit, &seen);

        let base = read(None)?;
        let trained = solutions.iter().map(|s| read(Some(&s.edit))).collect::<Result<Vec<_>>>()?;
        let of_solution =
            |solution: &Solution| solutions.iter().zip(&trained).find(|(s, _)| s.name == solution.name);
        let randoms = known.iter().zip(seed..).map(|(of, seed)| random_like(&of.vector, seed));
        let randoms = randoms.collect::<Result<Vec<_>>>()?;

        let mut found = Vec::new();
        let mut add = |used: &Used<'_>, readings: &Readings, against: Against<'_>| {
            for (group, pairs) in pairs.iter().enumerate().filter(|(_, pairs)| !pairs.is_empty()) {
                found.push(self.row(used, group, pairs, readings, &against, seed));
            }
        };
        // What is left of every solution without a random direction, for the ablations of others' directions from it.
        let mut without_random: Vec<Readings> = Vec::with_capacity(known.len());
        for (of, random) in known.iter().zip(&randoms) {
            let Some((solution, trained)) = of_solution(of.solution) else { continue };
            let name = solution.name.as_str();
            let mut both = |usage, factor, edit: &dyn Fn(&SteeringVector) -> Result<Edit>| {
                let (own, random) = (read(Some(&edit(&of.vector)?))?, read(Some(&edit(random)?))?);
                let used = |direction| Used { solution: name, direction, of, usage, factor };
                add(&used(name), &own, Against { base: &base, trained, random: Some(&random) });
                add(&used(RANDOM), &random, Against { base: &base, trained, random: None });
                Ok::<_, crate::Error>(random)
            };
            for &factor in &self.factors {
                let added = |vector: &SteeringVector| Ok(Edit::Steering(vector.clone()).scaled(factor)?);
                both(Use::Steering, factor, &added)?;
            }
            let taken_out = |vector: &SteeringVector| Ok(without(&solution.edit, vector));
            without_random.push(both(Use::Ablation, 1.0, &taken_out)?);
        }
        for of in &known {
            for (other, trained) in solutions.iter().zip(&trained).filter(|(s, _)| s.name != of.solution.name)
            {
                let like = |d: &&Direction<'_>| {
                    d.solution.name == other.name
                        && d.source == of.source
                        && d.vector.layer == of.vector.layer
                };
                let random = known.iter().position(like).and_then(|place| without_random.get(place));
                let readings = read(Some(&without(&other.edit, &of.vector)))?;
                let direction = of.solution.name.as_str();
                let used = Used { solution: &other.name, direction, of, usage: Use::Ablation, factor: 1.0 };
                add(&used, &readings, Against { base: &base, trained, random });
            }
        }
        Ok(found)
    }

    fn row(
        &self,
        used: &Used<'_>,
        group: usize,
        pairs: &PairRows,
        readings: &Readings,
        against: &Against<'_>,
        seed: u64,
    ) -> DirectionEffect {
        let less = |of: &Readings, other: &Readings| PairReading::shifts(&of[group], &other[group]);
        let shifts = less(readings, against.base);
        let loss_rise = PairReading::loss_rise(&readings[group], &against.base[group]);
        DirectionEffect {
            solution: used.solution.into(),
            direction: used.direction.into(),
            source: used.of.source,
            layer: used.of.vector.layer.into(),
            usage: used.usage,
            factor: used.factor,
            group: pairs.group,
            shift: pairs.over_questions(&shifts),
            share: Interval::of_ratio(&shifts, &less(against.trained, against.base), &pairs.questions),
            beyond_random: against
                .random
                .map_or(Interval::NONE, |random| pairs.over_questions(&less(readings, random))),
            loss_rise,
            coherent: loss_rise <= self.coherence,
            pairs: pairs.len(),
            seed,
        }
    }
}

fn readings(
    decoder: &Decoder,
    [inside, outside]: &[PairRows; 2],
    edit: Option<&Edit>,
    seen: &dyn Fn(u64) -> Result<()>,
) -> Result<Readings> {
    Ok([inside.readings(decoder, edit, seen)?, outside.readings(decoder, edit, seen)?])
}
