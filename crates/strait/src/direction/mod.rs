//! Directions in the residual stream: mean differences between two models, or between two kinds of answers (paper §13.1).

mod arithmetic;
mod control;
mod eigen;
pub mod extract;
pub mod files;
pub mod geometry;
mod lens;
mod means;
pub mod pca;
mod problem;
mod reading;
pub mod sweep;
pub mod trajectory;

use arithmetic::dot;
pub use arithmetic::{across, cosine, turns};
pub use control::{random_like, without};
pub use lens::{DirectionToken, Pull, tokens};
pub use means::mean_difference;
pub use problem::Problem;
pub use reading::{Condition, Tokens};
