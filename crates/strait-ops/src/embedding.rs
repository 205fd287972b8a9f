//! Rows of an embedding table that is trained.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{cpu, fused, gradients};

/// The rows of a table that is a variable, which gets its gradient. candle's own lookup would make a whole table of zeros for it
/// and add that to the gradient of a tied head.
///
/// # Shapes
/// - `table`: `(vocab, width)`
/// - result: `(rows, width)`
///
/// # Errors
/// If the table has no such rows.
pub fn embedding(table: &Tensor, rows: &[u32]) -> Result<Tensor> {
    let vocab = table.dim(0)?;
    if let Some(row) = rows.iter().find(|&&row| row as usize >= vocab) {
        candle_core::bail!("there is no row {row} in a table of {vocab}");
    }
    if !fused(table) || !table.is_variable() {
        return composed(table, rows);
    }
    gradients::anchor()?.apply_op1(Embedding { table: table.clone(), rows: rows.into() })
}

fn composed(table: &Tensor, rows: &[u32]) -> Result<Tensor> {
    table.index_select(&Tensor::from_slice(rows, rows.len(), table.device())?, 0)
}

struct Embedding {
    table: Tensor,
    rows: Vec<u32>,
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = self.table.dim(1)?;
        let found = cpu::read(&self.table, |table| {
            let rows = self.rows.iter().flat_map(|&row| &table[row as usize * width..][..width]);
            rows.copied().collect::<Vec<f32>>()
        })?;
        Ok((CpuStorage::F32(found), (self.rows.len(), width).into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        cpu::read(gradient, |gradient| gradients::give_rows(&self.table, &self.rows, gradient))??;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{agree, random};
    use super::*;

    #[test]
    fn fused_agrees_with_plain() {
        let rows = [3, 0, 3, 6];
        agree(&[random(1, &[7, 5])], |t| embedding(&t[0], &rows), |t| composed(&t[0], &rows));
    }

    #[test]
    fn a_row_that_is_not_there_is_refused() {
        let table = candle_core::Var::from_tensor(&random(1, &[7, 5])).unwrap();
        assert!(embedding(&table, &[7]).unwrap_err().to_string().contains("no row 7"));
    }
}
