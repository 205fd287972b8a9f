//! Narrow and general solutions of a fine-tune: their training and measures, studies that combine both, and reports.

pub mod answers;
pub mod bench;
pub mod check;
pub mod claim;
pub mod data;
pub mod demo;
pub mod direction;
pub mod endpoint;
pub mod error;
pub mod interval;
mod journal;
pub mod judge;
pub mod judging;
pub mod keys;
pub mod lab;
pub mod measure;
pub mod monitor;
pub mod objective;
mod page;
pub mod probe;
pub mod report;
pub mod responses;
pub mod scalars;
pub mod score;
pub mod store;
pub mod study;
pub mod suite;
pub mod table;
pub mod tensorboard;
pub mod train;
pub mod verdict;
pub mod world;
pub mod yes_no;

pub use error::{Error, Result};
pub use lab::Lab;
pub use table::Table;
