//! Edits in files: strait's own, PEFT's and PyTorch's. `fixtures/edit/make.py` writes the foreign ones.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::problem_of;
use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use serde_json::{Value, json};
use strait_model::{
    Config, Edit, Error, Result,
    edit::{
        self, Ablation, Adapter, BaseModel, Kind, Lora, Problem, Projection, Site, Source, SteeringVector,
        convert, export_peft,
    },
    error::Problem as _,
    files::StandIn,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/edit").join(name)
}

fn expected() -> Value {
    serde_json::from_str(&fs::read_to_string(fixture("expected.json")).unwrap()).unwrap()
}

fn open(path: &Path, suffix: &str) -> Result<Edit> {
    edit::open(&format!("{}{suffix}", path.display()))
}

fn problem<T: std::fmt::Debug>(result: Result<T>) -> Problem {
    problem_of(result.unwrap_err())
}

fn close(found: f64, expected: f64, relative: f64) {
    assert!((found - expected).abs() <= relative * expected.abs(), "{found} is not {expected}");
}

fn vector(values: &[f32]) -> Tensor {
    Tensor::new(values, &Device::Cpu).unwrap()
}

fn steering(layer: i32, values: &[f32]) -> Edit {
    Edit::Steering(SteeringVector { layer, vector: vector(values) })
}

/// Numbers that look random and are the same everywhere.
fn matrix(rows: usize, columns: usize, seed: usize) -> Tensor {
    let values = (0..rows * columns).map(|i| ((i * 37 + seed * 101) % 64) as f32 / 32.0 - 1.0);
    Tensor::from_iter(values, &Device::Cpu).unwrap().reshape((rows, columns)).unwrap()
}

fn adapter(layer: usize, projection: Projection, rank: usize) -> Adapter {
    let (input, output) = match projection {
        Projection::Q | Projection::O => (16, 16),
        Projection::K | Projection::V => (16, 8),
        Projection::Gate | Projection::Up => (16, 24),
        Projection::Down => (24, 16),
    };
    let seed = layer * 7 + projection as usize;
    let site = Site::Projection { layer, projection };
    Adapter { site, a: matrix(rank, input, seed), b: matrix(output, rank, seed + 3) }
}

fn lora(sites: &[(usize, Projection)], rank: usize) -> Lora {
    Lora {
        adapters: sites.iter().map(|&(layer, p)| adapter(layer, p, rank)).collect(),
        rank,
        alpha: 6.0,
        rslora: false,
        factor: 1.0,
    }
}

/// scale * B A of every adapter, in f64.
fn deltas(lora: &Lora) -> BTreeMap<String, Vec<Vec<f64>>> {
    let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
    let delta = |a: &Adapter| (wide(&a.b).matmul(&wide(&a.a)).unwrap() * lora.scale()).unwrap();
    lora.adapters.iter().map(|a| (a.site.module(), delta(a).to_vec2().unwrap())).collect()
}

fn assert_equal_deltas(found: &Lora, expected: &Lora, relative: f64) {
    let (found, expected) = (deltas(found), deltas(expected));
    assert!(found.keys().eq(expected.keys()));
    for (site, rows) in &expected {
        let flat = rows.iter().flatten();
        let largest = flat.clone().fold(0.0, |m: f64, v| m.max(v.abs()));
        for (found, expected) in found[site].iter().flatten().zip(flat) {
            assert!((found - expected).abs() <= relative * largest, "{site}: {found} is not {expected}");
        }
    }
}

/// A LoRA of rank 2 on the embeddings of the model of [`config`].
fn on_embeddings() -> Lora {
    let adapter = Adapter { site: Site::Embeddings, a: matrix(2, 16, 1), b: matrix(16, 2, 4) };
    Lora { adapters: vec![adapter], ..lora(&[], 2) }
}

fn ablation(layer: i32, direction: &[f32], factor: f64) -> Edit {
    Edit::Ablation(Ablation { layer, direction: vector(direction), factor })
}

fn into_lora(edit: Edit) -> Lora {
    match edit {
        Edit::Lora(lora) => lora,
        other => panic!("{other:?}"),
    }
}

fn bits(edit: &Edit) -> Vec<(String, Vec<usize>, Vec<u32>)> {
    let bits = |t: &Tensor| {
        t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    edit.tensors().into_iter().map(|(name, t)| (name, t.dims().to_vec(), bits(&t))).collect()
}

// The edit itself.

#[test]
fn norms_are_those_of_what_is_added() {
    let v = steering(3, &[3.0, 0.0, -4.0]);
    assert_eq!(v.norm().unwrap(), 5.0);
    assert_eq!(v.scaled(-2.0).unwrap().norm().unwrap(), 10.0);

    let mut l = lora(&[(0, Projection::Q), (2, Projection::Down)], 3);
    l.factor = -0.5;
    let squares: f64 = deltas(&l).values().flatten().flatten().map(|x| x * x).sum();
    let norm = Edit::Lora(l.clone()).norm().unwrap();
    close(norm, squares.sqrt(), 1e-12);

    let both = Edit::composed([v, Edit::Lora(l)]);
    close(both.norm().unwrap(), (25.0 + norm * norm).sqrt(), 1e-12);
    assert_eq!(Edit::composed([]).norm().unwrap(), 0.0);
}

#[test]
fn scaling_is_folded_into_vectors_and_remembered_by_loras() {
    let l = Edit::Lora(lora(&[(1, Projection::Up)], 2));
    let both =
        Edit::composed([steering(0, &[1.0, 2.0]), l.clone()]).scaled(2.0).unwrap().scaled(0.25).unwrap();
    let Edit::Composed(parts) = &both else { panic!("{both:?}") };
    assert_eq!(bits(&parts[0]), bits(&steering(0, &[0.5, 1.0])));
    assert_eq!(bits(&parts[1]), bits(&l));
    let Edit::Lora(scaled) = &parts[1] else { panic!() };
    assert_eq!((scaled.factor, scaled.scale()), (0.5, 1.5));
    assert!(matches!(problem(l.scaled(f64::NAN)), Problem::Factor { .. }));
}

#[test]
fn ablations_are_as_large_as_what_they_take_away() {
    let half = ablation(2, &[3.0, 4.0], 1.0).scaled(-0.5).unwrap();
    assert_eq!(half.norm().unwrap(), 0.5);
    let dot = |direction: &[f32], layer| half.dot(&ablation(layer, direction, 2.0)).unwrap();
    // The matrix of a direction has no sign and no length.
    close(dot(&[-6.0, -8.0], 2).unwrap(), -1.0, 1e-6);
    close(dot(&[1.0, 0.0], 2).unwrap(), -0.36, 1e-6);
    assert_eq!(dot(&[1.0, 0.0], 3), None);
    let summary = serde_json::to_value(half.summary().unwrap()).unwrap();
    let sites = json!([{"site": "ablation.2", "norm": 0.5}]);
    let expected = json!({"kind": "ablation", "layers": [2], "norm": 0.5, "parameters": 2, "sites": sites});
    assert_eq!(summary, expected);
}

#[test]
fn compositions_are_flat_and_know_where_they_begin() {
    let first = |edits: Vec<Edit>| Edit::composed(edits).first_layer();
    let l = Edit::Lora(lora(&[(5, Projection::Up), (4, Projection::Down)], 1));
    assert_eq!(l.first_layer(), Some(4));
    assert_eq!(first(vec![l.clone(), steering(-1, &[1.0])]), Some(-1));
    assert_eq!(first(vec![]), None);

    let inner = Edit::composed([steering(1, &[1.0]), l.clone()]);
    let outer = Edit::composed([inner.clone(), steering(2, &[1.0])]);
    assert!(matches!(&outer, Edit::Composed(parts) if parts.len() == 3));
    let nested = Edit::Composed(vec![inner, steering(2, &[1.0])]);
    assert_eq!(nested.parts().count(), 3);
    assert_eq!(bits(&nested), bits(&outer));
    assert!(matches!(Edit::composed([l]), Edit::Lora(_)), "one edit alone stays itself");

    let names: Vec<_> = outer.tensors().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[0], "0.steering.1");
    assert_eq!(names[1], "1.base_model.model.model.layers.5.mlp.up_proj.lora_A.weight");
    assert_eq!(names[5], "2.steering.2");
}

#[test]
fn a_summary_says_what_an_edit_is() {
    let mut l = lora(&[(1, Projection::Q), (1, Projection::Up)], 4);
    (l.rslora, l.factor) = (true, 2.0);
    let summary = Edit::Lora(l).summary().unwrap();
    assert_eq!((summary.kind, summary.layers.as_slice(), summary.parameters), (Kind::Lora, &[1][..], 288));
    let squares: f64 = summary.sites.iter().map(|s| s.norm * s.norm).sum();
    close(squares.sqrt(), summary.norm, 1e-12);
    let shown = serde_json::to_value(&summary).unwrap();
    for (key, value) in [
        ("kind", json!("lora")),
        ("rank", json!(4)),
        ("alpha", json!(6.0)),
        ("rslora", json!(true)),
        ("factor", json!(2.0)),
        ("scale", json!(6.0)),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert_eq!(shown["sites"][1]["site"], "model.layers.1.mlp.up_proj");

    let both = Edit::composed([steering(3, &[3.0, 4.0]), steering(-1, &[0.0, 1.0])]);
    let shown = serde_json::to_value(both.summary().unwrap()).unwrap();
    assert_eq!(shown["layers"], json!([-1, 3]));
    assert_eq!(
        shown["parts"][0],
        json!({
            "kind": "steering", "layers": [3], "norm": 5.0, "parameters": 2,
            "sites": [{"site": "steering.3", "norm": 5.0}],
        })
    );
}

/// A model of the sizes that [`adapter`] has, with four layers.
fn config() -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 4, "hidden_size": 16,
        "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 32,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": true,
    });
    fs::write(&path, config.to_string()).unwrap();
    Config::from_hf(&path).unwrap()
}

#[test]
fn an_edit_fits_a_model_or_is_refused() {
    let config = config();
    let every: Vec<_> = Projection::ALL.into_iter().flat_map(|p| [(0, p), (3, p)]).collect();
    let whole =
        Edit::composed([steering(-1, &[1.0; 16]), steering(3, &[1.0; 16]), Edit::Lora(lora(&every, 2))]);
    whole.check(&config).unwrap();
    let also = [Edit::Lora(on_embeddings()), ablation(-1, &[1.0; 16], 1.0), ablation(3, &[1.0; 16], 0.0)];
    Edit::composed(also).check(&config).unwrap();
    let zero = problem(ablation(1, &[0.0; 16], 1.0).check(&config));
    assert!(matches!(zero, Problem::NoDirection { name } if name == "ablation.1"));
    for (layer, size) in [(4, 16), (0, 15)] {
        let found = problem(ablation(layer, &vec![1.0; size], 1.0).check(&config));
        assert!(matches!(found, Problem::LayerRange { .. } | Problem::Size { .. }), "{found}");
    }
    let mut narrow = on_embeddings();
    narrow.adapters[0].a = matrix(2, 15, 0);
    let found = problem(Edit::Lora(narrow).check(&config)).to_string();
    assert!(found.contains("model.embed_tokens"), "{found}");

    for layer in [-2, 4] {
        let found = problem(steering(layer, &[1.0; 16]).check(&config));
        assert!(matches!(found, Problem::LayerRange { layers: 4, .. }), "{found}");
    }
    let deep = Edit::Lora(lora(&[(4, Projection::Q)], 2));
    let found = problem(deep.check(&config)).to_string();
    assert_eq!(
        found,
        "the edit acts at `model.layers.4.self_attn.q_proj`, but the model has 4 layers (0 to 3)"
    );
    let found = problem(steering(0, &[1.0; 15]).check(&config));
    assert!(matches!(found, Problem::Size { expected, found, .. } if expected == [16] && found == [15]));
    for (a, b) in [((2, 23), (16, 2)), ((2, 24), (17, 2))] {
        let adapter = Adapter {
            site: Site::Projection { layer: 0, projection: Projection::Down },
            a: matrix(a.0, a.1, 0),
            b: matrix(b.0, b.1, 0),
        };
        let wrong = Edit::Lora(Lora { adapters: vec![adapter], ..lora(&[], 2) });
        assert!(matches!(problem(wrong.check(&config)), Problem::Size { .. }));
    }
    let nan = steering(0, &[f32::NAN; 16]);
    assert!(matches!(problem(nan.check(&config)), Problem::NotFinite { .. }));
}

// strait's own files.

#[test]
fn what_is_saved_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edit.safetensors");
    let edit = Edit::composed([
        steering(24, &[1.0, -0.0, f32::MIN_POSITIVE / 2.0]),
        Edit::Lora(Lora { alpha: 0.1, rslora: true, factor: -1e-300, ..lora(&[(0, Projection::V)], 2) }),
        steering(-1, &[1.0]),
        Edit::Lora(on_embeddings()),
        ablation(-1, &[0.5, -2.0], 0.1),
    ]);
    let provenance = json!({"model": "smol", "seed": 7});
    edit.save_with(&path, &provenance).unwrap();

    for name in [&path, &folder.path().to_path_buf()] {
        let opened = edit::read(name.to_str().unwrap()).unwrap();
        assert_eq!((opened.source, &opened.path), (Source::Strait, &path));
        assert_eq!(opened.provenance, provenance);
        assert!(opened.notes.is_empty());
        assert_eq!(bits(&opened.edit), bits(&edit));
        let Edit::Composed(parts) = opened.edit else { panic!() };
        let Edit::Lora(found) = &parts[1] else { panic!() };
        assert_eq!((found.rank, found.alpha, found.rslora, found.factor), (2, 0.1, true, -1e-300));
        let Edit::Ablation(found) = &parts[4] else { panic!() };
        assert_eq!((found.layer, found.factor), (-1, 0.1));
    }

    let again = folder.path().join("again.safetensors");
    edit.save_with(&again, &provenance).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap(), "equal edits make equal files");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file stays");
}

#[test]
fn what_could_not_be_opened_is_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edit.safetensors");
    let found = problem(steering(0, &[1.0, f32::NAN]).save(&path));
    assert!(matches!(found, Problem::NotFinite { tensor, index: 1, .. } if tensor == "steering.0"));
    assert!(matches!(problem(Edit::composed([]).save(&path)), Problem::Empty));
    let twice = Edit::Lora(lora(&[(0, Projection::Q), (0, Projection::Q)], 2));
    assert!(matches!(problem(twice.save(&path)), Problem::SameSite { .. }));
    let other = Edit::Lora(Lora { rank: 3, ..lora(&[(0, Projection::Q)], 2) });
    assert!(matches!(problem(other.save(&path)), Problem::Rank { expected: 3, found: 2, .. }));
    let infinite = Edit::Lora(Lora { alpha: f64::INFINITY, ..lora(&[(0, Projection::Q)], 2) });
    assert!(matches!(problem(infinite.save(&path)), Problem::Scale { .. }));
    let square = Edit::Steering(SteeringVector { layer: 0, vector: matrix(2, 2, 0) });
    assert!(matches!(problem(square.save(&path)), Problem::VectorShape { .. }));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A safetensors file by its header and the number of bytes after it.
fn safetensors(path: &Path, header: &str, bytes: usize) {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes, 0);
    fs::write(path, file).unwrap();
}

#[test]
fn each_malformed_file_has_its_problem() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edit.safetensors");
    let found = |header: &str, bytes: usize| {
        safetensors(&path, header, bytes);
        problem(open(&path, ""))
    };
    /// A header with the metadata and the named tensors of one value each.
    fn header(metadata: &str, names: &[&str]) -> String {
        let tensors = names.iter().enumerate().map(|(i, name)| {
            format!(r#","{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}"#, i * 4, i * 4 + 4)
        });
        format!(r#"{{"__metadata__":{{{metadata}}}{}}}"#, tensors.collect::<String>())
    }
    const STRAIT: &str = r#""format":"strait.edit","version":"1""#;

    fs::write(&path, [0; 7]).unwrap();
    assert!(matches!(problem(open(&path, "")), Problem::Header(_)));
    fs::write(&path, (1u64 << 63).to_le_bytes()).unwrap();
    assert!(
        matches!(problem(open(&path, "")), Problem::HeaderSize { claimed, limit: 0 } if claimed == 1 << 63)
    );
    assert!(matches!(found("{", 0), Problem::Header(_)));
    let gap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    assert!(matches!(found(gap, 8), Problem::Header(_)));
    let huge = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#;
    assert!(matches!(found(huge, 4), Problem::Header(_)));
    assert!(matches!(found(&header(STRAIT, &["steering.0"]), 3), Problem::FileSize { .. }));
    assert!(matches!(found(&header(STRAIT, &["steering.0"]), 5), Problem::FileSize { .. }));
    let integers = header(STRAIT, &["steering.0"]).replace("F32", "I32");
    assert!(matches!(
        found(&integers, 4),
        Problem::DataType { tensor, dtype } if tensor == "steering.0" && dtype == "I32"
    ));

    assert!(matches!(found(&header("", &["steering.0"]), 4), Problem::Format { found: None }));
    let peft = header(r#""format":"pt""#, &["steering.0"]);
    assert!(matches!(found(&peft, 4), Problem::Format { found: Some(f) } if f == "pt"));
    let newer = STRAIT.replace(r#""1""#, r#""2""#);
    assert!(
        matches!(found(&header(&newer, &["steering.0"]), 4), Problem::Version { found, .. } if found == "2")
    );
    assert!(matches!(
        found(&header(r#""format":"strait.edit""#, &[]), 0),
        Problem::MetadataMissing { key } if key == "version"
    ));
    assert!(matches!(found(&header(STRAIT, &[]), 0), Problem::Empty));
    assert!(matches!(
        found(&header(STRAIT, &["steering.0", "steering.1"]), 8),
        Problem::UnknownTensor { .. }
    ));
    assert!(matches!(
        found(&header(STRAIT, &["weight"]), 4),
        Problem::UnknownTensor { name } if name == "weight"
    ));
    let [a, b] =
        ["A", "B"].map(|half| format!("base_model.model.model.layers.0.mlp.up_proj.lora_{half}.weight"));
    let (a, b) = (a.as_str(), b.as_str());
    assert!(matches!(found(&header(STRAIT, &[a]), 4), Problem::Unpaired { missing: "lora_B", .. }));
    // A name that stands twice is JSON that says a key twice.
    assert!(matches!(found(&header(STRAIT, &[a, b, a]), 12), Problem::Header(_)));
    assert!(matches!(found(&header(STRAIT, &[a, b]), 8), Problem::AdapterShapes { .. }));

    let (c, d) = (format!("1.{a}"), format!("1.{b}"));
    let pair = |metadata: &str| {
        let parts = format!(r#"{STRAIT},"parts":"2"{metadata}"#);
        header(&parts, &["0.steering.0", &c, &d]).replace("[1]", "[1,1]").replacen("[1,1]", "[1]", 1)
    };
    assert!(matches!(
        found(&pair(""), 12),
        Problem::MetadataMissing { key } if key == "1.r"
    ));
    let lora = r#","1.r":"1","1.alpha":"x","1.rslora":"false","1.factor":"1""#;
    assert!(matches!(
        found(&pair(lora), 12),
        Problem::MetadataValue { key, .. } if key == "1.alpha"
    ));
    assert!(matches!(found(&pair(&lora.replace('x', "inf")), 12), Problem::Scale { .. }));
    let whole = pair(&lora.replace('x', "1"));
    safetensors(&path, &whole, 12);
    assert_eq!(open(&path, "").unwrap().parts().count(), 2);
    assert!(matches!(
        found(&whole.replace(r#""1.r":"1""#, r#""1.r":"2""#), 12),
        Problem::Rank { expected: 2, found: 1, .. }
    ));
    assert!(matches!(
        found(&whole.replace(r#""parts":"2""#, r#""parts":"1000000000000""#), 12),
        Problem::EmptyPart { part: 2 }
    ));
    assert!(matches!(
        found(&whole.replace(r#""parts":"2""#, r#""parts":"1""#), 12),
        Problem::UnknownTensor { .. }
    ));
    let lost = whole.replace(r#""version""#, r#""provenance":"{","version""#);
    assert!(matches!(
        found(&lost, 12),
        Problem::MetadataValue { key, .. } if key == "provenance"
    ));

    steering(0, &[1.0]).save(&path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = open(&path, "").unwrap_err();
    assert_eq!(error.to_string(), format!("`{}`: value 0 of tensor `steering.0` is inf", path.display()));
}

#[test]
fn an_edit_cut_off_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edit.safetensors");
    steering(3, &[1.0; 16]).save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, []).unwrap();
    assert!(open(&path, "").unwrap_err().problem::<StandIn>().is_some());
    for part in 1..20 {
        fs::write(&path, &whole[..whole.len() * part / 20]).unwrap();
        let found = problem(open(&path, ""));
        assert!(
            matches!(found, Problem::Header(_) | Problem::HeaderSize { .. } | Problem::FileSize { .. }),
            "{part}: {found}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn saving_and_opening_keeps_every_bit(
        values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO, 1..40),
        layer in -1i32..100,
        alpha in prop::num::f64::NORMAL,
        composed: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.safetensors");
        let mut edit = steering(layer, &values);
        if composed {
            let mut l = lora(&[(3, Projection::Q), (3, Projection::Down)], 2);
            l.alpha = alpha / 4.0;
            edit = Edit::composed([edit.clone(), Edit::Lora(l), edit]);
        }
        edit.save(&path).unwrap();
        let found = open(&path, "").unwrap();
        prop_assert_eq!(bits(&found), bits(&edit));
        let metadata = |e: &Edit| e.summary().unwrap().parts.iter().map(|p| p.lora.clone()).collect::<Vec<_>>();
        prop_assert_eq!(metadata(&found), metadata(&edit));
    }

    #[test]
    fn an_exported_adapter_means_the_same(
        sites in prop::collection::btree_set((0usize..4, prop::sample::select(&Projection::ALL[..])), 1..8),
        rank in 1usize..5,
        alpha in 0.01f64..300.0,
        rslora: bool,
        factor in -4.0f64..4.0,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        let sites: Vec<_> = sites.into_iter().collect();
        let l = Lora { alpha, rslora, factor, ..lora(&sites, rank) };
        export_peft(&l, &path, &BaseModel { name: Some("org/model"), layers: Some(4), ..BaseModel::default() }).unwrap();
        let opened = edit::read(path.to_str().unwrap()).unwrap();
        prop_assert_eq!(opened.source, Source::Peft);
        prop_assert_eq!(&opened.provenance, &json!({"base_model": "org/model"}));
        prop_assert!(opened.notes.is_empty());
        let found = into_lora(opened.edit);
        prop_assert_eq!((found.rank, found.alpha, found.rslora, found.factor), (rank, alpha, rslora, 1.0));
        assert_equal_deltas(&found, &l, 1e-6);
    }
}

// Names of edits.

#[test]
fn a_factor_after_the_path_scales() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.safetensors");
    steering(3, &[1.0, -2.0]).save(&path).unwrap();
    assert_eq!(bits(&open(&path, "*-2.5").unwrap()), bits(&steering(3, &[-2.5, 5.0])));
    assert_eq!(bits(&open(&path, "@3*2").unwrap()), bits(&steering(3, &[2.0, -4.0])));
    assert!(matches!(problem(open(&path, "*two")), Problem::FactorText { text } if text == "two"));
    assert!(matches!(problem(open(&path, "@4")), Problem::LayerDisagrees { found: 3, asked: 4 }));

    let starred = folder.path().join("e.safetensors*2");
    fs::copy(&path, &starred).unwrap();
    assert!(matches!(problem(open(&starred, "")), Problem::Extension { .. }), "a real path wins");
    let l = into_lora(open(&fixture("peft/plain"), "*0.5").unwrap());
    assert_eq!((l.factor, l.scale()), (0.5, 1.0));
}

#[test]
fn a_layer_picks_one_of_several_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.safetensors");
    let several = [steering(-1, &[1.0, 2.0]), steering(3, &[3.0, 4.0]), steering(4, &[5.0, 6.0])];
    let provenance = json!({ "kind": "direction" });
    Edit::composed(several).save_with(&path, &provenance).unwrap();
    let whole = open(&path, "").unwrap();
    assert_eq!(whole.layers(), [-1, 3, 4]);
    let layers: Vec<_> = whole.vectors().unwrap().iter().map(|vector| vector.layer).collect();
    assert_eq!(layers, [-1, 3, 4]);
    let picked = edit::read(&format!("{}@3*2", path.display())).unwrap();
    assert_eq!(bits(&picked.edit), bits(&steering(3, &[6.0, 8.0])));
    assert_eq!(picked.provenance, provenance);
    assert_eq!(bits(&open(&path, "@-1").unwrap()), bits(&steering(-1, &[1.0, 2.0])));
    let error = open(&path, "@5").unwrap_err();
    assert!(error.to_string().contains("layers -1, 3 to 4"), "{error}");
    assert!(matches!(problem_of(error), Problem::LayerMissing { asked: 5, .. }));

    // Two at one layer add, as they do in the whole.
    let twice = [steering(3, &[1.0, 1.0]), steering(3, &[2.0, 2.0]), steering(4, &[5.0, 6.0])];
    Edit::composed(twice).save(&path).unwrap();
    assert_eq!(open(&path, "@3").unwrap().vectors().unwrap().len(), 2);
    // What takes something out has no part that could be picked.
    let ablation = Edit::Ablation(Ablation { layer: 3, direction: vector(&[1.0; 16]), factor: 1.0 });
    Edit::composed([steering(3, &[1.0; 16]), ablation]).save(&path).unwrap();
    assert!(matches!(problem(open(&path, "@3")), Problem::LayerNotWanted { asked: 3 }));
    assert!(open(&path, "").unwrap().vectors().is_none());
}

#[test]
fn adapters_of_layers_are_scaled_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    let sites = [1, 2, 4].map(|layer| (layer, Projection::Down));
    let whole = Lora { rslora: true, ..lora(&[sites.as_slice(), &[(2, Projection::Q)]].concat(), 2) };
    export_peft(&whole, &path, &BaseModel { layers: Some(5), ..BaseModel::default() }).unwrap();
    // Two groups: layer 2 thirty times as strong, layer 4 turned around, layer 1 left out.
    let groups = Edit::composed([open(&path, "@2*30").unwrap(), open(&path, "@4*-10").unwrap()]);
    let factor = |scale: f64| (scale / whole.scale() * 1e9).round() / 1e9;
    let found: BTreeMap<String, f64> =
        groups.adapters().map(|(adapter, scale)| (adapter.site.module(), factor(scale))).collect();
    let module = |layer, projection| Site::Projection { layer, projection }.module();
    let expected = [
        (module(2, Projection::Down), 30.0),
        (module(2, Projection::Q), 30.0),
        (module(4, Projection::Down), -10.0),
    ];
    assert_eq!(found, BTreeMap::from(expected));
    // The groups of all layers are the whole, and a file has them as a composition.
    let all = Edit::composed([1, 2, 4].map(|layer| open(&path, &format!("@{layer}")).unwrap()));
    close(all.norm().unwrap(), Edit::Lora(whole).norm().unwrap(), 1e-6);
    let file = folder.path().join("groups.safetensors");
    groups.save(&file).unwrap();
    close(open(&file, "").unwrap().norm().unwrap(), groups.norm().unwrap(), 1e-6);
    assert_eq!(open(&file, "@4").unwrap().layers(), [4]);
    let missing = problem(open(&path, "@3"));
    assert!(
        matches!(&missing, Problem::LayerMissing { asked: 3, found } if *found == [1, 2, 4]),
        "{missing}"
    );

    // Vectors and adapters at one layer are picked together.
    let mixed = folder.path().join("mixed.safetensors");
    Edit::composed([steering(4, &[1.0; 16]), open(&path, "").unwrap(), steering(1, &[1.0; 16])])
        .save(&mixed)
        .unwrap();
    assert_eq!(open(&mixed, "@4").unwrap().parts().count(), 2);
}

#[test]
fn what_is_no_edit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(problem(open(folder.path(), "")), Problem::NoEdit));
    let missing = open(&folder.path().join("none.pt"), "*2").unwrap_err();
    assert!(matches!(&missing, Error::Io { path, .. } if path.ends_with("none.pt")));
    for (name, expected) in [("v.gguf", "GGUF"), ("v.npy", ".npy")] {
        let path = folder.path().join(name);
        fs::write(&path, "no such file").unwrap();
        let error = open(&path, "").unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some());
    }
}

// The papers' vectors.

#[test]
fn vectors_of_both_shapes() {
    let values: Vec<f32> = serde_json::from_value(expected()["vector"].clone()).unwrap();
    let times = |factor: f32| values.iter().map(|v| v * factor).collect::<Vec<_>>();

    let dict = edit::read(fixture("torch/dict.pt").to_str().unwrap()).unwrap();
    assert_eq!(dict.source, Source::Torch);
    assert!(dict.notes.is_empty());
    assert_eq!(bits(&dict.edit), bits(&steering(24, &times(256.0))));
    for name in ["view", "ordered", "protocol4", "deflated", "f64"] {
        let edit = open(&fixture(&format!("torch/{name}.pt")), "@24").unwrap();
        assert_eq!(bits(&edit), bits(&dict.edit), "{name}");
    }

    for name in ["bare", "parameter"] {
        let spec = format!("{}@12*2.5", fixture(&format!("torch/{name}.pt")).display());
        let bare = edit::read(&spec).unwrap();
        assert_eq!(bits(&bare.edit), bits(&steering(12, &times(2.5))), "{name}");
        assert!(bare.notes[0].contains("no alpha"), "{:?}", bare.notes);
    }
    let error = open(&fixture("torch/bare.pt"), "").unwrap_err();
    assert!(error.to_string().contains("does not say after which layer"));
    assert!(error.hint().unwrap().contains("vector.pt@24"));
}

#[test]
fn other_files_of_pytorch_are_refused() {
    let torch = |name: &str| problem(open(&fixture(&format!("torch/{name}.pt")), ""));
    assert!(matches!(torch("matrix"), Problem::VectorShape { shape, .. } if shape == [8, 3]));
    assert!(
        matches!(torch("no_vector"), Problem::NoVector { found } if found == "a dict of `layer_idx`, `weights`")
    );
    assert!(matches!(torch("other_size"), Problem::Field { key: "d_model", found, .. } if found == "9"));
    assert!(matches!(torch("nan_alpha"), Problem::Field { key: "alpha", found, .. } if found == "NaN"));
    assert!(matches!(torch("nan"), Problem::NotFinite { index: 0, .. }));
    let asked = problem(open(&fixture("torch/dict.pt"), "@3"));
    assert!(matches!(asked, Problem::LayerDisagrees { found: 24, asked: 3 }));
    let weights = problem(open(&fixture("peft/bin/adapter_model.bin"), ""));
    assert!(matches!(&weights, Problem::NoVector { .. }));
    assert!(weights.hint().contains("adapter_config.json"));
}

/// Norms and cosines of the released vectors against those that PyTorch computes.
fn the_papers_own_vectors() {
    let shared = std::env::var_os("STRAIT_SHARED").expect("STRAIT_SHARED names the folder that holds data/");
    let folder = PathBuf::from(shared).join("data/vectors");
    let text = fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let read = |kind: &str, step: &str| {
        let path = folder.join(kind).join(format!("steering_vector_checkpoint_{step}.pt"));
        match open(&path, "@24").unwrap() {
            Edit::Steering(steering) => steering,
            other => panic!("{other:?}"),
        }
    };
    let wide = |s: &SteeringVector| s.vector.to_dtype(DType::F64).unwrap();
    let last = read("general", "676");
    let mut count = 0;
    for kind in ["general", "narrow_kl1e6", "narrow_then_kl_removed"] {
        for (step, figures) in expected[kind].as_object().unwrap() {
            let found = read(kind, step);
            assert_eq!(found.vector.dims(), [5120]);
            close(found.norm().unwrap(), figures["norm"].as_f64().unwrap(), 1e-6);
            let dot = (wide(&found) * wide(&last)).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
            let cosine = dot / (found.norm().unwrap() * last.norm().unwrap());
            assert!(
                (cosine - figures["cosine_to_general_676"].as_f64().unwrap()).abs() < 1e-6,
                "{kind} {step}"
            );
            count += 1;
        }
    }
    assert_eq!(count, 45);
}

mod needs_papers {
    #[test]
    #[ignore = "needs the papers' data: STRAIT_SHARED=DIR, the folder that holds data/"]
    fn vectors() {
        super::the_papers_own_vectors();
    }
}

// PEFT folders.

#[test]
fn adapters_of_peft_mean_what_they_mean_there() {
    for (name, rank, alpha) in [("plain", 2, 4.0), ("rslora", 4, 8.0), ("alphas", 2, 12.0), ("bin", 1, 64.0)]
    {
        let opened = edit::read(fixture(&format!("peft/{name}")).to_str().unwrap()).unwrap();
        assert_eq!(opened.source, Source::Peft);
        assert_eq!(opened.provenance, json!({"base_model": "example/tiny-llama"}));
        assert_eq!(opened.notes.len(), usize::from(name == "alphas"), "{:?}", opened.notes);
        let expected = &expected()["peft"][name];
        close(opened.edit.norm().unwrap(), expected["norm"].as_f64().unwrap(), 1e-5);

        let summary = opened.edit.summary().unwrap();
        let found = into_lora(opened.edit);
        assert_eq!((found.rank, found.alpha, found.rslora), (rank, alpha, name == "rslora"), "{name}");
        let deltas = deltas(&found);
        let expected = expected["deltas"].as_object().unwrap();
        assert!(deltas.keys().eq(expected.keys().collect::<std::collections::BTreeSet<_>>()), "{name}");
        for site in summary.sites {
            let expected = &expected[&site.site];
            close(site.norm, expected["norm"].as_f64().unwrap(), 1e-5);
            let rows = &deltas[&site.site];
            assert_eq!(json!([rows.len(), rows[0].len()]), expected["shape"]);
            for (found, expected) in rows[0].iter().zip(expected["first_row"].as_array().unwrap()) {
                assert!((found - expected.as_f64().unwrap()).abs() < 1e-4, "{name} {}", site.site);
            }
        }
    }
}

#[test]
fn what_is_more_than_lora_is_refused_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let source = fixture("peft/plain");
    fs::copy(source.join("adapter_model.safetensors"), folder.path().join("adapter_model.safetensors"))
        .unwrap();
    let config: Value =
        serde_json::from_slice(&fs::read(source.join("adapter_config.json")).unwrap()).unwrap();
    let opened = |key: &str, value: Value| {
        let mut changed = config.clone();
        changed[key] = value;
        fs::write(folder.path().join("adapter_config.json"), changed.to_string()).unwrap();
        edit::read(folder.path().to_str().unwrap())
    };
    for (key, value) in [
        ("peft_type", json!("IA3")),
        ("use_dora", json!(true)),
        ("bias", json!("lora_only")),
        ("lora_bias", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("target_parameters", json!(["mlp.experts.down_proj"])),
        ("trainable_token_indices", json!([3])),
        ("layer_replication", json!([[0, 2], [1, 3]])),
        ("use_qalora", json!(true)),
        ("init_lora_weights", json!("PiSSA_niter_16")),
        ("init_lora_weights", json!("OLoRA")),
        ("init_lora_weights", json!("corda")),
        ("init_lora_weights", json!("LoftQ")),
        ("init_lora_weights", json!("lora_ga")),
        ("init_lora_weights", json!("something")),
        ("init_lora_weights", json!(1)),
        ("megatron_config", json!({"a": 1})),
        ("alora_invocation_tokens", json!([3, 4])),
        ("kasa_config", json!({"beta": 1.0})),
        ("task_type", json!("SEQ_CLS")),
    ] {
        let error = opened(key, value.clone()).unwrap_err();
        assert!(error.to_string().contains(&format!("`{key}` is ")), "{error}");
        assert!(error.to_string().contains("adapter_config.json"), "{error}");
        let problem: Problem = problem_of(error);
        assert!(matches!(problem, Problem::Unsupported { key: found, .. } if found == key));
    }
    for (key, value) in [
        ("r", json!(0)),
        ("r", json!("2")),
        ("lora_alpha", json!("4")),
        ("use_rslora", json!(1)),
        ("alpha_pattern", json!([1])),
    ] {
        let found = problem(opened(key, value));
        assert!(matches!(found, Problem::KeyValue { key: k, .. } if k == key), "{key}: {found}");
    }
    assert!(matches!(problem(opened("r", json!(3))), Problem::Rank { expected: 3, found: 2, .. }));
    let pattern = problem(opened("alpha_pattern", json!({"(?i)q_proj": 3})));
    assert!(matches!(pattern, Problem::Pattern { key: "alpha_pattern", .. }));

    for (key, value) in [
        ("modules_to_save", json!([])),
        ("bias", json!("none")),
        ("init_lora_weights", json!("Gaussian")),
        ("init_lora_weights", json!("EVA")),
        ("init_lora_weights", json!("orthogonal")),
        ("init_lora_weights", json!(false)),
        ("peft_type", json!("lora")),
        ("task_type", json!("causal_lm")),
        ("corda_config", json!({"cache_file": "x"})),
        ("lora_dropout", json!(0.1)),
        ("rank_pattern", json!({"mlp.down_proj": 2})),
    ] {
        assert!(opened(key, value).unwrap().notes.is_empty(), "{key}");
    }
    assert!(opened("fan_in_fan_out", json!(true)).unwrap().notes[0].contains("`fan_in_fan_out`"));
    let unknown = problem(opened("use_something_new", json!(true)));
    assert!(matches!(unknown, Problem::UnknownKey { key, .. } if key == "use_something_new"));
    assert!(opened("use_something_new", json!(false)).is_ok());

    let whole = Value::to_string(&config);
    fs::write(folder.path().join("adapter_config.json"), &whole[..100]).unwrap();
    assert!(matches!(problem(open(folder.path(), "")), Problem::Json(_)));
    fs::write(folder.path().join("adapter_config.json"), r#"{"peft_type": "LORA", "r": 2}"#).unwrap();
    assert!(matches!(problem(open(folder.path(), "")), Problem::KeyMissing { key: "lora_alpha" }));
    fs::write(folder.path().join("adapter_config.json"), &whole).unwrap();
    fs::remove_file(folder.path().join("adapter_model.safetensors")).unwrap();
    assert!(matches!(problem(open(folder.path(), "")), Problem::NoAdapterWeights));
}

#[test]
fn differing_ranks_make_several_loras_and_differing_alphas_are_absorbed() {
    let opened = edit::read(fixture("peft/ranks").to_str().unwrap()).unwrap();
    assert!(opened.notes[0].contains("ranks 1, 2"), "{:?}", opened.notes);
    let ranks: Vec<usize> = opened.edit.parts().map(|part| into_lora(part.clone()).rank).collect();
    assert_eq!(ranks, [1, 2]);
    let notes = edit::read(fixture("peft/alphas").to_str().unwrap()).unwrap().notes;
    assert!(notes[0].contains("`alpha_pattern`"));
}

fn exported(lora: &Lora, layers: Option<usize>) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    export_peft(lora, &path, &BaseModel { layers, ..BaseModel::default() }).unwrap();
    serde_json::from_slice(&fs::read(path.join("adapter_config.json")).unwrap()).unwrap()
}

#[test]
fn an_export_names_exactly_its_modules() {
    use Projection::{Down, Q, Up};
    let all = exported(&lora(&[(0, Q), (0, Down), (1, Q), (1, Down)], 2), Some(2));
    assert_eq!(all["target_modules"], json!(["q_proj", "down_proj"]));
    assert_eq!(all["layers_to_transform"], Value::Null);
    assert_eq!((&all["r"], &all["lora_alpha"], &all["use_rslora"]), (&json!(2), &json!(6), &json!(false)));

    let some = lora(&[(1, Down), (3, Down)], 2);
    for layers in [Some(4), None] {
        let some = exported(&some, layers);
        assert_eq!(some["target_modules"], json!(["down_proj"]));
        assert_eq!(some["layers_to_transform"], json!([1, 3]));
    }

    let mixed = exported(&lora(&[(0, Q), (1, Up)], 2), Some(4));
    assert_eq!(
        mixed["target_modules"],
        json!(["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"])
    );
    assert_eq!(mixed["layers_to_transform"], Value::Null);
}

#[test]
fn an_export_of_embeddings_needs_their_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    let mut both = on_embeddings();
    both.adapters.extend(lora(&[(1, Projection::Q)], 2).adapters);
    let refused = problem(export_peft(&both, &path, &BaseModel::default()));
    assert!(matches!(refused, Problem::EmbeddingsNeeded) && !path.exists());
    let table = matrix(32, 16, 9);
    export_peft(&both, &path, &BaseModel { embeddings: Some(&table), ..BaseModel::default() }).unwrap();
    let config: Value = serde_json::from_slice(&fs::read(path.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!(config["target_modules"], json!(["model.embed_tokens", "model.layers.1.self_attn.q_proj"]));
    assert_eq!(config["layers_to_transform"], Value::Null);
    let tensors =
        candle_core::safetensors::load(path.join("adapter_model.safetensors"), &Device::Cpu).unwrap();
    let of_tokens = &tensors["base_model.model.model.embed_tokens.lora_embedding_A"];
    assert_eq!(of_tokens.dims(), [2, 32]);
    assert_eq!(tensors["base_model.model.model.embed_tokens.lora_embedding_B"].dims(), [16, 2]);

    let native = folder.path().join("e.safetensors");
    Edit::Lora(both).save(&native).unwrap();
    let refused = problem(convert(native.to_str().unwrap(), &folder.path().join("other"), None));
    assert!(matches!(refused, Problem::EmbeddingsNeeded));
    // Read back it is one of the table, as PEFT has it.
    let back = into_lora(open(&path, "").unwrap());
    assert!(
        back.adapters
            .iter()
            .map(|adapter| adapter.site)
            .eq([Site::Lookup, Site::Projection { layer: 1, projection: Projection::Q }])
    );
}

#[test]
fn an_export_replaces_only_an_export() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    let base = BaseModel { name: Some("org/model: \"x\""), ..BaseModel::default() };
    for rank in [1, 2] {
        export_peft(&lora(&[(0, Projection::Q)], rank), &path, &base).unwrap();
        assert_eq!(into_lora(open(&path, "").unwrap()).rank, rank);
    }
    let card = fs::read_to_string(path.join("README.md")).unwrap();
    assert!(card.starts_with("---\nbase_model: \"org/model: \\\"x\\\"\"\nlibrary_name: peft\n"), "{card}");

    fs::write(path.join("notes.txt"), "mine").unwrap();
    let found = problem(export_peft(&lora(&[(0, Projection::Q)], 3), &path, &base));
    assert!(matches!(found, Problem::FolderTaken { entry } if entry == "notes.txt"));
    assert_eq!(into_lora(open(&path, "").unwrap()).rank, 2);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary folder stays");
}

#[test]
fn a_failed_export_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    let mut broken = lora(&[(0, Projection::Q)], 1);
    broken.adapters[0].b = (&broken.adapters[0].b * f64::NAN).unwrap();
    let error = export_peft(&broken, &path, &BaseModel::default()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("`{}`: value 0 of tensor", path.display())), "{error}");
    assert!(matches!(problem(export_peft(&lora(&[], 1), &path, &BaseModel::default())), Problem::Empty));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn converting_between_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let spec = |path: &Path, suffix: &str| format!("{}{suffix}", path.display());

    convert(&spec(&fixture("torch/bare.pt"), "@12*2"), &at("v.safetensors"), None).unwrap();
    let vector = open(&fixture("torch/bare.pt"), "@12*2").unwrap();
    assert_eq!(bits(&open(&at("v.safetensors"), "").unwrap()), bits(&vector));

    convert(&spec(&fixture("peft/rslora"), "*0.5"), &at("l.safetensors"), None).unwrap();
    convert(&spec(&at("l.safetensors"), ""), &at("peft"), None).unwrap();
    let back = edit::read(at("peft").to_str().unwrap()).unwrap();
    assert_eq!(back.provenance, json!({"base_model": "example/tiny-llama"}), "the model's name goes along");
    let original = into_lora(open(&fixture("peft/rslora"), "*0.5").unwrap());
    assert_equal_deltas(&into_lora(back.edit), &original, 1e-6);

    let refused = problem(convert(&spec(&at("v.safetensors"), ""), &at("out"), None));
    assert!(matches!(refused, Problem::NotPeft { kind: "a steering vector" }));
    Edit::composed([vector.clone(), vector]).save(&at("c.safetensors")).unwrap();
    let refused = problem(convert(&spec(&at("c.safetensors"), ""), &at("out"), None));
    assert!(matches!(refused, Problem::NotPeft { kind: "a composition of edits that are not all LoRAs" }));
    ablation(2, &[1.0], 1.0).save(&at("a.safetensors")).unwrap();
    let refused = problem(convert(&spec(&at("a.safetensors"), ""), &at("out"), None));
    assert!(matches!(refused, Problem::NotPeft { kind: "an ablation" }));
    for (name, expected) in [("out.pt", ".pt"), ("out.gguf", "GGUF")] {
        let error = convert(&spec(&at("v.safetensors"), ""), &at(name), None).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(!at("out").exists() && !at("out.pt").exists());
}

/// PEFT itself loads what strait exports and computes the same changes of the weights.
fn peft_loads_an_export() {
    let python = std::env::var_os("STRAIT_PYTHON").expect("STRAIT_PYTHON names a Python that has peft");
    use Projection::{Down, Q, Up, V};
    let plain = lora(&[(0, Q), (0, Down), (1, Q), (1, Down), (2, Q), (2, Down)], 2);
    let one = Lora { alpha: 64.0, factor: -2.5, ..lora(&[(1, Down)], 1) };
    let every: Vec<_> = Projection::ALL.map(|p| (2, p)).to_vec();
    let stable = Lora { rslora: true, alpha: 0.5, ..lora(&every, 4) };
    let mixed = Lora { factor: 3.0, ..lora(&[(0, Q), (1, Up), (2, Up), (2, V)], 3) };
    let sizes = json!({
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 32,
    });
    let table = matrix(32, 16, 9);
    let mut embedded = Lora { factor: 0.5, rslora: true, ..on_embeddings() };
    embedded.adapters.extend(lora(&[(0, Down)], 2).adapters);
    let cases =
        [("plain", plain), ("one", one), ("stable", stable), ("mixed", mixed), ("embedded", embedded)];
    for (name, lora) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        export_peft(&lora, &path, &BaseModel { name: None, layers: Some(3), embeddings: Some(&table) })
            .unwrap();
        let output = Command::new(&python)
            .arg(fixture("deltas.py"))
            .arg(&path)
            .arg(sizes.to_string())
            .env("HF_HUB_OFFLINE", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let found: BTreeMap<String, Vec<Vec<f64>>> = serde_json::from_slice(&output.stdout).unwrap();
        let mut expected = deltas(&lora);
        if let Some(delta) = expected.get_mut("model.embed_tokens") {
            // PEFT changes the table's rows: E (B A)^T.
            let changes = Tensor::new(delta.clone(), &Device::Cpu).unwrap();
            let rows = table.to_dtype(DType::F64).unwrap().matmul(&changes.t().unwrap()).unwrap();
            *delta = rows.to_vec2().unwrap();
        }
        assert!(found.keys().eq(expected.keys()), "{name}");
        for (site, rows) in &expected {
            for (found, expected) in found[site].iter().flatten().zip(rows.iter().flatten()) {
                assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{name} {site}");
            }
        }
    }
}

mod needs_peft {
    #[test]
    #[ignore = "needs PEFT: STRAIT_PYTHON=FILE, a Python that has peft"]
    fn it_loads_an_export() {
        super::peft_loads_an_export();
    }
}
