//! Linear readings of the residual stream.

use candle_core::{DType, Device, Tensor};

use super::{Decoder, Packed, edited::edited, scalars::Way};
use crate::{
    Edit, Result,
    edit::{Problem, SteeringVector},
    ops::Product,
};

/// One linear reading: of every token the sum of its stream's products with some vectors, each after its layer, plus an offset.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The vectors, each with the layer after which the stream is read.
    pub vectors: Vec<SteeringVector>,
    /// What is added.
    pub offset: f64,
}

/// Several linear readings that are taken in one pass, which ends at the last of their layers.
#[derive(Clone, Debug)]
pub struct Readout {
    /// By ascending point the vectors of all readings, shape `(hidden_size, readings)`; zero where one does not read there.
    parts: Vec<(usize, Tensor)>,
    offsets: Tensor,
}

impl Readout {
    /// Readings of a decoder's stream.
    ///
    /// # Errors
    /// If a vector does not fit the decoder or holds numbers that are not finite.
    pub fn new(decoder: &Decoder, readings: &[Reading]) -> Result<Self> {
        let (config, device) = (decoder.config(), decoder.device());
        let vectors = readings.iter().flat_map(|reading| &reading.vectors);
        vectors.clone().try_for_each(|vector| Edit::Steering(vector.clone()).check(config))?;
        let mut layers: Vec<i32> = vectors.map(|vector| vector.layer).collect();
        if layers.is_empty() {
            return Err(Problem::Empty.into());
        }
        layers.sort_unstable();
        layers.dedup();
        let at = |layer: i32| {
            let of_reading = |reading: &Reading| {
                let zero = Tensor::zeros(config.hidden_size, DType::F32, device)?;
                let own = reading.vectors.iter().filter(|vector| vector.layer == layer);
                own.map(|own| own.vector.to_dtype(DType::F32)?.to_device(device))
                    .try_fold(zero, |sum, vector| sum + vector?)
            };
            let columns = readings.iter().map(of_reading).collect::<candle_core::Result<Vec<_>>>()?;
            Ok(((layer + 1) as usize, Tensor::stack(&columns, 1)?))
        };
        let offsets: Vec<f32> = readings.iter().map(|reading| reading.offset as f32).collect();
        Ok(Self {
            parts: layers.into_iter().map(at).collect::<Result<_>>()?,
            offsets: Tensor::from_vec(offsets, readings.len(), &Device::Cpu)?.to_device(device)?,
        })
    }

    /// The points at which the stream is read, ascending.
    pub(super) fn points(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().map(|(point, _)| *point)
    }

    /// The layers after which the stream is read, ascending.
    pub fn layers(&self) -> impl Iterator<Item = i32> {
        self.points().map(|point| point as i32 - 1)
    }

    /// The readings of streams after the layers, as [`Decoder::residuals_after`] gives them.
    ///
    /// # Shapes
    /// - each stream: `(tokens, hidden_size)`
    /// - result: `(tokens, readings)`
    ///
    /// # Errors
    /// If the shapes disagree.
    pub fn of(&self, streams: &[Tensor]) -> Result<Tensor> {
        let mut sum = self.offsets.unsqueeze(0)?;
        for ((_, vectors), stream) in self.parts.iter().zip(streams) {
            sum = stream.to_dtype(DType::F32)?.matmul(vectors)?.broadcast_add(&sum)?;
        }
        Ok(sum)
    }
}

impl Decoder {
    /// The residual stream after the embeddings (layer -1) and after blocks, edits included; the pass ends at the last of them.
    ///
    /// # Shapes
    /// - each: `(tokens, hidden_size)`
    ///
    /// # Errors
    /// As [`Decoder::embed`]; and if the layers do not ascend or the decoder lacks one.
    pub fn residuals_after(
        &self,
        batch: &Packed,
        layers: impl IntoIterator<Item = i32>,
        edit: Option<&Edit>,
    ) -> Result<Vec<Tensor>> {
        let mut stream = self.embed(batch)?;
        let (mut at, mut seen) = (0, Vec::new());
        for layer in layers {
            let point =
                usize::try_from(layer + 1).ok().filter(|point| (at..=self.config.layers).contains(point));
            let Some(point) = point else {
                return Err(Problem::LayerRange {
                    site: format!("layer {layer}"),
                    layers: self.config.layers,
                }
                .into());
            };
            stream = self.run(stream, at..point, batch, edit)?;
            seen.push(self.steer(stream.clone(), point, batch.ids(), edit, Way::of(Product::OfAll))?);
            at = point;
        }
        Ok(seen)
    }

    /// The stream of a pass at a point, with what its edits do there.
    pub(super) fn seen_at(
        &self,
        stream: &Tensor,
        point: usize,
        batch: &Packed,
        edits: &[(std::ops::Range<usize>, Option<&Edit>)],
        way: Way<'_>,
    ) -> Result<Tensor> {
        edited(edits, stream.clone(), |stream, rows, edit| {
            self.steer(stream, point, &batch.ids[rows.clone()], edit, way)
        })
    }
}
