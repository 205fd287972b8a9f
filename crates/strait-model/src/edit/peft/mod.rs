//! LoRA adapters in PEFT's folders, which transformers and vLLM load.

mod card;
mod config;
mod export;
mod import;
mod names;
mod pattern;
mod targets;

pub(super) use export::export;
pub use export::{BaseModel, export_peft};
pub(super) use import::{Imported, import};

pub(super) const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const OLD_WEIGHTS: &str = "adapter_model.bin";
const CARD: &str = "README.md";
