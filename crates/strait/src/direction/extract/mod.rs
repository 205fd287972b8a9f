//! Extraction: from two classes of rows to a direction at every layer (paper §13.1).

mod arrangement;
mod classes;
mod component;
mod contrast;
mod problem;
mod provenance;
mod row_means;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use strait_model::{
    Decoder, Edit,
    edit::SteeringVector,
    progress::{Progress, Unit},
};

use super::{Condition, Tokens, cosine};
use crate::{Result, interval::Interval, lab::advance, table::Heading};

pub use arrangement::{Arrangement, SHUFFLES, SPLITS, Shuffled};
pub use classes::{ClassRules, Classes};
pub use contrast::{Contrast, Divisions, Method};
pub use problem::{FEWEST, Problem};
pub use provenance::{Made, NamedFile};
pub use row_means::RowMeans;

/// The way in which a direction is extracted.
#[derive(Clone, Debug)]
pub struct Extraction<'a> {
    /// The edit under which rows are read; none for the base model.
    pub edit: Option<&'a Edit>,
    /// From rows to a direction.
    pub method: Method,
    /// The layer; all of them and the embeddings where it is none.
    pub layer: Option<i32>,
    /// The seed of halves and shuffled labels.
    pub seed: u64,
    /// Bytes of memory for the means of rows; those that find no room lie in a temporary file.
    pub room: u64,
}

/// Directions, one a layer.
#[derive(Clone, Debug)]
pub struct Extracted {
    /// The directions, by ascending layers.
    pub directions: Vec<SteeringVector>,
    /// What speaks for each.
    pub rows: Vec<ExtractedDirection>,
    /// The labels that were shuffled.
    pub shuffled: Shuffled,
    /// Response tokens of each class.
    pub tokens: [usize; 2],
}

crate::row! {
    /// A direction at one layer.
    pub struct ExtractedDirection in "extracted",
        "Extracted directions: the taught class less the other in the residual stream after each block"
    {
        /// The block after which it is read, counted from 0; -1 is the embeddings.
        layer: i64,
        /// Its length.
        norm: f64,
        /// The mean cosine of the directions of two random halves of the rows; its interval is over questions.
        reliability: Interval = Heading::PLAIN.ends("reliability_low", "reliability_high"),
        /// The share of shuffled labels under which the classes lie as far apart.
        p: f64,
        /// Its cosine with the direction at the next layer; NaN for the last.
        cosine_next: f64,
    }
}

impl ExtractedDirection {
    /// One at a layer of which nothing is known yet.
    pub fn unread(layer: i32) -> Self {
        let (layer, nan) = (layer.into(), f64::NAN);
        Self { layer, norm: nan, reliability: Interval::NONE, p: nan, cosine_next: nan }
    }
}

impl Extraction<'_> {
    /// Reads every row in one pass and makes a direction at each layer of them.
    ///
    /// # Errors
    /// If the model does not have the layer, a reading is no number, the classes have the same mean at a layer, or the user asked
    /// for a stop.
    pub fn extract(
        &self,
        decoder: &Decoder,
        classes: &Classes,
        progress: &dyn Progress,
    ) -> Result<Extracted> {
        let layers = self.layers(decoder)?;
        let count = 2 * classes.count() as u64;
        let task = progress.begin("reading answers", Some(count), Unit::Count);
        let seen = |n| advance(progress, &*task, n);
        let read = |rows| {
            let condition = Condition { rows, edit: self.edit };
            RowMeans::read(decoder, condition, Tokens::Response, &layers, self.room / 2, &seen)
        };
        let [taught, other] = &classes.rows;
        let sides = [read(taught)?, read(other)?];
        drop(task);
        let tokens = sides.each_ref().map(RowMeans::tokens);
        let questions = classes.questions.each_ref().map(Vec::as_slice);
        let arrangement = Arrangement::new(tokens, questions, classes.paired);
        let shuffled = arrangement.shuffled();
        let tokens = tokens.map(|of_rows| of_rows.iter().sum());
        let divisions = Divisions::of(arrangement, self.seed)?;
        let found = contrasts(&sides, &divisions, self.method, progress)?;

        let direction = |(&layer, of): (&i32, &Contrast)| {
            if of.vector.iter().all(|x| *x == 0.0) {
                return Err(Problem::NoLength { layer }.into());
            }
            let numbers: Vec<f32> = of.vector.iter().map(|x| *x as f32).collect();
            let vector = Tensor::from_vec(numbers, of.vector.len(), &Device::Cpu)?;
            Ok(SteeringVector { layer, vector })
        };
        let directions = layers.iter().zip(&found).map(direction).collect::<Result<Vec<_>>>()?;
        let row = |(place, direction): (usize, &SteeringVector)| {
            Ok(ExtractedDirection {
                layer: direction.layer.into(),
                norm: direction.norm()?,
                reliability: found[place].reliability,
                p: found[place].p,
                cosine_next: found
                    .get(place + 1)
                    .map_or(f64::NAN, |next| cosine(&found[place].vector, &next.vector)),
            })
        };
        let rows = directions.iter().enumerate().map(row).collect::<Result<_>>()?;
        Ok(Extracted { directions, rows, shuffled, tokens })
    }

    fn layers(&self, decoder: &Decoder) -> Result<Vec<i32>> {
        let last = decoder.config().layers as i32 - 1;
        match self.layer {
            None => Ok((-1..=last).collect()),
            Some(layer) if (-1..=last).contains(&layer) => Ok(vec![layer]),
            Some(layer) => Err(Problem::NoLayer { layer, last }.into()),
        }
    }
}

/// The contrast of two classes of rows at each of their layers.
///
/// # Errors
/// If a tensor operation fails, or the user asked for a stop.
pub fn contrasts(
    sides: &[RowMeans; 2],
    divisions: &Divisions,
    method: Method,
    progress: &dyn Progress,
) -> Result<Vec<Contrast>> {
    let layers = sides[0].layers().len();
    let task = progress.begin("testing directions", Some(layers as u64), Unit::Count);
    let mut found = Vec::with_capacity(layers);
    // As many layers at a time as there are threads: no more numbers are in memory.
    for first in (0..layers).step_by(rayon::current_num_threads()) {
        let some = first..layers.min(first + rayon::current_num_threads());
        let rows = some.map(|place| Ok([sides[0].at(place)?, sides[1].at(place)?].concat()));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let count = rows.len() as u64;
        let contrast = |rows| divisions.contrast(rows, sides[0].width(), method);
        found.extend(rows.into_par_iter().map(contrast).collect::<Result<Vec<_>>>()?);
        advance(progress, &*task, count)?;
    }
    Ok(found)
}
