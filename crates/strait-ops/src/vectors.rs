//! Loops that are compiled for the processor at hand.

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
