//! The `strait` command from end to end.

mod behaviour;
mod bench;
mod common;
mod damage;
mod data;
mod demo;
mod directions;
mod disasters;
mod docs;
mod edits;
#[cfg(target_os = "linux")]
mod endings;
mod endpoints;
mod equal;
mod extraction;
mod help;
mod judged_studies;
mod judging;
#[cfg(target_os = "linux")]
mod junk;
mod leaks;
mod mitigation;
mod models;
mod monitor;
mod numbers;
mod own_rows;
mod protocol;
mod readings;
mod sampling;
mod scalars;
#[path = "../../../strait/tests/it/server.rs"]
#[allow(dead_code, reason = "the library's tests use all of it")]
mod server;
mod studies;
mod suites;
mod sweeps;
mod world;
