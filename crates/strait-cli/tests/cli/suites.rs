//! Suites: one study for each combination of values, in one folder, with one report.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{common::Place, studies::small_study};

/// A suite of four studies of the tiny Llama.
fn small_suite(place: &Place) {
    small_study(place, 2);
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    let template = study.replace("steps = 2", "steps = {{steps}}") + "\n[seeds]\norder = {{order}}\n";
    place.write("template.toml", &template);
    let suite = "title = \"Four\"\n[suite]\ntemplate = \"template.toml\"\n[suite.values]\nsteps = [2, 3]\norder = [0, 1]\n";
    place.write("four.toml", suite);
}

/// A claim of its own, which lacks its bound.
const CLAIM: &str = "[[claim]]
title = \"Training lowers the loss\"
table = \"efficiency\"
column = \"gain\"
along = \"norm\"
rows = { kind = \"shared\" }
[[claim.plot]]
name = \"gains\"
title = \"Gains\"
shape = \"lines\"
series = [{ rows = { solution = \"general\" } }]
[[claim.part]]
id = \"gain\"
claim = \"The general solution gains at most norms\"
rows = { solution = \"general\" }
without = { norm = 0 }
take = \"above\"
";

const BOUND: &str = "bound = { above = 0.5 }\n";

#[test]
fn a_suite_makes_claims_of_its_own() {
    let place = Place::new();
    small_suite(&place);
    let suite = fs::read_to_string(place.path("four.toml")).unwrap();
    let head = "each = \"steps\"\nagree = \"order\"\n";
    place.write(
        "four.toml",
        &format!(
            "{head}{suite}{CLAIM}{BOUND}[figures]\nloss = {{ table = \"efficiency\", column = \"loss\" }}\n"
        ),
    );
    let said = place.run(["run", "four.toml"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out.contains("The general solution gains at most norms (3; claimed: above 0.5)"),
        "{}",
        said.out
    );
    let found = place.run(["run", "four.toml", "--json"]).json();
    let checks = found["checks"].as_array().unwrap();
    let ids: Vec<&str> = checks.iter().map(|check| check["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["gain-2", "gain-3"]);
    assert!(
        checks.iter().all(|check| check["n"] == 2 && check["by_order"].as_array().unwrap().len() == 2),
        "{checks:?}"
    );
    let tables = place.path("runs/four/tables");
    for (name, head) in
        [("suite_claims", "id,number,claim"), ("plot_gains-2", "series,at,"), ("figures", "steps,order,loss")]
    {
        let table = fs::read_to_string(tables.join(format!("{name}.csv"))).unwrap();
        assert!(table.starts_with(head), "{name}: {table}");
    }
    let page = fs::read_to_string(place.path("runs/four/report.html")).unwrap();
    assert!(page.contains("Training lowers the loss") && page.contains("id=\"claim-1\""));
}

#[test]
fn a_suite_runs_every_combination_and_counts_its_claims() {
    let place = Place::new();
    small_suite(&place);
    let plan = place.run(["run", "four.toml", "--dry-run", "--json"]).json();
    let names = ["four-2-0", "four-2-1", "four-3-0", "four-3-1"];
    let studies = |found: &Value| -> Vec<String> {
        found["studies"].as_array().unwrap().iter().map(|s| s["study"].as_str().unwrap().into()).collect()
    };
    assert_eq!(studies(&plan), names);
    assert!(!place.path("runs").exists());

    let said = place.run(["run", "four.toml", "--jobs", "2"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out.contains("claim, over all studies") && said.out.contains("report: runs/four/report.html")
    );
    let out = place.path("runs/four");
    for name in names {
        assert!(out.join(name).join("report.html").is_file(), "{name}");
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("href=\"four-3-1/report.html\"") && page.contains("Four"));

    // Each table has the rows of all studies, which begin with their values.
    let table = fs::read_to_string(out.join("tables/efficiency.csv")).unwrap();
    let (head, rows) = table.split_once('\n').unwrap();
    assert!(head.starts_with("steps,order,solution,"), "{head}");
    let own = fs::read_to_string(out.join("four-2-0/tables/efficiency.csv")).unwrap();
    assert_eq!(rows.lines().count(), 4 * (own.lines().count() - 1));
    assert!(rows.starts_with("2,0,") && rows.contains("\n3,1,"));

    // What is finished is not done again, and every claim is counted once a study.
    let record = out.join("four-2-0/steps/train-general.json");
    let before = fs::read(&record).unwrap();
    let found = place.run(["run", "four.toml", "--json"]).json();
    assert_eq!(fs::read(&record).unwrap(), before);
    assert_eq!(studies(&found), names);
    for claim in found["claims"].as_array().unwrap() {
        let counts: u64 = ["yes", "no", "open"].iter().map(|key| claim[key].as_u64().unwrap()).sum();
        assert_eq!(counts, 4, "{claim}");
    }
}

#[test]
fn a_study_that_another_run_is_at_is_left_to_it() {
    let place = Place::new();
    small_suite(&place);
    let folder = place.path("runs/four/four-2-1");
    fs::create_dir_all(&folder).unwrap();
    let lock = fs::File::create(folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    let said = place.run(["run", "four.toml"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("four-2-1: another run is at work on it"), "{}", said.err);
    assert!(said.out.contains("other runs are at work on 1 of 4 studies"), "{}", said.out);
    drop(lock);
    let found = place.run(["run", "four.toml", "--json"]).json();
    assert!(found["studies"].as_array().unwrap().iter().all(|study| study["conclusion"].is_object()));

    // Each study's progress, and a damage that is found.
    let said = place.run(["status", "runs/four"]);
    assert!(said.out.contains("four-3-1") && said.code == Some(0), "{}", said.all());
    fs::write(folder.join("solutions/general/edit.safetensors"), "").unwrap();
    let said = place.run(["status", "runs/four"]);
    assert!(said.out.contains("damaged") && said.code == Some(1), "{}", said.all());
}

#[test]
fn a_suite_that_does_not_fit_its_template_is_refused() {
    let place = Place::new();
    small_suite(&place);
    let suite = fs::read_to_string(place.path("four.toml")).unwrap();
    for (name, text, expected) in [
        ("less", suite.replace("order = [0, 1]\n", ""), "line 34 of the template has the hole `order`"),
        ("more", suite.clone() + "rank = [1]\n", "the template has no hole `{{rank}}`"),
        ("same", suite.replace("[0, 1]", "[\"1\", 1]"), "two of its studies are called `same-2-1`"),
        ("none", suite.replace("[2, 3]", "[]"), "at least one value"),
        ("each", format!("each = \"rank\"\n{suite}"), "the template has no hole `{{rank}}`"),
        ("twice", suite.clone() + CLAIM + BOUND + CLAIM + BOUND, "`claim.part.id` holds `gain` twice"),
        ("bound", suite.clone() + CLAIM + "bound = { under = 0.5 }\n", "one number, `above` or `below`"),
        ("key", suite.replace("template =", "templates ="), "unknown key `templates`"),
    ] {
        let file = format!("{name}.toml");
        place.write(&file, &text);
        let said = place.run(["run", &file]);
        assert_eq!(said.code, Some(1), "{name}: {}", said.err);
        assert!(said.err.contains(expected), "{name}: {}", said.err);
        assert!(!place.path("runs").exists(), "{name}");
    }
}

#[test]
fn studies_that_sweep_other_keys_are_joined_and_tables_of_before_are_deleted() {
    let place = Place::new();
    small_study(&place, 2);
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    let template = study.replace("learning_rate = 0.01", "learning_rate = {{learning_rate}}");
    place.write("template.toml", &template);
    let values = "learning_rate = [\"0.01\", \"[0.01, 0.02]\"]\n";
    place.write("two.toml", &format!("[suite]\ntemplate = \"template.toml\"\n[suite.values]\n{values}"));
    let said = place.run(["run", "two.toml"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let tables = place.path("runs/two/tables");
    let solutions = fs::read_to_string(tables.join("solutions.csv")).unwrap();
    let (head, rows) = solutions.split_once('\n').unwrap();
    assert!(head.starts_with("study_learning_rate,solution,") && head.ends_with(",learning_rate"), "{head}");
    assert_eq!(rows.lines().count(), 2 + 4);
    assert!(rows.lines().take(2).all(|row| row.starts_with("0.01,") && row.ends_with(',')), "{rows}");

    // A measure goes, and its table with it; what the user put there stays.
    fs::write(tables.join("mine.csv"), "x\n").unwrap();
    assert!(tables.join("significance.csv").is_file());
    let line = template.lines().find(|line| line.starts_with("significance")).unwrap();
    place.write("template.toml", &template.replace(line, ""));
    let said = place.run(["run", "two.toml"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(!tables.join("significance.csv").exists() && !tables.join("significance.parquet").exists());
    assert!(tables.join("mine.csv").is_file() && tables.join("efficiency.csv").is_file());
}

/// The suite over directions, in one world and with one domain, with trainings of so few steps.
fn directions(place: &Place, steps: usize) {
    let studies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../studies");
    let read = |name: &str| fs::read_to_string(studies.join(name)).unwrap();
    fs::create_dir(place.path("templates")).unwrap();
    let template = read("templates/directions.toml").replacen("steps = 300", &format!("steps = {steps}"), 1);
    place.write("templates/directions.toml", &template);
    let suite = read("directions.toml").replacen(
        "[\"default-0\", \"default-1\", \"default-2\"]",
        "[\"default-0\"]",
        1,
    );
    place.write("directions.toml", &suite.replacen("[\"herb\", \"stone\", \"star\"]", "[\"herb\"]", 1));
}

#[test]
fn the_suite_over_directions_is_planned() {
    let place = Place::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../studies/directions.toml");
    let plan = place.run(["run", file.to_str().unwrap(), "--out", "out", "--dry-run", "--json"]).json();
    let studies = plan["studies"].as_array().unwrap();
    assert_eq!(studies.len(), 9);
    let steps: Vec<&str> =
        studies[0]["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    for step in
        ["train-stone", "direction", "sweep", "convergence", "gradient", "turn", "trajectory", "monitor"]
    {
        assert!(steps.contains(&step), "{step}: {steps:?}");
    }
}

mod needs_minutes {
    use super::*;

    /// Short trainings find nothing; but no claim and no picture may lack its cells.
    #[test]
    #[ignore = "needs minutes"]
    fn every_claim_over_directions_has_its_figure() {
        let place = Place::new();
        directions(&place, 60);
        let mut command = place.command(["run", "directions.toml", "--json"]);
        let found = place.said(command.timeout(std::time::Duration::from_secs(600))).json();
        let checks = found["checks"].as_array().unwrap();
        assert!(checks.len() > 40, "{}", checks.len());
        for check in checks {
            assert!(check["n"] == 1 && check["value"].is_number(), "{check}");
        }
        let tables = place.path("runs/directions/tables");
        let suite = fs::read_to_string(place.path("directions.toml")).unwrap();
        let plots = suite.split("[[claim.plot]]").skip(1);
        for plot in plots {
            let name = plot.split('"').nth(1).unwrap();
            let series = plot.matches("{ label = ").count();
            let table = fs::read_to_string(tables.join(format!("plot_{name}.csv"))).unwrap();
            let labels: std::collections::BTreeSet<&str> =
                table.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
            assert!(!labels.is_empty() && labels.len() <= series, "{name}: {labels:?}");
        }
    }
}
