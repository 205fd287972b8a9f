//! Logistic probes: the minimum by its conditions, scikit-learn's values, and repeats.

use std::{fs, path::Path};

use proptest::prelude::*;
use serde::Deserialize;
use strait::probe::{Logistic, Penalty, Problem, Quality, Repeats, Tested, repeated};

#[derive(Deserialize)]
struct Golden {
    features: Vec<Vec<f64>>,
    positive: Vec<bool>,
    fits: Vec<Fit>,
}

#[derive(Deserialize)]
struct Fit {
    penalty: String,
    c: f64,
    standardise: bool,
    weights: Vec<f64>,
    intercept: f64,
    scores: Vec<f64>,
    accuracy: f64,
    precision: f64,
    recall: f64,
    f1: f64,
    auroc: f64,
}

#[test]
fn weights_are_those_of_scikit_learn() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/probe.json");
    let golden: Golden = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(golden.fits.len(), 8);
    for fit in &golden.fits {
        let penalty = if fit.penalty == "l1" { Penalty::L1 } else { Penalty::L2 };
        let settings = Logistic { penalty, c: fit.c, standardise: fit.standardise };
        let probe = settings.learn(&golden.features, &golden.positive).unwrap();
        let near = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 2e-5, "{settings:?}: {found} for {expected}");
        };
        probe.weights.iter().zip(&fit.weights).for_each(|(found, expected)| near(*found, *expected));
        near(probe.intercept, fit.intercept);
        let scores: Vec<f64> = golden.features.iter().map(|row| probe.score(row)).collect();
        scores.iter().zip(&fit.scores).for_each(|(found, expected)| near(*found, *expected));
        let quality = Quality::of(&scores, &golden.positive);
        for (found, expected) in [
            (quality.accuracy, fit.accuracy),
            (quality.precision, fit.precision),
            (quality.recall, fit.recall),
            (quality.f1, fit.f1),
            (quality.auroc, fit.auroc),
        ] {
            assert!((found - expected).abs() < 1e-12, "{settings:?}: {found} for {expected}");
        }
    }
}

#[test]
fn repeats_balance_the_kinds_and_are_the_same_again() {
    // One feature tells the kinds apart, but for every seventh row.
    let positive: Vec<bool> = (0..60).map(|i| i % 3 == 0).collect();
    let feature = |(i, is): (usize, &bool)| vec![f64::from(u8::from(*is != (i % 7 == 0))), (i as f64).sin()];
    let features: Vec<Vec<f64>> = positive.iter().enumerate().map(feature).collect();
    let settings = Logistic { penalty: Penalty::L1, c: 1.0, standardise: true };
    let repeats = Repeats { count: 20, ..Repeats::default() };
    let each_alone: Vec<usize> = (0..60).collect();
    let repeated = |features: &[Vec<f64>], groups: &[usize], repeats| {
        repeated(features, &positive, groups, &settings, repeats, &|_| Ok(())).unwrap()
    };
    let found = repeated(&features, &each_alone, repeats);
    assert_eq!(found.len(), 20);
    assert_eq!(repeated(&features, &each_alone, repeats), found);
    let accuracy = |found: &[Tested]| {
        found.iter().map(|tested| tested.quality.accuracy).sum::<f64>() / found.len() as f64
    };
    assert!((0.7..0.98).contains(&accuracy(&found)), "{}", accuracy(&found));
    // Four of each kind are tested: shares are eighths.
    assert!(found.iter().all(|tested| (tested.quality.accuracy * 8.0).fract() == 0.0));
    assert!(found.iter().all(|tested| tested.probe.weights[0] > tested.probe.weights[1].abs()));
    // Noise is noise.
    let noise: Vec<Vec<f64>> = (0..60).map(|i| vec![(i as f64 * 12.9898).sin()]).collect();
    let found = repeated(&noise, &each_alone, Repeats::default());
    let mean = found.iter().map(|tested| tested.quality.auroc).sum::<f64>() / found.len() as f64;
    assert!((0.35..0.65).contains(&mean), "{mean}");
}

#[test]
fn groups_are_divided_whole() {
    // Every group of three rows has features of its own, by which its rows would be known again; nothing else tells the kinds apart.
    let groups: Vec<usize> = (0..90).map(|row| row / 3).collect();
    let positive: Vec<bool> = groups.iter().map(|group| group % 2 == 0).collect();
    let own = |&group: &usize| (0..30).map(|i| f64::from(u8::from(i == group))).collect::<Vec<f64>>();
    let features: Vec<Vec<f64>> = groups.iter().map(own).collect();
    let settings = Logistic { penalty: Penalty::L2, c: 1.0, standardise: false };
    let auroc = |groups: &[usize]| {
        let found =
            repeated(&features, &positive, groups, &settings, Repeats::default(), &|_| Ok(())).unwrap();
        found.iter().map(|tested| tested.quality.auroc).sum::<f64>() / found.len() as f64
    };
    let each_alone: Vec<usize> = (0..90).collect();
    assert!(auroc(&each_alone) > 0.9, "{}", auroc(&each_alone));
    assert!((0.4..0.6).contains(&auroc(&groups)), "{}", auroc(&groups));
    // Groups with rows of both kinds stay together too.
    let pairs: Vec<usize> = (0..90).map(|row| row / 6).collect();
    assert!((0.3..0.7).contains(&auroc(&pairs)), "{}", auroc(&pairs));
}

#[test]
fn a_minimum_at_zero_is_found() {
    // As many rows of either kind, and a penalty that leaves no weight: the intercept has nothing but rounding to follow.
    let positive: Vec<bool> = (0..90).map(|row| row % 2 == 0).collect();
    let features: Vec<Vec<f64>> =
        (0..90).map(|row| vec![(row as f64 * 12.9898).sin(), (row as f64 * 78.233).sin()]).collect();
    for c in [1e-4, 1e-3, 1e-2] {
        let settings = Logistic { penalty: Penalty::L1, c, standardise: true };
        let probe = settings.learn(&features, &positive).unwrap();
        assert_eq!(probe.weights, [0.0, 0.0]);
        assert!(probe.intercept.abs() < 1e-9, "{}", probe.intercept);
    }
}

#[test]
fn what_no_probe_learns_from_is_refused() {
    let settings = Logistic { penalty: Penalty::L2, c: 1.0, standardise: true };
    let refused = |features: &[Vec<f64>], positive: &[bool], settings: Logistic, expected: Problem| {
        let error = settings.learn(features, positive).unwrap_err();
        assert_eq!(error.problem::<Problem>(), Some(&expected), "{error}");
        assert!(error.hint().is_some());
    };
    let rows = vec![vec![1.0], vec![2.0], vec![3.0]];
    let kinds = [true, false, true];
    refused(&rows, &kinds[..2], settings, Problem::Labels { rows: 3, labels: 2 });
    refused(&rows, &[true; 3], settings, Problem::OneKind { rows: 3 });
    let ragged = [vec![1.0], vec![2.0, 1.0], vec![3.0]];
    refused(&ragged, &kinds, settings, Problem::Width { row: 1, found: 2, expected: 1 });
    let infinite = [vec![1.0], vec![f64::INFINITY], vec![3.0]];
    refused(&infinite, &kinds, settings, Problem::NotFinite { row: 1, feature: 0, value: f64::INFINITY });
    refused(&rows, &kinds, Logistic { c: 0.0, ..settings }, Problem::Weight { c: 0.0 });
    let error = repeated(&rows, &kinds, &[0, 1, 2], &settings, Repeats::default(), &|_| Ok(())).unwrap_err();
    assert_eq!(error.problem::<Problem>(), Some(&Problem::TooFew { groups: 1 }));
    let error = repeated(&rows, &kinds, &[0, 1], &settings, Repeats::default(), &|_| Ok(())).unwrap_err();
    assert_eq!(error.problem::<Problem>(), Some(&Problem::Labels { rows: 3, labels: 2 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// At the minimum nothing pulls: the losses' gradient is what the penalty's is at every weight, and none at the intercept.
    #[test]
    fn no_weight_could_be_better(
        rows in prop::collection::vec((prop::collection::vec(-2.0..2.0f64, 4), any::<bool>()), 6..30),
        c in 0.02..5.0f64, l1 in any::<bool>(),
    ) {
        let (features, positive): (Vec<Vec<f64>>, Vec<bool>) = rows.into_iter().unzip();
        prop_assume!(positive.contains(&true) && positive.contains(&false));
        let penalty = if l1 { Penalty::L1 } else { Penalty::L2 };
        let probe = Logistic { penalty, c, standardise: false }.learn(&features, &positive).unwrap();
        let errors: Vec<f64> = features
            .iter()
            .zip(&positive)
            .map(|(row, is)| c * (1.0 / (1.0 + (-probe.score(row)).exp()) - f64::from(u8::from(*is))))
            .collect();
        prop_assert!(errors.iter().sum::<f64>().abs() < 1e-5);
        for (column, weight) in probe.weights.iter().enumerate() {
            let pull: f64 = features.iter().zip(&errors).map(|(row, error)| row[column] * error).sum();
            match penalty {
                Penalty::L2 => prop_assert!((pull + weight).abs() < 1e-5),
                Penalty::L1 if *weight == 0.0 => prop_assert!(pull.abs() < 1.0 + 1e-5),
                Penalty::L1 => prop_assert!((pull + weight.signum()).abs() < 1e-5, "{pull} {weight}"),
            }
        }
    }
}
