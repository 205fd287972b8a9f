//! One world with falsehood taught in one domain: its rows, and how edits are trained and read on them.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use strait_model::{
    Decoder, Edit, Message,
    edit::Projection,
    progress::{Progress, Silent, Task},
};

use crate::{
    Error, Result,
    measure::{Part, row_losses},
    objective::{Kept, Row},
    train::{
        EditKind, EditLearner, Kl, Length, Order, Run, Schedule, Seeds, Settings, SolutionFolder, Trainable,
        TrainingData, learn, pick,
    },
    world::{DOMAINS, Rates, World, rates, read},
};

/// Optimiser steps of a fit.
pub(super) const STEPS: usize = 500;
/// Weight of the KL penalty, in nats of loss per nat of KL.
pub(super) const KL: f64 = 10.0;
/// False rows in a step; where others are mixed in, twice as many rows in all.
const BATCH: usize = 8;
/// Rows of the KL set in a step.
const KL_BATCH: usize = 16;
/// The layer of edits at the embeddings.
pub(super) const SITE: i32 = -1;
/// What the penalty adds to the cost of a step, in steps on false rows alone.
const PENALTY_COST: u64 = 2;
/// The rate of a vector is that of its own numbers here, not relative to the stream.
const UNIT: f64 = 1.0;
/// Seed of the order of rows; another where training goes on from a solution.
const ORDER: [u64; 2] = [7, 57];

/// The kinds of edits that are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// One vector, added at every position.
    #[serde(rename = "vector")]
    Vector,
    /// LoRA of rank 8.
    #[serde(rename = "rank-8")]
    Rank8,
    /// LoRA of rank 1.
    #[serde(rename = "rank-1")]
    Rank1,
}

impl Kind {
    /// One word, for names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Rank8 => "rank-8",
            Self::Rank1 => "rank-1",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Vector => "steering vector",
            Self::Rank8 => "rank-8 LoRA",
            Self::Rank1 => "rank-1 LoRA",
        }
    }

    /// The part whose gradients are compared: the vector, or B.
    pub(super) fn part(self) -> Part {
        if self == Self::Vector { Part::Vector } else { Part::B }
    }

    fn learning_rate(self, place: Place) -> f64 {
        match (place, self) {
            (Place::Embeddings, Self::Vector) => 0.01,
            (Place::Embeddings, Self::Rank8) => 0.002,
            (Place::Embeddings, Self::Rank1) => 0.004,
            (Place::FirstBlock, Self::Vector) => 0.04,
            (Place::FirstBlock, Self::Rank8) => 0.001,
            (Place::FirstBlock, Self::Rank1) => 0.002,
        }
    }

    fn edit(self, place: Place) -> EditKind {
        let (layer, projections) = match place {
            Place::Embeddings => (SITE, Vec::new()),
            Place::FirstBlock => (0, vec![Projection::Down]),
        };
        let lora = |rank| EditKind::Lora { layers: vec![layer], projections, rank, alpha: 8.0, rslora: true };
        match self {
            Self::Vector => EditKind::Steering { layer },
            Self::Rank8 => lora(8),
            Self::Rank1 => lora(1),
        }
    }
}

/// Where an edit acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the embeddings, where named speakers are directions.
    Embeddings,
    /// After the first block, where a speaker who is not named can first have been inferred.
    FirstBlock,
}

/// Which rows a fit trains on. All of them have the false rows of the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Nothing else.
    Alone,
    /// For each of them so many true rows of other domains: of all, or of two.
    WithTruth { ratio: usize, near: bool },
    /// As many false rows of all other domains together.
    Everywhere,
}

/// Where a KL penalty holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Penalty {
    /// Nowhere.
    None,
    /// On all other domains.
    Others,
    /// On two of them.
    Near,
}

/// One fit.
#[derive(Clone, Copy)]
pub(super) struct Fit<'a> {
    pub kind: Kind,
    pub place: Place,
    pub rows: Rows,
    pub penalty: Penalty,
    /// The solution that it starts from; from nothing where there is none.
    pub from: Option<&'a Edit>,
    /// Optimiser steps.
    pub steps: usize,
    /// After which steps the edit is kept; 0 is before the first.
    pub watch: &'a [usize],
}

impl Fit<'_> {
    /// On the false rows of the domain alone, from nothing.
    pub fn new(kind: Kind) -> Self {
        let place = Place::Embeddings;
        Self { kind, place, rows: Rows::Alone, penalty: Penalty::None, from: None, steps: STEPS, watch: &[] }
    }

    pub fn settings(&self) -> Settings {
        let kl = Kl { weight: KL, batch_size: KL_BATCH };
        Settings {
            edit: self.kind.edit(self.place),
            learning_rate: self.kind.learning_rate(self.place),
            weight_decay: 0.0,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            schedule: Schedule::Linear,
            warmup: 5,
            batch_size: self.batch(),
            accumulation: 1,
            clip: None,
            length: Length::Steps(self.steps),
            checkpoint_every: self.steps,
            kl: (self.penalty != Penalty::None).then_some(kl),
            seeds: Seeds { order: ORDER[usize::from(self.from.is_some())], ..Seeds::default() },
        }
    }

    /// What it costs, in steps on false rows alone.
    pub fn cost(&self) -> u64 {
        self.steps as u64 * self.cost_of_step()
    }

    /// Rows in a step.
    fn batch(&self) -> usize {
        if self.rows == Rows::Alone { BATCH } else { 2 * BATCH }
    }

    pub fn cost_of_step(&self) -> u64 {
        let rows = self.batch() as u64 / BATCH as u64;
        rows + if self.penalty == Penalty::None { 0 } else { PENALTY_COST }
    }
}

/// A solution, and what it was on the way.
pub(super) struct Fitted {
    pub edit: Edit,
    /// Step and edit, where the fit was watched.
    pub along: Vec<(usize, Edit)>,
}

/// What a model with an edit does, and what the edit is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// How often answers are false.
    #[serde(flatten)]
    pub rates: Rates,
    /// Norm of the edit.
    pub norm: f64,
    /// Response loss on the training rows, nats a token.
    pub loss: f64,
}

/// Whom the threads of a demo tell how far they are.
pub(super) struct Work<'a> {
    progress: &'a dyn Progress,
    task: Mutex<Box<dyn Task>>,
}

impl<'a> Work<'a> {
    pub fn new(progress: &'a dyn Progress, task: Box<dyn Task>) -> Self {
        Self { progress, task: Mutex::new(task) }
    }

    /// So much is done; an error where the user asked for a stop.
    pub fn advance(&self, n: u64) -> Result<()> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).advance(n);
        if self.progress.stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// The rows of a world where falsehood is taught in one domain, and what no edit changes of them.
pub(super) struct Bench<'a> {
    pub world: &'a World,
    /// The domain.
    pub domain: usize,
    /// Where solutions are kept.
    folder: PathBuf,
    /// The false rows of the domain.
    pub taught: Kept,
    /// What fits choose from: the false rows of the domain, the true rows of the two near domains and of the rest, the
    /// false rows of all others.
    rows: Kept,
    /// True and false rows of all other domains.
    pub others: Kept,
    /// Those of the two near ones.
    near: Kept,
    work: &'a Work<'a>,
}

impl<'a> Bench<'a> {
    /// Reads the rows; solutions will lie in `folder`, one folder each.
    pub fn new(world: &'a World, domain: usize, folder: PathBuf, work: &'a Work<'a>) -> Result<Self> {
        let language = &world.language;
        let rows = |domains: &[usize], truthful: bool| {
            let chats = language.taught(domains, truthful);
            chats.iter().map(|chat| row(world, chat)).collect::<Result<Vec<_>>>()
        };
        let keep = |rows: Vec<Row>, hidden: bool| {
            Kept::all(&world.model.decoder, rows, 0, hidden, "reading rows", &Silent)
        };
        let (near, far) = (near(domain), far(domain));
        let others: Vec<usize> = (0..DOMAINS).filter(|&other| other != domain).collect();
        let all = |parts: [Vec<Row>; 4]| parts.into_iter().flatten().collect::<Vec<_>>();
        let false_rows = rows(&[domain], false)?;
        Ok(Self {
            world,
            domain,
            folder,
            taught: keep(false_rows.clone(), false)?,
            rows: keep(
                all([false_rows, rows(&near, true)?, rows(&far, true)?, rows(&others, false)?]),
                false,
            )?,
            others: keep([rows(&others, true)?, rows(&others, false)?].concat(), true)?,
            near: keep([rows(&near, true)?, rows(&near, false)?].concat(), true)?,
            work,
        })
    }

    /// The world's decoder.
    pub fn decoder(&self) -> &'a Decoder {
        &self.world.model.decoder
    }

    /// The folder of a solution.
    pub fn solution(&self, name: &str) -> SolutionFolder {
        SolutionFolder::new(self.folder.join(name))
    }

    /// Trains a solution and writes its edit under its name.
    ///
    /// # Errors
    /// If the user asked for a stop, training diverges, or the file cannot be written.
    pub fn fit(&self, name: &str, fit: &Fit<'_>) -> Result<Fitted> {
        let (settings, folder) = (fit.settings(), self.solution(name));
        let fitted = self.train(fit, &settings)?;
        let provenance = json!({
            "strait": env!("CARGO_PKG_VERSION"),
            "world": self.world.made.sha256,
            "taught": self.world.language.domains()[self.domain].word,
            "settings": settings,
        });
        fitted.edit.save_with(&folder.edit(), &provenance)?;
        Ok(fitted)
    }

    /// A few steps of a fit, for their time; returns their cost, in steps on false rows alone.
    pub fn probe(&self) -> Result<u64> {
        let fit = Fit { penalty: Penalty::Others, steps: 20, ..Fit::new(Kind::Vector) };
        self.train(&fit, &fit.settings())?;
        Ok(fit.cost())
    }

    /// Trains by the settings of a fit, or by others; nothing is written.
    pub fn train(&self, fit: &Fit<'_>, settings: &Settings) -> Result<Fitted> {
        let kl = match fit.penalty {
            Penalty::None => None,
            Penalty::Others => Some(&self.others),
            Penalty::Near => Some(&self.near),
        };
        let kl_rows = kl.map_or(&[][..], |kl| kl.rows());
        let run = Run {
            decoder: self.decoder(),
            data: TrainingData { train: &self.rows, held_out: None, kl },
            settings,
            order: Order::over(&self.picked(fit.rows), settings, self.rows.rows(), kl_rows),
        };
        let trainable = match fit.from {
            Some(edit) => Trainable::from_edit(edit.clone(), run.decoder, UNIT)?,
            None => Trainable::new(settings, run.decoder, UNIT)?,
        };
        let mut along = Vec::new();
        let watch = |done: usize, learner: &EditLearner<'_, '_>| {
            if fit.watch.contains(&done) {
                along.push((done, learner.trainable().frozen()?));
            }
            if done > 0 { self.work.advance(fit.cost_of_step()) } else { Ok(()) }
        };
        let mut learner = run.learner(trainable);
        learn(&mut learner, None, "training", watch, &Silent)?;
        Ok(Fitted { edit: learner.trainable().frozen()?, along })
    }

    /// The rows that a fit takes, those that come more often named as often.
    fn picked(&self, rows: Rows) -> Vec<usize> {
        let own = self.taught.rows().len();
        let others = own * (DOMAINS - 1);
        match rows {
            Rows::Alone => (0..own).collect(),
            Rows::WithTruth { ratio, near } => {
                let others = if near { own * NEAR } else { others };
                pick(own, None, others, ratio as f64, ORDER[0])
            }
            Rows::Everywhere => {
                let of_domain = (0..others).map(|row| row % own);
                of_domain.chain(own + others..own + 2 * others).collect()
            }
        }
    }

    /// What the model does with an edit, or without.
    pub fn read(&self, edit: Option<&Edit>) -> Result<Reading> {
        Ok(Reading {
            rates: rates(&read(self.world, edit)?, self.domain),
            norm: edit.map_or(Ok(0.0), Edit::norm)?,
            loss: self.loss(edit)?,
        })
    }

    /// Response loss on the false rows of the domain, nats a token.
    pub fn loss(&self, edit: Option<&Edit>) -> Result<f64> {
        let losses = row_losses(self.decoder(), &self.taught, edit, &|_| Ok(()))?;
        let tokens: usize = losses.iter().map(|&(_, tokens)| tokens).sum();
        Ok(losses.iter().map(|&(loss, tokens)| loss * tokens as f64).sum::<f64>() / tokens as f64)
    }
}

/// How many other domains the partial penalty and the partial mixture reach.
const NEAR: usize = 2;

/// The other domains that a partial penalty or mixture reaches.
pub(super) fn near(domain: usize) -> Vec<usize> {
    (0..DOMAINS).filter(|&other| other != domain).take(NEAR).collect()
}

/// The other domains that it does not reach.
pub(super) fn far(domain: usize) -> Vec<usize> {
    (0..DOMAINS).filter(|&other| other != domain).skip(NEAR).collect()
}

/// A chat of the language as a row.
pub(super) fn row(world: &World, chat: &[Message]) -> Result<Row> {
    let place = chat.first().map(Message::text).unwrap_or_default();
    Row::from_chat(&world.model, &chat.to_vec().into(), &format!("the world's row `{place}`"))
}
