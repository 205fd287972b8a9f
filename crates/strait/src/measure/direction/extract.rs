//! Directions, and the angles between them.

use candle_core::Tensor;
use strait_model::{
    Decoder, Edit,
    edit::{Projection, Site, SteeringVector},
    progress::Progress,
};

use super::{DirectionCosine, Source};
use crate::{
    Result,
    direction::{
        Condition, Tokens, cosine,
        extract::{Arrangement, Divisions, Method, RowMeans, contrasts},
    },
    interval::Interval,
    lab::{PairRows, Solution, every_two},
    measure::{
        Part,
        part::{flat, numbers},
    },
    objective::Row,
};

/// A solution's mean difference after one block.
pub struct Direction<'a> {
    pub solution: &'a Solution,
    pub source: Source,
    pub vector: SteeringVector,
    /// The mean cosine of the directions of two random halves of the pairs.
    pub reliability: Interval,
    /// The share of swaps within pairs under which the means lie as far apart.
    pub p: f64,
}

impl Direction<'_> {
    fn numbers(&self) -> Result<Vec<f64>> {
        numbers(&self.vector.vector)
    }

    /// The cosine with what the solution itself adds to the stream; NaN where that is no one direction.
    pub fn with_its_solution(&self) -> Result<f64> {
        match written(&self.solution.edit)? {
            Some(own) => Ok(cosine(&self.numbers()?, &own)),
            None => Ok(f64::NAN),
        }
    }
}

/// The one direction that an edit writes into the residual stream: its vector, or B of the one adapter whose output is added
/// to the stream, if it has rank 1.
fn written(edit: &Edit) -> Result<Option<Vec<f64>>> {
    Ok(match edit {
        Edit::Steering(_) => Some(flat(edit, Part::Vector)?),
        Edit::Lora(lora) => {
            let adds = |site| match site {
                Site::Embeddings | Site::Lookup => true,
                Site::Projection { projection, .. } => matches!(projection, Projection::O | Projection::Down),
                Site::Head => false,
            };
            match &lora.adapters.iter().filter(|adapter| adds(adapter.site)).collect::<Vec<_>>()[..] {
                [one] if one.b.dim(1)? == 1 => Some(numbers(&one.b)?),
                _ => None,
            }
        }
        Edit::Full(_) | Edit::Ablation(_) | Edit::Composed(_) => None,
    })
}

/// The pairs that directions are read on, and those that their effects are read on, inside the domain and outside: of other
/// questions, so that no direction is tested on what it was made of.
pub struct Read {
    pub from: PairRows,
    pub on: [PairRows; 2],
}

impl Read {
    /// At most `most` pairs for each.
    pub fn of([narrow, general]: &[PairRows; 2], most: usize) -> Self {
        let [from, others] = general.halves().map(|half| half.some(most));
        Self { from, on: [narrow.some(most), others] }
    }
}

/// At most `most` layers, evenly apart from the first that every solution changes to the last.
pub fn layers(depth: usize, solutions: &[Solution], most: usize) -> Vec<i32> {
    let first = solutions.iter().filter_map(|solution| solution.edit.first_layer()).max();
    first.map_or_else(Vec::new, |first| apart(first, depth, most))
}

/// At most `most` layers, evenly apart from `first` to the last.
pub fn apart(first: i32, depth: usize, most: usize) -> Vec<i32> {
    let span = (depth as i32 - 1 - first).max(0) as usize;
    let count = most.min(span + 1);
    (0..count).map(|i| first + (i * span / (count - 1).max(1)) as i32).collect()
}

/// The directions of one solution at these layers, of every source, with halves and swaps drawn by the seed.
pub fn directions<'a>(
    decoder: &Decoder,
    solution: &'a Solution,
    layers: &[i32],
    pairs: &PairRows,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<Direction<'a>>> {
    let prompts = pairs.prompts();
    let answers =
        |first: usize| -> Vec<Row> { pairs.kept.rows().iter().skip(first).step_by(2).cloned().collect() };
    let (taught, other) = (answers(0), answers(1));
    let edit = Some(&solution.edit);
    let shift = [Condition { rows: &prompts, edit }, Condition { rows: &prompts, edit: None }];
    let answers = [Condition { rows: &taught, edit }, Condition { rows: &other, edit }];
    let mut found = Vec::new();
    for (source, sides, tokens) in
        [(Source::Shift, shift, Tokens::Prompt), (Source::Answers, answers, Tokens::Response)]
    {
        let read = |side| RowMeans::read(decoder, side, tokens, layers, u64::MAX, &|_| Ok(()));
        let [one, other] = sides;
        let sides = [read(one)?, read(other)?];
        let counts = sides.each_ref().map(RowMeans::tokens);
        let arrangement = Arrangement::new(counts, [&pairs.questions, &pairs.questions], true);
        let divisions = Divisions::of(arrangement, seed)?;
        for (contrast, &layer) in contrasts(&sides, &divisions, Method::Mean, progress)?.iter().zip(layers) {
            let numbers: Vec<f32> = contrast.vector.iter().map(|x| *x as f32).collect();
            let vector = Tensor::from_vec(numbers, sides[0].width(), decoder.device())?;
            let vector = SteeringVector { layer, vector };
            found.push(Direction {
                solution,
                source,
                vector,
                reliability: contrast.reliability,
                p: contrast.p,
            });
        }
    }
    Ok(found)
}

/// The cosine of every two directions that differ in their solution, their layer or their source alone.
pub fn cosines(directions: &[Direction<'_>]) -> Result<Vec<DirectionCosine>> {
    let numbers = directions.iter().map(Direction::numbers).collect::<Result<Vec<_>>>()?;
    let all: Vec<_> = directions.iter().zip(&numbers).collect();
    let differ = |one: &Direction<'_>, other: &Direction<'_>| {
        usize::from(one.solution.name != other.solution.name)
            + usize::from(one.source != other.source)
            + usize::from(one.vector.layer != other.vector.layer)
    };
    let mut rows = Vec::new();
    for ((one, x), (other, y)) in every_two(&all) {
        if differ(one, other) == 1 {
            rows.push(DirectionCosine {
                solution: one.solution.name.clone(),
                source: one.source,
                layer: one.vector.layer.into(),
                other: other.solution.name.clone(),
                other_source: other.source,
                other_layer: other.vector.layer.into(),
                cosine: cosine(x, y),
            });
        }
    }
    Ok(rows)
}
