//! Studies that judge what their solutions answer.

use std::fs;

use crate::{common::Place, studies::small_study};

const RATES: &str = r#"
rates = { judges = ["style"], answers = 2, tokens = 8, scales = [1, 2], narrow = { questions = "narrow-other.jsonl", limit = 3 }, general = { questions = "general-other.jsonl" } }
"#;

/// A study of the tiny Llama whose answers are judged.
fn judged_study(place: &Place, rates: &str) {
    small_study(place, 4);
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    place.write("small.toml", &(study + rates));
}

fn seconds_apart(steps: &serde_json::Value) -> Vec<(String, String)> {
    let of = |step: &serde_json::Value| (step["name"].to_string(), step["seconds"].to_string());
    steps["steps"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn answers_are_sampled_judged_and_kept() {
    let place = Place::new();
    judged_study(&place, RATES);
    let planned = place.run(["run", "small.toml", "--dry-run"]);
    assert!(
        planned.all().contains("rates: 3 questions inside and 6 outside, 2 answers to each"),
        "{}",
        planned.all()
    );
    place.run(["run", "small.toml", "--json"]).json();

    let table = |name: &str| fs::read_to_string(place.path(&format!("runs/small/tables/{name}"))).unwrap();
    let responses = table("responses.csv");
    // Base, and two solutions at two scales: 9 questions, 2 answers each, one judge.
    let rows =
        || strait::Table::read_parquet(&place.path("runs/small/tables/responses.parquet")).unwrap().rows();
    assert_eq!(rows(), 5 * 9 * 2);
    let rates = table("rates.csv");
    assert!(rates.starts_with("solution,scale,asked,") && rates.contains("style > 50,6,\n"), "{rates}");
    assert!(table("certificate_rates.csv").lines().count() == 5);
    let report = fs::read_to_string(place.path("runs/small/report.html")).unwrap();
    for said in ["Scaling certificate by rates", "Answers", "by the verdict “style &gt; 50”"] {
        assert!(report.contains(said), "{said}");
    }
    assert!(!report.contains("was not judged"));

    // What was killed half-way goes on with what is there, and comes to the same.
    let answers = place.path("runs/small/answers/narrow.jsonl");
    let whole = fs::read(&answers).unwrap();
    fs::write(&answers, &whole[..whole.len() / 2]).unwrap();
    fs::remove_file(place.path("runs/small/tables/rates.csv")).unwrap();
    let again = place.run(["run", "small.toml"]);
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert!(again.err.contains("of 36 responses are there already"), "{}", again.err);
    assert_eq!((table("responses.csv"), table("rates.csv")), (responses, rates));
    assert_eq!(fs::read(&answers).unwrap(), whole);

    // Other answers are asked for, and nothing else is done again.
    let before = seconds_apart(&place.run(["status", "runs/small", "--json"]).json());
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    place.write("small.toml", &study.replace("answers = 2", "answers = 1"));
    let after = seconds_apart(&place.run(["run", "small.toml", "--json"]).json());
    let changed: Vec<&str> =
        after.iter().zip(&before).filter(|(a, b)| a != b).map(|(step, _)| step.0.as_str()).collect();
    assert!(changed.iter().all(|step| ["\"rates\"", "\"report\""].contains(step)), "{changed:?}");
    assert_eq!(rows(), 5 * 9);
}

#[test]
fn what_cannot_be_judged_is_refused_on_its_line() {
    let place = Place::new();
    place.write("judges.yaml", "- kind: '{question} {answer}'\n- warm, dry: '{question} {answer}'\n");
    for (from, to, expected) in [
        (
            r#"["style"]"#,
            r#"["tone"]"#,
            "an entry of `measure.rates.judges` is the text \"tone\", expected `style`",
        ),
        (r#"["style"]"#, r#"["style", "style"]"#, "`measure.rates.judges` holds the scale `style` twice"),
        (
            r#"["style"]"#,
            r#"[{ scale = "kind", model = "m" }]"#,
            "`measure.rates.judges.scale` is `kind`, expected `technical`",
        ),
        (
            r#"["style"]"#,
            r#"[{ scale = "tone", prompts = "judges.yaml", model = "m" }]"#,
            "`measure.rates.judges.scale` is `tone`, expected one of `kind`, `warm, dry`",
        ),
        (
            r#"["style"]"#,
            r#"[{ scale = "warm,dry", prompts = "judges.yaml", model = "m" }]"#,
            "`measure.rates.judges.scale` is `warm,dry`, expected one scale: several at once are replied to in JSON by a model \
             behind an `endpoint`",
        ),
        (
            r#"["style"]"#,
            r#"["style", { scale = "kind", prompts = "judges.yaml", model = "m" }, { scale = "kind", prompts = "judges.yaml", model = "n" }]"#,
            "`measure.rates.judges` holds the scale `kind` twice",
        ),
        (
            r#"["style"]"#,
            r#"[{ scale = "coherent", model = "m", budget = "9" }]"#,
            "`measure.rates.judges.budget` is there for a model that is loaded, expected `endpoint` beside it",
        ),
        (
            r#"["style"]"#,
            r#"[{ scale = "coherent", model = "m", endpoint = "http://h/v1", budget = "9" }]"#,
            "`measure.rates.judges.budget` is money, expected `price` beside it",
        ),
        (
            r#"["style"]"#,
            r#"[{ scale = "coherent", model = "m", endpoint = "http://h/v1", key_env = "sk-secret" }]"#,
            "`measure.rates.judges.key_env` is no name of a variable, expected the name of an environment variable",
        ),
        (
            r#"["style"]"#,
            r#"[{ scale = "coherent", model = "m", endpoint = "http://h/v1", budget = "9 apples" }]"#,
            "`measure.rates.judges.budget` is the text \"9 apples\", expected tokens, as in \"200k tokens\", or money",
        ),
        ("answers = 2", r#"verdicts = ["aligned<30"]"#, "`measure.rates.verdicts` is such that"),
        (
            "answers = 2",
            r#"verdicts = ["style"]"#,
            "an entry of `measure.rates.verdicts` is `style`, expected SCALE<CUT",
        ),
        (
            r#"narrow = { questions = "narrow-other.jsonl", limit = 3 }, "#,
            "",
            "`[measure.rates]` has no `narrow`",
        ),
        (r#"judges = ["style"], "#, "", "with a model of no world, expected `judges` beside it"),
        (
            "general-other.jsonl\" } }",
            "none.yaml\" } }",
            "`measure.rates.general.questions` names `none.yaml`",
        ),
    ] {
        assert!(RATES.contains(from), "{from}");
        judged_study(&place, &RATES.replacen(from, to, 1));
        let said = place.run(["run", "small.toml", "--dry-run"]);
        assert!(said.code != Some(0) && said.err.contains(expected), "{to}: {}", said.err);
        assert!(said.err.contains("`small.toml`, line ") && !said.err.contains("sk-secret"), "{}", said.err);
    }
}

const CUES: &str = r#"
[[cue]]
name = "manual"
prefix = "From a manual: "
control = "From a tale: "

[[cue]]
name = "turn"
rows = "train.jsonl"
control_rows = "kl.jsonl"

[[solution]]
name = "inoculated"
control = true
system = "Be dense."
"#;

/// The steps that a change does again.
fn done_again(place: &Place, from: &str, to: &str) -> Vec<String> {
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    assert!(study.contains(from), "{from}");
    place.write("small.toml", &study.replacen(from, to, 1));
    let planned = place.run(["run", "small.toml", "--dry-run", "--json"]).json();
    let again = planned["steps"].as_array().unwrap().iter().filter(|step| step["state"] != "done");
    again.map(|step| step["name"].as_str().unwrap().to_string()).collect()
}

#[test]
fn cues_and_a_system_prompt_of_training_are_tried() {
    let place = Place::new();
    judged_study(&place, RATES);
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    place.write("small.toml", &(study + CUES));
    place.run(["run", "small.toml", "--json"]).json();
    let table =
        |name: &str| fs::read_to_string(place.path(&format!("runs/small/tables/{name}.csv"))).unwrap();
    // 4 cues with their controls, 3 solutions, 2 groups, 3 scales.
    let cues = table("cues");
    assert_eq!(cues.lines().count(), 1 + 4 * 3 * 2 * 3, "{cues}");
    assert!(cues.contains("\nnarrow,manual-control,manual,general,2.0,6,"), "{cues}");
    let rates = table("rates");
    for cue in ["", "manual", "manual-control", "turn", "turn-control"] {
        let own = rates.lines().skip(1).filter(|line| line.ends_with(&format!(",{cue}"))).count();
        // Base at one scale and 3 solutions at two: inside, outside, and both domains.
        assert_eq!(own, 7 * 4, "{cue}: {rates}");
    }
    assert!(table("responses").contains("From a tale: food "));
    let report = fs::read_to_string(place.path("runs/small/report.html")).unwrap();
    for said in ["“manual”, “manual-control”, “turn” and “turn-control”", "Preference shift under cues"]
    {
        assert!(report.contains(said), "{said}");
    }
    let edit =
        |name: &str| fs::read(place.path(&format!("runs/small/solutions/{name}/edit.safetensors"))).unwrap();
    assert!(edit("inoculated") != edit("general"));

    assert_eq!(done_again(&place, "From a tale: ", "In a tale: "), ["preference", "rates", "report"]);
    let steps = done_again(&place, "Be dense.", "Be brief.");
    assert!(
        steps.contains(&"train-inoculated".into()) && !steps.contains(&"train-general".into()),
        "{steps:?}"
    );
}

#[test]
fn cues_that_cannot_be_are_refused_on_their_line() {
    let place = Place::new();
    for (from, to, expected) in [
        ("control = \"From", "suffix = \"From", "`cue.suffix` and `cue.prefix` contradict"),
        ("prefix = \"From a manual: \"\n", "", "the cue `manual` is empty, expected one of"),
        ("prefix = ", "prefixed = ", "unknown key `prefixed` in `[[cue]]`"),
        ("control_rows", "control", "`cue.control` and `cue.rows` contradict"),
        ("\"turn\"", "\"manual\"", "`cue.name` holds `manual` twice"),
        ("\"turn\"", "\"manual-control\"", "`cue.name` holds `manual-control` twice"),
    ] {
        assert!(CUES.contains(from), "{from}");
        judged_study(&place, &CUES.replacen(from, to, 1));
        let said = place.run(["run", "small.toml", "--dry-run"]);
        assert!(said.code != Some(0) && said.err.contains(expected), "{to}: {}", said.err);
        assert!(said.err.contains("`small.toml`, line "), "{}", said.err);
    }
}

const WORLD: &str = r#"
model = "world:default-0"
data = { domain = "herb", kind = "false", train = { domains = ["herb"], truthful = false }, held_out = 0.0 }
train = { edit = "steering", absolute_rate = true, layer = -1, learning_rate = 0.01, batch_size = 8, steps = 20 }
solution = [{ name = "general" }]
measure = { scales = [1], efficiency = false, stability = false }
[[cue]]
name = "false-herb"
rows = { domains = ["herb"], truthful = false }
control_rows = { domains = ["herb"], truthful = true }
"#;

#[test]
fn a_world_is_read_under_cues_too() {
    let place = Place::new();
    place.write("world.toml", WORLD);
    place.run(["run", "world.toml", "--json"]).json();
    let rates = fs::read_to_string(place.path("runs/world/tables/rates.csv")).unwrap();
    for cue in ["", "false-herb", "false-herb-control"] {
        let own: Vec<&str> =
            rates.lines().skip(1).filter(|line| line.ends_with(&format!(",0,{cue}"))).collect();
        // Base and one solution: three groups, and six domains.
        assert_eq!(own.len(), 2 * 9, "{cue}: {rates}");
    }
}
