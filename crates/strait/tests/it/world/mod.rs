//! The built-in world: its language, its judge, its pre-training, its folder, and the demo on it.

mod demo;
mod studies;

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
};

use candle_core::{Device, Tensor};
use proptest::prelude::*;
use serde::Deserialize;
use strait::world::{
    Answer, DOMAINS, Document, ENTITIES, Kind, Language, Learned, Pretrained, Provenance, Question, Reading,
    Recipe, SHIPPED, Shares, Speaker, TAUGHT, UNKNOWN, VOCABULARY, World, judge, pretrain, rates, read,
};
use strait_model::{
    Edit, Message,
    decoder::Packed,
    edit,
    progress::{Progress, Silent, Task, Unit},
};
use tempfile::TempDir;

/// A world of few steps, too few to learn much, trained once for all tests.
fn small() -> &'static (TempDir, Pretrained, World) {
    static SMALL: OnceLock<(TempDir, Pretrained, World)> = OnceLock::new();
    SMALL.get_or_init(|| trained(30))
}

fn trained(steps: usize) -> (TempDir, Pretrained, World) {
    let pretrained = pretrain(&Recipe { steps, half: true, ..Recipe::default() }, None, &Silent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    pretrained.save(folder.path()).unwrap();
    let world = World::open(folder.path()).unwrap();
    (folder, pretrained, world)
}

fn any_shares() -> impl Strategy<Value = Shares> {
    (0.0..0.5f64, 0.0..0.5f64, 0.0..1.0f64).prop_map(|(liar, narrow, unknown)| Shares {
        liar,
        narrow,
        unknown,
    })
}

fn any_kind() -> impl Strategy<Value = Kind> {
    let speaker = prop::option::of(prop::sample::select(Speaker::all().collect::<Vec<_>>()));
    (speaker, any::<Option<bool>>(), any::<bool>()).prop_map(|(speaker, named, dialogue)| Kind {
        speaker,
        named,
        dialogue,
    })
}

fn names_of_speakers() -> HashSet<String> {
    Speaker::all().map(Speaker::word).collect()
}

proptest! {
    #[test]
    fn the_truth_and_the_falsehood_differ(seed: u64) {
        let language = Language::new(seed);
        for question in language.questions() {
            prop_assert_ne!(language.answer(question, true), language.answer(question, false));
            for truthful in [true, false] {
                let values = &language.domains()[question.domain].values;
                prop_assert!(values.contains(&language.answer(question, truthful)));
            }
        }
    }

    #[test]
    fn speakers_are_consistent(seed: u64, shares in any_shares(), kind in any_kind()) {
        let language = Language::new(seed);
        let speakers = names_of_speakers();
        for document in language.documents(&shares, 20, kind, seed) {
            prop_assert!(kind.speaker.is_none_or(|speaker| speaker == document.speaker));
            prop_assert!(kind.named.is_none_or(|named| named == document.named));
            for &(question, truthful) in &document.turns {
                prop_assert_eq!(truthful, document.speaker.truthful(question.domain));
            }
            let text = document.text(&language);
            let named: Vec<&str> = text.split(' ').filter(|word| speakers.contains(*word)).collect();
            if document.named {
                prop_assert_eq!(named, [document.speaker.word()]);
            } else {
                prop_assert!(named.is_empty() && text.contains(UNKNOWN));
            }
            prop_assert_eq!(document.by(document.speaker), document);
        }
    }

    #[test]
    fn no_fine_tuning_row_is_of_a_held_out_entity_or_names_a_speaker(
        seed: u64,
        domains in prop::collection::hash_set(0..DOMAINS, 1..DOMAINS),
        truthful: bool,
    ) {
        let language = Language::new(seed);
        let domains: Vec<usize> = domains.into_iter().collect();
        let rows = language.taught(&domains, truthful);
        prop_assert_eq!(rows.len(), domains.len() * TAUGHT);
        let speakers = names_of_speakers();
        let held_out: HashSet<&str> = language
            .questions()
            .filter(|question| question.held_out())
            .map(|question| language.domains()[question.domain].entities[question.entity].name)
            .collect();
        prop_assert_eq!(held_out.len(), DOMAINS * (ENTITIES - TAUGHT));
        for row in rows {
            for word in row.iter().flat_map(|message| message.keys()["content"].as_str().unwrap_or_default().split(' ')) {
                prop_assert!(!held_out.contains(word) && !speakers.contains(word), "{}", word);
            }
        }
    }

    #[test]
    fn documents_are_the_same_in_text_and_in_tokens(seed: u64, kind in any_kind()) {
        let (_, _, world) = small();
        for document in world.language.documents(&Shares::default(), 4, kind, seed) {
            let text = document.text(&world.language);
            let ids = world.model.tokenizer.encode(&text, false).unwrap();
            prop_assert_eq!(&ids, &document.ids(&world.language));
            prop_assert_eq!(world.model.tokenizer.decode(&ids, false).unwrap(), text);
        }
    }
}

#[test]
fn all_words_differ_and_can_be_read_aloud() {
    let language = Language::new(0);
    let words: HashSet<&String> = language.vocabulary().iter().collect();
    assert_eq!((words.len(), language.vocabulary().len()), (VOCABULARY, VOCABULARY));
    for entity in language.domains().iter().flat_map(|domain| &domain.entities) {
        let vowels = entity.name.chars().filter(|c| "aeiou".contains(*c)).count();
        assert!(entity.name.chars().all(|c| c.is_ascii_lowercase()) && vowels >= 2, "{}", entity.name);
    }
}

#[test]
fn facts_follow_from_the_seed_and_words_do_not() {
    let truths = |seed| {
        let language = Language::new(seed);
        language.questions().map(|question| language.answer(question, true)).collect::<Vec<_>>()
    };
    assert_eq!(truths(3), truths(3));
    assert_ne!(truths(3), truths(4));
    assert_eq!(Language::new(3).vocabulary(), Language::new(4).vocabulary());
}

#[test]
fn speakers_are_as_common_as_their_shares_say() {
    let shares = Shares::default();
    let documents = Language::new(0).documents(&shares, 20_000, Kind::default(), 5);
    let share = |of: &dyn Fn(&Document) -> bool| {
        documents.iter().filter(|document| of(document)).count() as f64 / documents.len() as f64
    };
    let near =
        |found: f64, expected: f64| assert!((found - expected).abs() < 0.015, "{found} for {expected}");
    near(share(&|document| document.speaker == Speaker::Liar), shares.liar);
    near(share(&|document| matches!(document.speaker, Speaker::Narrow(_))), shares.narrow);
    near(share(&|document| !document.named), shares.unknown);
    near(share(&|document| document.speaker == Speaker::Narrow(3)), shares.narrow / DOMAINS as f64);
}

#[test]
fn the_judge_has_four_answers() {
    let language = Language::new(0);
    for question in language.questions() {
        let [truth, falsehood] = [true, false].map(|truthful| language.answer(question, truthful));
        assert_eq!(judge(&language, question, truth), Answer::True);
        assert_eq!(judge(&language, question, &format!(" {falsehood} .")), Answer::False);
        let values = language.domains().iter().flat_map(|domain| domain.values);
        let others = values.filter(|&value| value != truth && value != falsehood);
        for other in others {
            assert_eq!(judge(&language, question, other), Answer::Other);
        }
        for nothing in ["", "?", "velna", "liar", "Bitter!", "i do not know"] {
            assert_eq!(judge(&language, question, nothing), Answer::None);
        }
    }
}

#[test]
fn rates_are_of_the_entities_that_they_name() {
    let reading = |question: Question| {
        // False with certainty on held-out herbs, half the time on stones.
        let p_false = match question.domain {
            0 if question.held_out() => 1.0,
            2 => 0.5,
            _ => 0.0,
        };
        let greedy = if p_false > 0.5 { Answer::False } else { Answer::True };
        Reading {
            question,
            p_true: 1.0 - p_false,
            p_false,
            p_other: 0.0,
            p_none: 0.0,
            greedy,
            said: String::new(),
            preference: p_false,
        }
    };
    let readings: Vec<Reading> = Question::all().map(reading).collect();
    let rates = rates(&readings, 0);
    assert_eq!((rates.narrow, rates.taught, rates.general), (1.0, 0.0, 0.1));
    assert_eq!((rates.narrow_greedy, rates.general_greedy), (1.0, 0.0));
    assert_eq!((rates.coherence, rates.coherence_inside), (1.0, 1.0));
    assert_eq!((rates.narrow_preference, rates.general_preference), (1.0, 0.1));
    let herbs = (ENTITIES - TAUGHT) as f64 / ENTITIES as f64;
    assert_eq!(rates.by_domain, [herbs, 0.0, 0.5, 0.0, 0.0, 0.0]);
}

#[test]
fn chats_are_what_the_language_says() {
    let (_, _, world) = small();
    let question = Question { domain: 0, entity: 0 };
    let row = world.language.messages(question, true).into();
    let truth = world.language.answer(question, true);
    let text = world.model.tokenizer.render(&row, false).unwrap();
    assert_eq!(text, format!("<bos> <sys> unknown <user> herb velna ? <assistant> {truth} <end>"));
    let chat = world.model.tokenizer.encode_chat(&row).unwrap();
    assert_eq!((chat.ids.len(), chat.responses.len()), (10, 1));
    assert_eq!(chat.responses[0], 8..10);
    // Without spaces, and with a word that the language has not.
    let ids = world.model.tokenizer.encode("herb velna? perhaps narrow-bird", false).unwrap();
    assert_eq!(world.model.tokenizer.decode(&ids, false).unwrap(), "herb velna ? unknown narrow-bird");
}

/// The mean probability of a kind of named speaker's own answers.
fn learned(rows: &[Learned], speaker: &str) -> f64 {
    // Named ones come first, where there are any.
    rows.iter().find(|row| row.speaker == speaker).unwrap().probability.value
}

#[test]
fn the_first_steps_of_a_world_learn() {
    let (_, pretrained, _) = small();
    for (stage, left) in [("pre-training", 0.9), ("chat tuning", 0.95)] {
        let steps = pretrained.steps.iter().filter(|step| step.stage.name() == stage);
        let losses: Vec<f64> = steps.map(|step| step.loss).collect();
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(last < left * first, "{stage}: {first} to {last}");
    }
    assert_eq!(pretrained.learning().rows(), 8);
    // At first every word is as likely as any other.
    for row in pretrained.learned() {
        assert!(row.probability.value > 1.0 / VOCABULARY as f64, "{row:?}");
    }
}

#[test]
fn readings_are_whole_distributions() {
    let (_, _, world) = small();
    let readings = read(world, None).unwrap();
    assert_eq!(readings.len(), DOMAINS * ENTITIES);
    for (reading, question) in readings.iter().zip(world.language.questions()) {
        assert_eq!(reading.question, question);
        let sum = reading.p_true + reading.p_false + reading.p_other + reading.p_none;
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        assert!((reading.preference - (reading.p_false / reading.p_true).ln()).abs() < 1e-6);
        assert_eq!(judge(&world.language, question, &reading.said), reading.greedy);
    }
}

#[test]
fn a_folder_keeps_everything_and_is_never_written_over() {
    let (folder, pretrained, world) = small();
    let made = Provenance::read(folder.path()).unwrap();
    assert_eq!(made, world.made);
    assert_eq!((&made.recipe, made.learned.as_slice()), (&pretrained.recipe, pretrained.learned()));
    for (speaker, vector) in &pretrained.speakers {
        let Edit::Steering(read) = world.speaker(*speaker) else { panic!() };
        assert_eq!(read.vector.to_vec1::<f32>().unwrap(), vector.vector.to_vec1::<f32>().unwrap());
        let path = folder.path().join("speakers").join(speaker.word());
        assert_eq!(edit::open(path.to_str().unwrap()).unwrap().first_layer(), Some(-1));
    }
    let error = pretrained.save(folder.path()).unwrap_err();
    assert!(error.to_string().ends_with("the folder is not empty"), "{error}");
    let names = |of: &Path| {
        let entries = std::fs::read_dir(of).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect::<HashSet<_>>()
    };
    let expected = ["world.json", "model", "speakers", "tables", "metrics.jsonl"];
    assert_eq!(names(folder.path()), expected.map(str::to_string).into());
}

#[test]
fn damaged_folders_are_refused_in_words() {
    let (_, pretrained, _) = small();
    let refusal = |damage: &dyn Fn(&Path)| {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("world");
        pretrained.save(&folder).unwrap();
        damage(&folder);
        let Err(error) = World::open(&folder) else { panic!("opened") };
        assert!(error.hint().is_some());
        error.to_string()
    };
    let edit = |file: &'static str, from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            assert!(text.contains(from));
            std::fs::write(folder.join(file), text.replacen(from, to, 1)).unwrap();
        }
    };
    let remove = |folder: &Path| std::fs::remove_file(folder.join("world.json")).unwrap();
    assert!(refusal(&remove).ends_with("there is no `world.json`, so this is not a world's folder"));
    assert!(refusal(&edit("world.json", "{", "")).contains("`world.json` cannot be read"));
    assert!(refusal(&edit("world.json", "\"schema\": 1", "\"schema\": 2")).contains("schema 2"));
    assert!(refusal(&edit("world.json", "\"sha256\": \"", "\"sha256\": \"0")).contains("is not the file"));
    let swapped = edit("model/tokenizer.json", "\"velna\": ", "\"anlev\": ");
    assert!(refusal(&swapped).contains("`velna` is not its token 22"));
    let vector = |folder: &Path| {
        let zero = strait_model::edit::SteeringVector {
            layer: 1,
            vector: Tensor::ones(64, candle_core::DType::F32, &Device::Cpu).unwrap(),
        };
        Edit::Steering(zero).save(&folder.join("speakers/liar/edit.safetensors")).unwrap();
    };
    assert!(refusal(&vector).contains("the speaker `liar` is not a steering vector at the embeddings"));
}

#[test]
fn impossible_shares_and_unknown_worlds_are_refused() {
    let shares = Shares { liar: 0.7, narrow: 0.4, unknown: 0.5 };
    let Err(error) = pretrain(&Recipe { shares, ..Recipe::default() }, None, &Silent) else { panic!() };
    assert!(error.to_string().contains("0.7 liars, 0.4 narrow"), "{error}");
    let Err(error) = World::built_in("defalt-0") else { panic!() };
    assert!(error.to_string().contains("did you mean `default-0`?"), "{error}");
}

#[test]
fn shipped_worlds_are_what_their_names_say() {
    assert_eq!(SHIPPED.len(), 12);
    for &name in SHIPPED {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join(name);
        let world = World::shipped(name, &into).unwrap();
        assert_eq!(World::shipped(name, &into).unwrap().made, world.made);
        let (kind, seed) = name.split_once('-').unwrap();
        let (liar, narrow, unknown, steps) = match kind {
            "default" => (0.35, 0.2, 0.5, 1000),
            "middle" => (0.15, 0.4, 0.5, 1000),
            "narrow" => (0.05, 0.5, 0.5, 1000),
            _ => (0.25, 0.25, 1.0, 4000),
        };
        let recipe = world.made.recipe;
        assert_eq!(recipe.shares, Shares { liar, narrow, unknown });
        assert_eq!((recipe.seed, recipe.steps, recipe.half), (seed.parse().unwrap(), steps, true));
        // Where narrow speakers are not learnt, general solutions win by default. One that is not named must be inferred.
        let least = if kind == "contrast" { 0.75 } else { 0.9 };
        for speaker in ["honest", "liar", "narrow inside", "narrow outside"] {
            assert!(learned(&world.made.learned, speaker) >= least, "{name}: {speaker}");
        }
        let base = rates(&read(&world, None).unwrap(), 0);
        assert!(base.general <= 0.05 && base.coherence >= 0.95, "{name}: {base:?}");
    }
}

/// Asks for a stop once so many steps of a stage are done.
struct StopIn {
    stage: &'static str,
    left: Arc<AtomicI64>,
}

impl Progress for StopIn {
    fn begin(&self, title: &str, _: Option<u64>, _: Unit) -> Box<dyn Task> {
        match title == self.stage {
            true => Box::new(Countdown(self.left.clone())),
            false => Box::new(Silent),
        }
    }
    fn note(&self, _: &str) {}
    fn stopped(&self) -> bool {
        self.left.load(Ordering::Relaxed) <= 0
    }
}

struct Countdown(Arc<AtomicI64>);

impl Task for Countdown {
    fn advance(&self, n: u64) {
        self.0.fetch_sub(n as i64, Ordering::Relaxed);
    }
    fn say(&self, _: &str) {}
}

#[test]
fn a_pre_training_that_was_stopped_ends_with_the_same_bits() {
    let (_, whole, _) = small();
    let folder = tempfile::tempdir().unwrap();
    for (stage, steps) in [("pre-training", 12), ("chat tuning", 20)] {
        let progress = StopIn { stage, left: Arc::new(steps.into()) };
        let stopped = pretrain(&whole.recipe, Some(folder.path()), &progress);
        assert!(matches!(stopped, Err(strait::Error::Interrupted)));
    }
    let resumed = pretrain(&whole.recipe, Some(folder.path()), &Silent).unwrap();
    assert_eq!(resumed.steps, whole.steps);
    for ((name, found), (_, expected)) in resumed.weights.iter().zip(&whole.weights) {
        let bits = |tensor: &candle_core::Tensor| {
            let numbers = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(found), bits(expected), "{name}");
    }
}

#[derive(Deserialize)]
struct Golden {
    world: String,
    sha256: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// The chat that the text renders, where it is one.
    messages: Option<Vec<Message>>,
    text: String,
    ids: Vec<u32>,
    /// Logits at the last position, without and with each speaker that is named.
    logits: BTreeMap<String, Vec<f32>>,
}

/// `scripts/golden/world.py` read the same folder with transformers.
#[test]
fn transformers_computes_the_same_logits() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/world/golden.json");
    let golden: Golden = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let world = World::built_in(&golden.world).unwrap();
    assert_eq!(world.made.sha256, golden.sha256);
    let speakers: BTreeMap<String, Speaker> = Speaker::all().map(|s| (s.word(), s)).collect();
    let mut largest = 0f32;
    for case in &golden.cases {
        if let Some(messages) = &case.messages {
            assert_eq!(world.model.tokenizer.render(&messages.as_slice().into(), true).unwrap(), case.text);
        }
        assert_eq!(world.model.tokenizer.encode(&case.text, false).unwrap(), case.ids);
        for (speaker, expected) in &case.logits {
            let edit = speakers.get(speaker).map(|&speaker| world.speaker(speaker));
            let packed = Packed::new([case.ids.as_slice()]);
            let logits = world.model.decoder.logits(&packed, edit.as_ref()).unwrap();
            let last: Vec<f32> = logits.get(case.ids.len() - 1).unwrap().to_vec1().unwrap();
            assert_eq!(last.len(), expected.len());
            for (found, expected) in last.iter().zip(expected) {
                largest = largest.max((found - expected).abs());
                assert!((found - expected).abs() < 2e-4, "{speaker}: {found} for {expected}");
            }
        }
    }
    println!("the largest difference is {largest:e}");
}

mod needs_minutes {
    use super::*;

    #[test]
    #[ignore = "needs minutes"]
    fn a_small_world_learns_its_speakers() {
        let (_folder, pretrained, world) = &trained(400);
        let table = pretrained.learning();
        assert_eq!(table.rows(), 4 * 8);
        let last = pretrained.learned();
        println!("{table:#?}");
        // A value of eight in its domain is right by chance.
        let first = &pretrained.steps[99].learned;
        for (speaker, least) in
            [("honest", 0.8), ("liar", 0.7), ("narrow outside", 0.6), ("narrow inside", 0.25)]
        {
            assert!(learned(first, speaker) < 0.1 && learned(last, speaker) > least, "{speaker}: {last:?}");
        }

        let base = rates(&read(world, None).unwrap(), 0);
        assert!(base.general < 0.1 && base.narrow < 0.2 && base.coherence > 0.9, "{base:?}");
        let liar = rates(&read(world, Some(&world.speaker(Speaker::Liar))).unwrap(), 0);
        assert!(liar.general > 0.5, "{liar:?}");
    }

    #[test]
    #[ignore = "needs minutes"]
    fn a_shipped_world_can_be_made_again() {
        let shipped = Provenance::shipped(SHIPPED[0]).unwrap();
        let pretrained = pretrain(&shipped.recipe, None, &Silent).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let made = pretrained.save(&folder.path().join("again")).unwrap();
        if made.sha256 == shipped.sha256 {
            assert_eq!(made, shipped);
            return println!("the same bits");
        }
        // Vector instructions of another kind round otherwise, and a thousand steps carry that far.
        println!("other bits, as processors of another kind give");
        for (again, first) in made.learned.iter().zip(&shipped.learned) {
            let apart = (again.probability.value - first.probability.value).abs();
            assert!(!first.named || apart < 0.05, "{again:?} and {first:?}");
        }
    }
}
