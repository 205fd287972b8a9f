//! Studies on worlds: their rows, their text, and the keys that the demo's trainings need.

use std::path::Path;

use strait::{
    data::read_chats,
    study::{Plan, Rows, Study, StudyFile},
    world::{Entities, World},
};
use strait_model::progress::Silent;

const STUDY: &str = r#"
model = "world:default-0"

[data]
domain = "herb"
train = { domains = ["herb"], truthful = false }

[train]
steps = 10
layer = 0

[[solution]]
name = "general"

[[solution]]
name = "narrow"
kl = { weight = 3.0, rows = { domains = ["star", "bird"], truthful = true } }

[[solution]]
name = "everywhere"
absolute_rate = true
order_seed = 57
mix = { rows = { world = "middle-1", domains = ["star"], truthful = false }, ratio = 1, every = true }
"#;

fn read(folder: &Path, text: &str) -> strait::Result<Study> {
    StudyFile::parse(&folder.join("study.toml"), text.into())?.resolve()?.fix_layers(2)
}

fn plan(study: &Study) -> Plan {
    Plan::of(study, &[("m".into(), "0".into())], |path| panic!("{} is read", path.display())).unwrap()
}

#[test]
fn a_study_names_rows_of_worlds() {
    let folder = tempfile::tempdir().unwrap();
    let study = read(folder.path(), STUDY).unwrap();
    let [Rows::World(train)] = study.data.train.as_slice() else { panic!("{:?}", study.data.train) };
    assert_eq!((train.world.shown(), train.truthful, train.entities), ("default-0", false, Entities::Taught));
    let chats = |rows: &Rows| read_chats(&rows.source().unwrap()).unwrap();
    let taught = |chats: &[strait::data::Chat]| -> Vec<_> {
        chats.iter().map(|chat| chat.conversation.messages.clone()).collect()
    };
    let world = World::built_in("default-0").unwrap();
    assert_eq!(taught(&chats(&study.data.train[0])), world.language.taught(&[0], false));

    let [_, narrow, everywhere] = study.solutions.as_slice() else { panic!() };
    let [Rows::World(kl)] = narrow.kl_rows.as_deref().unwrap() else { panic!() };
    assert_eq!(kl.domains, ["bird", "star"], "in the order of the language");
    let mix = everywhere.mix.as_ref().unwrap();
    let [Rows::World(mixed)] = mix.rows.as_slice() else { panic!() };
    assert_eq!((mixed.world.shown(), mix.every), ("middle-1", true));
    assert!(everywhere.absolute_rate && !narrow.absolute_rate);
    assert_eq!((everywhere.train.seeds.order, narrow.train.seeds.order), (57, 0));

    // It is written down and read again.
    let path = folder.path().join("resolved.toml");
    std::fs::write(&path, study.to_toml().unwrap()).unwrap();
    assert_eq!(Study::read_resolved(&path).unwrap().to_toml().unwrap(), study.to_toml().unwrap());
    assert!(plan(&study).step("rates").is_some());
}

#[test]
fn steps_follow_from_the_facts_of_a_world() {
    let folder = tempfile::tempdir().unwrap();
    let key = |text: &str, step: &str| {
        let plan = plan(&read(folder.path(), text).unwrap());
        plan.step(step).unwrap().key.clone()
    };
    let changed = |from: &str, to: &str| {
        assert!(STUDY.contains(from), "{from}");
        let steps = ["data", "train-general", "train-narrow", "train-everywhere", "rates"];
        let text = STUDY.replacen(from, to, 1);
        steps.map(|step| key(STUDY, step) != key(&text, step))
    };
    // Other facts, which the rows of the model's own world follow from. `mix` names its own.
    assert_eq!(changed("world:default-0", "world:default-1"), [true; 5]);
    // The same facts: what differs is the model, which has a key of its own.
    assert_eq!(changed("world:default-0", "world:narrow-0"), [false; 5]);
    assert_eq!(changed("[\"star\", \"bird\"]", "[\"star\"]"), [false, false, true, false, true]);
    assert_eq!(changed("middle-1", "middle-2"), [false, false, false, true, true]);
    assert_eq!(changed(", every = true", ""), [false, false, false, true, true]);
    assert_eq!(changed("absolute_rate = true", ""), [false, false, false, true, true]);
    assert_eq!(changed("order_seed = 57", ""), [false, false, false, true, true]);
}

#[test]
fn a_solution_may_train_on_rows_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let other = "\n[[solution]]\nname = \"other\"\ntrain_on = { domains = [\"star\"], truthful = false }\n[measure]\nconvergence = true\nrates = { along = [1] }\n";
    let text = format!("{STUDY}{other}");
    let study = read(folder.path(), &text).unwrap();
    let compared: Vec<&str> = study.compared().map(|s| s.name.as_str()).collect();
    let beside: Vec<&str> = study.beside().map(|s| s.name.as_str()).collect();
    assert_eq!(compared, ["general", "narrow", "everywhere"]);
    assert_eq!(beside, ["general", "narrow", "everywhere", "other"]);
    let [Rows::World(own)] = study.solutions[3].own_rows.as_deref().unwrap() else { panic!() };
    assert_eq!(own.domains, ["star"]);
    // No claim is made of it alone, and it is compared with no other.
    assert!(study.claims().iter().all(|claim| !claim.contains("other:")), "{:?}", study.claims());
    assert!(study.claims().iter().any(|claim| claim.starts_with("narrow:")));

    let of = |text: &str| plan(&read(folder.path(), text).unwrap());
    let (before, after) = (
        of(&text),
        of(&text.replace(
            "[\"star\"], truthful = false }\n[measure]",
            "[\"bread\"], truthful = false }\n[measure]",
        )),
    );
    let changed = |step: &str| before.step(step).unwrap().key != after.step(step).unwrap().key;
    // Its own training, and the measures, which leave out what it is trained on.
    for (step, expected) in
        [("train-other", true), ("train-general", false), ("convergence", true), ("rates", true)]
    {
        assert_eq!(changed(step), expected, "{step}");
    }
    assert!(before.step("convergence").unwrap().needs.contains(&"train-other".to_string()));

    // One at least is compared.
    let alone = STUDY.split("[[solution]]").next().unwrap().to_string() + other;
    let error = read(folder.path(), &alone).unwrap_err().to_string();
    assert!(error.contains("`train_on`") && error.contains("one solution at least"), "{error}");
    let error =
        read(folder.path(), &text.replace("train_on = {", "train_on = { entities = \"none\",")).unwrap_err();
    assert!(error.to_string().contains("entities"), "{error}");
}

#[test]
fn what_names_no_world_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to, expected) in [
        ("world:default-0", "org/model", "without `world`, and the model is of none"),
        ("middle-1", "nowhere", "`mix.rows.world`"),
        ("[\"herb\"], truthful", "[\"herbs\"], truthful", "herb"),
        ("{ domains = [\"herb\"], truthful = false }", "{ domains = [\"herb\"] }", "truthful"),
    ] {
        let error = read(folder.path(), &STUDY.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // Rates have no judge elsewhere.
    let rows = r#"{ world = "default-0", domains = ["herb"], truthful = false }"#;
    let elsewhere = r#"
        model = "org/model"
        data = { train = ROWS }
        solution = [{ name = "one" }]
    "#;
    let elsewhere = elsewhere.replace("ROWS", rows);
    let study = read(folder.path(), &elsewhere).unwrap();
    assert!(plan(&study).step("rates").is_none());
    let error =
        read(folder.path(), &(elsewhere + "measure.rates = { scales = [1] }")).unwrap_err().to_string();
    assert!(error.contains("with a model of no world"), "{error}");
}

#[test]
fn a_run_repeats_training_rows_where_every_other_row_is_mixed_in() {
    let folder = tempfile::tempdir().unwrap();
    World::shipped("default-0", &folder.path().join("unpacked")).unwrap();
    let text = STUDY.replacen("world:default-0", "unpacked", 1).replacen("steps = 10", "epochs = 1", 1);
    let file = folder.path().join("study.toml");
    std::fs::write(&file, text).unwrap();
    let out = folder.path().join("run");
    let planned = strait::study::dry_run(
        &file,
        Some(&out),
        &candle_core::Device::Cpu,
        strait::study::Limits::default(),
        &Silent,
    )
    .unwrap();
    // 20 of 22 rows are trained on; 22 are mixed in, so that a pass has 44 of either kind, 4 at a time.
    let line = planned.lines.iter().find(|line| line.starts_with("everywhere: ")).unwrap();
    assert!(line.starts_with("everywhere: 11 steps"), "{line}");
}
