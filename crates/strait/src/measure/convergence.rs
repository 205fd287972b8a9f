//! Convergence: whether two solutions change the residual stream alike, layer by layer, and in how many dimensions (paper §13).

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Decoder, Edit,
    progress::{Progress, Unit},
};

use super::{
    Common, Inputs, Measure, Panel, Part, Reads, Setting, Shown, Solution, perturbed, plots::HEIGHT,
};
use crate::{
    Result,
    direction::trajectory::effective_rank,
    interval::Interval,
    keys::{Checked, count, keys, most, switch},
    lab::{Estimate, Group, Lab, PairRows, Scene, Solved, advance, every_two},
    objective::{Row as Text, batches, packed},
    page::{
        Groups,
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout},
        numbers::{number, quoted},
    },
    table::Row,
};

/// The changes of the stream that solutions make, compared two by two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Convergence {
    /// The most questions of each group.
    pub pairs: usize,
}

keys! {
    /// `measure.convergence`.
    #[derive(Clone, Debug, Default)]
    pub struct ConvergenceKeys {
        /// The most pairs of each group whose prompts are read.
        pairs: usize = count(2..=most::ROWS), default 16;
    }
}

crate::row! {
    /// The cosine of what two solutions change of the residual stream after one block.
    pub struct ConvergenceRow in "convergence",
        "Convergence: cosines of what two solutions change of the residual stream, over the tokens of a prompt, the mean over \
         prompts"
    {
        /// The first solution.
        solution: String,
        /// The second.
        other: String,
        /// The side of the domain of the prompts.
        group: Group,
        /// The block after which it is read, counted from 0; -1 is the embeddings.
        layer: i64,
        /// The cosine; NaN where one of the two changes nothing.
        cosine: Interval,
        /// Number of prompts.
        prompts: usize,
        /// Their tokens.
        tokens: usize,
    }
}

crate::row! {
    /// The number of dimensions in which a solution changes the residual stream after one block.
    pub struct RankRow in "convergence_rank",
        "Dimensions of the change: the effective rank of the mean changes of prompts, beside that of a random edit as large"
    {
        /// The solution.
        solution: String,
        /// The side of the domain of the prompts.
        group: Group,
        /// The block after which it is read, counted from 0; -1 is the embeddings.
        layer: i64,
        /// The effective rank of the prompts' mean changes, from 1 to the number of prompts; NaN where nothing changes.
        rank: f64,
        /// That of a random edit: every tensor is replaced by Gaussian noise across it, as long.
        random: f64,
        /// Number of prompts.
        prompts: usize,
        /// The seed of the random edit.
        seed: u64,
    }
}

impl Measure for Convergence {
    const NAME: &'static str = "convergence";
    const READS: Reads = Reads::Beside;
    type Found = (Vec<ConvergenceRow>, Vec<RankRow>);
    type Said = Option<ConvergenceKeys>;

    fn key() -> Option<Setting<Self::Said>> {
        Some(Setting {
            about: "How alike every two solutions change the residual stream after each block, and in how many dimensions.",
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
        Ok(json!({
            "pairs": inputs.pairs,
            "asked": inputs.asked,
            "domain": inputs.domain,
            "settings": self,
            "intervals": inputs.intervals,
            "seed": inputs.seed,
        }))
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        for pairs in self.few(&scene.lab.pairs) {
            estimate.passes(&pairs.prompts(), 1 + 2 * scene.beside().count());
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Self::Found> {
        self.read(&lab.model.decoder, &solved.beside()?, &lab.pairs, lab.seed, lab.progress)
    }

    fn panels() -> Vec<Panel> {
        let alike = "How alike two solutions change the stream after each block: the cosine of their changes of all tokens of a \
                     prompt. Solutions whose own vectors point apart may do the same further up. At 1 they do the same, at 0 \
                     they have nothing in common.";
        let dimensions = "In how many dimensions a solution changes the stream, over prompts: 1 is one direction for all of \
                          them. A random edit as large is the dashed line: what any change would spread over.";
        let angles = |shown: &Shown<'_>| cosines(&shown.rows());
        let ranks = |shown: &Shown<'_>| vec![ranks(&shown.solutions, &shown.rows())];
        vec![
            Panel::table(ConvergenceRow::TABLE, "Convergence", alike).drawn(angles).unlisted(),
            Panel::table(RankRow::TABLE, "Dimensions of the change", dimensions).drawn(ranks).unlisted(),
        ]
    }
}

/// What every edit changes of the stream on one group of prompts.
struct Changes {
    /// For every two edits, layer and prompt the cosine.
    cosines: Vec<Vec<Vec<f64>>>,
    /// For every edit, layer and prompt the mean change.
    means: Vec<Vec<Vec<Vec<f64>>>>,
}

impl Convergence {
    fn few(&self, pairs: &[PairRows; 2]) -> [PairRows; 2] {
        pairs.each_ref().map(|pairs| pairs.some(self.pairs))
    }

    /// The cosines of the changes of every two solutions, and the dimensions of each, on the prompts of both groups.
    ///
    /// # Errors
    /// If a tensor operation fails, or the user asked for a stop.
    pub fn read(
        &self,
        decoder: &Decoder,
        solutions: &[Solution],
        pairs: &[PairRows; 2],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<<Self as Measure>::Found> {
        let pairs = self.few(pairs);
        let random = solutions.iter().map(|solution| random_edit(&solution.edit, seed));
        let random = random.collect::<Result<Vec<_>>>()?;
        let edits: Vec<&Edit> = solutions.iter().map(|solution| &solution.edit).chain(&random).collect();
        let passes = pairs.iter().map(|pairs| pairs.len() * edits.len()).sum::<usize>();
        let task = progress.begin("convergence", Some(passes as u64), Unit::Count);
        let seen = |n| advance(progress, &*task, n);
        let (mut alike, mut dimensions) = (Vec::new(), Vec::new());
        for pairs in pairs.iter().filter(|pairs| !pairs.is_empty()) {
            let prompts = pairs.prompts();
            let Changes { cosines, means } = changes(decoder, &prompts, &edits, solutions.len(), &seen)?;
            let (weights, tokens) = (vec![1.0; prompts.len()], prompts.iter().map(|row| row.ids.len()).sum());
            for ((one, other), layers) in every_two(solutions).zip(&cosines) {
                alike.extend((-1..).zip(layers).map(|(layer, of_prompts)| ConvergenceRow {
                    solution: one.name.clone(),
                    other: other.name.clone(),
                    group: pairs.group,
                    layer,
                    cosine: Interval::of_clusters(of_prompts, &weights, &pairs.questions),
                    prompts: prompts.len(),
                    tokens,
                }));
            }
            for (place, solution) in solutions.iter().enumerate() {
                let of_both = means[place].iter().zip(&means[solutions.len() + place]);
                dimensions.extend((-1..).zip(of_both).map(|(layer, (own, random))| RankRow {
                    solution: solution.name.clone(),
                    group: pairs.group,
                    layer,
                    rank: effective_rank(own),
                    random: effective_rank(random),
                    prompts: prompts.len(),
                    seed,
                }));
            }
        }
        Ok((alike, dimensions))
    }
}

/// The edit with each of its tensors replaced by noise across it, as long.
fn random_edit(edit: &Edit, seed: u64) -> Result<Edit> {
    let turned = |edit: Result<Edit>, part: Part| perturbed(&edit?, part, 1.0, seed);
    Part::ALL.into_iter().filter(|part| part.is_in(edit)).fold(Ok(edit.clone()), turned)
}

/// What edits change; cosines are those of every two of the first `compared`.
fn changes(
    decoder: &Decoder,
    prompts: &[Text],
    edits: &[&Edit],
    compared: usize,
    seen: &dyn Fn(u64) -> Result<()>,
) -> Result<Changes> {
    let layers = decoder.config().layers + 1;
    let pairs = compared * compared.saturating_sub(1) / 2;
    let mut found = Changes {
        cosines: vec![vec![Vec::new(); layers]; pairs],
        means: vec![vec![Vec::new(); layers]; edits.len()],
    };
    for batch in batches(prompts, &(0..prompts.len()).collect::<Vec<_>>()) {
        let packed = packed(prompts, &batch);
        let every_token = Tensor::new(packed.every_token(), decoder.device())?;
        let base = decoder.residuals(&packed, None)?;
        let mut held: Vec<Vec<Tensor>> = Vec::with_capacity(compared);
        for (place, edit) in edits.iter().enumerate() {
            let edited = decoder.residuals(&packed, Some(edit))?;
            let change =
                |(edited, base): (&Tensor, &Tensor)| Ok((edited - base)?.index_select(&every_token, 0)?);
            let change = edited.iter().zip(&base).map(change).collect::<Result<Vec<_>>>()?;
            for (layer, change) in change.iter().enumerate() {
                for (start, length) in spans(prompts, &batch) {
                    let mean = change.narrow(0, start, length)?.to_dtype(DType::F64)?.mean(0)?;
                    found.means[place][layer].push(mean.to_vec1()?);
                }
            }
            if place < compared {
                held.push(change);
            }
            seen(batch.len() as u64)?;
        }
        for ((one, other), cosines) in every_two(&held).zip(&mut found.cosines) {
            for ((one, other), cosines) in one.iter().zip(other).zip(cosines) {
                for (start, length) in spans(prompts, &batch) {
                    cosines.push(cosine(&one.narrow(0, start, length)?, &other.narrow(0, start, length)?)?);
                }
            }
        }
    }
    Ok(found)
}

/// First token and length of every prompt of a batch.
fn spans<'a>(prompts: &'a [Text], batch: &'a [usize]) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    batch.iter().map(move |&row| {
        let length = prompts[row].ids.len();
        start += length;
        (start - length, length)
    })
}

/// The cosine of two changes of all tokens, as one vector each.
fn cosine(one: &Tensor, other: &Tensor) -> Result<f64> {
    let dot = |x: &Tensor, y: &Tensor| Ok::<_, crate::Error>((x * y)?.sum_all()?.to_scalar::<f32>()? as f64);
    Ok(dot(one, other)? / (dot(one, one)? * dot(other, other)?).sqrt())
}

const SIDES: [(Group, &str, Style); 2] =
    [(Group::Narrow, "inside", Style::Inside), (Group::General, "outside", Style::Outside)];

/// The cosines over depth, one figure for every two solutions.
fn cosines(rows: &[ConvergenceRow]) -> Groups {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        if !pairs.contains(&(&row.solution, &row.other)) {
            pairs.push((&row.solution, &row.other));
        }
    }
    let figure = |(place, (one, other)): (usize, &(&str, &str))| -> Option<Figure> {
        let mut drawing = Drawing::new(Growing::Up);
        for (group, name, style) in SIDES {
            let own = rows.iter().filter(|row| {
                row.solution == *one
                    && row.other == *other
                    && row.group == group
                    && row.cosine.value.is_finite()
            });
            let point = |row: &ConvergenceRow| Point {
                at: row.layer as f64,
                value: row.cosine,
                words: format!("{name}, after block {}: {}", row.layer, row.cosine.words()),
            };
            let points = own.map(point).collect();
            drawing.add(Series { name: Some(name.into()), look: Look::at(place), style, points });
        }
        let y = axis("cosine of the changes").range(vec![-1.05, 1.05]);
        let layout = layout(axis("block; −1 is the embeddings").zero_line(false), y);
        let caption = format!("{} and {}", quoted(one), quoted(other));
        (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
    };
    vec![pairs.iter().enumerate().filter_map(figure).collect()]
}

/// The effective rank over depth outside the domain, one figure a solution.
fn ranks(solutions: &[&str], rows: &[RankRow]) -> Vec<Figure> {
    let figure = |(place, solution): (usize, &&str)| -> Option<Figure> {
        let own: Vec<&RankRow> =
            rows.iter().filter(|row| row.solution == **solution && row.group == Group::General).collect();
        let mut drawing = Drawing::new(Growing::Up);
        type Of = fn(&RankRow) -> f64;
        let lines: [(&str, &'static Look, Style, Of); 2] = [
            (*solution, Look::at(place), Style::Inside, |row| row.rank),
            ("a random edit as large", Look::of_random(), Style::Outside, |row| row.random),
        ];
        for (name, look, style, of) in lines {
            let known = own.iter().copied().filter(|row| of(row).is_finite());
            let point = |row: &RankRow| Point {
                at: row.layer as f64,
                value: Interval::bare(of(row)),
                words: format!("{name}, after block {}: {}", row.layer, number(of(row))),
            };
            let points = known.map(point).collect();
            drawing.add(Series { name: Some(name.into()), look, style, points });
        }
        let layout = layout(axis("block; −1 is the embeddings").zero_line(false), axis("effective rank"));
        let caption = format!("Dimensions of what {} changes outside", quoted(solution));
        (!drawing.is_empty()).then(|| drawing.finish(caption, HEIGHT, layout))
    };
    solutions.iter().enumerate().filter_map(figure).collect()
}
