//! Blocks of 32 numbers.

use super::block::{Block, GROUP, factor};

/// Writes 32 numbers, each from its place.
#[inline(always)]
fn each(to: &mut [f32; GROUP], of: impl Fn(usize) -> f32) {
    for (i, to) in to.iter_mut().enumerate() {
        *to = of(i);
    }
}

/// Four bits of each number: the lower halves of 16 bytes are the first 16 numbers.
#[inline(always)]
fn halves(bytes: &[u8]) -> [u8; GROUP] {
    let bytes: &[u8; GROUP / 2] = bytes.try_into().expect("16 bytes");
    let mut halves = [0; GROUP];
    for i in 0..GROUP / 2 {
        halves[i] = bytes[i] & 15;
        halves[GROUP / 2 + i] = bytes[i] >> 4;
    }
    halves
}

/// The fifth bits of 32 numbers.
#[inline(always)]
fn fifths(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("4 bytes"))
}

/// Five bits of a number.
#[inline(always)]
fn five(four: u8, fifths: u32, i: usize) -> i32 {
    i32::from(four) | ((fifths >> i & 1) << 4) as i32
}

/// q d, with q from -8 to 7.
pub struct Q4_0;
/// q d + m.
pub struct Q4_1;
/// q d, with q from -16 to 15.
pub struct Q5_0;
/// q d + m, with q from 0 to 31.
pub struct Q5_1;
/// q d, with q a byte.
pub struct Q8_0;

impl Block for Q4_0 {
    const BYTES: usize = 18;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0];

    #[inline(always)]
    fn widen(block: &[u8], _: usize, to: &mut [f32; GROUP]) {
        let (d, q) = (factor(block, 0), halves(&block[2..18]));
        each(to, |i| f32::from(q[i] as i8 - 8) * d);
    }
}

impl Block for Q4_1 {
    const BYTES: usize = 20;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn widen(block: &[u8], _: usize, to: &mut [f32; GROUP]) {
        let (d, m, q) = (factor(block, 0), factor(block, 2), halves(&block[4..20]));
        each(to, |i| f32::from(q[i]) * d + m);
    }
}

impl Block for Q5_0 {
    const BYTES: usize = 22;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0];

    #[inline(always)]
    fn widen(block: &[u8], _: usize, to: &mut [f32; GROUP]) {
        let (d, fifths, q) = (factor(block, 0), fifths(&block[2..6]), halves(&block[6..22]));
        each(to, |i| (five(q[i], fifths, i) - 16) as f32 * d);
    }
}

impl Block for Q5_1 {
    const BYTES: usize = 24;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn widen(block: &[u8], _: usize, to: &mut [f32; GROUP]) {
        let (d, m, fifths, q) =
            (factor(block, 0), factor(block, 2), fifths(&block[4..8]), halves(&block[8..24]));
        each(to, |i| five(q[i], fifths, i) as f32 * d + m);
    }
}

impl Block for Q8_0 {
    const BYTES: usize = 34;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0];

    #[inline(always)]
    fn widen(block: &[u8], _: usize, to: &mut [f32; GROUP]) {
        let (d, q) = (factor(block, 0), &block[2..34]);
        each(to, |i| f32::from(q[i] as i8) * d);
    }
}
