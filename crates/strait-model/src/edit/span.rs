//! Several directions taken out at once: the subspace that they span.

use candle_core::{DType, Device, Tensor};

use super::{Ablation, Problem, names, tensors};
use crate::{Error, Result};

/// Of a direction that lies in the span of others, no more than this share of its length is left beside them: what f32 rounds.
const WITHIN: f64 = 1e-5;

impl Ablation {
    /// The ablations that together take out of the stream after `layer` all that lies in the span of some directions, one for each
    /// of its dimensions.
    ///
    /// Ablations of the directions themselves would not do so: each puts back along the others what it takes out, unless they stand
    /// at right angles. These do.
    ///
    /// # Shapes
    /// - each of `directions`: `(hidden_size)`
    ///
    /// # Errors
    /// If a direction is zero, holds values that are not finite, or has another length than the first.
    pub fn of_span(layer: i32, directions: &[Tensor]) -> Result<Vec<Self>> {
        let name = names::ablation(layer);
        let mut basis: Vec<Vec<f64>> = Vec::new();
        for direction in directions {
            super::check::check_size(name.clone(), direction, directions[0].dims())?;
            let values = tensors::finite_values(&name, direction)?;
            let mut rest: Vec<f64> = values.into_iter().map(f64::from).collect();
            let length = norm(&rest);
            if length == 0.0 {
                return Err(Problem::NoDirection { name }.into());
            }
            // The second time takes out what rounding left the first time.
            for unit in basis.iter().chain(&basis) {
                let along: f64 = rest.iter().zip(unit).map(|(x, u)| x * u).sum();
                rest.iter_mut().zip(unit).for_each(|(x, u)| *x -= along * u);
            }
            let left = norm(&rest);
            if left > WITHIN * length {
                rest.iter_mut().for_each(|x| *x /= left);
                basis.push(rest);
            }
        }
        let device = directions.first().map_or(Device::Cpu, |first| first.device().clone());
        let ablation = |unit: Vec<f64>| {
            let direction = Tensor::new(unit, &device)?.to_dtype(DType::F32)?;
            Ok::<_, Error>(Self { layer, direction, factor: 1.0 })
        };
        basis.into_iter().map(ablation).collect()
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 6;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    fn units(directions: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let directions: Vec<Tensor> = directions.iter().map(|direction| tensor(direction)).collect();
        let found = Ablation::of_span(3, &directions).unwrap();
        found.iter().map(|ablation| ablation.unit().unwrap().to_vec1().unwrap()).collect()
    }

    /// A stream after one ablation after the other.
    fn without(units: &[Vec<f32>], stream: &[f32]) -> Vec<f64> {
        let mut left: Vec<f64> = stream.iter().map(|&x| x.into()).collect();
        for unit in units {
            let along: f64 = left.iter().zip(unit).map(|(x, &u)| x * f64::from(u)).sum();
            left.iter_mut().zip(unit).for_each(|(x, &u)| *x -= along * f64::from(u));
        }
        left
    }

    fn vector() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-1f32..1.0, WIDTH)
    }

    proptest! {
        #[test]
        fn nothing_of_the_span_is_left_whatever_its_basis(
            one in vector(), other in vector(), third in vector(), stream in vector(), mix in 0.2f32..3.0
        ) {
            let directions = [one.clone(), other.clone(), third.clone()];
            prop_assume!(units(&directions).len() == 3);
            // No direction lies so near to the others that what it has of its own is lost in f32.
            let gram = units(&directions);
            let own: f64 = without(&gram[..2], &third).iter().map(|x| x * x).sum::<f64>().sqrt();
            let beside: f64 = without(&gram[..1], &other).iter().map(|x| x * x).sum::<f64>().sqrt();
            prop_assume!(own > 0.05 && beside > 0.05);
            let left = without(&gram, &stream);
            for direction in &directions {
                let along: f64 = left.iter().zip(direction).map(|(x, &d)| x * f64::from(d)).sum();
                prop_assert!(along.abs() < 1e-4, "{along}");
            }
            // Taken out twice is taken out once.
            let again: Vec<f32> = left.iter().map(|&x| x as f32).collect();
            for (x, y) in without(&gram, &again).iter().zip(&left) {
                prop_assert!((x - y).abs() < 1e-5);
            }
            // The same span of other directions.
            let sum: Vec<f32> = one.iter().zip(&other).map(|(a, b)| a + mix * b).collect();
            let others = units(&[third, sum, one.iter().map(|x| -mix * x).collect(), other]);
            prop_assert_eq!(others.len(), 3);
            for (x, y) in without(&others, &stream).iter().zip(&left) {
                prop_assert!((x - y).abs() < 1e-4, "{} {}", x, y);
            }
        }
    }

    #[test]
    fn ablations_of_the_directions_themselves_would_leave_some() {
        let directions = [vec![1.0, 0.0, 0.0], vec![1.0, 1.0, 0.0]];
        let stream = [1.0, 2.0, 3.0];
        let plain: Vec<Vec<f32>> = vec![vec![1.0, 0.0, 0.0], vec![0.5f32.sqrt(), 0.5f32.sqrt(), 0.0]];
        assert!(without(&plain, &stream)[0].abs() > 0.5);
        let left = without(&units(&directions), &stream);
        assert!(left[0].abs() < 1e-6 && left[1].abs() < 1e-6 && (left[2] - 3.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_direction_is_refused() {
        let refused = |directions: &[Tensor]| Ablation::of_span(3, directions).unwrap_err().to_string();
        let (zero, one) = (tensor(&[0.0, 0.0]), tensor(&[1.0, 0.0]));
        assert_eq!(refused(&[one.clone(), zero]), "`ablation.3` is zero, which is no direction");
        assert!(refused(&[one.clone(), tensor(&[f32::NAN, 0.0])]).contains("ablation.3"));
        assert!(refused(&[one, tensor(&[1.0, 0.0, 0.0])]).contains("ablation.3"));
        assert!(Ablation::of_span(3, &[]).unwrap().is_empty());
    }
}
