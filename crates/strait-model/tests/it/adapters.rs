//! Adapters of every make against PEFT: what it reads gives the same loss, what it would not read whole is refused.
//!
//! `scripts/golden/adapters.py` writes the file; the tensors' values follow from a hash.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use strait_model::{
    Decoder, Edit, Precision, Result, Weights,
    decoder::{Packed, Piece},
    edit::{self, Adapter, Lora, Problem, Projection, Site, SteeringVector},
    ops::Loss,
};

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn decoder(model: &str) -> Decoder {
    let weights = Weights::open(&fixtures().join("tiny").join(model)).unwrap();
    Decoder::new(&weights, &Device::Cpu, Precision::F32).unwrap()
}

/// The finaliser of MurmurHash3.
fn mixed(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x85eb_ca6b);
    x ^= x >> 13;
    x = x.wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

/// The numbers of a tensor of a case.
fn values(case: &str, name: &str, count: usize) -> Vec<f32> {
    let fnv = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let seed = format!("{case}/{name}").bytes().fold(0x811c_9dc5, fnv);
    let number = |i: u32| {
        let uniform = f64::from(mixed(seed ^ i.wrapping_mul(0x9e37_79b1))) / 4_294_967_296.0;
        ((uniform - 0.5) * 0.4) as f32
    };
    (0..count as u32).map(number).collect()
}

/// A safetensors file of f32.
fn write_safetensors(path: &Path, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        header.insert(
            name.clone(),
            json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = Value::from(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend(data);
    fs::write(path, file).unwrap();
}

fn write_adapter(case: &Value, decoder: &Decoder, folder: &Path) {
    let table = |name: &str| {
        let head = decoder.unembedding(None).unwrap().weight;
        let table = if name.contains("lm_head") { &head } else { decoder.embeddings() };
        table.tensor().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let tensors = case["tensors"].as_object().unwrap().iter().map(|(name, spec)| {
        let shape: Vec<usize> = serde_json::from_value(spec[0].clone()).unwrap();
        let count = shape.iter().product();
        let mut numbers = values(case["name"].as_str().unwrap(), name, count);
        match spec[1].as_str().unwrap() {
            "random" => {}
            "model" => numbers = table(name),
            "zero" => numbers.fill(0.0),
            "nan" => *numbers.last_mut().unwrap() = f32::NAN,
            other => panic!("{other}"),
        }
        (name.clone(), shape, numbers)
    });
    fs::write(folder.join("adapter_config.json"), case["config"].to_string()).unwrap();
    write_safetensors(&folder.join("adapter_model.safetensors"), &tensors.collect::<Vec<_>>());
}

/// Mean cross-entropy of every token but each row's first.
fn loss(decoder: &Decoder, rows: &[Vec<u32>], edit: Option<&Edit>) -> f64 {
    let packed = Packed::sharing(rows.iter().map(Vec::as_slice));
    let stream = decoder.run(decoder.embed(&packed).unwrap(), 0..decoder.config().layers, &packed, edit);
    let every = Tensor::new(packed.every_token(), decoder.device()).unwrap();
    let hidden = decoder.finish(stream.unwrap().index_select(&every, 0).unwrap(), edit).unwrap();
    let (mut places, mut targets, mut start) = (Vec::new(), Vec::new(), 0u32);
    for row in rows {
        places.extend(start..start + row.len() as u32 - 1);
        targets.extend(&row[1..]);
        start += row.len() as u32;
    }
    let predicting = hidden.index_select(&Tensor::new(places, decoder.device()).unwrap(), 0).unwrap();
    let unembedding = decoder.unembedding(edit).unwrap();
    let losses = Loss::CrossEntropy(&targets).values(&predicting, &unembedding).unwrap();
    losses.iter().map(|&l| f64::from(l)).sum::<f64>() / losses.len() as f64
}

fn read(folder: &Path, decoder: &Decoder) -> Result<Edit> {
    let opened = edit::read(folder.to_str().unwrap())?;
    decoder.check(&opened)?;
    Ok(opened.edit)
}

#[test]
fn every_adapter_gives_the_loss_of_peft_or_is_refused() {
    let file = fs::read(fixtures().join("edit/adapters.json")).unwrap();
    let golden: Value = serde_json::from_slice(&file).unwrap();
    let rows: Vec<Vec<u32>> = serde_json::from_value(golden["rows"].clone()).unwrap();
    let mut decoders = BTreeMap::new();
    let (mut wrong, mut read_count) = (String::new(), 0);
    let cases = golden["cases"].as_array().unwrap();
    for case in cases {
        let model = case["model"].as_str().unwrap();
        let (decoder, base) = decoders.entry(model).or_insert_with(|| {
            let decoder = decoder(model);
            let base = loss(&decoder, &rows, None);
            (decoder, base)
        });
        let folder = tempfile::tempdir().unwrap();
        write_adapter(case, decoder, folder.path());
        let title = format!("{} on {model} at `{}`", case["name"], case["place"].as_str().unwrap());
        let found = read(folder.path(), decoder);
        match (case["expected"].as_f64(), found) {
            (None, Err(error)) => {
                assert!(error.hint().is_some_and(|hint| !hint.contains("remove")), "{title}: {error}");
            }
            (Some(expected), Ok(edit)) => {
                let found = loss(decoder, &rows, Some(&edit));
                if (found - expected).abs() > 2e-5 {
                    writeln!(wrong, "{title}: {found} for {expected}, the base has {base}").unwrap();
                }
                read_count += 1;
            }
            (None, Ok(_)) => writeln!(wrong, "{title}: read").unwrap(),
            (Some(expected), Err(error)) => writeln!(wrong, "{title}: {error}, for {expected}").unwrap(),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(read_count > 200 && cases.len() > 300, "{read_count} of {} cases were read", cases.len());
}

fn matrix(seed: &str, rows: usize, columns: usize) -> Tensor {
    Tensor::from_vec(values("matrix", seed, rows * columns), (rows, columns), &Device::Cpu).unwrap()
}

fn lora(decoder: &Decoder, sites: &[Site], rank: usize, alpha: f64, rslora: bool) -> Lora {
    let adapter = |&site: &Site| {
        let (input, output) = site.size(decoder.config());
        let name = |half: &str| format!("{half} {rank} {site:?}");
        Adapter { site, a: matrix(&name("A"), rank, input), b: matrix(&name("B"), output, rank) }
    };
    Lora { adapters: sites.iter().map(adapter).collect(), rank, alpha, rslora, factor: 1.0 }
}

const UP: Site = Site::Projection { layer: 1, projection: Projection::Up };
const ROWS: [&[u32]; 2] = [&[3, 14, 15, 92, 65, 35], &[8, 97, 93, 23]];

fn rows() -> Vec<Vec<u32>> {
    ROWS.map(<[u32]>::to_vec).to_vec()
}

#[test]
fn edits_of_the_embeddings_and_the_head_are_saved_and_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edit.safetensors");
    for model in ["llama", "gemma3"] {
        let decoder = decoder(model);
        let all = [Site::Embeddings, Site::Lookup, UP, Site::Head];
        let edit = Edit::Lora(lora(&decoder, &all, 3, 2.0, true)).scaled(1.5).unwrap();
        edit.check(decoder.config()).unwrap();
        edit.save(&path).unwrap();
        let back = read(&path, &decoder).unwrap();
        assert_eq!(loss(&decoder, &rows(), Some(&back)), loss(&decoder, &rows(), Some(&edit)), "{model}");
        let summary = back.summary().unwrap();
        assert_eq!(summary.layers, [-1, 1]);
        let sites: Vec<&str> = summary.sites.iter().map(|s| s.site.as_str()).collect();
        assert_eq!(
            sites,
            ["model.embed_tokens", "model.embed_tokens", "model.layers.1.mlp.up_proj", "lm_head"]
        );
    }
}

#[test]
fn each_site_acts_and_several_add_their_effects() {
    for model in ["llama", "llama3", "gemma2"] {
        let decoder = decoder(model);
        let base = loss(&decoder, &rows(), None);
        let of = |edit: &Edit| loss(&decoder, &rows(), Some(edit));
        for site in [Site::Embeddings, Site::Lookup, UP, Site::Head] {
            let edit = Edit::Lora(lora(&decoder, &[site], 2, 8.0, false));
            assert!((of(&edit) - base).abs() > 1e-4, "{site:?}");
            assert_eq!(of(&edit.scaled(0.0).unwrap()), base, "{site:?}");
            let halves = Edit::composed([edit.scaled(0.25).unwrap(), edit.scaled(0.75).unwrap()]);
            assert!((of(&halves) - of(&edit)).abs() < 1e-5, "{site:?}");
        }
    }
}

/// The logits of a pass, of cached steps and of the chunked losses are of one edit.
#[test]
fn an_edit_of_the_head_acts_on_every_road() {
    let decoder = decoder("gemma2");
    let edit = Edit::Lora(lora(&decoder, &[Site::Lookup, Site::Head], 2, 8.0, false));
    let row = ROWS[0];
    let packed = Packed::new([row]);
    let logits = decoder.logits(&packed, Some(&edit)).unwrap();
    let whole: Vec<f32> = logits.get(row.len() - 1).unwrap().to_vec1().unwrap();

    let mut cache = decoder.cache().unwrap();
    let sequence = cache.begin();
    let mut last: Vec<f32> = Vec::new();
    for token in row {
        let piece = Piece { sequence, ids: std::slice::from_ref(token), edit: Some(&edit) };
        last = decoder.extend(&mut cache, &[piece]).unwrap().concat();
    }
    assert!(whole.iter().zip(&last).all(|(a, b)| (a - b).abs() < 1e-4));
    let residuals = decoder.residuals(&packed, Some(&edit)).unwrap();
    let unsteered = decoder.embed(&packed).unwrap();
    assert!(
        (&residuals[0] - unsteered).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
            > 1e-3
    );
}

#[test]
fn loras_that_act_together_are_exported_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("edit.safetensors"), folder.path().join("adapter"));
    let decoder = decoder("llama");
    let down = Site::Projection { layer: 2, projection: Projection::Down };
    let edit = Edit::composed([
        Edit::Lora(lora(&decoder, &[UP, Site::Head], 1, 4.0, false)),
        Edit::Lora(lora(&decoder, &[UP, down, Site::Lookup], 3, 2.0, true)).scaled(-0.5).unwrap(),
    ]);
    edit.save(&from).unwrap();
    edit::convert(from.to_str().unwrap(), &to, None).unwrap();
    let config: Value = serde_json::from_slice(&fs::read(to.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!(
        (&config["r"], &config["lora_alpha"], &config["use_rslora"]),
        (&json!(4), &json!(4), &json!(false))
    );
    assert_eq!(config["base_model_name_or_path"], Value::Null);
    assert!(config.get("rank_pattern").is_none());
    let back = read(&to, &decoder).unwrap();
    assert!((loss(&decoder, &rows(), Some(&back)) - loss(&decoder, &rows(), Some(&edit))).abs() < 1e-5);
}

#[test]
fn an_edit_that_changes_nothing_is_said_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edit.safetensors");
    let decoder = decoder("llama");
    let some = lora(&decoder, &[UP, Site::Head], 2, 4.0, false);
    let mut zero = some.clone();
    for adapter in &mut zero.adapters {
        adapter.b = adapter.b.zeros_like().unwrap();
    }
    let mut half = zero.clone();
    half.adapters[0].b = some.adapters[0].b.clone();
    let notes = |lora: &Lora, factor: &str| {
        Edit::Lora(lora.clone()).save(&path).unwrap();
        edit::read(&format!("{}{factor}", path.display())).unwrap().notes
    };
    for (lora, factor, nothing) in [
        (&some, "", false),
        (&some, "*0", true),
        (&half, "", false),
        (&zero, "", true),
        (&Lora { alpha: 0.0, ..some.clone() }, "", true),
    ] {
        assert_eq!(notes(lora, factor).iter().any(|note| note.contains("changes nothing")), nothing);
    }
    Edit::Steering(SteeringVector { layer: 1, vector: Tensor::zeros(32, DType::F32, &Device::Cpu).unwrap() })
        .save(&path)
        .unwrap();
    assert!(edit::read(path.to_str().unwrap()).unwrap().notes[0].contains("changes nothing"));
}

/// An adapter of one module, of these shapes.
fn of_shapes(folder: &Path, a: &[usize], b: &[usize]) {
    sound(folder);
    let tensors = [("A", a), ("B", b)].map(|(half, shape)| {
        let name = format!("base_model.model.model.layers.1.mlp.up_proj.lora_{half}.weight");
        (name, shape.to_vec(), values("x", half, shape.iter().product()))
    });
    write_safetensors(&folder.join("adapter_model.safetensors"), &tensors);
}

#[test]
fn shapes_that_do_not_fit_are_refused_in_words() {
    let decoder = decoder("llama");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (a, b) in [
        (&[1, 0][..], &[88, 1][..]),
        (&[1, 32], &[0, 1]),
        (&[0, 32], &[88, 0]),
        (&[2, 32], &[88, 1]),
        (&[2, 32], &[88, 2]),
        (&[1, 31], &[88, 1]),
        (&[1, 32], &[87, 1]),
        (&[32], &[88]),
        (&[1, 32, 1], &[88, 1, 1]),
        (&[], &[]),
    ] {
        of_shapes(path, a, b);
        let error = read(path, &decoder).unwrap_err();
        assert!(error.problem::<Problem>().is_some(), "{a:?}, {b:?}: {error}");
        assert!(error.hint().is_some() && error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    of_shapes(path, &[1, 32], &[88, 1]);
    read(path, &decoder).unwrap();
}

/// A sound adapter of two tensors, to be spoilt.
fn sound(folder: &Path) {
    let name = |half: &str| format!("base_model.model.model.layers.1.mlp.up_proj.lora_{half}.weight");
    let tensors =
        [(name("A"), vec![1, 32], values("x", "a", 32)), (name("B"), vec![88, 1], values("x", "b", 88))];
    write_safetensors(&folder.join("adapter_model.safetensors"), &tensors);
    let config =
        r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["layers.1.mlp.up_proj"]}"#;
    fs::write(folder.join("adapter_config.json"), config).unwrap();
}

#[test]
fn what_lies_in_place_of_an_adapter_is_named() {
    let decoder = decoder("llama");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let doubled = r#"{"peft_type": "LORA", "r": 1, "r": 2, "lora_alpha": 1, "target_modules": ["up_proj"]}"#;
    for (file, content, said) in [
        ("adapter_model.safetensors", pointer, "Git LFS pointer"),
        ("adapter_config.json", pointer, "Git LFS pointer"),
        ("adapter_config.json", "<!DOCTYPE html><html>", "web page"),
        ("adapter_config.json", "", "empty"),
        ("adapter_config.json", doubled, "`r`"),
        ("adapter_config.json", "[1]", "not valid JSON"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        sound(folder.path());
        read(folder.path(), &decoder).unwrap();
        fs::write(folder.path().join(file), content).unwrap();
        let error = read(folder.path(), &decoder).unwrap_err();
        let text = error.to_string().replace('"', "`");
        assert!(text.contains(said) && text.contains(file) && error.hint().is_some(), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    sound(folder.path());
    fs::rename(
        folder.path().join("adapter_model.safetensors"),
        folder.path().join("adapter_model-00001-of-00002.safetensors"),
    )
    .unwrap();
    let error = read(folder.path(), &decoder).unwrap_err();
    assert!(error.to_string().contains("`adapter_model-00001-of-00002.safetensors`"), "{error}");
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_at_once() {
    use rustix::fs::{CWD, Mode, mkfifoat};
    let decoder = decoder("llama");
    let folder = tempfile::tempdir().unwrap();
    for name in ["v.pt", "v.bin", "v.safetensors"] {
        let path = folder.path().join(name);
        mkfifoat(CWD, &path, Mode::RWXU).unwrap();
        assert!(read(&path, &decoder).unwrap_err().to_string().contains("pipe"), "{name}");
        std::os::unix::fs::symlink("/dev/zero", folder.path().join(format!("zero-{name}"))).unwrap();
        let device = read(&folder.path().join(format!("zero-{name}")), &decoder).unwrap_err();
        assert!(device.to_string().contains("device"), "{device}");
    }
    for name in ["adapter_model.safetensors", "adapter_config.json"] {
        let folder = tempfile::tempdir().unwrap();
        sound(folder.path());
        fs::remove_file(folder.path().join(name)).unwrap();
        mkfifoat(CWD, folder.path().join(name), Mode::RWXU).unwrap();
        assert!(read(folder.path(), &decoder).unwrap_err().to_string().contains("pipe"), "{name}");
    }
}
