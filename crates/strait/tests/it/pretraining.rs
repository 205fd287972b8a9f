//! The sample of pre-training-like text keeps its promises: counts, lengths, genres, and no passage twice.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Passage {
    id: String,
    genre: String,
    text: String,
}

fn passages() -> Vec<Passage> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/pretraining/passages.jsonl");
    let lines = fs::read_to_string(file).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The words of a text in small letters, without punctuation.
fn words(text: &str) -> Vec<String> {
    let bare = |word: &str| -> String {
        word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect()
}

#[test]
fn there_are_220_passages_in_order() {
    let ids: Vec<_> = passages().into_iter().map(|passage| passage.id).collect();
    let expected: Vec<_> = (1..=220).map(|n| format!("p{n:03}")).collect();
    assert_eq!(ids, expected);
}

#[test]
fn every_genre_has_ten_passages_spread_evenly() {
    let rows = passages();
    let mut counts = BTreeMap::new();
    for passage in &rows {
        *counts.entry(&passage.genre).or_insert(0) += 1;
    }
    assert!(counts.len() >= 15, "{} genres", counts.len());
    assert!(counts.values().all(|&n| n == 10), "{counts:?}");
    for (round, block) in rows.chunks(counts.len()).enumerate() {
        let genres: BTreeSet<_> = block.iter().map(|passage| &passage.genre).collect();
        assert_eq!(genres.len(), counts.len(), "block {round} lacks a genre");
    }
}

#[test]
fn passages_have_40_to_130_words() {
    for passage in passages() {
        let n = passage.text.split_whitespace().count();
        assert!((40..=130).contains(&n), "{}: {n} words", passage.id);
    }
}

#[test]
fn no_two_passages_begin_alike_or_share_eight_words_in_a_row() {
    const RUN: usize = 8;
    let rows = passages();
    let texts: Vec<_> = rows.iter().map(|passage| words(&passage.text)).collect();
    let (mut openings, mut runs) = (HashMap::new(), HashMap::new());
    for (passage, text) in rows.iter().zip(&texts) {
        if let Some(other) = openings.insert(&text[0], &passage.id) {
            panic!("{} and {other} both begin with {:?}", passage.id, text[0]);
        }
        for run in text.windows(RUN) {
            let first = *runs.entry(run).or_insert(&passage.id);
            assert_eq!(first, &passage.id, "both have {:?}", run.join(" "));
        }
    }
}
