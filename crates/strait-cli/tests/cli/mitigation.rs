//! Mitigation: directions that are projected out in training and in the weights, and trainings that end early.

use candle_core::{Device, Tensor};
use serde_json::Value;
use strait_model::{
    Edit,
    edit::{self, Ablation, SteeringVector},
};

use crate::{
    common::{Place, text, tiny},
    studies::small_study,
};

const WIDTH: usize = 32;
const LAYERS: i32 = 4;

fn direction() -> Tensor {
    let numbers: Vec<f32> = (0..WIDTH).map(|i| ((i * 37 + 11) % 64) as f32 / 32.0 - 1.0).collect();
    Tensor::from_vec(numbers, WIDTH, &Device::Cpu).unwrap()
}

/// The small study with further lines, of one solution alone.
fn study(place: &Place, name: &str, lines: &str) {
    small_study(place, 12);
    let small = std::fs::read_to_string(place.path("small.toml")).unwrap();
    let (before, rest) = small.split_once("[[solution]]").unwrap();
    let before = before.replace("checkpoint_every = 100", "checkpoint_every = 2");
    let (_, measure) = rest.split_once("[measure]").unwrap();
    let measure = measure.replace("significance = { text = \"passages.txt\", random = 1, norms = [1] }", "");
    place.write(&format!("{name}.toml"), &format!("{before}{lines}\n[measure]{measure}"));
}

fn lines(place: &Place, solution: &str) -> Vec<Value> {
    let metrics = std::fs::read_to_string(place.path(solution).join("metrics.jsonl")).unwrap();
    metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_direction_is_projected_out_of_a_training_and_of_what_goes_on_from_it() {
    let place = Place::new();
    let vector = Edit::Steering(SteeringVector { layer: 2, vector: direction() });
    vector.save(&place.path("direction.safetensors")).unwrap();
    let solutions = "
[[solution]]
name = 'plain'
layer = 1
[[solution]]
name = 'without'
layer = 1
without = 'direction.safetensors'
[[solution]]
name = 'on'
layer = 1
from = 'without'
";
    study(&place, "mitigated", solutions);
    let ran = place.run(["run", "mitigated.toml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let opened = |name: &str| edit::read(&text(&place.path("runs/mitigated/solutions").join(name))).unwrap();
    assert_eq!(opened("without").provenance["without"], "direction.safetensors");
    for name in ["without", "on"] {
        let edit = opened(name).edit;
        let parts: Vec<&Edit> = edit.parts().collect();
        let ablated = |part: &Edit| match part {
            Edit::Ablation(Ablation { layer, factor, .. }) if *factor == 1.0 => Some(*layer),
            _ => None,
        };
        let layers: Vec<i32> = parts[1..].iter().filter_map(|part| ablated(part)).collect();
        assert_eq!(layers, (-1..LAYERS).collect::<Vec<_>>(), "{name}");
        let Edit::Steering(SteeringVector { vector, .. }) = parts[0] else { panic!("{name}") };
        let numbers = |tensor: &Tensor| tensor.to_vec1::<f32>().unwrap();
        let norm = numbers(vector).iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!(norm > 0.0, "{name}");
    }
    let Edit::Steering(plain) = opened("plain").edit else { panic!() };
    assert!(plain.norm().unwrap() > 0.0);
    let tables = std::fs::read_to_string(place.path("runs/mitigated/tables/preference.csv")).unwrap();
    assert!(tables.contains("without") && !tables.contains("NaN"), "{tables}");

    // Another direction is another training; the plain one stays.
    let mut other = direction().to_vec1::<f32>().unwrap();
    other[0] += 1.0;
    let vector = Tensor::from_vec(other, WIDTH, &Device::Cpu).unwrap();
    Edit::Steering(SteeringVector { layer: 2, vector }).save(&place.path("direction.safetensors")).unwrap();
    let planned = place.run(["run", "mitigated.toml", "--dry-run", "--json"]).json();
    let state = |name: &str| {
        let steps = planned["steps"].as_array().unwrap();
        steps.iter().find(|step| step["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!((state("train-plain"), state("train-without")), ("done".into(), "waiting".into()));
}

#[test]
fn a_training_ends_at_the_checkpoint_at_which_it_shifts_outside() {
    let place = Place::new();
    let solutions = "
[[solution]]
name = 'free'
stop = { outside = 100.0 }
[[solution]]
name = 'stopped'
learning_rate = 0.05
stop = { outside = 0.0001 }
";
    study(&place, "stopping", solutions);
    let ran = place.run(["run", "stopping.toml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("general pairs, those of every fourth question, are watched"), "{}", ran.err);
    let solution = |name: &str| format!("runs/stopping/solutions/{name}");
    let free = lines(&place, &solution("free"));
    assert_eq!(free.len(), 12);
    let shifts: Vec<bool> = free.iter().map(|line| line["outside_shift"].is_number()).collect();
    assert_eq!(shifts, [false, true].repeat(6));
    let stopped = lines(&place, &solution("stopped"));
    let last = stopped.last().unwrap();
    assert!(stopped.len() < 12 && last["outside_shift"].as_f64().unwrap() > 0.0001, "{stopped:?}");
    let opened = edit::read(&text(&place.path(&solution("stopped")))).unwrap();
    let step = opened.provenance["stopped"]["step"].as_u64().unwrap();
    assert_eq!(Some(step), last["step"].as_u64());
    let kept = opened.provenance["stopped"]["edit_of_step"].as_u64().unwrap();
    assert_eq!(kept + 2, step);
    if kept > 0 {
        let checkpoint =
            place.path(&solution("stopped")).join(format!("checkpoints/step-{kept:06}.safetensors"));
        let before = edit::open(&text(&checkpoint)).unwrap();
        assert_eq!(opened.edit.norm().unwrap(), before.norm().unwrap());
    } else {
        assert!(opened.edit.changes_nothing().unwrap());
    }
    // The same again from nothing, and from where it was.
    let bytes = |name: &str| std::fs::read(place.path(&solution(name)).join("edit.safetensors")).unwrap();
    let before = bytes("stopped");
    std::fs::remove_file(place.path(&solution("stopped")).join("edit.safetensors")).unwrap();
    let again = place.run(["run", "stopping.toml"]);
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert_eq!(bytes("stopped"), before);
}

#[test]
fn mistakes_of_mitigation_are_named() {
    let place = Place::new();
    let said = |lines: &str| {
        study(&place, "wrong", &format!("[[solution]]\nname = 'one'\n{lines}"));
        let said = place.run(["run", "wrong.toml"]);
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(said.err.contains("hint: "), "{}", said.err);
        said.err
    };
    assert!(said("without = 'none.safetensors'").contains("none.safetensors"));
    assert!(said("without = 'none.safetensors@2'").contains("none.safetensors"));
    let narrow = Edit::Steering(SteeringVector {
        layer: 1,
        vector: Tensor::ones(WIDTH + 1, candle_core::DType::F32, &Device::Cpu).unwrap(),
    });
    narrow.save(&place.path("wide.safetensors")).unwrap();
    assert!(said("without = 'wide.safetensors'").contains("this model needs [32]"));
    let full = text(&tiny("../edit/full/llama.safetensors"));
    assert!(said(&format!("without = '{full}'")).contains("a full fine-tune has no directions"));
    assert!(said("stop = { outside = 0 }").contains("outside"));
    assert!(said("stop = true").contains("stop"));
}

#[test]
fn an_ablation_goes_into_the_weights_of_a_folder() {
    let place = Place::new();
    let at = |layer| Edit::Ablation(Ablation { layer, direction: direction(), factor: 1.0 });
    Edit::composed((-1..LAYERS).map(at)).save(&place.path("everywhere.safetensors")).unwrap();
    at(2).save(&place.path("once.safetensors")).unwrap();
    let model = text(&tiny("llama"));
    let convert = |edit: &str, extra: &[&str]| {
        place.run([&["edit", "convert", edit, "model", "--model", &model][..], extra].concat())
    };
    let refused = convert("once.safetensors", &[]);
    assert_eq!(refused.code, Some(1));
    insta::assert_snapshot!("ablation-at-one-layer", refused.all());
    let said = convert("everywhere.safetensors", &["--json"]).json();
    assert_eq!(said["notes"].as_array().unwrap().len(), 1, "{said}");
    let rows = text(&tiny("../../../../strait/tests/fixtures/train/rows.jsonl"));
    let loss = |arguments: &[&str]| {
        place.run([&["score", "--data", &rows, "--json", "--model"], arguments].concat()).json()["loss"]
            .clone()
    };
    let (base, written) = (loss(&[&model]), loss(&["model"]));
    let edited = loss(&[&model, "--edit", "everywhere.safetensors"]);
    assert!(base != written && written != edited, "{base} {written} {edited}");
}
