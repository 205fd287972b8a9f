//! Sweeps: keys that hold a list of values make one solution a grid of solutions, one for each point.
//!
//! A point's solution is named after its family and the values of the axes that vary, as in `narrow-layer15-kl3-seed1`,
//! and knows both, so that tables can be read along any axis and intervals over seeds can be drawn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Axis, Problem,
    file::{EditName, PointKeys, SolutionKeys, TrainKeys, WeightKeys},
    numbers::shown,
    problem::Checked,
};
use crate::keys::{self, At, Several};

/// The most solutions that one sweep may make: each is trained.
pub const MAX_POINTS: usize = 500;

impl Axis {
    /// The word before its value in a name.
    fn tag(self) -> &'static str {
        match self {
            Self::LearningRate => "rate",
            Self::Weight => "kl",
            Self::Ratio => "mix",
            Self::Seeds => "seed",
            other => other.key(),
        }
    }

    /// Its name in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::LearningRate => "learning rate",
            Self::Weight => "KL weight",
            Self::Ratio => "mixed rows a row",
            Self::Seeds => "seed",
            other => other.key(),
        }
    }

    /// The values that a solution has on this axis; none where the key is not given, or its edit has none.
    fn values(self, keys: &TrainKeys, edit: EditName) -> Vec<At<f64>> {
        fn of<T: Copy>(key: &Option<At<Several<T>>>, number: impl Fn(T) -> f64) -> Vec<At<f64>> {
            let values = key.iter().flat_map(|key| key.value.iter());
            values.map(|at| At { value: number(at.value), line: at.line }).collect()
        }
        let count = |n: usize| n as f64;
        if !edit.has(self.key()) {
            return Vec::new();
        }
        match self {
            Self::Layer => of(&keys.layer, f64::from),
            Self::Rank => of(&keys.rank, count),
            Self::LearningRate => of(&keys.learning_rate, |rate| rate),
            Self::Weight => match keys.kl().and_then(|kl| kl.weight).map(|weight| weight.value) {
                Some(WeightKeys::Given(weights)) => weights.iter().cloned().collect(),
                Some(WeightKeys::Auto) | None => Vec::new(),
            },
            Self::Steps => of(&keys.steps, count),
            Self::Rows => of(&keys.rows, count),
            Self::Ratio => keys.mix().map_or_else(Vec::new, |mix| of(&mix.ratio, |ratio| ratio)),
            Self::Seeds => of(&keys.seeds, count),
        }
    }

    /// Puts one value in the place of several.
    fn fix(self, keys: &mut TrainKeys, at: &At<f64>) {
        fn one<T>(value: T, line: u64) -> Option<At<Several<T>>> {
            Some(At { value: At { value, line }.into(), line })
        }
        let line = at.line;
        match self {
            Self::Layer => keys.layer = one(at.value as i32, line),
            Self::Rank => keys.rank = one(at.value as usize, line),
            Self::LearningRate => keys.learning_rate = one(at.value, line),
            Self::Weight => {
                if let Some(kl) = keys.kl.as_mut().and_then(|kl| kl.value.as_mut()) {
                    kl.weight = Some(At { value: WeightKeys::Given((*at).into()), line });
                }
            }
            Self::Steps => keys.steps = one(at.value as usize, line),
            Self::Rows => keys.rows = one(at.value as usize, line),
            Self::Ratio => {
                if let Some(mix) = keys.mix.as_mut().and_then(|mix| mix.value.as_mut()) {
                    mix.ratio = one(at.value, line);
                }
            }
            Self::Seeds => keys.seeds = one(at.value as usize, line),
        }
    }
}

/// A solution's place in a sweep.
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

    /// The name that this solution shares with those that differ from it in nothing but the seed.
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

    /// True if two points have the same value on every axis that both have.
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

/// The solutions that a `[[solution]]` stands for, each with its keys, of which `keys` are all: one, unless a key holds
/// several values.
pub(super) fn grid(
    solution: &SolutionKeys,
    keys: &TrainKeys,
    edit: EditName,
) -> Checked<Vec<(Option<Point>, TrainKeys)>> {
    let family = &solution.name;
    let axes: Vec<(Axis, Vec<At<f64>>)> = Axis::ALL
        .into_iter()
        .map(|axis| (axis, axis.values(keys, edit)))
        .filter(|(_, values)| values.len() > 1)
        .collect();
    for (key, points) in [("when", &solution.when), ("skip", &solution.skip)] {
        points.iter().try_for_each(|points| on_the_grid(key, &points.value, &axes))?;
    }
    if axes.is_empty() {
        return Ok(vec![(None, keys.clone())]);
    }
    let points = axes.iter().fold(1, |n: usize, (_, values)| n.saturating_mul(values.len()));
    if points > MAX_POINTS {
        let problem = Problem::LargeGrid { solution: family.value.clone(), points, most: MAX_POINTS };
        return Err(family.fault(problem));
    }
    let first = Point { family: family.value.clone(), axes: BTreeMap::new() };
    let mut grid = vec![(first, keys.clone())];
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
        let has = |(axis, values): &(Axis, At<Several<f64>>)| {
            values.value.iter().any(|at| Some(&at.value) == point.axes.get(axis))
        };
        keys.iter().all(has)
    };
    grid.retain(|(point, _)| {
        solution.when.as_ref().is_none_or(|when| among(&when.value, point))
            && solution.skip.as_ref().is_none_or(|skip| skip.value.is_empty() || !among(&skip.value, point))
    });
    if grid.is_empty() {
        return Err(family.fault(Problem::EmptyGrid { solution: family.value.clone() }));
    }
    Ok(grid.into_iter().map(|(point, keys)| (Some(point), keys)).collect())
}

/// Refuses axes that do not vary, and values that are not on them.
fn on_the_grid(key: &str, points: &PointKeys, axes: &[(Axis, Vec<At<f64>>)]) -> keys::Checked<()> {
    for (axis, values) in points {
        let what = format!("`{key}.{}`", axis.key());
        let Some((_, known)) = axes.iter().find(|(other, _)| other == axis) else {
            return Err(values.fault(keys::Problem::Unexpected {
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
            return Err(other.fault(keys::Problem::Unexpected {
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
