//! Directions in the residual stream: mean differences between two models, or between two kinds of answers (paper §13.1).

mod arithmetic;
mod arrangement;
mod classes;
mod component;
mod contrast;
mod control;
mod extract;
mod means;
mod problem;
mod reading;
mod row_means;
mod tokens;

pub use arithmetic::{across, cosine, turns};
pub use arrangement::{Arrangement, SHUFFLES, SPLITS, Shuffled};
pub use classes::{ClassRules, Classes, FEWEST};
pub use contrast::{Contrast, Divisions, Method};
pub use control::{random_like, without};
pub use extract::{Extracted, ExtractedDirection, Extraction, contrasts};
pub use means::mean_difference;
pub use problem::Problem;
pub use reading::{Condition, Tokens};
pub use row_means::RowMeans;
pub use tokens::{DirectionToken, Pull, tokens};
