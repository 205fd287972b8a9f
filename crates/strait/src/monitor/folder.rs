//! Monitors as folders that other programs can run: the directions, all else as JSON, and how to read with them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Edit,
    edit::{self, SteeringVector},
    files::{self, read_regular, write_folder},
};

use super::{Facts, Monitor, Problem};
use crate::Result;

/// The file of vectors: an edit of strait, whose provenance holds the facts too.
pub const VECTORS: &str = "monitor.safetensors";
/// The file of facts.
pub const FACTS: &str = "monitor.json";
/// The page for people.
pub const README: &str = "README.md";

const FORMAT: &str = "strait.monitor/1";
/// The longest file of facts that is read.
const MOST_BYTES: u64 = 16 << 20;

/// The facts as files have them.
#[derive(Serialize, Deserialize)]
struct Written {
    format: String,
    #[serde(flatten)]
    facts: Facts,
}

/// The names under which directions lie in the file of vectors.
pub(super) fn tensor_names(directions: &[SteeringVector]) -> Vec<String> {
    as_edit(directions).tensors().into_iter().map(|(name, _)| name).collect()
}

fn as_edit(directions: &[SteeringVector]) -> Edit {
    Edit::composed(directions.iter().cloned().map(Edit::Steering))
}

/// Checks that a folder is not there yet, or is empty: that a monitor can be written there.
///
/// # Errors
/// If something lies in it.
pub fn check_free(folder: &Path) -> Result<()> {
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(Problem::Taken.at(folder)),
        _ => Ok(()),
    }
}

/// Writes a monitor into a folder that is not there yet, or is empty: as a whole or not at all.
///
/// # Errors
/// If something lies in the folder, or it cannot be written.
pub fn write(folder: &Path, monitor: &Monitor) -> Result<()> {
    check_free(folder)?;
    let facts = json!(Written { format: FORMAT.into(), facts: monitor.facts.clone() });
    write_folder(folder, |temporary| {
        let provenance = json!({ "monitor": facts });
        as_edit(&monitor.directions).save_with(&temporary.join(VECTORS), &provenance)?;
        files::write(&temporary.join(FACTS), format!("{facts:#}\n"))?;
        Ok(files::write(&temporary.join(README), readme(&monitor.facts))?)
    })
}

/// Reads the monitor of a folder.
///
/// # Errors
/// If a file cannot be read, is no monitor's or one of another version, or they do not belong together.
pub fn open(folder: &Path) -> Result<Monitor> {
    let path = folder.join(VECTORS);
    let opened = edit::read(&path.to_string_lossy())?;
    let facts = opened.provenance.get("monitor").cloned().ok_or_else(|| Problem::NotAMonitor.at(&path))?;
    let beside = folder.join(FACTS);
    let text = read_regular(&beside, MOST_BYTES)?;
    if serde_json::from_slice::<Value>(&text).ok().as_ref() != Some(&facts) {
        return Err(Problem::Apart { facts: FACTS }.at(&beside));
    }
    of_parts(facts, &opened.edit).map_err(|problem| problem.at(&path))
}

fn of_parts(facts: Value, edit: &Edit) -> Result<Monitor, Problem> {
    let found = facts.get("format").and_then(Value::as_str).unwrap_or_default();
    if found != FORMAT {
        return Err(Problem::Format { found: found.into(), known: FORMAT });
    }
    let malformed = |reason: &str| Problem::Facts { reason: reason.into() };
    let Written { facts, .. } =
        serde_json::from_value(facts).map_err(|error| Problem::Facts { reason: error.to_string() })?;
    let directions = edit.parts().map(|part| match part {
        Edit::Steering(direction) => Ok(direction.clone()),
        _ => Err(Problem::NotVectors),
    });
    let directions = directions.collect::<Result<Vec<_>, _>>()?;
    let own: Vec<_> = facts.layers.iter().map(|layer| (layer.layer, layer.tensor.clone())).collect();
    let named = directions.iter().map(|direction| direction.layer).zip(tensor_names(&directions));
    if own != named.collect::<Vec<_>>() {
        return Err(malformed("its layers are not those of the vectors"));
    }
    let numbers = facts.layers.iter().flat_map(|layer| [layer.mean, layer.deviation]);
    if !numbers.chain([facts.threshold, facts.token_threshold]).all(f64::is_finite) {
        return Err(malformed("a number is not finite"));
    }
    if !facts.layers.iter().all(|layer| layer.deviation > 0.0) {
        return Err(malformed("a deviation is not above 0"));
    }
    if !(facts.alarm_rate > 0.0 && facts.alarm_rate < 1.0) {
        return Err(malformed("the rate of false alarms is not between 0 and 1"));
    }
    if facts.window == Some(0) {
        return Err(malformed("the window has no token"));
    }
    let unit = |direction: &SteeringVector| direction.norm().is_ok_and(|norm| (norm - 1.0).abs() < 1e-3);
    if !directions.iter().all(unit) {
        return Err(malformed("a direction is not of length 1"));
    }
    Ok(Monitor { directions, facts })
}

/// The page for people: what the monitor is, and how to read with it in Python.
fn readme(facts: &Facts) -> String {
    let Facts { layers, window, alarm_rate, threshold, calibration, .. } = facts;
    let names: Vec<String> = layers.iter().map(|layer| layer.layer.to_string()).collect();
    let (pooling, pooled) = match window {
        None => ("the mean over its tokens".to_string(), "readings.mean()".to_string()),
        Some(window) => (
            format!("the highest mean of {window} tokens in a row (of all, where there are fewer)"),
            format!("readings.unfold(0, min({window}, len(readings)), 1).mean(1).max()"),
        ),
    };
    format!(
        r#"# A monitor

A direction's reading on every token of a response, made by `strait monitor calibrate`.

| | |
|---|---|
| model | `{model}` |
| layers (blocks counted from 0; -1 is the embeddings) | {names} |
| reading of a token | the projection of the residual stream onto the direction, over all layers the mean of (projection - mean) / deviation |
| reading of a response | {pooling} |
| threshold | {threshold}, which at most {alarm_rate} of clean responses exceed |
| calibrated on | {responses} clean responses, {tokens} tokens, SHA-256 `{sha256}` |

`{VECTORS}` holds the directions at length 1, `{FACTS}` all else. strait reads both: `strait monitor read DIR --model M --rows F`.

## In Python

With `model` of transformers, `ids` the tokens of one conversation, shape (1, tokens), and `answer` the slice of its response:

```python
import json, torch; from safetensors.torch import load_file
monitor, vectors = json.load(open("{FACTS}")), load_file("{VECTORS}")
h = model(ids, output_hidden_states=True).hidden_states
readings = sum((h[l["layer"] + 1][0, answer].float() @ vectors[l["tensor"]] - l["mean"]) / l["deviation"] for l in monitor["layers"]) / len(monitor["layers"])
alarm = {pooled} > monitor["threshold"]
```

The response is all that the chat template renders behind the generation prompt: the text, its end token, and what follows that.
The last of transformers' hidden states is taken after the final norm, so that the output of the last block needs a hook.
"#,
        model = calibration.model,
        names = names.join(", "),
        responses = calibration.responses,
        tokens = calibration.tokens,
        sha256 = calibration.sha256,
    )
}
