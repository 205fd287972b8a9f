//! The library from outside. One crate of all tests, since each would be linked with everything on its own.

mod adapters;
mod block;
mod common;
mod config;
mod edit;
mod fit;
mod full;
mod gguf;
mod gguf_edits;
mod golden;
mod merged;
mod packed;
mod pickle;
mod precision;
mod sample;
mod scalars;
mod sites;
mod source;
mod spectra;
mod template;
mod tokenizer;
mod tokenizer_folders;
mod tokenizer_hostile;
mod trained;
mod weights;
