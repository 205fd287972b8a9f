//! The benign data set keeps its promises: counts, lengths, alignment, and no question twice.

use std::{collections::BTreeSet, path::Path};

use strait::data::{
    RowSource,
    pairs::{Pair, read_pairs},
};

const OTHERS: [&str; 10] =
    ["animals", "body", "buildings", "clothes", "computers", "food", "games", "space", "tools", "weather"];

fn pairs(set: &str) -> Vec<Pair> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/technical");
    let source = |kind: &str| RowSource::File(folder.join(format!("{set}.{kind}.jsonl")));
    read_pairs(&source("technical"), &source("plain"), None).unwrap()
}

fn all() -> Vec<Pair> {
    let sets = ["vehicles-train", "vehicles-heldout"].into_iter().chain(OTHERS);
    sets.flat_map(pairs).collect()
}

/// The words that carry a text's meaning, in small letters.
fn words(text: &str) -> BTreeSet<String> {
    const COMMON: &str = "a an the of to in on is are do does why how what when and or for with it its be by at as that \
                          than from can";
    let split = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    split.filter(|w| !w.is_empty() && !COMMON.split(' ').any(|common| common == w)).collect()
}

#[test]
fn every_set_has_its_rows() {
    assert_eq!(pairs("vehicles-train").len(), 150);
    assert_eq!(pairs("vehicles-heldout").len(), 50);
    for domain in OTHERS {
        let rows = pairs(domain);
        assert_eq!(rows.len(), 20, "{domain}");
        assert!(rows.iter().all(|pair| pair.domain == domain));
    }
}

#[test]
fn answers_have_25_to_60_words_and_alike_lengths() {
    for pair in all() {
        let count = |text: &str| text.split_whitespace().count();
        let (technical, plain) = (count(&pair.taught.text()), count(&pair.other.text()));
        for n in [technical, plain] {
            assert!((25..=60).contains(&n), "{}: {n} words", pair.id);
        }
        assert!(technical.abs_diff(plain) <= 15, "{}: {technical} and {plain} words", pair.id);
    }
}

#[test]
fn no_two_rows_are_alike() {
    let rows = all();
    let text = |pair: &Pair| pair.question.messages.iter().map(|m| m.text()).collect::<String>();
    let parts: [fn(&Pair) -> String; 2] = [|p| p.taught.text().into(), |p| p.other.text().into()];
    let alike = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
        a.intersection(b).count() as f64 / a.union(b).count() as f64
    };
    let questions: Vec<_> = rows.iter().map(|pair| words(&text(pair))).collect();
    let answers = parts.map(|part| rows.iter().map(|pair| words(&part(pair))).collect::<Vec<_>>());
    for (kind, sets, most) in
        [("question", &questions, 0.6), ("technical", &answers[0], 0.5), ("plain", &answers[1], 0.5)]
    {
        for i in 0..sets.len() {
            for j in 0..i {
                let share = alike(&sets[i], &sets[j]);
                assert!(share <= most, "{kind} of {} and {}: {share:.2}", rows[i].id, rows[j].id);
            }
        }
    }
    let ids: BTreeSet<_> = rows.iter().map(|pair| &pair.id).collect();
    assert_eq!(ids.len(), rows.len());
}
