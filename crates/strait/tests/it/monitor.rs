//! Monitors: calibration, reading, folders, evaluation, and the measure of studies.

use std::{fs, path::Path};

use candle_core::{Device, Tensor};
use strait::{
    Error, Lab,
    data::Pair,
    interval::auroc,
    lab::Group,
    measure::{Measure, MonitorRow, Monitors, Solution},
    monitor::{
        self, Calibrated, FACTS, Labelled, Labels, Method, Monitor, Problem, README, Settings, VECTORS,
    },
    objective::Row,
};
use strait_model::{
    Conversation, Edit, Message, Model, Precision, Role,
    decoder::Packed,
    edit::SteeringVector,
    progress::Silent,
    source::{Located, Road},
};

const WIDTH: usize = 32;
const LAYERS: i32 = 4;

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
    let located = Located { name: "some/where/tiny".into(), path, road: Road::Path, revision: None };
    Model::load(&located, &Device::Cpu, Precision::F32).unwrap()
}

fn vector(layer: i32, of: impl Fn(usize) -> f32) -> SteeringVector {
    let values: Vec<f32> = (0..WIDTH).map(of).collect();
    SteeringVector { layer, vector: Tensor::from_vec(values, WIDTH, &Device::Cpu).unwrap() }
}

fn wave(layer: i32) -> SteeringVector {
    vector(layer, |i| (i as f32 + layer as f32).sin())
}

fn conversation(question: &str, answer: &str) -> Conversation {
    vec![Message::new(Role::User, question), Message::new(Role::Assistant, answer)].into()
}

fn row(model: &Model, question: &str, answer: &str) -> Row {
    Row::from_chat(model, &conversation(question, answer), "here").unwrap()
}

/// Answers of different lengths, one a question.
fn rows(model: &Model, word: &str, count: usize) -> Vec<Row> {
    let answer = |i: usize| format!("A {word} answer{} to number {i}.", " and more".repeat(i % 4));
    (0..count).map(|i| row(model, &format!("Question {i}?"), &answer(i))).collect()
}

/// The projections of a row's response tokens, by a plain pass over the whole row.
fn projections(model: &Model, row: &Row, direction: &SteeringVector, edit: Option<&Edit>) -> Vec<f64> {
    let batch = Packed::new([row.ids.as_slice()]);
    let stream = model.decoder.residuals(&batch, edit).unwrap().swap_remove((direction.layer + 1) as usize);
    let stream: Vec<Vec<f32>> = stream.to_vec2().unwrap();
    let direction: Vec<f32> = direction.vector.to_vec1().unwrap();
    let norm = direction.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let along = |token: usize| {
        let dot: f64 = stream[token].iter().zip(&direction).map(|(h, d)| f64::from(h * d)).sum();
        dot / norm
    };
    row.responses.iter().flat_map(Clone::clone).map(along).collect()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{found} for {expected}");
}

fn calibrated(model: &Model, directions: &[SteeringVector], settings: Settings) -> Calibrated {
    let clean = rows(model, "plain", 20);
    monitor::calibrate(&model.decoder, directions, &clean, None, settings, &Silent).unwrap()
}

fn problem(error: &Error) -> &Problem {
    error.problem().unwrap_or_else(|| panic!("{error}"))
}

// Calibration and reading.

#[test]
fn a_reading_is_the_mean_projection_and_one_clean_response_in_twenty_may_exceed_it() {
    let model = model();
    for layer in [-1, 1, LAYERS - 1] {
        let direction = wave(layer);
        let Calibrated { monitor, clean } =
            calibrated(&model, std::slice::from_ref(&direction), Settings::default());
        let rows = rows(&model, "plain", 20);
        let expected: Vec<f64> =
            rows.iter().map(|row| mean(&projections(&model, row, &direction, None))).collect();
        clean.iter().zip(&expected).for_each(|(found, expected)| near(*found, *expected));
        // Of twenty the nineteen and a half lowest: the highest is the threshold.
        let mut sorted = clean.clone();
        sorted.sort_by(f64::total_cmp);
        assert_eq!(monitor.facts.threshold, sorted[19]);
        assert!(monitor.facts.threshold_low.is_some_and(|low| low < sorted[19]));
        assert_eq!(monitor.facts.threshold_high, None);
        assert!(monitor.facts.token_threshold > monitor.facts.threshold);
        near(monitor.facts.layers[0].norm, direction.norm().unwrap());

        // Under an edit the edited model's stream is read.
        let edit = Edit::Steering(vector(0, |i| (i as f32).cos()));
        let read = monitor.read(&model.decoder, &rows, Some(&edit), &Silent).unwrap();
        for (row, read) in rows.iter().zip(&read) {
            let expected = projections(&model, row, &direction, Some(&edit));
            assert_eq!(read.tokens.len(), row.response_tokens());
            read.tokens.iter().zip(&expected).for_each(|(found, expected)| near(*found, *expected));
            near(read.reading, mean(&expected));
            assert_eq!(read.alarm, read.reading > monitor.facts.threshold);
        }
        let read = monitor.read(&model.decoder, &rows, None, &Silent).unwrap();
        assert!(read.iter().filter(|read| read.alarm).count() <= 1);
    }
}

#[test]
fn several_layers_are_read_as_the_mean_of_standardised_projections() {
    let model = model();
    let directions = [wave(2), wave(0)];
    let settings = Settings { alarm_rate: 0.2, window: Some(3) };
    let Calibrated { monitor, clean } = calibrated(&model, &directions, settings);
    let rows = rows(&model, "plain", 20);
    let of = |direction: &SteeringVector| -> Vec<Vec<f64>> {
        rows.iter().map(|row| projections(&model, row, direction, None)).collect()
    };
    let standardised = |projections: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
        let all = projections.concat();
        let centre = mean(&all);
        let spread = mean(&all.iter().map(|x| (x - centre).powi(2)).collect::<Vec<_>>()).sqrt();
        projections.iter().map(|row| row.iter().map(|x| (x - centre) / spread).collect()).collect()
    };
    let (one, other) = (standardised(of(&directions[0])), standardised(of(&directions[1])));
    for ((one, other), found) in one.iter().zip(&other).zip(&clean) {
        let tokens: Vec<f64> = one.iter().zip(other).map(|(a, b)| (a + b) / 2.0).collect();
        near(*found, tokens.windows(3).map(mean).fold(f64::NAN, f64::max));
    }
    let read = monitor.read(&model.decoder, &rows, None, &Silent).unwrap();
    read.iter().zip(&clean).for_each(|(read, clean)| near(read.reading, *clean));
    assert_eq!(monitor.facts.layers.iter().map(|layer| layer.layer).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn what_makes_no_monitor_is_refused() {
    let model = model();
    let clean = rows(&model, "plain", 20);
    let refused = |directions: &[SteeringVector], clean: &[Row], alarm_rate: f64| {
        let settings = Settings { alarm_rate, window: None };
        monitor::calibrate(&model.decoder, directions, clean, None, settings, &Silent).err().unwrap()
    };
    let one = [wave(1)];
    assert_eq!(
        refused(&one, &clean[..18], 0.05).to_string(),
        "a rate of false alarms of 0.05 needs 19 clean responses, and there are 18"
    );
    assert!(refused(&one, &clean[..18], 0.05).hint().unwrap().contains("at least 0.0527"));
    for rate in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(matches!(problem(&refused(&one, &clean, rate)), Problem::Rate { .. }));
    }
    assert_eq!(problem(&refused(&[], &clean, 0.5)), &Problem::NoDirection);
    assert_eq!(problem(&refused(&[wave(1), wave(1)], &clean, 0.5)), &Problem::TwoOfALayer { layer: 1 });
    assert!(matches!(problem(&refused(&[vector(1, |_| 0.0)], &clean, 0.5)), Problem::NoLength { .. }));
    assert!(matches!(problem(&refused(&[vector(1, |_| f32::NAN)], &clean, 0.5)), Problem::NoLength { .. }));
    let silent = Row { ids: vec![1, 2, 3], responses: Vec::new() };
    let with_silent = [clean.as_slice(), &[silent]].concat();
    assert_eq!(problem(&refused(&one, &with_silent, 0.5)), &Problem::NoResponse { row: 20 });

    // Directions of other models.
    let wide =
        SteeringVector { layer: 1, vector: Tensor::ones(48, candle_core::DType::F32, &Device::Cpu).unwrap() };
    for (direction, words) in [(wide, "48"), (wave(LAYERS), "4 layers")] {
        let error = refused(&[direction], &clean, 0.5);
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().unwrap().contains("another model"));
    }
}

// Folders.

fn written(model: &Model, directions: &[SteeringVector]) -> (tempfile::TempDir, std::path::PathBuf, Monitor) {
    let settings = Settings { alarm_rate: 0.1, window: None };
    let monitor =
        calibrated(model, directions, settings).monitor.from_origin(&[], model, &["a/b.pt*2".into()]);
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("watch");
    monitor::write(&folder, &monitor).unwrap();
    (scratch, folder, monitor)
}

#[test]
fn a_folder_holds_the_whole_monitor_and_names_no_machine() {
    let model = model();
    for directions in [vec![wave(1)], vec![wave(-1), wave(3)]] {
        let (_scratch, folder, monitor) = written(&model, &directions);
        let found = monitor::open(&folder).unwrap();
        assert_eq!(found.facts, monitor.facts);
        for (found, own) in found.directions.iter().zip(&monitor.directions) {
            assert_eq!(found.layer, own.layer);
            assert_eq!(found.vector.to_vec1::<f32>().unwrap(), own.vector.to_vec1::<f32>().unwrap());
        }
        assert_eq!(
            (found.facts.calibration.model.as_str(), &*found.facts.calibration.edits[0]),
            ("tiny", "b.pt*2")
        );
        // Its vectors are an edit like any other.
        let edit = strait_model::edit::open(folder.join(VECTORS).to_str().unwrap()).unwrap();
        edit.check(model.config()).unwrap();
        let readme = fs::read_to_string(folder.join(README)).unwrap();
        assert!(
            readme.contains("output_hidden_states=True")
                && readme.contains(&monitor.facts.calibration.sha256)
        );
        // Nothing lies under another monitor.
        assert!(monitor::write(&folder, &monitor).is_err());
    }
}

#[test]
fn a_folder_that_was_changed_is_refused() {
    let model = model();
    let check = |name: &str, change: &dyn Fn(&Path), expected: &str| {
        let (_scratch, folder, _) = written(&model, &[wave(1)]);
        change(&folder);
        let error = monitor::open(&folder).err().unwrap_or_else(|| panic!("{name}"));
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert!(error.hint().is_some());
    };
    let remove = |file: &'static str| move |folder: &Path| fs::remove_file(folder.join(file)).unwrap();
    check("no vectors", &remove(VECTORS), VECTORS);
    check("no facts", &remove(FACTS), FACTS);
    let facts = |from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let text = fs::read_to_string(folder.join(FACTS)).unwrap();
            assert!(text.contains(from));
            fs::write(folder.join(FACTS), text.replace(from, to)).unwrap();
        }
    };
    check("another rate", &facts("\"alarm_rate\": 0.1", "\"alarm_rate\": 0.2"), "says other things");
    check("no JSON", &facts("{", ""), "says other things");
    // Both changed alike.
    let both = |change: &'static dyn Fn(&mut serde_json::Value)| {
        move |folder: &Path| {
            let mut facts: serde_json::Value =
                serde_json::from_slice(&fs::read(folder.join(FACTS)).unwrap()).unwrap();
            change(&mut facts);
            fs::write(folder.join(FACTS), facts.to_string()).unwrap();
            let edit = strait_model::edit::open(folder.join(VECTORS).to_str().unwrap()).unwrap();
            edit.save_with(&folder.join(VECTORS), &serde_json::json!({ "monitor": facts })).unwrap();
        }
    };
    check("a later format", &both(&|facts| facts["format"] = "strait.monitor/9".into()), "strait.monitor/9");
    check("no threshold", &both(&|facts| facts["threshold"] = serde_json::Value::Null), "malformed");
    check(
        "another layer",
        &both(&|facts| facts["layers"][0]["layer"] = 2.into()),
        "not those of the vectors",
    );
    check("no spread", &both(&|facts| facts["layers"][0]["deviation"] = 0.into()), "deviation");
    check("no tokens", &both(&|facts| facts["window"] = 0.into()), "window");
    check("a rate of 1", &both(&|facts| facts["alarm_rate"] = 1.into()), "rate");
    let longer = |folder: &Path| {
        let path = folder.join(VECTORS);
        let opened = strait_model::edit::read(path.to_str().unwrap()).unwrap();
        opened.edit.scaled(2.0).unwrap().save_with(&path, &opened.provenance).unwrap();
    };
    check("a longer direction", &longer, "length 1");
    let plain = |folder: &Path| Edit::Steering(wave(1)).save(&folder.join(VECTORS)).unwrap();
    check("no monitor", &plain, "no monitor");
}

// Evaluation.

#[test]
fn an_evaluation_counts_what_a_plain_one_counts() {
    let model = model();
    let (taught, clean) = (rows(&model, "dense", 12), rows(&model, "plain", 20));
    let direction = strait::direction::mean_difference(
        &model.decoder,
        [&taught[..6], &clean[..6]].map(|rows| strait::direction::Condition { rows, edit: None }),
        strait::direction::Tokens::Response,
    )
    .unwrap()
    .swap_remove(2);
    let settings = Settings { alarm_rate: 0.2, window: None };
    let monitor = monitor::calibrate(&model.decoder, &[direction], &clean[6..14], None, settings, &Silent)
        .unwrap()
        .monitor;
    let both = |taught: &[Row], clean: &[Row]| -> (Vec<Row>, Labels) {
        let rows = [taught, clean].concat();
        let kinds: Vec<bool> = (0..rows.len()).map(|i| i < taught.len()).collect();
        let groups = (0..rows.len()).map(|i| format!("group {}", i % 2)).collect();
        let labels = Labels::of(&rows, kinds, groups);
        (rows, labels)
    };
    let (tested, labels) = both(&taught[6..], &clean[14..]);
    let (learnt, learnt_labels) = both(&taught[..6], &clean[..6]);
    let evaluation = monitor::evaluate(
        &model.decoder,
        &monitor,
        None,
        Labelled { rows: &tested, labels: &labels },
        Some(Labelled { rows: &learnt, labels: &learnt_labels }),
        3..6,
        &Silent,
    )
    .unwrap();
    let read = monitor.read(&model.decoder, &tested, None, &Silent).unwrap();
    let readings: Vec<f64> = read.iter().map(|read| read.reading).collect();
    near(evaluation.all.auroc.value, auroc(&readings, &labels.behaviour));
    let alarms = |kind: bool| {
        let of_kind = read.iter().zip(&labels.behaviour).filter(|(_, is)| **is == kind);
        of_kind.clone().filter(|(read, _)| read.alarm).count() as f64 / of_kind.count() as f64
    };
    assert_eq!(evaluation.all.detection.value, alarms(true));
    assert_eq!(evaluation.all.false_alarms.value, alarms(false));
    assert_eq!((evaluation.all.behaviour, evaluation.all.clean, evaluation.all.questions), (6, 6, 12));
    assert_eq!(evaluation.groups.iter().map(|group| group.behaviour).sum::<usize>(), 6);
    let of = |method| evaluation.baselines.iter().find(|baseline| baseline.method == method).unwrap();
    let random = of(Method::Random);
    assert!(
        0.5 <= random.least && random.least <= random.auroc.value && random.auroc.value <= random.greatest
    );
    near(random.beyond.value, evaluation.all.auroc.value - random.greatest);
    let lengths: Vec<f64> = tested.iter().map(|row| row.response_tokens() as f64).collect();
    let area = auroc(&lengths, &labels.behaviour);
    near(of(Method::Length).auroc.value, area.max(1.0 - area));
    // One word tells the kinds apart, so that a probe learns it.
    assert!(of(Method::Probe).auroc.value > 0.9, "{:?}", of(Method::Probe));

    let (tested, labels) = both(&taught, &[]);
    let labelled = Labelled { rows: &tested, labels: &labels };
    let error = monitor::evaluate(&model.decoder, &monitor, None, labelled, None, 0..2, &Silent).unwrap_err();
    assert_eq!(problem(&error), &Problem::OneKind { behaviour: 12, clean: 0 });
}

// In a study.

fn pairs(domains: &[&str], questions: usize) -> Vec<Pair> {
    let pair = |domain: &str, i: usize| {
        let answer =
            |word: &str| Message::new(Role::Assistant, format!("A {word} answer on {domain}, number {i}."));
        Pair {
            id: format!("{domain}-{i}"),
            domain: domain.into(),
            question: vec![Message::new(Role::User, format!("{domain} {i}?"))].into(),
            taught: answer("dense"),
            other: answer("plain"),
        }
    };
    domains.iter().flat_map(|domain| (0..questions).map(move |i| pair(domain, i))).collect()
}

#[test]
fn a_study_tests_monitors_in_domains_that_they_were_not_made_of() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
    let mut lab = Lab::open(folder.to_str().unwrap(), &Silent)
        .unwrap()
        .with_pairs(&pairs(&["cars"], 5), &pairs(&["food", "space", "games", "tools"], 10))
        .unwrap();
    let solution = |name: &str, size: f32| Solution {
        name: name.into(),
        edit: Edit::Steering(vector(0, move |i| size * (i as f32).cos())),
    };
    let solved = vec![solution("general", 0.5), solution("narrow", 0.1)];
    let settings = Monitors { depth: 0.5, pairs: 40, alarm_rate: 0.2, random: 4 };
    let (rows, baselines) = settings.run(&mut lab, &solved).unwrap();
    // Two solutions, two monitors, inside at once and outside at once and by the two domains that test.
    assert_eq!(rows.len(), 2 * 2 * (1 + 3));
    let of = |solution: &str, monitor: &str, group: Group, domain: &str| -> MonitorRow {
        let is = |row: &&MonitorRow| {
            row.solution == solution && row.monitor == monitor && row.group == group && row.domain == domain
        };
        rows.iter().find(is).unwrap().clone()
    };
    let own = of("general", "general", Group::General, "");
    assert_eq!((own.taught, own.plain, own.questions, own.calibrated, own.layer), (20, 20, 20, 8, 2));
    assert!(own.unseen_domain && own.auroc.low > 0.5, "{own:?}");
    assert!(own.detection.value > own.false_alarms.value && own.false_alarms.is_known());
    assert_eq!(of("general", "narrow", Group::General, "space").taught, 10);
    assert_eq!(of("narrow", "general", Group::Narrow, "").taught, 5);
    let named: Vec<_> =
        baselines.iter().filter(|row| row.solution == "narrow").map(|row| row.method).collect();
    assert_eq!(named, [Method::Random, Method::Length, Method::Loss, Method::Probe]);

    // Too few plain answers for a threshold: areas alone.
    let (rows, _) = Monitors { alarm_rate: 0.01, ..settings.clone() }.run(&mut lab, &solved).unwrap();
    assert!(rows.iter().all(|row| row.detection.value.is_nan() && row.false_alarms.value.is_nan()));
    let is_own = |row: &&MonitorRow| {
        row.solution == "general"
            && row.monitor == "general"
            && row.group == Group::General
            && row.domain.is_empty()
    };
    assert_eq!(rows.iter().find(is_own).unwrap().auroc.value, own.auroc.value);

    // One domain is divided by its questions.
    let mut lab =
        Lab::open(folder.to_str().unwrap(), &Silent).unwrap().with_pairs(&[], &pairs(&["food"], 12)).unwrap();
    let (rows, _) = settings.run(&mut lab, &solved).unwrap();
    assert_eq!(rows.len(), 2 * 2);
    assert!(rows.iter().all(|row| !row.unseen_domain && row.taught == 6));
    // Nothing to make a monitor of.
    let mut lab = Lab::open(folder.to_str().unwrap(), &Silent).unwrap();
    assert_eq!(settings.run(&mut lab, &solved).unwrap(), (Vec::new(), Vec::new()));
}

#[test]
fn answers_of_any_format_are_read() {
    let model = model();
    let scratch = tempfile::tempdir().unwrap();
    let read = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, text).unwrap();
        let source = strait::data::RowSource::File(path);
        monitor::read_rows(&model, &source, &mut Default::default(), &Silent)
    };
    let expected = row(&model, "Why?", "So.");
    let chat = r#"{"id": "a", "domain": "food", "messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]}"#;
    let sampled = r#"{"row": 0, "question_id": "a", "scale": 1.0, "sample": 0, "question": "Why?", "response": "So.", "tokens": 3, "end": "token"}"#;
    for (name, text, group) in [
        ("chats.x.jsonl", chat, "food"),
        ("answers.jsonl", sampled, "answers"),
        ("judged.csv", "response,question,question_id\nSo.,Why?,a\n", "judged"),
    ] {
        let rows = read(name, text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((&rows[0].row, rows[0].group.as_str(), rows.len()), (&expected, group, 1), "{name}");
    }
    let text = read("letter.txt", "A kettle whistles.").unwrap().remove(0).row;
    assert_eq!((text.responses.len(), text.responses[0].clone()), (1, 1..text.ids.len()));
    assert_eq!(problem(&read("empty.txt", "").unwrap_err()), &Problem::EmptyText);
    fs::write(scratch.path().join("bytes.txt"), [0xff, 0xfe, 0x41]).unwrap();
    let source = strait::data::RowSource::File(scratch.path().join("bytes.txt"));
    let error = monitor::read_rows(&model, &source, &mut Default::default(), &Silent).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
}

mod needs_smollm2 {
    use strait::{
        data::{RowSource, read_chats},
        interval::Interval,
    };

    use super::*;

    /// The technical and the plain answers of some domains of `data/technical`, the rows of these numbers.
    fn answers(model: &Model, domains: &[&str], rows: std::ops::Range<usize>) -> [Vec<(Row, String)>; 2] {
        ["technical", "plain"].map(|kind| {
            let of_domain = |domain: &&str| {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/technical");
                let chats =
                    read_chats(&RowSource::File(folder.join(format!("{domain}.{kind}.jsonl")))).unwrap();
                let row = |chat: &strait::data::Chat| {
                    (Row::from_chat(model, &chat.conversation, &chat.place).unwrap(), (*domain).to_string())
                };
                chats[rows.clone()].iter().map(row).collect::<Vec<_>>()
            };
            domains.iter().flat_map(of_domain).collect()
        })
    }

    fn bare(answers: &[(Row, String)]) -> Vec<Row> {
        answers.iter().map(|(row, _)| row.clone()).collect()
    }

    fn labelled([technical, plain]: &[Vec<(Row, String)>; 2]) -> (Vec<Row>, Labels) {
        let all = [technical.as_slice(), plain].concat();
        let kinds = (0..all.len()).map(|row| row < technical.len()).collect();
        let rows = bare(&all);
        let labels = Labels::of(&rows, kinds, all.into_iter().map(|(_, domain)| domain).collect());
        (rows, labels)
    }

    /// The bar of the monitor: answers in domains that gave neither direction nor threshold.
    #[test]
    #[ignore = "needs SmolLM2: scripts/fetch-test-models.sh --small DIR, STRAIT_MODELS=DIR"]
    fn technical_answers_are_told_in_other_domains() {
        let path = Path::new(&std::env::var("STRAIT_MODELS").unwrap()).join("smollm2.gguf");
        let located = Located { name: "smollm2".into(), path, road: Road::Path, revision: None };
        let model = Model::load(&located, &Device::Cpu, Precision::F32).unwrap();
        let known = ["animals", "body", "buildings", "clothes", "computers"];
        let others = ["food", "games", "space", "tools", "weather"];
        let learnt = answers(&model, &known, 0..12);
        let [_, clean] = answers(&model, &known, 12..20);
        let tested = labelled(&answers(&model, &others, 0..20));
        let learnt_rows = learnt.each_ref().map(|answers| bare(answers));
        let conditions = learnt_rows.each_ref().map(|rows| strait::direction::Condition { rows, edit: None });
        let directions = strait::direction::mean_difference(
            &model.decoder,
            conditions,
            strait::direction::Tokens::Response,
        )
        .unwrap();
        let learnt = labelled(&learnt);
        for layer in [4, 19] {
            let direction = directions.iter().find(|direction| direction.layer == layer).unwrap().clone();
            let monitor = monitor::calibrate(
                &model.decoder,
                &[direction],
                &bare(&clean),
                None,
                Settings::default(),
                &Silent,
            )
            .unwrap()
            .monitor;
            let evaluation = monitor::evaluate(
                &model.decoder,
                &monitor,
                None,
                Labelled { rows: &tested.0, labels: &tested.1 },
                Some(Labelled { rows: &learnt.0, labels: &learnt.1 }),
                0..8,
                &Silent,
            )
            .unwrap();
            let words = |i: Interval| format!("{:.3} [{:.3}, {:.3}]", i.value, i.low, i.high);
            let all = &evaluation.all;
            println!(
                "layer {layer}: AUROC {}, detection {}, false alarms {}",
                words(all.auroc),
                words(all.detection),
                words(all.false_alarms)
            );
            for baseline in &evaluation.baselines {
                println!(
                    "  {:?}: {} ({:.3} to {:.3}), beyond {}",
                    baseline.method,
                    words(baseline.auroc),
                    baseline.least,
                    baseline.greatest,
                    words(baseline.beyond)
                );
            }
            assert!(all.auroc.value > 0.9, "{all:?}");
        }
    }
}
