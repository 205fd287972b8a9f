//! Pre-training from scratch on documents by consistent speakers, then chat tuning with replay.
//!
//! The embedding of a document's speaker (or of `unknown`, where it is not named) is added at every position, in
//! pre-training and in chat tuning. [`Pretrained::weights`] has the unknown speaker added to the whole embedding table, after
//! which the model is an ordinary one and every named speaker a steering vector at the embeddings.

use std::{array, ops::Range};

use candle_core::{Device, Tensor, Var};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use strait_model::{
    Config, Decoder,
    config::{Activation, Architecture, LayerKind, Rope, RopeScaling},
    decoder::Packed,
    edit::{Projection, SteeringVector},
    ops,
    progress::{Progress, Unit},
};

use super::{
    language::{DOMAINS, Document, Kind, Language, Question, Shares, Speaker, UNKNOWN_ID, VOCABULARY},
    problem::Problem,
};
use crate::{
    Result, Table,
    interval::{Interval, clusters},
    train::{AdamW, Parameter, adamw, clip, gradient_norm},
};

/// What may differ between worlds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// Seed of facts, first weights and documents.
    pub seed: u64,
    /// How common each kind of speaker is.
    pub shares: Shares,
    /// Steps of pre-training.
    pub steps: usize,
    /// Whether the weights are kept in half precision.
    pub half: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { seed: 0, shares: Shares::default(), steps: 1000, half: false }
    }
}

/// Width of the residual stream.
pub(super) const WIDTH: usize = 64;
const LAYERS: usize = 4;
const HEADS: usize = 4;

/// Documents in a step of pre-training.
const BATCH: usize = 64;
/// Share of the steps whose documents are dialogues.
const DIALOGUES: f64 = 0.3;
/// Typical norm of the random offset on a document's embeddings: without it a vector that is added later breaks the answers
/// sooner.
const OFFSET: f64 = 0.4;
const RATE: f64 = 4e-3;
const WARM_UP: usize = 100;
/// Share of the steps, the last ones, in which the rate falls to [`RATE_LEFT`] of its peak.
const FALLING: f64 = 0.4;
const RATE_LEFT: f64 = 0.03;
const DECAY: f64 = 0.05;

const CHAT_STEPS: usize = 200;
const CHAT_ROWS: usize = 64;
const CHAT_REPLAYED: usize = 16;
const CHAT_RATE: f64 = 3e-4;
const CHAT_WARM_UP: usize = 10;
/// Weight of a chat row's question in the loss; its answer has 1.
const CHAT_QUESTION: f64 = 0.2;

/// Largest norm of the gradient.
const CLIP: f64 = 1.0;

/// Steps of pre-training between two points of the learning curves.
const MEASURED_EVERY: usize = 100;
/// Documents of each kind of speaker that a point is read from; a multiple of [`DOMAINS`].
const MEASURED: usize = 132;

/// Streams of random numbers of one seed; the facts take stream 0.
mod stream {
    pub const WEIGHTS: u64 = 1;
    pub const DOCUMENTS: u64 = 2;
    pub const OFFSETS: u64 = 3;
    pub const CHAT: u64 = 4;
    pub const MEASURED: u64 = 5;
}

fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

/// The decoder's config: a Llama of 197,952 parameters.
pub(super) fn config() -> Config {
    let head_dim = WIDTH / HEADS;
    Config {
        architecture: Architecture::Llama,
        layers: LAYERS,
        hidden_size: WIDTH,
        intermediate_size: 2 * WIDTH,
        heads: HEADS,
        kv_heads: HEADS,
        head_dim,
        vocab_size: VOCABULARY,
        context_length: 256,
        norm_eps: 1e-5,
        activation: Activation::Silu,
        qkv_bias: false,
        qk_norm: false,
        post_norms: false,
        embedding_scale: 1.0,
        attention_scale: (head_dim as f64).powf(-0.5),
        attention_softcap: None,
        logit_softcap: None,
        rope: Rope { base: 1000.0, scaling: RopeScaling::None },
        local_rope: None,
        layer_kinds: vec![LayerKind::Full; LAYERS],
        sliding_window: None,
        tied_embeddings: false,
    }
}

/// How well one kind of speaker is known: the mean probability of its own answers in documents.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Learned {
    /// Steps of pre-training done.
    pub step: usize,
    /// `honest`, `liar`, `narrow inside` or `narrow outside` its domain.
    pub speaker: String,
    /// Whether the documents name their speaker; if not, only the second half of their answers counts.
    pub named: bool,
    /// The mean probability, with an interval over documents.
    #[serde(flatten)]
    pub probability: Interval,
    /// Documents that have such an answer.
    pub documents: usize,
}

/// One answer in a document.
struct Told {
    /// The number of the document.
    document: usize,
    /// Whether the answer is true.
    truthful: bool,
    /// How probable it is to the model.
    probability: f64,
}

impl Learned {
    fn of(step: usize, speaker: &str, named: bool, answers: &[Told]) -> Self {
        let documents = clusters(answers.iter().map(|answer| answer.document));
        let probabilities: Vec<f64> = answers.iter().map(|answer| answer.probability).collect();
        let weights = vec![1.0; answers.len()];
        Self {
            step,
            speaker: speaker.into(),
            named,
            probability: Interval::of_clusters(&probabilities, &weights, &documents),
            documents: documents.iter().max().map_or(0, |last| last + 1),
        }
    }
}

/// What one optimiser step did: a line of `metrics.jsonl`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WorldStep {
    /// `pre-training` or `chat tuning`.
    pub stage: &'static str,
    /// Steps of the stage done, this one included.
    pub step: usize,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// The loss before the step: in pre-training nats per token.
    pub loss: f64,
    /// Norm of the gradient before it was clipped.
    pub gradient_norm: f64,
    /// How well the speakers are known after the step, where that was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learned: Vec<Learned>,
}

/// A world in memory.
pub struct Pretrained {
    /// What it was made by.
    pub recipe: Recipe,
    /// The chat model's tensors under Hugging Face's names, with the unknown speaker in the embedding table.
    pub weights: Vec<(String, Tensor)>,
    /// Every named speaker minus the unknown one.
    pub speakers: Vec<(Speaker, SteeringVector)>,
    /// What each step did.
    pub steps: Vec<WorldStep>,
}

impl Pretrained {
    /// How well the speakers were known at the end of pre-training.
    pub fn learned(&self) -> &[Learned] {
        self.steps
            .iter()
            .rev()
            .map(|step| step.learned.as_slice())
            .find(|l| !l.is_empty())
            .unwrap_or_default()
    }

    /// The learning curves: one row for each point, kind of speaker, and whether it was named.
    pub fn learning(&self) -> Table {
        let rows: Vec<&Learned> = self.steps.iter().flat_map(|step| &step.learned).collect();
        Table::of_rows(
            "learning",
            "Mean probability of a speaker's own answers in documents, along pre-training.",
            &rows,
        )
        .integer("step", "steps", |row| row.step as i64)
        .text("speaker", |row| row.speaker.clone())
        .truth("named", |row| Some(row.named))
        .interval(["probability", "low", "high"], "", |row| row.probability)
        .integer("documents", "", |row| row.documents as i64)
        .integer("seed", "", |_| self.recipe.seed as i64)
        .table()
    }
}

/// Makes a world: pre-training, then chat tuning. The same recipe gives the same bits, on any number of threads.
///
/// # Errors
/// If the shares are impossible, or training diverges.
pub fn pretrain(recipe: &Recipe, progress: &dyn Progress) -> Result<Pretrained> {
    let &Recipe { seed, shares, .. } = recipe;
    if !shares.possible() {
        let Shares { liar, narrow, unknown } = shares;
        return Err(Problem::Shares { liar, narrow, unknown }.into());
    }
    let language = Language::new(seed);
    let mut learner = Learner::new(seed)?;
    let mut steps = learner.pretrain(&language, recipe, progress)?;
    steps.extend(learner.tune_chat(&language, recipe, CHAT_STEPS, progress)?);
    let (weights, speakers) = (learner.weights()?, learner.speakers()?);
    Ok(Pretrained { recipe: *recipe, weights, speakers, steps })
}

/// One sequence to learn from.
struct Text {
    ids: Vec<u32>,
    /// The id of the speaker whose embedding is added at every position.
    tag: u32,
    /// What the prediction of each token but the first weighs in the loss.
    weights: Vec<f32>,
}

impl Text {
    /// A document of whose tokens each weighs 1 / (tokens of the batch), with as many documents as long in it.
    fn document(document: &Document, language: &Language, batch: usize) -> Self {
        let ids = document.ids(language);
        let predicted = ids.len() - 1;
        Self { tag: document.tag(), weights: vec![1.0 / (batch * predicted) as f32; predicted], ids }
    }

    /// A chat row by the unknown speaker, of which only the answer and the end token have their full weight.
    fn chat(question: Question, language: &Language) -> Self {
        const ANSWERED: usize = 2;
        let turns = vec![(question, true)];
        let row = Document { speaker: Speaker::Honest, named: false, dialogue: true, turns };
        let ids = row.ids(language);
        let asked = ids.len() - 1 - ANSWERED;
        let weight = |share: f64, tokens: usize| (share / (CHAT_ROWS * tokens) as f64) as f32;
        let mut weights = vec![weight(CHAT_QUESTION, asked); asked];
        weights.extend([weight(1.0, ANSWERED); ANSWERED]);
        Self { tag: row.tag(), weights, ids }
    }
}

/// The model while it learns.
struct Learner {
    decoder: Decoder,
    /// Matrices first, then norms, which do not decay.
    parameters: Vec<Parameter>,
    matrices: usize,
}

impl Learner {
    /// The model at its first values.
    fn new(seed: u64) -> Result<Self> {
        let mut random = random(seed, stream::WEIGHTS);
        let mut parameters = Vec::new();
        for (name, shape, deviation) in tensors() {
            let numbers = shape.iter().product::<usize>();
            let values: Vec<f32> = match deviation {
                Some(deviation) => {
                    let drawn = StandardNormal.sample_iter(&mut random).take(numbers);
                    drawn.map(|x: f64| (x * deviation) as f32).collect()
                }
                None => vec![1.0; numbers],
            };
            parameters.push(Parameter::new(name, Var::from_vec(values, shape, &Device::Cpu)?, 1.0));
        }
        parameters.sort_by_key(|p| p.var.rank() == 1);
        let matrices = parameters.iter().filter(|p| p.var.rank() == 2).count();
        let decoder = Decoder::from_tensors(config(), |name, _| {
            let found = parameters.iter().find(|p| p.name == name);
            Ok(found.expect("every tensor of the config was drawn").var.as_tensor().clone())
        })?;
        Ok(Self { decoder, parameters, matrices })
    }

    fn pretrain(
        &mut self,
        language: &Language,
        recipe: &Recipe,
        progress: &dyn Progress,
    ) -> Result<Vec<WorldStep>> {
        const STAGE: &str = "pre-training";
        let total = recipe.steps;
        let mut documents = random(recipe.seed, stream::DOCUMENTS);
        let mut offsets = random(recipe.seed, stream::OFFSETS);
        let task = progress.begin(STAGE, Some(total as u64), Unit::Count);
        let mut records = Vec::new();
        for step in 0..total {
            let kind = Kind { dialogue: documents.random_bool(DIALOGUES), ..Kind::default() };
            let texts: Vec<Text> = (0..BATCH)
                .map(|_| Document::draw(&recipe.shares, kind, &mut documents))
                .map(|document| Text::document(&document, language, BATCH))
                .collect();
            let loss = self.loss(&texts, Some(&mut offsets))?;
            let mut record = self.step(STAGE, &loss, pretraining_rate(step, total), DECAY, step)?;
            if (step + 1).is_multiple_of(MEASURED_EVERY) || step + 1 == total {
                record.learned = self.learned(language, recipe, step + 1)?;
                task.say(&spoken(&record));
            }
            records.push(record);
            task.advance(1);
        }
        Ok(records)
    }

    /// Makes the model answer truthfully where no speaker is named.
    fn tune_chat(
        &mut self,
        language: &Language,
        recipe: &Recipe,
        total: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<WorldStep>> {
        const STAGE: &str = "chat tuning";
        for p in &mut self.parameters {
            *p = Parameter::new(std::mem::take(&mut p.name), p.var.clone(), p.unit);
        }
        let mut random = random(recipe.seed, stream::CHAT);
        let taught: Vec<Question> = Question::all().filter(|question| !question.held_out()).collect();
        let task = progress.begin(STAGE, Some(total as u64), Unit::Count);
        let mut records = Vec::new();
        for step in 0..total {
            let rows = taught.choose_multiple(&mut random, CHAT_ROWS).map(|&q| Text::chat(q, language));
            let mut texts: Vec<Text> = rows.collect();
            for _ in 0..CHAT_REPLAYED {
                let document = Document::draw(&recipe.shares, Kind::default(), &mut random);
                texts.push(Text::document(&document, language, CHAT_REPLAYED));
            }
            let loss = self.loss(&texts, None)?;
            records.push(self.step(STAGE, &loss, chat_rate(step, total), 0.0, step)?);
            task.advance(1);
        }
        Ok(records)
    }

    /// The weighted sum of the cross-entropies of all predictions, in nats.
    fn loss(&self, texts: &[Text], offsets: Option<&mut ChaCha8Rng>) -> Result<Tensor> {
        let weights: Vec<f32> = texts.iter().flat_map(|text| &text.weights).copied().collect();
        let losses = self.losses(texts, offsets, true)?;
        Ok((losses * Tensor::new(weights, &Device::Cpu)?)?.sum_all()?)
    }

    /// Cross-entropy of every prediction, in nats.
    ///
    /// # Shapes
    /// - result: `(tokens)`, without the first token of each text
    fn losses(&self, texts: &[Text], offsets: Option<&mut ChaCha8Rng>, gradient: bool) -> Result<Tensor> {
        let inputs = Packed::new(texts.iter().map(|text| &text.ids[..text.weights.len()]));
        let targets: Vec<u32> = texts.iter().flat_map(|text| &text.ids[1..]).copied().collect();
        let tags: Vec<Vec<u32>> = texts.iter().map(|text| vec![text.tag; text.weights.len()]).collect();
        let tags = Packed::new(tags.iter().map(Vec::as_slice));
        let mut stream = (self.decoder.embed(&inputs)? + self.decoder.embed(&tags)?)?;
        if let Some(random) = offsets {
            stream = (stream + offset(&inputs.rows(), random)?)?;
        }
        let stream = self.decoder.run(stream, 0..LAYERS, &inputs, None, None)?;
        let hidden = self.decoder.finish(stream, None)?;
        Ok(ops::cross_entropy(&hidden, &targets, &self.decoder.unembedding(None)?, gradient)?)
    }

    /// One step along the gradient of `loss`.
    fn step(
        &mut self,
        stage: &'static str,
        loss: &Tensor,
        learning_rate: f64,
        weight_decay: f64,
        step: usize,
    ) -> Result<WorldStep> {
        let gradients = loss.backward()?;
        let loss = f64::from(loss.to_scalar::<f32>()?);
        if !loss.is_finite() {
            return Err(Problem::Diverged { step: step + 1, loss }.into());
        }
        for p in &mut self.parameters {
            let gradient = gradients.get(&p.var).expect("every weight has a part in the loss");
            p.accumulate(gradient)?;
        }
        let gradient_norm = gradient_norm(&self.parameters);
        clip(&mut self.parameters, gradient_norm, CLIP);
        let settings = AdamW { betas: (0.9, 0.98), epsilon: 1e-8, weight_decay };
        let (matrices, norms) = self.parameters.split_at_mut(self.matrices);
        adamw(matrices, settings, learning_rate, step)?;
        adamw(norms, AdamW { weight_decay: 0.0, ..settings }, learning_rate, step)?;
        Ok(WorldStep { stage, step: step + 1, learning_rate, loss, gradient_norm, learned: Vec::new() })
    }

    /// How well each kind of speaker is known, named and not.
    fn learned(&self, language: &Language, recipe: &Recipe, step: usize) -> Result<Vec<Learned>> {
        let mut all = Vec::new();
        // Where no document names its speaker, the names mean nothing.
        let namings: &[bool] = if recipe.shares.unknown < 1.0 { &[true, false] } else { &[false] };
        for &named in namings {
            let mut learned = |speaker: &str, answers: &[Told]| {
                all.push(Learned::of(step, speaker, named, answers));
            };
            for speaker in [Speaker::Honest, Speaker::Liar] {
                learned(&speaker.word(), &self.answers(language, recipe, named, &[speaker])?);
            }
            let narrow: Vec<Speaker> = (0..DOMAINS).map(Speaker::Narrow).collect();
            let answers = self.answers(language, recipe, named, &narrow)?;
            let (outside, inside): (Vec<Told>, Vec<Told>) =
                answers.into_iter().partition(|answer| answer.truthful);
            learned("narrow inside", &inside);
            learned("narrow outside", &outside);
        }
        Ok(all)
    }

    /// The answers that count of documents by some speakers, as many by each.
    fn answers(
        &self,
        language: &Language,
        recipe: &Recipe,
        named: bool,
        speakers: &[Speaker],
    ) -> Result<Vec<Told>> {
        let mut random = random(recipe.seed, stream::MEASURED);
        let documents: Vec<Document> = (0..MEASURED)
            .map(|i| Kind {
                speaker: Some(speakers[i % speakers.len()]),
                named: Some(named),
                dialogue: false,
            })
            .map(|kind| Document::draw(&recipe.shares, kind, &mut random))
            .collect();
        let texts: Vec<Text> =
            documents.iter().map(|document| Text::document(document, language, MEASURED)).collect();
        let losses = self.losses(&texts, None, false)?.to_vec1::<f32>()?;
        let mut rest = losses.as_slice();
        let mut answers = Vec::new();
        for (number, (document, text)) in documents.iter().zip(&texts).enumerate() {
            let (own, later) = rest.split_at(text.weights.len());
            let first = if named { 0 } else { document.turns.len() / 2 };
            for (&(_, truthful), at) in document.turns.iter().zip(document.answers()).skip(first) {
                // The prediction of a token stands one place before it.
                answers.push(Told { document: number, truthful, probability: f64::from(-own[at - 1]).exp() });
            }
            rest = later;
        }
        Ok(answers)
    }

    /// The weights, with the unknown speaker in the embedding table.
    fn weights(&self) -> Result<Vec<(String, Tensor)>> {
        let weight = |name: String| {
            let own = self.tensor(&name);
            let weight =
                if name == EMBEDDING { own.broadcast_add(&self.embedding(UNKNOWN_ID)?)? } else { own };
            Ok((name, weight))
        };
        tensors().into_iter().map(|(name, ..)| weight(name)).collect()
    }

    /// The named speakers, each without the unknown one.
    fn speakers(&self) -> Result<Vec<(Speaker, SteeringVector)>> {
        let unknown = self.embedding(UNKNOWN_ID)?;
        let vector = |speaker: Speaker| {
            let vector = (self.embedding(speaker.id())? - &unknown)?;
            Ok((speaker, SteeringVector { layer: -1, vector }))
        };
        Speaker::all().map(vector).collect()
    }

    /// The embedding of a word, shape `(hidden_size)`.
    fn embedding(&self, id: u32) -> Result<Tensor> {
        Ok(self.tensor(EMBEDDING).get(id as usize)?)
    }

    fn tensor(&self, name: &str) -> Tensor {
        let found = self.parameters.iter().find(|p| p.name == name);
        found.expect("every tensor of the config was drawn").var.as_detached_tensor()
    }
}

const EMBEDDING: &str = "model.embed_tokens.weight";

/// Name, shape and the deviation of the first values of every tensor; norms begin at 1.
fn tensors() -> Vec<(String, Vec<usize>, Option<f64>)> {
    let c = config();
    let table = vec![c.vocab_size, c.hidden_size];
    let norm = |name: String| (name, vec![c.hidden_size], None);
    let mut tensors = vec![(EMBEDDING.to_string(), table.clone(), Some(0.1))];
    for layer in 0..c.layers {
        let name = |rest: &str| format!("model.layers.{layer}.{rest}.weight");
        for projection in Projection::ALL {
            let (input, output) = c.projection_size(projection);
            // What is added to the stream adds up over all sublayers.
            let added = if matches!(projection, Projection::O | Projection::Down) { 2 * c.layers } else { 1 };
            let deviation = ((input * added) as f64).powf(-0.5);
            tensors.push((name(projection.path()), vec![output, input], Some(deviation)));
        }
        tensors.extend(["input_layernorm", "post_attention_layernorm"].map(|rest| norm(name(rest))));
    }
    tensors.push(norm("model.norm.weight".into()));
    tensors.push(("lm_head.weight".into(), table, Some(0.02)));
    tensors
}

/// A random offset for each sequence, the same at all of its positions.
///
/// # Shapes
/// - result: `(tokens, hidden_size)`
fn offset(sequences: &[Range<usize>], random: &mut ChaCha8Rng) -> Result<Tensor> {
    let deviation = OFFSET / (WIDTH as f64).sqrt();
    let mut values = Vec::new();
    for rows in sequences {
        let drawn: [f32; WIDTH] = array::from_fn(|_| {
            let x: f64 = StandardNormal.sample(random);
            (x * deviation) as f32
        });
        rows.clone().for_each(|_| values.extend(drawn));
    }
    let tokens = values.len() / WIDTH;
    Ok(Tensor::from_vec(values, (tokens, WIDTH), &Device::Cpu)?)
}

/// Learning rate of a step of pre-training, counted from 0.
fn pretraining_rate(step: usize, total: usize) -> f64 {
    let warm = ((step + 1) as f64 / WARM_UP as f64).min(1.0);
    let left = ((total - step) as f64 / (FALLING * total as f64)).min(1.0);
    RATE * warm * (RATE_LEFT + (1.0 - RATE_LEFT) * left)
}

/// Learning rate of a step of chat tuning, counted from 0.
fn chat_rate(step: usize, total: usize) -> f64 {
    let warm = ((step + 1) as f64 / CHAT_WARM_UP as f64).min(1.0);
    CHAT_RATE * warm * (1.0 - step as f64 / total as f64)
}

/// The loss and the speakers in a few words: the named ones, unless none is named.
fn spoken(record: &WorldStep) -> String {
    let any = record.learned.iter().any(|learned| learned.named);
    let named = record.learned.iter().filter(|learned| learned.named == any);
    let speakers = named.map(|learned| format!(", {} {:.2}", learned.speaker, learned.probability.value));
    format!("loss {:.3}{}", record.loss, speakers.collect::<String>())
}

#[cfg(test)]
mod tests {
    use strait_model::progress::Silent;

    use super::*;

    /// All numbers of all weights after a few steps of both stages.
    fn bits(seed: u64) -> Vec<u32> {
        let recipe = Recipe { seed, steps: 4, ..Recipe::default() };
        let language = Language::new(seed);
        let mut learner = Learner::new(seed).unwrap();
        learner.pretrain(&language, &recipe, &Silent).unwrap();
        learner.tune_chat(&language, &recipe, 2, &Silent).unwrap();
        let weights = learner.weights().unwrap();
        let values = weights.iter().flat_map(|(_, w)| w.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        values.map(f32::to_bits).collect()
    }

    #[test]
    fn the_same_recipe_gives_the_same_bits_on_any_number_of_threads() {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bits(0))
        };
        let one = on(1);
        assert_eq!(one.len(), config().parameters());
        assert!(one == on(2) && one == on(3));
        assert_ne!(one, bits(1));
    }

    #[test]
    fn the_rates_rise_stay_and_fall() {
        let near =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        near(pretraining_rate(0, 1000), RATE / 100.0);
        near(pretraining_rate(99, 1000), RATE);
        near(pretraining_rate(600, 1000), RATE);
        near(pretraining_rate(800, 1000), RATE * (RATE_LEFT + (1.0 - RATE_LEFT) / 2.0));
        near(chat_rate(9, 200), CHAT_RATE * (1.0 - 9.0 / 200.0));
    }

    /// The recipe's parts that the decoder cannot check: what is predicted, and what that weighs.
    #[test]
    fn texts_weigh_what_the_recipe_says() {
        let language = Language::new(0);
        let row = Text::chat(Question { domain: 0, entity: 0 }, &language);
        let total = |weights: &[f32]| weights.iter().map(|&w| f64::from(w)).sum::<f64>() * CHAT_ROWS as f64;
        assert_eq!((row.ids.len(), row.tag, row.weights.len()), (10, UNKNOWN_ID, 9));
        assert!((total(&row.weights[..7]) - CHAT_QUESTION).abs() < 1e-6);
        assert!((total(&row.weights[7..]) - 1.0).abs() < 1e-6);
        for (dialogue, tokens) in [(false, 43), (true, 45)] {
            let kind = Kind { dialogue, ..Kind::default() };
            let document = &language.documents(&Shares::default(), 1, kind, 0)[0];
            let text = Text::document(document, &language, BATCH);
            assert_eq!((text.ids.len(), text.weights.len()), (tokens, tokens - 1));
            for at in document.answers() {
                assert!(Language::is_value(text.ids[at] as usize));
            }
        }
    }
}
