//! Numbers of every type that files have, as f32.

use std::ops::Range;

use candle_core::quantized::GgmlDType;
use half::{bf16, f16};

use super::{
    block::{Block, GROUP, factor, widened},
    blocks::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0},
    k_blocks::{Q2K, Q3K, Q4K, Q5K, Q6K},
};
use crate::vectors::{fetch_ahead, vectorised};

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

#[cfg(target_arch = "x86_64")]
pub(super) use on_blocks;

/// Writes some numbers of each of `count` rows to `to`, where they stand `to_row` apart. The first is a multiple of 32.
///
/// # Panics
/// If a row does not hold them, or `to` has no room.
#[inline(always)]
pub fn widen<'a>(
    dtype: GgmlDType,
    (count, row): (usize, impl Fn(usize) -> &'a [u8]),
    numbers: Range<usize>,
    to: &mut [f32],
    to_row: usize,
) {
    on_blocks!(dtype, B => vectorised!({
        for i in 0..count {
            of_blocks::<B>(row(i), numbers.clone(), &mut to[i * to_row..][..numbers.len()]);
        }
    }), _ => {
        for i in 0..count {
            of_numbers(dtype, row(i), numbers.clone(), &mut to[i * to_row..][..numbers.len()]);
        }
    });
}

/// Blocks whose factors are widened together, so that their loop vectorises.
const TOGETHER: usize = 16;

#[inline(always)]
fn of_blocks<B: Block>(row: &[u8], numbers: Range<usize>, to: &mut [f32]) {
    let (groups, rest) = to.as_chunks_mut::<GROUP>();
    assert!(rest.is_empty() && numbers.start.is_multiple_of(GROUP), "whole groups");
    let (mut group, mut groups) = (numbers.start / GROUP, groups.iter_mut());
    let end = group + groups.len();
    while group < end {
        let blocks = &row[group / B::GROUPS * B::BYTES..end.div_ceil(B::GROUPS) * B::BYTES];
        let blocks = &blocks[..blocks.len().min(TOGETHER * B::BYTES)];
        fetch_ahead(blocks);
        let factors = factors_of::<B>(blocks);
        for (block, factors) in blocks.chunks_exact(B::BYTES).zip(factors) {
            for to in groups.by_ref().take(B::GROUPS - group % B::GROUPS) {
                B::widen(block, factors, group % B::GROUPS, to);
                group += 1;
            }
        }
    }
}

/// The factors of some blocks, each block's side by side.
#[inline(always)]
fn factors_of<B: Block>(blocks: &[u8]) -> [[f32; 2]; TOGETHER] {
    let mut bits = [[0; 2]; TOGETHER];
    for (bits, block) in bits.iter_mut().zip(blocks.chunks_exact(B::BYTES)) {
        for (bits, &at) in bits.iter_mut().zip(B::FACTORS) {
            *bits = u16::from_le_bytes([block[at], block[at + 1]]);
        }
    }
    bits.map(
        #[inline(always)]
        |bits| bits.map(widened),
    )
}

fn of_numbers(dtype: GgmlDType, row: &[u8], numbers: Range<usize>, to: &mut [f32]) {
    let bytes = &row[numbers.start * dtype.type_size()..numbers.end * dtype.type_size()];
    match dtype {
        GgmlDType::F32 => convert(bytes, to, f32::from_le_bytes),
        GgmlDType::BF16 => convert(bytes, to, |two| bf16::from_le_bytes(two).to_f32()),
        GgmlDType::F16 => convert(bytes, to, |two| widened(u16::from_le_bytes(two))),
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
    }), _ => match dtype {
        GgmlDType::F32 => all(row, |b| f32::from_le_bytes(b).is_finite()),
        GgmlDType::BF16 => all(row, |b| bf16::from_le_bytes(b).is_finite()),
        _ => all(row, |b| f16::from_le_bytes(b).is_finite()),
    })
}

/// True if something holds of all numbers.
fn all<const N: usize>(bytes: &[u8], holds: impl Fn([u8; N]) -> bool) -> bool {
    // Without an end before the last number, so that the loop vectorises.
    vectorised!(bytes.as_chunks::<N>().0.iter().fold(true, |all, &bytes| all & holds(bytes)))
}
