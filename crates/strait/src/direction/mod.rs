//! Directions in the residual stream: mean differences between two models, or between two kinds of answers (paper §13.1).

mod arithmetic;
mod control;
pub mod extract;
mod lens;
mod means;
mod reading;

pub use arithmetic::{across, cosine, turns};
pub use control::{random_like, without};
pub use lens::{DirectionToken, Pull, tokens};
pub use means::mean_difference;
pub use reading::{Condition, Tokens};
