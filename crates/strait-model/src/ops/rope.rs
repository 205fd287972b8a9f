//! Rotary position embeddings, in the half-split layout of Hugging Face checkpoints.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, D, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{cpu, fused, get_or_try};

/// Cosines and sines of the rotations of every token of a packed batch.
#[derive(Clone, Debug)]
pub struct RopeTable {
    cos: Arc<[f32]>,
    sin: Arc<[f32]>,
    half: usize,
    /// Both as tensors, made once for all layers of a pass on another device than the CPU.
    tensors: Arc<OnceLock<(Tensor, Tensor)>>,
}

impl RopeTable {
    /// One row of angles per position, from the inverse frequencies of half a head.
    pub fn new(positions: &[u32], inverse_frequencies: &[f32]) -> Self {
        let half = inverse_frequencies.len();
        // The same position occurs in many sequences; its angles are turned into cosines and sines once.
        let first = positions.iter().min().map_or(0, |&p| p);
        let beyond = positions.iter().max().map_or(0, |&p| p + 1);
        let angles = (first..beyond).flat_map(|p| inverse_frequencies.iter().map(move |f| p as f32 * f));
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        let of_tokens = |numbers: &[f32]| {
            let rows = positions.iter().map(|&p| &numbers[(p - first) as usize * half..][..half]);
            rows.collect::<Vec<_>>().concat().into()
        };
        Self { cos: of_tokens(&cos), sin: of_tokens(&sin), half, tensors: Arc::default() }
    }

    fn tensors(&self, device: &Device) -> Result<&(Tensor, Tensor)> {
        get_or_try(&self.tensors, || {
            let tensor = |numbers: &[f32]| {
                Tensor::from_slice(numbers, (numbers.len() / self.half, 1, self.half), device)
            };
            Ok((tensor(&self.cos)?, tensor(&self.sin)?))
        })
    }
}

/// Rotates every head of every token.
///
/// # Shapes
/// - `x`: `(tokens, heads * head_dim)`, as many tokens as the table has positions
/// - result: as `x`
///
/// # Errors
/// If the shapes disagree.
pub fn rope(x: &Tensor, table: &RopeTable) -> Result<Tensor> {
    if fused(x) {
        x.contiguous()?.apply_op1(Fused { table: table.clone(), sign: 1.0 })
    } else {
        plain(x, table)
    }
}

fn plain(x: &Tensor, table: &RopeTable) -> Result<Tensor> {
    let (tokens, width) = x.dims2()?;
    let half = table.half;
    let (cos, sin) = table.tensors(x.device())?;
    let (cos, sin) = (cos.to_dtype(x.dtype())?, sin.to_dtype(x.dtype())?);
    let heads = x.reshape((tokens, width / (2 * half), 2 * half))?;
    let (a, b) = (heads.narrow(2, 0, half)?, heads.narrow(2, half, half)?);
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    Tensor::cat(&[first, second], D::Minus1)?.reshape((tokens, width))
}

/// The backward pass of a rotation is the rotation the other way round: `sign` -1.
struct Fused {
    table: RopeTable,
    sign: f32,
}

/// Tokens of which one task rotates the heads.
const ROWS: usize = 32;

/// Half heads are multiples of this many numbers, but for tiny models; a loop of a fixed length is a few instructions.
const LANES: usize = 8;

impl Fused {
    /// Rotates one head.
    #[inline(always)]
    fn rotate(&self, y: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32]) {
        let (first, second) = y.split_at_mut(self.table.half);
        let (a, b) = x.split_at(self.table.half);
        let whole = self.table.half - self.table.half % LANES;
        let (first, first_rest) = first.split_at_mut(whole);
        let (second, second_rest) = second.split_at_mut(whole);
        self.turn::<LANES>(first, second, [&a[..whole], &b[..whole], &cos[..whole], &sin[..whole]]);
        self.turn::<1>(first_rest, second_rest, [&a[whole..], &b[whole..], &cos[whole..], &sin[whole..]]);
    }

    /// Turns the pairs (a, b), N at a time.
    #[inline(always)]
    fn turn<const N: usize>(&self, first: &mut [f32], second: &mut [f32], [a, b, cos, sin]: [&[f32]; 4]) {
        let [a, b, cos, sin] = [a, b, cos, sin].map(|numbers| numbers.as_chunks::<N>().0);
        let to = first.as_chunks_mut::<N>().0.iter_mut().zip(second.as_chunks_mut::<N>().0);
        for ((first, second), ((a, b), (cos, sin))) in to.zip(a.iter().zip(b).zip(cos.iter().zip(sin))) {
            for i in 0..N {
                let sin = self.sign * sin[i];
                first[i] = a[i] * cos[i] - b[i] * sin;
                second[i] = b[i] * cos[i] + a[i] * sin;
            }
        }
    }
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = cpu::slice(storage, layout)?;
        let (tokens, width) = layout.shape().dims2()?;
        let half = self.table.half;
        if tokens * half != self.table.cos.len() || width % (2 * half) != 0 {
            candle_core::bail!(
                "rope: a table of {} x {half} angles for {tokens} x {width}",
                self.table.cos.len() / half
            );
        }
        let mut y = vec![0f32; x.len()];
        let angles = self.table.cos.par_chunks(ROWS * half).zip(self.table.sin.par_chunks(ROWS * half));
        let pieces = y.par_chunks_mut(ROWS * width).zip(x.par_chunks(ROWS * width)).zip(angles);
        pieces.for_each(|((y, x), (cos, sin))| {
            cpu::vectorised!({
                let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
                let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for ((y, x), (cos, sin)) in rows.zip(angles) {
                    for (y, x) in y.chunks_exact_mut(2 * half).zip(x.chunks_exact(2 * half)) {
                        self.rotate(y, x, cos, sin);
                    }
                }
            });
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { table: self.table.clone(), sign: -self.sign };
        grad.contiguous()?.apply_op1_no_bwd(&back).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{agree, random};
    use super::*;

    #[test]
    fn fused_agrees_with_plain() {
        let table = RopeTable::new(&[0, 1, 2, 0, 7], &[1.0, 0.3, 0.01]);
        agree(&[random(1, &[5, 12])], |t| rope(&t[0], &table), |t| plain(&t[0], &table));
    }
}
