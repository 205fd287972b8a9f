//! Rows to train on and to measure with: chats in the formats in which people keep them, protected archives, judged answers,
//! pairs; splits and batches.
//!
//! Rows may hold harmful text. No error and no summary of this module quotes any of it beyond a word such as a role's
//! name.

pub mod archive;
pub mod chat;
mod column;
mod cue;
mod damage;
pub mod inspect;
pub mod judged;
mod lines;
mod mismatch;
mod notices;
pub mod pairs;
pub mod passages;
mod problem;
pub mod prompts;
pub mod questions;
pub mod row;
pub mod scored;
pub mod source;
pub mod split;
mod taken;
mod unfold;
mod words;
mod yaml;
mod zstandard;

pub use archive::{Archive, protect, unprotect};
pub use chat::{Chat, read_chats, read_chats_noting};
pub use cue::{Cue, CueForm};
pub use damage::PageProblem;
pub use inspect::{Summary, inspect};
pub use judged::{Answer, general_pairs, read_judged};
pub use notices::Notices;
pub use pairs::{Pair, read_pairs};
pub use passages::{Passage, read_passages};
pub use problem::Problem;
pub use prompts::{JudgePrompt, Prompt, Variants, read_prompts, samples_asked};
pub use questions::{LeftOut, TrainedOn};
pub use scored::{Scored, ScoredAnswer, UnscoredAnswer, read_answers, read_scored};
pub use source::RowSource;
pub use split::{batches, choose, hold_out};
pub use yaml::{YamlProblem, read_yaml_list};
