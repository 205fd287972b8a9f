//! The work of edits in a pass: on the residual stream at its points, and at the sites of adapters.

use std::ops::Range;

use candle_core::Tensor;

use super::{Decoder, scalars::Way};
use crate::{
    Edit, Result,
    edit::{Adapter, Full, Site},
    ops::Linear,
};

/// Edits, each with the rows of a pass that it acts on.
pub(super) type Edits<'a> = Vec<(Range<usize>, Option<&'a Edit>)>;

/// Lets each edit change the rows that it acts on, which together are all.
pub(super) fn edited(
    edits: &[(Range<usize>, Option<&Edit>)],
    stream: Tensor,
    change: impl Fn(Tensor, &Range<usize>, Option<&Edit>) -> Result<Tensor>,
) -> Result<Tensor> {
    if let [(rows, edit)] = edits {
        return change(stream, rows, *edit);
    }
    let part = |(rows, edit): &(Range<usize>, Option<&Edit>)| {
        change(stream.narrow(0, rows.start, rows.len())?, rows, *edit)
    };
    Ok(Tensor::cat(&edits.iter().map(part).collect::<Result<Vec<_>>>()?, 0)?)
}

/// The adapters of an edit at a site, each with its scale.
pub(super) fn adapters(edit: Option<&Edit>, site: Site) -> impl Iterator<Item = (&Adapter, f64)> {
    edit.into_iter().flat_map(move |edit| adapters_of(edit, site))
}

/// The adapters of one edit, or of one part of it, at a site, each with its scale.
pub(super) fn adapters_of(part: &Edit, site: Site) -> impl Iterator<Item = (&Adapter, f64)> {
    part.adapters().filter(move |(adapter, _)| adapter.site == site)
}

impl Decoder {
    /// Lets the parts of an edit that act on the residual stream at a point act there, in their order. `tokens` are those of
    /// the stream, which only the embeddings' point needs.
    pub(super) fn steer(
        &self,
        stream: Tensor,
        point: usize,
        tokens: &[u32],
        edit: Option<&Edit>,
        way: Way<'_>,
    ) -> Result<Tensor> {
        let mut stream = stream;
        if point == 0 {
            // The table changes before anything acts on what stands in it.
            for full in fulls(edit) {
                stream = (stream + full.of_tokens(tokens, self.config.embedding_scale)?)?;
            }
        }
        let base = stream.clone();
        for part in edit.into_iter().flat_map(Edit::parts) {
            match part {
                Edit::Steering(steering) if steering.layer + 1 == point as i32 => {
                    stream = stream.broadcast_add(&steering.vector.to_dtype(stream.dtype())?)?;
                }
                Edit::Lora(_) if point == 0 => {
                    // As a change of the embedding table would: what it adds depends on the embeddings alone.
                    for (adapter, scale) in adapters_of(part, Site::Embeddings) {
                        stream = (stream + self.change(way, &base, adapter, scale)?)?;
                    }
                    for (adapter, scale) in adapters_of(part, Site::Lookup) {
                        let scale = scale * self.config.embedding_scale;
                        stream = (stream + self.looked_up(way, tokens, adapter, scale)?)?;
                    }
                }
                Edit::Ablation(ablation) if ablation.layer + 1 == point as i32 => {
                    let unit = ablation.unit()?.to_dtype(stream.dtype())?.unsqueeze(0)?;
                    let along = stream.broadcast_mul(&unit)?.sum_keepdim(1)?;
                    stream = (&stream - (along.broadcast_mul(&unit)? * ablation.factor)?)?;
                }
                _ => {}
            }
        }
        Ok(stream)
    }

    /// The term that an adapter adds: scale * B A x.
    pub(super) fn change(&self, way: Way<'_>, x: &Tensor, adapter: &Adapter, scale: f64) -> Result<Tensor> {
        let down = way.product.apply(x, &Linear::of(&adapter.a, self.precision))?;
        self.up(way, down, adapter, scale)
    }

    /// The term that an adapter of the embedding table adds: scale * B A, with A's columns those of the tokens.
    fn looked_up(&self, way: Way<'_>, tokens: &[u32], adapter: &Adapter, scale: f64) -> Result<Tensor> {
        let ids = Tensor::from_slice(tokens, tokens.len(), adapter.a.device())?;
        let of_tokens = adapter.a.index_select(&ids, 1)?.t()?.contiguous()?;
        self.up(way, of_tokens, adapter, scale)
    }

    /// The term of an adapter from its A x.
    fn up(&self, way: Way<'_>, down: Tensor, adapter: &Adapter, scale: f64) -> Result<Tensor> {
        let down = way.of_adapter(adapter, down);
        Ok((way.product.apply(&down, &Linear::of(&adapter.b, self.precision))? * scale)?)
    }
}

/// The full fine-tunes in an edit.
pub(super) fn fulls(edit: Option<&Edit>) -> impl Iterator<Item = &Full> {
    edit.into_iter().flat_map(Edit::parts).filter_map(|part| match part {
        Edit::Full(full) => Some(full),
        _ => None,
    })
}

/// The point up to which `edit` changes nothing: a stream kept there serves the base model and every variant.
pub fn first_changed_point(edit: &Edit, layers: usize) -> usize {
    let point_of = |site| match site {
        Site::Embeddings | Site::Lookup => 0,
        Site::Projection { layer, .. } => layer,
        Site::Head => layers,
    };
    let of_part = |part: &Edit| match part {
        Edit::Steering(steering) => Some((steering.layer + 1) as usize),
        Edit::Ablation(ablation) => Some((ablation.layer + 1) as usize),
        Edit::Lora(lora) => lora.adapters.iter().map(|a| point_of(a.site)).min(),
        Edit::Full(_) => Some(0),
        Edit::Composed(_) => None,
    };
    edit.parts().filter_map(of_part).min().unwrap_or(layers)
}
