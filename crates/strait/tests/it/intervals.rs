//! Intervals of few questions, from the readings to the verdicts.

use std::path::Path;

use candle_core::{Device, Tensor};
use strait::{
    Table,
    data::Pair,
    interval::Interval,
    lab::Group,
    measure::{Member, PairRows, Preference, Shift, Solution, certificate, families},
    objective::{Kept, Row},
};
use strait_model::{
    Edit, Message, Model, Precision, Role,
    edit::SteeringVector,
    progress::Silent,
    source::{Located, Road},
};

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
    let located = Located { name: "tiny".into(), path, road: Road::Path, revision: None };
    Model::load(&located, &Device::Cpu, Precision::F32).unwrap()
}

/// A pair for every domain and question.
fn pairs(asked: &[(&str, usize)]) -> Vec<Pair> {
    let pair = |(place, &(domain, question)): (usize, &(&str, usize))| Pair {
        id: place.to_string(),
        domain: domain.into(),
        question: vec![Message::new(Role::User, format!("What of {question}?"))].into(),
        taught: Message::new(Role::Assistant, format!("It hums, {place} times.")),
        other: Message::new(Role::Assistant, format!("{place} is a number, and it rests.")),
    };
    asked.iter().enumerate().map(pair).collect()
}

fn shifts(asked: &[(&str, usize)], size: f32) -> Table {
    let model = model();
    let hidden = model.config().hidden_size;
    let vector = (0..hidden).map(|i| size * (1.7 * i as f32).sin()).collect::<Vec<_>>();
    let vector = Tensor::new(vector, &Device::Cpu).unwrap();
    let solution = Solution { name: "one".into(), edit: Edit::Steering(SteeringVector { layer: 1, vector }) };
    let mut groups = [PairRows::new(&model, Group::General, &pairs(asked)).unwrap()];
    let preference = Preference { scales: vec![1.0], coherence: 100.0 };
    Table::of(&preference.read(&model.decoder, &[solution], &mut groups, 0, &Silent).unwrap())
}

#[test]
fn an_interval_takes_three_questions_whatever_their_pairs() {
    let one_domain = |questions: &[usize]| questions.iter().map(|&q| ("x", q)).collect::<Vec<_>>();
    for (asked, questions) in [
        (one_domain(&[0]), 1),
        (one_domain(&[0, 1]), 2),
        (one_domain(&[0, 1, 2]), 3),
        (one_domain(&[0; 7]), 1),
        (one_domain(&[0, 0, 0, 0, 1, 1]), 2),
        (one_domain(&[0, 0, 0, 0, 0, 1, 2]), 3),
    ] {
        let table = shifts(&asked, 1.0);
        let shift = table.interval(["shift", "low", "high"]).unwrap()[0];
        assert!(shift.value.is_finite());
        assert_eq!(shift.is_known(), questions >= 3, "{asked:?}: {shift:?}");
        assert_eq!(table.integer("pairs").unwrap(), [asked.len() as i64]);
        assert_eq!(table.integer("questions").unwrap(), [questions]);
    }
}

#[test]
fn domains_with_few_questions_have_wider_intervals_than_all_together() {
    let asked: Vec<_> = (0..20).map(|i| (["a", "b", "c", "d", "e"][i % 5], i)).collect();
    let table = shifts(&asked, 1.0);
    assert_eq!(table.text("domain").unwrap(), ["all", "a", "b", "c", "d", "e"]);
    assert_eq!(table.integer("questions").unwrap(), [20, 4, 4, 4, 4, 4]);
    let shifts = table.interval(["shift", "low", "high"]).unwrap();
    assert!(shifts.iter().all(Interval::is_known));
    let mean_width = shifts[1..].iter().map(|s| s.high - s.low).sum::<f64>() / 5.0;
    assert!(mean_width > 2.0 * (shifts[0].high - shifts[0].low), "{shifts:?}");
    // Two of them have one question each.
    let table = self::shifts(&asked[..2], 1.0);
    let known: Vec<_> =
        table.interval(["shift", "low", "high"]).unwrap().iter().map(Interval::is_known).collect();
    assert_eq!(known, [false, false, false]);
}

#[test]
fn an_edit_that_changes_nothing_has_no_interval() {
    let asked: Vec<_> = (0..6).map(|i| ("x", i)).collect();
    let shift = shifts(&asked, 0.0).interval(["shift", "low", "high"]).unwrap()[0];
    assert!(shift.value == 0.0 && !shift.is_known(), "{shift:?}");
}

#[test]
fn rows_that_begin_alike_ask_one_question() {
    let row = |question: &[u32], answer: &[u32]| Row {
        ids: [question, answer].concat(),
        responses: std::iter::once(question.len()..question.len() + answer.len()).collect(),
    };
    let text = |ids: &[u32]| Row { ids: ids.to_vec(), responses: Vec::new() };
    let rows =
        vec![row(&[1, 2], &[5]), row(&[1, 2, 3], &[5]), row(&[1, 2], &[6, 7]), text(&[1, 2, 4]), text(&[9])];
    assert_eq!(Kept::new(rows).questions(), [0, 1, 0, 2, 3]);
}

/// A shift of a solution.
fn shift(solution: &str, group: Group, scale: f64, shift: Interval) -> Shift {
    Shift {
        solution: solution.into(),
        group,
        domain: "all".into(),
        scale,
        pairs: 9,
        questions: 9,
        shift,
        loss_rise: 0.0,
        coherent: true,
        seed: 0,
        taught_tokens: 9.0,
        other_tokens: 9.0,
        equal_shift: shift,
    }
}

fn about(value: f64, half: f64) -> Interval {
    Interval { value, low: value - half, high: value + half }
}

#[test]
fn a_certificate_counts_what_is_not_known_of_either_shift() {
    let none = Interval::bare;
    for (narrow, general, expected) in [
        (about(1.0, 0.0), about(0.2, 0.04), Some(true)),
        (about(1.0, 0.0), about(0.2, 0.06), Some(false)),
        // The same outside, a shift inside that may be smaller.
        (about(1.0, 0.1), about(0.2, 0.04), Some(true)),
        (about(1.0, 0.2), about(0.2, 0.04), Some(false)),
        (about(1.0, 0.9), about(0.01, 0.01), Some(true)),
        // A shift inside that may be none.
        (about(1.0, 1.0), about(0.0, 0.01), None),
        (about(-1.0, 0.1), about(0.0, 0.01), None),
        // Too few questions on one side.
        (none(1.0), about(0.2, 0.04), None),
        (about(1.0, 0.1), none(0.0), None),
        (about(1.0, 0.1), about(-0.2, 0.04), Some(true)),
    ] {
        let shifts = [(Group::Narrow, narrow), (Group::General, general)];
        let found = certificate(&shifts.map(|(group, of)| shift("one", group, 1.0, of)), 0.25);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].holds, expected, "{narrow:?} {general:?}");
        let share = found[0].share;
        assert_eq!(share.is_nan(), expected.is_none());
        assert!(share.is_nan() || share >= general.high / narrow.value, "{share}");
    }
}

#[test]
fn two_seeds_have_no_interval() {
    let seeds = |count: u64| {
        let rows: Vec<_> = (0..count).flat_map(|s| [("one", s), ("other", s)]).collect();
        let name = |name: &str, seed: u64| format!("{name}-{seed}");
        let members: Vec<_> = rows
            .iter()
            .map(|&(family, seed)| Member { solution: name(family, seed), family: family.into(), seed })
            .collect();
        let value = |family: &str, seed: u64| seed as f64 + if family == "one" { 0.1 } else { 0.0 };
        let shifts: Vec<_> = rows
            .iter()
            .map(|&(family, seed)| {
                shift(&name(family, seed), Group::Narrow, 1.0, Interval::bare(value(family, seed)))
            })
            .collect();
        families(&shifts, &members)[0].shift.is_known()
    };
    assert!(!seeds(2));
    assert!(seeds(3));
}
