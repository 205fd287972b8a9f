//! Turns: where along training a solution changes its direction (paper §14).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Edit,
    progress::{Progress, Unit},
};

use super::{
    Common, Inputs, Measure, Panel, Part, Reads, Setting, Shown, difference::OVER_SEEDS, part::flat,
    plots::HEIGHT,
};
use crate::{
    Result,
    claim::{Bound, Claim, Place, Subject, opposed, sentence},
    direction::turns,
    interval::Interval,
    keys::{Checked, count, keys, most, positive, switch},
    lab::{Estimate, Lab, Scene, Solved, advance},
    page::{
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout},
        numbers::{list, number, quoted},
    },
    table::Row,
};

/// The turns of trajectories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Steps from the middle of a turn to either side; none for a tenth of the training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<usize>,
    /// The length of the longer way below which no angle is read; none for a tenth of the longest way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<f64>,
}

keys! {
    /// `measure.turn`.
    #[derive(Clone, Debug, Default)]
    pub struct TurnKeys {
        /// Steps from the middle of a turn to either side, in whole checkpoints.
        gap: usize = count(1..=most::STEPS), left_out "a tenth of the training";
        /// The length of the vector, or of B, by which the longer way must have moved for its angle to be read; the papers take
        /// 0.0035.
        least: f64 = positive(most::FACTOR), left_out "a tenth of the longest way of the training";
    }
}

crate::row! {
    /// The angle between the way back and the way on at one checkpoint of a solution.
    pub struct TurnRow in "turn",
        "Turns of trajectories: the cosine between the way back and the way on, of the vector or of B: -1 where training \
         runs straight, 0 at a right angle, 1 where it goes back"
    {
        /// The solution.
        solution: String,
        /// The part that moves.
        part: Part,
        /// Optimiser steps at the middle.
        step: usize,
        /// Steps to either side.
        gap: usize,
        /// The length of the part here.
        length: f64,
        /// The distance to the checkpoint on the way back.
        back: f64,
        /// The distance to the checkpoint on the way on.
        on: f64,
        /// The cosine between the two ways.
        cosine: f64,
        /// True if it moved enough to have a direction.
        moved: bool,
        /// True if it is the sharpest turn of those that moved enough.
        sharpest: bool,
    }
}

/// The longer of the two ways must be this share of the longest way of the trajectory, or the angle is that of noise; the
/// paper asks for a length, which depends on model and edit.
const MOVED: f64 = 0.1;

/// The share of a training that a gap takes where the study says none.
const SHARE: usize = 10;

/// The statement about a variant's B or vector.
const TURNS: &str = "turns by a right angle or more along its training";

impl Measure for Turn {
    const NAME: &'static str = "turn";
    const READS: Reads = Reads::Compared;
    type Found = Vec<TurnRow>;
    type Said = Option<TurnKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "The angle between the way back and the way on along the checkpoints of a solution.",
            kind: switch("{ gap = 20 }"),
            default: None,
        })
    }

    fn asked(said: Option<Self::Said>, _: &Common<'_>) -> Checked<Option<Self>> {
        let settings = |keys: TurnKeys| Self {
            gap: keys.gap.map(|gap| gap.value),
            least: keys.least.map(|least| least.value),
        };
        Ok(said.flatten().map(settings))
    }

    fn inputs(&self, _: &mut Inputs<'_>) -> Result<Value> {
        Ok(json!({ "settings": self }))
    }

    /// Checkpoints are read and compared, which takes next to nothing.
    fn estimate(&self, _: &Scene<'_>, _: &mut Estimate) {}

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Vec<TurnRow>> {
        self.read(solved, lab.progress)
    }

    fn panels() -> Vec<Panel> {
        let reading = "The cosine between the way back and the way on at every checkpoint: -1 where training runs straight on, 0 \
                       at a right angle, above it where it turns back. A solution that first goes one way and then another \
                       shows a peak. Where it hardly moves the angle is that of noise, and no point is drawn.";
        let draw = |shown: &Shown<'_>| {
            figures(&shown.solutions, &shown.rows()).into_iter().map(|f| vec![f]).collect()
        };
        vec![Panel { say, ..Panel::table(TurnRow::TABLE, "Turns along training", reading).drawn(draw) }]
    }

    fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
        let several = |variant: &&str| subjects.iter().filter(|s| s.variant == *variant).count() > 1;
        let variants = plain(subjects).into_iter().filter(several);
        variants.map(|variant| (Place::OverSeeds, sentence(None, &statement(variant)))).collect()
    }

    fn claims(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
        let rows: Vec<TurnRow> = shown.rows();
        let of = |variant: &str| {
            let own = |row: &&TurnRow| row.sharpest && shown.variant_of(&row.solution) == Some(variant);
            let sharpest: Vec<&TurnRow> = rows.iter().filter(own).collect();
            if sharpest.len() < 2 {
                return None;
            }
            let cosines: Vec<f64> = sharpest.iter().map(|row| row.cosine).collect();
            let (cosine, seeds) = (Interval::of_mean(&cosines), sharpest.len());
            let steps: Vec<String> = sharpest.iter().map(|row| row.step.to_string()).collect();
            let words = format!(
                "the cosine between way back and way on at the sharpest turn is {}, a 95 % interval over {seeds} seeds, which \
                 have it at steps {}; whether the behaviour rises there is not read",
                cosine.words(),
                list(&steps)
            );
            let holds = Bound::Above(0.0).judge(cosine, &[]);
            Some((Place::OverSeeds, Claim::new(statement(variant), "§14", holds, cosine, words)))
        };
        plain(&shown.subjects).into_iter().filter_map(of).collect()
    }
}

impl Turn {
    /// The turns of every solution that is compared.
    ///
    /// # Errors
    /// If a checkpoint cannot be read, or the user asked for a stop.
    pub fn read(&self, solved: &dyn Solved, progress: &dyn Progress) -> Result<Vec<TurnRow>> {
        let solutions = solved.compared()?;
        let task = progress.begin("turns", Some(solutions.len() as u64), Unit::Count);
        let mut found = Vec::new();
        for solution in &solutions {
            if let Some(part) = Part::grown(&solution.edit) {
                let edit = |step| solved.after(&solution.name, step);
                found.extend(self.along(&solution.name, part, &solved.steps(&solution.name)?, &edit)?);
            }
            advance(progress, &*task, 1)?;
        }
        Ok(found)
    }

    /// The turns of one solution. Of its checkpoints three are held at a time.
    fn along(
        &self,
        solution: &str,
        part: Part,
        steps: &[usize],
        edit: &dyn Fn(usize) -> Result<Option<Edit>>,
    ) -> Result<Vec<TurnRow>> {
        let every = steps.get(1).copied().unwrap_or(1).max(1);
        // The last checkpoint may lie nearer to the one before than all others do.
        let even: Vec<usize> = steps.iter().copied().filter(|step| step.is_multiple_of(every)).collect();
        let gap = self.gap.map_or(even.len() / SHARE, |gap| gap / every).max(1);
        let place = |step: usize| edit(step)?.map_or(Ok(Vec::new()), |edit| flat(&edit, part));
        let mut rows = Vec::new();
        for around in even.windows(2 * gap + 1) {
            let way = [around[0], around[gap], around[2 * gap]].map(place);
            let [back, here, on] = way;
            let way = [back?, here?, on?];
            let apart =
                |other: &[f64]| way[1].iter().zip(other).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
            rows.push(TurnRow {
                solution: solution.into(),
                part,
                step: around[gap],
                gap: gap * every,
                length: way[1].iter().map(|x| x * x).sum::<f64>().sqrt(),
                back: apart(&way[0]),
                on: apart(&way[2]),
                cosine: turns(&way, 1).first().copied().unwrap_or(f64::NAN),
                moved: false,
                sharpest: false,
            });
        }
        let longest = rows.iter().map(|row| row.back.max(row.on)).fold(0.0, f64::max);
        let least = self.least.unwrap_or(MOVED * longest);
        for row in &mut rows {
            row.moved = row.back.max(row.on) > least && row.cosine.is_finite();
        }
        if let Some(row) =
            rows.iter_mut().filter(|row| row.moved).max_by(|a, b| a.cosine.total_cmp(&b.cosine))
        {
            row.sharpest = true;
        }
        Ok(rows)
    }
}

/// The variants without a penalty that claims oppose to others.
fn plain(subjects: &[Subject]) -> Vec<&str> {
    opposed(subjects).into_iter().map(|[plain, _]| plain.variant.as_str()).collect()
}

fn statement(variant: &str) -> String {
    format!("{} {TURNS}{OVER_SEEDS}", quoted(variant))
}

/// The sharpest turn of each solution.
fn say(shown: &Shown<'_>) -> String {
    let rows: Vec<TurnRow> = shown.rows();
    let sentence = |row: &TurnRow| {
        let (solution, cosine) = (quoted(&row.solution), number(row.cosine));
        format!("{solution} turns most at step {}, where the cosine is {cosine}.", row.step)
    };
    rows.iter().filter(|row| row.sharpest).map(sentence).collect::<Vec<_>>().join(" ")
}

/// The cosines of all solutions over their steps, one figure.
fn figures(solutions: &[&str], rows: &[TurnRow]) -> Option<Figure> {
    let mut drawing = Drawing::new(Growing::Up);
    for (place, solution) in solutions.iter().enumerate() {
        let own = rows.iter().filter(|row| row.solution == *solution && row.moved);
        let point = |row: &TurnRow| Point {
            at: row.step as f64,
            value: Interval::bare(row.cosine),
            words: format!("{solution}, step {}: {}", row.step, number(row.cosine)),
        };
        let (name, points) = (Some((*solution).into()), own.map(point).collect());
        drawing.add(Series { name, look: Look::at(place), style: Style::MarkedLine, points });
    }
    let y = axis("cosine of way back and way on").range(vec![-1.05, 1.05]);
    let layout = layout(axis("optimiser step"), y);
    (!drawing.is_empty()).then(|| drawing.finish("Turns", HEIGHT, layout))
}
