//! Mean differences of the residual stream, between two models or two kinds of answers (paper §13.1).

use candle_core::{Device, Tensor};
use strait_model::{Decoder, edit::SteeringVector};

use super::reading::{Condition, Tokens, row_sums};
use crate::Result;

/// The mean residual stream under one condition less that under the other, after every block and before the first: `layers + 1`
/// directions, that at the embeddings (layer -1) first. Every token weighs the same.
///
/// # Errors
/// If a row does not fit the model, or a reading is no number.
pub fn mean_difference(
    decoder: &Decoder,
    [one, other]: [Condition<'_>; 2],
    tokens: Tokens,
) -> Result<Vec<SteeringVector>> {
    let (one, other) = (means(decoder, one, tokens)?, means(decoder, other, tokens)?);
    let difference = |(layer, (one, other)): (i32, (&Vec<f64>, &Vec<f64>))| {
        let vector: Vec<f32> = one.iter().zip(other).map(|(x, y)| (x - y) as f32).collect();
        let vector = Tensor::from_vec(vector, one.len(), &Device::Cpu)?.to_device(decoder.device())?;
        Ok(SteeringVector { layer, vector })
    };
    (-1..).zip(one.iter().zip(&other)).map(difference).collect()
}

/// The mean residual stream at every point, over the tokens of all rows.
fn means(decoder: &Decoder, condition: Condition<'_>, tokens: Tokens) -> Result<Vec<Vec<f64>>> {
    let config = decoder.config();
    let mut sums = vec![vec![0.0; config.hidden_size]; config.layers + 1];
    let mut add = |point: usize, _: usize, sum: &[f64]| {
        sums[point].iter_mut().zip(sum).for_each(|(all, own)| *all += own);
        Ok(())
    };
    row_sums(decoder, condition, tokens, config.layers, &|_| Ok(()), &mut add)?;
    let count = condition.rows.iter().map(|row| tokens.of(row).len()).sum::<usize>() as f64;
    sums.iter_mut().flatten().for_each(|x| *x /= count);
    Ok(sums)
}
