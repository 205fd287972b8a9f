//! The whole demo, and the table that is shipped. The quick demo is tested through the command, in `strait-cli`, once for both.

use strait::{
    demo::{
        Mode, Options, Results,
        causal::{self, CausalTable},
        demo,
        results::Solution,
    },
    suite::Check,
};
use strait_model::progress::Silent;

#[track_caller]
fn check<'a>(results: &'a Results, id: &str) -> &'a Check {
    results.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

#[track_caller]
fn solution<'a>(results: &'a Results, name: &str) -> &'a Solution {
    results.solutions.iter().find(|solution| solution.name == name).unwrap()
}

#[test]
fn the_shipped_causal_table_is_of_the_shipped_worlds() {
    let table = CausalTable::shipped();
    assert_eq!(table.rows.len(), causal::WORLDS.len() * causal::KINDS.len() * causal::TAUGHT_DOMAINS.len());
    for (name, hash) in &table.origin.worlds {
        assert_eq!(&strait::world::Provenance::shipped(name).unwrap().sha256, hash, "{name}");
    }
    assert_eq!(table.origin.worlds.len(), causal::WORLDS.len());
}

mod needs_minutes {
    use super::*;

    #[test]
    #[ignore = "needs minutes"]
    fn a_whole_demo_finds_what_is_safe() {
        let out = tempfile::tempdir().unwrap();
        let options = Options { mode: Mode::Default, out: out.path().into(), threads: 2, memory: None };
        let results = demo(&options, &Silent).unwrap();
        let mut ids: Vec<&str> = results.checks.iter().map(|check| check.id.as_str()).collect();
        assert!(results.checks.is_sorted_by_key(|check| check.number));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), results.checks.len());
        for kind in ["vector", "rank-8"] {
            let general = check(&results, &format!("1-general-{kind}"));
            assert!(general.groups.means.iter().all(|&rate| rate >= 0.6), "{general:#?}");
            let narrow = solution(&results, &format!("narrow {kind}"));
            assert!(narrow.narrow_rate.value >= 0.7 && narrow.general_rate.value <= 0.08, "{narrow:?}");
            assert!(check(&results, &format!("4-gap-{kind}")).figure.value > 0.0);
            assert!(check(&results, &format!("13-liars-{kind}")).figure.value >= 0.6);
            assert!(check(&results, &format!("13-narrow-{kind}")).figure.value <= 0.35);
        }
        assert!(check(&results, "7-lifted-vector").figure.value >= 0.6);
        assert!(check(&results, "6-narrow-vector").figure.value > 0.0);
        assert!(check(&results, "10-ablated-vector").figure.value <= 0.15);
        assert!(check(&results, "11-cosine-vector").figure.value >= 0.4);
        assert!(check(&results, "13-gap-liars-vector").figure.value > 0.0);
        assert!(check(&results, "13-gap-narrow-vector").figure.value < 0.0);
        // What the prototype found not to hold must be shown as such.
        for id in ["8-mixed-1-to-1-vector", "8-mixed-1-to-12-vector", "10-answers-steer-vector"] {
            assert_eq!(check(&results, id).holds, Some(false), "{id}");
        }
        assert_eq!(results.causal.agrees, Some(true));
    }
}
