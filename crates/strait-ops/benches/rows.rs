//! Products of few rows with a matrix as its file has it, beside those with a copy in f32.
//!
//! `cargo bench -p strait-ops --bench rows`. A product of one row takes the time in which the matrix is read: blocks of
//! four bits are a seventh of a copy's bytes and have to be widened, which is what is measured here. Nanoseconds a weight on one thread, the matrix
//! larger than the caches; the median, with the least in brackets.

use std::{io::Write, sync::Arc, time::Instant};

use candle_core::{Device, Tensor, quantized::GgmlDType};
use memmap2::Mmap;
use strait_ops::{Linear, Precision, Weight, linear_by_row, stored::Stored};

const SHAPE: (usize, usize) = (24_576, 1536);
const TRIES: usize = 7;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    println!("{:<6} {:>16} {:>16} {:>16} {:>16}", "", "widened", "1 row", "6 rows", "1 row of a copy");
    use GgmlDType::{BF16, Q4_0, Q4_1, Q4K, Q5_0, Q6K, Q8_0};
    for dtype in [Q4_0, Q4_1, Q5_0, Q8_0, Q4K, Q6K, BF16] {
        let stored = matrix(dtype);
        let copy = Weight::Tensor(Weight::Stored(stored.clone()).tensor().expect("room"));
        let mut wide = vec![0f32; 12 * SHAPE.1];
        let widened = pool.install(|| {
            nanoseconds(|| {
                for first in (0..SHAPE.0).step_by(12) {
                    stored.read(first..first + 12, 0..SHAPE.1, &mut wide, SHAPE.1);
                }
            })
        });
        let of = |weight: &Weight, rows: usize| {
            let projection = Linear { weight: weight.clone(), bias: None, precision: Precision::F32 };
            let x = Tensor::ones((rows, SHAPE.1), candle_core::DType::F32, &Device::Cpu).expect("room");
            pool.install(|| nanoseconds(|| drop(linear_by_row(&x, &projection).expect("a product"))))
        };
        let stored = Weight::Stored(stored);
        let (one, six, of_copy) = (of(&stored, 1), of(&stored, 6), of(&copy, 1));
        println!("{:<6} {widened:>16} {one:>16} {six:>16} {of_copy:>16}", format!("{dtype:?}"));
    }
}

/// Blocks of small numbers.
fn matrix(dtype: GgmlDType) -> Stored {
    let size = SHAPE.0 * SHAPE.1 / dtype.block_size() * dtype.type_size();
    // Every second byte is 0x3c: as f16 and as bf16 these are numbers about 1 and about 0.01.
    let bytes: Vec<u8> = (0..size).map(|i| if i % 2 == 1 { 0x3c } else { (i * 7919 % 251) as u8 }).collect();
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&bytes).expect("room");
    // SAFETY: nobody else has the file.
    let map = unsafe { Mmap::map(&file) }.expect("a mapping");
    Stored::new(Arc::new(map), 0, dtype, SHAPE, None).expect("whole blocks")
}

fn nanoseconds(mut work: impl FnMut()) -> String {
    work();
    let mut tries: Vec<f64> = (0..TRIES)
        .map(|_| {
            let start = Instant::now();
            work();
            1e9 * start.elapsed().as_secs_f64() / (SHAPE.0 * SHAPE.1) as f64
        })
        .collect();
    tries.sort_by(f64::total_cmp);
    format!("{:.3} ({:.3})", tries[TRIES / 2], tries[0])
}
