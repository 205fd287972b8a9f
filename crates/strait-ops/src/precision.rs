//! The precision of matrix products, and weights as it keeps them.

use candle_core::{CpuStorage, DType, Result, Storage, Tensor, bail};
use gemm::Parallelism;
use half::bf16;
use serde::{Deserialize, Serialize};

use crate::stored::{Copied, Stored};

use super::{
    by_row,
    cpu::{self, View},
    embedding::embedding,
    product::{self, Kernel, StoredView},
    weight::Weight,
};

/// The precision of a model's matrix products. All else (residual stream, norms, softmax, losses, gradients, optimiser) is f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Weights and products in f32.
    #[default]
    F32,
    /// Frozen matrices are kept as bf16, the operands of products are rounded to it, and sums are f32: as the papers train.
    Bf16,
}

impl Precision {
    /// Both.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// Its name: `f32` or `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// The type of what products multiply.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }

    /// Bytes of a tensor in memory, as [`keep`](Self::keep) keeps it.
    pub fn bytes(self, shape: &[usize]) -> u64 {
        let number = if self == Self::Bf16 && shape.len() == 2 { 2 } else { 4 };
        number * shape.iter().product::<usize>() as u64
    }

    /// A tensor as a model of this precision keeps it: frozen matrices are rounded, vectors and variables stay as they are.
    ///
    /// # Errors
    /// If the tensor cannot be converted.
    pub fn keep(self, tensor: Tensor) -> Result<Tensor> {
        match self {
            Self::Bf16 if tensor.rank() == 2 && !tensor.track_op() => tensor.to_dtype(DType::BF16),
            _ => Ok(tensor),
        }
    }

    /// Some rows of a weight in f32, with the numbers that products see.
    ///
    /// # Errors
    /// If it has no such rows.
    pub fn look_up(self, weight: &Weight, rows: &[u32]) -> Result<Tensor> {
        if let Some(table) = weight.in_memory().filter(|table| table.track_op()) {
            return embedding(table, rows);
        }
        let found = weight.of_rows(rows)?;
        match (weight, self) {
            (Weight::Stored(_), Self::Bf16) => found.to_dtype(DType::BF16)?.to_dtype(DType::F32),
            _ if found.dtype() == DType::BF16 => found.to_dtype(DType::F32),
            _ => Ok(found),
        }
    }

    /// The kernel that multiplies rounded operands, where operands are rounded.
    pub(super) fn kernel(self) -> Option<Kernel> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(Kernel::available()[0]),
        }
    }

    /// `to = keep * to + factor * a b`, as [`cpu::matmul`].
    #[allow(clippy::too_many_arguments)]
    pub(super) fn matmul(
        self,
        shape: (usize, usize, usize),
        to: &mut [f32],
        to_row: usize,
        keep: f32,
        a: View,
        b: Operand,
        factor: f32,
        threads: Parallelism,
    ) {
        match (self, b) {
            (Self::F32, Operand::F32(b)) => cpu::matmul(shape, to, to_row, keep, a, b, factor, threads),
            (Self::F32, Operand::Bf16(b)) => {
                let wide: Vec<f32> = b.numbers.iter().map(|w| w.to_f32()).collect();
                let b = View { numbers: &wide, row: b.row, column: b.column };
                cpu::matmul(shape, to, to_row, keep, a, b, factor, threads);
            }
            (Self::F32, Operand::Stored(b)) => {
                product::multiply_wide(shape, to, to_row, keep, a, b, factor, threads);
            }
            (Self::Bf16, Operand::F32(b)) => {
                product::matmul(shape, to, to_row, keep, &a, &b, factor, threads);
            }
            (Self::Bf16, Operand::Bf16(b)) => {
                product::matmul(shape, to, to_row, keep, &a, &b, factor, threads);
            }
            (Self::Bf16, Operand::Stored(b)) => {
                product::matmul(shape, to, to_row, keep, &a, &b, factor, threads);
            }
        }
    }

    /// `to = a b` on all threads, as fused operations multiply: what benchmarks hold these against.
    ///
    /// # Shapes
    /// - `a`: `(m, k)`; `b`: `(k, n)`; `to`: `(m, n)`
    ///
    /// # Panics
    /// If a slice holds fewer numbers than its shape.
    pub fn gemm(self, shape: (usize, usize, usize), to: &mut [f32], a: View<'_>, b: Operand<'_>) {
        self.matmul(shape, to, shape.1, 0.0, a, b, 1.0, cpu::all_threads());
    }

    /// `y = x weight^T`, with the same bits for a row of x whatever rows stand beside it.
    ///
    /// # Shapes
    /// - `x`: `(rows, inner)`; `weight`: `(out, inner)`; `y`: `(rows, out)`
    pub(super) fn matmul_by_row(
        self,
        (out, inner): (usize, usize),
        x: &[f32],
        weight: Numbers,
        y: &mut [f32],
    ) {
        if self == Self::Bf16 && product::is_by_row() {
            let shape = (y.len() / out.max(1), out, inner);
            let (x, weight) = (View::rows(x, inner), weight.rows(inner).t());
            return self.matmul(shape, y, out, 0.0, x, weight, 1.0, cpu::all_threads());
        }
        let shape = (out, inner);
        match (self, weight) {
            (Self::F32, Numbers::F32(weight)) => by_row::multiply(shape, x, &weight, y),
            (Self::F32, Numbers::Bf16(weight)) => by_row::multiply(shape, x, &weight, y),
            (Self::F32, Numbers::Stored(weight)) => by_row::multiply(shape, x, weight, y),
            (Self::Bf16, Numbers::F32(weight)) => {
                by_row::multiply(shape, &rounded(x), &&rounded(weight)[..], y);
            }
            (Self::Bf16, Numbers::Bf16(weight)) => by_row::multiply(shape, &rounded(x), &weight, y),
            (Self::Bf16, Numbers::Stored(weight)) => {
                by_row::multiply(shape, &rounded(x), &StoredView::of(weight), y);
            }
        }
    }

    /// The product `x weight^T` by candle's own operations, for other devices.
    pub(super) fn composed(self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        match self {
            Self::F32 => x.matmul(&weight.t()?),
            Self::Bf16 => {
                let (rounded, weight) = (x.to_dtype(DType::BF16)?, weight.to_dtype(DType::BF16)?);
                rounded.matmul(&weight.t()?)?.to_dtype(x.dtype())
            }
        }
    }
}

/// Numbers as the operands of products in bf16 are.
fn rounded(numbers: &[f32]) -> Vec<f32> {
    let mut rounded = numbers.to_vec();
    product::round_in_place(&mut rounded);
    rounded
}

/// The numbers of a weight as they are kept.
#[derive(Clone, Copy)]
pub(super) enum Numbers<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    Stored(&'a Stored),
}

impl<'a> Numbers<'a> {
    /// Runs `f` on those of a weight on the CPU.
    pub fn with<R>(weight: &Weight, f: impl FnOnce(Numbers) -> Result<R>) -> Result<R> {
        let tensor = match weight {
            Weight::Tensor(tensor) => tensor.contiguous()?,
            Weight::Stored(stored) => {
                return f(match stored.copy() {
                    Some(Copied::F32(numbers)) => Numbers::F32(numbers),
                    Some(Copied::Bf16(numbers)) => Numbers::Bf16(numbers),
                    None => Numbers::Stored(stored),
                });
            }
        };
        let (storage, layout) = tensor.storage_and_layout();
        let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
            bail!("a fused CPU operation got a weight of another device");
        };
        match storage {
            CpuStorage::F32(numbers) => f(Numbers::F32(&numbers[start..end])),
            CpuStorage::BF16(numbers) => f(Numbers::Bf16(&numbers[start..end])),
            _ => bail!("a weight is {:?}, neither f32 nor bf16", tensor.dtype()),
        }
    }

    /// As [`with`](Self::with), for products of few rows, which take the time in which a matrix is read: those of its file are
    /// fewer bytes than a copy in f32, and the same numbers.
    pub fn with_fewest<R>(weight: &Weight, f: impl FnOnce(Numbers) -> Result<R>) -> Result<R> {
        match weight {
            Weight::Stored(stored) if matches!(stored.copy(), Some(Copied::F32(_))) => {
                f(Numbers::Stored(stored))
            }
            _ => Self::with(weight, f),
        }
    }

    pub fn len(self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::Bf16(numbers) => numbers.len(),
            Self::Stored(stored) => stored.dims().iter().product(),
        }
    }

    /// Rows of that width.
    pub fn rows(self, width: usize) -> Operand<'a> {
        match self {
            Self::F32(numbers) => Operand::F32(View::rows(numbers, width)),
            Self::Bf16(numbers) => Operand::Bf16(View::rows(numbers, width)),
            Self::Stored(stored) => Operand::Stored(StoredView::of(stored)),
        }
    }
}

/// The second operand of a product.
#[derive(Clone, Copy)]
pub enum Operand<'a> {
    /// Activations, gradients, and weights of f32.
    F32(View<'a>),
    /// Frozen weights of bf16.
    Bf16(View<'a, bf16>),
    /// Frozen weights as their file has them.
    Stored(StoredView<'a>),
}

impl<'a> Operand<'a> {
    /// The transpose.
    pub fn t(self) -> Self {
        match self {
            Self::F32(view) => Self::F32(view.t()),
            Self::Bf16(view) => Self::Bf16(view.t()),
            Self::Stored(view) => Self::Stored(view.t()),
        }
    }

    /// The rows from `first` on, of an operand whose numbers are rows one behind the other.
    pub fn from_row(self, first: usize) -> Self {
        match self {
            Self::F32(view) => Self::F32(View { numbers: &view.numbers[first * view.row..], ..view }),
            Self::Bf16(view) => Self::Bf16(View { numbers: &view.numbers[first * view.row..], ..view }),
            Self::Stored(view) => Self::Stored(view.from_row(first)),
        }
    }
}

impl<'a> From<View<'a>> for Operand<'a> {
    fn from(view: View<'a>) -> Self {
        Self::F32(view)
    }
}
