//! The losses that training minimises and measures read: response cross-entropy, and KL to the base model.
//!
//! Both work on [`Kept`] rows: the base model's residual stream at the point up to which the edit changes nothing is
//! computed once for a set of rows, and so is the base's last hidden state where KL needs it (design §5).

mod kept;
mod losses;
mod rising;
mod row;
mod slopes;

pub use kept::{Kept, kept_bytes};
pub use rising::Rising;
pub use row::{Row, TOKENS_AT_ONCE, batches, packed, response_places};
pub use slopes::EmbeddingSlope;
