//! The words of the conclusion, for outcomes of every kind.

use strait::{
    Table,
    report::{conclude, terminal_verdict},
    table::Column,
};

use super::fixture::{GENERAL, HIDDEN, IDLE, NARROW, Outcome, facts, tables};

const MEASURED: [&str; 4] = ["preference", "certificate", "kl", "heldout"];

/// The conclusion as a reader meets it: headline, claims, limits, and what the terminal shows.
fn words(measured: &[&str], outcomes: &[Outcome]) -> String {
    let conclusion = conclude(&facts(), &tables(measured, outcomes));
    let mut lines = vec![conclusion.headline.clone(), String::new()];
    for claim in &conclusion.claims {
        let answer = match claim.holds {
            Some(true) => "yes",
            Some(false) => "no",
            None => "cannot be told",
        };
        let solution = claim.solution.as_deref().unwrap_or("compared");
        lines.push(format!("{solution}, {} ({}): {answer}: {}", claim.claim, claim.section, claim.words));
        lines.push(format!("    {:.3} [{:.3}, {:.3}]", claim.value, claim.low, claim.high));
    }
    lines.push(String::new());
    lines.extend(conclusion.limits.iter().map(|limit| format!("- {limit}")));
    let verdict = terminal_verdict(&conclusion);
    assert!(verdict.lines().count() <= 12, "{verdict}");
    assert!(verdict.lines().all(|line| line.chars().count() <= 100), "{verdict}");
    lines.extend([String::new(), verdict]);
    lines.join("\n")
}

/// The tables of the measures of the paper's section 10.
const COMPARED: [&str; 6] = [
    "solutions",
    "preference",
    "certificate",
    "efficiency_difference",
    "stability_difference",
    "significance_difference",
];

#[test]
fn general_is_more_efficient_stable_and_significant_than_narrow() {
    insta::assert_snapshot!(words(&COMPARED, &[GENERAL, NARROW]));
    // The order in the study decides nothing where one of them has a KL penalty and one has not.
    let claims = |outcomes: &[Outcome]| {
        let conclusion = conclude(&facts(), &tables(&COMPARED, outcomes));
        conclusion.claims.into_iter().filter(|c| c.section.starts_with("§10")).collect::<Vec<_>>()
    };
    assert_eq!(claims(&[GENERAL, NARROW]), claims(&[NARROW, GENERAL]));
    assert_eq!(claims(&[NARROW]), []);
    assert!(claims(&[GENERAL, NARROW]).iter().all(|c| c.holds == Some(true)));
    assert!(claims(&[GENERAL, Outcome { name: "twin", ..GENERAL }]).iter().all(|c| c.holds.is_none()));
}

#[test]
fn where_the_penalties_are_not_known_the_first_two_are_compared() {
    let conclusion = conclude(&facts(), &tables(&COMPARED[1..], &[NARROW, GENERAL]));
    let claims: Vec<_> = conclusion.claims.iter().filter(|c| c.section.starts_with("§10")).collect();
    assert_eq!(claims.len(), 3);
    assert!(claims.iter().all(|c| c.holds == Some(false) && c.claim.starts_with("“narrow” is more")));
}

/// With another half-width of the intervals.
fn unsure(outcome: Outcome, half: f64) -> Outcome {
    Outcome { half, ..outcome }
}

#[test]
fn general_is_general_and_narrow_is_certified() {
    insta::assert_snapshot!(words(&MEASURED, &[GENERAL, NARROW]));
}

#[test]
fn the_penalty_only_hid_the_general_solution() {
    insta::assert_snapshot!(words(&MEASURED, &[GENERAL, HIDDEN]));
}

#[test]
fn three_solutions_one_of_which_learned_nothing() {
    insta::assert_snapshot!(words(&MEASURED, &[GENERAL, NARROW, IDLE]));
}

#[test]
fn the_general_solution_did_not_act_generally() {
    let general = Outcome { shifts: [(0.25, 0.02), (0.47, 0.08), (0.8, 0.3)], ..GENERAL };
    insta::assert_snapshot!(words(&MEASURED, &[general, NARROW]));
}

#[test]
fn intervals_too_wide_to_tell() {
    insta::assert_snapshot!(words(&MEASURED, &[unsure(GENERAL, 0.18), unsure(NARROW, 0.1)]));
}

#[test]
fn without_intervals_nothing_can_be_told() {
    let outcomes = [unsure(GENERAL, f64::NAN), unsure(NARROW, f64::NAN)];
    insta::assert_snapshot!(words(&MEASURED, &outcomes));
    let conclusion = conclude(&facts(), &tables(&MEASURED, &outcomes));
    assert!(conclusion.claims.iter().all(|claim| claim.holds.is_none()));
}

#[test]
fn a_single_solution_that_is_incoherent_above_scale_one() {
    let brittle = Outcome { loss_rise: [0.4, 1.3, 3.1], ..NARROW };
    insta::assert_snapshot!(words(&MEASURED, &[brittle]));
}

#[test]
fn incoherent_from_the_start() {
    let broken = Outcome { loss_rise: [1.2, 2.3, 3.1], ..GENERAL };
    insta::assert_snapshot!(words(&MEASURED, &[broken, NARROW]));
}

#[test]
fn both_are_certified() {
    let twin = Outcome { name: "twin", ..NARROW };
    insta::assert_snapshot!(words(&MEASURED, &[NARROW, twin]));
}

#[test]
fn it_moved_away_from_what_it_was_taught() {
    let astray = Outcome { name: "astray", shifts: [(-0.2, -0.1), (-0.4, -0.2), (-0.7, -0.4)], ..NARROW };
    insta::assert_snapshot!(words(&MEASURED, &[astray]));
}

#[test]
fn no_pairs_so_only_the_held_out_loss() {
    insta::assert_snapshot!(words(&["solutions", "heldout"], &[GENERAL, NARROW]));
}

#[test]
fn nothing_was_measured() {
    insta::assert_snapshot!(words(&[], &[]));
}

#[test]
fn many_solutions_fit_the_terminal() {
    let names = ["a", "b-with-a-very-long-name-that-nobody-would-type", "c", "d", "e", "f", "g", "h", "i"];
    let all = [GENERAL, NARROW, HIDDEN, IDLE].into_iter().cycle();
    let outcomes: Vec<_> = names.iter().zip(all).map(|(name, outcome)| Outcome { name, ..outcome }).collect();
    words(&MEASURED, &outcomes);
}

#[test]
fn what_a_measure_names_beside_the_solutions_is_no_solution() {
    let base = Column::Text(vec!["base model".into()]);
    let mut tables = tables(&["solutions", "preference"], &[NARROW]);
    tables.push(Table::new("rates", "").with_column("solution", "", base));
    let conclusion = conclude(&facts(), &tables);
    assert!(!conclusion.headline.contains("base model"), "{}", conclusion.headline);
    let named = |name: &str| conclusion.claims.iter().any(|claim| claim.solution.as_deref() == Some(name));
    assert!(named("narrow") && !named("base model"));
}

#[test]
fn json_has_null_where_nothing_can_be_told() {
    let conclusion = conclude(&facts(), &tables(&["solutions"], &[NARROW]));
    let json = serde_json::to_value(&conclusion).unwrap();
    let claim = &json["claims"][0];
    assert_eq!(claim["solution"], "narrow");
    for key in ["holds", "value", "low", "high"] {
        assert!(claim[key].is_null(), "{key}: {claim}");
    }
}
