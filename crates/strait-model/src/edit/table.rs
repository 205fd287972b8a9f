//! Weights of the model itself that an adapter's file holds.
//!
//! For an adapter of the embeddings or the head, PEFT saves the table that it acts on with it, and on loading puts
//! it in place of the model's. So the file's table must be the model's: another would be a further edit, unsaid.

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

use super::{Problem, Site};
use crate::{
    Result,
    config::{EMBEDDINGS, HEAD},
    ops::Weight,
};

/// Rows that are compared at once.
const ROWS: usize = 1024;

/// A table of an adapter's file.
#[derive(Clone, Debug)]
pub(crate) struct SavedTable {
    /// The tensor's name.
    pub(super) name: String,
    /// The embeddings or the head.
    pub(crate) site: Site,
    /// Shape `(vocab, hidden_size)`.
    pub(super) values: Tensor,
}

impl SavedTable {
    /// Refuses a table that is not the model's; a head that is none of the model's weights is the embeddings.
    pub(super) fn check(&self, weights: &[(String, Weight)]) -> Result<()> {
        let named = |name| weights.iter().find(|(own, _)| own == name).map(|(_, weight)| weight);
        let own = if self.site == Site::Head { named(HEAD) } else { None };
        let Some(model) = own.or_else(|| named(EMBEDDINGS)) else { return Ok(()) };
        if self.values.dims() != model.dims().as_slice() {
            return Err(Problem::Size {
                tensor: self.name.clone(),
                expected: model.dims(),
                found: self.values.dims().to_vec(),
            }
            .into());
        }
        // Some rows at a time, so that no copy of the whole is made.
        let (rows, width) = model.dims2()?;
        for start in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - start);
            let numbers = |part: Tensor| -> Result<Vec<f32>> {
                Ok(part.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
            };
            let part: Vec<u32> = (start as u32..(start + count) as u32).collect();
            let (ours, theirs) =
                (numbers(model.of_rows(&part)?)?, numbers(self.values.narrow(0, start, count)?)?);
            if let Some(at) = ours.iter().zip(&theirs).position(|(&a, &b)| !same(a, b)) {
                let row = start + at / width;
                return Err(Problem::OtherTable { tensor: self.name.clone(), row }.into());
            }
        }
        Ok(())
    }
}

/// True if two numbers are one, or one of them is the other in 16 bits.
fn same(a: f32, b: f32) -> bool {
    let shorter = |x: f32| [bf16::from_f32(x).to_f32(), f16::from_f32(x).to_f32()];
    a == b || shorter(a).contains(&b) || shorter(b).contains(&a)
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn numbers_are_the_same_in_fewer_bits() {
        for x in [0.1f32, -3.7, 1e-3] {
            for shorter in [half::bf16::from_f32(x).to_f32(), half::f16::from_f32(x).to_f32()] {
                assert!(same(x, shorter) && same(shorter, x));
            }
            assert!(same(x, x) && !same(x, x * 1.02) && !same(x, -x));
        }
        assert!(!same(f32::NAN, f32::NAN));
    }
}
