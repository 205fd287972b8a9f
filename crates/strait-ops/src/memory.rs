//! Memory of the numbers that an operation works with, used again and again.
//!
//! The system's allocator clears memory that is new and gives large pieces back, so that a training step would clear and map
//! hundreds of megabytes anew.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Numbers, whatever stood there at first.
pub struct Memory {
    numbers: Vec<f32>,
    length: usize,
    of: Of,
}

/// Who works with memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Passes. Their pieces change with the rows, and make room for each other.
    Passes,
    /// Gradients of variables, which are there all at once at the end of a step, and have the same sizes in the next.
    Gradients,
}

/// The pieces that nobody uses at present, by size, and the numbers of all.
#[derive(Default)]
struct Pool {
    free: BTreeMap<usize, Vec<Vec<f32>>>,
    free_numbers: usize,
    used: usize,
    most_used: usize,
    /// The limits of all who run at present, in numbers.
    limits: Vec<Option<usize>>,
}

static POOL: Mutex<Pool> =
    Mutex::new(Pool { free: BTreeMap::new(), free_numbers: 0, used: 0, most_used: 0, limits: Vec::new() });

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The gradients' pieces that nobody uses at present, by size, and how many keep them for a next step.
#[derive(Default)]
struct OfGradients {
    free: BTreeMap<usize, Vec<Vec<f32>>>,
    keepers: usize,
}

static OF_GRADIENTS: Mutex<OfGradients> = Mutex::new(OfGradients { free: BTreeMap::new(), keepers: 0 });

fn of_gradients() -> MutexGuard<'static, OfGradients> {
    OF_GRADIENTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, the memory of gradients of variables is kept for the next step. Without it, the gradients of a full fine-tune
/// and what its passes work with would push each other out of memory, to be cleared and mapped anew in every step.
#[derive(Debug)]
pub struct KeptGradients(());

impl KeptGradients {
    /// Keeps them from now on.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        of_gradients().keepers += 1;
        Self(())
    }
}

impl Drop for KeptGradients {
    fn drop(&mut self) {
        let mut of_gradients = of_gradients();
        of_gradients.keepers -= 1;
        if of_gradients.keepers == 0 {
            of_gradients.free.clear();
        }
    }
}

/// Numbers from which on a piece comes from the pool of all threads; smaller ones are many, and threads would wait for each other.
const POOLED: usize = 1 << 15;

/// Numbers in small pieces that a thread keeps for itself at most.
const OWN: usize = 1 << 20;

/// The small pieces that a thread keeps and does not use at present.
#[derive(Default)]
struct Own {
    free: BTreeMap<usize, Vec<Vec<f32>>>,
    free_numbers: usize,
}

thread_local! {
    static SMALL: RefCell<Own> = RefCell::default();
}

impl Own {
    fn take(&mut self, size: usize) -> Option<Vec<f32>> {
        let numbers = self.free.get_mut(&size)?.pop()?;
        self.free_numbers -= size;
        Some(numbers)
    }

    fn give(&mut self, numbers: Vec<f32>) {
        if self.free_numbers + numbers.len() <= OWN {
            self.free_numbers += numbers.len();
            self.free.entry(numbers.len()).or_default().push(numbers);
        }
    }
}

/// The size of the piece that so many numbers come in: sizes are few, so that pieces fit again.
fn size(length: usize) -> usize {
    let step = (length.next_power_of_two() / 16).max(64);
    length.next_multiple_of(step)
}

impl Pool {
    fn take(&mut self, size: usize) -> Option<Vec<f32>> {
        self.used += size;
        self.most_used = self.most_used.max(self.used);
        if let Some(numbers) = self.free.get_mut(&size).and_then(Vec::pop) {
            self.free_numbers -= size;
            return Some(numbers);
        }
        // What is used and what is free together stay near the most that was ever used.
        while self.free_numbers > 0 && self.used + self.free_numbers > self.most_used + self.most_used / 8 {
            let Some((size, _)) =
                self.free.iter_mut().rev().find_map(|(size, pieces)| Some((*size, pieces.pop()?)))
            else {
                break;
            };
            self.free_numbers -= size;
        }
        None
    }

    fn give(&mut self, numbers: Vec<f32>) {
        self.used -= numbers.len();
        self.free_numbers += numbers.len();
        self.free.entry(numbers.len()).or_default().push(numbers);
    }
}

/// A share of the memory that blocks may keep for their backward passes, while it lives: that of one run of several in a process. A
/// block that finds no room is computed again on the way back, with the same results to the bit. On the CPU; on other devices
/// everything is kept.
#[derive(Debug)]
pub struct ActivationLimit {
    numbers: Option<usize>,
}

impl ActivationLimit {
    /// About so many bytes, or no limit.
    pub fn new(bytes: Option<u64>) -> Self {
        let numbers =
            bytes.map(|bytes| usize::try_from(bytes / size_of::<f32>() as u64).unwrap_or(usize::MAX));
        pool().limits.push(numbers);
        Self { numbers }
    }
}

impl Drop for ActivationLimit {
    fn drop(&mut self) {
        let mut pool = pool();
        let own = pool.limits.iter().position(|limit| *limit == self.numbers);
        own.map(|own| pool.limits.swap_remove(own));
    }
}

/// True if there is room to keep more than what is in use.
pub fn has_room() -> bool {
    let pool = pool();
    let all = pool.limits.iter().try_fold(0_usize, |sum, limit| limit.map(|limit| sum.saturating_add(limit)));
    pool.limits.is_empty() || all.is_none_or(|all| pool.used < all)
}

impl Memory {
    /// Room for so many numbers.
    pub fn new(length: usize) -> Self {
        Self::of(Of::Passes, length)
    }

    /// Room for so many numbers of a variable's gradient.
    pub fn of_gradient(length: usize) -> Self {
        Self::of(Of::Gradients, length)
    }

    fn of(of: Of, length: usize) -> Self {
        let size = size(length);
        let taken = match of {
            _ if size < POOLED => SMALL.with_borrow_mut(|own| own.take(size)),
            Of::Passes => pool().take(size),
            Of::Gradients => of_gradients().free.get_mut(&size).and_then(Vec::pop),
        };
        let mut numbers = taken.unwrap_or_else(|| vec![0f32; size]);
        if cfg!(debug_assertions) {
            // Who reads what it did not write is found out.
            numbers.fill(f32::NAN);
        }
        Self { numbers, length, of }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("length", &self.length).finish_non_exhaustive()
    }
}

impl From<&[f32]> for Memory {
    fn from(numbers: &[f32]) -> Self {
        let mut memory = Self::new(numbers.len());
        memory.copy_from_slice(numbers);
        memory
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let numbers = std::mem::take(&mut self.numbers);
        match self.of {
            // A thread that ends keeps nothing.
            _ if numbers.len() < POOLED => drop(SMALL.try_with(|own| own.borrow_mut().give(numbers))),
            Of::Passes => pool().give(numbers),
            Of::Gradients => {
                let mut of_gradients = of_gradients();
                if of_gradients.keepers > 0 {
                    of_gradients.free.entry(numbers.len()).or_default().push(numbers);
                }
            }
        }
    }
}

impl Deref for Memory {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[..self.length]
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_hold_what_is_asked_for_and_waste_little() {
        for length in (0..100_000).step_by(37) {
            let size = size(length);
            assert!(size >= length && size <= length + length / 8 + 64, "{size} for {length}");
        }
    }

    #[test]
    fn a_thread_keeps_some_small_pieces() {
        let mut own = Own::default();
        assert!(own.take(64).is_none());
        (0..3 * OWN / 1024).for_each(|_| own.give(vec![0.0; 1024]));
        assert_eq!(own.free_numbers, OWN);
        assert_eq!(own.take(1024).map(|numbers| numbers.len()), Some(1024));
        assert!(own.take(64).is_none() && own.free_numbers == OWN - 1024);
    }

    #[test]
    fn limits_of_all_who_run_add_up() {
        let none = ActivationLimit::new(Some(0));
        assert!(!has_room());
        let some = ActivationLimit::new(Some(1 << 40));
        assert!(has_room());
        drop(some);
        assert!(!has_room());
        let all = ActivationLimit::new(None);
        assert!(has_room());
        drop((none, all));
        assert!(has_room());
    }

    #[test]
    fn free_pieces_are_let_go_of_where_others_are_needed() {
        let mut pool = Pool::default();
        for size in [1 << 10, 1 << 11, 1 << 12] {
            let many: Vec<_> = (0..8).map(|_| pool.take(size).unwrap_or_else(|| vec![0.0; size])).collect();
            many.into_iter().for_each(|numbers| pool.give(numbers));
            assert!(pool.used + pool.free_numbers <= pool.most_used + pool.most_used / 8);
        }
        assert_eq!((pool.used, pool.most_used), (0, 8 << 12));
        assert!(pool.take(1 << 12).is_some());
    }
}
