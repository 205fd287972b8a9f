//! Products of a matrix of blocks with few rows, on AVX-512: numbers are widened in registers, and written nowhere.
//!
//! Terms and their order are those of widened rows, so that the products have the same bits.

use std::{arch::x86_64::*, array::from_fn, mem::transmute, ops::Range, slice};

use candle_core::quantized::GgmlDType;
use pulp::{Simd, f32x16, x86::V4};

use super::{
    Stored,
    block::{Block, GROUP},
    blocks::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0},
    k_blocks::{Q2K, Q3K, Q4K, Q5K, Q6K, six_bits},
    widen::on_blocks,
};
use crate::vectors::fetch_ahead;

/// Rows of the matrix that are multiplied at once: sums enough that none waits for the one before it.
const W: usize = 4;
/// The most rows of x. With more of them it is faster to widen rows of the matrix once, into the nearest cache.
const X: usize = 4;
/// Blocks whose factors are widened together.
const TOGETHER: usize = 16;

/// Writes the products of some rows of a matrix with all rows of x into the rows of y, from place `at` on. Does nothing and gives
/// `false` where the processor, the type of the numbers or the number of rows is another's business.
pub fn multiply(matrix: &Stored, rows: Range<usize>, x: &[f32], y: &mut [&mut [f32]], at: usize) -> bool {
    let (Some(simd), 1..=X) = (V4::try_new(), y.len()) else { return false };
    assert!(x.len() == y.len() * matrix.width, "rows of x as wide as the matrix");
    on_blocks!(matrix.dtype, B => {
        Part { simd, matrix, x, y, at }.all::<B>(rows);
        true
    }, _ => false)
}

struct Part<'a, 'y> {
    simd: V4,
    matrix: &'a Stored,
    x: &'a [f32],
    y: &'a mut [&'y mut [f32]],
    at: usize,
}

impl Part<'_, '_> {
    fn all<B: Vectors>(&mut self, rows: Range<usize>) {
        match self.y.len() {
            1 => self.rows::<B, 1>(rows),
            2 => self.rows::<B, 2>(rows),
            3 => self.rows::<B, 3>(rows),
            _ => self.rows::<B, X>(rows),
        }
    }

    fn rows<B: Vectors, const N: usize>(&mut self, rows: Range<usize>) {
        let mut row = rows.start;
        while row + W <= rows.end {
            self.tile::<B, N, W>(row, row - rows.start);
            row += W;
        }
        while row < rows.end {
            self.tile::<B, N, 1>(row, row - rows.start);
            row += 1;
        }
    }

    fn tile<B: Vectors, const N: usize, const M: usize>(&mut self, row: usize, place: usize) {
        let width = self.matrix.width;
        let w: [&[u8]; M] = from_fn(|i| self.matrix.row(row + i));
        let x: [&[f32]; N] = from_fn(|i| &self.x[i * width..][..width]);
        // SAFETY: the processor has AVX-512, as `simd` shows.
        let products = unsafe { products::<B, N, M>(self.simd, w, x) };
        for (y, products) in self.y.iter_mut().zip(products) {
            y[self.at + place..][..M].copy_from_slice(&products);
        }
    }
}

/// The products of rows of blocks with rows of x, whose terms are added vector by vector, and then across the vector.
///
/// # Safety
/// The processor must have AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn products<B: Vectors, const N: usize, const M: usize>(
    simd: V4,
    w: [&[u8]; M],
    x: [&[f32]; N],
) -> [[f32; M]; N] {
    let numbers = B::GROUPS * GROUP;
    let blocks = x[0].len() / numbers;
    assert!(w.iter().all(|w| w.len() == blocks * B::BYTES) && x.iter().all(|x| x.len() == blocks * numbers));
    // SAFETY: the assertion keeps every block and its numbers of x inside; the processor as the caller says.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); M]; N];
        let mut first = 0;
        while first < blocks {
            let count = (blocks - first).min(TOGETHER);
            let mut factors = [[[0f32; TOGETHER]; 2]; M];
            for i in 0..M {
                let w = slice::from_raw_parts(w[i].as_ptr().add(first * B::BYTES), count * B::BYTES);
                fetch_ahead(w);
                factors[i] = factors_of::<B>(w);
            }
            for block in first..first + count {
                let at = block - first;
                for group in 0..B::GROUPS {
                    let mut of_x = [[_mm512_setzero_ps(); 2]; N];
                    for j in 0..N {
                        let x = x[j].as_ptr().add(block * numbers + group * GROUP);
                        of_x[j] = [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16))];
                    }
                    for i in 0..M {
                        let bytes = slice::from_raw_parts(w[i].as_ptr().add(block * B::BYTES), B::BYTES);
                        let of_w = B::vectors(bytes, [factors[i][0][at], factors[i][1][at]], group);
                        for j in 0..N {
                            sums[j][i] = _mm512_fmadd_ps(of_x[j][0], of_w[0], sums[j][i]);
                            sums[j][i] = _mm512_fmadd_ps(of_x[j][1], of_w[1], sums[j][i]);
                        }
                    }
                }
            }
            first += TOGETHER;
        }
        let mut products = [[0f32; M]; N];
        for j in 0..N {
            for i in 0..M {
                products[j][i] = simd.reduce_sum_f32s(transmute::<__m512, f32x16>(sums[j][i]));
            }
        }
        products
    }
}

/// The factors of some blocks, at most [`TOGETHER`], each of the two side by side.
///
/// # Safety
/// The processor must have AVX-512, and the blocks all their bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn factors_of<B: Block>(blocks: &[u8]) -> [[f32; TOGETHER]; 2] {
    let mut factors = [[0f32; TOGETHER]; 2];
    // SAFETY: lanes beyond the last block are not read, and two bytes at most are read beyond the factors of a block, which has more.
    unsafe {
        let places = _mm512_mullo_epi32(_mm512_cvtps_epi32(fours()), _mm512_set1_epi32(B::BYTES as i32));
        let there = ((1u32 << (blocks.len() / B::BYTES)) - 1) as u16;
        for (&at, to) in B::FACTORS.iter().zip(&mut factors) {
            // Of four bytes that end with the factor, where it is the block's last.
            let (at, shift) = if at + 4 > B::BYTES { (at - 2, 16) } else { (at, 0) };
            let from = blocks.as_ptr().add(at).cast();
            let bits = _mm512_mask_i32gather_epi32::<1>(_mm512_setzero_si512(), there, places, from);
            let bits = _mm512_srl_epi32(bits, _mm_cvtsi32_si128(shift));
            _mm512_storeu_ps(to.as_mut_ptr(), _mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits)));
        }
    }
    factors
}

/// A group of a block as two vectors.
trait Vectors: Block {
    /// The numbers that [`widen`](Block::widen) writes.
    ///
    /// # Safety
    /// The processor must have AVX-512, and the block all its bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn vectors(block: &[u8], factors: [f32; 2], group: usize) -> [__m512; 2] {
        let mut numbers = [0f32; GROUP];
        Self::widen(block, factors, group, &mut numbers);
        // SAFETY: there are 32.
        unsafe { [_mm512_loadu_ps(numbers.as_ptr()), _mm512_loadu_ps(numbers.as_ptr().add(16))] }
    }
}

/// 0 to 15.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn fours() -> __m512 {
    _mm512_setr_ps(0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.)
}

/// 16 bytes, each in a lane.
///
/// # Safety
/// The processor must have AVX-512, and the bytes must be there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn lanes(bytes: &[u8], first: usize) -> __m512i {
    // SAFETY: as the caller says.
    unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().add(first).cast())) }
}

/// The numbers of 16 bytes' lower halves, and of their upper ones, by a table of the sixteen numbers that there can be. A lane's
/// upper bits are not looked at.
///
/// # Safety
/// The processor must have AVX-512, and the bytes must be there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn of_halves(bytes: &[u8], first: usize, table: __m512) -> [__m512; 2] {
    // SAFETY: as the caller says.
    unsafe {
        let lanes = lanes(bytes, first);
        [_mm512_permutexvar_ps(lanes, table), _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(lanes), table)]
    }
}

/// Each half's bytes, with a sign, times the half's factor.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn of_bytes(one: __m128i, other: __m128i, factors: [f32; 2]) -> [__m512; 2] {
    [
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(one)), _mm512_set1_ps(factors[0])),
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(other)), _mm512_set1_ps(factors[1])),
    ]
}

impl Vectors for Q4_0 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn vectors(block: &[u8], [d, _]: [f32; 2], _: usize) -> [__m512; 2] {
        // SAFETY: as the caller says.
        unsafe {
            let q = _mm512_sub_ps(fours(), _mm512_set1_ps(8.0));
            of_halves(block, 2, _mm512_mul_ps(q, _mm512_set1_ps(d)))
        }
    }
}

impl Vectors for Q4_1 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn vectors(block: &[u8], [d, m]: [f32; 2], _: usize) -> [__m512; 2] {
        // SAFETY: as the caller says.
        unsafe {
            let table = _mm512_add_ps(_mm512_mul_ps(fours(), _mm512_set1_ps(d)), _mm512_set1_ps(m));
            of_halves(block, 4, table)
        }
    }
}

impl Vectors for Q8_0 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn vectors(block: &[u8], [d, _]: [f32; 2], _: usize) -> [__m512; 2] {
        // SAFETY: as the caller says; the block has these bytes.
        unsafe {
            let bytes = block.as_ptr().add(2);
            of_bytes(_mm_loadu_si128(bytes.cast()), _mm_loadu_si128(bytes.add(16).cast()), [d, d])
        }
    }
}

impl Vectors for Q4K {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn vectors(block: &[u8], [d, min]: [f32; 2], group: usize) -> [__m512; 2] {
        let (scale, offset) = six_bits(&block[4..16], group);
        // SAFETY: as the caller says.
        unsafe {
            let table = _mm512_sub_ps(
                _mm512_mul_ps(_mm512_set1_ps(d * scale), fours()),
                _mm512_set1_ps(min * offset),
            );
            let (at, shift) = (16 + group / 2 * 32, _mm_cvtsi32_si128(4 * (group % 2) as i32));
            let halves = [lanes(block, at), lanes(block, at + 16)];
            [
                _mm512_permutexvar_ps(_mm512_srl_epi32(halves[0], shift), table),
                _mm512_permutexvar_ps(_mm512_srl_epi32(halves[1], shift), table),
            ]
        }
    }
}

/// Some bits of each of 32 bytes.
///
/// # Safety
/// The processor must have AVX-512, and the bytes must be there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn bits_of(bytes: &[u8], first: usize, shift: usize, bits: i8) -> __m256i {
    // SAFETY: as the caller says.
    let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().add(first).cast()) };
    _mm256_and_si256(_mm256_srl_epi16(bytes, _mm_cvtsi32_si128(shift as i32)), _mm256_set1_epi8(bits))
}

impl Vectors for Q6K {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn vectors(block: &[u8], [d, _]: [f32; 2], group: usize) -> [__m512; 2] {
        let (side, quarter) = (group / 4, group % 4);
        let (low, high) = (64 * side + 32 * (quarter % 2), 128 + 32 * side);
        // SAFETY: as the caller says; the block has these bytes.
        unsafe {
            let upper = _mm256_slli_epi16::<4>(bits_of(block, high, 2 * quarter, 3));
            let six = _mm256_or_si256(bits_of(block, low, 4 * (quarter / 2), 15), upper);
            let q = _mm256_sub_epi8(six, _mm256_set1_epi8(32));
            let factors = [0, 1].map(|half: usize| d * f32::from(block[192 + 2 * group + half] as i8));
            of_bytes(_mm256_castsi256_si128(q), _mm256_extracti128_si256::<1>(q), factors)
        }
    }
}

/// As [`of_halves`], where each number has a fifth bit, of four bytes that stand before its others, and the tables of both are given.
///
/// # Safety
/// The processor must have AVX-512, and the bytes must be there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn of_five(block: &[u8], fifths: usize, tables: [__m512; 2]) -> [__m512; 2] {
    // SAFETY: as the caller says.
    unsafe {
        let bits = block.as_ptr().add(fifths).cast::<u32>().read_unaligned();
        let (lanes, sixteen) = (lanes(block, fifths + 4), _mm512_set1_epi32(16));
        let low = _mm512_and_si512(lanes, _mm512_set1_epi32(15));
        let low = _mm512_mask_or_epi32(low, bits as u16, low, sixteen);
        let high = _mm512_srli_epi32::<4>(lanes);
        let high = _mm512_mask_or_epi32(high, (bits >> 16) as u16, high, sixteen);
        [
            _mm512_permutex2var_ps(tables[0], low, tables[1]),
            _mm512_permutex2var_ps(tables[0], high, tables[1]),
        ]
    }
}

impl Vectors for Q5_0 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn vectors(block: &[u8], [d, _]: [f32; 2], _: usize) -> [__m512; 2] {
        let d = _mm512_set1_ps(d);
        let below = _mm512_sub_ps(fours(), _mm512_set1_ps(16.0));
        // SAFETY: as the caller says.
        unsafe { of_five(block, 2, [_mm512_mul_ps(below, d), _mm512_mul_ps(fours(), d)]) }
    }
}

impl Vectors for Q5_1 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn vectors(block: &[u8], [d, m]: [f32; 2], _: usize) -> [__m512; 2] {
        let (d, m) = (_mm512_set1_ps(d), _mm512_set1_ps(m));
        let above = _mm512_add_ps(fours(), _mm512_set1_ps(16.0));
        let tables = [_mm512_add_ps(_mm512_mul_ps(fours(), d), m), _mm512_add_ps(_mm512_mul_ps(above, d), m)];
        // SAFETY: as the caller says.
        unsafe { of_five(block, 4, tables) }
    }
}

impl Vectors for Q2K {}
impl Vectors for Q3K {}
impl Vectors for Q5K {}
