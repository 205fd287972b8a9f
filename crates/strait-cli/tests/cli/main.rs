//! The `strait` command from end to end.

mod common;
mod data;
mod demo;
mod disasters;
mod docs;
mod edits;
mod help;
mod models;
mod protocol;
mod studies;
mod world;
