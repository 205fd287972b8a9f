//! Pictures of a suite's claims, as data: figures of its studies as lines, bars or points.

use super::{
    figure::{Curve, FigureKeys},
    plot::{Axis, Plot, Series, Shape},
    split::{Split, Studies, figures, pairs},
    template::named,
};
use crate::{
    interval::Interval,
    keys::{At, choice, flag, keys, pair, table, tables, text, word},
    study::name,
};

keys! {
    /// A `[[claim.plot]]`. Keys of its figure that it lacks are those of the claim, and keys that a series or a bar lacks are those
    /// of the picture.
    #[derive(Clone, Debug)]
    pub(crate) struct PlotKeys {
        /// Names its table, `plot_NAME`.
        name: String = name(), required;
        /// The title, a few words.
        title: String = word(), required;
        /// Its shape.
        shape: Shape = choice(&SHAPES), required;
        /// The horizontal axis.
        x: AxisKeys = table(), default AxisKeys::default();
        /// The vertical axis.
        y: AxisKeys = table(), default AxisKeys::default();
        /// True: the values for each of which claims are judged alone stand beside each other in it, instead of in one each.
        beside: bool = flag(), default false;
        /// True: it is drawn only where all of its series have figures.
        whole: bool = flag(), default false;
        /// True: places along a curve are shares of its last one.
        relative: bool = flag(), default false;
        /// The meaning of a high figure and of a low one.
        sides: (String, String) = pair(word(), "a list of two texts"), left_out "no words";
        /// The horizontal place of points: another figure. There is a point for each value of `agree`.
        against: FigureKeys = table(), left_out "places along curves";
        /// The series that are drawn.
        series: Vec<At<SeriesKeys>> = tables("claim.plot.series"), required;
        + figure: FigureKeys;
    }
}

keys! {
    /// A series of a picture.
    #[derive(Clone, Debug)]
    pub(crate) struct SeriesKeys {
        /// Its label. The first of the words `general`, `liar` and `false`, or `narrow`, `honest` and `true`, in it decides its colour.
        label: String = text(), left_out "the value for which it is drawn";
        /// Its bars.
        bars: Vec<At<BarKeys>> = tables("claim.plot.series.bars"), default Vec::new();
        + figure: FigureKeys;
    }
}

keys! {
    /// A bar of a series.
    #[derive(Clone, Debug)]
    pub(crate) struct BarKeys {
        /// Its name.
        name: String = word(), required;
        + figure: FigureKeys;
    }
}

keys! {
    /// An axis.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct AxisKeys {
        /// Its title.
        title: String = text(), default String::new();
        /// Its unit.
        unit: String = text(), default String::new();
    }
}

const SHAPES: [(&str, Shape); 3] =
    [("lines", Shape::Lines), ("bars", Shape::Bars), ("points", Shape::Points)];

impl AxisKeys {
    fn axis(&self) -> Axis {
        Axis { title: self.title(), unit: self.unit() }
    }
}

impl PlotKeys {
    /// The picture over the studies of some values, for a claim of this number; none where they lack the figures.
    pub(super) fn drawn(&self, number: usize, around: &FigureKeys, part: &[Split<'_>]) -> Option<Plot> {
        let figure = self.figure.within(around);
        let series = self.series.value.iter().flat_map(|keys| self.series(&keys.value, &figure, part));
        let series: Vec<Series> = series.collect();
        let is_drawn = |series: &Series| !series.y.is_empty();
        let enough = if self.whole() { series.iter().all(is_drawn) } else { series.iter().any(is_drawn) };
        let (mut name, mut title) = (self.name.value.clone(), self.title.value.clone());
        if let (false, [Split { each: Some((value, words)), .. }]) = (self.beside(), part) {
            (name, title) = (format!("{name}-{}", named(value)), format!("{title} ({words})"));
        }
        let (x, y) = (self.x().axis(), self.y().axis());
        let sides = self.sides.as_ref().map(|sides| sides.value.clone());
        enough.then_some(Plot { name, number, title, shape: self.shape.value, x, y, sides, series })
    }

    /// A series over the studies of some values; a curve of each, where there are several.
    fn series(&self, keys: &SeriesKeys, around: &FigureKeys, part: &[Split<'_>]) -> Vec<Series> {
        let figure = keys.figure.within(around);
        let label = |split: &Split<'_>| {
            let words = || split.each.map_or(String::new(), |(_, words)| words.into());
            keys.label.as_ref().map_or_else(words, |label| label.value.clone())
        };
        let bars = keys.bars();
        if bars.is_empty() {
            let curve =
                |split: &Split<'_>| Series { label: label(split), ..self.line(&figure, &split.studies) };
            let curves = part.iter().map(curve);
            return curves.filter(|series| part.len() == 1 || !series.y.is_empty()).collect();
        }
        let mut series = Series { label: part.first().map_or_else(String::new, label), ..Series::default() };
        for Split { each, studies } in part {
            for At { value: bar, .. } in &bars {
                let name = match (self.beside(), each) {
                    (true, Some((_, words))) => format!("{words}, {}", bar.name.value),
                    _ => bar.name.value.clone(),
                };
                let values = figures(&bar.figure.within(&figure), studies);
                let values: Vec<f64> = values.into_iter().map(|(_, value)| value).collect();
                if !values.is_empty() {
                    series.under(&name, Interval::of_mean(&values));
                }
            }
        }
        vec![series]
    }

    /// A line: the mean at every place that some studies have; or points, one for each group.
    fn line(&self, figure: &FigureKeys, studies: &Studies<'_>) -> Series {
        let curves: Vec<Curve> = match &self.against {
            Some(against) => vec![pairs(&against.value.within(figure), figure, studies)],
            None => studies.iter().map(|(_, study)| self.placed(figure.curve(*study))).collect(),
        };
        let mut places: Vec<(f64, Vec<f64>)> = Vec::new();
        for (x, y) in curves.into_iter().flatten() {
            match places.iter_mut().find(|(place, _)| *place == x) {
                Some((_, values)) => values.push(y),
                None => places.push((x, vec![y])),
            }
        }
        let mut series = Series::default();
        places.iter().for_each(|(x, values)| series.at(*x, Interval::of_mean(values)));
        series
    }

    fn placed(&self, curve: Curve) -> Curve {
        let last = curve.last().map_or(1.0, |(place, _)| *place);
        // Shares that differ in their last digit alone are one place.
        let share = |place: f64| (place / last * 1e12).round() / 1e12;
        match self.relative() {
            true => curve.into_iter().map(|(place, value)| (share(place), value)).collect(),
            false => curve,
        }
    }
}
