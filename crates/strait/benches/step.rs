//! A training step of a mid-layer steering vector on SmolLM2 (batch 4 x 128, f32), beside its floor.
//!
//! `STRAIT_MODELS=DIR RAYON_NUM_THREADS=2 cargo bench --bench step`, with `smollm2.gguf` in DIR; PyTorch's figure for
//! the same step comes from `scripts/bench/step.py DIR`.

use std::{path::Path, time::Instant};

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use strait::{
    objective::{Kept, Row},
    train::{self, EditKind, Length, Order, Run, Schedule, Seeds, Settings, Trainable, TrainingData},
};
use strait_model::{
    Model, Precision,
    progress::Silent,
    source::{Located, Road},
};

const BATCH: usize = 4;
const TOKENS: usize = 128;
const STEPS: usize = 7;

fn main() {
    let Some(models) = std::env::var_os("STRAIT_MODELS") else {
        println!("skipped: STRAIT_MODELS is not set");
        return;
    };
    let path = Path::new(&models).join("smollm2.gguf");
    let located = Located { name: "smollm2".into(), path, road: Road::Path, revision: None };
    let model = Model::load(&located, &Device::Cpu, Precision::F32).expect("the model loads");
    let config = model.config();
    let middle = config.layers / 2;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let rows: Vec<Row> = (0..BATCH)
        .map(|_| {
            let ids = (0..TOKENS).map(|_| rng.random_range(0..config.vocab_size as u32)).collect();
            let all_but_first = 1..TOKENS;
            Row { ids, responses: vec![all_but_first] }
        })
        .collect();
    println!("batch {BATCH} x {TOKENS}, {} threads; seconds a step", rayon::current_num_threads());
    println!("matrix products of the whole model alone  {:.3}", skeleton(&model, 0, middle + 1));
    println!("whole model every step                    {:.3}", step(&model, &rows, 0, middle));
    println!("matrix products above the vector alone    {:.3}", skeleton(&model, middle + 1, middle + 1));
    println!("blocks below the vector kept              {:.3}", step(&model, &rows, middle + 1, middle));
}

/// Median seconds of a step with the stream kept at `point`.
fn step(model: &Model, rows: &[Row], point: usize, layer: usize) -> f64 {
    let settings = Settings {
        edit: EditKind::Steering { layer: layer as i32 },
        learning_rate: 1e-3,
        weight_decay: 0.0,
        betas: (0.9, 0.999),
        epsilon: 1e-8,
        schedule: Schedule::Constant,
        warmup: 0,
        batch_size: BATCH,
        accumulation: 1,
        clip: None,
        length: Length::Steps(STEPS + 1),
        checkpoint_every: usize::MAX,
        checkpoints: Vec::new(),
        kl: None,
        seeds: Seeds::default(),
    };
    let kept = Kept::all(&model.decoder, rows.to_vec(), point, false, "", &Silent).expect("rows fit");
    let data = TrainingData { train: &kept, held_out: None, kl: None };
    let order = Order::new(&settings, kept.rows(), &[]);
    let run = Run { decoder: &model.decoder, data, settings: &settings, order };
    let mut learner = run.learner(Trainable::new(&settings, &model.decoder, 1.0).expect("the edit fits"));
    median((0..=STEPS).map(|step| {
        let start = Instant::now();
        train::step(&mut learner, step).expect("a step");
        start.elapsed().as_secs_f64()
    }))
}

/// Median seconds of the bare matrix products of a step: forward from block `from` on and backward above block
/// `backward_from`, logits and their gradient for every token.
fn skeleton(model: &Model, from: usize, backward_from: usize) -> f64 {
    let c = model.config();
    let n = BATCH * TOKENS;
    let random = |rows: usize, columns: usize| {
        Tensor::rand(-1f32, 1f32, (rows, columns), &Device::Cpu).expect("numbers")
    };
    let products: Vec<(Tensor, Tensor)> = strait_model::edit::Projection::ALL
        .into_iter()
        .map(|p| {
            let (input, output) = c.projection_size(p);
            (random(n, input), random(output, input))
        })
        .collect();
    let (hidden, unembedding) = (random(n, c.hidden_size), random(c.vocab_size, c.hidden_size));
    let logits = random(n, c.vocab_size);
    median((0..=STEPS).map(|_| {
        let start = Instant::now();
        for block in from..c.layers {
            for (x, w) in &products {
                let y = x.matmul(&w.t().expect("a matrix")).expect("a product");
                if block >= backward_from {
                    y.matmul(w).expect("a product");
                }
            }
        }
        hidden.matmul(&unembedding.t().expect("a matrix")).expect("a product");
        logits.matmul(&unembedding).expect("a product");
        start.elapsed().as_secs_f64()
    }))
}

/// The median without the first, which warms up.
fn median(seconds: impl Iterator<Item = f64>) -> f64 {
    let mut seconds: Vec<f64> = seconds.skip(1).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
