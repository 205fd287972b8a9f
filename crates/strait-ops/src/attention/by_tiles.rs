//! Attention of a head by tiles of bf16, without keeping scores.
//!
//! Scores are computed transposed, in blocks of 32 keys and 32 rows of scores: what belongs to a row is then the same for a whole
//! column, so that no loop crosses a vector. Rounded, such a block is one of a left panel as it lies, and becomes one of a right
//! panel by putting each two of its lines side by side. Keys and values are packed once; blocks that no row sees are not computed.

use std::ops::Range;

use half::bf16;

use super::{
    head::{Back, Gradients, Head, OfHead},
    softmax::{Panel, Rounded, Scaled, Seen, powers},
};
use crate::{
    memory::Memory,
    product::{Aligned, BLOCK, Layout, Left, Side, Sums, Unit, View, WIDTH, pack},
};

/// Panels of rows that are packed together. Sums over rows of scores are read and written once for so many panels; the gradients of
/// their scores stay in the second cache.
const TOGETHER: usize = 8;

/// Rows of numbers as panels.
struct Packed {
    numbers: Aligned<bf16>,
    /// Numbers of a panel.
    panel: usize,
}

impl Packed {
    /// Each row is one of a panel, and its numbers are the depth.
    fn rows(layout: Layout, rows: &[f32], width: usize) -> Self {
        Self::new(layout, rows, width, true)
    }

    /// Each number of a row belongs to another row, or column, of a panel, and rows are the depth.
    fn columns(layout: Layout, rows: &[f32], width: usize) -> Self {
        Self::new(layout, rows, width, false)
    }

    fn new(layout: Layout, rows: &[f32], width: usize, along: bool) -> Self {
        let count = rows.len() / width;
        let (outer, depth) = if along { (count, width) } else { (width, count) };
        let panel = depth.div_ceil(32) * BLOCK;
        let mut numbers = Aligned::new(outer.div_ceil(WIDTH) * panel);
        let view = View::rows(rows, width);
        pack(&Side { source: &view, outer, along }, layout, 0..outer, 0..depth, &mut numbers);
        Self { numbers, panel }
    }

    /// Some blocks of a panel.
    fn blocks(&self, panel: usize, blocks: Range<usize>) -> &[bf16] {
        &self.numbers[panel * self.panel..][blocks.start * BLOCK..blocks.end * BLOCK]
    }

    fn panel(&self, panel: usize) -> &[bf16] {
        &self.numbers[panel * self.panel..][..self.panel]
    }
}

/// Panels of rows of scores that are packed together.
fn groups(head: &Head) -> impl Iterator<Item = Range<usize>> {
    let panels = head.rows().div_ceil(WIDTH);
    (0..panels).step_by(TOGETHER).map(move |first| first..panels.min(first + TOGETHER))
}

/// The rows of panels, of rows of `width` numbers.
fn of_panels(numbers: &[f32], panels: Range<usize>, width: usize) -> &[f32] {
    let row = WIDTH * width;
    &numbers[panels.start * row..numbers.len().min(panels.end * row)]
}

/// Panels of keys of a head.
fn key_panels(head: &Head) -> usize {
    head.span.key_count().div_ceil(WIDTH)
}

/// The values of every row of scores.
pub fn forward(head: &Head, unit: &Unit) -> OfHead {
    let d = head.shape.head_dim;
    let (mut values, mut logs) = (Memory::new(head.q.len()), Memory::new(head.rows()));
    let k = Packed::rows(Layout::Left, &head.k, d);
    let v = Packed::columns(Layout::Left, &head.v, d);
    let mut scores = Aligned::<Sums>::new(key_panels(head));
    let mut shares = Aligned::<bf16>::new(key_panels(head) * BLOCK);
    let mut mixed = Sums::ZERO;
    for group in groups(head) {
        let q = Packed::rows(Layout::Right, of_panels(&head.q, group.clone(), d), d);
        for panel in group.clone() {
            let seen = Seen::new(head, panel);
            let scores = &mut scores[..seen.panels().len()];
            let blocks = q.panel / BLOCK;
            for (keys, scores) in seen.panels().zip(scores.iter_mut()) {
                unit.compute(blocks, Left::packed(k.panel(keys)), q.panel(panel - group.start), scores);
            }
            let shares = &mut shares[..scores.len() * BLOCK];
            let (found, inverses) = powers(unit, &seen, scaled(head), scores, shares);
            let rows = (head.rows() - panel * WIDTH).min(WIDTH);
            logs[panel * WIDTH..][..rows].copy_from_slice(&found[..rows]);
            for (column, first) in (0..d).step_by(WIDTH).enumerate() {
                let v = v.blocks(column, seen.panels());
                unit.compute(scores.len(), Left::packed(v), shares, &mut mixed);
                for numbers in mixed.rows() {
                    numbers.iter_mut().zip(&inverses).for_each(|(y, inverse)| *y *= inverse);
                }
                let values = &mut values[panel * WIDTH * d..][first..];
                unit.write_transposed(&mixed, (rows, (d - first).min(WIDTH)), values, d, 1.0);
            }
        }
    }
    OfHead { values, logs }
}

/// The gradients of queries, keys and values, as in `by_gemm`.
pub fn backward(head: &Head, back: &Back, unit: &Unit) -> Gradients {
    let (d, scale) = (head.shape.head_dim, head.shape.scale);
    let (columns, keys) = (d.div_ceil(WIDTH), key_panels(head));
    let mut dq = Memory::new(head.q.len());
    let k = Packed::rows(Layout::Left, &head.k, d);
    let k_columns = Packed::columns(Layout::Left, &head.k, d);
    let v = Packed::rows(Layout::Left, &head.v, d);
    let [mut dk, mut dv] = [(); 2].map(|()| Aligned::<Sums>::new(keys * columns));
    [&mut dk, &mut dv].into_iter().for_each(|sums| sums.fill(Sums::ZERO));
    // Of a panel of keys and each panel of rows; and of all panels of keys.
    let [mut p, mut ds] = [(); 2].map(|()| Aligned::<bf16>::new(TOGETHER * BLOCK));
    let mut all_ds = Aligned::<bf16>::new(TOGETHER * keys * BLOCK);
    let [mut scores, mut dp] = [Sums::ZERO; 2];
    for group in groups(head) {
        let rows = group.len();
        let (q_numbers, dy_numbers) =
            (of_panels(&head.q, group.clone(), d), of_panels(&back.dy, group.clone(), d));
        let q = Packed::rows(Layout::Right, q_numbers, d);
        let dy = Packed::rows(Layout::Right, dy_numbers, d);
        let q_columns = Packed::columns(Layout::Right, q_numbers, d);
        let dy_columns = Packed::columns(Layout::Right, dy_numbers, d);
        let of_rows: Vec<_> = group
            .clone()
            .map(|panel| {
                let [logs, along] = [&back.logs, &back.along].map(|numbers| &numbers[panel * WIDTH..]);
                Panel::new(Seen::new(head, panel), logs, along)
            })
            .collect();
        let blocks = q.panel / BLOCK;
        for panel in of_rows[0].seen.panels().start..of_rows[rows - 1].seen.panels().end {
            let seeing = seeing(&of_rows, panel);
            for row in seeing.clone() {
                unit.compute(blocks, Left::packed(k.panel(panel)), q.panel(row), &mut scores);
                unit.compute(blocks, Left::packed(v.panel(panel)), dy.panel(row), &mut dp);
                let to = Rounded {
                    shares: block_of(&mut p, row),
                    gradients: block_of(&mut ds, row),
                    right: block_of(&mut all_ds, row * keys + panel),
                };
                of_rows[row].through(unit, panel, scaled(head), &mut scores, &mut dp, to);
            }
            let part = seeing.start * BLOCK..seeing.end * BLOCK;
            for column in 0..columns {
                let tiles = (2, (d - column * WIDTH).min(WIDTH).div_ceil(16));
                let at = panel * columns + column;
                let add = |left: &[bf16], right: &Packed, to: &mut Sums| {
                    let right = right.blocks(column, seeing.clone());
                    unit.accumulate(seeing.len(), tiles, Left::packed(&left[part.clone()]), right, to);
                };
                add(&p, &dy_columns, &mut dv[at]);
                add(&ds, &q_columns, &mut dk[at]);
            }
        }
        for (row, of_row) in of_rows.iter().enumerate() {
            let panels = of_row.seen.panels();
            let ds = &all_ds[(row * keys + panels.start) * BLOCK..(row * keys + panels.end) * BLOCK];
            let first_row = (group.start + row) * WIDTH;
            for (column, first) in (0..d).step_by(WIDTH).enumerate() {
                let left = k_columns.blocks(column, panels.clone());
                unit.compute(panels.len(), Left::packed(left), ds, &mut scores);
                let shape = ((head.rows() - first_row).min(WIDTH), (d - first).min(WIDTH));
                unit.write_transposed(&scores, shape, &mut dq[first_row * d..][first..], d, scale);
            }
        }
    }
    let [dk, dv] = [(dk, scale), (dv, 1.0)].map(|(sums, factor)| {
        let mut to = Memory::new(head.k.len());
        for (i, sums) in sums.iter().enumerate() {
            let (key, first) = (i / columns * WIDTH, i % columns * WIDTH);
            let shape = ((head.span.key_count() - key).min(WIDTH), (d - first).min(WIDTH));
            unit.write(sums, shape, &mut to[key * d..][first..], d, factor);
        }
        to
    });
    Gradients { dq, dk, dv }
}

fn scaled(head: &Head) -> Scaled {
    Scaled { scale: head.shape.scale, softcap: head.shape.softcap }
}

fn block_of(numbers: &mut [bf16], block: usize) -> &mut [bf16; BLOCK] {
    &mut numbers.as_chunks_mut().0[block]
}

/// The panels of rows that see something of a panel of keys.
fn seeing(of_rows: &[Panel], panel: usize) -> Range<usize> {
    let before = of_rows.iter().take_while(|of| of.seen.panels().end <= panel).count();
    let until = of_rows.iter().take_while(|of| of.seen.panels().start <= panel).count();
    before..until
}
