//! The values that a study asks about, and those that it holds fixed: its conclusion is limited by the latter.

use serde::Serialize;
use serde_json::Value;

use super::{Rows, Solution, Study, Without, numbers::shown};

/// The settings of a study, sorted by whether its solutions differ in them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Values {
    /// The values that differ between solutions: what the study asks about.
    pub scientific: Vec<Scientific>,
    /// The values that are the same for all of them: what the conclusion is limited to.
    pub fixed: Vec<Fixed>,
}

/// A setting in which solutions differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scientific {
    /// Its key, as in `kl.weight`.
    pub key: String,
    /// Its value in each solution, in their order; `none` where a solution has no such setting.
    pub values: Vec<String>,
}

/// A setting that all solutions share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fixed {
    /// Its key, as in `learning_rate`.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Study {
    /// The values that differ between the solutions, and those that are the same for all of them.
    pub fn values(&self) -> Values {
        let settings: Vec<_> = self.solutions.iter().map(settings).collect();
        let mut keys: Vec<&String> = Vec::new();
        for key in settings.iter().flatten().map(|(key, _)| key) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let mut values = Values { scientific: Vec::new(), fixed: self.fixed() };
        for key in keys {
            let of = |settings: &Vec<(String, String)>| {
                let found = settings.iter().find(|(other, _)| other == key);
                found.map_or_else(|| "none".to_string(), |(_, value)| value.clone())
            };
            let all: Vec<_> = settings.iter().map(of).collect();
            match all.first() {
                Some(first) if all.iter().all(|value| value == first) => {
                    values.fixed.push(Fixed { key: key.clone(), value: first.clone() });
                }
                _ => values.scientific.push(Scientific { key: key.clone(), values: all }),
            }
        }
        values
    }

    /// The values that the study gives once for all solutions.
    fn fixed(&self) -> Vec<Fixed> {
        let scales: Vec<_> = self.measures.scales.iter().map(f64::to_string).collect();
        let mut pairs = vec![
            ("model", self.model.shown().into()),
            ("data.domain", self.data.domain.clone()),
            ("data.kind", self.data.kind.clone()),
            ("data.held_out", self.data.held_out.to_string()),
            ("measure.scales", scales.join(", ")),
            ("measure.certificate", self.measures.certificate.to_string()),
            ("measure.coherence", self.measures.coherence.to_string()),
        ];
        let asked = &self.measures.asked.0;
        if asked.iter().any(|measure| measure.reads_measured_rows()) {
            pairs.push(("measure.rows", self.measures.rows.to_string()));
        }
        let mut fixed: Vec<Fixed> =
            pairs.into_iter().map(|(key, value)| Fixed { key: key.into(), value }).collect();
        for measure in asked {
            let key = |key| format!("measure.{}.{key}", measure.name());
            fixed.extend(measure.fixed().into_iter().map(|(own, value)| Fixed { key: key(own), value }));
        }
        fixed
    }
}

/// The settings of a solution by key, in the order of their definition.
fn settings(solution: &Solution) -> Vec<(String, String)> {
    let mut all = Vec::new();
    // Settings are plain numbers, words and lists: they have no value that JSON lacks.
    let value = serde_json::to_value(&solution.train).unwrap_or_default();
    flatten(String::new(), &value, &mut all);
    if let Some(search) = &solution.search
        && let Some((_, weight)) = all.iter_mut().find(|(key, _)| key == "kl.weight")
    {
        *weight = format!("searched from {} to {}", shown(search.from), shown(search.to));
    }
    // The directions themselves say more than that there are some.
    all.retain(|(key, _)| key != "ablated");
    let mut add = |key: &str, value: Option<String>| all.extend(value.map(|value| (key.into(), value)));
    add("from", solution.from.clone());
    let names = |rows: &Vec<Rows>| rows.iter().map(Rows::shown).collect::<Vec<_>>().join(", ");
    add("train_on", solution.own_rows.as_ref().map(names));
    add("rows", solution.rows.map(|rows| rows.to_string()));
    add("system", solution.system.clone());
    add("mix.ratio", solution.mix.as_ref().map(|mix| shown(mix.ratio)));
    add("without", solution.without.as_ref().map(Without::shown));
    add("absolute_rate", solution.absolute_rate.then(|| "true".into()));
    all
}

fn flatten(key: String, value: &Value, all: &mut Vec<(String, String)>) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(key, value, all);
            }
        }
        Value::Null => {}
        _ => all.push((key, text_of(value))),
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join(", "),
        Value::Number(n) => n.as_f64().map_or_else(|| n.to_string(), shown),
        other => other.to_string(),
    }
}
