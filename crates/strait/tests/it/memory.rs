//! The memory of kept rows: results do not depend on it, not by a bit.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use strait::{
    Error,
    lab::LimitProblem,
    objective::{Kept, Row},
    store::Store,
    study::{self, Limits, Problem},
    train::Trainable,
};
use strait_model::{
    Edit, Model, Precision,
    decoder::first_changed_point,
    edit::SteeringVector,
    progress::{Progress, Silent},
    source::{Located, Road},
};

use crate::sweeps::{Scratch, Watch};

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny/llama");
    let located = Located { name: "tiny".into(), path, road: Road::Path, revision: None };
    Model::load(&located, &Device::Cpu, Precision::F32).unwrap()
}

/// Rows of several batches that begin alike here and there, with responses of other lengths.
fn rows() -> Vec<Row> {
    let row = |i: usize| {
        let length = 40 + 17 * i % 61;
        let ids = (0..length).map(|at| if at < 9 { at as u32 } else { ((at * 31 + i * 7) % 250) as u32 });
        Row { ids: ids.collect(), responses: std::iter::once(length / 2..length).collect() }
    };
    (0..40).map(row).collect()
}

/// All bits that are read of batches which are none of those in which the rows are kept.
fn readings(model: &Model, kept: &Kept, edit: &Edit) -> Vec<u32> {
    let decoder = &model.decoder;
    let trainable = Trainable::from_edit(edit.clone(), decoder, 1.0).unwrap();
    let mut bits = Vec::new();
    for batch in [&[0, 17, 26, 33][..], &[39, 1], &[7], &[20, 21, 22, 23, 24, 25]] {
        let (_, trained) = trainable.on(decoder);
        for read in [
            kept.response_losses(decoder, batch, None).unwrap(),
            kept.response_losses(decoder, batch, Some(edit)).unwrap(),
            kept.kl(decoder, batch, edit).unwrap(),
            kept.response_kl(decoder, batch, edit).unwrap(),
            kept.response_gradient(decoder, batch, trained, 1.0).unwrap().0,
            kept.kl_gradient(decoder, batch, (decoder, trained), 1.0).unwrap().0,
        ] {
            bits.extend(read.into_iter().map(f32::to_bits));
        }
    }
    bits
}

#[test]
fn rows_that_are_computed_anew_read_as_those_that_are_kept() {
    let model = model();
    let width = model.config().hidden_size;
    let numbers: Vec<f32> = (0..width).map(|i| (i as f32).sin()).collect();
    let vector = Tensor::from_vec(numbers, width, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    let edit = Edit::Steering(SteeringVector { layer: 1, vector });
    let point = first_changed_point(&edit, model.config().layers);
    let all: u64 = rows().iter().map(|row| (row.ids.len() * width * 8) as u64).sum();
    let mut found: Vec<Vec<u32>> = Vec::new();
    for limit in [u64::MAX, all - 1, all / 3, 0] {
        let store = Store::new(limit);
        let mut kept = Kept::new(rows()).within(&store);
        let watch = Watch::endless();
        let every_row = kept.every_row();
        kept.keep(&model.decoder, &every_row, point, true, "reading rows", &watch).unwrap();
        assert!(store.held() <= limit);
        assert_eq!(watch.notes().contains("are computed anew"), limit < all, "{}", watch.notes());
        found.push(readings(&model, &kept, &edit));

        // What another set takes away is computed anew too, until it is asked for again.
        store.begin_step();
        let (room, _) = store.room(&[limit.min(all)]);
        assert!(limit == u64::MAX || store.held() <= limit);
        found.push(readings(&model, &kept, &edit));
        drop(room);
        kept.keep(&model.decoder, &every_row, point, true, "reading rows", &watch).unwrap();
        assert_eq!(store.held() == all, limit >= all);
        found.push(readings(&model, &kept, &edit));
    }
    for other in &found[1..] {
        assert!(*other == found[0]);
    }
}

const TRAIN: &str = "edit = 'steering'\nlayer = 1\nlearning_rate = 0.02\nbatch_size = 2\nsteps = 4\n\
                     checkpoint_every = 2\nwarmup = 0";

const SOLUTIONS: &str = "
[[solution]]
name = 'general'
[[solution]]
name = 'narrow'
kl = { weight = 3, batch_size = 2 }
[[solution]]
name = 'adapter'
edit = 'lora'
layer = 0
rank = 2
alpha = 4
[[solution]]
name = 'found'
kl = { weight = 'auto', tries = 1, batch_size = 2 }
";

/// The tables, the edits and the metrics of a run.
fn results(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.join("tables"), folder.join("solutions")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            match path.is_dir() {
                true if name == "tensorboard" => {}
                true => folders.push(path),
                false if name == "times.csv" => {}
                false => {
                    _ = found.insert(path.strip_prefix(folder).unwrap().into(), std::fs::read(path).unwrap())
                }
            }
        }
    }
    found
}

#[test]
fn a_study_has_the_same_results_in_any_memory_that_holds_it() {
    let scratch = Scratch::new();
    let study = scratch.write(TRAIN, SOLUTIONS);
    let run = |out: &str, jobs: usize, memory: Option<u64>, progress: &dyn Progress| {
        let limits = Limits { jobs: NonZeroUsize::new(jobs), memory };
        study::run(&study, Some(&scratch.path(out)), &Device::Cpu, limits, progress).map(drop)
    };
    // What is said to be too little is refused before anything is done, and what is said to suffice does.
    let watch = Watch::endless();
    let refused = run("refused", 1, Some(129 << 20), &watch).unwrap_err();
    let Some(Problem::Limit(LimitProblem::Given { step, needed, .. })) = refused.problem() else {
        panic!("{refused}")
    };
    assert!(step != "model", "{refused}");
    assert!(refused.hint().unwrap().contains("--memory"));
    assert!(!scratch.path("refused/solutions").exists());
    let least = (needed * f64::from(1 << 30)).ceil() as u64;
    let weights = run("refused", 1, Some(1 << 20), &watch).unwrap_err();
    assert!(weights.to_string().contains("step `model` needs"), "{weights}");

    run("whole", 1, None, &watch).unwrap();
    assert!(!watch.notes().contains("computed anew"), "{}", watch.notes());
    let whole = results(&scratch.path("whole"));
    assert!(whole.len() > 20, "{:?}", whole.keys());
    for (out, jobs, memory) in [("least", 1, least), ("beside", 3, least + (300 << 20))] {
        let watch = Watch::endless();
        run(out, jobs, Some(memory), &watch).unwrap();
        let notes = watch.notes();
        assert_eq!(notes.contains("computed anew"), out == "least", "{out}: {notes}");
        assert!(notes.contains("memory: of "), "{notes}");
        let other = results(&scratch.path(out));
        assert_eq!(whole.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (path, bytes) in &whole {
            assert!(other[path] == *bytes, "{out}: {} differs", path.display());
        }
    }
}

#[test]
fn a_dry_run_says_what_memory_it_needs_and_what_has_no_room() {
    let scratch = Scratch::new();
    let study = scratch.write(TRAIN, SOLUTIONS);
    let planned = |memory: u64| {
        let limits = Limits { jobs: None, memory: Some(memory) };
        study::dry_run(&study, None, &Device::Cpu, limits, &Silent)
    };
    let Err(refused) = planned(129 << 20) else { panic!("129 MiB are enough") };
    assert!(matches!(refused, Error::Input { .. }));
    let Some(Problem::Limit(LimitProblem::Given { needed, .. })) = refused.problem() else {
        panic!("{refused}")
    };
    let least = (needed * f64::from(1 << 30)).ceil() as u64;
    let lines = planned(least).unwrap().lines.join("\n");
    assert!(
        lines.contains("memory: rows without room are computed anew when they are read: 100 % of those of"),
        "{lines}"
    );
    let lines = planned(least + (1 << 30)).unwrap().lines.join("\n");
    assert!(lines.contains("which leaves 1.00 for rows that are kept") && !lines.contains("anew"), "{lines}");
}
