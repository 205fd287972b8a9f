//! Edits: inspect and convert.

use serde_json::json;

use crate::common::{Place, text, tiny};

/// Adapters of the tiny Llama, whose B is zero.
fn adapter(name: &str) -> String {
    text(&tiny("../../../../strait/tests/fixtures/train").join(name))
}

#[test]
fn an_adapter_is_described() {
    let place = Place::new();
    let found = place.run(["edit", "inspect", &adapter("rank4"), "--json"]).json();
    assert_eq!((&found["kind"], &found["source"]), (&json!("lora"), &json!("peft")));
    assert_eq!((&found["rank"], &found["layers"]), (&json!(4), &json!([1, 3])));
    assert_eq!(found["sites"].as_array().unwrap().len(), 14);
    let said = place.run(["edit", "inspect", &format!("{}*2", adapter("rank1"))]);
    assert_eq!(said.code, Some(0));
    for fact in
        ["kind        LoRA", "layers      2", "alpha       2 (rsLoRA)", "scale       4", "norm        0"]
    {
        assert!(said.out.contains(fact), "{fact} in {}", said.out);
    }
}

#[test]
fn an_adapter_goes_to_a_file_and_back() {
    let place = Place::new();
    let (file, folder) = (text(&place.path("edit.safetensors")), text(&place.path("adapter")));
    let there = place.run(["edit", "convert", &adapter("rank4"), &file, "--json"]).json();
    assert_eq!(there["source"], "peft");
    let back = place.run(["edit", "convert", &file, &folder]);
    assert_eq!((back.code, back.out.as_str()), (Some(0), "wrote `[HERE]/adapter`\n"));
    assert!(place.path("adapter/adapter_model.safetensors").is_file());
    let summary = |edit: &str| {
        let mut found = place.run(["edit", "inspect", edit, "--json"]).json();
        let object = found.as_object_mut().unwrap();
        for key in ["path", "source", "provenance", "notes"] {
            object.remove(key);
        }
        found
    };
    assert_eq!(summary(&file), summary(&adapter("rank4")));
    assert_eq!(summary(&folder), summary(&adapter("rank4")));
}

#[test]
fn an_adapter_is_no_torch_file() {
    let place = Place::new();
    let said = place.run(["edit", "convert", &adapter("rank1"), "edit.pt"]);
    assert_eq!(said.code, Some(1));
    assert!(!place.path("edit.pt").exists());
}

#[test]
fn a_full_fine_tune_becomes_a_whole_model() {
    let place = Place::new();
    let edit = text(&tiny("../edit/full/llama.safetensors"));
    let found = place.run(["edit", "inspect", &edit, "--json"]).json();
    assert_eq!((&found["kind"], &found["layers"]), (&json!("full"), &json!([-1, 0, 1, 2, 3])));
    let refused = place.run(["edit", "convert", &edit, "model"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("--model M"), "{}", refused.err);
    let other = place.run(["edit", "convert", &edit, "model", "--model", &text(&tiny("llama3"))]);
    assert_eq!(other.code, Some(1), "{}", other.err);
    assert!(!place.path("model").exists());
    let said = place.run(["edit", "convert", &edit, "model", "--model", &text(&tiny("llama"))]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "wrote `model`\n"), "{}", said.err);
    let inspected = place.run(["model", "inspect", "model", "--json"]);
    assert_eq!(inspected.code, Some(0), "{}", inspected.err);
    let again = place.run(["edit", "convert", &edit, "model", "--model", &text(&tiny("llama"))]);
    assert_eq!(again.code, Some(1));
    // The change of another model is refused wherever edits are used.
    let rows = text(&tiny("../../../../strait/tests/fixtures/train/rows.jsonl"));
    let scored =
        place.run(["score", "--model", &text(&tiny("llama")), "--edit", &edit, "--data", &rows, "--json"]);
    assert_eq!(scored.code, Some(0), "{}", scored.err);
    let refused = place.run(["score", "--model", "model", "--edit", &edit, "--data", &rows]);
    assert!(refused.err.contains("other weights than this model's"), "{}", refused.err);
}

#[test]
fn an_edit_goes_to_llama_cpp_and_back() {
    let place = Place::new();
    let model = text(&tiny("llama"));
    let vector = strait_model::Edit::Steering(strait_model::edit::SteeringVector {
        layer: 2,
        vector: candle_core::Tensor::arange(1f32, 33f32, &candle_core::Device::Cpu).unwrap(),
    });
    vector.save(&place.path("vector.safetensors")).unwrap();
    let unnamed = place.run(["edit", "convert", "vector.safetensors", "vector.gguf"]);
    assert_eq!(unnamed.code, Some(1));
    insta::assert_snapshot!("gguf-without-its-model", unnamed.all());
    let said = place.run(["edit", "convert", "vector.safetensors", "vector.gguf", "--model", &model]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "wrote `vector.gguf`\n"), "{}", said.err);
    let found = place.run(["edit", "inspect", "vector.gguf", "--json"]).json();
    assert_eq!((&found["source"], &found["layers"]), (&json!("gguf"), &json!([2])));
    assert_eq!(found["provenance"]["model_hint"], "llama");
    let rows = text(&tiny("../../../../strait/tests/fixtures/train/rows.jsonl"));
    let loss = |edit: &str| {
        place.run(["score", "--model", &model, "--edit", edit, "--data", &rows, "--json"]).json()["loss"]
            .clone()
    };
    assert_eq!(loss("vector.gguf"), loss("vector.safetensors"));
    assert_eq!(loss("vector.gguf*0.5"), loss("vector.safetensors*0.5"));

    let adapter = text(&tiny("../edit/peft/plain"));
    let found = place.run(["edit", "inspect", &adapter]);
    insta::assert_snapshot!("inspect-spectra", found.all());
    let found = place.run(["edit", "inspect", &adapter, "--json"]).json();
    let site = &found["sites"][0];
    for figure in ["stable_rank", "effective_rank", "spectrum_entropy", "spectrum_flatness"] {
        assert!(site[figure].is_number(), "{figure} in {site}");
    }
    assert_eq!(site["singular_values"].as_array().unwrap().len() as u64, found["rank"].as_u64().unwrap());
}
