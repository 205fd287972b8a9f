//! The whole programme on the built-in worlds: solutions are trained, measured, and held against the claims.

pub mod page;
pub mod results;

pub use results::Results;
