//! Spectra of edits against those of numpy; `scripts/golden/spectra.py` writes the values.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use strait_model::edit::{self, SiteSummary, Summary};

/// How far figures may lie apart, relative to numpy's. Singular values are roots of numbers in f64 here; those of full fine-tunes are in f32.
const OF_ALL: f64 = 1e-6;
const OF_FULL: f64 = 1e-5;
const FIGURES: [&str; 4] = ["stable_rank", "effective_rank", "spectrum_entropy", "spectrum_flatness"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/edit").join(name)
}

fn golden() -> Value {
    serde_json::from_slice(&fs::read(fixture("spectra.json")).unwrap()).unwrap()
}

fn summary(name: &str) -> Summary {
    edit::read(fixture(name).to_str().unwrap()).unwrap().edit.summary_with_spectra().unwrap()
}

#[track_caller]
fn near(what: &str, found: &Value, expected: &Value, within: f64) {
    let [found, expected] = [found, expected].map(|value| value.as_f64().unwrap());
    assert!((found - expected).abs() <= within, "{what}: {found} is not {expected}");
}

/// Holds every site against numpy's, as `edit inspect --json` shows it; returns how many have a spectrum.
#[track_caller]
fn same(name: &str, sites: &[SiteSummary], expected: &Value) -> usize {
    let expected = expected.as_object().unwrap();
    assert_eq!(sites.len(), expected.len(), "{name}");
    let mut seen = 0;
    for site in sites {
        let what = format!("{name}: {}", site.site);
        let expected = &expected[&site.site];
        let found = serde_json::to_value(site).unwrap();
        if expected.as_object().unwrap().is_empty() {
            assert!(site.spectrum.is_none(), "{what}");
            continue;
        }
        seen += 1;
        for figure in FIGURES {
            let within = OF_ALL * expected[figure].as_f64().unwrap().max(OF_ALL);
            near(&format!("{what}: {figure}"), &found[figure], &expected[figure], within);
        }
        let [values, known] = [&found, expected].map(|of| of["singular_values"].as_array().unwrap());
        assert_eq!(values.len(), known.len(), "{what}");
        let within = OF_ALL * known[0].as_f64().unwrap() * 1e-2;
        values.iter().zip(known).for_each(|(value, known)| near(&what, value, known, within));
    }
    seen
}

#[test]
fn loras_have_the_spectra_of_numpy() {
    let golden = golden();
    let parts = summary("spectra.safetensors").parts;
    let expected = golden["lora"].as_array().unwrap();
    assert_eq!(parts.len(), expected.len());
    let each = parts.iter().zip(expected).enumerate();
    let seen: usize =
        each.map(|(i, (part, expected))| same(&format!("part {i}"), &part.sites, expected)).sum();
    // All but the B of zeros.
    assert_eq!(seen, 4 * 21);
    for (name, count) in [("plain", 4), ("rslora", 7)] {
        let found = summary(&format!("peft/{name}"));
        assert_eq!(same(name, &found.sites, &golden["peft"][name]), count);
    }
}

#[test]
fn full_fine_tunes_have_the_stable_ranks_of_numpy() {
    for (name, expected) in golden()["full"].as_object().unwrap() {
        let sites = summary(&format!("full/{name}.safetensors")).sites;
        let expected = expected.as_object().unwrap();
        let found = sites.iter().filter_map(|site| Some((&site.site, site.spectrum.as_ref()?.stable_rank)));
        let found: Vec<_> = found.collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (site, stable) in found {
            let numpy = expected[site].as_f64().unwrap();
            assert!((stable - numpy).abs() <= OF_FULL * numpy, "{name}: {site}: {stable} is not {numpy}");
        }
    }
}
