//! Gradients along training: towards which of two solutions the training loss points (paper §12).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Decoder, Edit,
    decoder::first_changed_point,
    progress::{Progress, Unit},
};

use super::{
    Common, Comparison, Difference, Inputs, Measure, Panel, Part, Reads, Setting, Shown, Solution,
    opposites::opposites,
    part::{flat, numbers},
    plots::HEIGHT,
    shown::rows,
    unit::NATS,
};
use crate::{
    Result, Table,
    claim::Subject,
    direction::{across, cosine},
    interval::Interval,
    keys::{Checked, count, keys, list, most, switch},
    lab::{Estimate, Lab, Scene, Solved, advance, evenly},
    objective::{Kept, batches},
    page::{
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout},
        numbers::quoted,
    },
    table::{Heading, Row},
    train::Trainable,
};

/// Gradients at checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gradient {
    /// The most checkpoints of a solution that are read, besides its beginning.
    pub checkpoints: usize,
    /// The steps whose checkpoints are read instead, where they were kept; 0 is the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<usize>>,
    /// The checkpoints of every so many steps are read instead, of those that were kept; and the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<usize>,
}

keys! {
    /// `measure.gradient`.
    #[derive(Clone, Debug, Default)]
    pub struct GradientKeys {
        /// The most checkpoints of a solution that are read, besides its beginning; each costs a forward and a backward pass.
        checkpoints: usize = count(1..=most::PASSES), default 6;
        /// The steps whose checkpoints are read, where they were kept; 0 is the beginning.
        steps: Vec<usize> = list(count(0..=most::STEPS)), left_out "`checkpoints` evenly apart";
        /// Every so many steps a checkpoint is read, where it was kept, and the beginning; the paper reads every 20.
        every: usize = count(1..=most::STEPS), left_out "`checkpoints` evenly apart";
    }
}

crate::row! {
    /// Minus the gradient of the training loss at one checkpoint of a solution, beside a general and a narrow solution.
    pub struct GradientRow in "gradient",
        "Gradients along training: cosines of minus the gradient of the training loss with a solution trained without a \
         KL penalty (general) and one trained with it (narrow)"
    {
        /// The solution along whose training it is read.
        solution: String,
        /// Optimiser steps; 0 is before the first.
        step: usize,
        /// The part that is derived by.
        part: Part,
        /// The general solution.
        general: String,
        /// The narrow one.
        narrow: String,
        /// Cosine with the general solution.
        cosine_general: Interval = Heading::PLAIN.ends("general_low", "general_high").late(),
        /// Cosine with the narrow one.
        cosine_narrow: Interval = Heading::PLAIN.ends("narrow_low", "narrow_high").late(),
        /// Cosine with what the general solution has across the narrow one.
        cosine_general_only: Interval = Heading::PLAIN.ends("general_only_low", "general_only_high").late(),
        /// Cosine with what the narrow solution has across the general one.
        cosine_narrow_only: Interval = Heading::PLAIN.ends("narrow_only_low", "narrow_only_high").late(),
        /// The length of the gradient.
        length: f64 = NATS,
        /// Number of rows.
        rows: usize,
        /// Their response tokens.
        tokens: usize,
        /// The seed of sampling.
        seed: u64,
    }
}

crate::row! {
    /// The cosine of minus a gradient with the general solution less that with the narrow one.
    pub struct GradientDifference in "gradient_difference",
        "Gradients compared: the cosine of minus the gradient with one solution less that with the other"
    {
        /// The solution along whose training it is read.
        along: String,
        /// Optimiser steps.
        step: usize,
        /// The general solution.
        solution: String,
        /// The narrow one.
        other: String,
        /// The difference, with its interval over parts of the rows.
        difference: Interval,
        /// The same of what each of the two has across the other one.
        only_difference: Interval = Heading::PLAIN.ends("only_low", "only_high").late(),
        /// Number of parts, each of other questions.
        parts: usize,
        /// Number of rows.
        rows: usize,
        /// The seed of sampling.
        seed: u64,
    }
}

/// The most parts into which rows are divided by their questions; what the cosine is without each gives its interval.
const PARTS: usize = 10;

impl Measure for Gradient {
    const NAME: &'static str = "gradient";
    const READS: Reads = Reads::Compared;
    const MEASURED_ROWS: bool = true;
    const COMPARISON: Option<&'static Comparison> = Some(&Comparison {
        measure: Self::NAME,
        section: "§12",
        decides: None,
        lower: false,
        more: "nearer to where training points",
        point: "step",
        unit: "",
        figure: "of cosine with minus the gradient of the training loss, along the first one's training",
        shows: "that the loss on these rows alone pulls more towards the first",
        shows_not: "that training would end there, nor where a penalty pulls",
    });
    type Found = (Vec<GradientRow>, Vec<GradientDifference>);
    type Said = Option<GradientKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "The gradient of the training loss at checkpoints, beside the trained solutions.",
            kind: switch("{ checkpoints = 6 }"),
            default: None,
        })
    }

    fn asked(said: Option<Self::Said>, _: &Common<'_>) -> Checked<Option<Self>> {
        let settings = |keys: GradientKeys| Self {
            checkpoints: keys.checkpoints(),
            steps: keys.steps.map(|steps| steps.value),
            every: keys.every.map(|every| every.value),
        };
        Ok(said.flatten().map(settings))
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        vec![("checkpoints", self.checkpoints.to_string())]
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Ok(
            json!({ "rows": inputs.rows, "settings": self, "intervals": inputs.intervals, "of": "every cosine" }),
        )
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        let rows = scene.lab.measured.rows();
        estimate.keeping_once(super::MEASURED, rows, scene.common_point(), false);
        for solution in scene.solutions.iter().filter(|solution| solution.compared) {
            let most = match (&self.steps, self.every) {
                (Some(steps), _) => steps.len(),
                (None, Some(_)) => usize::MAX,
                (None, None) => 1 + self.checkpoints,
            };
            let passes = most.min(1 + solution.checkpoints);
            estimate.gradients(rows, solution.settings, PARTS, passes);
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        let (model, seed, progress) = (std::sync::Arc::clone(&lab.model), lab.seed, lab.progress);
        self.read(&model.decoder, solved, &mut lab.measured, seed, progress)
    }

    fn panels() -> Vec<Panel> {
        let reading = "Where a step of plain gradient descent on the training loss would go from each checkpoint, without any \
                       penalty: its cosine with the general and with the narrow solution, and with what each has that the \
                       other lacks. Once the loss is almost zero its gradient is mostly noise.";
        let draw = |shown: &Shown<'_>| vec![figures(&shown.solutions, &shown.rows())];
        vec![Panel::table(GradientRow::TABLE, "Gradients along training", reading).drawn(draw)]
    }

    /// The differences along the general solution's own training: that is where training without a penalty goes.
    fn differences(tables: &[Table]) -> Vec<Difference> {
        let of = |row: GradientDifference| Difference {
            solution: row.solution,
            other: row.other,
            what: String::new(),
            at: row.step as f64,
            difference: row.difference,
            unit: "",
        };
        let along_itself = |row: &GradientDifference| row.along == row.solution;
        rows(tables).into_iter().filter(along_itself).map(of).collect()
    }
}

impl Gradient {
    /// Cosines of minus the gradient of the training loss with the general and the narrow solution of its kind, at the
    /// checkpoints of every solution that lies in one space with these.
    ///
    /// # Errors
    /// If a solution cannot be read, a tensor operation fails, or the user asked for a stop.
    pub fn read(
        &self,
        decoder: &Decoder,
        solved: &dyn Solved,
        rows: &mut Kept,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<<Self as Measure>::Found> {
        let (solutions, subjects) = (solved.compared()?, solved.subjects());
        let layers = decoder.config().layers;
        let point = solutions.iter().map(|s| first_changed_point(&s.edit, layers)).min();
        rows.keep(
            decoder,
            &rows.every_row(),
            point.unwrap_or(layers),
            false,
            "reading training rows",
            progress,
        )?;
        let parts = parts(rows);
        let tokens = rows.rows().iter().map(|row| row.response_tokens()).sum();

        let mut runs = Vec::new();
        for solution in &solutions {
            let Some(towards) = Towards::of(solution, &solutions, &subjects)? else { continue };
            runs.push((solution, towards, self.chosen(solved.steps(&solution.name)?)));
        }
        let passes: usize = runs.iter().map(|(.., steps)| steps.len()).sum();
        let task = progress.begin("gradients", Some((rows.rows().len() * passes) as u64), Unit::Count);
        let seen = |n| advance(progress, &*task, n);

        let (mut found, mut compared) = (Vec::new(), Vec::new());
        for (solution, towards, steps) in runs {
            for step in steps {
                let Some(edit) = solved.after(&solution.name, step)? else { continue };
                let trainable = Trainable::from_edit(edit, decoder, 1.0)?;
                let of = |part: &Vec<usize>| {
                    let batches = batches(rows.rows(), part);
                    Summed::of(decoder, rows, &trainable, towards.part, &batches, &seen)
                };
                let sums = parts.iter().map(of).collect::<Result<Vec<_>>>()?;
                let whole = Summed::of_all(&sums);
                let descent = whole.descent();
                let pull = towards.pull(&descent);
                let without = |sum| towards.pull(&whole.without(sum).descent());
                let without: Vec<Pull> = sums.iter().map(without).collect();
                let over_parts = |of: fn(&Pull) -> f64| {
                    let without: Vec<f64> = without.iter().map(of).collect();
                    Interval::of_left_out(of(&pull), &without)
                };
                found.push(GradientRow {
                    solution: solution.name.clone(),
                    step,
                    part: towards.part,
                    general: towards.general.0.clone(),
                    narrow: towards.narrow.0.clone(),
                    cosine_general: over_parts(|pull| pull.general),
                    cosine_narrow: over_parts(|pull| pull.narrow),
                    cosine_general_only: over_parts(|pull| pull.general_only),
                    cosine_narrow_only: over_parts(|pull| pull.narrow_only),
                    length: descent.iter().map(|x| x * x).sum::<f64>().sqrt(),
                    rows: rows.rows().len(),
                    tokens,
                    seed,
                });
                compared.push(GradientDifference {
                    along: solution.name.clone(),
                    step,
                    solution: towards.general.0.clone(),
                    other: towards.narrow.0.clone(),
                    difference: over_parts(|pull| pull.general - pull.narrow),
                    only_difference: over_parts(|pull| pull.general_only - pull.narrow_only),
                    parts: parts.len(),
                    rows: rows.rows().len(),
                    seed,
                });
            }
        }
        Ok((found, compared))
    }
}

impl Gradient {
    /// The steps of a training at which the gradient is read.
    fn chosen(&self, kept: Vec<usize>) -> Vec<usize> {
        if let Some(wanted) = &self.steps {
            return kept.into_iter().filter(|step| wanted.contains(step)).collect();
        }
        if let Some(every) = self.every {
            return kept.into_iter().filter(|step| step.is_multiple_of(every)).collect();
        }
        let later = evenly(kept.len().saturating_sub(1), self.checkpoints).map(|place| place + 1);
        [0].into_iter().chain(later).filter_map(|place| kept.get(place).copied()).collect()
    }
}

/// The rows by their questions, in at most [`PARTS`] parts of about the same size.
fn parts(rows: &Kept) -> Vec<Vec<usize>> {
    let questions = rows.questions();
    let asked = questions.iter().max().map_or(0, |last| last + 1);
    let mut parts = vec![Vec::new(); asked.min(PARTS)];
    for (row, question) in questions.into_iter().enumerate() {
        let count = parts.len();
        parts[question % count].push(row);
    }
    parts
}

/// A general and a narrow solution, by name and as [`flat`] gives them.
struct Towards {
    part: Part,
    general: (String, Vec<f64>),
    narrow: (String, Vec<f64>),
}

impl Towards {
    /// Those of a solution, where there are such in its space.
    fn of(own: &Solution, solutions: &[Solution], subjects: &[Subject]) -> Result<Option<Self>> {
        let pair = opposites(&own.name, &own.edit, solutions, subjects);
        let (Some(part), Some([general, narrow])) = (Part::grown(&own.edit), pair) else { return Ok(None) };
        let named = |of: &Solution| Ok::<_, crate::Error>((of.name.clone(), flat(&of.edit, part)?));
        Ok(Some(Self { part, general: named(general)?, narrow: named(narrow)? }))
    }

    fn pull(&self, step: &[f64]) -> Pull {
        pull(step, &self.general.1, &self.narrow.1)
    }
}

/// Cosines of one descent direction with two solutions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pull {
    /// With the general solution.
    pub general: f64,
    /// With the narrow one.
    pub narrow: f64,
    /// With what the general solution has across the narrow one.
    pub general_only: f64,
    /// With what the narrow solution has across the general one.
    pub narrow_only: f64,
}

/// Minus the gradient of the mean response loss of all rows with respect to one part of an edit (its vectors, each B, or what
/// each weight changes by),
/// one number behind the other, in the order of the edit's tensors.
///
/// # Errors
/// If a tensor operation fails.
pub fn descent(decoder: &Decoder, rows: &Kept, edit: &Edit, part: Part) -> Result<Vec<f64>> {
    let trainable = Trainable::from_edit(edit.clone(), decoder, 1.0)?;
    let sum = Summed::of(decoder, rows, &trainable, part, &rows.batches_by_tokens(), &|_| Ok(()))?;
    Ok(sum.descent())
}

/// The gradient of the summed response loss of some rows, and their response tokens.
#[derive(Clone, Default)]
struct Summed {
    gradient: Vec<f64>,
    tokens: usize,
}

impl Summed {
    fn of(
        decoder: &Decoder,
        rows: &Kept,
        trainable: &Trainable,
        part: Part,
        batches: &[Vec<usize>],
        seen: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Self> {
        let (edited, edit) = trainable.on(decoder);
        let of_part = || trainable.variables().filter(|(name, _)| part_of(name) == part).map(|(_, var)| var);
        let mut sum = Self { gradient: vec![0.0; of_part().map(|var| var.elem_count()).sum()], tokens: 0 };
        for batch in batches {
            let (losses, gradients) = rows.response_gradient(edited, batch, edit, 1.0)?;
            sum.tokens += losses.len();
            let mut rest = sum.gradient.as_mut_slice();
            for var in of_part() {
                let (own, later) = rest.split_at_mut(var.elem_count());
                if let Some(gradient) = gradients.get(var) {
                    own.iter_mut().zip(numbers(&gradient)?).for_each(|(sum, x)| *sum += x);
                }
                rest = later;
            }
            seen(batch.len() as u64)?;
        }
        Ok(sum)
    }

    fn of_all(parts: &[Self]) -> Self {
        let mut all = parts.first().cloned().unwrap_or_default();
        for part in parts.iter().skip(1) {
            all.gradient.iter_mut().zip(&part.gradient).for_each(|(sum, x)| *sum += x);
            all.tokens += part.tokens;
        }
        all
    }

    fn without(&self, part: &Self) -> Self {
        let gradient = self.gradient.iter().zip(&part.gradient).map(|(sum, x)| sum - x).collect();
        Self { gradient, tokens: self.tokens - part.tokens }
    }

    /// Minus the gradient of the mean loss.
    fn descent(&self) -> Vec<f64> {
        self.gradient.iter().map(|x| -x / self.tokens as f64).collect()
    }
}

/// The part that a variable of a [`Trainable`] belongs to.
fn part_of(name: &str) -> Part {
    match name.rsplit('.').next() {
        Some("lora_A") => Part::A,
        Some("lora_B") => Part::B,
        _ if name.starts_with("steering.") => Part::Vector,
        _ => Part::Weight,
    }
}

/// The angles of a descent direction to a general and a narrow solution, given as [`flat`] gives them.
pub fn pull(step: &[f64], general: &[f64], narrow: &[f64]) -> Pull {
    Pull {
        general: cosine(step, general),
        narrow: cosine(step, narrow),
        general_only: cosine(step, &across(general, narrow)),
        narrow_only: cosine(step, &across(narrow, general)),
    }
}

/// The cosines along the training of every solution.
fn figures(solutions: &[&str], rows: &[GradientRow]) -> Vec<Figure> {
    type Line = fn(&GradientRow) -> Interval;
    let figure = |solution: &&str| {
        let own: Vec<_> = rows.iter().filter(|row| row.solution == *solution).collect();
        let first = own.first()?;
        let (general, narrow) = (&first.general, &first.narrow);
        let lines: [(String, Line); 4] = [
            (general.clone(), |row| row.cosine_general),
            (narrow.clone(), |row| row.cosine_narrow),
            (format!("{general} across {narrow}"), |row| row.cosine_general_only),
            (format!("{narrow} across {general}"), |row| row.cosine_narrow_only),
        ];
        let mut drawing = Drawing::new(Growing::Up);
        for (i, (name, line)) in lines.into_iter().enumerate() {
            let known = own.iter().filter(|row| line(row).value.is_finite());
            let point = |row: &&GradientRow| Point {
                at: row.step as f64,
                value: line(row),
                words: format!("{name}, step {}: {}", row.step, line(row).words()),
            };
            let points = known.map(point).collect();
            drawing.add(Series { name: Some(name), look: Look::at(i), style: Style::MarkedLine, points });
        }
        let caption = format!("Minus the gradient along the training of {}", quoted(solution));
        let layout = layout(axis("optimiser step"), axis("cosine"));
        (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
    };
    solutions.iter().filter_map(figure).collect()
}
