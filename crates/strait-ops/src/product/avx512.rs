//! AVX-512: rounding, the layouts of tiles, and sums of results.

use std::{
    arch::{asm, x86_64::*},
    mem::transmute,
};

use half::bf16;

/// True if the processor has AVX-512 with products of bf16.
pub fn is_there() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
}

/// Rounds lines of numbers, which stand `from_line` and `to_line` apart.
///
/// # Safety
/// The processor must have the instructions, and every access be inside the source and the result.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub unsafe fn round(
    (lines, numbers): (usize, usize),
    from: *const f32,
    from_line: usize,
    to: *mut bf16,
    to_line: usize,
) {
    for i in 0..lines {
        // SAFETY: as the caller says; the masks keep the last accesses inside.
        unsafe {
            let (from, to) = (from.add(i * from_line), to.add(i * to_line));
            let mut j = 0;
            while j + 32 <= numbers {
                let (low, high) = (_mm512_loadu_ps(from.add(j)), _mm512_loadu_ps(from.add(j + 16)));
                let rounded: __m512i = transmute(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(to.add(j).cast(), rounded);
                j += 32;
            }
            if j < numbers {
                let mask = u32::MAX >> (32 - (numbers - j));
                let low = _mm512_maskz_loadu_ps(mask as u16, from.add(j));
                let high = _mm512_maskz_loadu_ps((mask >> 16) as u16, from.wrapping_add(j + 16));
                let rounded: __m512i = transmute(_mm512_cvtne2ps_pbh(high, low));
                _mm512_mask_storeu_epi16(to.add(j).cast(), mask, rounded);
            }
        }
    }
}

/// Copies 16 lines of 32 numbers, which stand `line` bytes apart, one behind the other.
///
/// # Safety
/// As [`round`].
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn copy(from: *const u8, line: usize, to: *mut u8) {
    for i in 0..16 {
        // SAFETY: as the caller says.
        unsafe { _mm512_store_si512(to.add(i * 64).cast(), _mm512_loadu_si512(from.add(i * line).cast())) };
    }
}

/// Transposes 16 lines of 16 numbers of 32 bits, which stand `line` bytes apart.
///
/// # Safety
/// As [`round`].
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn transpose(from: *const u8, line: usize, to: *mut u8) {
    for column in 0..4 {
        // SAFETY: as the caller says. Four lines each fill one lane of four registers, so that what remains is to
        // transpose 4 x 4 numbers within lanes.
        unsafe {
            let at = |i: usize| from.add(i * line + column * 16).cast::<__m128i>();
            let four = |i: usize| {
                let x = _mm512_castsi128_si512(_mm_loadu_si128(at(i)));
                let x = _mm512_inserti32x4::<1>(x, _mm_loadu_si128(at(i + 4)));
                let x = _mm512_inserti32x4::<2>(x, _mm_loadu_si128(at(i + 8)));
                _mm512_inserti32x4::<3>(x, _mm_loadu_si128(at(i + 12)))
            };
            let (a, b, c, d) = (four(0), four(1), four(2), four(3));
            let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            let to = to.add(column * 256).cast::<__m512i>();
            _mm512_store_si512(to, _mm512_unpacklo_epi64(ab_low, cd_low));
            _mm512_store_si512(to.add(1), _mm512_unpackhi_epi64(ab_low, cd_low));
            _mm512_store_si512(to.add(2), _mm512_unpacklo_epi64(ab_high, cd_high));
            _mm512_store_si512(to.add(3), _mm512_unpackhi_epi64(ab_high, cd_high));
        }
    }
}

/// Puts each two of 32 lines of 32 numbers side by side, number by number, in two tiles: the first 16 numbers of every
/// pair of lines, and the last 16.
///
/// # Safety
/// As [`round`].
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn interleave(from: *const u8, line: usize, to: *mut u8) {
    for pair in 0..16 {
        // SAFETY: as the caller says.
        unsafe {
            // Unpacking works within lanes of 128 bits: lane i gets numbers 4 i and 16 + 4 i beforehand.
            let order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
            let load =
                |i: usize| _mm512_permutexvar_epi64(order, _mm512_loadu_si512(from.add(i * line).cast()));
            let (even, odd) = (load(2 * pair), load(2 * pair + 1));
            _mm512_store_si512(to.add(pair * 64).cast(), _mm512_unpacklo_epi16(even, odd));
            _mm512_store_si512(to.add(1024 + pair * 64).cast(), _mm512_unpackhi_epi16(even, odd));
        }
    }
}

/// `to = keep * to + factor * from`, for `rows` rows of at most 32 numbers. `from` is read 16 numbers at a time.
///
/// # Safety
/// As [`round`].
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn add(
    (rows, columns): (usize, usize),
    from: *const f32,
    from_row: usize,
    to: *mut f32,
    to_row: usize,
    keep: f32,
    factor: f32,
) {
    let (keeps, factors) = (_mm512_set1_ps(keep), _mm512_set1_ps(factor));
    for i in 0..rows {
        for j in (0..columns).step_by(16) {
            let mask = u16::MAX >> (16 - (columns - j).min(16));
            // SAFETY: as the caller says; the mask keeps accesses inside the columns.
            unsafe {
                let to = to.add(i * to_row + j);
                let mut sum = _mm512_mul_ps(factors, _mm512_loadu_ps(from.add(i * from_row + j)));
                if keep != 0.0 {
                    sum = _mm512_fmadd_ps(keeps, _mm512_maskz_loadu_ps(mask, to), sum);
                }
                _mm512_mask_storeu_ps(to, mask, sum);
            }
        }
    }
}

/// Asks for the lines of a block that will be written: otherwise each store waits for its line.
pub fn prefetch_for_writing(to: *const f32, to_row: usize, rows: usize, columns: usize) {
    for i in 0..rows {
        for j in (0..columns).step_by(16) {
            // SAFETY: a prefetch has no effect but on caches, wherever it points, and processors with AVX-512 have it.
            unsafe {
                asm!("prefetchw [{}]", in(reg) to.wrapping_add(i * to_row + j),
                    options(nostack, preserves_flags, readonly));
            }
        }
    }
}
