//! Memory that products use again and again.

use std::{cell::Cell, thread::LocalKey};

use half::bf16;

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
