//! Gradients of variables that an operation holds itself.
//!
//! candle's operations take three tensors at most, and a block of a decoder with adapters depends on dozens. Such an operation
//! takes the stream as its argument, and gives the gradients of its own variables here on the way back, in memory that is used
//! again by the next pass.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
};

use candle_core::{Device, Result, Tensor, TensorId, Var, backprop::GradStore};
use rayon::prelude::*;

use super::{
    cpu::{self, vectorised},
    memory::Memory,
};

thread_local! {
    /// The gradients that were given in the backward pass which this thread is in.
    static GIVEN: RefCell<Option<HashMap<TensorId, Memory>>> = const { RefCell::new(None) };
}

/// The gradient with respect to a variable.
#[derive(Debug)]
pub enum Gradient {
    /// Its numbers, in row-major order.
    Numbers(Memory),
    /// On any device, as candle has it.
    Tensor(Tensor),
}

impl Gradient {
    /// Runs `f` on its numbers.
    ///
    /// # Errors
    /// If they cannot be brought to the CPU.
    pub fn read<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        match self {
            Self::Numbers(numbers) => Ok(f(numbers)),
            Self::Tensor(tensor) => cpu::read(tensor, f),
        }
    }

    /// The sum with another gradient with respect to the same variable.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn plus(self, other: Self) -> Result<Self> {
        match (self, other) {
            (Self::Tensor(one), Self::Tensor(two)) => Ok(Self::Tensor((one + two)?)),
            (Self::Numbers(mut sum), more) | (more, Self::Numbers(mut sum)) => {
                more.read(|more| add(&mut sum, more))?;
                Ok(Self::Numbers(sum))
            }
        }
    }
}

/// The gradients of a scalar.
#[derive(Debug)]
pub struct Gradients {
    of_graph: GradStore,
    given: HashMap<TensorId, Memory>,
}

impl Gradients {
    /// The gradient with respect to a variable, as a tensor of its own; none where the scalar does not depend on it.
    pub fn get(&self, variable: &Tensor) -> Option<Tensor> {
        let given = self.given.get(&variable.id()).map(|numbers| {
            let tensor = Tensor::from_slice(numbers, variable.shape(), variable.device());
            tensor.expect("a gradient has as many numbers as its variable")
        });
        match (self.of_graph.get(variable).cloned(), given) {
            (Some(one), Some(two)) => Some((one + two).expect("both have the shape of the variable")),
            (one, two) => one.or(two),
        }
    }

    /// Takes the gradient with respect to a variable; none where the scalar does not depend on it.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn take(&mut self, variable: &Tensor) -> Result<Option<Gradient>> {
        let of_graph = self.of_graph.remove(variable).map(Gradient::Tensor);
        let given = self.given.remove(&variable.id()).map(Gradient::Numbers);
        match (of_graph, given) {
            (Some(one), Some(two)) => one.plus(two).map(Some),
            (one, two) => Ok(one.or(two)),
        }
    }
}

/// The gradients of a scalar with respect to all variables that it was made from, those that operations hold themselves among
/// them. A decoder's results need this instead of [`Tensor::backward`].
///
/// # Errors
/// If the tensor is no scalar or a tensor operation fails.
pub fn backward(scalar: &Tensor) -> Result<Gradients> {
    backward_with(scalar, None)
}

/// As [`backward`], with what is known already of the gradient with respect to a variable.
pub(super) fn backward_with(scalar: &Tensor, known: Option<(Tensor, Gradient)>) -> Result<Gradients> {
    let (mut given, mut of_tensor) = (HashMap::new(), None);
    match known {
        Some((variable, Gradient::Numbers(numbers))) => drop(given.insert(variable.id(), numbers)),
        Some((variable, Gradient::Tensor(tensor))) => of_tensor = Some((variable, tensor)),
        None => {}
    }
    // A thread that waits for others in a backward pass may be given a whole other one to do.
    let outer = GIVEN.replace(Some(given));
    let of_graph = scalar.backward();
    let given = GIVEN.replace(outer).unwrap_or_default();
    let mut of_graph = of_graph?;
    if let Some((variable, known)) = of_tensor {
        let sum = match of_graph.get(&variable) {
            Some(other) => (other + known)?,
            None => known,
        };
        of_graph.insert(&variable, sum);
    }
    Ok(Gradients { of_graph, given })
}

/// Gives the gradient with respect to a variable.
///
/// # Errors
/// If the pass is not one of [`backward`], which would lose the gradient.
pub fn give(variable: &Tensor, gradient: Memory) -> Result<()> {
    with_given(|given| match given.entry(variable.id()) {
        Entry::Occupied(mut sum) => add(sum.get_mut(), &gradient),
        Entry::Vacant(none) => drop(none.insert(gradient)),
    })
}

/// Gives the gradient with respect to some rows of a variable; a row that is named twice has both.
///
/// # Errors
/// As [`give`].
pub fn give_rows(variable: &Tensor, rows: &[u32], gradient: &[f32]) -> Result<()> {
    let width = variable.dim(1)?;
    with_given(|given| {
        let sum = given.entry(variable.id()).or_insert_with(|| {
            let mut zeros = Memory::of_gradient(variable.elem_count());
            zeros.fill(0.0);
            zeros
        });
        for (&row, gradient) in rows.iter().zip(gradient.chunks_exact(width)) {
            let sum = &mut sum[row as usize * width..][..width];
            sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        }
    })
}

fn with_given(f: impl FnOnce(&mut HashMap<TensorId, Memory>)) -> Result<()> {
    GIVEN.with_borrow_mut(|given| match given {
        Some(given) => {
            f(given);
            Ok(())
        }
        None => candle_core::bail!("the gradients of a decoder's variables need `ops::backward`"),
    })
}

/// Numbers that one thread adds at once.
const AT_ONCE: usize = 1 << 16;

fn add(sum: &mut [f32], more: &[f32]) {
    sum.par_chunks_mut(AT_ONCE).zip(more.par_chunks(AT_ONCE)).for_each(|(sum, more)| {
        vectorised!({
            for (sum, more) in sum.iter_mut().zip(more) {
                *sum += more;
            }
        });
    });
}

/// A variable that makes an operation's result depend on something, where its argument does not.
pub fn anchor() -> Result<Tensor> {
    Ok(Var::zeros(1, candle_core::DType::F32, &Device::Cpu)?.into_inner())
}
