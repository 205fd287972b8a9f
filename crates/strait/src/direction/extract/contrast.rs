//! The direction between two classes of rows at one layer, how reliable it is, and how often shuffled labels give as much.

use candle_core::{DType, Device, Tensor};

use super::{
    arrangement::{Arrangement, Coefficients, Halves, SHUFFLES, TAUGHT},
    component::leading,
};
use crate::{
    Result,
    direction::cosine,
    interval::{Interval, mean},
    table::Word,
};

/// The way from two classes of rows to a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The mean of the taught class less that of the other, every token with the same weight (paper §13.1).
    Mean,
    /// The first principal component: of the differences of paired rows, about zero; of rows that are not paired about the middle
    /// between both classes. Each row counts once. It points to the taught class and is as long as the mean difference.
    Component,
}

impl Word for Method {
    const WORDS: &'static [(Self, &'static str)] = &[(Self::Mean, "mean"), (Self::Component, "component")];
}

/// The ways to divide some rows, the same at all layers.
pub struct Divisions {
    arrangement: Arrangement,
    observed: Tensor,
    shuffles: Tensor,
    splits: Vec<Halves>,
}

/// A direction at one layer, and what speaks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// The direction; zero where the means of both classes differ by no more than rounding.
    pub vector: Vec<f64>,
    /// The mean cosine of the directions of two random halves of the rows; its interval is over questions.
    pub reliability: Interval,
    /// The share of shuffled labels under which the classes lie as far apart as they do: by the length of their mean difference, or
    /// by its part along the component. The labels as they are count as one of them.
    pub p: f64,
}

/// Means of the same numbers differ by no more than this share of the largest of them.
const ROUNDING: f64 = 1e-12;

/// Rows of coefficients that are multiplied at once.
const AT_ONCE: usize = 256;

impl Divisions {
    /// All that are drawn for some rows.
    ///
    /// # Errors
    /// If there is no room for them.
    pub fn of(arrangement: Arrangement, seed: u64) -> Result<Self> {
        Ok(Self {
            observed: matrix(&[arrangement.observed()])?,
            shuffles: matrix(&arrangement.shuffles(seed))?,
            splits: arrangement.splits(seed),
            arrangement,
        })
    }

    /// The direction of the rows, whose numbers at one layer are those of the taught class and then those of the other.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn contrast(&self, rows: Vec<f32>, width: usize, method: Method) -> Result<Contrast> {
        let largest = rows.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        let rows = Tensor::from_vec(rows, (self.arrangement.rows(), width), &Device::Cpu)?;
        let rows = Rows::new(rows.to_dtype(DType::F64)?, self, method)?;
        let difference = self.observed.matmul(&rows.centred)?.abs()?.max_all()?.to_scalar::<f64>()?;
        if difference <= ROUNDING * f64::from(largest) {
            return Ok(Contrast { vector: vec![0.0; width], reliability: Interval::NONE, p: f64::NAN });
        }
        let vector = rows.directions(&self.observed)?;
        Ok(Contrast {
            reliability: self.reliability(&rows)?,
            p: self.p(&rows, &vector)?,
            vector: vector.flatten_all()?.to_vec1()?,
        })
    }

    fn reliability(&self, rows: &Rows<'_>) -> Result<Interval> {
        let mut cosines: Vec<Vec<f64>> = Vec::with_capacity(self.splits.len());
        for Halves { whole, without } in &self.splits {
            let halves = std::iter::once(whole).chain(without);
            let all: Vec<Coefficients> = halves.flat_map(|both| both.iter().cloned()).collect();
            let found = rows.directions(&matrix(&all)?)?.to_vec2::<f64>()?;
            cosines.push(found.chunks_exact(2).map(|both| cosine(&both[0], &both[1])).collect());
        }
        let over_splits = |place: usize| mean(cosines.iter().map(|split| split[place]));
        let groups = self.splits.first().map_or(0, |split| split.without.len());
        let without: Vec<f64> = (1..=groups).map(over_splits).collect();
        let Interval { value, low, high } = Interval::of_left_out(over_splits(0), &without);
        // Bounds that are not known stay so.
        Ok(Interval { value, low: low.clamp(-1.0, 1.0), high: high.clamp(-1.0, 1.0) })
    }

    fn p(&self, rows: &Rows<'_>, vector: &Tensor) -> Result<f64> {
        let lengths = |coefficients: &Tensor| -> Result<Vec<f64>> {
            let differences = match rows.method {
                Method::Mean => coefficients.matmul(&rows.centred)?,
                Method::Component => coefficients.matmul(&rows.centred.matmul(&vector.t()?)?)?,
            };
            Ok(differences.sqr()?.sum(1)?.to_vec1()?)
        };
        // Equal labels give equal lengths but for rounding.
        let observed = lengths(&self.observed)?[0] * (1.0 - 1e-9);
        let mut beyond = 0;
        for first in (0..SHUFFLES).step_by(AT_ONCE) {
            let some = self.shuffles.narrow(0, first, AT_ONCE.min(SHUFFLES - first))?;
            // A length that is no number lies beyond nothing.
            beyond += lengths(&some)?.into_iter().filter(|length| *length >= observed).count();
        }
        Ok(if observed.is_nan() { f64::NAN } else { (1 + beyond) as f64 / (1 + SHUFFLES) as f64 })
    }
}

/// The numbers of all rows at a layer.
struct Rows<'a> {
    method: Method,
    divisions: &'a Divisions,
    /// About the middle between both classes, which no difference of means depends on: large numbers that all rows share would
    /// cost digits. Shape `(rows, width)`.
    centred: Tensor,
    /// Of pairs the differences, shape `(pairs, width)`; of other rows themselves.
    items: Tensor,
}

impl<'a> Rows<'a> {
    fn new(rows: Tensor, divisions: &'a Divisions, method: Method) -> Result<Self> {
        let middle = (divisions.observed.abs()?.matmul(&rows)? * 0.5)?;
        let centred = rows.broadcast_sub(&middle)?;
        let items = match divisions.arrangement.pairs() {
            Some(pairs) => (centred.narrow(0, 0, pairs)? - centred.narrow(0, pairs, pairs)?)?,
            None => centred.clone(),
        };
        Ok(Self { method, divisions, centred, items })
    }

    /// The directions under some coefficients.
    ///
    /// # Shapes
    /// - `coefficients`: `(directions, rows)`
    /// - result: `(directions, width)`
    fn directions(&self, coefficients: &Tensor) -> Result<Tensor> {
        let means = coefficients.matmul(&self.centred)?;
        match self.method {
            Method::Mean => Ok(means),
            Method::Component => {
                let there = coefficients.ne(0.0)?.to_dtype(DType::F64)?;
                let there = match self.divisions.arrangement.pairs() {
                    Some(pairs) => there.narrow(1, TAUGHT, pairs)?,
                    None => there,
                };
                leading(&self.items, &there.contiguous()?, &means)
            }
        }
    }
}

fn matrix(rows: &[Coefficients]) -> Result<Tensor> {
    let columns = rows.first().map_or(0, Vec::len);
    Ok(Tensor::from_vec(rows.concat(), (rows.len(), columns), &Device::Cpu)?)
}
