//! Keys of training over others: those of a solution over those of `[train]`, over those of a preset.

use crate::{
    keys::{At, Keys},
    study::{
        Preset, Problem,
        file::{EditName, TrainKeys},
        problem::{Checked, Fault},
    },
};

/// Keys over others, which say what these leave out. Keys that stand for each other go together.
pub(super) fn over(keys: &TrainKeys, below: &TrainKeys) -> TrainKeys {
    let (keys, mut below) = (keys.clone(), below.clone());
    if keys.epochs.is_some() || keys.steps.is_some() {
        (below.epochs, below.steps) = (None, None);
    }
    if keys.layer.is_some() || keys.layers.is_some() {
        (below.layer, below.layers) = (None, None);
    }
    let (kl, mix) = (within(&keys.kl, &below.kl), within(&keys.mix, &below.mix));
    let stop = within(&keys.stop, &below.stop);
    TrainKeys { kl, mix, stop, ..keys.or(&below) }
}

/// The same of a table within, which may also be false: then it says nothing.
fn within<T: Keys + Clone>(
    keys: &Option<At<Option<T>>>,
    below: &Option<At<Option<T>>>,
) -> Option<At<Option<T>>> {
    match (keys, below) {
        (Some(At { value: Some(keys), line }), Some(At { value: Some(below), .. })) => {
            Some(At { value: Some(keys.clone().or(below)), line: *line })
        }
        (Some(keys), _) => Some(keys.clone()),
        (None, below) => below.clone(),
    }
}

/// The preset and the kind of edit.
pub(super) fn preset_and_edit(keys: &TrainKeys) -> Checked<(Option<Preset>, EditName)> {
    match (&keys.preset, &keys.edit) {
        (Some(preset), Some(edit)) if preset.value.edit() != edit.value => {
            Err(edit.fault(Problem::Contradiction {
                key: format!("edit = \"{}\"", edit.value.name()),
                other: format!("preset = \"{}\"", preset.value.name()),
                why: "the preset trains another kind of edit".into(),
            }))
        }
        (Some(preset), _) => Ok((Some(preset.value), preset.value.edit())),
        (None, _) => Ok((None, keys.edit())),
    }
}

/// Refuses keys of one table that stand for each other.
pub(super) fn no_rivals(keys: &TrainKeys, table: &str) -> Checked<()> {
    let contradiction = |line, key: &str, other: &str, why: &str| Fault {
        line: Some(line),
        problem: Problem::Contradiction {
            key: format!("{table}.{key}"),
            other: format!("{table}.{other}"),
            why: why.into(),
        },
    };
    match keys {
        TrainKeys { epochs: Some(_), steps: Some(steps), .. } => {
            Err(contradiction(steps.line, "steps", "epochs", "training has one length"))
        }
        TrainKeys { layer: Some(layer), layers: Some(_), .. } => {
            Err(contradiction(layer.line, "layer", "layers", "`layer` is the short form for one layer"))
        }
        _ => Ok(()),
    }
}

/// Refuses the keys that none of some edits has.
pub(super) fn only_keys_of(edits: &[EditName], keys: &TrainKeys, table: &str) -> Checked<()> {
    for (key, line) in keys.given() {
        let Some(kinds) = EditName::kinds_with(key) else { continue };
        if edits.iter().any(|edit| edit.has(key)) {
            continue;
        }
        let kinds: Vec<_> = kinds.iter().map(|kind| format!("`edit = \"{}\"`", kind.name())).collect();
        return Err(Fault {
            line: Some(line),
            problem: Problem::Contradiction {
                key: format!("{table}.{key}"),
                other: format!("edit = \"{}\"", edits.first().map_or("", |edit| edit.name())),
                why: match kinds.as_slice() {
                    [one] => format!("only {one} has it"),
                    several => format!("only {} have it", several.join(" and ")),
                },
            },
        });
    }
    Ok(())
}
