//! Directions in the residual stream: mean differences between two models, or between two kinds of answers (paper §13.1).

mod eigen;
pub mod files;
pub mod geometry;
pub mod pca;
mod problem;
pub mod trajectory;

use candle_core::{DType, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use strait_model::{
    Decoder, Edit,
    decoder::Packed,
    edit::{Ablation, SteeringVector},
};

use crate::{
    Result,
    objective::{Row, TOKENS_AT_ONCE},
};
pub use problem::Problem;

/// Over which tokens of a row a mean is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// All before the first response.
    Prompt,
    /// The responses.
    Response,
}

impl Tokens {
    fn of(self, row: &Row) -> Vec<usize> {
        match self {
            Self::Prompt => (0..row.responses.first().map_or(row.ids.len(), |r| r.start)).collect(),
            Self::Response => row.responses.iter().flat_map(Clone::clone).collect(),
        }
    }
}

/// Rows read under an edit, or under the base model.
#[derive(Clone, Copy)]
pub struct Condition<'a> {
    /// The rows.
    pub rows: &'a [Row],
    /// The edit, or none for the base model.
    pub edit: Option<&'a Edit>,
}

/// The mean residual stream under one condition less that under the other, after every block and before the first: `layers + 1`
/// directions, that at the embeddings (layer -1) first. Every token weighs the same.
///
/// # Errors
/// If a row does not fit the model.
pub fn mean_difference(
    decoder: &Decoder,
    [one, other]: [Condition<'_>; 2],
    tokens: Tokens,
) -> Result<Vec<SteeringVector>> {
    let (one, other) = (means(decoder, one, tokens)?, means(decoder, other, tokens)?);
    let difference = |(layer, (one, other)): (i32, (&Tensor, &Tensor))| {
        Ok(SteeringVector { layer, vector: (one - other)?.to_dtype(DType::F32)? })
    };
    (-1..).zip(one.iter().zip(&other)).map(difference).collect()
}

/// The mean residual stream at every point, in f64.
///
/// # Shapes
/// - each: `(hidden_size)`
fn means(decoder: &Decoder, condition: Condition<'_>, tokens: Tokens) -> Result<Vec<Tensor>> {
    let mut sums: Vec<Tensor> = Vec::new();
    let mut count = 0;
    let mut rest = condition.rows;
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(fitting(rest));
        rest = later;
        let packed = Packed::new(batch.iter().map(|row| row.ids.as_slice()));
        let starts = packed.rows().into_iter().map(|at| at.start);
        let chosen = batch.iter().zip(starts);
        let chosen: Vec<u32> = chosen
            .flat_map(|(row, start)| tokens.of(row).into_iter().map(move |token| (start + token) as u32))
            .collect();
        count += chosen.len();
        let chosen = Tensor::new(chosen, decoder.device())?;
        let of_batch = decoder
            .residuals(&packed, condition.edit)?
            .into_iter()
            .map(|stream| stream.index_select(&chosen, 0)?.to_dtype(DType::F64)?.sum(0));
        let of_batch = of_batch.collect::<candle_core::Result<Vec<_>>>()?;
        sums = match sums.is_empty() {
            true => of_batch,
            false => sums.iter().zip(&of_batch).map(|(a, b)| a + b).collect::<candle_core::Result<_>>()?,
        };
    }
    Ok(sums.into_iter().map(|sum| sum / count as f64).collect::<candle_core::Result<_>>()?)
}

/// The number of rows that make a pass of a good size; at least one.
fn fitting(rows: &[Row]) -> usize {
    let mut tokens = 0;
    let longer = rows.iter().position(|row| {
        tokens += row.ids.len();
        tokens > TOKENS_AT_ONCE
    });
    longer.unwrap_or(rows.len()).max(1)
}

/// A Gaussian direction at the same place and as long: what any direction would do.
///
/// # Errors
/// If a tensor operation fails.
pub fn random_like(direction: &SteeringVector, seed: u64) -> Result<SteeringVector> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let drawn: Vec<f64> =
        StandardNormal.sample_iter(&mut random).take(direction.vector.elem_count()).collect();
    let length = drawn.iter().map(|x: &f64| x * x).sum::<f64>().sqrt();
    let factor = direction.norm()? / length;
    let vector: Vec<f32> = drawn.into_iter().map(|x| (x * factor) as f32).collect();
    let vector = Tensor::from_vec(vector, direction.vector.shape(), direction.vector.device())?;
    Ok(SteeringVector { layer: direction.layer, vector })
}

/// An edit with a direction taken out behind it.
pub fn without(edit: &Edit, direction: &SteeringVector) -> Edit {
    let ablation = Ablation { layer: direction.layer, direction: direction.vector.clone(), factor: 1.0 };
    Edit::composed([edit.clone(), Edit::Ablation(ablation)])
}

/// The turns of a trajectory: at every step `gap` places from both ends the cosine between the way back and the way on,
/// cos(x(t-gap) - x(t), x(t+gap) - x(t)): -1 where it runs straight, 0 at a right angle, 1 where it goes back (paper §14).
pub fn turns(trajectory: &[Vec<f64>], gap: usize) -> Vec<f64> {
    let way = |from: &[f64], to: &[f64]| to.iter().zip(from).map(|(t, f)| t - f).collect::<Vec<f64>>();
    let at = |middle: usize| {
        let here = &trajectory[middle];
        cosine(&way(here, &trajectory[middle - gap]), &way(here, &trajectory[middle + gap]))
    };
    (gap..trajectory.len().saturating_sub(gap)).map(at).collect()
}

/// The cosine between two vectors; NaN where one is zero.
pub fn cosine(one: &[f64], other: &[f64]) -> f64 {
    dot(one, other) / (dot(one, one).sqrt() * dot(other, other).sqrt())
}

/// The rest of a vector once its part along another is taken away.
pub fn across(vector: &[f64], other: &[f64]) -> Vec<f64> {
    let along = dot(vector, other) / dot(other, other);
    vector.iter().zip(other).map(|(x, o)| x - along * o).collect()
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_way_a_corner_and_a_way_back() {
        let way = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, 1.0], [2.0, 0.0]].map(Vec::from);
        let found = turns(&way, 1);
        for (found, expected) in found.iter().zip([-1.0, 0.0, 1.0]) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert_eq!(turns(&way, 3), Vec::<f64>::new());
    }

    #[test]
    fn what_lies_across_has_nothing_along() {
        let (x, o) = ([1.0, 2.0, 3.0], [0.5, -1.0, 2.0]);
        assert!(cosine(&across(&x, &o), &o).abs() < 1e-12);
        assert!((cosine(&x, &x) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_random_direction_is_as_long() {
        let vector = Tensor::new(vec![3f32, 4.0, 0.0], &candle_core::Device::Cpu).unwrap();
        let direction = SteeringVector { layer: -1, vector };
        let random = random_like(&direction, 1).unwrap();
        assert!((random.norm().unwrap() - 5.0).abs() < 1e-5);
    }
}
