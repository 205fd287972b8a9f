//! Softmax of scores in blocks of 32 keys and 32 rows of scores, forwards and backwards, in vectors of a key's rows (AVX-512).
//!
//! Powers are those of two: the logarithm of e is a part of the factor on the scores.

use std::{arch::x86_64::*, array::from_fn, mem::transmute, ops::Range};

use half::bf16;

use super::head::Head;
use crate::{
    cpu,
    product::{BLOCK, Sums, Unit, WIDTH},
};

/// A number for each row of scores of a panel.
pub type OfRows = [f32; WIDTH];

/// A panel of rows of scores: the keys that each of them sees. What fills the last panel sees what the last row sees.
pub struct Seen {
    starts: [i32; WIDTH],
    ends: [i32; WIDTH],
}

impl Seen {
    pub fn new(head: &Head, panel: usize) -> Self {
        let last = head.rows() - 1;
        let visible: [_; WIDTH] = from_fn(|i| head.visible((panel * WIDTH + i).min(last)));
        Self { starts: visible.each_ref().map(|v| v.start as i32), ends: visible.map(|v| v.end as i32) }
    }

    /// The panels of keys of which any row sees something.
    pub fn panels(&self) -> Range<usize> {
        self.starts[0] as usize / WIDTH..(self.ends[WIDTH - 1] as usize).div_ceil(WIDTH)
    }

    /// True if every row sees all keys of a panel.
    fn is_whole(&self, panel: usize) -> bool {
        let first = (panel * WIDTH) as i32;
        self.starts[WIDTH - 1] <= first && first + WIDTH as i32 <= self.ends[0]
    }
}

/// The factor on scores, and the soft cap that they then have.
#[derive(Clone, Copy)]
pub struct Scaled {
    pub scale: f32,
    pub softcap: Option<f32>,
}

impl Scaled {
    /// Caps scores where there is a cap. Gives the factor that is left.
    fn capped(self, scores: &mut [Sums]) -> f32 {
        let Some(cap) = self.softcap else { return self.scale };
        cpu::vectorised!({
            for s in scores.iter_mut().flat_map(
                #[inline(always)]
                |block| block.rows().as_flattened_mut(),
            ) {
                *s = cap * cpu::tanh(*s * self.scale / cap);
            }
        });
        1.0
    }
}

/// Makes powers of the scores of a panel of rows, as blocks of a right panel. Gives the logarithm of the sum of each row's powers, and
/// what the powers are to be multiplied by to be shares.
pub fn powers(
    _: &Unit,
    seen: &Seen,
    scaled: Scaled,
    scores: &mut [Sums],
    to: &mut [bf16],
) -> (OfRows, OfRows) {
    let factor = scaled.capped(scores) * std::f32::consts::LOG2_E;
    let mut largest = [f32::NEG_INFINITY; WIDTH];
    let mut sums = [0f32; WIDTH];
    // SAFETY: a unit is there where AVX-512 with products of bf16 is.
    unsafe {
        for (panel, scores) in seen.panels().zip(scores.iter_mut()) {
            find_largest(seen, panel, factor, scores.rows(), &mut largest);
        }
        for ((panel, scores), to) in seen.panels().zip(scores.iter_mut()).zip(to.as_chunks_mut().0) {
            add_powers(seen, panel, factor, scores.rows(), &largest, &mut sums, to);
        }
    }
    let logs = from_fn(|i| largest[i] * std::f32::consts::LN_2 + sums[i].ln());
    (logs, sums.map(|sum| 1.0 / sum))
}

/// A panel of rows of scores on its way back.
pub struct Panel {
    pub seen: Seen,
    /// The logarithms to base 2 of the sums of powers.
    pub logs: OfRows,
    /// The inner products of values and their gradients.
    pub along: OfRows,
}

/// A block of shares and one of gradients of scores, rounded.
pub struct Rounded<'a> {
    pub shares: &'a mut [bf16; BLOCK],
    pub gradients: &'a mut [bf16; BLOCK],
    /// The gradients once more, as a block of a right panel.
    pub right: &'a mut [bf16; BLOCK],
}

impl Panel {
    /// Of the logarithms and inner products from the panel's first row on.
    pub fn new(seen: Seen, logs: &[f32], along: &[f32]) -> Self {
        Self {
            seen,
            // The shares of what fills the last panel become zero.
            logs: from_fn(|i| logs.get(i).map_or(f32::INFINITY, |log| log * std::f32::consts::LOG2_E)),
            along: from_fn(|i| along.get(i).copied().unwrap_or(0.0)),
        }
    }

    /// Makes shares of a block's scores, and of the shares' gradients those of the scores.
    pub fn through(
        &self,
        _: &Unit,
        panel: usize,
        scaled: Scaled,
        scores: &mut Sums,
        gradients: &mut Sums,
        to: Rounded,
    ) {
        let factor = scaled.capped(std::slice::from_mut(scores)) * std::f32::consts::LOG2_E;
        let (scores, gradients) = (scores.rows(), gradients.rows());
        // SAFETY: as above.
        unsafe {
            match scaled.softcap {
                None => back::<false>(self, panel, factor, 0.0, scores, gradients, to),
                Some(cap) => back::<true>(self, panel, factor, 1.0 / cap, scores, gradients, to),
            }
        }
    }
}

/// Of half a row of a block, 16 numbers.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn load(rows: &[[f32; WIDTH]], row: usize, half: usize) -> __m512 {
    let half: &[f32; 16] = &rows[row].as_chunks().0[half];
    // SAFETY: these are 16 numbers.
    unsafe { _mm512_loadu_ps(half.as_ptr()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn half_of(numbers: &OfRows, half: usize) -> __m512 {
    load(std::slice::from_ref(numbers), 0, half)
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn store(to: &mut [bf16; BLOCK], at: usize, numbers: __m512i) {
    let to: &mut [bf16; 32] = &mut to.as_chunks_mut().0[at];
    // SAFETY: these are 32 numbers of 16 bits.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), numbers) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn round(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both are 512 bits, of which any are numbers.
    unsafe { transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Two lines, one behind the other, side by side.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn side_by_side(lines: __m512i) -> __m512i {
    // Words i and 16 + i.
    let pairs = _mm512_set_epi32(
        0x1f_000f, 0x1e_000e, 0x1d_000d, 0x1c_000c, 0x1b_000b, 0x1a_000a, 0x19_0009, 0x18_0008, 0x17_0007,
        0x16_0006, 0x15_0005, 0x14_0004, 0x13_0003, 0x12_0002, 0x11_0001, 0x10_0000,
    );
    _mm512_permutexvar_epi16(pairs, lines)
}

/// The rows of half a panel that see a key.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn seeing(seen: &Seen, key: usize, half: usize) -> __mmask16 {
    let key = _mm512_set1_epi32(key as i32);
    let of = |numbers: &[i32; WIDTH]| {
        let half: &[i32; 16] = &numbers.as_chunks().0[half];
        // SAFETY: these are 16 numbers.
        unsafe { _mm512_loadu_si512(half.as_ptr().cast()) }
    };
    _mm512_cmple_epi32_mask(of(&seen.starts), key) & _mm512_cmplt_epi32_mask(key, of(&seen.ends))
}

/// 2^x to within four units in the last place; what is below 2^-149 is 0, and NaN stays NaN.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn power(x: __m512) -> __m512 {
    // The second is the result where one is not a number.
    let x = _mm512_max_ps(_mm512_set1_ps(-300.0), x);
    let whole = _mm512_roundscale_ps::<0>(x);
    let rest = _mm512_sub_ps(x, whole);
    // The Taylor polynomial of degree 6: its error on |rest| <= 1/2 is 1.3e-7.
    let mut p = _mm512_set1_ps(1.540_353e-4);
    for c in [1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 0.240_226_5, std::f32::consts::LN_2, 1.0] {
        p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(c));
    }
    _mm512_scalef_ps(p, whole)
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn find_largest(seen: &Seen, panel: usize, factor: f32, rows: &[[f32; WIDTH]], largest: &mut OfRows) {
    let (whole, factor) = (seen.is_whole(panel), _mm512_set1_ps(factor));
    let mut found = [half_of(largest, 0), half_of(largest, 1)];
    for row in 0..rows.len() {
        for (half, found) in found.iter_mut().enumerate() {
            let x = _mm512_mul_ps(load(rows, row, half), factor);
            let seeing = if whole { u16::MAX } else { seeing(seen, panel * WIDTH + row, half) };
            *found = _mm512_mask_max_ps(*found, seeing, *found, x);
        }
    }
    for (half, to) in largest.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        // SAFETY: these are 16 numbers.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), found[half]) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn add_powers(
    seen: &Seen,
    panel: usize,
    factor: f32,
    rows: &[[f32; WIDTH]],
    largest: &OfRows,
    sums: &mut OfRows,
    to: &mut [bf16; BLOCK],
) {
    let (whole, factor) = (seen.is_whole(panel), _mm512_set1_ps(factor));
    for (half, to_sums) in sums.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let largest = half_of(largest, half);
        // SAFETY: these are 16 numbers.
        let mut sum = unsafe { _mm512_loadu_ps(to_sums.as_ptr()) };
        for pair in 0..WIDTH / 2 {
            let two = [2 * pair, 2 * pair + 1].map(|row| {
                let p = power(_mm512_fmsub_ps(load(rows, row, half), factor, largest));
                if whole { p } else { _mm512_maskz_mov_ps(seeing(seen, panel * WIDTH + row, half), p) }
            });
            sum = _mm512_add_ps(_mm512_add_ps(sum, two[0]), two[1]);
            store(to, half * 16 + pair, side_by_side(round(two[0], two[1])));
        }
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(to_sums.as_mut_ptr(), sum) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn back<const CAPPED: bool>(
    of: &Panel,
    panel: usize,
    factor: f32,
    one_over_cap: f32,
    scores: &[[f32; WIDTH]],
    gradients: &[[f32; WIDTH]],
    to: Rounded,
) {
    let (whole, factor) = (of.seen.is_whole(panel), _mm512_set1_ps(factor));
    let (logs, along) =
        ([0, 1].map(|half| half_of(&of.logs, half)), [0, 1].map(|half| half_of(&of.along, half)));
    for pair in 0..WIDTH / 2 {
        // Of two keys, and both halves of their rows.
        let [[p0, p1], [g0, g1]] = {
            let zero = _mm512_setzero_ps();
            let (mut p, mut g) = ([[zero; 2]; 2], [[zero; 2]; 2]);
            for i in 0..2 {
                for half in 0..2 {
                    let row = 2 * pair + i;
                    let score = load(scores, row, half);
                    let mut share = power(_mm512_fmsub_ps(score, factor, logs[half]));
                    let mut gradient = _mm512_sub_ps(load(gradients, row, half), along[half]);
                    if CAPPED {
                        let t = _mm512_mul_ps(score, _mm512_set1_ps(one_over_cap));
                        let slope = _mm512_fnmadd_ps(t, t, _mm512_set1_ps(1.0));
                        gradient = _mm512_mul_ps(gradient, slope);
                    }
                    gradient = _mm512_mul_ps(gradient, share);
                    if !whole {
                        let seeing = seeing(&of.seen, panel * WIDTH + row, half);
                        share = _mm512_maskz_mov_ps(seeing, share);
                        gradient = _mm512_maskz_mov_ps(seeing, gradient);
                    }
                    (p[i][half], g[i][half]) = (share, gradient);
                }
            }
            [p, g]
        };
        store(to.shares, 2 * pair, round(p0[0], p0[1]));
        store(to.shares, 2 * pair + 1, round(p1[0], p1[1]));
        store(to.gradients, 2 * pair, round(g0[0], g0[1]));
        store(to.gradients, 2 * pair + 1, round(g1[0], g1[1]));
        for half in 0..2 {
            store(to.right, half * 16 + pair, side_by_side(round(g0[half], g1[half])));
        }
    }
}
