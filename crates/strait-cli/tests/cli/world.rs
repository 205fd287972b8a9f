//! The built-in world: show, pretrain.

use std::time::Duration;

use crate::common::{Place, text};

#[test]
fn a_world_is_shown() {
    let place = Place::new();
    insta::assert_snapshot!("world-show", place.run(["world", "show"]).all());
    let found = place.run(["world", "show", "narrow-2", "--json"]).json();
    assert_eq!(found["shipped"].as_array().unwrap().len(), 12);
    assert_eq!(found["made"]["recipe"]["shares"]["narrow"], 0.5);
    let herbs = &found["domains"][0];
    assert_eq!((herbs["word"].as_str(), herbs["property"].as_str()), (Some("herb"), Some("taste")));
    let entities = herbs["entities"].as_array().unwrap();
    assert_eq!(entities.iter().filter(|entity| entity["held_out"] == true).count(), 10);
    assert!(entities.iter().all(|entity| entity["truth"] != entity["falsehood"]));
    // The same questions by an honest speaker, a liar and a narrow one.
    let words: Vec<Vec<&str>> = found["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|document| document["text"].as_str().unwrap().split(' ').collect())
        .collect();
    assert_eq!(words.len(), 3);
    for at in (6..words[0].len()).step_by(5) {
        let herb = words[0][at - 3] == "herb";
        assert_ne!(words[0][at], words[1][at]);
        assert_eq!(words[2][at], words[usize::from(herb)][at]);
    }
    assert_eq!(found["conversation"].as_array().unwrap().len(), 6);
}

/// In the contrast worlds no document names its speaker.
#[test]
fn documents_that_name_no_speaker_are_shown() {
    let found = Place::new().run(["world", "show", "contrast-0", "--json"]).json();
    let documents = found["documents"].as_array().unwrap();
    assert_eq!(documents.len(), 3);
    assert!(documents.iter().all(|d| d["text"].as_str().unwrap().starts_with("<bos> <sys> unknown ")));
}

#[test]
fn worlds_that_are_none_are_refused() {
    let place = Place::new();
    let said = place.run(["world", "show", "default-7"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.contains("there is no built-in world `default-7`") && said.err.contains("hint: "),
        "{}",
        said.err
    );
    let said = place.run(["world", "show", "."]);
    assert!(said.err.contains("there is no `world.json`"), "{}", said.err);
    // Nothing is trained for a folder that cannot take it.
    place.write("here", "");
    let said = place.run(["world", "pretrain", "--out", "."]);
    assert_eq!((said.code, said.err.contains("the folder is not empty")), (Some(1), true), "{}", said.err);
    let said = place.run(["world", "pretrain", "--out", "new", "--liar", "0.9"]);
    assert!(said.err.contains("the shares of speakers"), "{}", said.err);
}

#[test]
fn a_training_that_is_cut_short_leaves_nothing_but_what_it_goes_on_from() {
    let place = Place::new();
    let mut command = place.command(["world", "pretrain", "--out", "cut", "--threads", "1"]);
    command.timeout(Duration::from_secs(2)).output().unwrap();
    for entry in std::fs::read_dir(place.path("")).unwrap() {
        assert_eq!(entry.unwrap().file_name(), "cut.unfinished", "{}", text(&place.path("")));
    }
}
