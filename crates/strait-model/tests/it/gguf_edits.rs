//! Control vectors and LoRA adapters in GGUF files, as llama.cpp and repeng read and write them.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use strait_model::{
    Config, Edit, Error, Gguf, Result,
    config::{Architecture, Projection},
    edit::{self, Ablation, Adapter, GgufProblem, Lora, Opened, Problem, Site, Source, SteeringVector},
    gguf::{Array, Value},
};
use tempfile::TempDir;

use crate::common::{File, problem_of, small_config};

const F16: u32 = 1;

/// A Llama of 12 numbers a token, four heads of 4 and two for keys and values.
fn llama(tied_embeddings: bool) -> Config {
    Config {
        architecture: Architecture::Llama,
        qkv_bias: false,
        qk_norm: false,
        post_norms: false,
        layers: 5,
        layer_kinds: vec![strait_model::config::LayerKind::Full; 5],
        ..small_config(tied_embeddings)
    }
}

fn qwen() -> Config {
    Config { architecture: Architecture::Qwen3, ..llama(false) }
}

fn random(rng: &mut ChaCha8Rng, shape: &[usize]) -> Tensor {
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

fn steering(rng: &mut ChaCha8Rng, layer: i32, width: usize) -> Edit {
    Edit::Steering(SteeringVector { layer, vector: random(rng, &[width]) })
}

fn lora(rng: &mut ChaCha8Rng, sites: &[Site], rank: usize, config: &Config) -> Lora {
    let adapter = |&site: &Site| {
        let (input, output) = site.size(config);
        Adapter { site, a: random(rng, &[rank, input]), b: random(rng, &[output, rank]) }
    };
    let adapters = sites.iter().map(adapter).collect();
    Lora { adapters, rank, alpha: 6.0, rslora: false, factor: 1.0 }
}

fn every_site() -> Vec<Site> {
    let of_layer =
        |layer| Projection::ALL.into_iter().map(move |projection| Site::Projection { layer, projection });
    [1, 4].into_iter().flat_map(of_layer).collect()
}

/// Writes an edit to a GGUF file by way of strait's own.
fn written(edit: &Edit, config: &Config) -> Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir().unwrap();
    let (own, gguf) = (folder.path().join("e.safetensors"), folder.path().join("e.gguf"));
    edit.save(&own)?;
    edit::convert(own.to_str().unwrap(), &gguf, Some(config))?;
    Ok((folder, gguf))
}

fn read(path: &Path) -> Result<Opened> {
    edit::read(path.to_str().unwrap())
}

fn refused(result: Result<impl Sized>) -> GgufProblem {
    problem_of(result.err().expect("a refusal"))
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn bits(edit: &Edit) -> Vec<(String, Vec<usize>, Vec<u32>)> {
    let bits = |t: &Tensor| numbers(t).into_iter().map(f32::to_bits).collect();
    edit.tensors().into_iter().map(|(name, t)| (name, t.dims().to_vec(), bits(&t))).collect()
}

fn control(file: File) -> File {
    file.text("general.architecture", "controlvector").text("controlvector.model_hint", "llama")
}

fn saved(file: &File) -> Result<Opened> {
    let folder = tempfile::tempdir().unwrap();
    read(&file.save(&folder))
}

#[test]
fn a_control_vector_is_written_as_repeng_writes_it() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let edit = Edit::composed([steering(&mut rng, 4, 12), steering(&mut rng, 2, 12)]);
    let (_folder, path) = written(&edit, &llama(true)).unwrap();
    let file = Gguf::open(&path).unwrap();
    assert_eq!(file.string("general.architecture").unwrap(), Some("controlvector"));
    assert_eq!(file.string("controlvector.model_hint").unwrap(), Some("llama"));
    assert_eq!(file.get("controlvector.layer_count"), Some(&Value::Unsigned(2)));
    let names: Vec<_> = file.tensors().iter().map(|t| (t.name.as_str(), t.shape.as_slice())).collect();
    assert_eq!(names, [("direction.2", &[12][..]), ("direction.4", &[12])]);
    let Edit::Composed(parts) = &edit else { panic!() };
    assert_eq!(file.dequantise("direction.4").unwrap().1, numbers(&parts[0].tensors()[0].1));

    let opened = read(&path).unwrap();
    assert_eq!((opened.source, opened.notes.len()), (Source::Gguf, 0));
    assert_eq!(opened.provenance["model_hint"], "llama");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Vectors come back bit by bit; those of one layer as their sum.
    #[test]
    fn a_control_vector_comes_back(layers in prop::collection::vec(1i32..5, 1..6), seed in 0u64..100) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let edit = Edit::composed(layers.iter().map(|&layer| steering(&mut rng, layer, 12)));
        let (_folder, path) = written(&edit, &qwen()).unwrap();
        let mut expected = std::collections::BTreeMap::<i32, Vec<f32>>::new();
        for part in edit.parts() {
            let Edit::Steering(SteeringVector { layer, vector }) = part else { panic!() };
            let sum = expected.entry(*layer).or_insert_with(|| vec![0.0; 12]);
            sum.iter_mut().zip(numbers(vector)).for_each(|(sum, x)| *sum += x);
        }
        let back = Edit::composed(expected.into_iter().map(|(layer, sum)| {
            Edit::Steering(SteeringVector { layer, vector: Tensor::from_vec(sum, 12, &Device::Cpu).unwrap() })
        }));
        prop_assert_eq!(bits(&read(&path).unwrap().edit), bits(&back));
    }

    /// Every adapter comes back bit by bit, the rows of a Llama's queries and keys in their order, and with its scale.
    #[test]
    fn an_adapter_comes_back(
        rank in 1usize..5, factor in prop_oneof![Just(1.0f64), -3.0f64..3.0], rslora: bool, is_llama: bool, seed in 0u64..100,
    ) {
        let config = if is_llama { llama(false) } else { qwen() };
        let sites = [every_site(), vec![Site::Lookup, Site::Head]].concat();
        let plain = lora(&mut ChaCha8Rng::seed_from_u64(seed), &sites, rank, &config);
        let own = Lora { rslora, factor, ..plain };
        let (_folder, path) = written(&Edit::Lora(own.clone()), &config).unwrap();
        for opened in [read(&path).unwrap(), edit::read_for(path.to_str().unwrap(), &config).unwrap()] {
            let Edit::Lora(back) = opened.edit else { panic!() };
            // The order of sites is that of their blocks.
            for adapter in &back.adapters {
                let same = own.adapters.iter().find(|own| own.site == adapter.site).unwrap();
                prop_assert_eq!(numbers(&adapter.a), numbers(&same.a));
                let (found, expected) = (numbers(&adapter.b), numbers(&same.b));
                for (found, expected) in found.iter().zip(&expected) {
                    let (found, expected) = (f64::from(*found) * back.scale(), f64::from(*expected) * own.scale());
                    prop_assert!((found - expected).abs() <= 1e-6 * (1.0 + expected.abs()));
                }
            }
            prop_assert_eq!(back.adapters.len(), own.adapters.len());
        }
    }
}

#[test]
fn a_control_vector_is_read_as_llama_cpp_adds_it() {
    let file = control(File::new())
        .number("controlvector.layer_count", 3)
        .floats("direction.2", &[3], &[1.0, 2.0, 3.0])
        .floats("direction.03", &[1, 3], &[0.5, 0.0, -1.0])
        .floats("direction.2.again", &[3], &[10.0, 20.0, 30.0]);
    let opened = saved(&file).unwrap();
    assert!(opened.notes.is_empty());
    let names: Vec<_> = opened.edit.tensors().into_iter().map(|(name, t)| (name, numbers(&t))).collect();
    let expected = [("0.steering.2", vec![11.0, 22.0, 33.0]), ("1.steering.3", vec![0.5, 0.0, -1.0])];
    assert_eq!(names, expected.map(|(name, numbers)| (name.to_string(), numbers)));

    // cvector-generator's number has a sign, and its vectors act a block late.
    let file = control(File::new()).with("controlvector.layer_count", Value::Signed(1)).floats(
        "direction.1",
        &[3],
        &[1.0, 2.0, 3.0],
    );
    let opened = saved(&file).unwrap();
    assert_eq!(opened.edit.first_layer(), Some(1));
    assert!(opened.notes[0].contains("one block later"), "{:?}", opened.notes);
}

#[test]
fn a_control_vector_that_llama_cpp_drops_is_refused() {
    let good = || control(File::new()).floats("direction.1", &[3], &[1.0; 3]);
    let cases = [
        (good().floats("direction.0", &[3], &[1.0; 3]), "layer 0"),
        (good().floats("direction.x", &[3], &[1.0; 3]), "not named"),
        (good().floats("direction.-1", &[3], &[1.0; 3]), "not named"),
        (good().floats("direction.99999999999", &[3], &[1.0; 3]), "not named"),
        (good().floats("bias.1", &[3], &[1.0; 3]), "not named"),
        (good().tensor("direction.2", &[3], F16, &[0; 6]), "type F32"),
        (good().floats("direction.2", &[3, 2], &[1.0; 6]), "not one vector"),
        (good().floats("direction.2", &[], &[1.0]), "not one vector"),
        (good().floats("direction.2", &[4], &[1.0; 4]), "4 numbers where the first has 3"),
    ];
    for (file, words) in cases {
        let error = saved(&file).unwrap_err();
        assert!(error.to_string().contains(words), "{words} in {error}");
        assert!(error.hint().is_some());
        refused(Err::<(), _>(error));
    }
    let nan = control(File::new()).floats("direction.1", &[2], &[1.0, f32::NAN]);
    assert!(matches!(problem_of(saved(&nan).unwrap_err()), Problem::NotFinite { index: 1, .. }));
    assert!(matches!(problem_of(saved(&control(File::new())).unwrap_err()), Problem::Empty));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let config = llama(true);
    let adapted = Edit::Lora(lora(&mut rng, &every_site()[..2], 1, &config));
    for edit in [steering(&mut rng, 3, 12), adapted] {
        let (folder, path) = written(&edit, &config).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let cut = folder.path().join("cut.gguf");
        // The last numbers are followed by what fills up a unit of 32 bytes.
        for end in (0..bytes.len() - 32).step_by(7) {
            std::fs::write(&cut, &bytes[..end]).unwrap();
            assert!(read(&cut).unwrap_err().hint().is_some(), "cut at {end}");
        }
        std::fs::write(&cut, &bytes).unwrap();
        read(&cut).unwrap();
    }
}

#[test]
fn what_a_control_vector_cannot_hold_is_not_written() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let config = llama(true);
    for (layer, words) in [(-1, "on the embeddings"), (0, "after block 0")] {
        let both = Edit::composed([steering(&mut rng, 2, 12), steering(&mut rng, layer, 12)]);
        let problem = refused(written(&both, &config));
        assert!(matches!(problem, GgufProblem::TooLow { place } if place == words));
    }
    let vector = random(&mut rng, &[12]);
    let ablation = Edit::Ablation(Ablation { layer: 2, direction: vector, factor: 1.0 });
    assert!(matches!(refused(written(&ablation, &config)), GgufProblem::Kind { kind: "an ablation" }));
    let mixed = Edit::composed([ablation, steering(&mut rng, 2, 12)]);
    assert!(matches!(refused(written(&mixed, &config)), GgufProblem::Kind { .. }));
    let wide = written(&steering(&mut rng, 2, 13), &config).err().unwrap();
    assert!(matches!(problem_of(wide), Problem::Size { .. }));
    let high = written(&steering(&mut rng, 5, 12), &config).err().unwrap();
    assert!(matches!(problem_of(high), Problem::LayerRange { .. }));
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("e.safetensors");
    steering(&mut rng, 2, 12).save(&own).unwrap();
    let out = folder.path().join("e.gguf");
    let unnamed = edit::convert(own.to_str().unwrap(), &out, None);
    assert!(matches!(refused(unnamed), GgufProblem::ModelNeeded));
    assert!(!out.exists());
}

/// An adapter's file with the metadata that `convert_lora_to_gguf.py` writes.
fn adapter(architecture: &str, alpha: f64) -> File {
    File::new()
        .text("general.architecture", architecture)
        .text("general.type", "adapter")
        .text("adapter.type", "lora")
        .float("adapter.lora.alpha", alpha)
}

#[test]
fn an_adapter_has_the_names_and_rows_of_llama_cpp() {
    let config = llama(false);
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let site = |layer, projection| Site::Projection { layer, projection };
    let sites = [site(1, Projection::K), site(3, Projection::Down), Site::Lookup, Site::Head];
    let own = Lora { rslora: true, factor: -2.0, ..lora(&mut rng, &sites, 4, &config) };
    let (_folder, path) = written(&Edit::Lora(own.clone()), &config).unwrap();
    let file = Gguf::open(&path).unwrap();
    for (key, value) in
        [("general.architecture", "llama"), ("general.type", "adapter"), ("adapter.type", "lora")]
    {
        assert_eq!(file.string(key).unwrap(), Some(value));
    }
    // alpha / sqrt(4) is 12 / 4.
    assert_eq!(file.float("adapter.lora.alpha").unwrap(), Some(12.0));
    let of = |name: &str| file.dequantise(name).unwrap();
    let (shape, rows) = of("blk.1.attn_k.weight.lora_b");
    assert_eq!(shape, [8, 4]);
    // Hugging Face's rows of a head of four: 0 and 2 are a pair, and so are 1 and 3.
    let b: Vec<Vec<f32>> = (&own.adapters[0].b * -2.0).unwrap().to_vec2().unwrap();
    let expected: Vec<f32> =
        [0, 2, 1, 3, 4, 6, 5, 7].into_iter().flat_map(|row: usize| b[row].clone()).collect();
    assert_eq!(rows, expected);
    assert_eq!(of("blk.1.attn_k.weight.lora_a").1, numbers(&own.adapters[0].a));
    assert_eq!(of("blk.3.ffn_down.weight.lora_a").0, [4, 10]);
    assert_eq!(
        (of("token_embd.weight.lora_a").0, of("token_embd.weight.lora_b").0),
        (vec![23, 4], vec![12, 4])
    );
    assert_eq!((of("output.weight.lora_a").0, of("output.weight.lora_b").0), (vec![4, 12], vec![23, 4]));
    let transposed = own.adapters[2].a.t().unwrap().contiguous().unwrap();
    assert_eq!(of("token_embd.weight.lora_a").1, numbers(&transposed));
}

#[test]
fn an_adapter_from_elsewhere_needs_its_models_heads() {
    let config = llama(false);
    let of_keys = |architecture| {
        adapter(architecture, 8.0).floats("blk.0.attn_k.weight.lora_a", &[1, 12], &[1.0; 12]).floats(
            "blk.0.attn_k.weight.lora_b",
            &[8, 1],
            &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let path = of_keys("llama").save(&folder);
    let name = path.to_str().unwrap();
    assert!(matches!(refused(edit::read(name)), GgufProblem::HeadNeeded { .. }));
    let read = |config: &Config| edit::read_for(name, config);
    let opened = read(&config).unwrap();
    assert_eq!(numbers(&opened.edit.tensors()[1].1), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    let odd = Config { head_dim: 6, ..config.clone() };
    assert!(matches!(refused(read(&odd)), GgufProblem::Heads { rows: 8, head_dim: 6, .. }));
    assert!(matches!(
        refused(read(&qwen())),
        GgufProblem::OtherArchitecture { found: "llama", model: "qwen3" }
    ));
    // Nobody else's rows are in pairs.
    let other = saved(&of_keys("qwen3")).unwrap();
    assert_eq!(numbers(&other.edit.tensors()[1].1), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
}

#[test]
fn scales_are_llama_cpps() {
    let of = |file: File| {
        let opened = saved(
            &file
                .floats("blk.0.ffn_up.weight.lora_a", &[2, 3], &[1.0; 6])
                .floats("blk.0.ffn_up.weight.lora_b", &[5, 2], &[1.0; 10])
                .floats("blk.1.ffn_up.weight.lora_a", &[4, 3], &[1.0; 12])
                .floats("blk.1.ffn_up.weight.lora_b", &[5, 4], &[1.0; 20]),
        );
        let scale = |part: &Edit| match part {
            Edit::Lora(lora) => (lora.rank, lora.scale()),
            other => panic!("{other:?}"),
        };
        opened.unwrap().edit.parts().map(scale).collect::<Vec<_>>()
    };
    assert_eq!(of(adapter("qwen2", 8.0)), [(2, 4.0), (4, 2.0)]);
    // An alpha of 0 is none.
    assert_eq!(of(adapter("qwen2", 0.0)), [(2, 1.0), (4, 1.0)]);
    let mut bare = adapter("qwen2", 8.0);
    bare.entries.retain(|entry| entry.key != "adapter.lora.alpha");
    assert_eq!(of(bare), [(2, 1.0), (4, 1.0)]);
}

#[test]
fn an_adapter_without_effect_stays_one() {
    let config = llama(false);
    let own = lora(&mut ChaCha8Rng::seed_from_u64(5), &every_site(), 2, &config);
    for own in [Lora { alpha: 0.0, ..own.clone() }, Lora { factor: 0.0, ..own }] {
        let (_folder, path) = written(&Edit::Lora(own), &config).unwrap();
        assert!(read(&path).unwrap().edit.changes_nothing().unwrap());
    }
}

#[test]
fn what_is_no_plain_adapter_is_refused() {
    let pair = |file: File| {
        file.floats("blk.0.ffn_up.weight.lora_a", &[2, 3], &[1.0; 6]).floats(
            "blk.0.ffn_up.weight.lora_b",
            &[5, 2],
            &[1.0; 10],
        )
    };
    let good = || pair(adapter("llama", 8.0));
    saved(&good()).unwrap();
    let other = |key: &str, text: &str| {
        let mut file = good();
        file.entries.retain(|entry| entry.key != key);
        file.text(key, text)
    };
    let tokens = Value::Array(Array::Unsigned(vec![1, 2]));
    let cases = [
        (other("general.type", "model"), "a model of the architecture `llama`, not a control vector"),
        (other("adapter.type", "dora"), "type `dora`"),
        (other("general.architecture", "falcon"), "`falcon`, which strait does not read"),
        (good().with("adapter.alora.invocation_tokens", tokens), "acts on some tokens only"),
        (good().floats("blk.0.ffn_gate_exps.weight.lora_a", &[2, 3], &[1.0; 6]), "adapts none of"),
        (good().floats("blk.0.ffn_up.weight", &[2, 3], &[1.0; 6]), "adapts none of"),
        (good().floats("blk.00.ffn_gate.weight.lora_a", &[2, 3], &[1.0; 6]), "adapts none of"),
        (good().floats("blk.1.ffn_up.weight.lora_a", &[6], &[1.0; 6]), "no matrix"),
        (good().floats("blk.1.ffn_up.weight.lora_a", &[2, 3], &[1.0; 6]), "has no `lora_B`"),
        (
            good().floats("blk.1.ffn_up.weight.lora_a", &[2, 3], &[1.0; 6]).floats(
                "blk.1.ffn_up.weight.lora_b",
                &[5, 3],
                &[1.0; 15],
            ),
            "not (r, in) and (out, r)",
        ),
        (adapter("llama", 8.0), "the edit has no tensors"),
        (adapter("llama", f64::INFINITY).floats("x", &[1], &[1.0]), "adapts none of"),
        (pair(adapter("llama", f64::NAN)), "scale is NaN"),
    ];
    for (file, words) in cases {
        let error = saved(&file).unwrap_err();
        assert!(error.to_string().contains(words), "{words} in {error}");
        assert!(error.hint().is_some());
    }
    let nan = adapter("llama", 8.0).floats("blk.0.ffn_up.weight.lora_a", &[2, 3], &[f32::NAN; 6]).floats(
        "blk.0.ffn_up.weight.lora_b",
        &[5, 2],
        &[1.0; 10],
    );
    assert!(matches!(problem_of(saved(&nan).unwrap_err()), Problem::NotFinite { .. }));
    let norms = saved(&good().floats("blk.0.attn_norm.weight", &[3], &[1.0; 3])).unwrap();
    assert!(norms.notes[0].contains("1 norms"), "{:?}", norms.notes);
}

#[test]
fn an_adapter_of_one_table_for_two_uses_is_not_written() {
    let config = llama(true);
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for (site, words) in [(Site::Lookup, "the embedding table"), (Site::Head, "the head")] {
        let own = Edit::Lora(lora(&mut rng, &[site], 2, &config));
        assert!(
            matches!(refused(written(&own, &config)), GgufProblem::TiedTable { module } if module == words)
        );
    }
    let own = Edit::Lora(lora(&mut rng, &[Site::Embeddings], 2, &config));
    assert!(matches!(refused(written(&own, &config)), GgufProblem::Kind { .. }));
}

/// An adapter that was made for another family is refused on a model, wherever it was read.
#[test]
fn a_model_of_another_architecture_is_refused() {
    let config = qwen();
    let own = Edit::Lora(lora(&mut ChaCha8Rng::seed_from_u64(7), &every_site(), 2, &config));
    let (_folder, path) = written(&own, &config).unwrap();
    let opened = read(&path).unwrap();
    let (decoder, _) = crate::common::small_decoder(&llama(false));
    let error: Error = decoder.check(&opened).unwrap_err();
    assert!(matches!(problem_of(error), GgufProblem::OtherArchitecture { .. }));
}
