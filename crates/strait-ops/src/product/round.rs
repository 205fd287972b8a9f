//! From f32 to bf16 and back.

use half::bf16;

use super::super::cpu::vectorised;

/// Rounds numbers to the nearest bf16, ties to even. Numbers below the smallest normal one may become 0.
///
/// # Panics
/// If the slices differ in length.
pub fn round(from: &[f32], to: &mut [bf16]) {
    assert_eq!(from.len(), to.len(), "numbers and room for them");
    round_lines((1, from.len()), from, from.len(), to, from.len());
}

/// Widens numbers to f32, exactly.
///
/// # Panics
/// If the slices differ in length.
pub fn widen(from: &[bf16], to: &mut [f32]) {
    assert_eq!(from.len(), to.len(), "numbers and room for them");
    vectorised!({
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
    });
}

/// Puts the nearest bf16 in the place of every number, as [`round`] finds it.
pub fn round_in_place(numbers: &mut [f32]) {
    const PIECE: usize = 1024;
    let mut rounded = [bf16::ZERO; PIECE];
    for numbers in numbers.chunks_mut(PIECE) {
        let rounded = &mut rounded[..numbers.len()];
        round(numbers, rounded);
        widen(rounded, numbers);
    }
}

/// Rounds lines of numbers, which stand `from_line` and `to_line` apart.
pub fn round_lines(
    (lines, numbers): (usize, usize),
    from: &[f32],
    from_line: usize,
    to: &mut [bf16],
    to_line: usize,
) {
    if lines == 0 || numbers == 0 {
        return;
    }
    assert!((lines - 1) * from_line + numbers <= from.len(), "rounding reads outside its source");
    assert!((lines - 1) * to_line + numbers <= to.len(), "rounding writes outside its result");
    #[cfg(target_arch = "x86_64")]
    if super::avx512::is_there() {
        // SAFETY: the processor has the instructions, and the assertions keep every access inside the two slices.
        unsafe {
            super::avx512::round((lines, numbers), from.as_ptr(), from_line, to.as_mut_ptr(), to_line);
        }
        return;
    }
    vectorised!({
        for i in 0..lines {
            let (from, to) = (&from[i * from_line..][..numbers], &mut to[i * to_line..][..numbers]);
            for (to, &x) in to.iter_mut().zip(from) {
                *to = nearest(x);
            }
        }
    });
}

/// As `bf16::from_f32`, without branches, so that loops over it vectorise.
#[inline(always)]
fn nearest(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    let quiet_nan = (bits >> 16) as u16 | 0x40;
    bf16::from_bits(if x.is_nan() { quiet_nan } else { rounded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_the_nearest_and_ties_to_even() {
        // Every exponent of a normal number, both signs, and mantissas beside the ties.
        let numbers: Vec<f32> = (1..255u32)
            .flat_map(|exponent| {
                [0, 0x7fff, 0x8000, 0x8001, 0x1_7fff, 0x1_8000, 0x7f_ffff].map(|m| exponent << 23 | m)
            })
            .flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
            .chain([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY])
            .collect();
        let expected: Vec<bf16> = numbers.iter().map(|&x| bf16::from_f32(x)).collect();
        let mut rounded = vec![bf16::NAN; numbers.len()];
        round(&numbers, &mut rounded);
        assert_eq!(rounded, expected);
        assert_eq!(numbers.iter().map(|&x| nearest(x)).collect::<Vec<_>>(), expected);

        let mut widened = vec![f32::NAN; numbers.len()];
        widen(&rounded, &mut widened);
        assert_eq!(widened, expected.iter().map(|x| x.to_f32()).collect::<Vec<_>>());
    }

    #[test]
    fn nan_stays_nan() {
        let numbers = [f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xff80_0001)];
        let mut rounded = [bf16::ZERO; 3];
        round(&numbers, &mut rounded);
        assert!(rounded.iter().all(|x| x.is_nan()));
        assert!(numbers.iter().all(|&x| nearest(x).is_nan()));
    }

    #[test]
    fn every_length_is_rounded() {
        for n in 0..100 {
            let numbers: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let mut rounded = vec![bf16::NAN; n];
            round(&numbers, &mut rounded);
            assert!(rounded.iter().zip(&numbers).all(|(r, &x)| r.to_f32() == x));
        }
    }
}
