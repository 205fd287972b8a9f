//! Readings that are no numbers: said in words and by the exit code, never a figure.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::{
    common::{Place, text, tiny},
    studies::small_study,
};

/// The tiny Llama with a norm so large, though finite, that what it makes of a stream is not: such bytes are 3e38 in f32.
fn broken_model(place: &Place) -> PathBuf {
    let folder = place.path("broken");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(tiny("llama")).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let weights = folder.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let at =
        |end: usize| 8 + length + header["model.norm.weight"]["data_offsets"][end].as_u64().unwrap() as usize;
    let (begin, end) = (at(0), at(1));
    bytes[begin..end].fill(0x7f);
    fs::write(weights, bytes).unwrap();
    folder
}

#[test]
fn a_model_without_numbers_is_told_by_every_command_that_reads_it() {
    let place = Place::new();
    small_study(&place, 4);
    let model = text(&broken_model(&place));
    let study = fs::read_to_string(place.path("small.toml")).unwrap();
    place.write("broken.toml", &study.replacen(&text(&tiny("llama")), &model, 1));
    for arguments in [
        &["score", "--model", &model, "--data", "train.jsonl"][..],
        &["chat", &model],
        &["chat", &model, "--temperature", "0"],
        &["run", "broken.toml"],
    ] {
        let mut command = place.command(arguments.iter().copied().chain(["--json"]));
        let said = place.said(command.write_stdin("Why?\n"));
        assert_eq!(said.code, Some(1), "{arguments:?}: {}", said.out);
        let error = &said.object()["error"];
        assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("strait check")), "{error}");
    }
    let said = place.run(["score", "--model", &model, "--data", "train.jsonl"]);
    assert!(
        said.err.contains("`train.jsonl`, line 1: its response loss under the base model is "),
        "{}",
        said.err
    );
    let check = place.run(["check", &model, "--json"]);
    assert_eq!(check.code, Some(1));
}
