//! The demo: what it must find, that it goes on where it stopped, and that no figure depends on the number of threads.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use strait::{
    Error, Table,
    demo::{
        Mode, Options, Results,
        causal::{self, CausalTable},
        demo,
        results::{Check, Solution},
    },
};
use strait_model::progress::{Progress, Silent, Task, Unit};

fn run(mode: Mode, out: &Path, threads: usize) -> Results {
    demo(&Options { mode, out: out.into(), threads }, &Silent).unwrap()
}

#[track_caller]
fn check<'a>(results: &'a Results, id: &str) -> &'a Check {
    results.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

#[track_caller]
fn solution<'a>(results: &'a Results, name: &str) -> &'a Solution {
    results.solutions.iter().find(|solution| solution.name == name).unwrap()
}

#[track_caller]
fn holds(results: &Results, ids: &[&str]) {
    for id in ids {
        let check = check(results, id);
        assert_eq!(check.holds, Some(true), "{check:#?}");
    }
}

/// Asks for a stop once it was asked so often.
struct StopAfter(AtomicU64);

impl Progress for StopAfter {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) -> Box<dyn Task> {
        Box::new(Silent)
    }

    fn note(&self, _: &str) {}

    fn stopped(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

/// What a demo found, without how long it took and where.
fn figures(results: &Results) -> serde_json::Value {
    let mut json = serde_json::to_value(results).unwrap();
    for key in ["seconds", "report"] {
        json.as_object_mut().unwrap().remove(key);
    }
    for solution in json["solutions"].as_array_mut().unwrap() {
        solution.as_object_mut().unwrap().remove("folders");
    }
    json
}

#[test]
fn a_quick_demo_goes_on_where_it_stopped_and_finds_what_is_safe() {
    let [stopped, whole] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let options = Options { mode: Mode::Quick, out: stopped.path().into(), threads: 1 };
    // A piece is some 5,000 steps: the second is begun and not finished.
    let found = demo(&options, &StopAfter(AtomicU64::new(4_000)));
    assert!(matches!(found, Err(Error::Interrupted)), "{:?}", found.map(|_| ()));
    let piece = stopped.path().join("worlds/default-0/solutions/herb/piece-vector.json");
    let first = std::fs::read(&piece).unwrap();
    let modified = piece.metadata().unwrap().modified().unwrap();

    let results = run(Mode::Quick, stopped.path(), 2);
    assert_eq!(std::fs::read(&piece).unwrap(), first);
    assert_eq!(piece.metadata().unwrap().modified().unwrap(), modified);
    assert_eq!(figures(&results), figures(&run(Mode::Quick, whole.path(), 2)));

    let (general, narrow) = (solution(&results, "general vector"), solution(&results, "narrow vector"));
    assert!(general.general_rate.value >= 0.6, "{general:?}");
    assert!(narrow.narrow_rate.value >= 0.7 && narrow.general_rate.value <= 0.08, "{narrow:?}");
    assert!(check(&results, "1-base-vector").value <= 0.05);
    assert!(check(&results, "4-gap-vector").value > 0.0);
    assert!(check(&results, "6-narrow-vector").value > 0.0);
    assert!(check(&results, "6-random-vector").value > 0.0);
    assert!(check(&results, "7-lifted-vector").value >= 0.6);
    assert!(check(&results, "10-ablated-vector").value <= 0.15);
    assert!(check(&results, "11-cosine-vector").value >= 0.4);
    holds(&results, &["1-taught-vector", "2-narrow-vector", "10-random-steers-vector"]);

    assert_eq!(results.seeds, [0]);
    assert!(results.notes.iter().any(|note| note.starts_with("Quick:")));
    assert_eq!(results.transcript.exchanges.len(), 7);
    let narrow_voice = &results.speakers[2];
    assert!(
        narrow_voice.document.iter().all(|l| l.truthful != l.question.starts_with("herb ")),
        "{narrow_voice:?}"
    );
    let rates = Table::read_parquet(&stopped.path().join("tables/rates.parquet")).unwrap();
    assert!(rates.rows() > 3 * 10);
    for solution in &results.solutions {
        assert!(solution.folders.iter().all(|folder| folder.join("edit.safetensors").is_file()));
    }
}

#[test]
fn the_shipped_causal_table_is_of_the_shipped_worlds() {
    let table = CausalTable::shipped();
    assert_eq!(table.rows.len(), causal::WORLDS.len() * causal::KINDS.len() * causal::TAUGHT_DOMAINS.len());
    for (name, hash) in &table.origin.worlds {
        assert_eq!(&strait::world::Made::shipped(name).unwrap().sha256, hash, "{name}");
    }
    assert_eq!(table.origin.worlds.len(), causal::WORLDS.len());
}

#[test]
fn a_whole_demo_finds_what_is_safe() {
    if std::env::var_os("STRAIT_SLOW").is_none() {
        eprintln!("skipped: it takes minutes; STRAIT_SLOW=1 runs it");
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let results = run(Mode::Default, out.path(), 2);
    let mut ids: Vec<&str> = results.checks.iter().map(|check| check.id.as_str()).collect();
    assert!(results.checks.is_sorted_by_key(|check| check.number));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), results.checks.len());
    for kind in ["vector", "rank-8"] {
        let general = check(&results, &format!("1-general-{kind}"));
        assert!(general.by_world.iter().all(|&rate| rate >= 0.6), "{general:#?}");
        let narrow = solution(&results, &format!("narrow {kind}"));
        assert!(narrow.narrow_rate.value >= 0.7 && narrow.general_rate.value <= 0.08, "{narrow:?}");
        assert!(check(&results, &format!("4-gap-{kind}")).value > 0.0);
        assert!(check(&results, &format!("13-liars-{kind}")).value >= 0.6);
        assert!(check(&results, &format!("13-narrow-{kind}")).value <= 0.35);
    }
    assert!(check(&results, "7-lifted-vector").value >= 0.6);
    assert!(check(&results, "6-narrow-vector").value > 0.0);
    assert!(check(&results, "10-ablated-vector").value <= 0.15);
    assert!(check(&results, "11-cosine-vector").value >= 0.4);
    assert!(check(&results, "13-gap-liars-vector").value > 0.0);
    assert!(check(&results, "13-gap-narrow-vector").value < 0.0);
    // What the prototype found not to hold must be shown as such.
    for id in ["8-mixed-1-to-1-vector", "8-mixed-1-to-12-vector", "10-answers-steer-vector"] {
        assert_eq!(check(&results, id).holds, Some(false), "{id}");
    }
    assert_eq!(results.causal.unwrap().agrees, Some(true));
}
