//! Blocks of 32 numbers.

use super::block::{Block, GROUP};

/// Writes 32 numbers, each from four bits and its place: the lower halves of 16 bytes are the first 16.
#[inline(always)]
fn each(bytes: &[u8], to: &mut [f32; GROUP], of: impl Fn(u8, usize) -> f32) {
    let halves = halves(bytes.try_into().expect("16 bytes"));
    for i in 0..GROUP {
        to[i] = of(halves[i], i);
    }
}

/// The lower halves of some bytes, and then the upper ones.
#[inline(always)]
fn halves(bytes: &[u8; GROUP / 2]) -> [u8; GROUP] {
    let mut halves = [0; GROUP];
    let (lower, upper) = halves.split_at_mut(GROUP / 2);
    // A loop of 16 steps is unrolled before it could be vectorised, and is then four times as slow.
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{
            _mm_and_si128, _mm_loadu_si128, _mm_set1_epi8, _mm_srli_epi16, _mm_storeu_si128,
        };
        // SAFETY: all three have 16 bytes, and every x86-64 processor has SSE2.
        unsafe {
            let (bytes, four) = (_mm_loadu_si128(bytes.as_ptr().cast()), _mm_set1_epi8(15));
            _mm_storeu_si128(lower.as_mut_ptr().cast(), _mm_and_si128(bytes, four));
            _mm_storeu_si128(upper.as_mut_ptr().cast(), _mm_and_si128(_mm_srli_epi16::<4>(bytes), four));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    for ((lower, upper), byte) in lower.iter_mut().zip(upper).zip(bytes) {
        (*lower, *upper) = (byte & 15, byte >> 4);
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
    fn widen(block: &[u8], [d, _]: [f32; 2], _: usize, to: &mut [f32; GROUP]) {
        each(&block[2..18], to, |q, _| f32::from(q as i8 - 8) * d);
    }
}

impl Block for Q4_1 {
    const BYTES: usize = 20;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn widen(block: &[u8], [d, m]: [f32; 2], _: usize, to: &mut [f32; GROUP]) {
        each(&block[4..20], to, |q, _| f32::from(q) * d + m);
    }
}

impl Block for Q5_0 {
    const BYTES: usize = 22;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0];

    #[inline(always)]
    fn widen(block: &[u8], [d, _]: [f32; 2], _: usize, to: &mut [f32; GROUP]) {
        let fifths = fifths(&block[2..6]);
        each(&block[6..22], to, |q, i| (five(q, fifths, i) - 16) as f32 * d);
    }
}

impl Block for Q5_1 {
    const BYTES: usize = 24;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn widen(block: &[u8], [d, m]: [f32; 2], _: usize, to: &mut [f32; GROUP]) {
        let fifths = fifths(&block[4..8]);
        each(&block[8..24], to, |q, i| five(q, fifths, i) as f32 * d + m);
    }
}

impl Block for Q8_0 {
    const BYTES: usize = 34;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0];

    #[inline(always)]
    fn widen(block: &[u8], [d, _]: [f32; 2], _: usize, to: &mut [f32; GROUP]) {
        let q: &[u8; GROUP] = block[2..34].try_into().expect("32 bytes");
        for i in 0..GROUP {
            to[i] = f32::from(q[i] as i8) * d;
        }
    }
}
