//! Attention composed of candle operations, for other devices and types.

use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::{D, DType, Device, Result, Tensor};

use super::{AttentionShape, Span, Spans};
use crate::get_or_try;

/// All spans as one block, padded to the longest: a GPU takes a few large operations faster than many small ones.
pub(super) fn plain(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: AttentionShape,
    spans: &Spans,
) -> Result<Tensor> {
    let AttentionShape { heads, kv_heads, head_dim, .. } = shape;
    let padded = spans.padded(q.device())?;
    let (n, queries, keys) = (padded.spans, padded.longest, padded.most);
    // Query heads that share keys stand one behind the other, so that one product serves them.
    let group = heads / kv_heads;
    let q = padded.queries.of(q)?.reshape((n, queries, kv_heads, group, head_dim))?;
    let q = q.permute((0, 2, 3, 1, 4))?.contiguous()?.reshape((n * kv_heads, group * queries, head_dim))?;
    let by_head = |x: &Tensor| -> Result<Tensor> {
        let x = padded.keys.of(x)?.reshape((n, keys, kv_heads, head_dim))?.transpose(1, 2)?;
        x.contiguous()?.reshape((n * kv_heads, keys, head_dim))
    };
    let mut scores = (q.matmul(&by_head(k)?.t()?)? * shape.scale as f64)?;
    if let Some(cap) = shape.softcap {
        scores = ((scores / cap as f64)?.tanh()? * cap as f64)?;
    }
    let mask = padded.mask(shape.window)?.to_dtype(scores.dtype())?;
    let scores = scores.reshape((n, heads, queries, keys))?.broadcast_add(&mask)?;
    let largest = scores.max_keepdim(D::Minus1)?.detach();
    let powers = scores.broadcast_sub(&largest)?.exp()?;
    let probabilities = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?;
    let mixed = probabilities.reshape((n * kv_heads, group * queries, keys))?.matmul(&by_head(v)?)?;
    let mixed = mixed.reshape((n, kv_heads, group, queries, head_dim))?.permute((0, 3, 1, 2, 4))?;
    padded.back.of(&mixed.contiguous()?.reshape((n * queries, heads * head_dim))?)
}

/// The spans of a batch as one block, on a device.
#[derive(Debug)]
pub(super) struct Padded {
    spans: usize,
    /// Queries of the longest span.
    longest: usize,
    /// Keys of the span that has most.
    most: usize,
    /// From packed queries to `(spans * longest)` rows.
    queries: Gather,
    /// From packed keys to `(spans * most)` rows.
    keys: Gather,
    /// From `(spans * longest)` rows to packed queries.
    back: Gather,
    /// The first key that each query does not see yet, `(spans, 1, longest, 1)`.
    ends: Tensor,
    /// The masks made so far, by their window.
    masks: Mutex<Vec<(Option<usize>, Tensor)>>,
}

impl Padded {
    pub(super) fn new(list: &[Span], device: &Device) -> Result<Self> {
        let longest = list.iter().map(|span| span.queries.len()).max().unwrap_or(0);
        let most = list.iter().map(Span::key_count).max().unwrap_or(0);
        let (mut queries, mut keys, mut back, mut ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (block, span) in list.iter().enumerate() {
            // What pads is never used; it repeats row 0 and sees key 0, so that no softmax is over nothing.
            let padded = |rows: &mut dyn Iterator<Item = usize>, length: usize| -> Vec<u32> {
                rows.chain(std::iter::repeat(0)).take(length).map(|row| row as u32).collect()
            };
            queries.extend(padded(&mut span.queries.clone(), longest));
            keys.extend(padded(&mut span.all_keys(), most));
            back.extend((0..span.queries.len()).map(|i| (block * longest + i) as u32));
            let seen = (0..span.queries.len()).map(|i| span.visible(i, None).end);
            ends.extend(seen.chain(std::iter::repeat(1)).take(longest).map(|end| end as f32));
        }
        let tokens = back.len();
        let key_rows = list.iter().map(|span| span.keys.end.max(span.beginning.end)).max().unwrap_or(0);
        Ok(Self {
            spans: list.len(),
            longest,
            most,
            queries: Gather::new(queries, tokens, device)?,
            keys: Gather::new(keys, key_rows, device)?,
            back: Gather::new(back, list.len() * longest, device)?,
            ends: Tensor::from_vec(ends, (list.len(), 1, longest, 1), device)?,
            masks: Mutex::default(),
        })
    }

    /// 0 where a query sees a key and minus infinity elsewhere, `(spans, 1, longest, most)`.
    fn mask(&self, window: Option<usize>) -> Result<Tensor> {
        let mut masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, mask)) = masks.iter().find(|(known, _)| *known == window) {
            return Ok(mask.clone());
        }
        let device = self.ends.device();
        let keys = Tensor::arange(0f32, self.most as f32, device)?.reshape((1, 1, 1, self.most))?;
        let mut seen = keys.broadcast_lt(&self.ends)?;
        if let Some(window) = window {
            seen = (seen * keys.broadcast_ge(&(&self.ends - window as f64)?)?)?;
        }
        let shown = Tensor::zeros(seen.shape(), DType::F32, device)?;
        let hidden = Tensor::full(f32::NEG_INFINITY, seen.shape(), device)?;
        let mask = seen.where_cond(&shown, &hidden)?;
        masks.push((window, mask.clone()));
        Ok(mask)
    }
}

/// Takes rows of a matrix.
#[derive(Debug)]
struct Gather {
    /// The row of each row of the result.
    index: Tensor,
    /// The number of rows to take from.
    from: usize,
    product: OnceLock<Tensor>,
}

impl Gather {
    fn new(index: Vec<u32>, from: usize, device: &Device) -> Result<Self> {
        Ok(Self { index: Tensor::new(index, device)?, from, product: OnceLock::new() })
    }

    /// The chosen rows of `x`.
    ///
    /// With a gradient asked for they come from a product with a matrix of zeros and ones, which changes no bit: the
    /// backward of candle's `index_select` runs one thread a column on a GPU, and takes longer than the whole layer.
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        if !x.track_op() {
            return x.contiguous()?.index_select(&self.index, 0);
        }
        let product = get_or_try(&self.product, || {
            let rows = Tensor::arange(0, self.from as u32, x.device())?.unsqueeze(0)?;
            self.index.unsqueeze(1)?.broadcast_eq(&rows)?.to_dtype(DType::F32)
        })?;
        product.to_dtype(x.dtype())?.matmul(&x.contiguous()?)
    }
}
