//! A block of numbers that share factors.
//!
//! Numbers are widened 32 at a time, in loops without branches, so that they vectorise; the arithmetic and its order are
//! llama.cpp's, so that they come out the same to the last bit.

/// Numbers that are widened at once.
pub const GROUP: usize = 32;

/// A type of blocks.
pub trait Block {
    /// Bytes of a block.
    const BYTES: usize;
    /// Groups of 32 numbers in a block.
    const GROUPS: usize;
    /// The places of its factors, which are f16, two at most: all numbers are finite if they are.
    const FACTORS: &'static [usize];

    /// Writes a group of a block's numbers, whose factors are these.
    fn widen(block: &[u8], factors: [f32; 2], group: usize, to: &mut [f32; GROUP]);
}

/// A factor of a block.
#[inline(always)]
pub fn factor(block: &[u8], at: usize) -> f32 {
    // As the processor does it, and without a call, which would keep loops from being vectorised.
    widened(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// An f16 as f32.
#[inline(always)]
pub fn widened(bits: u16) -> f32 {
    let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    // The exponent's bias is 112 more; of infinities and NaN, whose exponent is all ones, twice as much.
    let normal = (rest << 13) + (112 << 23) + if rest >= 0x7c00 { 112 << 23 } else { 0 };
    // As the fraction of a number between 1/2^14 and 1/2^13, less 1/2^14.
    let small = f32::from_bits((rest << 13) + (113 << 23)) - f32::from_bits(113 << 23);
    f32::from_bits(sign | if rest < 0x400 { small.to_bits() } else { normal })
}
