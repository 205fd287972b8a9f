//! Chat models that are read as transformers reads them, edited, and sampled from.
//!
//! The crate reads Hugging Face folders and GGUF files into one decoder ([`Model`]), lets changes act on it
//! and leaves its own weights alone ([`Edit`]), and gives the losses of fine-tuning with their gradients ([`ops::Loss`]).
//! It knows nothing of studies, measures or reports.

mod chat;
pub mod config;
mod conversation;
pub mod decoder;
pub mod edit;
pub mod error;
pub mod files;
pub mod gguf;
pub mod guard;
pub mod json;
pub mod merged;
pub mod model;
pub mod progress;
pub mod sample;
pub mod source;
pub mod template;
pub mod tokenizer;
pub mod weights;

pub use chat::{Answer, Chat};
pub use config::Config;
pub use conversation::{Conversation, Message, Role};
pub use decoder::Decoder;
pub use edit::Edit;
pub use error::{Error, Result};
pub use gguf::Gguf;
pub use model::Model;
pub use strait_ops::{self as ops, Precision, vectorised};
pub use tokenizer::{EncodedChat, Tokenizer};
pub use weights::Weights;
