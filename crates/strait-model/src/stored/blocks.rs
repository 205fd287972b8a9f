//! What the blocks of each type mean.
//!
//! Numbers are widened 32 at a time, in loops without branches, so that they vectorise; the arithmetic and its order are
//! llama.cpp's, so that they come out the same to the last bit.

use std::ops::Range;

use candle_core::quantized::GgmlDType;
use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::k_blocks::{Q2K, Q3K, Q4K, Q5K, Q6K};
use crate::ops::cpu::vectorised;

/// Numbers that are widened at once.
pub const GROUP: usize = 32;

/// A type of blocks.
pub trait Block {
    /// Bytes of a block.
    const BYTES: usize;
    /// Groups of 32 numbers in a block.
    const GROUPS: usize;
    /// Where its factors stand, which are f16: all numbers are finite if they are.
    const FACTORS: &'static [usize];

    /// Writes a group of a block's numbers.
    fn widen(block: &[u8], group: usize, to: &mut [f32; GROUP]);
}

/// Runs code on the type of blocks, or other code on a type of single numbers.
macro_rules! on_blocks {
    ($dtype:expr, $Block:ident => $on_blocks:expr, $other:pat => $on_numbers:expr) => {
        match $dtype {
            GgmlDType::Q4_0 => {
                type $Block = Q4_0;
                $on_blocks
            }
            GgmlDType::Q4_1 => {
                type $Block = Q4_1;
                $on_blocks
            }
            GgmlDType::Q5_0 => {
                type $Block = Q5_0;
                $on_blocks
            }
            GgmlDType::Q5_1 => {
                type $Block = Q5_1;
                $on_blocks
            }
            GgmlDType::Q8_0 => {
                type $Block = Q8_0;
                $on_blocks
            }
            GgmlDType::Q2K => {
                type $Block = Q2K;
                $on_blocks
            }
            GgmlDType::Q3K => {
                type $Block = Q3K;
                $on_blocks
            }
            GgmlDType::Q4K => {
                type $Block = Q4K;
                $on_blocks
            }
            GgmlDType::Q5K => {
                type $Block = Q5K;
                $on_blocks
            }
            GgmlDType::Q6K => {
                type $Block = Q6K;
                $on_blocks
            }
            $other => $on_numbers,
        }
    };
}

/// Writes some numbers of a row of blocks to `to`. The first is a multiple of 32.
///
/// # Panics
/// If the row does not hold them, or `to` is of another length.
pub fn widen(dtype: GgmlDType, row: &[u8], numbers: Range<usize>, to: &mut [f32]) {
    assert_eq!(to.len(), numbers.len(), "numbers and room for them");
    on_blocks!(dtype, B => vectorised!(of_blocks::<B>(row, numbers, to)), _ => of_numbers(dtype, row, numbers, to));
}

#[inline(always)]
fn of_blocks<B: Block>(row: &[u8], numbers: Range<usize>, to: &mut [f32]) {
    let (groups, rest) = to.as_chunks_mut::<GROUP>();
    assert!(rest.is_empty() && numbers.start.is_multiple_of(GROUP), "whole groups");
    for (i, to) in groups.iter_mut().enumerate() {
        let group = numbers.start / GROUP + i;
        B::widen(&row[group / B::GROUPS * B::BYTES..][..B::BYTES], group % B::GROUPS, to);
    }
}

fn of_numbers(dtype: GgmlDType, row: &[u8], numbers: Range<usize>, to: &mut [f32]) {
    let bytes = &row[numbers.start * dtype.type_size()..numbers.end * dtype.type_size()];
    match dtype {
        GgmlDType::F32 => convert(bytes, to, f32::from_le_bytes),
        GgmlDType::BF16 => convert(bytes, to, |two| bf16::from_le_bytes(two).to_f32()),
        GgmlDType::F16 => {
            let mut short = [f16::ZERO; GROUP];
            for (to, bytes) in to.chunks_mut(GROUP).zip(bytes.chunks(2 * GROUP)) {
                let short = &mut short[..to.len()];
                short.iter_mut().zip(bytes.as_chunks().0).for_each(|(x, &two)| *x = f16::from_le_bytes(two));
                short.convert_to_f32_slice(to);
            }
        }
        other => unreachable!("{other:?} is refused when a file is opened"),
    }
}

fn convert<const N: usize>(bytes: &[u8], to: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    vectorised!({
        for (to, &bytes) in to.iter_mut().zip(bytes.as_chunks::<N>().0) {
            *to = number(bytes);
        }
    });
}

/// True if all numbers of a row are finite.
pub fn is_finite(dtype: GgmlDType, row: &[u8]) -> bool {
    on_blocks!(dtype, B => row.chunks_exact(B::BYTES).all(|block| {
        B::FACTORS.iter().all(|&at| factor(block, at).is_finite())
    }), _ => {
        // A number is finite unless its exponent is all ones.
        match dtype {
            GgmlDType::F32 => row.as_chunks().0.iter().all(|&b| f32::from_le_bytes(b).is_finite()),
            GgmlDType::BF16 => row.as_chunks().0.iter().all(|&b| bf16::from_le_bytes(b).is_finite()),
            _ => row.as_chunks().0.iter().all(|&b| f16::from_le_bytes(b).is_finite()),
        }
    })
}

/// A factor of a block.
#[inline(always)]
pub fn factor(block: &[u8], at: usize) -> f32 {
    // As the processor does it, and without a call, which would keep loops from being vectorised.
    widened(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// An f16 as f32.
#[inline(always)]
fn widened(bits: u16) -> f32 {
    let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    let magnitude = match rest {
        // Infinities and NaN.
        0x7c00.. => 0x7f80_0000 | (rest & 0x3ff) << 13,
        // The exponent's bias is 112 more.
        0x400.. => (rest << 13) + (112 << 23),
        _ => (rest as f32 * f32::from_bits(0x3380_0000)).to_bits(),
    };
    f32::from_bits(sign | magnitude)
}

/// Blocks of 16 bytes of halves of bytes: the lower halves are the first 16 numbers.
#[inline(always)]
fn halves(bytes: &[u8], i: usize) -> u8 {
    let byte = bytes[i % 16];
    if i < 16 { byte & 15 } else { byte >> 4 }
}

/// Writes 32 numbers, each from the byte that `of` gives.
#[inline(always)]
fn each(to: &mut [f32; GROUP], of: impl Fn(usize) -> f32) {
    for (i, to) in to.iter_mut().enumerate() {
        *to = of(i);
    }
}

/// A fifth bit of each number.
#[inline(always)]
fn fifth(bits: &[u8], i: usize) -> u8 {
    (bits[i / 8] >> (i % 8) & 1) << 4
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
        let (d, q) = (factor(block, 0), &block[2..18]);
        each(to, |i| f32::from(halves(q, i) as i8 - 8) * d);
    }
}

impl Block for Q4_1 {
    const BYTES: usize = 20;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn widen(block: &[u8], _: usize, to: &mut [f32; GROUP]) {
        let (d, m, q) = (factor(block, 0), factor(block, 2), &block[4..20]);
        each(to, |i| f32::from(halves(q, i)) * d + m);
    }
}

impl Block for Q5_0 {
    const BYTES: usize = 22;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0];

    #[inline(always)]
    fn widen(block: &[u8], _: usize, to: &mut [f32; GROUP]) {
        let (d, high, q) = (factor(block, 0), &block[2..6], &block[6..22]);
        each(to, |i| f32::from((halves(q, i) | fifth(high, i)) as i8 - 16) * d);
    }
}

impl Block for Q5_1 {
    const BYTES: usize = 24;
    const GROUPS: usize = 1;
    const FACTORS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn widen(block: &[u8], _: usize, to: &mut [f32; GROUP]) {
        let (d, m, high, q) = (factor(block, 0), factor(block, 2), &block[4..8], &block[8..24]);
        each(to, |i| f32::from(halves(q, i) | fifth(high, i)) * d + m);
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
