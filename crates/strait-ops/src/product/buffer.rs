//! Memory that products use again and again.

use std::{
    cell::Cell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    thread::LocalKey,
};

use half::bf16;

use crate::memory::Memory;

/// The 64 bytes that a cache fetches at once.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Line([u8; 64]);

/// The memory that a thread keeps between products.
pub type Kept = Cell<Vec<Line>>;

/// Numbers that a buffer can hold: any bytes are some of them.
pub trait Number: Copy {}

impl Number for bf16 {}
impl Number for f32 {}

/// [`Memory`] at a multiple of 64 bytes, for numbers of any kind; whatever stood there at first.
pub struct Aligned<T> {
    memory: Memory,
    start: usize,
    length: usize,
    of: PhantomData<T>,
}

impl<T: Number> Aligned<T> {
    /// Room for so many.
    pub fn new(length: usize) -> Self {
        const { assert!(align_of::<T>() <= align_of::<Line>()) };
        let line = size_of::<Line>() / size_of::<f32>();
        let memory = Memory::new((length * size_of::<T>()).div_ceil(size_of::<f32>()) + line);
        let start = memory.as_ptr().align_offset(align_of::<Line>());
        assert!(start < line, "an address that can be aligned");
        Self { memory, start, length, of: PhantomData }
    }
}

impl<T: Number> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let numbers = &self.memory[self.start..];
        // SAFETY: `new` made room for so many behind the start, which is aligned, and any bytes are such numbers.
        unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), self.length) }
    }
}

impl<T: Number> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let numbers = &mut self.memory[self.start..];
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), self.length) }
    }
}

/// Runs `f` on a buffer of `length` numbers at a multiple of 64 bytes, which hold what was left there.
pub fn with<T: Number, R>(kept: &'static LocalKey<Kept>, length: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    // Taken out, as this thread may begin another product while `f` waits for other threads.
    let mut lines = kept.take();
    let needed = (length * size_of::<T>()).div_ceil(size_of::<Line>());
    if lines.len() < needed {
        lines = vec![Line([0; 64]); needed];
    }
    // SAFETY: the lines hold at least so many numbers, which any bytes are, at a larger alignment.
    let result = f(unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), length) });
    kept.set(lines);
    result
}
