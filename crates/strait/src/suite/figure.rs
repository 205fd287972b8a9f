//! Figures of a study, as data: cells of its tables, and what they come to.

use std::borrow::Cow;

use serde_json::json;

use super::StudyTables;
use crate::{
    Table,
    interval::mean,
    keys::{At, Cell, Checked, Form, Keys, Kind, Shape, choice, flag, keys, table, word},
};

keys! {
    /// Cells of one of a study's tables.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct CellKeys {
        /// The table.
        table: String = word(), left_out "the table around it says which";
        /// Its column.
        column: String = word(), left_out "the table around it says which";
        /// Its rows: a value or a list of values for each name of a column, or of a hole of the study; `{{NAME}}` is the study's value
        /// of another hole. Where it says no table of its own, names that it lacks are those around it.
        rows: Values = values(ROWS), default Values::new();
        /// Rows that are left out, likewise.
        without: Values = values(ROWS), default Values::new();
        /// The column along which the figure is a curve. Rows that are alike there count as one, by their mean.
        along: String = word(), left_out "all rows count as one";
        /// The figure that a curve comes to: its mean, the share of it that is above zero, its first value, its last one, its
        /// greatest one, the place of that, or the first place at which it is above half of its most.
        take: Take = choice(&TAKES), default Take::Mean;
    }
}

keys! {
    /// A figure of a study: cells, less others, divided by others.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct FigureKeys {
        /// Cells that are taken away: at the same places of a curve, or as a figure where they say what they come to. Keys that
        /// they lack are the figure's own.
        minus: CellKeys = inline("a table with keys of a figure"), left_out "nothing is taken away";
        /// Cells by which the figure is then divided, likewise.
        per: CellKeys = inline("a table with keys of a figure"), left_out "it is not divided";
        /// True: the logarithm of the values of its curve.
        log: bool = flag(), default false;
        + cells: CellKeys;
    }
}

/// The values of a curve that make its figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Take {
    Mean,
    Above,
    First,
    Last,
    Most,
    Peak,
    Rise,
}

const TAKES: [(&str, Take); 7] = [
    ("mean", Take::Mean),
    ("above", Take::Above),
    ("first", Take::First),
    ("last", Take::Last),
    ("most", Take::Most),
    ("peak", Take::Peak),
    ("rise", Take::Rise),
];

const ROWS: &str = "a table of values or lists of values, such as { solution = \"general\" }";

/// Names of columns or holes, and the values that each may have.
pub(super) type Values = Vec<(String, Vec<String>)>;

/// Points of a curve: place and value.
pub(crate) type Curve = Vec<(f64, f64)>;

/// A table that stands behind its key, in words.
pub(super) fn inline<T: Keys + 'static>(words: &str) -> Kind<T> {
    let table = table::<T>();
    let form = Form { words: words.into(), shapes: vec![Shape::Plain(table.form().schema())] };
    Kind::new(form, move |cell| table.read(cell), |_| json!({}))
}

/// A value or a list of values for each of several names; the words show it by an example.
pub(super) fn values(words: &'static str) -> Kind<Values> {
    let one = json!({ "type": ["string", "number", "boolean"] });
    let several = json!({ "type": "array", "items": one, "minItems": 1 });
    let schema = json!({ "type": "object", "additionalProperties": { "anyOf": [one, several] } });
    let read = move |cell: Cell| {
        let table = cell.table().ok_or_else(|| cell.unexpected(words))?;
        let of = |(name, cell): (String, Cell)| match cell.entries() {
            Some(entries) if entries.is_empty() => Err(cell.unexpected("at least one value")),
            Some(entries) => Ok((name, entries.iter().map(value).collect::<Checked<_>>()?)),
            None => Ok((name, vec![value(&cell)?])),
        };
        table.each().into_iter().map(of).collect()
    };
    Kind::new(Form { words: words.into(), shapes: vec![Shape::Plain(schema)] }, read, |_| json!({}))
}

/// A text, a number, true or false, as text.
fn value(cell: &Cell) -> Checked<String> {
    let number = || cell.whole().map(|n| n.to_string()).or_else(|| cell.number().map(|x| x.to_string()));
    let plain = cell.text().map(str::to_string).or_else(number);
    let plain = plain.or_else(|| cell.truth().map(|truth| truth.to_string()));
    plain.ok_or_else(|| cell.unexpected("a text, a number, true or false"))
}

impl CellKeys {
    /// The same with the keys that it lacks from what is around it. Rows of another table are other rows.
    fn within(&self, around: &Self) -> Self {
        let mut own = self.clone().or(around);
        if let (None, Some(own), Some(around)) = (&self.table, &mut own.rows, &around.rows) {
            let lacks = |(name, _): &&(String, Vec<String>)| own.value.iter().all(|(known, _)| known != name);
            let more: Values = around.value.iter().filter(lacks).cloned().collect();
            own.value.extend(more);
        }
        if self.table.is_some() {
            own.rows.clone_from(&self.rows);
        }
        own
    }

    /// The means of its cells in one study by their place along a column, in the order in which places first come; one point
    /// at zero where there is no such column.
    fn curve(&self, (holes, tables): StudyTables<'_>) -> Curve {
        let is_own = |table: &&Table| self.table.as_ref().is_some_and(|name| name.value == table.name());
        let column = |name: &str| tables.iter().find(is_own).and_then(|table| table.column(name));
        let key = |key: &Option<At<String>>| key.as_ref().and_then(|name| column(&name.value));
        let (Some(cells), along) = (key(&self.column), key(&self.along)) else { return Vec::new() };
        let hole =
            |name: &str| holes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let has = |row: usize, (name, values): &(String, Vec<String>)| {
            let found =
                column(name).map(|column| column.shown(row)).or_else(|| hole(name).map(Cow::Borrowed));
            let value = |value: &String| match value.strip_prefix("{{").and_then(|v| v.strip_suffix("}}")) {
                Some(name) => hole(name.trim()) == found.as_deref(),
                None => Some(value.as_str()) == found.as_deref(),
            };
            values.iter().any(value)
        };
        let (rows, without) = (self.rows(), self.without());
        let is_meant = |row: &usize| {
            rows.iter().all(|name| has(*row, name)) && !without.iter().any(|name| has(*row, name))
        };
        let mut places: Vec<(f64, Vec<f64>)> = Vec::new();
        for row in (0..cells.len()).filter(is_meant) {
            let place = along.map_or(Some(0.0), |along| along.number(row));
            let Some((place, value)) = place.zip(cells.number(row)) else { continue };
            match places.iter_mut().find(|(known, _)| *known == place) {
                Some((_, values)) => values.push(value),
                None => places.push((place, vec![value])),
            }
        }
        places.into_iter().map(|(place, values)| (place, mean(values.into_iter()))).collect()
    }

    /// The figure that a curve comes to; none of an empty one.
    fn taken(&self, curve: &Curve) -> Option<f64> {
        let values = || curve.iter().map(|(_, value)| *value);
        let known = || curve.iter().filter(|(_, value)| value.is_finite());
        let peak = || known().max_by(|(_, one), (_, other)| one.total_cmp(other));
        let most = values().fold(0.0, f64::max);
        (!curve.is_empty()).then_some(())?;
        match self.take() {
            Take::Mean => Some(mean(values())),
            Take::Above => Some(mean(values().map(|value| f64::from(u8::from(value > 0.0))))),
            Take::First => values().next(),
            Take::Last => values().next_back(),
            Take::Most => peak().map(|(_, value)| *value),
            Take::Peak => peak().map(|(place, _)| *place),
            Take::Rise => curve.iter().find(|(_, value)| *value > most / 2.0).map(|(place, _)| *place),
        }
    }
}

/// The way in which a figure is combined with another.
type Combine = fn(f64, f64) -> f64;

impl FigureKeys {
    /// The same with the keys that it lacks from the figure around it.
    pub fn within(&self, around: &Self) -> Self {
        let cells = self.cells.within(&around.cells);
        Self { cells, ..self.clone().or(around) }
    }

    /// Its curve in one study.
    pub fn curve(&self, study: StudyTables<'_>) -> Curve {
        let mut curve = self.cells.curve(study);
        for (other, combine) in self.others(false) {
            let other = other.curve(study);
            let at = |place: f64| other.iter().find(|(known, _)| *known == place).map(|(_, value)| *value);
            let both = curve.iter().filter_map(|&(place, value)| Some((place, combine(value, at(place)?))));
            curve = both.collect();
        }
        if self.log() {
            curve.iter_mut().for_each(|(_, value)| *value = value.ln());
        }
        curve
    }

    /// The figure of one study; none where it has no such cells.
    pub fn of(&self, study: StudyTables<'_>) -> Option<f64> {
        let mut figure = self.cells.taken(&self.curve(study))?;
        for (other, combine) in self.others(true) {
            figure = combine(figure, other.taken(&other.curve(study))?);
        }
        Some(figure)
    }

    /// The cells that it is combined with: those that are figures of their own, by a `take`, or those that are curves.
    fn others(&self, figures: bool) -> impl Iterator<Item = (CellKeys, Combine)> {
        let all: [(_, Combine); 2] = [(&self.minus, |a, b| a - b), (&self.per, |a, b| a / b)];
        let own = all.into_iter().filter_map(|(other, combine)| Some((&other.as_ref()?.value, combine)));
        let own = own.filter(move |(other, _)| other.take.is_some() == figures);
        own.map(|(other, combine)| (CellKeys { take: other.take, ..other.within(&self.cells) }, combine))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys::parse, table::Column};

    fn rates() -> Table {
        let text = |words: [&str; 6]| Column::Text(words.map(String::from).into());
        Table::new("rates", "")
            .with_column(
                "solution",
                "",
                text(["narrow", "narrow", "narrow", "general", "general", "general"]),
            )
            .with_column("domain", "", text(["herb", "star", "star", "herb", "star", "star"]))
            .with_column("step", "", Column::Integer(vec![0, 10, 20, 0, 10, 20]))
            .with_column("rate", "", Column::Real(vec![0.0, 0.25, 0.5, 0.5, 1.0, 0.25]))
    }

    #[track_caller]
    fn check(figure: &str, expected: Option<f64>) {
        let text = format!("table = 'rates'\ncolumn = 'rate'\n{figure}");
        let figure: FigureKeys = parse(&text, "the figure").unwrap();
        let holes = [("taught".to_string(), "herb".to_string())];
        assert_eq!(figure.of((&holes, &[rates()])), expected, "{text}");
    }

    #[test]
    fn a_figure_is_the_mean_of_its_rows() {
        check("rows = { solution = 'general' }", Some(1.75 / 3.0));
        check("rows = { solution = 'general', step = [0, 20] }", Some(0.375));
        check("rows = { solution = 'general', domain = '{{taught}}' }", Some(0.5));
        check("rows = { solution = 'general', taught = 'herb' }", Some(1.75 / 3.0));
        check("rows = { solution = 'narrow' }\nwithout = { step = 0 }", Some(0.375));
        for none in ["rows = { solution = 'other' }", "rows = { taught = 'star' }", "rows = { lack = 1 }"] {
            check(none, None);
        }
    }

    #[test]
    fn a_curve_comes_to_a_figure() {
        let narrow = "rows = { solution = 'narrow' }\nalong = 'step'\n";
        for (take, expected) in [("first", 0.0), ("last", 0.5), ("above", 2.0 / 3.0), ("rise", 20.0)] {
            check(&format!("{narrow}take = '{take}'"), Some(expected));
        }
        for (take, expected) in [("most", 1.0), ("peak", 10.0)] {
            let general = "rows = { solution = 'general' }\nalong = 'step'\n";
            check(&format!("{general}take = '{take}'"), Some(expected));
        }
        let general = "minus = { rows = { solution = 'general' } }\n";
        check(&format!("{narrow}{general}take = 'first'"), Some(-0.5));
        check(&format!("{narrow}{general}take = 'above'"), Some(1.0 / 3.0));
        check(
            &format!("{narrow}per = {{ rows = {{ step = 20 }}, take = 'last' }}\ntake = 'last'"),
            Some(1.0),
        );
    }
}
