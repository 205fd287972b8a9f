//! Stability: what is left of a solution's gain when its parameters are turned by random noise (paper §10.2).

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{Decoder, Edit, decoder::first_changed_point, progress::Progress};

use super::{
    Common, Comparison, Difference, Inputs, LossesOf, Measure, Panel, Part, Reads, Setting, Shown, Solution,
    part::with_tensors, plots::HEIGHT, shown::rows, unit::NATS,
};
use crate::{
    Result, Table,
    interval::{Interval, deviation},
    keys::{Checked, count, keys, list, most, positive, switch},
    lab::{
        Estimate, Lab, Scene, Solved, differences, every_two, losses_of, point, response_tokens,
        weighted_mean,
    },
    objective::Kept,
    page::{
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout},
        numbers::{number, percent},
    },
    table::{Row, Word},
    train::EditKind,
};

/// The noise on solutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// Shares of noise, above 0 and at most 1; at 1 only noise is left.
    pub epsilons: Vec<f64>,
    /// Number of seeds of the noise.
    pub seeds: usize,
}

keys! {
    /// `measure.stability`, by default with about half of the paper's shares (paper §10.2): each costs a pass a seed.
    #[derive(Clone, Debug, Default)]
    pub struct StabilityKeys {
        /// Shares of noise.
        epsilons: Vec<f64> = list(positive(1.0)), default vec![0.05, 0.1, 0.2, 0.4, 0.7, 1.0];
        /// The number of draws of noise.
        seeds: usize = count(2..=most::PASSES), default 10;
    }
}

crate::row! {
    /// A part of a solution under one share of noise.
    pub struct StabilityRow in "stability",
        "Stability: response loss on training rows with the solution turned by noise, and the share of its gain \
         that is lost; deviation and interval over seeds"
    {
        /// The solution.
        solution: String,
        /// The part that is turned.
        part: Part,
        /// The share of noise.
        epsilon: f64,
        /// The base model's loss.
        base_loss: f64 = NATS,
        /// The solution's loss.
        trained_loss: f64 = NATS,
        /// The loss under noise.
        loss: Interval = NATS.ends("loss_low", "loss_high"),
        /// Its standard deviation over seeds.
        loss_deviation: f64 = NATS,
        /// The share of the gain that is lost.
        share: Interval,
        /// Its standard deviation over seeds.
        deviation: f64,
        /// Number of rows.
        rows: usize,
        /// Their response tokens.
        tokens: usize,
        /// Number of seeds.
        seeds: usize,
        /// The first seed.
        seed: u64,
    }
}

crate::row! {
    /// The share of its gain that one solution loses less that of another, under the same share of noise.
    pub struct StabilityDifference in "stability_difference",
        "Stability compared: the share of its gain that one solution loses less that of another, under the same \
         share of noise, paired over seeds"
    {
        /// The solution.
        solution: String,
        /// The other one.
        other: String,
        /// The part that is turned.
        part: Part,
        /// The share of noise.
        epsilon: f64,
        /// The difference.
        difference: Interval,
        /// Number of rows.
        rows: usize,
        /// Their response tokens.
        tokens: usize,
        /// Number of seeds.
        seeds: usize,
        /// The first seed.
        seed: u64,
    }
}

impl Measure for Stability {
    const NAME: &'static str = "stability";
    const READS: Reads = Reads::Compared;
    const MEASURED_ROWS: bool = true;
    const COMPARISON: Option<&'static Comparison> = Some(&Comparison {
        measure: Self::NAME,
        section: "§10.2",
        decides: None,
        lower: true,
        more: "more stable",
        point: "share of noise",
        unit: "",
        figure: "of the gain lost",
        shows: "that noise of the same share takes less of its gain in training loss",
        shows_not: "how the behaviour itself bears noise, nor that training would stay there",
    });
    type Found = (Vec<StabilityRow>, Vec<StabilityDifference>);
    type Said = Option<StabilityKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "Loss under noise, of which each share costs a pass a seed.",
            kind: switch("{ seeds = 10 }"),
            default: Some(StabilityKeys::default()),
        })
    }

    fn asked(said: Option<Self::Said>, _: &Common<'_>) -> Checked<Option<Self>> {
        let settings = |keys: StabilityKeys| Self { epsilons: keys.epsilons(), seeds: keys.seeds() };
        Ok(said.flatten().map(settings))
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        vec![("seeds", self.seeds.to_string())]
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Ok(json!({ "rows": inputs.rows, "noise": self, "sampling": inputs.seed }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        let rows = scene.lab.measured.rows();
        estimate.keeping_once(super::MEASURED, rows, scene.common_point(), false);
        for settings in scene.compared() {
            let parts = match settings.edit {
                EditKind::Steering { .. } | EditKind::Full => 1,
                EditKind::Lora { .. } => 2,
            };
            estimate.losses(rows, point(settings), self.passes(parts));
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        let solutions = solved.compared()?;
        self.read(&lab.model.decoder, &solutions, &mut lab.measured, lab.seed, lab.progress)
    }

    fn panels() -> Vec<Panel> {
        let reading = "What share of its gain in loss a solution loses when noise turns it without changing its length; bands are \
                       one standard deviation over seeds. The lower curve bears the same noise better; at 100 % nothing of the \
                       gain is left.";
        let draw = |shown: &Shown<'_>| vec![figures(&shown.solutions, &shown.rows())];
        vec![Panel::table(StabilityRow::TABLE, "Stability", reading).drawn(draw).missed("stability")]
    }

    fn differences(tables: &[Table]) -> Vec<Difference> {
        let of = |row: StabilityDifference| Difference {
            solution: row.solution,
            other: row.other,
            what: row.part.word().into(),
            at: row.epsilon,
            difference: row.difference,
            unit: "share of the gain",
        };
        rows(tables).into_iter().map(of).collect()
    }
}

impl Stability {
    /// The passes over the rows that one solution of so many parts takes.
    pub fn passes(&self, parts: usize) -> usize {
        1 + parts * self.epsilons.len() * self.seeds
    }

    /// The mean response loss on fixed rows when x, the solution's vector or each A or each B of its LoRA, becomes
    /// sqrt(1 - e^2) x + e y, with y random, across x and as long; and the share of the solution's gain that is lost,
    /// (L' - L) / (L_base - L). Seeds are `first_seed` and those after it. With them the share that every solution loses less
    /// that of every later one, paired over seeds.
    ///
    /// # Errors
    /// If a tensor operation fails, or the user asked for a stop.
    pub fn read(
        &self,
        decoder: &Decoder,
        solutions: &[Solution],
        rows: &mut Kept,
        first_seed: u64,
        progress: &dyn Progress,
    ) -> Result<<Self as Measure>::Found> {
        let weights = response_tokens(rows);
        let parts = |solution: &Solution| Part::ALL.iter().filter(|part| part.is_in(&solution.edit)).count();
        let passes = 1 + solutions.iter().map(|s| self.passes(parts(s))).sum::<usize>();
        if let Some(first) = solutions.first() {
            let point = first_changed_point(&first.edit, decoder.config().layers);
            rows.keep(decoder, &rows.every_row(), point, false, "reading training rows", progress)?;
        }
        let mut losses = losses_of(decoder, rows, "stability", passes, progress);
        stability_of(solutions, &weights, &mut losses, self, first_seed)
    }
}

/// As [`Stability::read`], with the losses read by a function and the rows' numbers of tokens given.
///
/// # Errors
/// Any error of `losses`, or if a tensor operation fails.
pub fn stability_of(
    solutions: &[Solution],
    weights: &[f64],
    losses: &mut LossesOf<'_>,
    settings: &Stability,
    first_seed: u64,
) -> Result<<Stability as Measure>::Found> {
    let mut mean = |edit: Option<&Edit>| losses(edit).map(|losses| weighted_mean(&losses, weights));
    let base = mean(None)?;
    let mut readings = Vec::new();
    for (place, solution) in solutions.iter().enumerate() {
        let trained = mean(Some(&solution.edit))?;
        let gain = base - trained;
        for part in Part::ALL.into_iter().filter(|part| part.is_in(&solution.edit)) {
            for &epsilon in &settings.epsilons {
                let mut found = Vec::with_capacity(settings.seeds);
                for seed in (first_seed..).take(settings.seeds) {
                    found.push(mean(Some(&perturbed(&solution.edit, part, epsilon, seed)?))?);
                }
                // Without a gain there is nothing to lose a share of.
                let share = |loss: &f64| if gain > 0.0 { (loss - trained) / gain } else { f64::NAN };
                let shares = found.iter().map(share).collect();
                readings.push(Reading { place, solution, part, epsilon, trained, losses: found, shares });
            }
        }
    }
    let (rows, tokens) = (weights.len(), weights.iter().sum::<f64>() as usize);
    let row = |r: &Reading<'_>| StabilityRow {
        solution: r.solution.name.clone(),
        part: r.part,
        epsilon: r.epsilon,
        base_loss: base,
        trained_loss: r.trained,
        loss: Interval::of_mean(&r.losses),
        loss_deviation: deviation(&r.losses),
        share: Interval::of_mean(&r.shares),
        deviation: deviation(&r.shares),
        rows,
        tokens,
        seeds: settings.seeds,
        seed: first_seed,
    };
    let alike =
        |a: &Reading<'_>, b: &Reading<'_>| a.place != b.place && a.part == b.part && a.epsilon == b.epsilon;
    let compared = |(a, b): (&Reading<'_>, &Reading<'_>)| StabilityDifference {
        solution: a.solution.name.clone(),
        other: b.solution.name.clone(),
        part: a.part,
        epsilon: a.epsilon,
        difference: Interval::of_mean(&differences(&a.shares, &b.shares)),
        rows,
        tokens,
        seeds: settings.seeds,
        seed: first_seed,
    };
    let both = every_two(&readings).filter(|(a, b)| alike(a, b));
    Ok((readings.iter().map(row).collect(), both.map(compared).collect()))
}

/// One part of one solution under one share of noise.
struct Reading<'a> {
    /// The solution's place in the study.
    place: usize,
    solution: &'a Solution,
    part: Part,
    epsilon: f64,
    /// Loss as trained.
    trained: f64,
    /// Loss and share of the gain lost of every seed.
    losses: Vec<f64>,
    shares: Vec<f64>,
}

/// The edit with one part of it turned: each tensor x becomes sqrt(1 - e^2) x + e y. The noise comes from the seed alone,
/// so that solutions of one shape share it.
///
/// # Errors
/// If a tensor operation fails.
pub fn perturbed(edit: &Edit, part: Part, epsilon: f64, seed: u64) -> Result<Edit> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    with_tensors(edit, &mut |of, tensor| {
        if of != part {
            return Ok(tensor.clone());
        }
        let flat = tensor.detach().flatten_all()?.to_vec1::<f32>()?;
        let x: Vec<f64> = flat.into_iter().map(f64::from).collect();
        let y = noise_across(&x, &mut rng);
        let kept = (1.0 - epsilon * epsilon).sqrt();
        let turned: Vec<f32> = x.iter().zip(&y).map(|(x, y)| (kept * x + epsilon * y) as f32).collect();
        Ok(Tensor::from_vec(turned, tensor.shape(), tensor.device())?)
    })
}

/// Gaussian noise made orthogonal to `x` (Gram-Schmidt) and as long as it. Where no such noise is, as for a single
/// number, it is zero.
pub fn noise_across(x: &[f64], rng: &mut ChaCha8Rng) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut y: Vec<f64> = x.iter().map(|_| StandardNormal.sample(&mut *rng)).collect();
    let (length, drawn) = (dot(x, x).sqrt(), dot(&y, &y).sqrt());
    if length == 0.0 {
        return vec![0.0; x.len()];
    }
    // The second time takes away what rounding left of the first.
    for _ in 0..2 {
        let along = dot(x, &y) / (length * length);
        y.iter_mut().zip(x).for_each(|(y, x)| *y -= along * x);
    }
    let across = dot(&y, &y).sqrt();
    // Less than this is rounding, not direction.
    let factor = if across > 1e-12 * drawn { length / across } else { 0.0 };
    y.iter_mut().for_each(|y| *y *= factor);
    y
}

/// The share of the gain that noise takes, one figure a part of the edit.
fn figures(solutions: &[&str], rows: &[StabilityRow]) -> Vec<Figure> {
    let figure = |part: &str| {
        let mut drawing = Drawing::new(Growing::Up);
        for (place, solution) in solutions.iter().enumerate() {
            let mut own: Vec<_> =
                rows.iter().filter(|r| r.part.word() == part && r.solution == *solution).collect();
            own.sort_by(|a, b| a.epsilon.total_cmp(&b.epsilon));
            let percent_at = |epsilon: f64, share: f64, words: String| Point {
                at: epsilon,
                value: Interval::bare(100.0 * share),
                words,
            };
            let edge = |sign: f64| {
                let known = own.iter().filter(|r| r.deviation.is_finite() && r.share.value.is_finite());
                known.map(move |r| percent_at(r.epsilon, r.share.value + sign * r.deviation, String::new()))
            };
            let band = edge(1.0).chain(edge(-1.0).rev()).collect();
            let mean = |r: &&StabilityRow| {
                let words = format!(
                    "{solution}, share of noise {}: {} of its gain lost ({} to {}), standard deviation {}",
                    number(r.epsilon),
                    percent(r.share.value),
                    percent(r.share.low),
                    percent(r.share.high),
                    percent(r.deviation)
                );
                percent_at(r.epsilon, r.share.value, words)
            };
            let look = Look::at(place);
            drawing.add(Series { name: None, look, style: Style::Band, points: band });
            let name = Some((*solution).into());
            let points = own.iter().filter(|r| r.share.value.is_finite()).map(mean).collect();
            drawing.add(Series { name, look, style: Style::MarkedLine, points });
        }
        let caption = match part {
            "vector" => "Noise on the vector".to_owned(),
            part => format!("Noise on each {part}"),
        };
        let layout = layout(axis("share of noise ε"), axis("share of the gain lost (%)"));
        (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
    };
    ["vector", "A", "B", "weight"].into_iter().filter_map(figure).collect()
}
