//! Decoding against the full pass, and answers that are the same however they are drawn.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use candle_core::Tensor;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use strait_model::{
    Decoder, Edit, Error, Model, Precision,
    decoder::{Cache, Packed, Piece, Reading, Readout, Sequence},
    edit::{Ablation, Adapter, Full, Lora, Projection, Site, SteeringVector},
    progress::Silent,
    sample::{End, Engine, Request, Room, Sampling, sample},
    source::locate,
};

use crate::common::device;

const ARCHITECTURES: [&str; 6] = ["llama", "llama3", "qwen2", "qwen3", "gemma2", "gemma3"];

fn tiny(name: &str, precision: Precision) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny").join(name);
    Model::load(&locate(folder.to_str().unwrap(), &Silent).unwrap(), &device(), precision).unwrap()
}

/// Every architecture in every precision, with its model.
fn all(architectures: &[&'static str]) -> impl Iterator<Item = (String, Model)> {
    let each =
        |&name: &&'static str| Precision::ALL.map(|p| (format!("{name} in {}", p.name()), tiny(name, p)));
    architectures.iter().flat_map(each)
}

/// Every kind of edit, and several at once.
fn edits(decoder: &Decoder) -> Vec<Option<Arc<Edit>>> {
    let config = decoder.config();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut random = |shape: &[usize], most: f32| {
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-most..most)).collect();
        Tensor::from_vec(numbers, shape, decoder.device()).unwrap()
    };
    let layers = config.layers as i32;
    let steering =
        Edit::composed([-1, layers / 2, layers - 1].map(|layer| {
            Edit::Steering(SteeringVector { layer, vector: random(&[config.hidden_size], 0.3) })
        }));
    let sites = (-1..layers).flat_map(|layer| Site::of_layer(layer, &Projection::ALL));
    let mut lora = |sites: Vec<Site>| {
        let adapters = sites.into_iter().map(|site| {
            let (input, output) = site.size(config);
            Adapter { site, a: random(&[3, input], 0.3), b: random(&[output, 3], 0.3) }
        });
        Edit::Lora(Lora { adapters: adapters.collect(), rank: 3, alpha: 3.0, rslora: false, factor: 1.0 })
    };
    let (blocks, ends) = (lora(sites.collect()), lora(vec![Site::Lookup, Site::Head]));
    let direction = random(&[config.hidden_size], 1.0);
    let ablation = Edit::Ablation(Ablation { layer: 1, direction, factor: 0.8 });
    let deltas = decoder.weights().iter().map(|(name, weight)| (name.clone(), random(&weight.dims(), 0.05)));
    let full = Edit::Full(Full::new(decoder.fingerprint().unwrap().into(), deltas.collect()));
    let all =
        Edit::composed([steering.clone(), blocks.clone(), full.clone(), ends.clone(), ablation.clone()]);
    let twice = steering.scaled(2.0).unwrap();
    [steering, twice, blocks, ends, ablation, full, all]
        .into_iter()
        .map(|edit| Some(Arc::new(edit)))
        .chain([None])
        .collect()
}

fn numbers(seed: u64, count: usize, below: usize) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(0..below as u32)).collect()
}

#[test]
fn every_step_is_the_full_pass_under_every_edit_in_one_batch() {
    for (architecture, model) in all(&ARCHITECTURES) {
        let decoder = &model.decoder;
        let edits = edits(decoder);
        // A sum that rounds otherwise can take a number to the next bf16.
        let tolerance = if decoder.precision() == Precision::F32 { 2e-5 } else { 2e-2 };
        // Longer than two pages, and than the windows.
        let ids = numbers(1, 2 * Cache::PAGE + 7, decoder.config().vocab_size);
        let expected: Vec<Vec<Vec<f32>>> = edits
            .iter()
            .map(|edit| decoder.logits(&Packed::new([&ids[..]]), edit.as_deref()).unwrap().to_vec2().unwrap())
            .collect();
        let mut cache = decoder.cache().unwrap();
        let sequences: Vec<Sequence> = edits.iter().map(|_| cache.begin()).collect();
        // A prompt that ends within a page, and every token after it by itself.
        let prompt = Cache::PAGE + 3;
        let pieces = std::iter::once(0..prompt).chain((prompt..ids.len()).map(|at| at..at + 1));
        for tokens in pieces {
            let pieces: Vec<Piece> = sequences
                .iter()
                .zip(&edits)
                .map(|(&sequence, edit)| Piece { sequence, ids: &ids[tokens.clone()], edit: edit.as_deref() })
                .collect();
            let found = decoder.extend(&mut cache, &pieces).unwrap();
            for (which, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let expected = &expected[tokens.end - 1];
                let largest = expected.iter().fold(0f32, |most, l| most.max(l.abs()));
                for (found, expected) in found.iter().zip(expected) {
                    let difference = (found - expected).abs() / largest;
                    assert!(difference < tolerance, "{architecture}, edit {which}, {tokens:?}: {difference}");
                }
            }
        }
    }
}

#[test]
fn a_step_has_the_bits_that_it_has_alone() {
    for (architecture, model) in all(&ARCHITECTURES) {
        let decoder = &model.decoder;
        let edits = edits(decoder);
        let prompts: Vec<Vec<u32>> =
            (0..40).map(|n| numbers(n, 1 + n as usize, decoder.config().vocab_size)).collect();
        let steps = |chosen: &[usize]| -> Vec<Vec<Vec<f32>>> {
            let mut cache = decoder.cache().unwrap();
            let edit = |which: usize| edits[which % edits.len()].as_deref();
            let sequences: Vec<Sequence> = chosen.iter().map(|_| cache.begin()).collect();
            let mut pieces = |ids: &dyn Fn(usize) -> Vec<u32>| {
                let ids: Vec<Vec<u32>> = chosen.iter().map(|&which| ids(which)).collect();
                let pieces: Vec<Piece> = (0..chosen.len())
                    .map(|at| Piece { sequence: sequences[at], ids: &ids[at], edit: edit(chosen[at]) })
                    .collect();
                decoder.extend(&mut cache, &pieces).unwrap()
            };
            vec![
                pieces(&|which| prompts[which].clone()),
                pieces(&|_| vec![3]),
                pieces(&|which| vec![which as u32]),
            ]
        };
        let together = steps(&(0..prompts.len()).collect::<Vec<_>>());
        for which in [0, 5, 13, 38] {
            let alone = steps(&[which]);
            for (alone, together) in alone.iter().zip(&together) {
                assert!(alone[0] == together[which], "{architecture}, {which}");
            }
        }
    }
}

/// The tokens of every answer, by the number of its prompt, of its edit and of its sample.
type Answers = BTreeMap<(usize, usize, usize), Vec<u32>>;

/// Answers three prompts under all edits, in this order of requests.
fn answers(model: &Model, room: Room, order: impl Fn(&mut Vec<(usize, usize, usize)>)) -> Answers {
    let edits = edits(&model.decoder);
    let mut engine = Engine::new(model, room).unwrap();
    let mut asked: Vec<(usize, usize, usize)> = Vec::new();
    for prompt in 0..3 {
        for edit in 0..edits.len() {
            asked.extend((0..4).map(|sample| (prompt, edit, sample)));
        }
    }
    order(&mut asked);
    let sampling = Sampling { max_tokens: 20, seed: 3, ..Sampling::default() };
    for &(prompt, edit, sample) in &asked {
        let prompt = numbers(prompt as u64, 5 + 13 * prompt, model.config().vocab_size);
        let request = Request::new(prompt, vec![sample], sampling);
        engine.add(Request { edit: edits[edit].clone(), ..request }).unwrap();
    }
    let mut answers = Answers::new();
    while !engine.is_idle() {
        for drawn in engine.step().unwrap() {
            answers.entry(asked[drawn.request]).or_default().push(drawn.id);
        }
    }
    answers
}

#[test]
fn answers_do_not_depend_on_what_is_asked_beside_them() {
    for (architecture, model) in all(&["llama", "gemma2", "gemma3"]) {
        let all = answers(&model, Room::default(), |_| {});
        assert_eq!(all.len(), 3 * 8 * 4);
        let different: BTreeSet<_> = all.values().collect();
        assert!(different.len() > 60, "{architecture}: {}", different.len());
        assert_eq!(answers(&model, Room::default(), |asked| asked.reverse()), all, "{architecture}");
        for room in [Room { bytes: 0, ..Room::default() }, Room { answers: 7, ..Room::default() }] {
            assert_eq!(answers(&model, room, |_| {}), all, "{architecture}, {room:?}");
        }
        let few = answers(&model, Room::default(), |asked| asked.retain(|(_, _, sample)| sample % 2 == 1));
        assert_eq!(few.len(), 48);
        assert!(few.iter().all(|(asked, answer)| all[asked] == *answer), "{architecture}");
    }
}

#[test]
fn samples_share_a_prompt_and_their_pages_are_used_again() {
    let model = tiny("llama", Precision::F32);
    let prompt = numbers(1, 2 * Cache::PAGE + 3, model.config().vocab_size);
    let mut cache = model.decoder.cache().unwrap();
    let whole = cache.begin();
    model.decoder.extend(&mut cache, &[Piece { sequence: whole, ids: &prompt, edit: None }]).unwrap();
    assert_eq!((cache.pages(), cache.length(whole)), (3, prompt.len()));
    let forks: Vec<Sequence> = (0..5).map(|_| cache.fork(whole)).collect();
    assert_eq!((cache.pages(), cache.pages_to_come(forks[0], prompt.len() + 1)), (3, 1));
    for &sequence in &forks {
        model.decoder.extend(&mut cache, &[Piece { sequence, ids: &[7], edit: None }]).unwrap();
    }
    // Two pages are of all, the third became each one's own.
    assert_eq!((cache.pages(), cache.length(whole)), (8, prompt.len()));
    for sequence in forks {
        cache.end(sequence);
    }
    assert_eq!(cache.pages(), 3);
    cache.end(whole);
    assert_eq!(cache.pages(), 0);
}

#[test]
fn many_samples_are_those_of_one_prompt_each() {
    let model = tiny("qwen2", Precision::F32);
    let prompt = numbers(9, 11, model.config().vocab_size);
    let sampling = Sampling { max_tokens: 12, seed: 4, temperature: 0.8, top_p: 0.95, top_k: Some(50) };
    let mut engine = Engine::new(&model, Room { answers: 3, ..Room::default() }).unwrap();
    engine.add(Request::new(prompt.clone(), (0..7).collect(), sampling)).unwrap();
    let mut together = vec![Vec::new(); 7];
    while !engine.is_idle() {
        engine.step().unwrap().into_iter().for_each(|drawn| together[drawn.sample].push(drawn.id));
    }
    for (which, expected) in together.iter().enumerate() {
        let mut engine = Engine::new(&model, Room::default()).unwrap();
        engine.add(Request::new(prompt.clone(), vec![which], sampling)).unwrap();
        let mut alone = Vec::new();
        while !engine.is_idle() {
            alone.extend(engine.step().unwrap().into_iter().map(|drawn| drawn.id));
        }
        assert_eq!(alone, *expected);
    }
    // Of one seed alone, whatever the prompt, are the streams of `sample`.
    let drawn = |count| sample(&model, &prompt, None, count, &sampling, |_, _| true).unwrap();
    assert_eq!(drawn(3), drawn(7)[..3]);
    assert_ne!(drawn(1)[0].ids, together[0]);
}

/// The tokens of one greedy answer, and how it ended.
fn greedy(model: &Model, change: impl Fn(&mut Request)) -> (Vec<u32>, End) {
    let prompt = model.tokenizer.encode("Why does the kettle whistle?", true).unwrap();
    let sampling = Sampling { temperature: 0.0, max_tokens: 30, ..Sampling::default() };
    let mut request = Request::new(prompt, vec![0], sampling);
    change(&mut request);
    let mut engine = Engine::new(model, Room::default()).unwrap();
    engine.add(request).unwrap();
    let mut ids = Vec::new();
    loop {
        for drawn in engine.step().unwrap() {
            ids.push(drawn.id);
            if let Some(end) = drawn.end {
                return (ids, end);
            }
        }
    }
}

#[test]
fn stops_end_answers() {
    let model = tiny("llama", Precision::F32);
    let (ids, end) = greedy(&model, |_| {});
    assert_eq!((ids.len(), end), (30, End::Limit));
    let stop = ids[9];
    let first = ids.iter().position(|&id| id == stop).unwrap();
    let (found, end) = greedy(&model, |request| request.stop_tokens = vec![stop]);
    assert_eq!((&found[..], end), (&ids[..=first], End::Token));

    let text = model.tokenizer.decode(&ids, true).unwrap();
    let stop: String = text.chars().skip(6).take(3).collect();
    let (found, end) = greedy(&model, |request| request.stop_texts = vec!["not there".into(), stop.clone()]);
    assert!(ids.starts_with(&found) && found.len() < ids.len());
    assert_eq!(end, End::Text(text[..text.find(&stop).unwrap()].into()));
}

#[test]
fn logprobs_are_those_of_the_full_pass() {
    let model = tiny("gemma2", Precision::F32);
    let prompt = numbers(2, 9, model.config().vocab_size);
    let mut request =
        Request::new(prompt.clone(), vec![0], Sampling { temperature: 0.5, ..Sampling::default() });
    request.logprobs = Some(20);
    request.sampling.max_tokens = 3;
    let mut engine = Engine::new(&model, Room::default()).unwrap();
    engine.add(request).unwrap();
    let mut ids = prompt;
    while !engine.is_idle() {
        for drawn in engine.step().unwrap() {
            let logits = model.decoder.logits(&Packed::new([&ids[..]]), None).unwrap();
            let last: Vec<f32> = logits.get(ids.len() - 1).unwrap().to_vec1().unwrap();
            let total: f32 = last.iter().map(|l| l.exp()).sum();
            let logprobs = drawn.logprobs.unwrap();
            let near = |id: u32, found: f32| assert!((last[id as usize] - total.ln() - found).abs() < 1e-4);
            near(drawn.id, logprobs.drawn);
            assert_eq!(logprobs.top.len(), 20);
            assert!(logprobs.top.windows(2).all(|pair| pair[0].1 >= pair[1].1));
            logprobs.top.iter().for_each(|&(id, found)| near(id, found));
            ids.push(drawn.id);
        }
    }
}

#[test]
fn a_prompt_that_cannot_be_answered_is_refused() {
    let model = tiny("llama", Precision::F32);
    let mut engine = Engine::new(&model, Room::default()).unwrap();
    let add = |engine: &mut Engine, tokens: usize| {
        engine.add(Request::new(vec![1; tokens], vec![0], Sampling::default()))
    };
    let context = model.config().context_length;
    assert!(matches!(add(&mut engine, 0), Err(Error::NoLogits)));
    assert!(matches!(add(&mut engine, context), Err(Error::TooLong { .. })));
    add(&mut engine, context - 1).unwrap();
    let drawn = engine.step().unwrap();
    assert_eq!(drawn.len(), 1);
    assert!(drawn[0].end.is_some() && engine.is_idle());
    let none = sample(&model, &vec![1; context], None, 2, &Sampling::default(), |_, _| true).unwrap();
    assert!(none.iter().all(|answer| answer.ids.is_empty() && !answer.finished));
}

// Readings.

/// Readings of all sorts: at the embeddings, in the middle, at the last block, at several layers.
fn readings(decoder: &Decoder) -> Vec<Reading> {
    let (width, layers) = (decoder.config().hidden_size, decoder.config().layers as i32);
    let vector = |layer: i32| {
        let numbers: Vec<f32> = (0..width).map(|i| (i as f32 + layer as f32).cos()).collect();
        SteeringVector { layer, vector: Tensor::from_vec(numbers, width, decoder.device()).unwrap() }
    };
    [vec![-1], vec![1], vec![layers - 1], vec![-1, layers / 2, 0]]
        .map(|layers| Reading { vectors: layers.into_iter().map(vector).collect(), offset: 0.25 })
        .into()
}

#[test]
fn readings_of_drawn_tokens_are_those_of_a_pass_over_all() {
    for (name, model) in all(&["llama", "gemma3"]) {
        let readout = Readout::new(&model.decoder, &readings(&model.decoder)).unwrap();
        for edit in edits(&model.decoder) {
            let prompt = model.tokenizer.encode("Why does the kettle whistle?", true).unwrap();
            let mut engine = Engine::new(&model, Room::default()).unwrap().reading(Some(readout.clone()));
            let sampling = Sampling { max_tokens: 7, ..Sampling::default() };
            engine
                .add(Request { edit: edit.clone(), ..Request::new(prompt.clone(), vec![0, 1], sampling) })
                .unwrap();
            let mut drawn: [Vec<_>; 2] = Default::default();
            while !engine.is_idle() {
                engine.step().unwrap().into_iter().for_each(|token| drawn[token.sample].push(token));
            }
            for answer in drawn {
                let ids: Vec<u32> =
                    prompt.iter().copied().chain(answer.iter().map(|token| token.id)).collect();
                let batch = Packed::new([ids.as_slice()]);
                let streams =
                    model.decoder.residuals_after(&batch, readout.layers(), edit.as_deref()).unwrap();
                let all: Vec<Vec<f32>> = readout.of(&streams).unwrap().to_vec2().unwrap();
                for (token, expected) in answer.iter().zip(&all[prompt.len()..]) {
                    if token.end.is_some() {
                        assert!(token.readings.is_empty());
                        continue;
                    }
                    for (found, expected) in token.readings.iter().zip(expected) {
                        let most = if name.ends_with("bf16") { 5e-2 } else { 1e-4 };
                        assert!(
                            (found - expected).abs() < most * expected.abs().max(10.0),
                            "{name}: {found} for {expected}"
                        );
                    }
                    assert_eq!(token.readings.len(), 4);
                }
            }
        }
    }
}

#[test]
fn readings_change_no_draw() {
    let model = tiny("llama", Precision::F32);
    let draw = |readout: Option<Readout>| {
        let mut engine = Engine::new(&model, Room::default()).unwrap().reading(readout);
        let prompt = model.tokenizer.encode("What is a mast?", true).unwrap();
        let sampling = Sampling { max_tokens: 9, ..Sampling::default() };
        engine.add(Request { logprobs: Some(0), ..Request::new(prompt, vec![0], sampling) }).unwrap();
        let mut drawn = Vec::new();
        while !engine.is_idle() {
            drawn.extend(engine.step().unwrap().into_iter().map(|token| (token.id, token.logprobs)));
        }
        drawn
    };
    let readout = Readout::new(&model.decoder, &readings(&model.decoder)).unwrap();
    assert_eq!(draw(Some(readout)), draw(None));
}

#[test]
fn readings_that_do_not_fit_are_refused() {
    let model = tiny("llama", Precision::F32);
    let width = model.config().hidden_size;
    let refused = |layer: i32, numbers: Vec<f32>| {
        let count = numbers.len();
        let vector = Tensor::from_vec(numbers, count, model.decoder.device()).unwrap();
        let reading = Reading { vectors: vec![SteeringVector { layer, vector }], offset: 0.0 };
        Readout::new(&model.decoder, &[reading]).err().unwrap()
    };
    for (layer, numbers) in [
        (99, vec![1.0; width]),
        (-2, vec![1.0; width]),
        (0, vec![1.0; width + 1]),
        (0, vec![f32::NAN; width]),
    ] {
        assert!(refused(layer, numbers).hint().is_some());
    }
    assert!(Readout::new(&model.decoder, &[]).is_err());
    let batch = Packed::new([&[1, 2, 3][..]]);
    for layers in [vec![1, 0], vec![99], vec![-2]] {
        assert!(model.decoder.residuals_after(&batch, layers, None).is_err());
    }
}
