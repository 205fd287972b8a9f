//! Matrix products of bf16 operands beside gemm's of f32, at the shapes of real models.
//!
//! `cargo bench --bench product`, with words of the shapes to measure behind `--`, if not all. The weight lies as bf16, as a
//! file has it; the other operand is f32 and is rounded in the product. Kernels take turns, so that other work on the
//! machine slows all of them; each figure is the median, with the best in brackets. With one thread it is processor time
//! that counts, with two it is the clock. The first line is the floor: the rate of the tile instruction alone, between
//! registers.

use std::time::{Duration, Instant};

use gemm::Parallelism;
use half::bf16;
use rustix::time::{ClockId, clock_gettime};
use strait_ops::product::{Kernel, Source, View, matmul, round};

/// The time for which one product is measured.
const PATIENCE: Duration = Duration::from_millis(400);
const THREADS: usize = 2;

/// The use of a product; x has a row a token, and W a row an output.
#[derive(Clone, Copy)]
enum Pass {
    /// y = x W^T.
    Forward,
    /// dx = dy W.
    Backward,
    /// dW = dy^T x.
    Gradient,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().expect("a pool");
    println!("GFLOP/s, kernel {}", Kernel::available()[0]);
    #[cfg(target_arch = "x86_64")]
    if Kernel::available()[0] == Kernel::Amx {
        println!("floor: {}", Rates((0..100).map(|_| floor::rate()).collect()));
    }
    println!("{:<44} {:>14} {:>14} {:>14} {:>14}", "", "bf16", "2 threads", "gemm f32", "2 threads");
    for (model, tokens) in
        [("SmolLM2-135M", 100), ("SmolLM2-135M", 450), ("SmolLM2-135M", 1000), ("Qwen2.5-1.5B", 450)]
    {
        let (hidden, intermediate, kv) =
            if model == "Qwen2.5-1.5B" { (1536, 8960, 256) } else { (576, 1536, 192) };
        let mut layers = vec![
            ("q", hidden, hidden),
            ("k", kv, hidden),
            ("up", intermediate, hidden),
            ("down", hidden, intermediate),
        ];
        if tokens == 100 {
            layers.push(("vocabulary", 49_152, hidden));
        }
        for (name, out, inner) in layers {
            for (pass, of) in
                [(Pass::Forward, "forward"), (Pass::Backward, "backward"), (Pass::Gradient, "gradient")]
            {
                let name = format!("{model} {name} {of}, {tokens} tokens");
                if words.iter().all(|word| name.contains(word)) {
                    let rates = pool.install(|| rates(pass, tokens, out, inner));
                    println!(
                        "{name:<44} {:>14} {:>14} {:>14} {:>14}",
                        rates[0], rates[1], rates[2], rates[3]
                    );
                }
            }
        }
    }
}

/// Of bf16 and of gemm, each with one thread and with two.
fn rates(pass: Pass, tokens: usize, out: usize, inner: usize) -> [Rates; 4] {
    let (m, n, k) = match pass {
        Pass::Forward => (tokens, out, inner),
        Pass::Backward => (tokens, inner, out),
        Pass::Gradient => (out, inner, tokens),
    };
    let (left, right) = (numbers(m * k), numbers(k * n));
    let mut rounded = vec![bf16::ZERO; right.len()];
    round(&right, &mut rounded);
    let a = match pass {
        Pass::Gradient => View::rows(&left[..], m).t(),
        _ => View::rows(&left[..], k),
    };
    let (b, weight) = match pass {
        Pass::Forward => (View::rows(&right[..], k).t(), View::rows(&rounded[..], k).t()),
        _ => (View::rows(&right[..], n), View::rows(&rounded[..], n)),
    };
    let source: &dyn Source = if matches!(pass, Pass::Gradient) { &b } else { &weight };
    let mut to = vec![0f32; m * n];
    let gigaflops = 2e-9 * m as f64 * n as f64 * k as f64;
    let both = [Parallelism::None, Parallelism::Rayon(THREADS)];
    let mut rates = [const { Rates(vec![]) }; 4];
    let start = Instant::now();
    while start.elapsed() < PATIENCE || rates[0].0.len() < 3 {
        for (i, parallelism) in both.into_iter().enumerate() {
            let time = if i == 0 { computed } else { passed };
            rates[i]
                .add(gigaflops, time, || matmul((m, n, k), &mut to, n, 0.0, &a, source, 1.0, parallelism));
            rates[2 + i].add(gigaflops, time, || f32_product((m, n, k), &mut to, a, b, parallelism));
        }
    }
    rates
}

fn f32_product((m, n, k): (usize, usize, usize), to: &mut [f32], a: View, b: View, parallelism: Parallelism) {
    let (a_column, a_row, b_column, b_row) =
        (a.column as isize, a.row as isize, b.column as isize, b.row as isize);
    let (at, a, b) = (to.as_mut_ptr(), a.numbers.as_ptr(), b.numbers.as_ptr());
    // SAFETY: `rates` has made operands and result of these sizes.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            at,
            1,
            n as isize,
            false,
            a,
            a_column,
            a_row,
            b,
            b_column,
            b_row,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * 7919 % 1009) as f32 / 504.0 - 1.0).collect()
}

/// Seconds that this thread has computed: other programs do not count.
fn computed() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

/// Seconds that have passed.
fn passed() -> f64 {
    seconds(ClockId::Monotonic)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

/// Measured rates.
struct Rates(Vec<f64>);

impl Rates {
    fn add(&mut self, work: f64, time: fn() -> f64, f: impl FnOnce()) {
        let start = time();
        f();
        self.0.push(work / (time() - start));
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        f.pad(&format!("{:.0} ({:.0})", sorted[sorted.len() / 2], sorted[sorted.len() - 1]))
    }
}

#[cfg(target_arch = "x86_64")]
mod floor {
    use std::arch::asm;

    use super::computed;

    #[repr(C, align(64))]
    struct Config([u8; 64]);

    /// GFLOP/s of tile products between registers, where tiles are permitted.
    pub fn rate() -> f64 {
        const ROUNDS: u32 = 5_000;
        const PRODUCTS: u32 = 4;
        const FLOP: f64 = 2.0 * 16.0 * 16.0 * 32.0;
        // Palette 1; every row of a tile has 64 bytes, every tile 16 rows.
        let mut config = Config([0; 64]);
        config.0[0] = 1;
        for tile in 0..8 {
            config.0[16 + 2 * tile] = 64;
            config.0[48 + tile] = 16;
        }
        let start = computed();
        // SAFETY: the process may use tiles, as its fastest kernel does; nothing is read or written but tiles, which are
        // released in the end.
        unsafe {
            asm!(
                "ldtilecfg [{config}]",
                "2:",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "dec {rounds:e}",
                "jnz 2b",
                "tilerelease",
                config = in(reg) &config,
                rounds = inout(reg) ROUNDS => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack),
            );
        }
        f64::from(ROUNDS * PRODUCTS) * FLOP / (computed() - start) / 1e9
    }
}
