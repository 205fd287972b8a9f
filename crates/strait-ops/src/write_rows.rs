//! Rows written into a tensor that is kept.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};

use super::{cpu, product};

/// Writes rows where a tensor lies, in its own type: row i of `from` becomes its row `rows[i]`.
///
/// # Shapes
/// - `to`: `(all, width)`, f32 or bf16, contiguous
/// - `from`: `(rows, width)`, on the CPU f32
///
/// # Errors
/// If the shapes or types disagree, a row lies outside, or `to` is not contiguous.
pub fn write_rows(to: &Tensor, rows: &[usize], from: &Tensor) -> Result<()> {
    let (all, width) = to.dims2()?;
    if from.dims() != [rows.len(), width] || rows.iter().any(|&row| row >= all) {
        bail!("rows {rows:?} of {:?} were given {:?}", to.shape(), from.shape());
    }
    if to.device().is_cpu() {
        return to.inplace_op2(&from.contiguous()?, &Write { rows });
    }
    let from = from.to_dtype(to.dtype())?;
    let mut written = 0;
    for run in rows.chunk_by(|row, next| row + 1 == *next) {
        to.slice_set(&from.narrow(0, written, run.len())?, 0, run[0])?;
        written += run.len();
    }
    Ok(())
}

struct Write<'a> {
    rows: &'a [usize],
}

impl InplaceOp2 for Write<'_> {
    fn name(&self) -> &'static str {
        "write_rows"
    }

    fn cpu_fwd(
        &self,
        to: &mut CpuStorage,
        to_layout: &Layout,
        from: &CpuStorage,
        from_layout: &Layout,
    ) -> Result<()> {
        let (width, from) = (to_layout.dims()[1], cpu::slice(from, from_layout)?);
        let Some((start, end)) = to_layout.contiguous_offsets() else {
            bail!("rows are only written into contiguous tensors");
        };
        let from = from.chunks_exact(width).zip(self.rows.iter().map(|row| row * width));
        match to {
            CpuStorage::F32(to) => {
                let to = &mut to[start..end];
                from.for_each(|(from, at)| to[at..][..width].copy_from_slice(from));
            }
            CpuStorage::BF16(to) => {
                let to = &mut to[start..end];
                from.for_each(|(from, at)| product::round(from, &mut to[at..][..width]));
            }
            _ => bail!("rows are only written into tensors of f32 and bf16"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::test_support::random;
    use super::*;

    #[test]
    fn rows_come_where_they_belong_in_the_tensors_type() {
        let from = random(1, &[3, 5]);
        for dtype in [DType::F32, DType::BF16] {
            let to = Tensor::zeros((6, 5), dtype, &Device::Cpu).unwrap();
            write_rows(&to, &[4, 0, 1], &from).unwrap();
            let rounded =
                from.to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
            let found = to.to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
            let none = vec![0.0; 5];
            let [a, b, c] = [0, 1, 2].map(|row| rounded[row].clone());
            assert_eq!(found, [b, c, none.clone(), none.clone(), a, none]);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let to = Tensor::zeros((6, 5), DType::F32, &Device::Cpu).unwrap();
        assert!(write_rows(&to, &[6], &random(1, &[1, 5])).is_err());
        assert!(write_rows(&to, &[1], &random(1, &[1, 4])).is_err());
        assert!(write_rows(&to, &[1, 2], &random(1, &[1, 5])).is_err());
    }
}
