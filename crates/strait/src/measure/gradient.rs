//! Gradients: towards which of two solutions training points, at a given edit (paper §12).

use candle_core::Tensor;
use strait_model::{Decoder, Edit};

use super::{Part, part::with_tensors};
use crate::{
    Result,
    direction::{across, cosine},
    objective::Kept,
    train::Trainable,
};

/// Cosines of one descent direction with two solutions.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Pull {
    /// With the general solution.
    pub general: f64,
    /// With the narrow one.
    pub narrow: f64,
    /// With what the general solution has across the narrow one.
    pub general_only: f64,
    /// With what the narrow solution has across the general one.
    pub narrow_only: f64,
}

/// Minus the gradient of the mean response loss of all rows with respect to one part of an edit (its vectors, each B, or what
/// each weight changes by),
/// one number behind the other, in the order of the edit's tensors.
///
/// # Errors
/// If a tensor operation fails.
pub fn descent(decoder: &Decoder, rows: &Kept, edit: &Edit, part: Part) -> Result<Vec<f64>> {
    let trainable = Trainable::from_edit(edit.clone(), decoder, 1.0)?;
    let (edited, edit) = trainable.on(decoder);
    let of_part = || trainable.variables().filter(|(name, _)| part_of(name) == part).map(|(_, var)| var);
    let mut sum = vec![0.0; of_part().map(|var| var.elem_count()).sum()];
    let mut tokens = 0;
    for batch in rows.batches_by_tokens() {
        let (losses, gradients) = rows.response_gradient(edited, &batch, edit, 1.0)?;
        tokens += losses.len();
        let mut rest = sum.as_mut_slice();
        for var in of_part() {
            let (own, later) = rest.split_at_mut(var.elem_count());
            if let Some(gradient) = gradients.get(var) {
                own.iter_mut().zip(numbers(gradient)?).for_each(|(sum, x)| *sum += x);
            }
            rest = later;
        }
    }
    Ok(sum.into_iter().map(|x| -x / tokens as f64).collect())
}

/// The part that a variable of a [`Trainable`] belongs to.
fn part_of(name: &str) -> Part {
    match name.rsplit('.').next() {
        Some("lora_A") => Part::A,
        Some("lora_B") => Part::B,
        _ if name.starts_with("steering.") => Part::Vector,
        _ => Part::Weight,
    }
}

/// One part of an edit, one number behind the other, in the order of [`descent`].
///
/// # Errors
/// If a tensor operation fails.
pub fn flat(edit: &Edit, part: Part) -> Result<Vec<f64>> {
    collect(edit, part, numbers)
}

/// How a descent direction lies to a general and a narrow solution, given as [`flat`] gives them.
pub fn pull(step: &[f64], general: &[f64], narrow: &[f64]) -> Pull {
    Pull {
        general: cosine(step, general),
        narrow: cosine(step, narrow),
        general_only: cosine(step, &across(general, narrow)),
        narrow_only: cosine(step, &across(narrow, general)),
    }
}

/// What `of` makes of each tensor of a part, one behind the other.
fn collect(edit: &Edit, part: Part, of: impl Fn(&Tensor) -> Result<Vec<f64>>) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    with_tensors(edit, &mut |found, tensor| {
        if found == part {
            all.extend(of(tensor)?);
        }
        Ok(tensor.clone())
    })?;
    Ok(all)
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.detach().flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
}
