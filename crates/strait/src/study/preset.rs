//! The papers' settings (Table 9 of the paper), in strait's units.

use strait_model::edit::Projection;

use super::{
    Preset, Search,
    file::{EditName, KlKeys, TrainKeys, WeightKeys},
    numbers::shown,
};
use crate::{
    keys::{At, Several},
    train::{EditKind, Length, Schedule, Settings},
};

/// The vocabulary of the paper's model. The paper's code averages the KL over tokens and vocabulary, strait over tokens:
/// lambda divided by this is a weight here (paper §6).
const VOCABULARY: f64 = 152_064.0;

/// The block that the paper trains at, and the blocks of its model.
const LAYER: (usize, usize) = (24, 48);

/// A column of Table 9, in the paper's own units.
struct Column {
    edit: EditName,
    learning_rate: f64,
    alpha: f64,
    rank: usize,
    weight_decay: f64,
    epochs: f64,
    epochs_with_kl: f64,
    lambda: f64,
}

impl Preset {
    fn column(self) -> Column {
        let steering = Column {
            edit: EditName::Steering,
            learning_rate: 1e-4,
            alpha: 256.0,
            rank: 1,
            weight_decay: 0.0,
            epochs: 2.0,
            epochs_with_kl: 2.0,
            lambda: 1e6,
        };
        let rank1 = Column {
            edit: EditName::Lora,
            learning_rate: 2e-5,
            weight_decay: 0.01,
            epochs: 1.0,
            epochs_with_kl: 3.0,
            lambda: 1e5,
            ..steering
        };
        match self {
            Self::PaperSteering => steering,
            Self::PaperRank1 => rank1,
            Self::PaperRank32 => Column { rank: 32, alpha: 64.0, ..rank1 },
        }
    }

    /// The kind of edit it trains.
    pub(super) fn edit(self) -> EditName {
        self.column().edit
    }

    /// Its weight of the KL penalty, in nats per nat: the paper's lambda over its vocabulary.
    pub fn kl_weight(self) -> f64 {
        self.column().lambda / VOCABULARY
    }

    /// Its learning rate, in strait's units.
    fn learning_rate(self) -> f64 {
        let column = self.column();
        match column.edit {
            // What is added is alpha times the trained vector, and a step of Adam is the rate itself.
            EditName::Steering => column.learning_rate * column.alpha,
            EditName::Lora | EditName::Full => column.learning_rate,
        }
    }

    /// The keys that a solution takes where the study says nothing.
    pub(super) fn keys(self, with_kl: bool) -> TrainKeys {
        let column = self.column();
        TrainKeys {
            learning_rate: key(Several::one(self.learning_rate())),
            weight_decay: key(column.weight_decay),
            rank: key(Several::one(column.rank)),
            alpha: key(column.alpha),
            projections: key(vec![Projection::Down]),
            schedule: key(Schedule::Linear),
            warmup: key(5),
            batch_size: key(2),
            accumulation: key(8),
            epochs: key(if with_kl { column.epochs_with_kl } else { column.epochs }),
            checkpoint_every: key(5),
            ..TrainKeys::default()
        }
    }

    /// The keys that its penalty takes where the study says nothing.
    pub(super) fn kl(self) -> KlKeys {
        KlKeys {
            weight: key(WeightKeys::Given(Several::one(self.kl_weight()))),
            batch_size: key(8),
            ..KlKeys::default()
        }
    }

    /// The paper's settings as they became for a solution on a model of `depth` blocks, one line each; what the study says
    /// otherwise is named as such.
    pub fn became(self, settings: &Settings, search: Option<&Search>, depth: usize) -> Vec<String> {
        let column = self.column();
        let defaults = self.keys(settings.kl.is_some());
        let mut lines = Lines::default();

        let (layer, depths) = LAYER;
        let layers = match &settings.edit {
            EditKind::Steering { layer } => format!("layer {layer} of {depth}"),
            EditKind::Lora { layers, .. } => match layers.as_slice() {
                [layer] => format!("layer {layer} of {depth}"),
                layers => format!("layers {layers:?} of {depth}"),
            },
            // No preset is one.
            EditKind::Full => format!("all layers of {depth}"),
        };
        lines.translated(
            format!("layer {layer} of {depths}, half the depth,"),
            format!("layer {} of {depth}", depth / 2),
            layers,
            "",
        );
        let rate = shown(column.learning_rate);
        match &settings.edit {
            EditKind::Steering { .. } => lines.translated(
                format!("learning rate {rate} times alpha {}", column.alpha),
                shown(self.learning_rate()),
                shown(settings.learning_rate),
                ", relative to the residual stream's scale",
            ),
            EditKind::Full => lines.kept("learning rate", rate, shown(settings.learning_rate)),
            EditKind::Lora { projections, rank, alpha, rslora, .. } => {
                let paths = |all: &[Projection]| all.iter().map(|p| p.path()).collect::<Vec<_>>().join(", ");
                lines.kept("learning rate", rate, shown(settings.learning_rate));
                lines.kept("rank", defaults.rank().first(), rank);
                lines.kept("alpha", defaults.alpha(), alpha);
                lines.kept(
                    "scale",
                    "alpha / rank",
                    if *rslora { "alpha / sqrt(rank)" } else { "alpha / rank" },
                );
                lines.kept("projection", paths(&defaults.projections()), paths(projections));
            }
        }
        if let Some(kl) = settings.kl {
            let weight = format!("{:.2}", self.kl_weight());
            let same = kl.weight == self.kl_weight();
            lines.translated(
                format!("lambda {:e} / 152,064", column.lambda),
                weight.clone(),
                match search {
                    Some(_) => "searched for".into(),
                    None if same => weight,
                    None => shown(kl.weight),
                },
                ", the KL weight in nats per nat",
            );
            lines.kept("KL rows in a micro-batch", self.kl().batch_size(), kl.batch_size);
        }
        lines.kept("weight decay", defaults.weight_decay(), settings.weight_decay);
        let batch = |rows: usize, times: usize| format!("{rows} x {times}");
        lines.kept(
            "batch",
            batch(defaults.batch_size(), defaults.accumulation()),
            batch(settings.batch_size, settings.accumulation),
        );
        lines.kept("schedule", schedule(defaults.schedule()), schedule(settings.schedule));
        lines.kept("warm-up steps", defaults.warmup(), settings.warmup);
        lines.kept("length", length(Length::Epochs(defaults.epochs())), length(settings.length));
        lines.kept("checkpoint every", defaults.checkpoint_every(), settings.checkpoint_every);
        lines.finish()
    }
}

/// A key of a preset, which stands on no line of the study.
fn key<T>(value: T) -> Option<At<T>> {
    Some(At { value, line: 0 })
}

/// Lines that set the paper's values beside those of a solution.
#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    kept: Vec<String>,
}

impl Lines {
    /// A value of the paper that means something else here; `here` is what the solution has, in the same `unit`.
    fn translated(&mut self, paper: String, became: String, here: String, unit: &str) {
        self.lines.push(match became == here {
            true => format!("{paper} became {became}{unit}"),
            false => format!("{paper} would be {became}{unit}; the study says {here}"),
        });
    }

    /// A value of the paper that means the same here.
    fn kept(&mut self, name: &str, paper: impl ToString, here: impl ToString) {
        let (paper, here) = (paper.to_string(), here.to_string());
        match paper == here {
            true => self.kept.push(format!("{name} {paper}")),
            false => self.lines.push(format!("{name} {paper}; the study says {here}")),
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.kept.is_empty() {
            self.lines.push(format!("as in the paper: {}", self.kept.join(", ")));
        }
        self.lines
    }
}

fn schedule(schedule: Schedule) -> &'static str {
    match schedule {
        Schedule::Linear => "linear",
        Schedule::Cosine => "cosine",
        Schedule::Constant => "constant",
    }
}

fn length(length: Length) -> String {
    match length {
        Length::Epochs(1.0) => "1 epoch".into(),
        Length::Epochs(epochs) => format!("{epochs} epochs"),
        Length::Steps(1) => "1 step".into(),
        Length::Steps(steps) => format!("{steps} steps"),
    }
}
