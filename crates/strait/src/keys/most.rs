//! The largest values of keys. No machine could do more, or be given more: a greater number is a slip of the keyboard.

/// Largest seed; seeds are numbers like any other.
pub const SEED: usize = 1_000_000_000; // a billion in errors
/// Rows, pairs and passages that are taken of a file.
pub const ROWS: usize = 10_000_000;
/// Optimiser steps, and lengths of time in steps.
pub const STEPS: usize = 1_000_000;
/// Rows of a batch, and batches of a step.
pub const BATCH: usize = 10_000;
/// Rank of an adapter.
pub const RANK: usize = 65_536;
/// Tokens of a passage.
pub const TOKENS: usize = 1_000_000;
/// Seconds that one request may take: a day.
pub const SECONDS: usize = 86_400;
/// Things that cost a pass over the rows each.
pub const PASSES: usize = 1000;
/// Trainings of a search.
pub const TRIES: usize = 100;
/// Factors, norms, rates, ratios and bounds on a loss: beyond, single precision soon has no numbers left.
pub const FACTOR: f64 = 1000.0;
/// Alphas, which are divided by the rank, and norms of a gradient.
pub const ALPHA: f64 = 1e6;
/// Weights of a penalty. Training with one beyond single precision diverges at once, and says so.
pub const WEIGHT: f64 = 1e100;
/// Passes over the rows.
pub const EPOCHS: f64 = 10_000.0;
