//! The laboratory: a model, the rows that solutions are trained and measured on, and what is kept of them.

mod estimate;
mod losses;
mod memory;
mod pairs;
mod solution;
mod speed;
mod training;
mod work;

use std::{collections::BTreeMap, sync::Arc};

use candle_core::Device;
use strait_model::{
    Edit, Model, Precision, Weights,
    decoder::first_changed_point,
    progress::{Progress, Silent},
    source::Located,
};

pub use estimate::{Estimate, duration, point};
pub use losses::{LossesOf, row_losses};
pub(crate) use losses::{
    advance, differences, every_two, finite, losses_of, mean, response_tokens, weighted_mean,
};
pub(crate) use memory::place;
pub use memory::{Budget, LimitProblem, Limits, for_rows};
pub(crate) use pairs::{AnswerReading, PairReading, asked, both_rows};
pub use pairs::{Group, PairRows};
pub use solution::{Planned, Scene, Solution, Solved, Trajectory, evenly};
pub use speed::Speed;
pub use training::{Record, Training};
pub(crate) use work::Work;

use crate::{
    Result,
    data::{Chat, Cue, Pair, Prompt},
    objective::{Kept, Row},
    store::Store,
    world::locate,
};

/// Reads a model from where it was located. Where copies of its weights would take much of the machine's memory, they stay in their
/// file.
///
/// # Errors
/// As [`Model::load`].
pub fn load(
    located: &Located,
    device: &Device,
    precision: Precision,
    progress: &dyn Progress,
) -> Result<Model> {
    let weights = place(Weights::open(&located.path)?, device, precision, Limits::default(), progress);
    Ok(Model::of_weights(located, &weights, device, precision)?)
}

/// The sizes of a model that [`load`] would read.
///
/// # Errors
/// If its files cannot be opened.
pub(crate) fn unloaded(located: &Located, device: &Device, precision: Precision) -> Result<Work> {
    let weights = place(Weights::open(&located.path)?, device, precision, Limits::default(), &Silent);
    Work::of_weights(&weights, precision, !device.is_cpu())
}

/// A model and rows, with what has been computed of them. Studies stand on it, and so can any program.
///
/// ```
/// use strait::{
///     Lab,
///     data::{RowSource, read_chats},
///     measure::{Efficiency, Measure},
///     train::{EditKind, Length, Settings},
/// };
/// use strait_model::progress::Silent;
///
/// let chats = read_chats(&RowSource::File("tests/fixtures/train/rows.jsonl".into()))?;
/// let mut lab = Lab::open("../strait-model/tests/fixtures/tiny/llama", &Silent)?.with_train(&chats)?;
/// let settings = Settings { length: Length::Steps(3), ..Settings::of(EditKind::Steering { layer: 1 }) };
/// let solution = lab.solve("general", &settings)?;
///
/// let efficiency = Efficiency { factors: vec![0.0, 1.0, 2.0], norms: 2, mean_norms: Vec::new() };
/// let (rows, _) = efficiency.run(&mut lab, &vec![solution])?;
/// let (base, trained) = (&rows[0], rows.iter().find(|row| row.factor == 1.0).unwrap());
/// assert!(trained.loss.value < base.loss.value);
/// # Ok::<(), strait::Error>(())
/// ```
pub struct Lab<'a> {
    /// The model.
    pub model: Arc<Model>,
    /// Whom long work reports to, and who may ask for a stop.
    pub progress: &'a dyn Progress,
    /// The seed of all that measures draw.
    pub seed: u64,
    /// The memory that all kept rows share, and all workers beside each other.
    pub store: Store,
    /// The training rows.
    pub train: Kept,
    /// The training rows with others behind them, for the solutions that mix.
    pub mixtures: Vec<Kept>,
    /// Rows of the taught domain that are kept out of training.
    pub held_out: Kept,
    /// The held-out rows that measures read, where others are trained on as KL rows or mixed-in rows.
    pub unseen: Option<Kept>,
    /// Rows on which a KL penalty holds.
    pub kl: Kept,
    /// Rows on which the penalties of single solutions hold.
    pub own_kl: Vec<Kept>,
    /// Pairs inside the domain, and outside it.
    pub pairs: [PairRows; 2],
    /// Pairs outside the domain that trainings watch to end early, and nothing else reads.
    pub watched: PairRows,
    /// The training rows that efficiency and stability read.
    pub measured: Kept,
    /// The cues that are put around questions.
    pub cues: Vec<Cue>,
    /// The pairs under each of these.
    pub cued: Vec<[PairRows; 2]>,
    /// Plain text by the name of the measure that reads it.
    pub texts: BTreeMap<&'static str, Vec<Row>>,
    /// Questions to be answered inside the domain, and outside it.
    pub questions: [Vec<Prompt>; 2],
}

impl<'a> Lab<'a> {
    /// A laboratory with a model and no rows.
    pub fn new(model: Arc<Model>, progress: &'a dyn Progress) -> Self {
        let store = Store::new(for_rows());
        let none = || Kept::new(Vec::new()).within(&store);
        Self {
            model,
            progress,
            seed: 0,
            train: none(),
            mixtures: Vec::new(),
            held_out: none(),
            unseen: None,
            kl: none(),
            own_kl: Vec::new(),
            pairs: [Group::Narrow, Group::General].map(|group| PairRows::none(group).within(&store)),
            watched: PairRows::none(Group::General).within(&store),
            measured: none(),
            cues: Vec::new(),
            cued: Vec::new(),
            texts: BTreeMap::new(),
            questions: [Vec::new(), Vec::new()],
            store,
        }
    }

    /// A laboratory with the model of a path, a hub id, a short name or a built-in world (`world:default-0`), on the CPU.
    ///
    /// # Errors
    /// If the model cannot be found or read.
    pub fn open(model: &str, progress: &'a dyn Progress) -> Result<Self> {
        let model = load(&locate(model, progress)?, &Device::Cpu, Precision::F32, progress)?;
        Ok(Self::new(Arc::new(model), progress))
    }

    /// With these chats as training rows; efficiency and stability read all of them.
    ///
    /// # Errors
    /// If a chat does not fit the model or its template.
    pub fn with_train(self, chats: &[Chat]) -> Result<Self> {
        let rows = Row::from_chats(&self.model, chats, self.progress)?;
        Ok(Self { measured: self.rows(rows.clone()), train: self.rows(rows), ..self })
    }

    /// With these chats as held-out rows.
    ///
    /// # Errors
    /// As [`Lab::with_train`].
    pub fn with_held_out(self, chats: &[Chat]) -> Result<Self> {
        let held_out = self.rows(Row::from_chats(&self.model, chats, self.progress)?);
        Ok(Self { held_out, ..self })
    }

    /// With these chats as the rows on which a KL penalty holds.
    ///
    /// # Errors
    /// As [`Lab::with_train`].
    pub fn with_kl(self, chats: &[Chat]) -> Result<Self> {
        let kl = self.rows(Row::from_chats(&self.model, chats, self.progress)?);
        Ok(Self { kl, ..self })
    }

    /// With these pairs inside the domain, and those outside it.
    ///
    /// # Errors
    /// As [`Lab::with_train`].
    pub fn with_pairs(self, narrow: &[Pair], general: &[Pair]) -> Result<Self> {
        let pairs = [
            PairRows::new(&self.model, Group::Narrow, narrow)?.within(&self.store),
            PairRows::new(&self.model, Group::General, general)?.within(&self.store),
        ];
        Ok(Self { pairs, ..self })
    }

    /// With these cues, and the pairs under each of them.
    ///
    /// # Errors
    /// As [`Lab::with_train`].
    pub fn with_cues(self, cues: Vec<Cue>, [narrow, general]: [&[Pair]; 2]) -> Result<Self> {
        let under = |cue: &Cue, group: Group, pairs: &[Pair]| -> Result<PairRows> {
            let around = |pair: &Pair| Pair { question: cue.around(&pair.question), ..pair.clone() };
            let pairs: Vec<Pair> = pairs.iter().map(around).collect();
            Ok(PairRows::new(&self.model, group, &pairs)?.within(&self.store))
        };
        let both = |cue: &Cue| -> Result<[PairRows; 2]> {
            Ok([under(cue, Group::Narrow, narrow)?, under(cue, Group::General, general)?])
        };
        let cued = cues.iter().map(both).collect::<Result<_>>()?;
        Ok(Self { cues, cued, ..self })
    }

    /// Rows whose kept parts lie in the laboratory's store; nothing of them is kept yet.
    pub fn rows(&self, rows: Vec<Row>) -> Kept {
        Kept::new(rows).within(&self.store)
    }

    /// The same model and rows for another worker, with nothing kept of them. Both share one budget.
    pub fn beside<'b>(&self, progress: &'b dyn Progress) -> Lab<'b> {
        let store = self.store.beside();
        let fresh = |kept: &Kept| Kept::new(kept.rows().to_vec()).within(&store);
        let beside = |pairs: &PairRows| pairs.some(usize::MAX).within(&store);
        Lab {
            model: Arc::clone(&self.model),
            progress,
            seed: self.seed,
            train: fresh(&self.train),
            mixtures: self.mixtures.iter().map(fresh).collect(),
            held_out: fresh(&self.held_out),
            unseen: self.unseen.as_ref().map(fresh),
            kl: fresh(&self.kl),
            own_kl: self.own_kl.iter().map(fresh).collect(),
            pairs: self.pairs.each_ref().map(beside),
            watched: beside(&self.watched),
            measured: fresh(&self.measured),
            cues: self.cues.clone(),
            cued: self.cued.iter().map(|pairs| pairs.each_ref().map(beside)).collect(),
            texts: self.texts.clone(),
            questions: self.questions.clone(),
            store,
        }
    }

    /// The held-out rows that measures read.
    pub fn unseen(&mut self) -> &mut Kept {
        self.unseen.as_mut().unwrap_or(&mut self.held_out)
    }

    /// The plain text of a measure.
    pub fn text(&self, measure: &str) -> &[Row] {
        self.texts.get(measure).map_or(&[], Vec::as_slice)
    }

    /// The point up to which none of some edits changes anything.
    pub fn common_point<'e>(&self, edits: impl Iterator<Item = &'e Edit>) -> usize {
        let layers = self.model.config().layers;
        edits.map(|edit| first_changed_point(edit, layers)).min().unwrap_or(layers)
    }
}
