//! Figures of named lines, on which every series has a lane of its own.

use super::figure::{Axis, Drawing, Figure, Growing, Look, Point, Series, Style, broken, label_axis, layout};
use crate::interval::Interval;

/// Characters of a line of a name.
const NAME: usize = 22;

/// A value on a line, and what is shown at the pointer.
pub(crate) type Reading = (usize, Interval, String);

/// A figure in the making.
pub(crate) struct Lanes {
    drawing: Drawing,
    lanes: usize,
    added: usize,
    /// True if it has a legend.
    pub named: bool,
}

impl Lanes {
    /// A figure of so many lanes.
    pub fn new(lanes: usize) -> Self {
        Self { drawing: Drawing::new(Growing::Right), lanes, added: 0, named: lanes > 1 }
    }

    /// Adds a series in the next lane: its figures, and small below them what they are made of.
    pub fn add(&mut self, label: &str, look: &'static Look, figures: Vec<Reading>, parts: Vec<Reading>) {
        // Lanes share the middle 70 % of a line.
        let lane = (self.added % self.lanes) as f64 + 0.5;
        let aside = 0.7 * (lane / self.lanes as f64 - 0.5);
        let below = if parts.is_empty() { 0.0 } else { 0.22 / self.lanes as f64 };
        let points = |readings: Vec<Reading>, aside: f64| {
            let point = |(line, value, words)| Point { at: line as f64 + aside, value, words };
            readings.into_iter().filter(|(_, value, _)| value.value.is_finite()).map(point).collect()
        };
        let (small, points) = (points(parts, aside + below), points(figures, aside - below));
        self.drawing.add(Series { name: None, look, style: Style::Dots, points: small });
        let name = self.named.then(|| label.to_owned());
        self.drawing.add(Series { name, look, style: Style::Marks, points });
        self.added += 1;
    }

    /// The figure, with the names of its lines.
    pub fn finish(self, caption: &str, names: &[String], axis: Axis) -> Figure {
        let labels: Vec<_> = names.iter().map(|name| broken(name, NAME, 2)).collect();
        let least = if labels.iter().any(|label| label.contains("<br>")) { 42 } else { 30 };
        let height = 110 + names.len() * least.max(16 + 14 * self.lanes);
        self.drawing.finish(caption, height, layout(axis, label_axis(labels)))
    }
}
