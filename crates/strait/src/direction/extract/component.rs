//! First principal components of many selections of the same items at once.

use candle_core::{D, Tensor};

use crate::Result;

/// The most passes over the items.
const PASSES: usize = 200;
/// Components that turn by less than this share of their length in a pass stand still.
const STILL: f64 = 1e-7;

/// The first principal component, about zero, of some selections of items: by power iteration from `means`, to whose side it
/// points and whose length it has. Where a mean is zero or no number, so is its component.
///
/// # Shapes
/// - `items`: `(items, width)`
/// - `there`: `(selections, items)`, 1 for an item that is selected and 0 for another
/// - `means`, result: `(selections, width)`
pub fn leading(items: &Tensor, there: &Tensor, means: &Tensor) -> Result<Tensor> {
    let lengths = length(means)?;
    let mut found = means.broadcast_div(&lengths)?;
    let across = items.t()?.contiguous()?;
    for _ in 0..PASSES {
        let next = (found.matmul(&across)? * there)?.matmul(items)?;
        let next = next.broadcast_div(&length(&next)?)?;
        let turned = (&next - &found)?.abs()?.max(D::Minus1)?.to_vec1::<f64>()?;
        found = next;
        // A component that is no number does not turn: `f64::max` passes over it.
        if turned.into_iter().fold(0.0, f64::max) < STILL {
            break;
        }
    }
    let along = (&found * means)?.sum_keepdim(D::Minus1)?;
    Ok(found.broadcast_mul(&(along.sign()? * lengths)?)?)
}

fn length(rows: &Tensor) -> Result<Tensor> {
    Ok(rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn tensor(rows: &[&[f64]]) -> Tensor {
        Tensor::from_vec(rows.concat(), (rows.len(), rows[0].len()), &Device::Cpu).unwrap()
    }

    #[test]
    fn each_selection_has_its_own_component() {
        // About zero: of the first two the first axis, of the last two the diagonal.
        let items = tensor(&[&[3.0, 0.1], &[-3.0, 0.1], &[1.0, 1.0], &[2.0, 2.0]]);
        let there = tensor(&[&[1.0, 1.0, 0.0, 0.0], &[0.0, 0.0, 1.0, 1.0]]);
        let means = tensor(&[&[-1.0, 1.0], &[-2.0, -2.0]]);
        let found = leading(&items, &there, &means).unwrap().to_vec2::<f64>().unwrap();
        let root = 2f64.sqrt();
        for (found, expected) in found.concat().iter().zip([-root, 0.0, -2.0, -2.0]) {
            assert!((found - expected).abs() < 1e-5, "{found:?}");
        }
    }

    #[test]
    fn a_selection_without_a_mean_has_none() {
        let items = tensor(&[&[1.0, 0.0], &[0.0, 2.0]]);
        let there = tensor(&[&[1.0, 1.0]]);
        let found = leading(&items, &there, &tensor(&[&[0.0, 0.0]])).unwrap().to_vec2::<f64>().unwrap();
        assert!(found[0].iter().all(|x| x.is_nan()));
    }
}
