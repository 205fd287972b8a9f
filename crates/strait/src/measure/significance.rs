//! Significance: how much a direction changes the model's predictions on pre-training text (paper §10.3).
//!
//! Every direction is brought to the same norms, in units of the mean norm of the study's solutions of its kind as trained:
//! a unit that vectors and LoRA share.

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Edit, Model,
    decoder::first_changed_point,
    progress::{Progress, Task, Unit},
    sample::{Sampling, sample},
};

use super::{
    Common, Comparison, Difference, Inputs, Measure, Panel, PlainText, Reads, Setting, Shown, Solution,
    TextSource, kind,
    part::{shape, with_tensors},
    plots::{HEIGHT, KINDS},
    shown::rows,
    unit::NATS,
};
use crate::{
    Result, Table,
    interval::Interval,
    keys::{
        At, Cell, Checked, Form, Kind, at, count, entries, keys, list, most, off_or_table, positive, table,
        whole, word,
    },
    lab::{Estimate, Lab, Scene, Solved, advance, differences, every_two, finite, mean, point},
    objective::{Kept, Row},
    page::{
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout},
        numbers::number,
    },
    table::{Heading, Row as _},
    train::{EditKind, Settings},
    world::{self, WorldText},
};

/// The reading of pre-training text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Significance {
    /// The text.
    #[serde(flatten)]
    pub source: PlainText,
    /// Norms, each a multiple of the mean norm of the solutions of a kind.
    pub norms: Vec<f64>,
    /// Random directions of each shape.
    pub random: usize,
}

keys! {
    /// `measure.significance`.
    #[derive(Clone, Debug)]
    pub struct SignificanceKeys {
        /// Files of passages; documents of a world by { world = "default-0", seed = 0 }.
        text: Vec<At<TextKeys>> = entries(at(source())), required;
        /// Passages that are read.
        passages: usize = count(2..=most::ROWS), default 100;
        /// The most tokens of a passage that are read.
        tokens: usize = count(2..=most::TOKENS), default 512;
        /// Random directions beside each solution.
        random: usize = count(1..=most::PASSES), default 5;
        /// Multiples of the mean norm of the solutions as trained.
        norms: Vec<f64> = list(positive(most::FACTOR)), default vec![0.25, 0.5, 1.0, 1.5, 2.0];
    }
}

/// A file of passages, or documents of a world.
#[derive(Clone, Debug)]
pub enum TextKeys {
    /// A path.
    File(String),
    /// A world.
    World(WorldTextKeys),
}

keys! {
    /// Documents of a world, whose speakers are not named.
    #[derive(Clone, Debug)]
    pub struct WorldTextKeys {
        /// A built-in world, or the folder of one.
        world: String = word(), left_out "that of the model";
        /// The seed by which documents are drawn, as many as there are `passages`.
        seed: u64 = whole(), default 0;
    }
}

fn source() -> Kind<TextKeys> {
    let words = r#"a path, or { world = "...", seed = 0 }"#;
    let (path, of_world) = (word(), table());
    let shapes = [path.form().shapes, of_world.form().shapes].concat();
    let read = move |cell: Cell| match cell.table() {
        Some(_) => of_world.read(cell).map(TextKeys::World),
        None if cell.text().is_some() => path.read(cell).map(TextKeys::File),
        None => Err(cell.unexpected(words)),
    };
    // No key has text by default.
    Kind::new(Form { words: words.into(), shapes }, read, |_| Value::Null)
}

fn of_source(At { value, line }: &At<TextKeys>, common: &Common<'_>) -> Checked<TextSource> {
    const KEY: &str = "measure.significance.text";
    Ok(match value {
        TextKeys::File(path) => {
            TextSource::File(common.folder.file(KEY, &At { value: path.clone(), line: *line })?)
        }
        TextKeys::World(keys) => TextSource::World(WorldText {
            world: world::named(KEY, keys.world.as_ref(), *line, common.folder, common.world)?,
            seed: keys.seed(),
        }),
    })
}

/// Tokens of a passage that the base model continues.
pub const BEGINNING: usize = 32;

/// Tokens that it writes, at most (paper §10.3).
pub const CONTINUATION: usize = 50;

const MEAN_NORMS: Heading = Heading::unit("mean solution norms");

crate::row! {
    /// A direction's mean KL(base ‖ edited) a token on pre-training text, at one norm.
    pub struct SignificanceRow in "significance",
        "Significance: KL(base ‖ edited) on pre-training text, all directions brought to the same norms; the unit \
         is the mean norm of the solutions as trained"
    {
        /// The solution, or a random direction.
        direction: String,
        /// True for a random direction.
        random: bool,
        /// The kind of edit, which decides the text that it was read on.
        edit: String,
        /// `passages`, or the base model's `continuations` of them.
        text: String,
        /// The norm.
        norm: f64,
        /// The norm in mean norms of the solutions.
        relative_norm: f64 = MEAN_NORMS,
        /// The mean, with its interval over passages.
        kl: Interval = NATS,
        /// Number of passages.
        passages: usize,
        /// Their tokens.
        tokens: usize,
        /// The seed of sampling.
        seed: u64,
    }
}

crate::row! {
    /// A solution's KL less that of another, or less the mean of random directions, at one norm.
    pub struct SignificanceDifference in "significance_difference",
        "Significance compared: the KL of a solution less that of another, or less the mean of the random \
         directions of its shape, at the same norm, paired over passages"
    {
        /// The solution.
        solution: String,
        /// The other one, or the mean of random directions.
        other: String,
        /// The norm.
        norm: f64,
        /// The norm in mean norms of the solutions.
        relative_norm: f64 = MEAN_NORMS,
        /// The difference, with its interval over passages.
        difference: Interval = NATS,
        /// Number of passages.
        passages: usize,
        /// Their tokens.
        tokens: usize,
        /// The seed of sampling.
        seed: u64,
    }
}

impl Measure for Significance {
    const NAME: &'static str = "significance";
    const READS: Reads = Reads::Compared;
    const COMPARISON: Option<&'static Comparison> = Some(&Comparison {
        measure: Self::NAME,
        section: "§10.3",
        decides: None,
        lower: false,
        more: "more significant",
        point: "norm",
        unit: " in mean norms of the solutions",
        figure: "nats a token of KL to base on pre-training text",
        shows: "that a change of the same length moves predictions on unrelated text more",
        shows_not: "that what it moves was of use in pre-training, nor which behaviour it brings",
    });
    type Found = (Vec<SignificanceRow>, Vec<SignificanceDifference>);
    type Said = Option<SignificanceKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "How much the solutions change plain text, beside random directions as long as they are. It is measured \
                    where `text` is given: `.txt` (paragraphs), `.jsonl` (`text` of each line) or `.parquet` (column \
                    `text`), a path or a list of them. Norms are multiples of the mean norm of the solutions as trained.",
            kind: off_or_table(r#"{ text = "passages.jsonl" }"#),
            default: None,
        })
    }

    fn asked(said: Option<Self::Said>, common: &Common<'_>) -> Checked<Option<Self>> {
        let Some(keys) = said.flatten() else { return Ok(None) };
        let text =
            keys.text.value.iter().map(|source| of_source(source, common)).collect::<Result<_, _>>()?;
        let source = PlainText { text, passages: keys.passages(), tokens: keys.tokens() };
        Ok(Some(Self { source, norms: keys.norms(), random: keys.random() }))
    }

    fn text(&self) -> Option<&PlainText> {
        Some(&self.source)
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        vec![("passages", self.source.passages.to_string())]
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        let PlainText { text, passages, tokens } = &self.source;
        let text = text.iter().map(|source| match source {
            TextSource::File(file) => (inputs.hash)(file.path()).map(Value::from),
            TextSource::World(text) => text.inputs(),
        });
        Ok(json!({
            "text": text.collect::<Result<Vec<_>>>()?,
            "asked": inputs.asked,
            "passages": passages,
            "tokens": tokens,
            "directions": { "norms": self.norms, "random": self.random },
            "intervals": inputs.intervals,
        }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        let text = scene.lab.text(Self::NAME);
        let (vectors, adapters): (Vec<&Settings>, Vec<_>) =
            scene.compared().partition(|s| matches!(s.edit, EditKind::Steering { .. }));
        let passes = |alike: &[&Settings]| (alike.len() + self.random) * self.norms.len();
        let lowest = |alike: &[&Settings]| alike.iter().map(|s| point(s)).min();
        if let Some(point) = lowest(&vectors) {
            estimate.keeping(text, point, true);
            estimate.divergences(text, point, passes(&vectors));
        }
        if let Some(point) = lowest(&adapters) {
            estimate.continuations(text, [BEGINNING, CONTINUATION], point, passes(&adapters));
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        let solutions = solved.compared()?;
        let passages = lab.rows(lab.text(Self::NAME).to_vec());
        self.read(&lab.model, &solutions, &passages, lab.seed, lab.progress)
    }

    fn panels() -> Vec<Panel> {
        let reading = "How much a direction changes the predictions on plain text that has nothing to do with the task, all \
                       directions brought to the same norms. A curve above the grey ones changes more there than random directions do; \
                       bars are 95 % intervals over passages.";
        let draw = |shown: &Shown<'_>| vec![figures(&shown.solutions, &shown.rows())];
        let table = SignificanceRow::TABLE;
        let missing = "significance on pre-training text";
        vec![Panel::table(table, "Significance on pre-training text", reading).drawn(draw).missed(missing)]
    }

    fn differences(tables: &[Table]) -> Vec<Difference> {
        let of = |row: SignificanceDifference| Difference {
            solution: row.solution,
            other: row.other,
            what: String::new(),
            at: row.relative_norm,
            difference: row.difference,
            unit: "nats/token",
        };
        rows(tables).into_iter().map(of).collect()
    }
}

impl Significance {
    /// Mean KL(base ‖ edited) in nats a token, for every solution and for random directions of its shape, all at the same
    /// norms: for vectors on all tokens of the passages, for LoRA on the base model's own continuations of their beginnings.
    /// With them every solution's KL less the mean of the random ones and less that of every later solution of its kind,
    /// paired over passages.
    ///
    /// # Errors
    /// If a tensor operation fails, or the user asked for a stop.
    pub fn read(
        &self,
        model: &Model,
        solutions: &[Solution],
        passages: &Kept,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<<Self as Measure>::Found> {
        let mut measured = Measured { seed, rows: Vec::new(), differences: Vec::new() };
        for of in ["steering", "lora", "full", "composed"] {
            let mut alike = Vec::new();
            for solution in solutions.iter().filter(|s| kind(&s.edit) == of) {
                let norm = solution.edit.norm()?;
                // What has no length cannot be brought to a norm.
                if norm > 0.0 {
                    alike.push(Normed { solution, norm, shape: shape(&solution.edit) });
                }
            }
            if alike.is_empty() {
                continue;
            }
            let rows = match of {
                "lora" | "full" => continuations(model, passages.rows(), seed, progress)?,
                _ => passages.rows().to_vec(),
            };
            let text = if matches!(of, "lora" | "full") { "continuations" } else { "passages" };
            let directions = directions(&alike, self.random, seed)?;
            let unit = alike.iter().map(|s| s.norm).sum::<f64>() / alike.len() as f64;
            let kl = read(model, passages.others(rows), &directions, unit, &self.norms, progress)?;
            measured.add(text, &directions, unit, &self.norms, &kl);
        }
        Ok((measured.rows, measured.differences))
    }
}

/// A solution with what it is compared by.
struct Normed<'a> {
    solution: &'a Solution,
    norm: f64,
    shape: String,
}

/// A solution, or a random edit of the same shape.
struct Direction {
    name: String,
    random: bool,
    kind: &'static str,
    shape: String,
    edit: Edit,
    norm: f64,
}

/// The solutions, then the random directions of every shape among them.
fn directions(solutions: &[Normed<'_>], random: usize, seed: u64) -> Result<Vec<Direction>> {
    let mut directions: Vec<Direction> = solutions
        .iter()
        .map(|s| Direction {
            name: s.solution.name.clone(),
            random: false,
            kind: kind(&s.solution.edit),
            shape: s.shape.clone(),
            edit: s.solution.edit.clone(),
            norm: s.norm,
        })
        .collect();
    let one_shape = solutions.iter().all(|s| s.shape == solutions[0].shape);
    let first_of_shape =
        |i: &usize| solutions[..*i].iter().all(|earlier| earlier.shape != solutions[*i].shape);
    for i in (0..solutions.len()).filter(first_of_shape) {
        let like = &solutions[i];
        for number in 1..=random {
            let edit = random_like(&like.solution.edit, seed, number as u64)?;
            directions.push(Direction {
                name: match one_shape {
                    true => format!("random {number}"),
                    false => format!("random {number} like {}", like.solution.name),
                },
                random: true,
                kind: kind(&edit),
                shape: like.shape.clone(),
                norm: edit.norm()?,
                edit,
            });
        }
    }
    Ok(directions)
}

/// An edit of the same shape at the same sites with Gaussian entries; `number` tells those of one seed apart.
///
/// # Errors
/// If a tensor operation fails.
pub fn random_like(edit: &Edit, seed: u64, number: u64) -> Result<Edit> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    with_tensors(edit, &mut |_, tensor| {
        let drawn: Vec<f32> = StandardNormal.sample_iter(&mut rng).take(tensor.elem_count()).collect();
        Ok(Tensor::from_vec(drawn, tensor.shape(), tensor.device())?)
    })
}

/// The base model's own continuations of the passages' beginnings, sampled at temperature 0.7 and top-p 0.9; what it wrote
/// are the responses.
///
/// # Errors
/// If a passage does not fit the model, or the user asked for a stop.
pub fn continuations(
    model: &Model,
    passages: &[Row],
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<Row>> {
    let task = progress.begin("sampling continuations", Some(passages.len() as u64), Unit::Count);
    let mut rows = Vec::with_capacity(passages.len());
    for (passage, seed) in passages.iter().zip(seed..) {
        let mut ids = passage.ids[..passage.ids.len().min(BEGINNING)].to_vec();
        let sampling = Sampling { temperature: 0.7, top_p: 0.9, max_tokens: CONTINUATION, seed, top_k: None };
        let written = sample(model, &ids, None, 1, &sampling, |_, _| !progress.stopped())?;
        let start = ids.len();
        ids.extend(written.into_iter().flat_map(|continuation| continuation.ids));
        // A beginning that fills the model's context has no continuation.
        if ids.len() > start {
            rows.push(Row { responses: std::iter::once(start..ids.len()).collect(), ids });
        }
        advance(progress, &*task, 1)?;
    }
    Ok(rows)
}

/// KL of one direction at one norm: of every row its mean and its number of tokens.
type RowsKl = Vec<(f64, usize)>;

/// KL to base of every direction at every norm, `[direction][norm]`.
fn read(
    model: &Model,
    mut kept: Kept,
    directions: &[Direction],
    unit: f64,
    norms: &[f64],
    progress: &dyn Progress,
) -> Result<Vec<Vec<RowsKl>>> {
    let decoder = &model.decoder;
    let passes = directions.len() * norms.len();
    let every_row = kept.every_row();
    let total = (every_row.len() * passes) as u64;
    let task = progress.begin("significance", Some(total), Unit::Count);
    let mut kept_at = None;
    let mut all = Vec::with_capacity(directions.len());
    for direction in directions {
        let point = first_changed_point(&direction.edit, decoder.config().layers);
        if kept_at != Some(point) {
            kept.keep(decoder, &every_row, point, true, "reading passages", progress)?;
            kept_at = Some(point);
        }
        let at = |norm: &f64| {
            let edit = direction.edit.scaled(norm * unit / direction.norm)?;
            row_kl(model, &kept, &edit, &*task, progress)
        };
        all.push(norms.iter().map(at).collect::<Result<_>>()?);
    }
    Ok(all)
}

/// Mean KL of every row: over its response tokens where it has some, else over all of its tokens.
fn row_kl(
    model: &Model,
    kept: &Kept,
    edit: &Edit,
    task: &dyn Task,
    progress: &dyn Progress,
) -> Result<RowsKl> {
    let decoder = &model.decoder;
    let continued = kept.rows().iter().any(|row| row.response_tokens() > 0);
    let mut rows = Vec::with_capacity(kept.rows().len());
    for batch in kept.batches_by_tokens() {
        let kl = match continued {
            true => kept.response_kl(decoder, &batch, edit)?,
            false => kept.kl(decoder, &batch, edit)?,
        };
        let mut rest = kl.as_slice();
        for &row in &batch {
            let of_row = &kept.rows()[row];
            let tokens = if continued { of_row.response_tokens() } else { of_row.ids.len() };
            let (own, later) = rest.split_at(tokens);
            let mean = mean(own);
            // A passage that nothing continues has no mean, and no weight.
            let mean = if tokens == 0 { mean } else { finite("KL of a passage", row, true, mean)? };
            rows.push((mean, tokens));
            rest = later;
        }
        advance(progress, task, batch.len() as u64)?;
    }
    Ok(rows)
}

/// The rows of all kinds of edits.
struct Measured {
    seed: u64,
    rows: Vec<SignificanceRow>,
    differences: Vec<SignificanceDifference>,
}

/// The name of the mean over random directions in comparisons; no solution can have a name with blanks.
const RANDOM: &str = "mean of random";

impl Measured {
    fn add(
        &mut self,
        text: &'static str,
        directions: &[Direction],
        unit: f64,
        norms: &[f64],
        kl: &[Vec<RowsKl>],
    ) {
        let weights: Vec<f64> = match kl.first().and_then(|norms| norms.first()) {
            Some(rows) => rows.iter().map(|&(_, tokens)| tokens as f64).collect(),
            None => return,
        };
        let (passages, tokens, seed) = (weights.len(), weights.iter().sum::<f64>() as usize, self.seed);
        let each_alone: Vec<usize> = (0..passages).collect();
        let mean = |values: &[f64]| Interval::of_clusters(values, &weights, &each_alone);
        for (at, &relative_norm) in norms.iter().enumerate() {
            let norm = relative_norm * unit;
            let read: Vec<(&Direction, Vec<f64>)> = directions
                .iter()
                .zip(kl)
                .map(|(direction, kl)| (direction, kl[at].iter().map(|&(kl, _)| kl).collect()))
                .collect();
            self.rows.extend(read.iter().map(|(direction, kl)| SignificanceRow {
                direction: direction.name.clone(),
                random: direction.random,
                edit: direction.kind.into(),
                text: text.into(),
                norm,
                relative_norm,
                kl: mean(kl),
                passages,
                tokens,
                seed,
            }));
            let mut differ = |solution: &Direction, other: &str, values: &[f64]| {
                self.differences.push(SignificanceDifference {
                    solution: solution.name.clone(),
                    other: other.into(),
                    norm,
                    relative_norm,
                    difference: mean(values),
                    passages,
                    tokens,
                    seed,
                });
            };
            let (random, solved): (Vec<_>, Vec<_>) = read.iter().partition(|(d, _)| d.random);
            for (solution, kl) in &solved {
                let alike: Vec<&Vec<f64>> =
                    random.iter().filter(|(d, _)| d.shape == solution.shape).map(|(_, kl)| kl).collect();
                let of_random: Vec<f64> = (0..passages)
                    .map(|row| alike.iter().map(|kl| kl[row]).sum::<f64>() / alike.len() as f64)
                    .collect();
                differ(solution, RANDOM, &differences(kl, &of_random));
            }
            for ((one, kl), (other, other_kl)) in every_two(&solved) {
                differ(one, &other.name, &differences(kl, other_kl));
            }
        }
    }
}

/// KL to base over the norm that all directions are brought to, one figure a kind of edit.
fn figures(solutions: &[&str], rows: &[SignificanceRow]) -> Vec<Figure> {
    let figure = |(edit, words): &(&str, &str)| {
        let mut drawing = Drawing::new(Growing::Up);
        let points = |direction: &str, random: bool| {
            let own =
                rows.iter().filter(|r| r.edit == *edit && r.direction == direction && r.random == random);
            let point = |r: &SignificanceRow| Point {
                at: r.relative_norm,
                value: if random { Interval::bare(r.kl.value) } else { r.kl },
                words: format!("{direction}, norm {}: {}", number(r.relative_norm), r.kl.words()),
            };
            let mut points: Vec<_> = own.map(point).collect();
            points.sort_by(|a, b| a.at.total_cmp(&b.at));
            points
        };
        let mut random: Vec<&str> =
            rows.iter().filter(|r| r.random && r.edit == *edit).map(|r| r.direction.as_str()).collect();
        random.sort_unstable();
        random.dedup();
        for (i, direction) in random.into_iter().enumerate() {
            let name = (i == 0).then(|| "random".to_owned());
            let points = points(direction, true);
            drawing.add(Series { name, look: Look::of_random(), style: Style::Line, points });
        }
        for (place, solution) in solutions.iter().enumerate() {
            let name = Some((*solution).into());
            let points = points(solution, false);
            drawing.add(Series { name, look: Look::at(place), style: Style::MarkedLine, points });
        }
        let text = if matches!(*edit, "lora" | "full") { "base's own continuations" } else { "passages" };
        let caption = format!("KL(base ‖ edited) of {words} on {text}");
        let layout = layout(axis("norm (mean norms of the solutions)"), axis("nats a token"));
        (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
    };
    KINDS.iter().filter_map(figure).collect()
}
