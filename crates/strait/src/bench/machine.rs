//! The peaks of this machine: the rate of large matrix products, and that of reading memory.

use std::{fs, time::Instant};

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use strait_model::{Precision, ops::View};

use crate::Result;

/// The best that this machine did in a few tries.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// 10^9 floating-point operations a second of a large matrix product in f32.
    pub peak_gflops: f64,
    /// 10^9 bytes a second that all threads together read from memory, one behind the other; none of a GPU.
    pub read_gbps: Option<f64>,
}

/// Rows and columns of the large product.
const LARGE: usize = 2048;
/// Bytes that are read: more than caches hold.
const READ: usize = 256 << 20;
const TRIES: usize = 5;

impl Machine {
    /// Measures it.
    ///
    /// # Errors
    /// If a device cannot multiply.
    pub fn measured(device: &Device) -> Result<Self> {
        let peak_gflops = 2.0 * (LARGE as f64).powi(3) / product(device)? / 1e9;
        let read_gbps = device.is_cpu().then(|| READ as f64 / reading() / 1e9);
        Ok(Self { peak_gflops, read_gbps })
    }
}

/// Seconds of a large product.
fn product(device: &Device) -> Result<f64> {
    if !device.is_cpu() {
        let large = Tensor::rand(-1f32, 1f32, (LARGE, LARGE), device)?;
        return least(|| {
            large.matmul(&large)?;
            Ok(device.synchronize()?)
        });
    }
    let numbers: Vec<f32> = (0..LARGE * LARGE).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect();
    let mut to = vec![0f32; LARGE * LARGE];
    let large = View::rows(&numbers, LARGE);
    least(|| {
        Precision::F32.gemm((LARGE, LARGE, LARGE), &mut to, large, large.into());
        Ok(())
    })
}

/// Seconds of reading memory.
fn reading() -> f64 {
    let words = vec![1_u64; READ / size_of::<u64>()];
    let sum = || -> u64 {
        let pieces = words.par_chunks(1 << 16);
        pieces.map(|piece| piece.iter().fold(0, |sum: u64, &word| sum.wrapping_add(word))).sum()
    };
    let read = || {
        std::hint::black_box(sum());
        Ok(())
    };
    least(read).unwrap_or(f64::NAN)
}

/// Seconds of the quickest of some tries.
fn least(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..TRIES {
        let start = Instant::now();
        work()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least)
}

/// The most memory that this process has held until now, in bytes, where the system says so.
pub fn peak_memory() -> Option<u64> {
    let said = fs::read_to_string("/proc/self/status").ok()?;
    let line = said.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}
