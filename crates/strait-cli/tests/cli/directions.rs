//! Directions: compare and pca.

use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use strait_model::{
    Edit,
    edit::{Ablation, Adapter, Lora, Projection, Site, SteeringVector},
};

use crate::common::{Place, text, tiny};

fn tensor(values: &[f32]) -> Tensor {
    Tensor::new(values, &Device::Cpu).unwrap()
}

fn vector(layer: i32, values: &[f32]) -> Edit {
    Edit::Steering(SteeringVector { layer, vector: tensor(values) })
}

/// A LoRA at one projection.
fn lora(a: &[&[f32]], b: &[&[f32]]) -> Edit {
    let matrix =
        |rows: &[&[f32]]| Tensor::from_vec(rows.concat(), (rows.len(), rows[0].len()), &Device::Cpu).unwrap();
    let site = Site::Projection { layer: 2, projection: Projection::Down };
    let adapters = vec![Adapter { site, a: matrix(a), b: matrix(b) }];
    Edit::Lora(Lora { adapters, rank: a.len(), alpha: a.len() as f64, rslora: false, factor: 1.0 })
}

impl Place {
    /// An edit in a file, and its path.
    fn edit(&self, name: &str, edit: &Edit) -> String {
        let path = self.path(name);
        edit.save(&path).unwrap();
        text(&path)
    }
}

#[track_caller]
fn close(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

fn torch(name: &str) -> String {
    text(&tiny(&format!("../edit/torch/{name}.pt")))
}

#[test]
fn vectors_are_compared_whatever_their_layers() {
    let place = Place::new();
    let one = place.edit("one.safetensors", &vector(3, &[3.0, 4.0, 0.0]));
    let other = place.edit("other.safetensors", &vector(1, &[0.0, 1.0, 0.0]));
    let direction = Ablation { layer: 2, direction: tensor(&[0.0, -2.0, 0.0]), factor: 1.0 };
    let ablation = place.edit("ablation.safetensors", &Edit::Ablation(direction));
    let rank1 = place.edit("rank1.safetensors", &lora(&[&[0.0, 3.0]], &[&[0.0], &[0.0], &[5.0]]));
    let files = ["direction", "compare", &one, &format!("{other}*-2"), &ablation, &rank1];
    let found = place.run(files.into_iter().chain(["--json"])).json();
    for (norm, expected) in found["norms"].as_array().unwrap().iter().zip([5.0, 2.0, 1.0, 15.0]) {
        close(norm, expected);
    }
    close(&found["cosine"][0][1], -0.8);
    close(&found["cosine"][1][0], -0.8);
    close(&found["cosine"][1][2], 1.0);
    close(&found["cosine"][0][3], 0.0);
    close(&found["cosine"][3][3], 1.0);
    assert_eq!((&found["layers"], &found["steps"]), (&json!([]), &json!([null, null, null, null])));
    assert_eq!(found["names"][0], "[HERE]/one.safetensors");
    let said = place.run(files);
    insta::assert_snapshot!("direction-compare", said.all());
}

#[test]
fn edits_of_several_layers_are_compared_layer_by_layer_too() {
    let place = Place::new();
    let both = |name: &str, one: &[f32], other: &[f32]| {
        place.edit(name, &Edit::composed([vector(0, one), vector(2, other)]))
    };
    let one = both("one.safetensors", &[1.0, 0.0], &[0.0, 2.0]);
    let other = both("other.safetensors", &[0.0, 1.0], &[0.0, 1.0]);
    let found = place.run(["direction", "compare", &one, &other, "--json"]).json();
    close(&found["cosine"][0][1], 2.0 / 10f64.sqrt());
    assert_eq!(found["layers"][0]["place"], "layer 0");
    close(&found["layers"][0]["cosine"][0][1], 0.0);
    close(&found["layers"][1]["cosine"][0][1], 1.0);
    close(&found["layers"][1]["norms"][0], 2.0);
    let single = place.edit("single.safetensors", &vector(2, &[0.0, 1.0]));
    let said = place.run(["direction", "compare", &one, &single]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("has a vector at layer 0"), "{}", said.err);
}

#[test]
fn adapters_of_higher_rank_are_compared_by_what_they_change() {
    let place = Place::new();
    // The same change B A, written in two ways; and one at a right angle.
    let one = place.edit("one.safetensors", &lora(&[&[1.0, 0.0], &[0.0, 1.0]], &[&[1.0, 0.0], &[0.0, 2.0]]));
    let same =
        place.edit("same.safetensors", &lora(&[&[0.0, 4.0], &[2.0, 0.0]], &[&[0.0, 0.5], &[0.5, 0.0]]));
    let across =
        place.edit("across.safetensors", &lora(&[&[0.0, 1.0], &[0.0, 0.0]], &[&[3.0, 0.0], &[0.0, 0.0]]));
    let found = place.run(["direction", "compare", &one, &same, &across, "--json"]).json();
    close(&found["norms"][0], 5f64.sqrt());
    close(&found["cosine"][0][1], 1.0);
    close(&found["cosine"][0][2], 0.0);
    let found = place.run(["direction", "pca", &one, &same, &across, "--json"]).json();
    close(&found["explained"][0], 1.0);
    let refused = place.run(["direction", "pca", "--standardise", &one, &same]);
    assert!(refused.err.contains("hint: leave `--standardise` away"), "{}", refused.err);
}

#[test]
fn vectors_without_a_layer_need_none() {
    let place = Place::new();
    let found = place.run(["direction", "compare", &torch("bare"), &torch("dict"), "--json"]);
    assert!(found.err.contains("no alpha"), "{}", found.err);
    let found = found.json();
    close(&found["cosine"][0][1], 1.0);
    // Where an edit acts it must say its layer, as before.
    let said = place.run(["edit", "inspect", &torch("bare")]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("after which layer"), "{}", said.err);
}

#[test]
fn checkpoints_are_stacked_in_their_order() {
    let place = Place::new();
    let walk = |folder: &str, to: f32| {
        for step in [10, 20, 30, 40] {
            let t = step as f32 / 10.0;
            let name = format!("{folder}/checkpoints/step-{step:06}.safetensors");
            place.edit(&name, &vector(1, &[t, to * t, 5.0]));
        }
        place.edit(&format!("{folder}/edit.safetensors"), &vector(1, &[4.0, to * 4.0, 5.0]));
    };
    walk("general", 1.0);
    walk("narrow", -1.0);
    let found = place.run(["direction", "pca", "general", "narrow", "--components", "2", "--json"]).json();
    assert_eq!(found["steps"], json!([10, 20, 30, 40, 10, 20, 30, 40]));
    assert_eq!(found["files"], json!([0, 0, 0, 0, 1, 1, 1, 1]));
    assert_eq!(found["names"][0], "general/checkpoints/step-000010.safetensors");
    // 30 / 4 along what differs between both, and 10 / 8 along what they share.
    close(&found["explained"][0], 60.0 / 70.0);
    close(&found["explained"][1], 10.0 / 70.0);
    close(&found["scores"][3][0], 4.0);
    close(&found["scores"][7][0], -4.0);
    assert_eq!(found["scores"].as_array().unwrap().len(), 8);
    let scaled = place.run(["direction", "pca", "--standardise", "general", "narrow", "--json"]).json();
    // Two coordinates vary, each with the same weight now.
    close(&scaled["explained"][0], 0.5);
    insta::assert_snapshot!("direction-pca", place.run(["direction", "pca", "general", "narrow"]).all());

    // Compared as the solutions that they are; along its training where that is named.
    let found = place.run(["direction", "compare", "general", "narrow", "--json"]).json();
    assert_eq!(found["norms"].as_array().unwrap().len(), 2);
    let found = place.run(["direction", "compare", "general/checkpoints", "--json"]).json();
    assert_eq!(found["steps"], json!([10, 20, 30, 40]));

    std::fs::remove_file(place.path("narrow/checkpoints/step-000020.safetensors")).unwrap();
    place.edit("narrow/checkpoints/step-000050.safetensors", &vector(1, &[5.0, 5.0, 5.0]));
    let said = place.run(["direction", "pca", "general", "narrow"]);
    insta::assert_snapshot!("direction-gap", said.all());
}

#[test]
fn what_has_no_common_space_is_refused() {
    let place = Place::new();
    let one = place.edit("one.safetensors", &vector(1, &[1.0, 0.0]));
    let wider = place.edit("wider.safetensors", &vector(1, &[1.0, 0.0, 0.0]));
    let rank2 = place.edit("rank2.safetensors", &lora(&[&[1.0], &[1.0]], &[&[1.0, 0.0], &[0.0, 2.0]]));
    let refused = |files: &[&str], words: &str| {
        let said = place.run(["direction"].iter().chain(files));
        assert_eq!(said.code, Some(1), "{}", said.out);
        assert!(said.err.contains(words) && said.err.contains("\n\nhint: "), "{}", said.err);
    };
    refused(&["compare", &one, &wider], "has vectors of 2 numbers and");
    refused(&["compare", &one, &rank2], "edits of different kinds");
    refused(&["pca", &one], "one edit alone");
    refused(&["pca", &one, &one], "all alike");
    refused(&["compare", "nowhere.pt"], "nowhere.pt");
    refused(&["compare", &torch("nan")], "NaN");
    refused(&["compare", &text(&tiny("../edit/hostile/call_global.pt"))], "call_global.pt");
    std::fs::create_dir(place.path("empty")).unwrap();
    refused(&["pca", "empty"], "neither an edit nor checkpoints");
    let zero = place.edit("zero.safetensors", &vector(1, &[0.0, 0.0]));
    let found = place.run(["direction", "compare", &one, &zero, "--json"]).json();
    assert_eq!((&found["norms"][1], &found["cosine"][0][1]), (&json!(0.0), &Value::Null));
}

/// Six digits of what NumPy and scikit-learn find of the released vectors.
fn the_papers_own_vectors() {
    let shared = std::env::var_os("STRAIT_SHARED").expect("STRAIT_SHARED names the folder that holds data/");
    let vectors = Path::new(&shared).join("data/vectors");
    let expected: Value =
        serde_json::from_slice(&std::fs::read(vectors.join("expected.json")).unwrap()).unwrap();
    let kinds = ["general", "narrow_kl1e6", "narrow_then_kl_removed"];
    let folders = kinds.map(|kind| text(&vectors.join(kind)));
    let place = Place::new();
    let run = |first: &[&str]| {
        let arguments = first.iter().copied().chain(folders.iter().map(String::as_str)).chain(["--json"]);
        place.run(["direction"].into_iter().chain(arguments)).json()
    };
    let found = run(&["compare"]);
    let last_general = 14;
    for (i, norm) in found["norms"].as_array().unwrap().iter().enumerate() {
        let (kind, step) = (kinds[i / 15], found["steps"][i].to_string());
        let of = &expected[kind][&step];
        close(norm, of["norm"].as_f64().unwrap());
        close(&found["cosine"][i][last_general], of["cosine_to_general_676"].as_f64().unwrap());
    }
    assert_eq!(found["norms"].as_array().unwrap().len(), 45);
    for (flags, key) in [
        (&["pca"][..], "centred_explained_ratio"),
        (&["pca", "--standardise"], "standardised_explained_ratio"),
    ] {
        let found = run(flags);
        let ratios = expected["pca"][key].as_array().unwrap();
        assert_eq!(found["explained"].as_array().unwrap().len(), ratios.len());
        for (found, expected) in found["explained"].as_array().unwrap().iter().zip(ratios) {
            close(found, expected.as_f64().unwrap());
        }
    }
}

mod needs_papers {
    #[test]
    #[ignore = "needs the papers' data: STRAIT_SHARED=DIR, the folder that holds data/"]
    fn vectors_of_the_papers_have_their_norms_cosines_and_components() {
        super::the_papers_own_vectors();
    }
}
