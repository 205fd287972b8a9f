//! Training gives the same bits for any number of threads.

use candle_core::{Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use strait::{
    objective::{Kept, Row},
    train::{
        EditKind, Keeping, Kl, Length, Order, Run, Schedule, Seeds, Settings, SolutionFolder, Trainable,
        TrainingData,
    },
};
use strait_model::{
    Config, Decoder, Precision,
    config::{Activation, Architecture, LayerKind, Rope, RopeScaling},
    decoder::Packed,
    edit::Projection,
    ops::Loss,
    progress::Silent,
};

/// Sizes of a decoder and of the rows that it reads.
#[derive(Clone, Copy)]
struct Size {
    width: usize,
    vocab: usize,
    rows: usize,
    tokens: usize,
}

/// One as small as the world's, and one whose products are split among threads.
const SIZES: [Size; 2] = [
    Size { width: 32, vocab: 100, rows: 3, tokens: 9 },
    Size { width: 192, vocab: 2000, rows: 6, tokens: 50 },
];

fn config(size: Size) -> Config {
    Config {
        architecture: Architecture::Llama,
        layers: 2,
        hidden_size: size.width,
        intermediate_size: 2 * size.width,
        heads: 4,
        kv_heads: 2,
        head_dim: size.width / 4,
        vocab_size: size.vocab,
        context_length: 64,
        norm_eps: 1e-5,
        activation: Activation::Silu,
        qkv_bias: true,
        qk_norm: true,
        post_norms: false,
        embedding_scale: 1.0,
        attention_scale: 0.25,
        attention_softcap: None,
        logit_softcap: None,
        rope: Rope { base: 10_000.0, scaling: RopeScaling::None },
        local_rope: None,
        layer_kinds: vec![LayerKind::Full; 2],
        sliding_window: None,
        tied_embeddings: false,
    }
}

fn decoder(size: Size, mut tensor: impl FnMut(Tensor) -> Tensor) -> Decoder {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let random = |_: &str, shape: &[usize]| {
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-0.2..0.2)).collect();
        Ok(tensor(Tensor::from_vec(numbers, shape, &Device::Cpu)?))
    };
    Decoder::from_tensors(config(size), Precision::F32, random).unwrap()
}

fn rows(size: Size) -> Vec<Row> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let row = |_| {
        let ids = (0..size.tokens).map(|_| rng.random_range(0..size.vocab as u32)).collect();
        Row { ids, responses: std::iter::once(2..size.tokens).collect() }
    };
    (0..2 * size.rows).map(row).collect()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// Holds that `f` gives the same with 1, 2 and 3 threads.
fn assert_same<R: PartialEq + Send>(what: &str, f: impl Fn() -> R + Sync) {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(&f)
    };
    let alone = with(1);
    for threads in [2, 3] {
        assert!(with(threads) == alone, "{what} differs with {threads} threads");
    }
}

/// The bits of an edit after some steps, and of all that was recorded on the way.
fn trained(size: Size, edit: &EditKind) -> (Vec<Vec<u32>>, Vec<[u64; 4]>) {
    const STEPS: usize = 2;
    let decoder = decoder(size, |tensor| tensor);
    let settings = Settings {
        edit: edit.clone(),
        learning_rate: 0.01,
        weight_decay: 0.01,
        betas: (0.9, 0.999),
        epsilon: 1e-8,
        schedule: Schedule::Linear,
        warmup: 1,
        batch_size: size.rows,
        accumulation: 1,
        clip: Some(1.0),
        length: Length::Steps(STEPS),
        checkpoint_every: 2,
        checkpoints: Vec::new(),
        ablated: false,
        stop: None,
        kl: Some(Kl { weight: 1.0, batch_size: size.rows }),
        seeds: Seeds::default(),
    };
    let kept = Kept::all(&decoder, rows(size), 0, true, "", &Silent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = Run {
        decoder: &decoder,
        data: TrainingData { train: &kept, held_out: Some(&kept), kl: Some(&kept), outside: None },
        settings: &settings,
        order: Order::new(&settings, kept.rows(), kept.rows()),
    };
    let unit = kept.median_norm(&decoder, &kept.every_row()).unwrap();
    let trainable = Trainable::new(&settings, &decoder, unit).unwrap();
    let folder = SolutionFolder::new(folder.path());
    let keeping = Keeping { folder: &folder, fingerprint: "" };
    let trained = run.train(trainable, keeping, &serde_json::Value::Null, &Silent).unwrap();
    let recorded = trained.history.iter().map(|r| [r.loss, r.kl.unwrap(), r.gradient_norm, r.norm]);
    let recorded = recorded.map(|numbers| numbers.map(f64::to_bits)).collect();
    (trained.edit.tensors().iter().map(|(_, tensor)| bits(tensor)).collect(), recorded)
}

#[test]
fn an_edit_is_trained_to_the_same_bits() {
    let lora = |layers| {
        let projections = Projection::ALL.to_vec();
        EditKind::Lora { layers, projections, rank: 4, alpha: 4.0, rslora: true }
    };
    for size in SIZES {
        for edit in [EditKind::Steering { layer: -1 }, lora(vec![-1]), lora(vec![0, 1]), EditKind::Full] {
            assert_same(&format!("{} at width {}", edit.words(), size.width), || trained(size, &edit));
        }
    }
}

#[test]
fn weights_get_the_same_bits_of_gradients() {
    for size in SIZES {
        assert_same(&format!("the gradient at width {}", size.width), || {
            let mut vars = Vec::new();
            let decoder = decoder(size, |tensor| {
                let var = Var::from_tensor(&tensor).unwrap();
                vars.push(var.clone());
                var.as_tensor().clone()
            });
            let rows = rows(size);
            let batch = Packed::new(rows.iter().map(|row| row.ids.as_slice()));
            let stream = decoder.run(decoder.embed(&batch).unwrap(), 0..2, &batch, None).unwrap();
            let hidden = decoder.finish(stream, None).unwrap();
            let weights = vec![1.0 / batch.tokens() as f32; batch.tokens()];
            let unembedding = decoder.unembedding(None).unwrap();
            let loss = Loss::CrossEntropy(batch.ids());
            let (_, gradients) = loss.backward(&hidden, &unembedding, &weights).unwrap();
            vars.iter().map(|var| bits(&gradients.get(var).unwrap())).collect::<Vec<_>>()
        });
    }
}
