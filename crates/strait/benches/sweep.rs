//! The time of a sweep of scales and noise on SmolLM2, beside as many bare passes through the blocks above the edit.
//!
//! `STRAIT_MODELS=DIR RAYON_NUM_THREADS=2 cargo bench -p strait --bench sweep`, with `smollm2.gguf` in DIR; on all training
//! rows of `data/technical` that ROWS (default 25) lets through.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use candle_core::{Device, Tensor};
use strait::{
    data::{Chat, RowSource, read_chats},
    measure::{Efficiency, Solution, Stability},
    objective::{Kept, Row},
};
use strait_model::{
    Edit, Model, Precision,
    decoder::Packed,
    edit::SteeringVector,
    progress::{Progress, Silent, Task, Unit},
    source::{Located, Road},
};

const FACTORS: [f64; 9] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0];
const EPSILONS: [f64; 8] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0];
const SEEDS: usize = 10;
/// Bare passes timed, from which the time of one is taken.
const BARE: usize = 5;

fn main() {
    let Some(models) = std::env::var_os("STRAIT_MODELS") else {
        println!("skipped: STRAIT_MODELS is not set");
        return;
    };
    let path = Path::new(&models).join("smollm2.gguf");
    let located = Located { name: "smollm2".into(), path, road: Road::Path, revision: None };
    let model = Model::load(&located, &Device::Cpu, Precision::F32).expect("the model loads");
    let rows = rows(&model);
    let layer = model.config().layers / 2;
    let edit = steering(&model, layer);
    let solution = [Solution { name: "vector".into(), edit }];
    let (tokens, responses) = (
        rows.iter().map(|r| r.ids.len()).sum::<usize>(),
        rows.iter().map(Row::response_tokens).sum::<usize>(),
    );
    println!(
        "{} rows, {tokens} tokens, {responses} of them responses; {} threads",
        rows.len(),
        rayon::current_num_threads()
    );

    let mut kept = Kept::all(&model.decoder, rows, layer + 1, false, "", &Silent).expect("rows fit");
    let blocks = seconds(BARE, || bare(&model, &kept, layer + 1, false));
    let logits = seconds(BARE, || bare(&model, &kept, layer + 1, true));

    let scales = Efficiency { factors: FACTORS.to_vec(), norms: 1, mean_norms: Vec::new() };
    let noise = Stability { epsilons: EPSILONS.to_vec(), seeds: SEEDS };
    let read = Counter::default();
    let sweep = seconds(1, || {
        scales.read(&model.decoder, &solution, &mut kept, 0, &read).expect("a table");
        noise.read(&model.decoder, &solution, &mut kept, 0, &read).expect("a table");
    });
    // The optimum is refined by as many passes as it takes, so they are counted.
    let variants = read.0.load(Ordering::Relaxed) as f64 / kept.rows().len() as f64;
    let a_variant = sweep / variants;
    println!("a bare pass through the blocks above         {blocks:.3} s");
    println!("the same with logits of response tokens      {logits:.3} s");
    println!("a variant, of {variants}                           {a_variant:.3} s");
    println!("over the bare pass {:.2}, over that with logits {:.2}", a_variant / blocks, a_variant / logits);
}

/// Counts the rows that are read.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicU64>);

impl Progress for Counter {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) -> Box<dyn Task> {
        Box::new(self.clone())
    }
    fn note(&self, _: &str) {}
}

impl Task for Counter {
    fn advance(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    fn say(&self, _: &str) {}
}

fn rows(model: &Model) -> Vec<Row> {
    let most = std::env::var("ROWS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/technical/vehicles-train.technical.jsonl");
    let chats = read_chats(&RowSource::File(path)).expect("rows");
    let row = |chat: &Chat| Row::from_chat(model, &chat.conversation, &chat.place).expect("a row");
    chats.iter().take(most).map(row).collect()
}

/// A vector a quarter as long as the residual stream is there, so that losses are those of a sweep.
fn steering(model: &Model, layer: usize) -> Edit {
    let width = model.config().hidden_size;
    let vector = Tensor::full(40.0 / (width as f32).sqrt(), width, &Device::Cpu).expect("a vector");
    Edit::Steering(SteeringVector { layer: layer as i32, vector })
}

/// All rows once through the blocks from `point` on, and nothing else but, where asked for, logits of response tokens.
fn bare(model: &Model, kept: &Kept, point: usize, logits: bool) {
    let decoder = &model.decoder;
    let layers = model.config().layers;
    for batch in kept.batches_by_tokens() {
        let rows: Vec<&Row> = batch.iter().map(|&row| &kept.rows()[row]).collect();
        let packed = Packed::sharing(rows.iter().map(|row| row.ids.as_slice()));
        let stream = Tensor::ones(
            (packed.tokens(), model.config().hidden_size),
            candle_core::DType::F32,
            &Device::Cpu,
        );
        let stream =
            decoder.run(stream.expect("a stream"), point..layers, &packed, None, None).expect("a pass");
        if logits {
            let responses: usize = rows.iter().map(|row| row.response_tokens()).sum();
            let hidden = decoder.finish(stream.narrow(0, 0, responses).expect("rows"), None).expect("a norm");
            decoder.unembedding(None).expect("unembedding").logits(&hidden).expect("logits");
        }
    }
}

/// Seconds of `work`, the mean of so many times after one that warms up where there are several.
fn seconds(times: usize, mut work: impl FnMut()) -> f64 {
    if times > 1 {
        work();
    }
    let start = Instant::now();
    (0..times).for_each(|_| work());
    start.elapsed().as_secs_f64() / times as f64
}
