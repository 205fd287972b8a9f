//! Gradients of variables that an operation holds itself.
//!
//! candle's operations take three tensors at most, and a block of a decoder with adapters depends on dozens. Such an operation
//! takes the stream as its argument, and gives the gradients of its own variables here on the way back.

use std::cell::RefCell;

use candle_core::{Device, Result, Tensor, Var, backprop::GradStore};

thread_local! {
    /// The gradients that were given in the backward pass which this thread is in.
    static GIVEN: RefCell<Option<Vec<(Tensor, Tensor)>>> = const { RefCell::new(None) };
}

/// The gradients of a scalar with respect to all variables that it was made from, those that operations hold themselves among
/// them. A decoder's results need this instead of [`Tensor::backward`].
///
/// # Errors
/// If the tensor is no scalar or a tensor operation fails.
pub fn backward(scalar: &Tensor) -> Result<GradStore> {
    // A thread that waits for others in a backward pass may be given a whole other one to do.
    let outer = GIVEN.replace(Some(Vec::new()));
    let gradients = scalar.backward();
    let given = GIVEN.replace(outer).unwrap_or_default();
    let mut gradients = gradients?;
    for (variable, gradient) in given {
        let sum = match gradients.get(&variable) {
            Some(other) => (other + gradient)?,
            None => gradient,
        };
        gradients.insert(&variable, sum);
    }
    Ok(gradients)
}

/// Gives the gradient of a variable.
///
/// # Errors
/// If the pass is not one of [`backward`], which would lose the gradient.
pub fn give(variable: &Tensor, gradient: Vec<f32>) -> Result<()> {
    let gradient = Tensor::from_vec(gradient, variable.shape(), variable.device())?;
    GIVEN.with_borrow_mut(|given| match given {
        Some(given) => {
            given.push((variable.clone(), gradient));
            Ok(())
        }
        None => candle_core::bail!("the gradients of a decoder's variables need `ops::backward`"),
    })
}

/// A variable that makes an operation's result depend on something, where its argument does not.
pub fn anchor() -> Result<Tensor> {
    Ok(Var::zeros(1, candle_core::DType::F32, &Device::Cpu)?.into_inner())
}
