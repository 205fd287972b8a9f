//! Readings of answers without any judge: their length, and the share that they repeat.

use std::{collections::HashSet, io::Write};

use flate2::{Compression, write::DeflateEncoder};
use serde::Serialize;

/// Words in a row whose repetition counts.
const GRAM: usize = 4;

/// The share of repeated runs above which an answer is a loop.
const LOOP: f64 = 0.5;

/// Means over answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TextFigures {
    /// Words between white space.
    pub words: f64,
    /// The share of runs of four words that stood in the answer before: near 0 in prose, near 1 where a model is caught in a loop.
    pub repeated: f64,
    /// The size of all answers together when packed, over their size: text about 0.4, loops far less, random letters more.
    pub packed: f64,
}

impl TextFigures {
    /// Of some answers.
    pub fn of<'a>(answers: impl Iterator<Item = &'a str> + Clone) -> Self {
        let mean = |of: fn(&str) -> f64| {
            let count = answers.clone().count() as f64;
            answers.clone().map(of).sum::<f64>() / count
        };
        let words = mean(|answer| answer.split_whitespace().count() as f64);
        Self { words, repeated: mean(repeated), packed: packed(answers) }
    }
}

/// True for an answer that is empty, or caught in a loop: more than half of its runs of four words stood in it before. Where no judge says
/// which answers make sense, this one makes none.
pub fn is_caught(answer: &str) -> bool {
    answer.split_whitespace().next().is_none() || repeated(answer) > LOOP
}

/// The share of runs of words that stood before; 0 for an answer of fewer words.
fn repeated(answer: &str) -> f64 {
    let words: Vec<&str> = answer.split_whitespace().collect();
    let grams = words.windows(GRAM);
    let all = grams.len();
    let different: HashSet<&[&str]> = grams.collect();
    if all == 0 { 0.0 } else { (all - different.len()) as f64 / all as f64 }
}

/// Each answer is packed by itself: what many have in common, such as the words of the question, is no loop.
fn packed<'a>(answers: impl Iterator<Item = &'a str>) -> f64 {
    let (mut before, mut after) = (0, 0);
    for answer in answers {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        // Writing into memory does not fail.
        let packed = encoder.write_all(answer.as_bytes()).and_then(|()| encoder.finish());
        before += answer.len();
        after += packed.map_or(0, |packed| packed.len());
    }
    after as f64 / before as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_seen() {
        assert_eq!(repeated("one two three"), 0.0);
        assert_eq!(repeated("a b c d e f"), 0.0);
        assert_eq!(repeated("a b c d a b c d"), 0.2);
        let loops = "I am sorry. ".repeat(50);
        assert!(repeated(&loops) > 0.97);
        assert!(is_caught(&loops) && is_caught(" ") && !is_caught("So."));
        let prose = "The kettle whistles since steam leaves it through a narrow hole, and the air there begins to swing.";
        let (prose, loops) = (TextFigures::of([prose].into_iter()), TextFigures::of([&*loops].into_iter()));
        assert!(prose.packed > 0.7 && loops.packed < 0.1, "{prose:?} {loops:?}");
        assert_eq!((prose.words, loops.words), (18.0, 150.0));
    }
}
