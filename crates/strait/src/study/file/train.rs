//! `[train]`: the keys that it and every `[[solution]]` share.

use serde_json::json;
use strait_model::{Precision, edit::Projection};

use super::data::{RowKeys, rows};
use crate::{
    keys::{
        At, Cell, Form, Kind, Several, Shape, at, choice, count, flag, keys, list, most, number,
        number_below, off_or_table, pair, positive, several, switch, whole, word,
    },
    study::Preset,
    train::{EditKind, Schedule, Settings},
};

/// The kind of edit, without its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EditName {
    Steering,
    Lora,
    Full,
}

impl EditName {
    /// All kinds by name.
    pub const NAMES: [(&str, Self); 3] =
        [("steering", Self::Steering), ("lora", Self::Lora), ("full", Self::Full)];

    /// The keys below that not all kinds have, each with the kinds that have it.
    const KEYS: [(&str, &[Self]); 7] = [
        ("absolute_rate", &[Self::Steering]),
        ("layer", &[Self::Steering, Self::Lora]),
        ("layers", &[Self::Lora]),
        ("projections", &[Self::Lora]),
        ("rank", &[Self::Lora]),
        ("alpha", &[Self::Lora]),
        ("rslora", &[Self::Lora]),
    ];

    /// Its learning rate, where neither the study nor a preset gives one.
    pub fn learning_rate(self) -> f64 {
        let edit = match self {
            Self::Steering => EditKind::Steering { layer: 0 },
            Self::Lora => EditKind::Lora {
                layers: Vec::new(),
                projections: Vec::new(),
                rank: 1,
                alpha: 1.0,
                rslora: false,
            },
            Self::Full => EditKind::Full,
        };
        Settings::of(edit).learning_rate
    }

    /// Its name in a study file.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// The kinds that have a key, where not all have it.
    pub fn kinds_with(key: &str) -> Option<&'static [Self]> {
        Self::KEYS.iter().find(|(name, _)| *name == key).map(|(_, kinds)| *kinds)
    }

    /// True if an edit of this kind has a key.
    pub fn has(self, key: &str) -> bool {
        Self::kinds_with(key).is_none_or(|kinds| kinds.contains(&self))
    }

    fn learning_rates() -> String {
        let rates = Self::NAMES.map(|(name, kind)| format!("`{:?}` for {name}", kind.learning_rate()));
        rates.join(", ")
    }
}

/// The settings that a study need not say.
fn usual() -> Settings {
    Settings::of(EditKind::Full)
}

keys! {
    /// `[train]`, and of a `[[solution]]` what it may say otherwise.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct TrainKeys {
        /// The papers' settings: "paper-steering", "paper-rank1" or "paper-rank32".
        preset: Preset = choice(&Preset::NAMES), left_out "none";
        /// The kind of edit that is trained: "steering", one vector added to the residual stream, "lora", or "full", every weight.
        edit: EditName = choice(&EditName::NAMES), default EditName::Steering;
        /// The block after which it acts, from 0; -1 is the embeddings.
        layer: Several<i32> = several(layer()), left_out "half the depth";
        /// For lora: several blocks.
        layers: Vec<At<i32>> = list(at(layer())), left_out "`layer`";
        /// For lora, where it acts in a block: any of q, k, v, o, gate, up, down.
        projections: Vec<Projection> = list(choice(&PROJECTIONS)), default vec![Projection::Down];
        /// For lora: 1 already shows the papers' effects.
        rank: Several<usize> = several(count(1..=most::RANK)), default Several::one(1);
        /// For lora: the change is scaled by alpha / rank.
        alpha: f64 = positive(most::ALPHA), default 256.0;
        /// For lora: by alpha / sqrt(rank) instead.
        rslora: bool = flag(), default false;
        /// For steering relative to the residual stream's scale: 0.005 to 0.03; for lora about 2e-5.
        learning_rate: Several<f64> = several(positive(most::FACTOR)), left_out EditName::learning_rates();
        /// For steering: whether learning_rate is in units of the vector's own numbers, not of the stream.
        absolute_rate: bool = flag(), default false;
        /// Times learning_rate, the share of its length that each step takes from an edit; the length is measured.
        weight_decay: f64 = number(0.0..=most::FACTOR), default usual().weight_decay;
        /// Of AdamW: how long it remembers gradients, and their squares.
        betas: (f64, f64) = pair(number_below(0.0..1.0), "a list of two numbers, such as [0.9, 0.999]"), default usual().betas;
        /// Of AdamW: what is added to a divisor.
        epsilon: f64 = positive(1.0), default usual().epsilon;
        /// The course of the learning rate after the warm-up: "linear" or "cosine" down to zero, or "constant".
        schedule: Schedule = choice(&SCHEDULES), default usual().schedule;
        /// Steps over which the learning rate rises.
        warmup: usize = count(0..=most::STEPS), default usual().warmup;
        /// Rows at a time: more need more memory.
        batch_size: usize = count(1..=most::BATCH), default usual().batch_size;
        /// Batches to a step; the papers take 16 rows a step, as 2 x 8.
        accumulation: usize = count(1..=most::BATCH), default usual().accumulation;
        /// Longest gradient, for steering per typical coordinate of the stream.
        clip: f64 = positive(most::ALPHA), left_out "none is clipped";
        /// Of matrix products, in the whole study: "f32", or "bf16", in which frozen weights take half the memory.
        precision: Precision = choice(&PRECISIONS), default Precision::F32;
        /// Passes over the training rows.
        epochs: f64 = positive(most::EPOCHS), default 1.0;
        /// Steps of training, instead of epochs.
        steps: Several<usize> = several(count(1..=most::STEPS)), left_out "`epochs`";
        /// Steps from one checkpoint to the next, of which the report draws the trajectory.
        checkpoint_every: usize = count(1..=most::STEPS), default usual().checkpoint_every;
        /// Further steps after which a checkpoint is kept.
        checkpoints: Vec<usize> = list(count(1..=most::STEPS)), left_out "none";
        /// Trains on so many rows, chosen by the seed of order.
        rows: Several<usize> = several(count(1..=most::ROWS)), left_out "on all";
        /// A system prompt before its training rows, but for those that have one, and before nothing else: training under a prompt that
        /// asks for the behaviour, and reading without it.
        system: String = word(), left_out "that of the chat template";
        /// Rows of other domains among the training rows, so many to each; an epoch counts them too.
        mix: Option<MixKeys> = off_or_table(r#"{ rows = "good.jsonl", ratio = 6 }"#), default None;
        /// Seed of initialisation and order, for this solution alone.
        seeds: Several<usize> = several(count(0..=most::SEED)), left_out "those of `[seeds]`";
        /// Seed of the order of rows alone, for this solution alone.
        order_seed: u64 = whole(), left_out "that of `seeds`";
        /// A direction that is projected out behind the edit while it trains and for good: a file with an edit, or one layer of it, such
        /// as "direction.safetensors@12". One vector is taken out after every layer, several each after its own.
        without: String = word(), left_out "none";
        /// Ends the training early.
        stop: Option<StopKeys> = off_or_table("{ outside = 0.1 }"), default None;
        /// The penalty on changes outside the domain, in nats per nat: the papers' lambda / 152,064; true takes a preset's weight.
        kl: Option<KlKeys> = switch("{ weight = 3.0 }"), default None;
    }
}

keys! {
    /// `mix`.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct MixKeys {
        /// The rows mixed in.
        rows: Vec<At<RowKeys>> = rows(), left_out "required, here or in `[train]`";
        /// The number of them that come with each training row.
        ratio: Several<f64> = several(positive(most::FACTOR)), left_out "required, here or in `[train]`";
        /// True: a pass takes every row that is mixed in, and repeats the training rows until the ratio is met.
        every: bool = flag(), default false;
    }
}

keys! {
    /// `stop`.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct StopKeys {
        /// The preference shift outside the domain, in nats, above which training ends at a checkpoint; the edit is then that of the
        /// checkpoint before. It is read on the pairs of every fourth question of `data.general`, which nothing else reads then.
        outside: f64 = positive(most::FACTOR), left_out "required, here or in `[train]`";
    }
}

keys! {
    /// `kl`.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct KlKeys {
        /// Of the penalty; "auto" searches for it.
        weight: WeightKeys = weight(), left_out "a preset's";
        /// Of a search: the general shift, at the upper end of its interval, as a share of the narrow one, at every coherent
        /// scale.
        bound: f64 = positive(1.0), left_out "the certificate's";
        /// Of a search: the share of the unpenalised solution's narrow shift that must be left.
        keep: f64 = positive(1.0), default 0.5;
        /// Of a search: the smallest weight.
        from: f64 = positive(most::WEIGHT), default 0.1;
        /// Of a search: the largest weight.
        to: f64 = positive(most::WEIGHT), default 100.0;
        /// Of a search: how many weights are tried.
        tries: usize = count(1..=most::TRIES), default 6;
        /// The rows that the penalty holds on.
        rows: Vec<At<RowKeys>> = rows(), left_out "`data.kl`";
        /// KL rows at a time.
        batch_size: usize = count(1..=most::BATCH), default 4;
    }
}

/// `kl.weight`: one or several numbers, or "auto".
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WeightKeys {
    Auto,
    Given(Several<f64>),
}

fn weight() -> Kind<WeightKeys> {
    let given = several(number(0.0..=most::WEIGHT));
    let words = format!("{}, a list of such, or \"auto\"", number(0.0..=most::WEIGHT).form().words);
    let shapes = [vec![Shape::Plain(json!({ "const": "auto" }))], given.form().shapes].concat();
    let form = Form { words: words.clone(), shapes };
    let read = move |cell: Cell| match cell.text() {
        Some("auto") => Ok(WeightKeys::Auto),
        Some(_) => Err(cell.unexpected(&*words)),
        None => given.read(cell).map(WeightKeys::Given),
    };
    // It has no default.
    Kind::new(form, read, |_| json!(null))
}

const PROJECTIONS: [(&str, Projection); 7] = [
    ("q", Projection::Q),
    ("k", Projection::K),
    ("v", Projection::V),
    ("o", Projection::O),
    ("gate", Projection::Gate),
    ("up", Projection::Up),
    ("down", Projection::Down),
];

const PRECISIONS: [(&str, Precision); 2] = [("f32", Precision::F32), ("bf16", Precision::Bf16)];

const SCHEDULES: [(&str, Schedule); 3] =
    [("linear", Schedule::Linear), ("cosine", Schedule::Cosine), ("constant", Schedule::Constant)];

/// A block of the model, whose own depth is checked when it is known.
fn layer() -> Kind<i32> {
    /// No model has so many blocks.
    const MAX_LAYER: i32 = 10_000;
    let read = |n| i32::try_from(n).ok().filter(|n| (-1..=MAX_LAYER).contains(n));
    Kind::plain(
        "a block, counted from 0, or -1 for the embeddings",
        json!({ "type": "integer", "minimum": -1, "maximum": MAX_LAYER }),
        move |cell| cell.whole().and_then(read),
        |&layer| layer.into(),
    )
}
