//! Efficiency: the response loss as solutions are scaled, all on one axis of norms (paper §10.1).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{Decoder, decoder::first_changed_point, progress::Progress};

use super::{
    AS_TRAINED, Common, Comparison, Difference, Inputs, LossesOf, Measure, Panel, Reads, Setting, Shown,
    Solution, kind,
    plots::{HEIGHT, KINDS},
    shown::rows,
    unit::NATS,
};
use crate::{
    Result, Table,
    interval::Interval,
    keys::{self, Checked, count, keys, list, list_with, most, positive, switch},
    lab::{
        Estimate, Lab, Scene, Solved, differences, every_two, losses_of, point, response_tokens,
        weighted_mean,
    },
    objective::Kept,
    page::{
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout},
        numbers::number,
    },
    table::{Heading, Row, Word},
};

/// The scaling of solutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Efficiency {
    /// Factors of the scale grid; 1 is the solution as trained.
    pub factors: Vec<f64>,
    /// Shared norms above 0, evenly up to the largest norm that a solution of the kind was trained to.
    pub norms: usize,
    /// Multiples of the mean norm of the solutions of a kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean_norms: Vec<f64>,
}

keys! {
    /// `measure.efficiency`, by default with the paper's factors (paper §10.1).
    #[derive(Clone, Debug, Default)]
    pub struct EfficiencyKeys {
        /// Factors that solutions are scaled by.
        factors: Vec<f64> = list_with(keys::number(0.0..=most::FACTOR), 1.0, AS_TRAINED),
            default (0..=8).map(|quarters| f64::from(quarters) / 4.0).collect();
        /// The number of norms that all solutions are brought to.
        norms: usize = count(1..=most::PASSES), default 8;
        /// Multiples of the mean norm of the compared solutions of a kind, to which all are also brought.
        mean_norms: Vec<f64> = list(positive(most::FACTOR)), left_out "none";
    }
}

/// The reason for which a solution was read at a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// A norm that all solutions of a kind share.
    Shared,
    /// A factor of the grid.
    Scale,
    /// The factor of the least loss.
    Optimum,
    /// A multiple of the mean norm of the solutions of a kind.
    Mean,
}

impl Word for Grid {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Shared, "shared"), (Self::Scale, "scale"), (Self::Optimum, "optimum"), (Self::Mean, "mean")];
}

crate::row! {
    /// A solution's response loss at one norm.
    pub struct EfficiencyRow in "efficiency",
        "Efficiency: response loss on training rows as each solution is scaled to shared norms, over a grid of \
         factors, and to its optimum"
    {
        /// The solution.
        solution: String,
        /// The kind of its edit; norms of different kinds do not compare.
        edit: String,
        /// The grid that the factor is of.
        kind: Grid,
        /// The factor.
        factor: f64,
        /// The norm.
        norm: f64,
        /// The loss, with its interval over questions.
        loss: Interval = NATS,
        /// The base model's loss less this one.
        gain: f64 = NATS,
        /// The gain over the squared norm.
        gain_per_norm2: f64 = Heading::unit("nats/token/norm²"),
        /// True for an optimum on the edge of its grid; none for other rows.
        at_edge: Option<bool>,
        /// Number of rows.
        rows: usize,
        /// Their response tokens.
        tokens: usize,
        /// The seed of sampling.
        seed: u64,
    }
}

crate::row! {
    /// One solution's loss less that of another at the same norm, or both at their optima.
    pub struct EfficiencyDifference in "efficiency_difference",
        "Efficiency compared: the response loss of one solution less that of another, at shared norms and at \
         their optima, paired over rows"
    {
        /// The solution.
        solution: String,
        /// The other one.
        other: String,
        /// Shared norms, or optima.
        kind: Grid,
        /// The solution's norm.
        norm: f64,
        /// The other's norm.
        other_norm: f64,
        /// The difference, with its interval over questions.
        difference: Interval = NATS,
        /// Number of rows.
        rows: usize,
        /// Their response tokens.
        tokens: usize,
        /// The seed of sampling.
        seed: u64,
    }
}

impl Measure for Efficiency {
    const NAME: &'static str = "efficiency";
    const READS: Reads = Reads::Compared;
    const MEASURED_ROWS: bool = true;
    const COMPARISON: Option<&'static Comparison> = Some(&Comparison {
        measure: Self::NAME,
        section: "§10.1",
        decides: Some("shared"),
        lower: true,
        more: "more efficient",
        point: "norm",
        unit: "",
        figure: "nats a token of training loss",
        shows: "that a change of the same length lowers the loss on these training rows more",
        shows_not: "that this is why training finds it, nor anything of rows that were not read",
    });
    type Found = (Vec<EfficiencyRow>, Vec<EfficiencyDifference>);
    type Said = Option<EfficiencyKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "Loss as solutions are scaled, and at norms they share.",
            kind: switch("{ factors = [0, 1, 2] }"),
            default: Some(EfficiencyKeys::default()),
        })
    }

    fn asked(said: Option<Self::Said>, _: &Common<'_>) -> Checked<Option<Self>> {
        let settings = |keys: EfficiencyKeys| Self {
            factors: keys.factors(),
            norms: keys.norms(),
            mean_norms: keys.mean_norms.map_or_else(Vec::new, |multiples| multiples.value),
        };
        Ok(said.flatten().map(settings))
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Ok(json!({ "rows": inputs.rows, "grid": self, "intervals": inputs.intervals }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        let rows = scene.lab.measured.rows();
        estimate.keeping_once(super::MEASURED, rows, scene.common_point(), false);
        for settings in scene.compared() {
            estimate.losses(rows, point(settings), self.passes());
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        let solutions = solved.compared()?;
        self.read(&lab.model.decoder, &solutions, &mut lab.measured, lab.seed, lab.progress)
    }

    fn panels() -> Vec<Panel> {
        let reading = "Response loss on training rows as each solution is scaled, all on one axis of norms. The solution whose \
                       curve is lower buys more with the same length; a filled marker is where its scaling does best.";
        let draw = |shown: &Shown<'_>| vec![figures(&shown.solutions, &shown.rows())];
        vec![Panel::table(EfficiencyRow::TABLE, "Efficiency", reading).drawn(draw).missed("efficiency")]
    }

    fn differences(tables: &[Table]) -> Vec<Difference> {
        let of = |row: EfficiencyDifference| Difference {
            solution: row.solution,
            other: row.other,
            what: row.kind.word().into(),
            // The norms of optima differ from seed to seed.
            at: if row.kind == Grid::Optimum { f64::NAN } else { row.norm },
            difference: row.difference,
            unit: "nats/token",
        };
        rows(tables).into_iter().map(of).collect()
    }
}

/// Steps by which an optimum is refined beyond the grid.
const REFINEMENTS: usize = 4;

/// A refined optimum that moves by less than this share of the grid's step has been found.
const CLOSE: f64 = 1e-3;

impl Efficiency {
    /// The most passes over the rows that one solution takes.
    pub fn passes(&self) -> usize {
        self.factors.len() + self.norms + self.mean_norms.len() + REFINEMENTS
    }

    /// The mean response loss on fixed rows as each solution is scaled: at the factors of a grid, at norms that all solutions
    /// of a kind share, and at its optimum; and the loss of every solution less that of every later one, paired over rows.
    ///
    /// # Errors
    /// If a tensor operation fails, or the user asked for a stop.
    pub fn read(
        &self,
        decoder: &Decoder,
        solutions: &[Solution],
        rows: &mut Kept,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<<Self as Measure>::Found> {
        let (weights, questions) = (response_tokens(rows), rows.questions());
        let passes = 1 + solutions.len() * self.passes();
        if let Some(first) = solutions.first() {
            let point = first_changed_point(&first.edit, decoder.config().layers);
            rows.keep(decoder, &rows.every_row(), point, false, "reading training rows", progress)?;
        }
        let mut losses = losses_of(decoder, rows, "efficiency", passes, progress);
        efficiency_of(solutions, &weights, &questions, &mut losses, self, seed)
    }
}

/// As [`Efficiency::read`], with the losses read by a function, and the rows' numbers of tokens and questions given.
///
/// # Errors
/// Any error of `losses`.
pub fn efficiency_of(
    solutions: &[Solution],
    weights: &[f64],
    questions: &[usize],
    losses: &mut LossesOf<'_>,
    settings: &Efficiency,
    seed: u64,
) -> Result<<Efficiency as Measure>::Found> {
    let base = losses(None)?;
    let mut curves = Vec::with_capacity(solutions.len());
    for solution in solutions {
        let norm = solution.edit.norm()?;
        let norms = norms_of(solutions, kind(&solution.edit))?;
        let largest = norms.iter().copied().fold(0.0, f64::max);
        let mut read = |factor: f64| {
            let losses = match factor {
                0.0 => base.clone(),
                _ => losses(Some(&solution.edit.scaled(factor)?))?,
            };
            Ok(Reading { factor, norm: norm * factor, mean: weighted_mean(&losses, weights), losses })
        };
        let scaled = settings.factors.iter().map(|&factor| read(factor)).collect::<Result<Vec<_>>>()?;
        let shared = (0..=settings.norms)
            // What has no length cannot be brought to a norm.
            .filter(|&step| step == 0 || norm > 0.0)
            .map(|step| match step {
                0 => read(0.0),
                _ => {
                    let shared = largest * step as f64 / settings.norms as f64;
                    Ok(Reading { norm: shared, ..read(shared / norm)? })
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let mean_norm = norms.iter().sum::<f64>() / norms.len() as f64;
        let to_mean = settings.mean_norms.iter().filter(|_| norm > 0.0).map(|multiple| {
            let shared = multiple * mean_norm;
            Ok(Reading { norm: shared, ..read(shared / norm)? })
        });
        let to_mean = to_mean.collect::<Result<Vec<_>>>()?;
        let mut grid = scaled.clone();
        if grid.iter().all(|reading| reading.factor != 0.0) {
            grid.push(read(0.0)?);
        }
        let (optimum, at_edge) = optimum(grid, &mut read)?;
        curves.push(Curve { solution, scaled, shared, to_mean, optimum, at_edge });
    }
    let over_rows = OverRows { weights, questions, seed };
    let base = weighted_mean(&base, weights);
    let rows = curves.iter().flat_map(|curve| over_rows.of_curve(curve, base)).collect();
    let compared = every_two(&curves).flat_map(|(one, other)| over_rows.of_two(one, other)).collect();
    Ok((rows, compared))
}

/// The norms that solutions of a kind were trained to.
fn norms_of(solutions: &[Solution], of: &str) -> Result<Vec<f64>> {
    let alike = solutions.iter().filter(|solution| kind(&solution.edit) == of);
    alike.map(|solution| Ok(solution.edit.norm()?)).collect()
}

/// A solution at one factor.
#[derive(Clone)]
struct Reading {
    factor: f64,
    norm: f64,
    /// Of every row, nats a token.
    losses: Vec<f64>,
    /// Over all tokens.
    mean: f64,
}

/// All readings of a solution.
struct Curve<'a> {
    solution: &'a Solution,
    scaled: Vec<Reading>,
    shared: Vec<Reading>,
    to_mean: Vec<Reading>,
    optimum: Reading,
    at_edge: bool,
}

/// The reading with the least mean loss, refined between the neighbours of the grid's best by parabolas, or golden sections
/// where these lead nowhere; and whether the grid's best lies on its edge, where it is taken as it is.
fn optimum(mut grid: Vec<Reading>, read: &mut impl FnMut(f64) -> Result<Reading>) -> Result<(Reading, bool)> {
    grid.sort_by(|a, b| a.factor.total_cmp(&b.factor));
    let best = (0..grid.len()).min_by(|&i, &j| grid[i].mean.total_cmp(&grid[j].mean)).unwrap_or(0);
    if best == 0 || best + 1 == grid.len() {
        return Ok((grid.swap_remove(best), true));
    }
    let (mut low, mut middle, mut high) =
        (grid[best - 1].clone(), grid[best].clone(), grid[best + 1].clone());
    let close = CLOSE * (high.factor - low.factor);
    for _ in 0..REFINEMENTS {
        let next = vertex([&low, &middle, &high])
            .filter(|at| (low.factor..high.factor).contains(at))
            .unwrap_or_else(|| golden([&low, &middle, &high]));
        if (next - middle.factor).abs() < close {
            break;
        }
        let next = read(next)?;
        match (next.mean < middle.mean, next.factor < middle.factor) {
            (true, true) => high = std::mem::replace(&mut middle, next),
            (true, false) => low = std::mem::replace(&mut middle, next),
            (false, true) => low = next,
            (false, false) => high = next,
        }
    }
    Ok((middle, false))
}

/// The place of the least point of the parabola through three readings; none if it has none.
fn vertex([a, b, c]: [&Reading; 3]) -> Option<f64> {
    let (left, right) = (b.factor - a.factor, c.factor - b.factor);
    let (falls, rises) = ((b.mean - a.mean) / left, (c.mean - b.mean) / right);
    let bend = (rises - falls) / (left + right);
    // The slope at b is that of both chords, each weighted by the other's length.
    let slope = (falls * right + rises * left) / (left + right);
    (bend > 0.0).then(|| b.factor - slope / (2.0 * bend))
}

/// The golden section of the longer side.
fn golden([a, b, c]: [&Reading; 3]) -> f64 {
    const SHORT: f64 = 0.381_966;
    let (left, right) = (b.factor - a.factor, c.factor - b.factor);
    if left > right { b.factor - SHORT * left } else { b.factor + SHORT * right }
}

/// The rows that losses are read on.
struct OverRows<'a> {
    weights: &'a [f64],
    questions: &'a [usize],
    seed: u64,
}

impl OverRows<'_> {
    fn mean(&self, values: &[f64]) -> Interval {
        Interval::of_clusters(values, self.weights, self.questions)
    }

    fn tokens(&self) -> usize {
        self.weights.iter().sum::<f64>() as usize
    }

    fn of_curve(&self, curve: &Curve<'_>, base: f64) -> Vec<EfficiencyRow> {
        let shared = curve.shared.iter().map(|reading| (Grid::Shared, reading, None));
        let scaled = curve.scaled.iter().map(|reading| (Grid::Scale, reading, None));
        let to_mean = curve.to_mean.iter().map(|reading| (Grid::Mean, reading, None));
        let optimum = (Grid::Optimum, &curve.optimum, Some(curve.at_edge));
        let row = |(grid, reading, at_edge): (Grid, &Reading, Option<bool>)| {
            let loss = self.mean(&reading.losses);
            let gain = base - loss.value;
            EfficiencyRow {
                solution: curve.solution.name.clone(),
                edit: kind(&curve.solution.edit).into(),
                kind: grid,
                factor: reading.factor,
                norm: reading.norm,
                loss,
                gain,
                gain_per_norm2: match reading.norm {
                    0.0 => f64::NAN,
                    norm => gain / (norm * norm),
                },
                at_edge,
                rows: self.weights.len(),
                tokens: self.tokens(),
                seed: self.seed,
            }
        };
        shared.chain(scaled).chain(to_mean).chain([optimum]).map(row).collect()
    }

    fn of_two(&self, one: &Curve<'_>, other: &Curve<'_>) -> Vec<EfficiencyDifference> {
        let row = |kind, a: &Reading, b: &Reading| EfficiencyDifference {
            solution: one.solution.name.clone(),
            other: other.solution.name.clone(),
            kind,
            norm: a.norm,
            other_norm: b.norm,
            difference: self.mean(&differences(&a.losses, &b.losses)),
            rows: self.weights.len(),
            tokens: self.tokens(),
            seed: self.seed,
        };
        let mut rows = Vec::new();
        if kind(&one.solution.edit) == kind(&other.solution.edit) {
            let both = one.shared.iter().zip(&other.shared);
            // At norm 0 both are the base model.
            rows.extend(both.filter(|(a, _)| a.norm > 0.0).map(|(a, b)| row(Grid::Shared, a, b)));
            let both = one.to_mean.iter().zip(&other.to_mean);
            rows.extend(both.map(|(a, b)| row(Grid::Mean, a, b)));
        }
        rows.push(row(Grid::Optimum, &one.optimum, &other.optimum));
        rows
    }
}

/// The loss over the norm of solutions as they are scaled, one figure a kind of edit: norms of different kinds do not
/// compare.
fn figures(solutions: &[&str], rows: &[EfficiencyRow]) -> Vec<Figure> {
    let figure = |&(edit, kind): &(&str, &str)| {
        let mut drawing = Drawing::new(Growing::Up);
        for (place, solution) in solutions.iter().enumerate() {
            let own = |wanted: &dyn Fn(&EfficiencyRow) -> bool, of: &str| {
                let own = rows.iter().filter(|r| r.edit == edit && r.solution == *solution && wanted(r));
                let point = |r: &EfficiencyRow| Point {
                    at: r.norm,
                    value: r.loss,
                    words: format!(
                        "{solution}{of}, norm {}, factor {}: {}{}",
                        number(r.norm),
                        number(r.factor),
                        r.loss.words(),
                        if r.at_edge == Some(true) { ", on the edge of its grid" } else { "" }
                    ),
                };
                let mut points: Vec<_> = own.map(point).collect();
                points.sort_by(|a, b| a.at.total_cmp(&b.at));
                points
            };
            let look = Look::at(place);
            // The intervals of so many points would hide the curves.
            let mut curve = own(&|r| r.kind != Grid::Optimum, "");
            curve.iter_mut().for_each(|point| point.value = Interval::bare(point.value.value));
            drawing.add(Series { name: Some((*solution).into()), look, style: Style::Line, points: curve });
            let trained = own(&|r| r.kind == Grid::Scale && r.factor == 1.0, ", as trained");
            drawing.add(Series { name: None, look, style: Style::OpenMarks, points: trained });
            let optimum = own(&|r| r.kind == Grid::Optimum, ", optimum");
            drawing.add(Series { name: None, look, style: Style::Marks, points: optimum });
        }
        let caption = format!("Loss of {} as they are scaled (filled: optimum; open: as trained)", kind);
        let layout = layout(axis("norm of the edit"), axis("nats a response token").zero_line(false));
        (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
    };
    KINDS.iter().filter_map(figure).collect()
}
