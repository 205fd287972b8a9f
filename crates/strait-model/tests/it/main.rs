//! The library from outside. One crate of all tests, since each would be linked with everything on its own.

mod common;
mod config;
mod edit;
mod gguf;
mod golden;
mod packed;
mod pickle;
mod sites;
mod source;
mod template;
mod tokenizer;
mod trained;
mod weights;
