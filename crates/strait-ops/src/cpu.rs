//! Tools of the fused CPU operations: slices out of tensors, matrix products, and functions that loops over them vectorise.

use std::{array::from_fn, cell::Cell, ops::RangeInclusive};

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Result, Storage, Tensor, Var, bail};
use gemm::Parallelism;
use rayon::prelude::*;

pub use crate::vectors::vectorised;

/// The numbers of a contiguous f32 storage.
pub fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a fused operation needs contiguous input");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Runs `f` on the numbers of an f32 tensor, wherever it is and however it lies.
///
/// # Errors
/// If the tensor cannot be brought to the CPU.
pub fn read<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    with_slices([&tensor.to_device(&Device::Cpu)?], |[numbers]| Ok(f(numbers)))
}

/// Runs `f` on the numbers of an f32 variable, which it may change; where the variable is on the CPU they are changed where they lie.
///
/// # Errors
/// If the variable is of another type, or cannot be brought to the CPU and back.
pub fn write(variable: &Var, f: impl FnOnce(&mut [f32])) -> Result<()> {
    if variable.device().is_cpu() && variable.is_contiguous() {
        return variable.inplace_op1(&InPlace(Cell::new(Some(f))));
    }
    let mut numbers = variable.flatten_all()?.to_vec1::<f32>()?;
    f(&mut numbers);
    variable.set(&Tensor::from_vec(numbers, variable.shape(), variable.device())?)
}

/// A function on the numbers of a tensor, as candle's operation.
struct InPlace<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32])> InplaceOp1 for InPlace<F> {
    fn name(&self) -> &'static str {
        "write"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(numbers), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("only contiguous f32 variables are written to");
        };
        if let Some(f) = self.0.take() {
            f(&mut numbers[start..end]);
        }
        Ok(())
    }
}

/// Runs `f` on the numbers of contiguous f32 tensors on the CPU.
pub fn with_slices<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    let contiguous = tensors.map(|t| t.contiguous());
    let mut kept = Vec::with_capacity(N);
    for tensor in contiguous {
        kept.push(tensor?);
    }
    let guards: Vec<_> = kept.iter().map(|t| t.storage_and_layout()).collect();
    let mut slices: [&[f32]; N] = [&[]; N];
    for (to, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else {
            bail!("a fused CPU operation got a tensor of another device");
        };
        *to = slice(storage, layout)?;
    }
    f(slices)
}

/// A row-major view of numbers: element (i, j) stands at `i * row + j * column`.
#[derive(Clone, Copy)]
pub struct View<'a, T = f32> {
    /// The numbers.
    pub numbers: &'a [T],
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub column: usize,
}

/// The types that matrix products are computed in.
pub trait Real: Copy + Default + PartialEq + Send + Sync + 'static {}

impl Real for f32 {}
impl Real for f64 {}

impl<'a, T> View<'a, T> {
    /// Rows one behind the other.
    pub fn rows(numbers: &'a [T], width: usize) -> Self {
        Self { numbers, row: width, column: 1 }
    }

    /// The transpose.
    pub fn t(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    /// True if the view has that many rows and columns.
    pub(super) fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.numbers.len()
    }

    /// What it holds from a row on.
    fn rows_from(self, row: usize) -> Self {
        Self { numbers: &self.numbers[row * self.row..], ..self }
    }
}

/// `to = keep * to + factor * a b`, with `a` of shape (m, k), `b` of shape (k, n), and `to` of m rows of n numbers that
/// stand `to_row` apart. With `keep` 0 what `to` held is not read.
///
/// candle's own product reads the number of processors from a file of the kernel each time, which takes longer than a small
/// product.
#[allow(clippy::too_many_arguments)]
pub fn matmul<T: Real>(
    (m, n, k): (usize, usize, usize),
    to: &mut [T],
    to_row: usize,
    keep: T,
    a: View<T>,
    b: View<T>,
    factor: T,
    parallelism: Parallelism,
) {
    assert!(a.holds(m, k) && b.holds(k, n), "a matrix product reads outside its operands");
    assert!(
        m == 0 || n == 0 || (m - 1) * to_row + n <= to.len(),
        "a matrix product writes outside its result"
    );
    if let Parallelism::Rayon(threads) = parallelism
        && is_cut(threads, (m, n, k))
    {
        // As equal as tiles allow: a part of few rows would be summed by another kernel.
        let start = |part| if part == threads { m } else { m * part / threads / TOGETHER * TOGETHER };
        let (mut parts, mut rest) = (Vec::with_capacity(threads), to);
        for part in 0..threads {
            let rows = start(part)..start(part + 1);
            let (own, others) = rest.split_at_mut(rest.len().min(rows.len() * to_row));
            parts.push((rows, own));
            rest = others;
        }
        return parts.into_par_iter().for_each(|(rows, to)| {
            let shape = (rows.len(), n, k);
            matmul(shape, to, to_row, keep, a.rows_from(rows.start), b, factor, Parallelism::None);
        });
    }
    // SAFETY: the assertions above keep every access inside the three slices; `to` is borrowed mutably and so is
    // distinct from `a` and `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            to.as_mut_ptr(),
            1,
            to_row as isize,
            keep != T::default(),
            a.numbers.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.numbers.as_ptr(),
            b.column as isize,
            b.row as isize,
            keep,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Columns of a product whose rows are shared between threads. With more it costs less that all wait for one that packs `b` than that
/// each packs it; with fewer gemm has kernels of its own for few rows, which sum in another order.
const COLUMNS: RangeInclusive<usize> = 8..=2048;

/// Rows of a thread beside which packing `b` is a small part of its work. Far enough above 64, up to where gemm cuts the depth otherwise.
const A_THREADS_ROWS: usize = 96;

/// Rows of `to` that gemm computes at once.
const TOGETHER: usize = 6;

/// Multiplications from which on several threads are worth their waking.
const LARGE: usize = 1 << 20;

/// True if each thread computes some rows of a product by itself: gemm would have all threads wait for each other several times, and
/// for one of them that packs `b`. The sums are the same to the bit, since gemm cuts the depth of all but small products by the depth alone.
fn is_cut(threads: usize, (m, n, k): (usize, usize, usize)) -> bool {
    threads > 1 && m >= threads * A_THREADS_ROWS && COLUMNS.contains(&n) && m * n * k >= LARGE
}

/// All threads of the current pool.
pub fn all_threads() -> Parallelism {
    match rayon::current_num_threads() {
        1 => Parallelism::None,
        threads => Parallelism::Rayon(threads),
    }
}

/// Numbers of the widest vector there is.
pub const LANES: usize = 16;

type Lanes = [f32; LANES];

/// Adds up `f` of the numbers that stand side by side in slices of one length, in a fixed order that does not depend on the
/// processor.
#[inline(always)]
pub fn sum<const N: usize>(slices: [&[f32]; N], f: impl Fn([f32; N]) -> f32) -> f32 {
    let n = slices.first().map_or(0, |slice| slice.len());
    let chunks = slices.map(|slice| slice[..n].as_chunks::<LANES>());
    let mut lanes = [0f32; LANES];
    for i in 0..n / LANES {
        let chunk: [&Lanes; N] = from_fn(|slice| &chunks[slice].0[i]);
        for (j, lane) in lanes.iter_mut().enumerate() {
            *lane += f(from_fn(|slice| chunk[slice][j]));
        }
    }
    let rest = n % LANES;
    if rest > 0 {
        // A whole vector here too: one by one, the last few would take longer than all others of a short row.
        let chunk: [Lanes; N] = from_fn(|slice| padded(chunks[slice].1, 0.0));
        for (j, lane) in lanes.iter_mut().enumerate() {
            let value = f(from_fn(|slice| chunk[slice][j]));
            *lane += if j < rest { value } else { 0.0 };
        }
    }
    across(lanes, |a, b| a + b)
}

/// The largest number; negative infinity of an empty slice.
#[inline(always)]
pub fn max(numbers: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (whole, rest) = numbers.as_chunks::<LANES>();
    let mut lanes = padded(rest, f32::NEG_INFINITY);
    for chunk in whole {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *x);
        }
    }
    across(lanes, larger)
}

/// Less numbers than a vector has, with `padding` behind the last.
#[inline(always)]
fn padded(numbers: &[f32], padding: f32) -> Lanes {
    let mut padded = [padding; LANES];
    for (to, from) in padded.iter_mut().zip(numbers) {
        *to = *from;
    }
    padded
}

/// Brings the lanes of a vector together, each half with the other.
#[inline(always)]
fn across(mut lanes: Lanes, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for j in 0..width {
            lanes[j] = f(lanes[j], lanes[j + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// e^x to within two units in the last place, without branches or calls, so that loops over it vectorise. Results below
/// the smallest normal number are 0; NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2. ln 2 is split in two so that n * LN2_HIGH is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 * 2^23 rounds to an integer, and leaves that integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > 88.0 { 88.0 } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    // Taylor polynomial of degree 7: its error on |r| <= 0.347 is 5e-9.
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + c;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    let y = p * power;
    let y = if x > 88.0 { f32::INFINITY } else { y };
    if x < -87.0 { 0.0 } else { y }
}

/// As [`exp`], to within one unit in the last place of f64.
#[inline(always)]
pub fn exp_f64(x: f64) -> f64 {
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    // 1.5 * 2^52.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let clamped = if x > 709.0 { 709.0 } else { x };
    let shifted = clamped * std::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    // Taylor polynomial of degree 13: its error on |r| <= 0.347 is 4e-18.
    let mut p = 1.0 / 6_227_020_800.0;
    for factorial in [
        479_001_600.0,
        39_916_800.0,
        3_628_800.0,
        362_880.0,
        40_320.0,
        5_040.0,
        720.0,
        120.0,
        24.0,
        6.0,
        2.0,
        1.0,
        1.0,
    ] {
        p = p * r + 1.0 / factorial;
    }
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(0x3ff0_0000_0000_0000));
    let y = p * power;
    let y = if x > 709.0 { f64::INFINITY } else { y };
    if x < -708.0 { 0.0 } else { y }
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Hyperbolic tangent, absolute error below 2e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn products_do_not_depend_on_threads(
            shape in (1_usize..4000, 1_usize..80, 1_usize..1200),
            threads in 2_usize..40,
            transposed in any::<[bool; 2]>(),
            keep in prop::sample::select(vec![0f32, 1.0]),
            further in 0_usize..3,
        ) {
            let (m, n, k) = shape;
            let numbers = |count: usize| (0..count).map(|i| (i * 7919 % 251) as f32 / 251.0 - 0.5).collect::<Vec<_>>();
            let (a, b, to_row) = (numbers(m * k), numbers(k * n), n + further);
            let a = if transposed[0] { View::rows(&a, m).t() } else { View::rows(&a, k) };
            let b = if transposed[1] { View::rows(&b, k).t() } else { View::rows(&b, n) };
            let product = |parallelism| {
                let mut to = vec![0.25f32; m * to_row];
                matmul(shape, &mut to, to_row, keep, a, b, 0.5, parallelism);
                to
            };
            prop_assert!(product(Parallelism::None) == product(Parallelism::Rayon(threads)));
        }
    }

    #[test]
    fn exp_agrees_with_the_library() {
        for i in -86_999..88_000 {
            let x = i as f32 * 1e-3;
            let expected = (x as f64).exp();
            assert!(((exp(x) as f64 - expected) / expected).abs() < 2.5e-7, "exp({x})");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn exp_in_f64_agrees_with_the_library() {
        for i in -707_999..708_000 {
            let x = i as f64 * 1e-3;
            assert!(((exp_f64(x) - x.exp()) / x.exp()).abs() < 3e-16, "exp({x})");
        }
        assert_eq!(exp_f64(f64::NEG_INFINITY), 0.0);
        assert_eq!((exp_f64(0.0), exp_f64(f64::INFINITY)), (1.0, f64::INFINITY));
        assert!(exp_f64(f64::NAN).is_nan());
    }

    #[test]
    fn the_largest_is_found_at_every_place() {
        for n in 0..40 {
            for at in 0..n {
                let numbers: Vec<f32> =
                    (0..n).map(|i| if i == at { -1.0 } else { -2.0 - i as f32 }).collect();
                assert_eq!(max(&numbers), -1.0);
            }
        }
        assert_eq!(max(&[]), f32::NEG_INFINITY);
    }

    #[test]
    fn sums_take_every_element() {
        for n in 0..70 {
            let numbers: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(sum([&numbers], |[x]| x), (0..n).sum::<usize>() as f32);
        }
    }
}
