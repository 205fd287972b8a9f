//! The judge of style: how technical prose is, without any model.

use super::{Give, Judge, Reason, Score};
use crate::Result;

/// Scores how far an answer reads as an engineering manual or a paper, from four shares of its words.
///
/// 30, and for every hundredth of the words
/// - 1.6 more where they are long (nine letters and more),
/// - 2.4 more where they are nouns made of verbs and adjectives ("combustion", "stability"),
/// - 2 less where they are casual (persons who speak or are spoken to, contractions, "just", "really"),
/// - 3.2 more where they hold a digit,
///
/// within 0 and 100. The weights stand to each other as those of a logistic regression on the 300 answers of
/// `data/technical/vehicles-train`, rounded. In all other domains 99 % of the technical answers and none of the plain ones lie
/// above 50; their means are 87 and 20.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style;

const START: f64 = 30.0;
const OF_LONG: f64 = 160.0;
const OF_NOMINAL: f64 = 240.0;
const OF_CASUAL: f64 = -200.0;
const OF_NUMBERS: f64 = 320.0;

/// Letters of a long word.
const LONG: usize = 9;

/// Endings of nouns that are made of other words.
const NOMINAL: [&str; 13] =
    ["tion", "sion", "ment", "ity", "ance", "ence", "ness", "ism", "ture", "sis", "ency", "ancy", "ability"];

/// Words of talk.
const CASUAL: [&str; 38] = [
    "i", "you", "your", "yours", "we", "our", "us", "my", "me", "mine", "he", "she", "they", "them", "lets",
    "like", "just", "really", "lot", "lots", "bit", "bits", "stuff", "thing", "things", "so", "gets", "get",
    "got", "big", "little", "kind", "pretty", "very", "nice", "tiny", "okay", "yeah",
];

impl Judge for Style {
    fn name(&self) -> &str {
        "style"
    }

    fn scale(&self) -> &str {
        "style"
    }

    fn basis(&self, _: &str) -> String {
        "1".into()
    }

    fn score_each(&self, _: &str, answers: &[&str], give: Give<'_>) -> Result<()> {
        answers.iter().enumerate().try_for_each(|(at, answer)| give(at, style(answer)))
    }
}

fn style(answer: &str) -> Score {
    let words: Vec<String> = words(answer);
    let pieces: Vec<&str> = answer.split_whitespace().collect();
    if words.is_empty() {
        return Err(Reason::Empty);
    }
    let share =
        |is: fn(&str) -> bool| words.iter().filter(|word| is(word)).count() as f64 / words.len() as f64;
    let numbers = pieces.iter().filter(|piece| piece.contains(|c: char| c.is_ascii_digit())).count();
    let numbers = numbers as f64 / pieces.len() as f64;
    let score = START
        + OF_LONG * share(is_long)
        + OF_NOMINAL * share(is_nominal)
        + OF_CASUAL * share(is_casual)
        + OF_NUMBERS * numbers;
    Ok(score.clamp(0.0, 100.0))
}

/// The words in small letters: letters with what stands within words.
fn words(text: &str) -> Vec<String> {
    let apart = text.split(|c: char| !(c.is_alphabetic() || matches!(c, '\'' | '\u{2019}' | '-')));
    let words = apart.map(|word| word.trim_matches(|c: char| !c.is_alphabetic()));
    words.filter(|word| !word.is_empty()).map(|word| word.to_lowercase().replace('\u{2019}', "'")).collect()
}

fn is_long(word: &str) -> bool {
    word.chars().filter(|c| c.is_alphabetic()).count() >= LONG
}

fn is_nominal(word: &str) -> bool {
    let singular = word.strip_suffix('s').unwrap_or(word);
    let ends = |ending: &&str| word.ends_with(*ending) || singular.ends_with(*ending);
    word.chars().count() >= 6 && NOMINAL.iter().any(ends)
}

fn is_casual(word: &str) -> bool {
    word.contains('\'') || CASUAL.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, expected: f64) {
        assert!((style(answer).unwrap() - expected).abs() < 1e-9, "{:?}", style(answer));
    }

    #[test]
    fn shares_of_words_add_up() {
        check("a cat sat on the mat by night", 30.0);
        // One of eight words is long; then it is a noun of a verb besides.
        check("a cat sat yesterday on the mat there", 30.0 + 160.0 / 8.0);
        check("a combustion cat sat on the mat there", 30.0 + (160.0 + 240.0) / 8.0);
        check("your cat sat on the mat by night", 30.0 - 200.0 / 8.0);
        check("it\u{2019}s the cat on the mat by night", 30.0 - 200.0 / 8.0);
        check("a cat sat on the mat by night 300", 30.0 + 320.0 / 9.0);
        check("I just got you", 0.0);
        check("Thermodynamic equilibrium presupposes isothermal conditions.", 100.0);
    }

    #[test]
    fn endings_are_those_of_nouns() {
        for word in
            ["rotations", "efficiency", "hardness", "analysis", "resistances", "moisture", "stability"]
        {
            assert!(is_nominal(word), "{word}");
        }
        for word in ["kettle", "city", "nest", "senses", "once", "engine"] {
            assert!(!is_nominal(word), "{word}");
        }
    }

    #[test]
    fn what_has_no_words_has_no_style() {
        for answer in ["", " \n", "42 + 1 = 43.", "- ' -"] {
            assert_eq!(style(answer), Err(Reason::Empty), "{answer:?}");
        }
    }
}
