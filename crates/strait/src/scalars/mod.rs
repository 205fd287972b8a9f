//! The scalars of a LoRA's adapters, A x of every response token: their readings, the tokens that matter, probes on them, and their
//! exchange between prompts, which is called patching (paper §13.6 to §13.8).

mod filter;
mod patch;
mod probes;
mod problem;
mod reading;
mod tokens;

pub use filter::{Significant, most, significances};
pub use patch::{Patched, PatchedRow, Patching, Removed, patch, remove};
pub use probes::{Carrier, Classes, Figure, Probed, Settings, compare, probe};
pub use problem::Problem;
pub use reading::{Scalars, read};
pub use tokens::{ReadScalar, TokenScalars};
