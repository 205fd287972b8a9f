//! Causal attention over packed sequences, with grouped key-value heads, sliding windows and soft caps.

use std::{
    ops::Range,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use candle_core::{CpuStorage, CustomOp3, D, DType, Device, Layout, Result, Shape, Tensor};
use gemm::Parallelism;
use rayon::prelude::*;

use super::{cpu, fused, get_or_try};

/// One sequence of a packed batch: its queries see its keys, and no others.
///
/// There may be fewer queries than keys (a cached prefix); the last query stands at the last key's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Rows of the queries.
    pub queries: Range<usize>,
    /// Rows of keys and values that come first, and that other spans may begin with too.
    pub beginning: Range<usize>,
    /// Rows of the keys and values that follow them.
    pub keys: Range<usize>,
}

impl Span {
    /// Rows of all its keys and values, in their order.
    fn all_keys(&self) -> impl Iterator<Item = usize> + use<> {
        self.beginning.clone().chain(self.keys.clone())
    }

    fn key_count(&self) -> usize {
        self.beginning.len() + self.keys.len()
    }

    /// The keys that query `i` of the span sees, counted from the span's first key.
    fn visible(&self, i: usize, window: Option<usize>) -> Range<usize> {
        let end = self.key_count() - self.queries.len() + i + 1;
        end.saturating_sub(window.unwrap_or(end))..end
    }
}

/// All sequences of a packed batch, whose queries follow each other in their order.
#[derive(Clone, Debug)]
pub struct Spans {
    list: Arc<[Span]>,
    /// What other devices than the CPU need of them, made once for all layers of a pass.
    padded: Arc<OnceLock<Padded>>,
}

impl Spans {
    /// The spans of one batch, for passes on one device.
    pub fn new(list: impl IntoIterator<Item = Span>) -> Self {
        Self { list: list.into_iter().collect(), padded: Arc::default() }
    }

    fn padded(&self, device: &Device) -> Result<&Padded> {
        get_or_try(&self.padded, || Padded::new(&self.list, device))
    }
}

/// What does not change from batch to batch.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Factor on every score.
    pub scale: f32,
    /// Scores s become cap * tanh(s / cap).
    pub softcap: Option<f32>,
    /// A query sees at most this many keys, its own position included.
    pub window: Option<usize>,
}

/// Softmax attention of each span's queries over its keys.
///
/// # Shapes
/// - `q`: `(queries, heads * head_dim)`
/// - `k`, `v`: `(keys, kv_heads * head_dim)`
/// - result: as `q`
///
/// # Errors
/// If the shapes disagree or a span reaches outside.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, shape: AttentionShape, spans: &Spans) -> Result<Tensor> {
    check(q, k, v, shape, &spans.list)?;
    if fused(q) {
        let op = Fused { shape, spans: spans.list.clone() };
        q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op)
    } else {
        plain(q, k, v, shape, spans)
    }
}

fn check(q: &Tensor, k: &Tensor, v: &Tensor, shape: AttentionShape, spans: &[Span]) -> Result<()> {
    let kv = shape.kv_heads * shape.head_dim;
    let (queries, keys) = (q.dim(0)?, k.dim(0)?);
    let fits = |s: &Span| {
        s.queries.end <= queries
            && s.beginning.end <= keys
            && s.keys.end <= keys
            && s.queries.len() <= s.keys.len()
    };
    if q.dims() != [queries, shape.heads * shape.head_dim]
        || k.dims() != [keys, kv]
        || v.dims() != [keys, kv]
        || !shape.heads.is_multiple_of(shape.kv_heads)
        || !spans.iter().all(fits)
    {
        candle_core::bail!(
            "attention: queries {:?}, keys {:?}, values {:?} do not fit {shape:?} over {} spans",
            q.shape(),
            k.shape(),
            v.shape(),
            spans.len()
        );
    }
    Ok(())
}

/// All spans as one block, padded to the longest: a GPU takes a few large operations faster than many small ones.
fn plain(q: &Tensor, k: &Tensor, v: &Tensor, shape: AttentionShape, spans: &Spans) -> Result<Tensor> {
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
struct Padded {
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
    fn new(list: &[Span], device: &Device) -> Result<Self> {
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
    /// How many rows there are to take from.
    from: usize,
    product: OnceLock<Tensor>,
}

impl Gather {
    fn new(index: Vec<u32>, from: usize, device: &Device) -> Result<Self> {
        Ok(Self { index: Tensor::new(index, device)?, from, product: OnceLock::new() })
    }

    /// The chosen rows of `x`.
    ///
    /// Where a gradient is asked for they come from a product with a matrix of zeros and ones, which changes no bit: the
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

/// Queries are taken in blocks of this many rows, so that scores beyond the block's last visible key are never computed
/// and memory stays small for long sequences.
const BLOCK: usize = 64;

struct Fused {
    shape: AttentionShape,
    spans: Arc<[Span]>,
}

/// A block of query rows of one span under one key-value head, with the keys that any of them sees.
struct Block {
    rows: Range<usize>,
    keys: Range<usize>,
}

impl Block {
    /// The block's part of all keys, or values, of its span.
    fn of<'a>(&self, numbers: &'a [f32], width: usize) -> cpu::View<'a> {
        cpu::View::rows(&numbers[self.keys.start * width..self.keys.end * width], width)
    }
}

impl Fused {
    fn blocks<'a>(&'a self, span: &'a Span) -> impl Iterator<Item = Block> + 'a {
        let n = span.queries.len();
        (0..n).step_by(BLOCK).map(move |start| {
            let rows = start..(start + BLOCK).min(n);
            let keys = span.visible(start, self.shape.window).start
                ..span.visible(rows.end - 1, self.shape.window).end;
            Block { rows, keys }
        })
    }

    /// Attention probabilities of a block, rows of `block.keys.len()`; keys that a row does not see get 0.
    fn probabilities(&self, span: &Span, block: &Block, q: cpu::View, k: cpu::View, to: &mut [f32]) {
        let (rows, width) = (block.rows.len(), block.keys.len());
        let shape = (rows, width, self.shape.head_dim);
        cpu::matmul(shape, to, width, 0.0, q, k.t(), self.shape.scale, Parallelism::None);
        let visible = |i: usize| {
            let visible = span.visible(block.rows.start + i, self.shape.window);
            visible.start - block.keys.start..visible.end - block.keys.start
        };
        // Powers are taken of the whole block at once: the rows of short sequences are shorter than vectors.
        cpu::vectorised(|| {
            if let Some(cap) = self.shape.softcap {
                to.iter_mut().for_each(|s| *s = cap * cpu::tanh(*s / cap));
            }
            for (i, row) in to.chunks_exact_mut(width).enumerate() {
                let visible = visible(i);
                row[..visible.start].fill(f32::NEG_INFINITY);
                row[visible.end..].fill(f32::NEG_INFINITY);
                let largest = cpu::max(row);
                row.iter_mut().for_each(|s| *s -= largest);
            }
            to.iter_mut().for_each(|s| *s = cpu::exp(*s));
            for (i, row) in to.chunks_exact_mut(width).enumerate() {
                let visible = &mut row[visible(i)];
                let inverse = 1.0 / cpu::sum(visible.len(), |j| visible[j]);
                visible.iter_mut().for_each(|s| *s *= inverse);
            }
        });
    }

    /// Runs `f` for every pair of a span and a key-value head, in parallel; results in that order.
    fn for_each_task<R: Send>(&self, f: impl Fn(&Span, usize) -> R + Sync) -> Vec<R> {
        let kv_heads = self.shape.kv_heads;
        (0..self.spans.len() * kv_heads)
            .into_par_iter()
            .map(|task| f(&self.spans[task / kv_heads], task % kv_heads))
            .collect()
    }

    /// Adds the tasks' results, rows of `width` numbers each, to their rows and columns of a packed tensor.
    fn assemble<R: Iterator<Item = usize>>(
        &self,
        parts: &[Vec<f32>],
        width: usize,
        rows_of: impl Fn(&Span) -> R,
        to: &mut [f32],
    ) {
        let stride = self.shape.kv_heads * width;
        for (task, part) in parts.iter().enumerate() {
            let (span, head) = (&self.spans[task / self.shape.kv_heads], task % self.shape.kv_heads);
            for (row, numbers) in rows_of(span).zip(part.chunks_exact(width)) {
                let to = &mut to[row * stride + head * width..][..width];
                to.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
            }
        }
    }

    fn group(&self) -> usize {
        self.shape.heads / self.shape.kv_heads
    }

    /// Rows `rows` (counted from the packed tensor's start) of head `head` of `heads`.
    fn head<'a>(&self, numbers: &'a [f32], heads: usize, head: usize, rows: Range<usize>) -> cpu::View<'a> {
        let (width, d) = (heads * self.shape.head_dim, self.shape.head_dim);
        let end = if rows.is_empty() { rows.start * width } else { (rows.end - 1) * width + (head + 1) * d };
        let start = (rows.start * width + head * d).min(end);
        cpu::View { numbers: &numbers[start..end], row: width, column: 1 }
    }

    /// All keys, or values, of a span under one key-value head: rows of `head_dim`.
    fn of_keys(&self, numbers: &[f32], span: &Span, kv_head: usize) -> Vec<f32> {
        let (width, d) = (self.shape.kv_heads * self.shape.head_dim, self.shape.head_dim);
        let mut rows = Vec::with_capacity(span.key_count() * d);
        span.all_keys().for_each(|row| rows.extend_from_slice(&numbers[row * width + kv_head * d..][..d]));
        rows
    }
}

fn offset(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (cpu::slice(q, q_layout)?, cpu::slice(k, k_layout)?, cpu::slice(v, v_layout)?);
        let AttentionShape { heads, head_dim: d, .. } = self.shape;
        let width = self.group() * d;
        let parts = self.for_each_task(|span, kv_head| {
            let (k, v) = (self.of_keys(k, span, kv_head), self.of_keys(v, span, kv_head));
            let mut mixed = vec![0f32; span.queries.len() * width];
            let mut scores = vec![0f32; BLOCK.min(span.queries.len()) * span.key_count()];
            for block in self.blocks(span) {
                let (k, v) = (block.of(&k, d), block.of(&v, d));
                let (n, m) = (block.rows.len(), block.keys.len());
                let scores = &mut scores[..n * m];
                for g in 0..self.group() {
                    let rows = offset(&block.rows, span.queries.start);
                    let q = self.head(q, heads, kv_head * self.group() + g, rows);
                    self.probabilities(span, &block, q, k, scores);
                    let to = &mut mixed[block.rows.start * width + g * d..];
                    let p = cpu::View::rows(scores, m);
                    cpu::matmul((n, d, m), to, width, 0.0, p, v, 1.0, Parallelism::None);
                }
            }
            mixed
        });
        let mut y = vec![0f32; q.len()];
        self.assemble(&parts, width, |s| s.queries.clone(), &mut y);
        Ok((CpuStorage::F32(y), q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = self.group() * self.shape.head_dim;
        let (mut dq, mut dk, mut dv) =
            (vec![0f32; q.elem_count()], vec![0f32; k.elem_count()], vec![0f32; v.elem_count()]);
        cpu::with_slices([q, k, v, grad], |[qs, ks, vs, dys]| {
            let parts =
                self.for_each_task(|span, kv_head| self.task_backward(span, kv_head, qs, ks, vs, dys));
            let mut dqs = Vec::with_capacity(parts.len());
            let mut dks = Vec::with_capacity(parts.len());
            let mut dvs = Vec::with_capacity(parts.len());
            for (dq, dk, dv) in parts {
                dqs.push(dq);
                dks.push(dk);
                dvs.push(dv);
            }
            self.assemble(&dqs, width, |s| s.queries.clone(), &mut dq);
            self.assemble(&dks, self.shape.head_dim, Span::all_keys, &mut dk);
            self.assemble(&dvs, self.shape.head_dim, Span::all_keys, &mut dv);
            Ok(())
        })?;
        Ok((
            Some(Tensor::from_vec(dq, q.shape(), q.device())?),
            Some(Tensor::from_vec(dk, k.shape(), k.device())?),
            Some(Tensor::from_vec(dv, v.shape(), v.device())?),
        ))
    }
}

impl Fused {
    /// Gradients of one span under one key-value head: of its group's queries, of its keys, of its values.
    ///
    /// With probabilities P, dP = dY V^T and dS = P * (dP - rowsum(P * dP)): dQ = dS K, dK = dS^T Q, dV = P^T dY.
    fn task_backward(
        &self,
        span: &Span,
        kv_head: usize,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        dy: &[f32],
    ) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let AttentionShape { heads, head_dim: d, scale, .. } = self.shape;
        let width = self.group() * d;
        let (k, v) = (self.of_keys(k, span, kv_head), self.of_keys(v, span, kv_head));
        let mut dq = vec![0f32; span.queries.len() * width];
        let mut dk = vec![0f32; k.len()];
        let mut dv = vec![0f32; v.len()];
        let mut p = vec![0f32; BLOCK.min(span.queries.len()) * span.key_count()];
        let mut ds = p.clone();
        for block in self.blocks(span) {
            let (k, v) = (block.of(&k, d), block.of(&v, d));
            let (n, m) = (block.rows.len(), block.keys.len());
            let (p, ds) = (&mut p[..n * m], &mut ds[..n * m]);
            for g in 0..self.group() {
                let rows = offset(&block.rows, span.queries.start);
                let q = self.head(q, heads, kv_head * self.group() + g, rows.clone());
                let dy = self.head(dy, heads, kv_head * self.group() + g, rows);
                self.probabilities(span, &block, q, k, p);
                cpu::matmul((n, m, d), ds, m, 0.0, dy, v.t(), 1.0, Parallelism::None);
                cpu::vectorised(|| {
                    for (p, ds) in p.chunks_exact(m).zip(ds.chunks_exact_mut(m)) {
                        let along = cpu::sum(m, |j| p[j] * ds[j]);
                        ds.iter_mut().zip(p).for_each(|(ds, p)| *ds = p * (*ds - along));
                    }
                });
                if let Some(cap) = self.shape.softcap {
                    self.through_softcap(cap, (n, m), q, k, ds);
                }
                let (dv, dk) = (&mut dv[block.keys.start * d..], &mut dk[block.keys.start * d..]);
                let dq = &mut dq[block.rows.start * width + g * d..];
                let (p, ds) = (cpu::View::rows(p, m), cpu::View::rows(ds, m));
                cpu::matmul((m, d, n), dv, d, 1.0, p.t(), dy, 1.0, Parallelism::None);
                cpu::matmul((m, d, n), dk, d, 1.0, ds.t(), q, scale, Parallelism::None);
                cpu::matmul((n, d, m), dq, width, 0.0, ds, k, scale, Parallelism::None);
            }
        }
        (dq, dk, dv)
    }

    /// Multiplies the gradient by the slope of cap * tanh(s / cap), from the scores computed again.
    fn through_softcap(&self, cap: f32, (n, m): (usize, usize), q: cpu::View, k: cpu::View, ds: &mut [f32]) {
        let mut scores = vec![0f32; n * m];
        let shape = (n, m, self.shape.head_dim);
        cpu::matmul(shape, &mut scores, m, 0.0, q, k.t(), self.shape.scale, Parallelism::None);
        cpu::vectorised(|| {
            for (ds, s) in ds.iter_mut().zip(&scores) {
                let t = cpu::tanh(s / cap);
                *ds *= 1.0 - t * t;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{agree, random};
    use super::*;

    fn span(queries: Range<usize>, keys: Range<usize>) -> Span {
        Span { queries, beginning: 0..0, keys }
    }

    fn check(softcap: Option<f32>, window: Option<usize>, spans: &[Span]) {
        let shape = AttentionShape { heads: 6, kv_heads: 2, head_dim: 4, scale: 0.7, softcap, window };
        let (queries, keys) = (spans.last().unwrap().queries.end, spans.last().unwrap().keys.end);
        let spans = Spans::new(spans.iter().cloned());
        let inputs = [random(1, &[queries, 24]), random(2, &[keys, 8]), random(3, &[keys, 8])]
            .map(|t| (t * 2.0).unwrap());
        agree(
            &inputs,
            |t| attention(&t[0], &t[1], &t[2], shape, &spans),
            |t| plain(&t[0], &t[1], &t[2], shape, &spans),
        );
    }

    #[test]
    fn fused_agrees_with_plain() {
        let packed = [span(0..5, 0..5), span(5..6, 5..6), span(6..150, 6..150)];
        check(None, None, &packed);
        check(Some(1.5), None, &packed);
        check(None, Some(3), &packed);
        check(Some(2.0), Some(70), &packed);
    }

    #[test]
    fn cached_keys_are_seen() {
        check(None, None, &[span(0..1, 0..9), span(1..4, 9..15)]);
        check(None, Some(4), &[span(0..1, 0..9), span(1..4, 9..15)]);
    }

    #[test]
    fn a_shared_beginning_is_seen_by_all_and_gets_the_gradient_of_all() {
        let sharing = |own: Range<usize>| Span { queries: own.clone(), beginning: 0..7, keys: own };
        let packed = [span(0..7, 0..7), sharing(7..12), sharing(12..90)];
        check(None, None, &packed);
        check(Some(1.5), Some(4), &packed);
    }

    #[test]
    fn a_span_outside_is_refused() {
        let shape =
            AttentionShape { heads: 1, kv_heads: 1, head_dim: 2, scale: 1.0, softcap: None, window: None };
        let x = random(1, &[3, 2]);
        let spans = Spans::new([span(0..4, 0..4)]);
        assert!(attention(&x, &x, &x, shape, &spans).is_err());
    }
}
