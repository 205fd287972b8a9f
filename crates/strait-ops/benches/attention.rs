//! Attention forwards and backwards beside its floor: the products of the numbers that are seen, by themselves.
//!
//! `cargo bench -p strait-ops --bench attention`, with a precision or a number of tokens behind `--`, if not all. One sequence of
//! SmolLM2-135M, on one thread; milliseconds of processor time, the median with the best in brackets.

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor, Var};
use rustix::time::{ClockId, clock_gettime};
use strait_ops::{AttentionShape, Operand, Precision, Span, Spans, View, attention, backward};

/// The time for which one case is measured.
const PATIENCE: Duration = Duration::from_millis(1500);
const HEADS: usize = 9;
const KV_HEADS: usize = 3;
const HEAD_DIM: usize = 64;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    println!("{:<20} {:>18} {:>18} {:>18}", "ms", "forwards", "and backwards", "products");
    for tokens in [128, 1024, 2048] {
        for precision in Precision::ALL {
            let name = format!("{tokens} tokens, {}", precision.name());
            if words.iter().all(|word| name.contains(word)) {
                let [forwards, both, products] = pool.install(|| times(tokens, precision));
                println!("{name:<20} {forwards:>18} {both:>18} {products:>18}");
            }
        }
    }
}

fn times(tokens: usize, precision: Precision) -> [String; 3] {
    let [q, k, v] = [HEADS, KV_HEADS, KV_HEADS].map(|heads| {
        let x = Tensor::rand(-1f32, 1.0, (tokens, heads * HEAD_DIM), &Device::Cpu).expect("room");
        Var::from_tensor(&x).expect("a variable")
    });
    let (softcap, window, scale) = (None, None, 0.125);
    let shape = AttentionShape {
        heads: HEADS,
        kv_heads: KV_HEADS,
        head_dim: HEAD_DIM,
        scale,
        softcap,
        window,
        precision,
    };
    let spans = Spans::new([Span { queries: 0..tokens, beginning: 0..0, keys: 0..tokens }]);
    let apply = |[q, k, v]: [&Tensor; 3]| attention(q, k, v, shape, &spans).expect("a result");
    let frozen = [&q, &k, &v].map(|x| x.detach());
    let mut products = Products::new(tokens, precision);
    [
        milliseconds(|| drop(apply([&frozen[0], &frozen[1], &frozen[2]]))),
        milliseconds(|| {
            let y = apply([q.as_tensor(), k.as_tensor(), v.as_tensor()]);
            drop(backward(&y.sum_all().expect("a sum")).expect("gradients"));
        }),
        milliseconds(|| products.compute()),
    ]
}

/// The seven products of each head, of half as many keys as there are: so many a query sees on average.
struct Products {
    precision: Precision,
    tokens: usize,
    numbers: Vec<f32>,
    to: Vec<f32>,
}

impl Products {
    fn new(tokens: usize, precision: Precision) -> Self {
        let numbers = (0..tokens * tokens.max(HEAD_DIM)).map(|i| (i * 7919 % 1009) as f32 / 504.0 - 1.0);
        Self { precision, tokens, numbers: numbers.collect(), to: vec![0.0; tokens * tokens] }
    }

    fn compute(&mut self) {
        let (n, m, d) = (self.tokens, self.tokens / 2, HEAD_DIM);
        let of = |width: usize| View::rows(&self.numbers[..], width);
        for _ in 0..HEADS {
            // Scores forwards and backwards, and the gradients of shares.
            for _ in 0..3 {
                self.precision.gemm((n, m, d), &mut self.to, of(d), Operand::from(of(d).t()));
            }
            // Values, and the gradients of queries.
            for _ in 0..2 {
                self.precision.gemm((n, d, m), &mut self.to, of(m), Operand::from(of(d)));
            }
            // The gradients of keys and of values.
            for _ in 0..2 {
                self.precision.gemm((m, d, n), &mut self.to, of(m).t(), Operand::from(of(d)));
            }
        }
    }
}

fn milliseconds(mut work: impl FnMut()) -> String {
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < PATIENCE || times.len() < 3 {
        let before = computed();
        work();
        times.push(1e3 * (computed() - before));
    }
    times.sort_by(f64::total_cmp);
    format!("{:.2} ({:.2})", times[times.len() / 2], times[0])
}

/// Seconds that this process has computed: other programs do not count.
fn computed() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}
