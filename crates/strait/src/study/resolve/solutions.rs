//! `[[solution]]`: the edits to train, those of all points of all sweeps.

use super::{
    Mix, Solution, Without,
    data::{Sources, rows},
    kl::{Penalty, penalty},
    layered::{no_rivals, only_keys_of, over, preset_and_edit},
    layers::{Layers, Unplaced},
    required,
    starts::find_starts,
};
use crate::{
    keys::{self, At, Several},
    study::{
        Point, Problem,
        file::{EditName, MAX_NAME, SolutionKeys, TopKeys, TrainKeys, is_name},
        problem::{Checked, Fault},
        sweep,
    },
    train::{EditKind, Kl, Length, Seeds, Settings, Stop},
};

/// The most solutions of a study, those of all its sweeps together.
const MAX_SOLUTIONS: usize = 1000;

/// The solutions of a study whose rows are looked for there, but for layers that depend on the model.
pub(super) fn solutions(top: &TopKeys, seeds: Seeds, sources: &Sources) -> Checked<Vec<Unplaced>> {
    let written = match &top.solution {
        Some(solutions) => solutions.value.as_slice(),
        None => return Err(Problem::NoSolution.nowhere()),
    };
    let shared = top.train();
    no_rivals(&shared, "train")?;
    let mut families: Vec<At<String>> = Vec::new();
    let mut names: Vec<At<String>> = Vec::new();
    let (mut solutions, mut edits) = (Vec::new(), Vec::new());
    for At { value: written, .. } in written {
        let family = &written.name;
        different(family, &families)?;
        families.push(family.clone());
        no_rivals(&written.train, "solution")?;
        if let Some(precision) = &written.train.precision {
            return Err(precision.fault(Problem::PrecisionOfOne));
        }
        let keys = over(&written.train, &shared);
        let (_, edit) = preset_and_edit(&keys)?;
        edits.push(edit);
        for (point, keys) in sweep::grid(written, &keys, edit)? {
            let name = point.as_ref().map_or_else(|| family.value.clone(), Point::name);
            let name = At { value: name, line: family.line };
            short_enough(&name)?;
            different(&name, &names)?;
            let mut unplaced = solution(&name.value, &keys, written, top, seeds, sources)?;
            names.push(name);
            if names.len() > MAX_SOLUTIONS {
                let problem = Problem::TooManySolutions { solutions: names.len(), most: MAX_SOLUTIONS };
                return Err(family.fault(problem));
            }
            unplaced.solution.point = point;
            solutions.push(unplaced);
        }
    }
    find_starts(&mut solutions)?;
    some_compared(&solutions, written)?;
    // A solution may set the shared keys of LoRA aside by being a steering vector, but not all of them.
    only_keys_of(&edits, &shared, "train")?;
    Ok(solutions)
}

/// A solution with these keys, which are its own over the shared ones.
fn solution(
    name: &str,
    keys: &TrainKeys,
    written: &SolutionKeys,
    top: &TopKeys,
    seeds: Seeds,
    sources: &Sources,
) -> Checked<Unplaced> {
    let own = &written.train;
    let (preset, edit) = preset_and_edit(keys)?;
    only_keys_of(&[edit], own, "solution")?;
    let penalty = penalty(name, keys, own, preset, top, sources)?;
    let layers = Layers::of(keys, own, edit);
    let keys = match preset {
        Some(preset) => over(keys, &preset.keys(penalty.is_some())),
        None => keys.clone(),
    };
    let solution = Solution {
        name: name.into(),
        preset,
        point: None,
        from: None,
        rows: first(&keys.rows),
        system: keys.system.as_ref().map(|system| system.value.clone()),
        mix: mix(&keys, sources)?,
        without: without(&keys, sources)?,
        absolute_rate: edit == EditName::Steering && keys.absolute_rate(),
        kl_rows: penalty.as_ref().and_then(|penalty| penalty.rows.clone()),
        control: written.control(),
        own_rows: written.train_on.as_ref().map(|files| rows("train_on", files, sources)).transpose()?,
        train: settings(&keys, edit, penalty.as_ref(), stop(&keys, top)?, seeds),
        search: penalty.and_then(|penalty| penalty.search),
    };
    Ok(Unplaced { solution, layers, from: written.from.clone() })
}

/// The settings of an edit's training, on layers that are yet to be found.
fn settings(
    keys: &TrainKeys,
    edit: EditName,
    penalty: Option<&Penalty>,
    stop: Option<Stop>,
    seeds: Seeds,
) -> Settings {
    Settings {
        edit: match edit {
            EditName::Steering => EditKind::Steering { layer: 0 },
            EditName::Full => EditKind::Full,
            EditName::Lora => EditKind::Lora {
                layers: Vec::new(),
                projections: keys.projections(),
                rank: *keys.rank().first(),
                alpha: keys.alpha(),
                rslora: keys.rslora(),
            },
        },
        learning_rate: first(&keys.learning_rate).unwrap_or(edit.learning_rate()),
        weight_decay: keys.weight_decay(),
        betas: keys.betas(),
        epsilon: keys.epsilon(),
        schedule: keys.schedule(),
        warmup: keys.warmup(),
        batch_size: keys.batch_size(),
        accumulation: keys.accumulation(),
        clip: keys.clip.map(|clip| clip.value),
        length: match first(&keys.steps) {
            Some(steps) => Length::Steps(steps),
            None => Length::Epochs(keys.epochs()),
        },
        checkpoint_every: keys.checkpoint_every(),
        checkpoints: keys.checkpoints.as_ref().map_or_else(Vec::new, |steps| steps.value.clone()),
        kl: penalty.map(|penalty| Kl { weight: penalty.weight, batch_size: penalty.batch_size }),
        ablated: keys.without.is_some(),
        stop,
        seeds: own_seeds(keys, seeds),
    }
}

/// The seeds of a solution: those of the study, but for what it says itself.
fn own_seeds(keys: &TrainKeys, mut seeds: Seeds) -> Seeds {
    if let Some(seed) = first(&keys.seeds) {
        (seeds.initialisation, seeds.order) = (seed as u64, seed as u64);
    }
    if let Some(order) = &keys.order_seed {
        seeds.order = order.value;
    }
    seeds
}

/// The rows that are mixed in, where any are.
fn mix(keys: &TrainKeys, sources: &Sources) -> Checked<Option<Mix>> {
    let Some(At { value: Some(mix), line }) = &keys.mix else {
        return Ok(None);
    };
    let files = required(&mix.rows, "`mix`", "rows", *line)?;
    let ratio = required(&mix.ratio, "`mix`", "ratio", *line)?;
    let rows = rows("mix.rows", files, sources)?;
    Ok(Some(Mix { rows, ratio: *ratio.value.first(), every: mix.every() }))
}

/// The directions that are projected out: a file, or one layer of it.
fn without(keys: &TrainKeys, sources: &Sources) -> Checked<Option<Without>> {
    let Some(written) = &keys.without else { return Ok(None) };
    let named = written.value.as_str();
    let layer = |text: &str| text.parse::<i32>().ok().filter(|&layer| layer >= -1);
    // A file that has the mark in its name is taken as it stands.
    let at_layer = match named.rsplit_once('@') {
        Some((file, text)) if !sources.folder.absolute(named).is_file() => layer(text).map(|at| (file, at)),
        _ => None,
    };
    let (file, layer) = at_layer.map_or((named, None), |(file, layer)| (file, Some(layer)));
    let file = At { value: file.to_string(), line: written.line };
    Ok(Some(Without { file: sources.folder.file("without", &file)?, layer }))
}

/// What ends the training early, for which there must be pairs outside the domain.
fn stop(keys: &TrainKeys, top: &TopKeys) -> Checked<Option<Stop>> {
    let (Some(stop), Some(At { line, .. })) = (keys.stop(), &keys.stop) else { return Ok(None) };
    let outside = required(&stop.outside, "`stop`", "outside", *line)?.value;
    if top.data.value.general.is_none() {
        return Err(Fault { line: Some(*line), problem: Problem::NothingWatched });
    }
    Ok(Some(Stop { outside }))
}

/// The value of a key of several, where each has become a solution of its own.
fn first<T: Copy>(key: &Option<At<Several<T>>>) -> Option<T> {
    key.as_ref().map(|several| *several.value.first())
}

/// Refuses a name that was given before.
fn different(name: &At<String>, names: &[At<String>]) -> Checked<()> {
    match names.iter().find(|other| other.value == name.value) {
        Some(first) => Err(name.fault(Problem::SameName { name: name.value.clone(), first: first.line })),
        None => Ok(()),
    }
}

/// Refuses the name of a sweep's point that cannot be one of a file.
fn short_enough(name: &At<String>) -> keys::Checked<()> {
    match is_name(&name.value) {
        true => Ok(()),
        false => Err(name.fault(keys::Problem::Unexpected {
            what: "the name of a point of this sweep".into(),
            found: format!("`{}`", name.value),
            expected: format!("{MAX_NAME} characters at most: give the solution a shorter name"),
        })),
    }
}

/// Refuses solutions of which none is compared, where some could be.
fn some_compared(solutions: &[Unplaced], written: &[At<SolutionKeys>]) -> keys::Checked<()> {
    if solutions.iter().any(|s| s.solution.compared()) {
        return Ok(());
    }
    let control = written.iter().find_map(|keys| keys.value.control.as_ref()).map(|at| at.line);
    let elsewhere = written.iter().find_map(|keys| keys.value.train_on.as_ref()).map(|at| at.line);
    let (line, what, found, expected) = match (control, elsewhere) {
        (None, None) => return Ok(()),
        (Some(line), None) => (
            line,
            "`control`",
            "true for every solution",
            "one solution at least that is none, to be compared",
        ),
        (_, Some(line)) => (
            line,
            "`train_on`",
            "rows of its own for every solution that is no control",
            "one solution at least that trains on `data.train`, to be compared",
        ),
    };
    let problem =
        keys::Problem::Unexpected { what: what.into(), found: found.into(), expected: expected.into() };
    Err(keys::Fault { line: Some(line), problem })
}
