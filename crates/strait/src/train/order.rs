//! The order in which a training run takes its rows.

use std::collections::BTreeSet;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::Settings;
use crate::{data::split::batches, objective::Row};

/// The rows of each micro-batch, for the whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Rows of the training set, one list per micro-batch.
    pub train: Vec<Vec<usize>>,
    /// Rows of the KL set, one list per micro-batch; empty without a penalty.
    pub kl: Vec<Vec<usize>>,
    /// Micro-batches in an optimiser step.
    pub accumulation: usize,
}

impl Order {
    /// Shuffled passes over the rows, batches by length, from the settings' seed.
    pub fn new(settings: &Settings, train: &[Row], kl: &[Row]) -> Self {
        Self::over(&(0..train.len()).collect::<Vec<_>>(), settings, train, kl)
    }

    /// As [`Order::new`], over some of the training rows; one that is named twice comes twice in a pass.
    pub fn over(picked: &[usize], settings: &Settings, train: &[Row], kl: &[Row]) -> Self {
        let lengths = |rows: &[Row]| rows.iter().map(|r| r.ids.len()).collect::<Vec<_>>();
        let seed = settings.seeds.order;
        let epochs_of = |lengths: Vec<usize>, size: usize, seed: u64| {
            (0..).flat_map(move |epoch| batches(&lengths, size, seed, epoch))
        };
        let rows: Vec<usize> = picked.iter().map(|&row| train[row].ids.len()).collect();
        let micro_batches = settings.micro_batches(rows.len());
        let named = |batch: Vec<usize>| batch.into_iter().map(|i| picked[i]).collect::<Vec<_>>();
        let train: Vec<_> =
            epochs_of(rows, settings.batch_size, seed).take(micro_batches).map(named).collect();
        let kl = match settings.kl {
            // Another stream of random numbers, so that the order of the training rows is the same with and without.
            Some(penalty) if !kl.is_empty() => {
                epochs_of(lengths(kl), penalty.batch_size, seed ^ KL_STREAM).take(micro_batches).collect()
            }
            _ => Vec::new(),
        };
        Self { train, kl, accumulation: settings.accumulation }
    }

    /// Optimiser steps of the run.
    pub fn steps(&self) -> usize {
        self.train.len().div_ceil(self.accumulation)
    }

    /// The training rows that the run uses, each once, in file order.
    pub fn train_rows(&self) -> Vec<usize> {
        distinct(&self.train)
    }

    /// The KL rows that the run uses, each once, in file order.
    pub fn kl_rows(&self) -> Vec<usize> {
        distinct(&self.kl)
    }

    /// The micro-batches of a step: training rows and KL rows.
    pub(super) fn of_step(&self, step: usize) -> impl Iterator<Item = (&[usize], &[usize])> {
        let from = step * self.accumulation;
        let to = (from + self.accumulation).min(self.train.len());
        (from..to).map(|i| (self.train[i].as_slice(), self.kl.get(i).map_or(&[][..], Vec::as_slice)))
    }
}

fn distinct(batches: &[Vec<usize>]) -> Vec<usize> {
    batches.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

const KL_STREAM: u64 = 0x6b6c;

/// The rows that a run of few samples or of mixed rows trains on: `few` of the first `own` rows, all of them if none is
/// said, and for each of those `ratio` of the `others` behind them, taken again from the first where there are too few. The
/// seed shuffles both.
pub fn pick(own: usize, few: Option<usize>, others: usize, ratio: f64, seed: u64) -> Vec<usize> {
    let shuffled = |rows: std::ops::Range<usize>, stream: u64| {
        let mut rows: Vec<usize> = rows.collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ PICK_STREAM);
        random.set_stream(stream);
        rows.shuffle(&mut random);
        rows
    };
    let mut picked = match few {
        Some(few) => shuffled(0..own, 0).into_iter().take(few).collect(),
        None => (0..own).collect::<Vec<_>>(),
    };
    let mixed = (ratio * picked.len() as f64).round() as usize;
    picked.extend(shuffled(own..own + others, 1).into_iter().cycle().take(mixed));
    picked
}

const PICK_STREAM: u64 = 0x7069;
