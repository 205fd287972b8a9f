//! y = x W^T + b, each row by itself.

use candle_core::{Result, Tensor};

use super::{Linear, cpu, fused, linear, precision::Numbers};

/// As [`linear`], without gradients: a row of the result has the same bits whatever rows stand beside it, and however many.
///
/// Answers that are decoded together stay what they are alone. gemm's products do not promise that: it takes another kernel for a
/// single row.
///
/// # Shapes
/// - `x`: `(rows, in)`
/// - result: `(rows, out)`
///
/// # Errors
/// If the shapes disagree.
pub fn linear_by_row(x: &Tensor, projection: &Linear) -> Result<Tensor> {
    if !fused(x) {
        return linear(x, projection);
    }
    let Linear { weight, bias, precision } = projection;
    let ((rows, inner), (out, width)) = (x.dims2()?, weight.dims2()?);
    if width != inner {
        candle_core::bail!("a projection of width {width} was given activations of width {inner}");
    }
    let mut y = vec![0f32; rows * out];
    Numbers::with_fewest(weight, |weight| {
        cpu::with_slices([x], |[x]| {
            precision.matmul_by_row((out, inner), x, weight, &mut y);
            Ok(())
        })
    })?;
    let y = Tensor::from_vec(y, (rows, out), x.device())?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::super::{Precision, test_support::random};
    use super::*;

    #[test]
    fn a_row_is_what_it_is_alone() {
        for (rows, out, inner) in [(1, 1, 1), (13, 30, 7), (50, 131, 70), (9, 520, 576), (70, 40, 1600)] {
            let weight = random(2, &[out, inner]);
            let rounded = weight.to_dtype(DType::BF16).unwrap();
            let x = random(1, &[rows, inner]);
            for precision in Precision::ALL {
                for weight in [&weight, &rounded] {
                    let bias = Some(random(3, &[out]));
                    let projection = Linear { weight: weight.clone().into(), bias, precision };
                    let together = linear_by_row(&x, &projection).unwrap();
                    for row in 0..rows {
                        let alone = linear_by_row(&x.narrow(0, row, 1).unwrap(), &projection).unwrap();
                        assert_eq!(
                            alone.to_vec2::<f32>().unwrap(),
                            together.narrow(0, row, 1).unwrap().to_vec2::<f32>().unwrap()
                        );
                    }
                    let other = linear(&x, &projection).unwrap();
                    let difference = (together - other).unwrap().abs().unwrap().max_all().unwrap();
                    assert!(difference.to_scalar::<f32>().unwrap() < 1e-4);
                }
            }
        }
    }
}
