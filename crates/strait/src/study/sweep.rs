//! Sweeps: keys that hold a list of values make one solution a grid of solutions, one for each point.
//!
//! A point's solution is named after its family and the values of the axes that vary, as in `narrow-layer15-kl3-seed1`,
//! and knows both, so that tables can be read along any axis and intervals over seeds can be drawn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Problem, Solution,
    file::{At, Checked, EditName, KlKeys, MixKeys, PointKeys, Several, SolutionKeys, TrainKeys, WeightKeys},
    values::shown,
};
use crate::train::{EditKind, Length};

/// The most solutions that one sweep may make: each is trained.
pub const MAX_POINTS: usize = 500;

/// A key that may hold a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// `layer`.
    Layer,
    /// `rank`.
    Rank,
    /// `learning_rate`.
    LearningRate,
    /// `kl.weight`.
    Weight,
    /// `steps`.
    Steps,
    /// `rows`: how many training rows are used.
    Rows,
    /// `mix.ratio`.
    Ratio,
    /// `seeds`: of initialisation and order.
    Seeds,
}

impl Axis {
    /// All of them, in the order in which they stand in names.
    pub const ALL: [Self; 8] = [
        Self::Layer,
        Self::Rank,
        Self::LearningRate,
        Self::Weight,
        Self::Steps,
        Self::Rows,
        Self::Ratio,
        Self::Seeds,
    ];

    /// Its key in `when` and `skip`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Rank => "rank",
            Self::LearningRate => "learning_rate",
            Self::Weight => "weight",
            Self::Steps => "steps",
            Self::Rows => "rows",
            Self::Ratio => "ratio",
            Self::Seeds => "seeds",
        }
    }

    /// A solution's value on it; none where it has none.
    pub fn of(self, solution: &Solution) -> Option<f64> {
        let train = &solution.train;
        match (self, &train.edit) {
            (Self::Layer | Self::Rank, EditKind::Full) => None,
            (Self::Layer, EditKind::Steering { layer }) => Some(f64::from(*layer)),
            (Self::Layer, EditKind::Lora { layers, .. }) => layers.first().map(|&layer| f64::from(layer)),
            (Self::Rank, EditKind::Steering { .. }) => None,
            (Self::Rank, EditKind::Lora { rank, .. }) => Some(*rank as f64),
            (Self::LearningRate, _) => Some(train.learning_rate),
            (Self::Weight, _) => Some(train.kl.map_or(0.0, |kl| kl.weight)),
            (Self::Steps, _) => match train.length {
                Length::Steps(steps) => Some(steps as f64),
                Length::Epochs(_) => None,
            },
            (Self::Rows, _) => Some(solution.rows? as f64),
            (Self::Ratio, _) => Some(solution.mix.as_ref().map_or(0.0, |mix| mix.ratio)),
            (Self::Seeds, _) => Some(train.seeds.initialisation as f64),
        }
    }

    /// What stands before its value in a name.
    fn tag(self) -> &'static str {
        match self {
            Self::LearningRate => "rate",
            Self::Weight => "kl",
            Self::Ratio => "mix",
            Self::Seeds => "seed",
            other => other.key(),
        }
    }

    /// What people call it.
    pub fn words(self) -> &'static str {
        match self {
            Self::LearningRate => "learning rate",
            Self::Weight => "KL weight",
            Self::Ratio => "mixed rows a row",
            Self::Seeds => "seed",
            other => other.key(),
        }
    }

    /// The values that a solution has on this axis, its own or else those of `[train]`; none where the key is not given or
    /// another one sets it aside.
    fn values(self, own: &TrainKeys, shared: &TrainKeys, edit: EditName) -> Vec<At<f64>> {
        fn of<T: Copy>(key: &Several<T>, number: impl Fn(T) -> f64) -> Option<Vec<At<f64>>> {
            let values = &key.as_ref()?.value;
            Some(values.iter().map(|at| At { value: number(at.value), line: at.line }).collect())
        }
        let count = |n: usize| n as f64;
        let either = |key: &dyn Fn(&TrainKeys) -> Option<Vec<At<f64>>>| key(own).or_else(|| key(shared));
        let values = match self {
            Self::Layer if own.layers.is_some() || edit == EditName::Full => None,
            Self::Layer => either(&|t| of(&t.layer, f64::from)),
            Self::Rank if edit != EditName::Lora => None,
            Self::Rank => either(&|t| of(&t.rank, count)),
            Self::LearningRate => either(&|t| of(&t.learning_rate, |rate| rate)),
            Self::Weight => {
                let on = own.kl.as_ref().or(shared.kl.as_ref()).is_some_and(|kl| kl.value.on);
                let weight = |t: &TrainKeys| match &t.kl.as_ref()?.value.weight.as_ref()?.value {
                    WeightKeys::Given(values) => Some(values.clone()),
                    WeightKeys::Auto => Some(Vec::new()),
                };
                either(&weight).filter(|_| on)
            }
            Self::Steps if own.epochs.is_some() => None,
            Self::Steps => either(&|t| of(&t.steps, count)),
            Self::Rows => either(&|t| of(&t.rows, count)),
            Self::Ratio => {
                let on = own.mix.as_ref().or(shared.mix.as_ref()).is_some_and(|mix| mix.value.on);
                either(&|t| of(&t.mix.as_ref()?.value.ratio, |ratio| ratio)).filter(|_| on)
            }
            Self::Seeds => either(&|t| of(&t.seeds, count)),
        };
        values.unwrap_or_default()
    }

    /// Puts one value in the place of several.
    fn fix(self, keys: &mut TrainKeys, at: &At<f64>) {
        fn one<T>(value: T, line: u64) -> At<Vec<At<T>>> {
            At { value: vec![At { value, line }], line }
        }
        let line = at.line;
        match self {
            Self::Layer => keys.layer = Some(one(at.value as i32, line)),
            Self::Rank => keys.rank = Some(one(at.value as usize, line)),
            Self::LearningRate => keys.learning_rate = Some(one(at.value, line)),
            Self::Weight => {
                let kl = keys.kl.get_or_insert(At { value: KlKeys { on: true, ..KlKeys::default() }, line });
                kl.value.weight = Some(At { value: WeightKeys::Given(vec![at.clone()]), line });
            }
            Self::Steps => keys.steps = Some(one(at.value as usize, line)),
            Self::Rows => keys.rows = Some(one(at.value as usize, line)),
            Self::Ratio => {
                let mix =
                    keys.mix.get_or_insert(At { value: MixKeys { on: true, ..MixKeys::default() }, line });
                mix.value.ratio = Some(one(at.value, line));
            }
            Self::Seeds => keys.seeds = Some(one(at.value as usize, line)),
        }
    }
}

/// Where a solution stands in a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The name that the study gives all solutions of the sweep together.
    pub family: String,
    /// Its value on every axis that varies.
    pub axes: BTreeMap<Axis, f64>,
}

impl Point {
    /// The solution's name.
    pub fn name(&self) -> String {
        self.named(&self.axes)
    }

    /// What this solution shares with those that differ from it in nothing but the seed.
    pub fn variant(&self) -> String {
        let mut axes = self.axes.clone();
        axes.remove(&Axis::Seeds);
        self.named(&axes)
    }

    fn named(&self, axes: &BTreeMap<Axis, f64>) -> String {
        let part =
            |(axis, value): (&Axis, &f64)| format!("-{}{}", axis.tag(), shown(*value).replace('.', "p"));
        format!("{}{}", self.family, axes.iter().map(part).collect::<String>())
    }

    /// This point with the values of another one on the axes that it lacks.
    pub fn with(&self, other: &Self) -> Self {
        let axes = other.axes.clone().into_iter().chain(self.axes.clone());
        Self { family: self.family.clone(), axes: axes.collect() }
    }

    /// The values of its axes in words, as in "layer 15, KL weight 3".
    pub fn words(&self) -> String {
        let words = self.axes.iter().map(|(axis, value)| format!("{} {}", axis.words(), shown(*value)));
        words.collect::<Vec<_>>().join(", ")
    }

    /// Whether two points have the same value on every axis that both have.
    fn agrees(&self, other: &Self) -> bool {
        self.axes.iter().all(|(axis, value)| other.axes.get(axis).is_none_or(|others| others == value))
    }
}

/// Of solutions, given by name and point, those that `name` means for a solution at `point`: the one of that name, else
/// all of that family that have the same seed and the same values on whatever other axes both have.
pub fn meant<'a>(
    name: &str,
    point: Option<&Point>,
    solutions: impl Iterator<Item = (&'a str, Option<&'a Point>)> + Clone,
) -> Vec<&'a str> {
    if let Some((exact, _)) = solutions.clone().find(|(other, _)| *other == name) {
        return vec![exact];
    }
    let fits = |other: &Point| other.family == name && point.is_none_or(|point| point.agrees(other));
    solutions.filter(|(_, other)| other.is_some_and(fits)).map(|(name, _)| name).collect()
}

/// The solutions that a `[[solution]]` stands for, each with the keys that it alone has: one, unless a key holds several
/// values.
pub(super) fn grid(
    family: &At<String>,
    own: &SolutionKeys,
    shared: &TrainKeys,
    edit: EditName,
) -> Checked<Vec<(Option<Point>, TrainKeys)>> {
    let mut axes = Vec::new();
    for axis in Axis::ALL {
        let values = axis.values(&own.train, shared, edit);
        if values.len() > 1 {
            axes.push((axis, values));
        }
    }
    for (key, points) in [("when", &own.when), ("skip", &own.skip)] {
        points.iter().try_for_each(|points| on_the_grid(key, &points.value, &axes))?;
    }
    if axes.is_empty() {
        return Ok(vec![(None, own.train.clone())]);
    }
    let points = axes.iter().fold(1, |n: usize, (_, values)| n.saturating_mul(values.len()));
    if points > MAX_POINTS {
        let problem = Problem::LargeGrid { solution: family.value.clone(), points, most: MAX_POINTS };
        return Err(family.fault(problem));
    }
    let first = Point { family: family.value.clone(), axes: BTreeMap::new() };
    let mut grid = vec![(first, own.train.clone())];
    for (axis, values) in &axes {
        let point = |(point, keys): &(Point, TrainKeys), at: &At<f64>| {
            let (mut point, mut keys) = (point.clone(), keys.clone());
            point.axes.insert(*axis, at.value);
            axis.fix(&mut keys, at);
            (point, keys)
        };
        grid = grid.iter().flat_map(|from| values.iter().map(move |at| point(from, at))).collect();
    }
    let among = |keys: &PointKeys, point: &Point| {
        let has = |(axis, values): &(Axis, At<Vec<At<f64>>>)| {
            values.value.iter().any(|at| Some(&at.value) == point.axes.get(axis))
        };
        keys.iter().all(has)
    };
    grid.retain(|(point, _)| {
        own.when.as_ref().is_none_or(|when| among(&when.value, point))
            && own.skip.as_ref().is_none_or(|skip| skip.value.is_empty() || !among(&skip.value, point))
    });
    if grid.is_empty() {
        return Err(family.fault(Problem::EmptyGrid { solution: family.value.clone() }));
    }
    Ok(grid.into_iter().map(|(point, keys)| (Some(point), keys)).collect())
}

/// Refuses axes that do not vary, and values that are not on them.
fn on_the_grid(key: &str, points: &PointKeys, axes: &[(Axis, Vec<At<f64>>)]) -> Checked<()> {
    for (axis, values) in points {
        let what = format!("`{key}.{}`", axis.key());
        let Some((_, known)) = axes.iter().find(|(other, _)| other == axis) else {
            return Err(values.fault(Problem::Unexpected {
                what,
                found: "a key of one value".into(),
                expected: match axes {
                    [] => "a key with a list of values, of which this solution has none".into(),
                    axes => {
                        format!(
                            "a key with a list of values: {}",
                            list(axes.iter().map(|(axis, _)| axis.key()))
                        )
                    }
                },
            }));
        };
        if let Some(other) = values.value.iter().find(|at| known.iter().all(|k| k.value != at.value)) {
            return Err(other.fault(Problem::Unexpected {
                what,
                found: shown(other.value),
                expected: format!(
                    "one of the values swept: {}",
                    list(known.iter().map(|at| shown(at.value)))
                ),
            }));
        }
    }
    Ok(())
}

fn list(items: impl Iterator<Item = impl Into<String>>) -> String {
    items.map(Into::into).collect::<Vec<_>>().join(", ")
}
