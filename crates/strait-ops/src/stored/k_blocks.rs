//! Blocks of 256 numbers, whose groups have factors of their own in a few bits.

use super::block::{Block, GROUP};

/// Factors and offsets of 16 numbers each in four bits; q in two.
pub struct Q2K;
/// Factors of 16 numbers each in six bits; q in three.
pub struct Q3K;
/// Factors and offsets of 32 numbers each in six bits; q in four.
pub struct Q4K;
/// As [`Q4K`], with q in five bits.
pub struct Q5K;
/// Factors of 16 numbers each in eight bits; q in six.
pub struct Q6K;

/// Writes 32 numbers: `of` gives each from its place in its half of the group, and which half it is.
#[inline(always)]
fn each(to: &mut [f32; GROUP], of: impl Fn(usize, usize) -> f32) {
    for half in 0..2 {
        for i in 0..16 {
            to[16 * half + i] = of(16 * half + i, half);
        }
    }
}

/// Factor and offset of a group, six bits each.
#[inline(always)]
pub(super) fn six_bits(scales: &[u8], group: usize) -> (f32, f32) {
    let (scale, offset) = match group {
        0..4 => (scales[group] & 63, scales[group + 4] & 63),
        _ => (
            (scales[group + 4] & 15) | (scales[group - 4] >> 6) << 4,
            (scales[group + 4] >> 4) | (scales[group] >> 6) << 4,
        ),
    };
    (f32::from(scale), f32::from(offset))
}

impl Block for Q2K {
    const BYTES: usize = 84;
    const GROUPS: usize = 8;
    const FACTORS: &'static [usize] = &[80, 82];

    #[inline(always)]
    fn widen(block: &[u8], [d, min]: [f32; 2], group: usize, to: &mut [f32; GROUP]) {
        let (scales, q) = (&block[2 * group..][..2], &block[16 + group / 4 * 32..][..32]);
        let of = |half: usize| (d * f32::from(scales[half] & 15), min * f32::from(scales[half] >> 4));
        let (factors, shift) = ([of(0), of(1)], 2 * (group % 4));
        each(to, |i, half| factors[half].0 * f32::from(q[i] >> shift & 3) - factors[half].1);
    }
}

impl Block for Q3K {
    const BYTES: usize = 110;
    const GROUPS: usize = 8;
    const FACTORS: &'static [usize] = &[108];

    #[inline(always)]
    fn widen(block: &[u8], [d, _]: [f32; 2], group: usize, to: &mut [f32; GROUP]) {
        let scales = &block[96..108];
        let (high, q) = (&block[..32], &block[32 + group / 4 * 32..][..32]);
        // Four bits of each factor, and two more: those of factors i, i + 4, i + 8 and i + 12 stand in one byte.
        let of = |half: usize| {
            let i = 2 * group + half;
            let low = if i < 8 { scales[i] & 15 } else { scales[i - 8] >> 4 };
            let scale = low | (scales[8 + i % 4] >> (2 * (i / 4)) & 3) << 4;
            d * (f32::from(scale) - 32.0)
        };
        let (factors, shift) = ([of(0), of(1)], 2 * (group % 4));
        each(to, |i, half| {
            let three = (q[i] >> shift & 3) | (high[i] >> group & 1) << 2;
            factors[half] * f32::from(three as i8 - 4)
        });
    }
}

impl Block for Q4K {
    const BYTES: usize = 144;
    const GROUPS: usize = 8;
    const FACTORS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn widen(block: &[u8], [d, min]: [f32; 2], group: usize, to: &mut [f32; GROUP]) {
        let (scale, offset) = six_bits(&block[4..16], group);
        let (d, min) = (d * scale, min * offset);
        let (q, shift) = (&block[16 + group / 2 * 32..][..32], 4 * (group % 2));
        each(to, |i, _| d * f32::from(q[i] >> shift & 15) - min);
    }
}

impl Block for Q5K {
    const BYTES: usize = 176;
    const GROUPS: usize = 8;
    const FACTORS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn widen(block: &[u8], [d, min]: [f32; 2], group: usize, to: &mut [f32; GROUP]) {
        let (scale, offset) = six_bits(&block[4..16], group);
        let (d, min) = (d * scale, min * offset);
        let (high, q, shift) = (&block[16..48], &block[48 + group / 2 * 32..][..32], 4 * (group % 2));
        each(to, |i, _| d * f32::from((q[i] >> shift & 15) | (high[i] >> group & 1) << 4) - min);
    }
}

impl Block for Q6K {
    const BYTES: usize = 210;
    const GROUPS: usize = 8;
    const FACTORS: &'static [usize] = &[208];

    #[inline(always)]
    fn widen(block: &[u8], [d, _]: [f32; 2], group: usize, to: &mut [f32; GROUP]) {
        let (side, quarter) = (group / 4, group % 4);
        let low = &block[64 * side + 32 * (quarter % 2)..][..32];
        let (high, scales) = (&block[128 + 32 * side..][..32], &block[192 + 2 * group..][..2]);
        let factors = [0, 1].map(|half: usize| d * f32::from(scales[half] as i8));
        let (shift, up) = (4 * (quarter / 2), 2 * quarter);
        each(to, |i, half| {
            let six = (low[i] >> shift & 15) | (high[i] >> up & 3) << 4;
            factors[half] * f32::from(six as i8 - 32)
        });
    }
}
