//! AVX-512 BF16: one instruction multiplies 16 pairs of bf16 numbers and adds each pair's sum to an f32.

use std::{arch::x86_64::*, mem::transmute};

use half::bf16;

use super::panel::{BLOCK, Left, TILE};

/// True if dot products of pairs are faster than f32 products: AMD computes as many instructions of either in the same time,
/// Intel's processors (Sapphire and Emerald Rapids) four of f32 for one of pairs.
pub fn is_fast() -> bool {
    __cpuid(0).ecx == u32::from_le_bytes(*b"cAMD")
}

/// As [`super::amx::Tiles::accumulate`].
///
/// # Safety
/// As there, and the processor must have AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub unsafe fn accumulate(
    blocks: usize,
    (rows, columns): (usize, usize),
    left: Left,
    right: &[bf16],
    to: *mut f32,
    to_row: usize,
) {
    for eight in 0..2 * rows {
        let left =
            Left { numbers: &left.numbers[eight / 2 * left.second + eight % 2 * 8 * left.row..], ..left };
        // SAFETY: as the caller says.
        unsafe {
            let to = to.add(eight * 8 * to_row);
            match columns {
                1 => eight_rows::<1>(blocks, left, right, to, to_row),
                _ => eight_rows::<2>(blocks, left, right, to, to_row),
            }
        }
    }
}

/// # Safety
/// As [`accumulate`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn eight_rows<const TILES: usize>(
    blocks: usize,
    left: Left,
    right: &[bf16],
    to: *mut f32,
    to_row: usize,
) {
    let mut sums = [[_mm512_setzero_ps(); TILES]; 8];
    for (i, sums) in sums.iter_mut().enumerate() {
        for (tile, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as the caller says.
            *sum = unsafe { _mm512_loadu_ps(to.add(i * to_row + tile * 16)) };
        }
    }
    for block in 0..blocks {
        for pair in 0..16 {
            // SAFETY: as the caller says.
            unsafe {
                let columns: [__m512i; TILES] = std::array::from_fn(|tile| {
                    _mm512_load_si512(right.as_ptr().add(block * BLOCK + tile * TILE + pair * 32).cast())
                });
                for (i, sums) in sums.iter_mut().enumerate() {
                    let at = left.numbers.as_ptr().add(block * left.block + i * left.row + pair * 2);
                    let row = _mm512_set1_epi32(at.cast::<i32>().read_unaligned());
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = _mm512_dpbf16_ps(
                            *sum,
                            transmute::<__m512i, __m512bh>(row),
                            transmute::<__m512i, __m512bh>(column),
                        );
                    }
                }
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (tile, &sum) in sums.iter().enumerate() {
            // SAFETY: as the caller says.
            unsafe { _mm512_storeu_ps(to.add(i * to_row + tile * 16), sum) };
        }
    }
}
