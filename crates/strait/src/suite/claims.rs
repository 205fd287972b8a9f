//! A suite's own claims, as data: figures of its studies, the bounds that they are held against, and their words.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::json;

use super::{
    StudyTables,
    figure::FigureKeys,
    pictures::PlotKeys,
    plot::Plot,
    split::{Split, figures, grouped, pairs},
};
use crate::{
    Table,
    claim::Bound,
    interval::{Interval, rank_correlation},
    keys::{self, At, Cell, Checked, Form, Kind, Shape, any_number, keys, tables, text, word},
    table::Column,
};

keys! {
    /// The claims of a suite.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct ClaimsKeys {
        /// The hole for each of whose values claims are judged alone.
        each: String = word(), left_out "over all studies";
        /// The hole whose values must agree: a claim needs the mean of each on its side as well.
        agree: String = word(), left_out "the interval over studies decides alone";
        /// Figures of every study, by name: the columns of its table `figures`, which has one row.
        figures: Vec<(String, FigureKeys)> = named(), default Vec::new();
        /// A claim over all studies, in parts; may be repeated.
        claim: Vec<At<ClaimKeys>> = tables("claim"), default Vec::new();
    }
}

keys! {
    /// A `[[claim]]`.
    #[derive(Clone, Debug)]
    pub(crate) struct ClaimKeys {
        /// The claim, whether it holds or not.
        title: String = word(), required;
        /// The way in which it is asked, in words.
        how: String = text(), default String::new();
        /// A part of the claim; may be repeated.
        part: Vec<At<PartKeys>> = tables("claim.part"), required;
        /// A picture of the claim; may be repeated.
        plot: Vec<At<PlotKeys>> = tables("claim.plot"), default Vec::new();
        + figure: FigureKeys;
    }
}

keys! {
    /// A `[[claim.part]]`. Keys of its figure that it lacks are those of the claim.
    #[derive(Clone, Debug)]
    pub(crate) struct PartKeys {
        /// Names it in tables.
        id: String = word(), required;
        /// The statement, in one sentence.
        claim: String = word(), required;
        /// The section of a paper that it is from.
        section: String = text(), default String::new();
        /// The bound of the figure.
        bound: Bound = bound(), required;
        /// The unit of the figure; none for shares, whose intervals end at 0 and 1.
        unit: String = text(), default String::new();
        /// The meaning of the figure and its limits.
        reading: String = text(), left_out "that of the part before";
        /// Another figure. The claim is then on the rank correlation of the two, over the values of `agree`.
        against: FigureKeys = keys::table(), left_out "the claim is on the figure itself";
        + figure: FigureKeys;
    }
}

/// A table of figures by their names.
fn named() -> Kind<Vec<(String, FigureKeys)>> {
    let (words, figure) = ("a table of figures", keys::table::<FigureKeys>());
    let schema = json!({ "type": "object", "additionalProperties": figure.form().schema() });
    let read = move |cell: Cell| {
        let table = cell.table().ok_or_else(|| cell.unexpected(words))?;
        let read = |(name, cell): (String, Cell)| Ok((name, figure.read(cell)?));
        table.each().into_iter().map(read).collect()
    };
    Kind::new(Form { words: words.into(), shapes: vec![Shape::Plain(schema)] }, read, |_| json!({}))
}

/// A bound, and the side on which the figure is claimed to lie.
fn bound() -> Kind<Bound> {
    let words = "a table with one number, `above` or `below`, such as { above = 0.5 }";
    let side = |name: &str| json!({ "type": "object", "properties": { name: { "type": "number" } }, "required": [name] });
    let form = Form {
        words: words.into(),
        shapes: vec![Shape::Plain(json!({ "oneOf": [side("above"), side("below")] }))],
    };
    let read = move |cell: Cell| match cell.table().ok_or_else(|| cell.unexpected(words))?.each().as_slice() {
        [(side, number)] if side == "above" => any_number().read(*number).map(Bound::Above),
        [(side, number)] if side == "below" => any_number().read(*number).map(Bound::Below),
        _ => Err(cell.unexpected(words)),
    };
    Kind::new(form, read, |_| json!({}))
}

/// The claims of a suite, in the order in which it makes them.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// The hole for each of whose values claims are judged alone, and the values with the words for readers.
    pub(super) each: Option<(String, Vec<(String, String)>)>,
    /// The hole whose values must agree.
    pub(super) agree: Option<String>,
    figures: Vec<(String, FigureKeys)>,
    /// The claims.
    pub claims: Vec<Claim>,
}

/// One claim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Its number, from 1.
    pub number: usize,
    /// The claim, whether it holds or not.
    pub title: String,
    /// The way in which it is asked, for a reader who knows none of the words; may be empty.
    pub how: String,
    keys: ClaimKeys,
}

/// A part of a claim, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Its id; behind it the value of the hole that is judged alone.
    pub id: String,
    /// Of the claim, from 1.
    pub number: usize,
    /// The claim in one plain sentence, with the bound that it is held against.
    pub claim: String,
    /// Section of the paper's description that it comes from.
    pub section: String,
    /// The verdict: it holds, does not hold, or cannot be told (none).
    pub holds: Option<bool>,
    /// The figure, with its 95 % interval.
    #[serde(flatten)]
    pub figure: Interval,
    /// The unit of the figure; empty for a share.
    pub unit: String,
    /// The bound that it is held against.
    pub bound: f64,
    /// True if the claim is that the figure lies above the bound.
    pub above: bool,
    /// The mean of every group that must agree.
    #[serde(flatten)]
    pub groups: Groups,
    /// Number of studies, or of groups, behind the figure.
    pub n: usize,
    /// The meaning of the figure and its limits, in one or two sentences.
    pub reading: String,
}

/// The means of groups of studies: one for each value of a hole. In JSON it is a list under `by_HOLE`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups {
    /// The hole; empty where no groups must agree.
    pub hole: String,
    /// The means, in the order of its values.
    pub means: Vec<f64>,
}

impl Serialize for Groups {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        if !self.hole.is_empty() {
            map.serialize_entry(&format!("by_{}", self.hole), &self.means)?;
        }
        map.end()
    }
}

impl Claims {
    /// The claims of a text, judged alone for each of these values of the hole that it says; beside each stand the words for
    /// readers.
    ///
    /// # Errors
    /// If it is no list of claims.
    pub fn parse(text: &str, each: &[(&str, &str)]) -> Checked<Self> {
        let each = each.iter().map(|(value, words)| (value.to_string(), words.to_string())).collect();
        Self::of(&keys::parse(text, "the claims")?, each)
    }

    /// The claims of a file, judged alone for each of these values and their words.
    ///
    /// # Errors
    /// If two parts or two pictures have one name.
    pub(super) fn of(keys: &ClaimsKeys, each: Vec<(String, String)>) -> Checked<Self> {
        let claims = keys.claim();
        let parts = claims.iter().flat_map(|claim| claim.value.part.value.iter().map(|part| &part.value.id));
        let plots = claims.iter().flat_map(|claim| claim.value.plot.iter().flat_map(|plots| &plots.value));
        different("claim.part.id", parts)?;
        different("claim.plot.name", plots.map(|plot| &plot.value.name))?;
        let claim = |(keys, number): (At<ClaimKeys>, usize)| Claim {
            number,
            title: keys.value.title.value.clone(),
            how: keys.value.how(),
            keys: keys.value,
        };
        let hole = |name: &Option<At<String>>| name.as_ref().map(|at| at.value.clone());
        Ok(Self {
            each: hole(&keys.each).map(|hole| (hole, each)),
            agree: hole(&keys.agree),
            figures: keys.figures(),
            claims: claims.into_iter().zip(1..).map(claim).collect(),
        })
    }

    /// The figures of a study that it has, by their names.
    pub fn figures(&self, study: StudyTables<'_>) -> Vec<(&str, f64)> {
        let all = self.figures.iter();
        all.filter_map(|(name, figure)| Some((name.as_str(), figure.of(study)?))).collect()
    }

    /// The same as a table of one row; none where it has none of them.
    pub(super) fn figures_of(&self, values: &[(String, String)], tables: &[Table]) -> Option<Table> {
        let figures = self.figures((values, tables));
        let table = Table::new("figures", "Figures of the study that the suite names");
        let add = |table: Table, (name, figure): &(&str, f64)| {
            table.with_column(*name, "", Column::Real(vec![*figure]))
        };
        (!figures.is_empty()).then(|| figures.iter().fold(table, add))
    }

    /// Judges all parts, in the order of the claims: of one value of the hole after another. Nothing can be told where no study has
    /// the figure.
    pub fn checks(&self, studies: &[StudyTables<'_>]) -> Vec<Check> {
        let mut checks = Vec::new();
        for claim in &self.claims {
            for split in self.split(studies) {
                let mut reading = "";
                for At { value: part, .. } in &claim.keys.part.value {
                    reading = part.reading.as_ref().map_or(reading, |reading| &reading.value);
                    checks.push(self.check(claim, part, &split, reading));
                }
            }
        }
        checks
    }

    /// Draws all pictures for which there are figures, in the order of the claims: for one value of the hole after another, then
    /// those in which all stand beside each other.
    pub fn plots(&self, studies: &[StudyTables<'_>]) -> Vec<Plot> {
        let split = self.split(studies);
        let mut drawn = Vec::new();
        for claim in &self.claims {
            let plots = claim.keys.plot();
            let [beside, alone] =
                [true, false].map(|beside| plots.iter().filter(move |at| at.value.beside() == beside));
            let draw = |part: &[Split<'_>], plot: &At<PlotKeys>| {
                plot.value.drawn(claim.number, &claim.keys.figure, part)
            };
            for part in split.chunks(1) {
                drawn.extend(alone.clone().filter_map(|plot| draw(part, plot)));
            }
            drawn.extend(beside.filter_map(|plot| draw(&split, plot)));
        }
        drawn
    }

    /// The studies of each value for which claims are judged alone.
    fn split<'a>(&'a self, studies: &[StudyTables<'a>]) -> Vec<Split<'a>> {
        let of = |study: &StudyTables<'a>, hole: &str| {
            study.0.iter().find(|(name, _)| name == hole).map_or("", |(_, value)| value.as_str())
        };
        let group =
            |study: &StudyTables<'a>| (self.agree.as_ref().map_or("", |hole| of(study, hole)), *study);
        let Some((hole, values)) = &self.each else {
            return vec![Split { each: None, studies: studies.iter().map(group).collect() }];
        };
        let own = |(value, words): &'a (String, String)| {
            let own = studies.iter().filter(|study| of(study, hole) == value);
            Split { each: Some((value, words)), studies: own.map(group).collect() }
        };
        values.iter().map(own).collect()
    }

    fn check(
        &self,
        claim: &Claim,
        part: &PartKeys,
        Split { each, studies }: &Split<'_>,
        reading: &str,
    ) -> Check {
        let own = part.figure.within(&claim.keys.figure);
        let unit = part.unit();
        let (figure, means, n) = match &part.against {
            Some(against) => {
                let pairs = pairs(&own, &against.value.within(&claim.keys.figure), studies);
                (rank_correlation(&pairs), Vec::new(), pairs.len())
            }
            None => {
                let figures = figures(&own, studies);
                let values: Vec<f64> = figures.iter().map(|(_, value)| *value).collect();
                let interval = if unit.is_empty() { Interval::of_shares } else { Interval::of_mean };
                let figure = if values.is_empty() { Interval::NONE } else { interval(&values) };
                (figure, grouped(&figures), values.len())
            }
        };
        let (Bound::Above(bound) | Bound::Below(bound)) = part.bound.value;
        let above = matches!(part.bound.value, Bound::Above(_));
        let side = if above { "above" } else { "below" };
        let (name, words) =
            each.map_or_else(Default::default, |(value, words)| (format!("-{value}"), format!("{words}; ")));
        let groups = Groups { hole: self.agree.clone().unwrap_or_default(), means };
        Check {
            id: format!("{}{name}", part.id.value),
            number: claim.number,
            claim: format!("{} ({words}claimed: {side} {bound})", part.claim.value),
            section: part.section(),
            holds: part.bound.value.judge(figure, &groups.means),
            figure,
            unit,
            bound,
            above,
            groups,
            n,
            reading: reading.into(),
        }
    }
}

/// Refuses a name that stands twice.
fn different<'a>(key: &str, names: impl Iterator<Item = &'a At<String>>) -> Checked<()> {
    let mut known: Vec<&At<String>> = Vec::new();
    for name in names {
        if known.contains(&name) {
            let (key, value) = (key.into(), format!("`{}`", name.value));
            return Err(name.fault(keys::Problem::Repeated { key, value }));
        }
        known.push(name);
    }
    Ok(())
}

/// The checks as a table of this name.
pub fn table(name: &str, checks: &[Check]) -> Table {
    let about = "Claims of the suite: figures held against their bounds; 95 % intervals over studies, or over groups of them";
    Table::of_rows(name, about, checks)
        .text("id", |c| c.id.clone())
        .integer("number", "", |c| c.number as i64)
        .text("claim", |c| c.claim.clone())
        .text("section", |c| c.section.clone())
        .truth("holds", |c| c.holds)
        .interval(["value", "low", "high"], "", |c| c.figure)
        .text("unit", |c| c.unit.clone())
        .real("bound", "", |c| c.bound)
        .truth("above", |c| Some(c.above))
        .integer("n", "", |c| c.n as i64)
        .table()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "agree = 'world'\n[[claim]]\ntitle = 'So it is'\ntable = 'rates'\ncolumn = 'rate'\n\
        [[claim.part]]\nid = 'one'\nclaim = 'It is so'\nunit = 'share'\n";

    fn judged(part: &str, values: &[(&str, f64)]) -> Check {
        let claims = Claims::parse(&format!("{TEXT}{part}"), &[]).unwrap();
        let study = |(world, rate): &(&str, f64)| {
            let table = Table::new("rates", "").with_column("rate", "", Column::Real(vec![*rate]));
            let table = table.with_column("twice", "", Column::Real(vec![2.0 * rate]));
            (vec![("world".to_string(), world.to_string())], [table])
        };
        let studies: Vec<_> = values.iter().map(study).collect();
        let studies: Vec<_> = studies.iter().map(|(values, tables)| (&values[..], &tables[..])).collect();
        claims.checks(&studies).swap_remove(0)
    }

    #[track_caller]
    fn check(above: f64, values: &[(&str, f64)], expected: Option<bool>) {
        let check = judged(&format!("bound = {{ above = {above:?} }}"), values);
        assert_eq!((check.holds, check.n), (expected, values.len()), "{check:?}");
    }

    #[test]
    fn a_claim_needs_its_interval_and_every_group_on_its_side() {
        let high = [("a", 0.8), ("a", 0.82), ("b", 0.85), ("b", 0.79)];
        check(0.5, &high, Some(true));
        check(0.9, &high, Some(false));
        check(0.81, &high, None);
        // One figure has no interval, and none has nothing.
        check(0.5, &high[..1], None);
        check(0.5, &[], None);
        // Nine studies of one world outvote three of another in the interval, not in the verdict.
        let mut split: Vec<(&str, f64)> = (0..20).map(|i| ("a", 1.0 + f64::from(i) / 100.0)).collect();
        split.push(("b", -0.01));
        check(0.0, &split, None);
    }

    #[test]
    fn one_figure_predicts_another() {
        let values = [("a", 0.1), ("b", 0.4), ("c", 0.2), ("d", 0.9), ("e", 0.3), ("f", 0.7), ("f", 0.8)];
        let check = judged("bound = { above = 0.0 }\nagainst = { column = 'twice' }", &values);
        assert_eq!((check.holds, check.n, check.figure.value), (Some(true), 6, 1.0), "{check:?}");
        assert!(check.groups.means.is_empty());
    }
}
