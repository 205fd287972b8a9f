//! Mutations: small damage, and pieces of one seed put into another.

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// Longest input that is made.
const MAX_LENGTH: usize = 1 << 16;

/// Numbers at which readers go wrong.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 62, u64::MAX];

/// Words at which readers of text go wrong.
const WORDS: [&str; 40] = [
    "null",
    "true",
    "-1",
    "1e999",
    "NaN",
    "0.5",
    "18446744073709551616",
    "\"\"",
    "[]",
    "{}",
    "[[[[[[[[",
    "\\ud800",
    "\\u0000",
    "\u{feff}",
    "\u{202e}",
    "é",
    "🙂",
    "\0",
    "\r\n",
    "{{",
    "}}",
    "{%",
    "%}",
    "{% for x in range(9999) %}",
    "**",
    "~",
    "|join",
    ".count('')",
    "|tojson",
    "%1000000d",
    "'a' * 1000000",
    "../",
    "/",
    ",",
    ":",
    "\"",
    "\"messages\"",
    "\"role\"",
    "\"content\"",
    "*1e9",
];

/// A seed with one to six mutations; `others` are the seeds whose pieces may be put into it.
pub fn mutate(seed: &[u8], others: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.random_range(1..=6) {
        one(&mut bytes, others, rng);
        bytes.truncate(MAX_LENGTH);
    }
    bytes
}

fn one(bytes: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut ChaCha8Rng) {
    let at = place(bytes, rng);
    let end = (at + length(rng)).min(bytes.len());
    match rng.random_range(0..11) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        1 if at < bytes.len() => bytes[at] = rng.random(),
        2 => drop(bytes.drain(at..end)),
        3 => bytes.truncate(at),
        4 => {
            let most = [2, 8, 300][rng.random_range(0..3)];
            let piece = bytes[at..end].repeat(rng.random_range(1..=most));
            bytes.splice(at..at, piece);
        }
        5 => {
            let number = NUMBERS[rng.random_range(0..NUMBERS.len())].to_le_bytes();
            let width = [1, 2, 4, 8][rng.random_range(0..4)];
            let end = (at + width).min(bytes.len());
            bytes.splice(at..end, number[..width].iter().copied());
        }
        6 | 7 => {
            let word = WORDS[rng.random_range(0..WORDS.len())];
            let end = if rng.random() { end } else { at };
            bytes.splice(at..end, word.bytes());
        }
        8 => {
            let Some(other) = others.choose(rng).filter(|other| !other.is_empty()) else { return };
            let from = rng.random_range(0..other.len());
            let piece = &other[from..(from + 4 * length(rng)).min(other.len())];
            bytes.splice(at..end, piece.iter().copied());
        }
        9 => {
            // Text between two marks, such as a value of JSON, in the place of another.
            let (Some(from), Some(to)) = (span(bytes, rng), span(bytes, rng)) else { return };
            let piece = bytes[from].to_vec();
            bytes.splice(to, piece);
        }
        _ => {
            let to = place(bytes, rng);
            let piece = bytes[at..end].to_vec();
            let until = (to + piece.len()).min(bytes.len());
            bytes.splice(to..until, piece);
        }
    }
}

/// A place in the bytes; headers, which come first, more often than the rest.
fn place(bytes: &[u8], rng: &mut ChaCha8Rng) -> usize {
    let most = if rng.random_range(0..3) == 0 { bytes.len().min(64) } else { bytes.len() };
    rng.random_range(0..=most)
}

fn length(rng: &mut ChaCha8Rng) -> usize {
    let most = [2, 8, 32, 256][rng.random_range(0..4)];
    rng.random_range(1..=most)
}

/// The part between two of the marks that separate values.
fn span(bytes: &[u8], rng: &mut ChaCha8Rng) -> Option<std::ops::Range<usize>> {
    let marks: Vec<usize> = (0..bytes.len()).filter(|&i| b"\",:[]{}=\n".contains(&bytes[i])).collect();
    if marks.len() < 2 {
        return None;
    }
    let first = rng.random_range(0..marks.len() - 1);
    let last = (first + rng.random_range(1..=8)).min(marks.len() - 1);
    Some(marks[first] + 1..marks[last].max(marks[first] + 1))
}
