//! Weights in memory and in files.

use candle_core::{DType, Device, Result, Shape, Tensor};

use crate::{cpu, stored::Stored, sums};

/// A weight: numbers in memory, or a frozen matrix that stays as its file has it.
#[derive(Clone, Debug)]
pub enum Weight {
    /// In memory, on any device; a variable gets gradients.
    Tensor(Tensor),
    /// In its file, widened a piece at a time wherever it is used.
    Stored(Stored),
}

impl From<Tensor> for Weight {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl Weight {
    /// Its dimensions.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Self::Tensor(tensor) => tensor.dims().to_vec(),
            Self::Stored(stored) => stored.dims().to_vec(),
        }
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.dims().into()
    }

    /// Rows, and numbers of each.
    ///
    /// # Errors
    /// If it is no matrix.
    pub fn dims2(&self) -> Result<(usize, usize)> {
        self.shape().dims2()
    }

    /// The number of its numbers.
    pub fn elem_count(&self) -> usize {
        self.dims().iter().product()
    }

    /// Bytes that it takes, in memory or in its file.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.elem_count() * tensor.dtype().size_in_bytes(),
            Self::Stored(stored) => stored.bytes(),
        }
    }

    /// The device that computes with it.
    pub fn device(&self) -> &Device {
        match self {
            Self::Tensor(tensor) => tensor.device(),
            Self::Stored(_) => &Device::Cpu,
        }
    }

    /// The tensor, where it is in memory.
    pub(super) fn in_memory(&self) -> Option<&Tensor> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            Self::Stored(_) => None,
        }
    }

    /// True if it is a variable, or made of some.
    pub fn track_op(&self) -> bool {
        self.in_memory().is_some_and(Tensor::track_op)
    }

    /// The whole of it in memory; of a matrix in a file its numbers as f32.
    ///
    /// # Errors
    /// If there is no room.
    pub fn tensor(&self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.clone()),
            Self::Stored(stored) => stored.of_rows(&(0..stored.dims()[0]).collect::<Vec<_>>()),
        }
    }

    /// The squared length of what values of its shape differ by from it, a difference being rounded to f32.
    ///
    /// # Errors
    /// If values cannot be brought to the CPU.
    pub fn squared_distance(&self, values: &Tensor) -> Result<f64> {
        cpu::read(values, |values| match self {
            Self::Tensor(tensor) => {
                let tensor = tensor.detach().to_dtype(DType::F32)?;
                cpu::read(&tensor, |numbers| sums::squared_distance(values, numbers))
            }
            Self::Stored(stored) => Ok(stored.squared_distance(values)),
        })?
    }

    /// Some rows of a matrix.
    ///
    /// # Errors
    /// If it has no such rows.
    pub fn of_rows(&self, rows: &[u32]) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => {
                tensor.index_select(&Tensor::from_slice(rows, rows.len(), tensor.device())?, 0)
            }
            Self::Stored(stored) => stored.of_rows(&rows.iter().map(|&row| row as usize).collect::<Vec<_>>()),
        }
    }
}
