//! Norms of the residual stream: where in depth a solution changes it, inside the domain and outside.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Decoder,
    progress::{Progress, Unit},
};

use super::{Common, Inputs, Measure, Panel, Setting, Shown, Solution, plots::HEIGHT};
use crate::{
    Result,
    interval::Interval,
    keys::{Checked, count, keys, most, switch},
    lab::{Estimate, Group, Lab, PairRows, Scene, Solved, advance, mean},
    objective::{packed, response_places},
    page::{
        Groups,
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout, range},
        numbers::quoted,
    },
    table::Row,
};

/// The norm of the residual stream on the pairs' responses, after every block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Norm {
    /// The most pairs of each group.
    pub pairs: usize,
}

keys! {
    /// `measure.norm`.
    #[derive(Clone, Debug, Default)]
    pub struct NormKeys {
        /// The most pairs of each group whose responses are read.
        pairs: usize = count(1..=most::ROWS), default 16;
    }
}

crate::row! {
    /// The norm of a solution's residual stream after one block, beside base's, over response tokens.
    pub struct NormRow in "norm",
        "Norms of the residual stream after every block, over response tokens: of base, and with each solution"
    {
        /// The solution.
        solution: String,
        /// The side of the domain of the pairs.
        group: Group,
        /// The block after which it is read, counted from 0; -1 is the embeddings.
        layer: i64,
        /// Number of conversations.
        rows: usize,
        /// Their response tokens.
        tokens: usize,
        /// The mean norm of base's stream.
        base_norm: f64,
        /// The mean norm with the solution.
        norm: f64,
        /// That norm less base's, with its interval over questions.
        rise: Interval = crate::table::Heading::PLAIN.ends("rise_low", "rise_high"),
        /// The length of what the solution changes of a token's stream, as a share of the norm that base's has there.
        change: Interval = crate::table::Heading::PLAIN.ends("change_low", "change_high"),
    }
}

/// One row's means over its response tokens.
struct Means {
    base: f64,
    edited: f64,
    change: f64,
}

impl Measure for Norm {
    const NAME: &'static str = "norm";
    type Found = Vec<NormRow>;
    type Said = Option<NormKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "The norm of the residual stream after every block, and how much of it each solution changes.",
            kind: switch("{ pairs = 16 }"),
            default: None,
        })
    }

    fn asked(said: Option<Self::Said>, _: &Common<'_>) -> Checked<Option<Self>> {
        Ok(said.flatten().map(|keys| Self { pairs: keys.pairs() }))
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        vec![("pairs", self.pairs.to_string())]
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        Ok(json!({ "pairs": inputs.pairs, "intervals": inputs.intervals, "settings": self }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        for pairs in self.few(&scene.lab.pairs) {
            for _ in 0..=scene.solutions.len() {
                estimate.passes(pairs.kept.rows(), 1);
            }
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Vec<NormRow>> {
        self.read(&lab.model.decoder, &solved.every()?, &lab.pairs, lab.progress)
    }

    fn panels() -> Vec<Panel> {
        let reading = "How far each solution moves the residual stream after every block, as a share of its norm there, over \
                       response tokens. Where the lines for text inside the domain and outside part, the solution, or what the \
                       model makes of it, begins to tell the domain. The table has the norms themselves.";
        vec![Panel::table(NormRow::TABLE, "Norms of the residual stream", reading).drawn(draw)]
    }
}

impl Norm {
    fn few(&self, pairs: &[PairRows; 2]) -> [PairRows; 2] {
        pairs.each_ref().map(|pairs| pairs.some(self.pairs))
    }

    /// The norms of every solution after the embeddings and after each block, inside the domain and outside.
    ///
    /// # Errors
    /// If a tensor operation fails, or the user asked for a stop.
    pub fn read(
        &self,
        decoder: &Decoder,
        solutions: &[Solution],
        pairs: &[PairRows; 2],
        progress: &dyn Progress,
    ) -> Result<Vec<NormRow>> {
        let pairs = self.few(pairs);
        let passes = pairs.iter().map(|pairs| pairs.kept.rows().len() * solutions.len()).sum::<usize>();
        let task = progress.begin("norms", Some(passes as u64), Unit::Count);
        let mut found = Vec::new();
        for pairs in pairs.iter().filter(|pairs| !pairs.is_empty()) {
            let rows = pairs.kept.rows();
            let mut means: Vec<Vec<Vec<Means>>> = Vec::new();
            means
                .resize_with(solutions.len(), || (0..=decoder.config().layers).map(|_| Vec::new()).collect());
            for batch in pairs.kept.batches_by_tokens() {
                let packed = packed(rows, &batch);
                let places = response_places(rows, &batch, &packed);
                let base = decoder.residuals(&packed, None)?;
                for (solution, means) in solutions.iter().zip(&mut means) {
                    let edited = decoder.residuals(&packed, Some(&solution.edit))?;
                    for ((base, edited), means) in base.iter().zip(&edited).zip(means) {
                        let change = norms(&(edited - base)?)?;
                        let (base, edited) = (norms(base)?, norms(edited)?);
                        let of_row = |places: &Vec<usize>| {
                            let mean_of = |of: &dyn Fn(usize) -> f32| {
                                mean(&places.iter().map(|&place| of(place)).collect::<Vec<_>>())
                            };
                            Means {
                                base: mean_of(&|place| base[place]),
                                edited: mean_of(&|place| edited[place]),
                                change: mean_of(&|place| change[place] / base[place]),
                            }
                        };
                        means.extend(places.iter().map(of_row));
                    }
                    advance(progress, &*task, batch.len() as u64)?;
                }
            }
            for (solution, means) in solutions.iter().zip(&means) {
                found.extend((-1..).zip(means).map(|(layer, means)| row(solution, pairs, layer, means)));
            }
        }
        Ok(found)
    }
}

/// The norm of every token's stream.
fn norms(stream: &candle_core::Tensor) -> Result<Vec<f32>> {
    Ok(stream.sqr()?.sum(1)?.sqrt()?.to_vec1()?)
}

fn row(solution: &Solution, pairs: &PairRows, layer: i64, means: &[Means]) -> NormRow {
    let weights: Vec<f64> = pairs.kept.rows().iter().map(|row| row.response_tokens() as f64).collect();
    let questions: Vec<usize> = (0..means.len()).map(|row| pairs.question_of_row(row)).collect();
    let over_questions = |of: fn(&Means) -> f64| {
        Interval::of_clusters(&means.iter().map(of).collect::<Vec<_>>(), &weights, &questions)
    };
    NormRow {
        solution: solution.name.clone(),
        group: pairs.group,
        layer,
        rows: means.len(),
        tokens: weights.iter().sum::<f64>() as usize,
        base_norm: over_questions(|means| means.base).value,
        norm: over_questions(|means| means.edited).value,
        rise: over_questions(|means| means.edited - means.base),
        change: over_questions(|means| means.change),
    }
}

/// The change over depth, one figure a solution, all on one axis.
fn draw(shown: &Shown<'_>) -> Groups {
    let rows: Vec<NormRow> = shown.rows();
    let y = axis("change, as a share of base's norm").range(range(rows.iter().map(|row| row.change)));
    let inside = format!("inside {}", shown.facts.domain);
    let sides =
        [(Group::Narrow, inside.as_str(), Style::Inside), (Group::General, "outside", Style::Outside)];
    let figure = |(place, solution): (usize, &&str)| -> Option<Figure> {
        let mut drawing = Drawing::new(Growing::Up);
        for (group, name, style) in sides {
            let own = rows.iter().filter(|row| row.solution == **solution && row.group == group);
            let point = |row: &NormRow| Point {
                at: row.layer as f64,
                value: row.change,
                words: format!("{name}, after block {}: {}", row.layer, row.change.words()),
            };
            let points = own.map(point).collect();
            drawing.add(Series { name: Some(name.into()), look: Look::at(place), style, points });
        }
        let layout = layout(axis("block; −1 is the embeddings").zero_line(false), y.clone());
        (!drawing.is_empty()).then(|| drawing.finish(quoted(solution), HEIGHT, layout))
    };
    vec![shown.solutions.iter().enumerate().filter_map(figure).collect()]
}
