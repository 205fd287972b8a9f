//! Training steps of a small model on one thread: what is left of the time beside the matrix products is overhead.
//!
//! `cargo bench --bench small`. The model has the world's sizes: 4 layers of width 64, 262 tokens; 8 rows of 9 tokens a step,
//! and 16 under the penalty.

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use strait::{
    objective::{Kept, Row},
    train::{self, EditKind, Kl, Length, Order, Run, Schedule, Seeds, Settings, Trainable, TrainingData},
};
use strait_model::{
    Config, Decoder,
    config::{Activation, Architecture, LayerKind, Rope, RopeScaling},
    edit::Projection,
    ops::{self, Linear},
    progress::Silent,
};

const STEPS: usize = 300;
const ROWS: usize = 8;
const KL_ROWS: usize = 16;
const TOKENS: usize = 9;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    pool.install(|| {
        let decoder = decoder();
        let lora =
            EditKind::Lora { layers: vec![-1], projections: vec![], rank: 8, alpha: 8.0, rslora: true };
        println!("milliseconds of processor time a step");
        println!("matrix products alone, without KL  {:.3}", products(decoder.config(), false));
        println!("matrix products alone, with KL     {:.3}", products(decoder.config(), true));
        for (name, edit) in [("vector", EditKind::Steering { layer: -1 }), ("rank 8", lora)] {
            println!("{name}, without KL                 {:.3}", step(&decoder, &edit, false));
            println!("{name}, with KL                    {:.3}", step(&decoder, &edit, true));
        }
    });
}

fn decoder() -> Decoder {
    let config = Config {
        architecture: Architecture::Llama,
        layers: 4,
        hidden_size: 64,
        intermediate_size: 128,
        heads: 4,
        kv_heads: 4,
        head_dim: 16,
        vocab_size: 262,
        context_length: 64,
        norm_eps: 1e-5,
        activation: Activation::Silu,
        qkv_bias: false,
        qk_norm: false,
        post_norms: false,
        embedding_scale: 1.0,
        attention_scale: 0.25,
        attention_softcap: None,
        logit_softcap: None,
        rope: Rope { base: 10_000.0, scaling: RopeScaling::None },
        local_rope: None,
        layer_kinds: vec![LayerKind::Full; 4],
        sliding_window: None,
        tied_embeddings: false,
    };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let tensor = |_: &str, shape: &[usize]| {
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-0.2..0.2)).collect();
        Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
    };
    Decoder::from_tensors(config, tensor).expect("a decoder")
}

fn rows(count: usize, seed: u64) -> Vec<Row> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let row = |_| {
        let response = TOKENS - 2..TOKENS;
        Row { ids: (0..TOKENS).map(|_| rng.random_range(0..262)).collect(), responses: vec![response] }
    };
    (0..count).map(row).collect()
}

fn step(decoder: &Decoder, edit: &EditKind, with_kl: bool) -> f64 {
    let settings = Settings {
        edit: edit.clone(),
        learning_rate: 1e-3,
        weight_decay: 0.0,
        betas: (0.9, 0.999),
        epsilon: 1e-8,
        schedule: Schedule::Constant,
        warmup: 0,
        batch_size: ROWS,
        accumulation: 1,
        clip: None,
        length: Length::Steps(STEPS + 1),
        checkpoint_every: usize::MAX,
        checkpoints: Vec::new(),
        kl: with_kl.then_some(Kl { weight: 10.0, batch_size: KL_ROWS }),
        seeds: Seeds::default(),
    };
    let kept = |count, seed| Kept::all(decoder, rows(count, seed), 0, true, "", &Silent).expect("rows fit");
    let (train, kl) = (kept(22, 1), kept(220, 2));
    let order = Order::new(&settings, train.rows(), kl.rows());
    let data = TrainingData { train: &train, held_out: None, kl: with_kl.then_some(&kl) };
    let run = Run { decoder, data, settings: &settings, order };
    let mut learner = run.learner(Trainable::new(&settings, decoder, 1.0).expect("the edit fits"));
    median((0..=STEPS).map(|step| {
        let start = computed();
        train::step(&mut learner, step).expect("a step");
        computed() - start
    }))
}

/// The bare products of a step's projections and losses, forth and back.
fn products(c: &Config, with_kl: bool) -> f64 {
    let random = |rows: usize, columns: usize| {
        Tensor::rand(-1f32, 1f32, (rows, columns), &Device::Cpu).expect("numbers")
    };
    let weights = Projection::ALL.map(|p| c.projection_size(p)).map(|(input, output)| random(output, input));
    let unembedding = random(c.vocab_size, c.hidden_size);
    let mut passes = vec![(ROWS * TOKENS, ROWS * 2, 1)];
    if with_kl {
        passes.push((KL_ROWS * TOKENS, KL_ROWS * TOKENS, 2));
    }
    let forth_and_back = |tokens: usize, w: &Tensor| {
        let x = random(tokens, w.dims()[1]);
        let forth = Linear { weight: w.clone(), bias: None };
        let back = Linear { weight: w.t().and_then(|w| w.contiguous()).expect("a matrix"), bias: None };
        let start = computed();
        let y = ops::linear(&x, &forth).expect("a product");
        ops::linear(&y, &back).expect("a product");
        computed() - start
    };
    median((0..=STEPS).map(|_| {
        let mut seconds = 0.0;
        for &(tokens, predicting, heads) in &passes {
            for _ in 0..c.layers {
                seconds += weights.iter().map(|w| forth_and_back(tokens, w)).sum::<f64>();
            }
            for _ in 0..heads {
                seconds += forth_and_back(predicting, &unembedding);
            }
        }
        seconds
    }))
}

/// The median in milliseconds, without the first, which warms up.
fn median(seconds: impl Iterator<Item = f64>) -> f64 {
    let mut seconds: Vec<f64> = seconds.skip(1).collect();
    seconds.sort_by(f64::total_cmp);
    1e3 * seconds[seconds.len() / 2]
}

/// Seconds that this thread has computed: other programs do not count.
fn computed() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}
