//! Whole models with LoRAs and ablations in their weights. `interop/` holds the same against transformers.

use std::{fs, path::Path};

use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use strait_model::{
    Config, Decoder, Edit, Model, Precision, Result,
    config::Projection,
    decoder::Packed,
    edit::{self, Ablation, Adapter, Lora, Site},
    merged::{self, Problem},
};
use tempfile::TempDir;

use crate::{
    common::problem_of,
    full::{fixtures, located, logits},
};

/// Sums of the same numbers in another order.
#[track_caller]
fn near(found: &Tensor, expected: &Tensor) {
    let largest = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    let apart = largest(&(found - expected).unwrap());
    assert!(apart < 1e-4 * (1.0 + largest(expected)), "{apart}");
}

fn random(rng: &mut ChaCha8Rng, shape: &[usize]) -> Tensor {
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

fn lora(config: &Config, sites: &[Site], seed: u64) -> Lora {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let adapter = |&site: &Site| {
        let (input, output) = site.size(config);
        Adapter { site, a: random(&mut rng, &[2, input]), b: random(&mut rng, &[output, 2]) }
    };
    let adapters = sites.iter().map(adapter).collect();
    Lora { adapters, rank: 2, alpha: 0.3, rslora: true, factor: 0.5 }
}

fn every_site(config: &Config) -> Vec<Site> {
    let of_layer =
        |layer| Projection::ALL.into_iter().map(move |projection| Site::Projection { layer, projection });
    let tables = [Site::Embeddings, Site::Lookup, Site::Head];
    (0..config.layers).flat_map(of_layer).chain(tables).collect()
}

fn everywhere(direction: &Tensor, layers: usize) -> Edit {
    let at = |layer| Edit::Ablation(Ablation { layer, direction: direction.clone(), factor: 1.0 });
    Edit::composed((-1..layers as i32).map(at))
}

fn base(name: &str) -> Model {
    Model::load(&located(&fixtures().join("tiny").join(name)), &Device::Cpu, Precision::F32).unwrap()
}

fn written(name: &str, edit: &Edit) -> Result<(TempDir, Model, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edit.safetensors");
    edit.save(&file)?;
    let opened = edit::read(file.to_str().unwrap())?;
    let whole = folder.path().join("model");
    let notes = merged::write(&opened, &located(&fixtures().join("tiny").join(name)), &whole)?;
    let model = Model::load(&located(&whole), &Device::Cpu, Precision::F32)?;
    Ok((folder, model, notes))
}

fn tied(folder: &Path) -> Value {
    let config: Value = serde_json::from_slice(&fs::read(folder.join("model/config.json")).unwrap()).unwrap();
    config["tie_word_embeddings"].clone()
}

#[test]
fn adapters_of_every_site_go_into_the_weights() {
    for name in ["llama", "llama3", "qwen2", "gemma2", "gemma3"] {
        let base = base(name);
        let config = base.config();
        let sites = every_site(config);
        let blocks = &sites[..sites.len() - 3];
        for (sites, parted) in [(blocks, false), (&sites[..], config.tied_embeddings)] {
            let edit = Edit::Lora(lora(config, sites, 3));
            let (folder, whole, notes) = written(name, &edit).unwrap();
            near(&logits(&whole.decoder, None), &logits(&base.decoder, Some(&edit)));
            assert_eq!(notes.len(), usize::from(parted), "{name}: {notes:?}");
            if parted {
                assert_eq!(tied(folder.path()), Value::Bool(false), "{name}");
            }
        }
    }
}

/// What takes a direction out of all that the projections of a base write, with a LoRA in them, as an edit.
fn orthogonal(decoder: &Decoder, own: &Lora, direction: &Tensor) -> Edit {
    let length = direction.sqr().unwrap().sum_all().unwrap().sqrt().unwrap();
    let unit = direction.broadcast_div(&length).unwrap().unsqueeze(0).unwrap();
    let weight = |site: Site| {
        let name = format!("{}.weight", site.module());
        let (_, found) = decoder.weights().iter().find(|(known, _)| *known == name).unwrap();
        let adapter = own.adapters.iter().find(|adapter| adapter.site == site).unwrap();
        (found.tensor().unwrap() + (adapter.b.matmul(&adapter.a).unwrap() * own.scale()).unwrap()).unwrap()
    };
    let adapter = |site: Site| Adapter {
        site,
        a: match site {
            Site::Embeddings => unit.clone(),
            _ => unit.matmul(&weight(site)).unwrap(),
        },
        b: unit.t().unwrap().neg().unwrap(),
    };
    let writing = [Projection::O, Projection::Down];
    let layers = 0..decoder.config().layers;
    let sites = layers.flat_map(|layer| writing.map(|projection| Site::Projection { layer, projection }));
    let adapters = sites.chain([Site::Embeddings]).map(adapter).collect();
    Edit::Lora(Lora { adapters, rank: 1, alpha: 1.0, rslora: false, factor: 1.0 })
}

#[test]
fn an_ablated_direction_is_written_by_no_weight() {
    for name in ["llama", "llama3", "qwen2", "qwen3"] {
        let base = base(name);
        let config = base.config();
        let sites = every_site(config);
        let own = lora(config, &sites[..sites.len() - 3], 5);
        let direction = random(&mut ChaCha8Rng::seed_from_u64(6), &[config.hidden_size]);
        let edit = Edit::composed([Edit::Lora(own.clone()), everywhere(&direction, config.layers)]);
        let (folder, whole, notes) = written(name, &edit).unwrap();
        assert_eq!(notes.len(), 1 + usize::from(config.tied_embeddings), "{notes:?}");
        if config.tied_embeddings {
            assert_eq!(tied(folder.path()), Value::Bool(false));
        }
        // Nothing along it is left at any point.
        let batch = Packed::new([&[1u32, 5, 22, 5, 7, 0][..]]);
        let column = direction.unsqueeze(1).unwrap();
        for stream in whole.decoder.residuals(&batch, None).unwrap() {
            let along = stream.matmul(&column).unwrap().abs().unwrap().max_all().unwrap();
            let size = stream.abs().unwrap().max_all().unwrap();
            let share = along.to_scalar::<f32>().unwrap() / size.to_scalar::<f32>().unwrap();
            assert!(share < 1e-5, "{name}: {share}");
        }
        // The same as the change that an edit makes of the same matrices, whose head stays the embeddings as they were.
        let same = Edit::composed([Edit::Lora(own.clone()), orthogonal(&base.decoder, &own, &direction)]);
        near(&logits(&whole.decoder, None), &logits(&base.decoder, Some(&same)));
        // Between attention and MLP the edit leaves what attention wrote: it is another model, if not by much.
        let apart = (logits(&whole.decoder, None) - logits(&base.decoder, Some(&edit))).unwrap();
        let apart =
            apart.abs().unwrap().max_all().unwrap().to_dtype(DType::F32).unwrap().to_scalar::<f32>().unwrap();
        assert!(apart > 1e-4, "{name}: {apart}");
    }
}

#[test]
fn several_directions_at_right_angles_are_a_subspace() {
    let config = base("llama").config().clone();
    let mut one = vec![0f32; config.hidden_size];
    let mut two = one.clone();
    (one[3], one[4], two[3], two[4]) = (3.0, 4.0, -4.0, 3.0);
    let [one, two] = [one, two].map(|numbers| Tensor::new(numbers, &Device::Cpu).unwrap());
    let both = Edit::composed([everywhere(&one, config.layers), everywhere(&two, config.layers)]);
    let (_folder, whole, _) = written("llama", &both).unwrap();
    for stream in whole.decoder.residuals(&Packed::new([&[1u32, 5, 22][..]]), None).unwrap() {
        let left = stream.narrow(1, 3, 2).unwrap().abs().unwrap().max_all().unwrap();
        assert!(left.to_scalar::<f32>().unwrap() < 1e-5);
    }
    let skew = (&one + (&two * 0.5).unwrap()).unwrap();
    let skewed = Edit::composed([everywhere(&one, config.layers), everywhere(&skew, config.layers)]);
    let refused = written("llama", &skewed).err().unwrap();
    assert!(matches!(problem_of(refused), Problem::Angle { cosine } if (cosine - 0.894).abs() < 1e-3));
}

#[test]
fn what_no_weights_do_is_refused_by_name() {
    let config = base("llama").config().clone();
    let refused =
        |name: &str, edit: &Edit| problem_of::<Problem>(written(name, edit).err().expect("a refusal"));
    let direction = |width: usize| random(&mut ChaCha8Rng::seed_from_u64(7), &[width]);
    let whole = everywhere(&direction(config.hidden_size), config.layers);
    let Edit::Composed(parts) = &whole else { panic!() };
    assert!(matches!(refused("llama", &parts[2]), Problem::Layers { found, layers: 4 } if found == [1]));
    let missing = Edit::composed(parts[1..].to_vec());
    assert!(matches!(refused("llama", &missing), Problem::Layers { found, .. } if found == [0, 1, 2, 3]));
    assert!(matches!(refused("llama", &whole.scaled(0.5).unwrap()), Problem::Factor { factor: 0.5 }));
    let on_stream = Edit::Lora(lora(&config, &[Site::Embeddings], 8));
    let after = Edit::composed([whole.clone(), on_stream.clone()]);
    assert!(matches!(refused("llama", &after), Problem::Order));
    written("llama", &Edit::composed([on_stream, whole])).unwrap();
    let gemma = base("gemma3").config().clone();
    let of_gemma = everywhere(&direction(gemma.hidden_size), gemma.layers);
    assert!(matches!(refused("gemma3", &of_gemma), Problem::PostNorms));
}

/// A factor on a composition is one of what it adds: what it takes out stays out.
#[test]
fn scaling_leaves_ablations_behind_an_edit_as_they_are() {
    let config = base("llama").config().clone();
    let own = lora(&config, &[Site::Embeddings], 9);
    let direction = random(&mut ChaCha8Rng::seed_from_u64(10), &[config.hidden_size]);
    let both = Edit::composed([Edit::Lora(own), everywhere(&direction, 1)]);
    let Edit::Composed(parts) = both.scaled(3.0).unwrap() else { panic!() };
    assert!(matches!(&parts[0], Edit::Lora(lora) if lora.factor == 1.5));
    assert!(parts[1..].iter().all(|part| matches!(part, Edit::Ablation(ablation) if ablation.factor == 1.0)));
    let Edit::Composed(alone) = everywhere(&direction, 1).scaled(0.5).unwrap() else { panic!() };
    assert!(alone.iter().all(|part| matches!(part, Edit::Ablation(ablation) if ablation.factor == 0.5)));
}
