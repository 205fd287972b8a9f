//! Loops that are compiled for the processor at hand, and memory that is asked for before they read it.

/// Runs an expression compiled for the widest vectors that this processor has.
///
/// A closure that the compiler does not inline into the function of those vectors is compiled for the oldest processor, and no
/// error says so. The macro marks the closure; closures inside it are marked by hand, and functions are
/// `#[inline(always)]`.
#[macro_export]
macro_rules! vectorised {
    ($body:expr) => {
        $crate::vectors::on_widest_vectors(
            #[inline(always)]
            || $body,
        )
    };
}
pub use vectorised;

/// The function behind [`vectorised`].
#[inline(always)]
pub fn on_widest_vectors<R>(f: impl FnOnce() -> R) -> R {
    struct Run<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Run<F> {
        type Output = R;
        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Run(f))
}

/// Bytes between what is read and what is asked for beforehand.
const AHEAD: usize = 2048;

/// Asks for what lies some way behind these numbers, where numbers are read one after the other: the processor itself asks no farther
/// than the end of a page, and waits at each.
#[inline(always)]
pub(crate) fn fetch_ahead<T>(numbers: &[T]) {
    fetch_bytes(numbers, AHEAD);
}

/// Asks for numbers that are read soon: the processor foresees no pieces of rows.
#[inline(always)]
pub(crate) fn fetch<T>(numbers: &[T]) {
    fetch_bytes(numbers, 0);
}

#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
fn fetch_bytes<T>(numbers: &[T], ahead: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of_val(numbers)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: to ask for bytes is not to read them; any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(numbers.as_ptr().cast::<i8>().wrapping_add(ahead + at)) };
    }
}
