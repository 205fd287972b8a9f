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

    /// Tokens that it has angles for.
    pub(super) fn tokens(&self) -> usize {
        self.cos.len() / self.half
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
pub(super) struct Fused {
    pub(super) table: RopeTable,
    pub(super) sign: f32,
}

/// Tokens of which one task rotates the heads.
const ROWS: usize = 32;

/// Half heads are multiples of this many numbers, but for tiny models; a loop of a fixed length is a few instructions.
const LANES: usize = 8;

impl Fused {
    /// Rotates every head of every token where it lies.
    pub(super) fn rotate(&self, x: &mut [f32], width: usize) {
        let half = self.table.half;
        let angles = self.table.cos.par_chunks(ROWS * half).zip(self.table.sin.par_chunks(ROWS * half));
        x.par_chunks_mut(ROWS * width).zip(angles).for_each(|(x, (cos, sin))| {
            cpu::vectorised!({
                let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
                for (x, (cos, sin)) in x.chunks_exact_mut(width).zip(angles) {
                    for head in x.chunks_exact_mut(2 * half) {
                        self.rotate_head(head, cos, sin);
                    }
                }
            });
        });
    }

    #[inline(always)]
    fn rotate_head(&self, head: &mut [f32], cos: &[f32], sin: &[f32]) {
        let (a, b) = head.split_at_mut(self.table.half);
        let whole = self.table.half - self.table.half % LANES;
        let ((a, a_rest), (b, b_rest)) = (a.split_at_mut(whole), b.split_at_mut(whole));
        let ((cos, cos_rest), (sin, sin_rest)) = (cos.split_at(whole), sin.split_at(whole));
        self.turn::<LANES>(a, b, cos, sin);
        self.turn::<1>(a_rest, b_rest, cos_rest, sin_rest);
    }

    /// Turns the pairs (a, b), N at a time.
    #[inline(always)]
    fn turn<const N: usize>(&self, a: &mut [f32], b: &mut [f32], cos: &[f32], sin: &[f32]) {
        let angles = cos.as_chunks::<N>().0.iter().zip(sin.as_chunks::<N>().0);
        let pairs = a.as_chunks_mut::<N>().0.iter_mut().zip(b.as_chunks_mut::<N>().0);
        for ((a, b), (cos, sin)) in pairs.zip(angles) {
            for i in 0..N {
                let sin = self.sign * sin[i];
                (a[i], b[i]) = (a[i] * cos[i] - b[i] * sin, b[i] * cos[i] + a[i] * sin);
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
        let (half, positions) = (self.table.half, self.table.tokens());
        if tokens != positions || width % (2 * half) != 0 {
            candle_core::bail!("rope: a table of {positions} x {half} angles for {tokens} x {width}");
        }
        let mut y = x.to_vec();
        self.rotate(&mut y, width);
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
