//! A slider below a figure, which moves marks of it.

use serde_json::{Value, json};

use super::figure::{Layout, escaped};

/// A stop of a slider.
pub(crate) struct Stop {
    /// The word for it.
    pub label: String,
    /// The place of each mark, and the words that are shown at the pointer.
    pub marks: Vec<(f64, f64, String)>,
}

/// The layout with a slider that moves marks along its stops. The marks are the series of the drawing from `first` on, each
/// of one point; the slider stands at the last stop, where they are drawn.
pub(crate) fn with_slider(layout: Layout, title: &str, first: usize, stops: &[Stop]) -> Layout {
    let step = |stop: &Stop| {
        let of = |value: &dyn Fn(&(f64, f64, String)) -> Value| -> Vec<Value> {
            stop.marks.iter().map(|mark| json!([value(mark)])).collect()
        };
        let moved = json!({
            "x": of(&|mark| json!(mark.0)),
            "y": of(&|mark| json!(mark.1)),
            "hovertext": of(&|mark| json!(escaped(&mark.2))),
        });
        let series: Vec<usize> = (first..first + stop.marks.len()).collect();
        json!({ "label": escaped(&stop.label), "method": "restyle", "args": [moved, series] })
    };
    let slider = json!({
        "active": stops.len().saturating_sub(1),
        "currentvalue": { "prefix": escaped(&format!("{title} ")) },
        "pad": { "t": 44, "b": 8 },
        "steps": stops.iter().map(step).collect::<Vec<_>>(),
    });
    layout.with("sliders", json!([slider]))
}
