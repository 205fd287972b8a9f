//! The studies of a suite, split and in groups, and figures of them.

use super::{StudyTables, figure::FigureKeys};
use crate::{interval::mean, page::words::distinct};

/// Studies with the group of each.
pub type Studies<'a> = Vec<(&'a str, StudyTables<'a>)>;

/// The studies of one value of the hole for each of whose values claims are judged alone; all, where there is no such hole.
pub struct Split<'a> {
    /// The value, and its words.
    pub each: Option<(&'a str, &'a str)>,
    pub studies: Studies<'a>,
}

/// A figure of every study that has it, with the study's group.
pub fn figures<'a>(figure: &FigureKeys, studies: &Studies<'a>) -> Vec<(&'a str, f64)> {
    studies.iter().filter_map(|(group, study)| Some((*group, figure.of(*study)?))).collect()
}

/// The mean of every group, in the order in which groups first come.
pub fn grouped(figures: &[(&str, f64)]) -> Vec<f64> {
    let of = |group: &str| mean(figures.iter().filter(|(own, _)| *own == group).map(|(_, value)| *value));
    distinct(figures.iter().map(|(group, _)| *group)).into_iter().map(of).collect()
}

/// The means of two figures in every group.
pub fn pairs(one: &FigureKeys, other: &FigureKeys, studies: &Studies<'_>) -> Vec<(f64, f64)> {
    let both = |(group, study): &(_, StudyTables<'_>)| Some((*group, [one.of(*study)?, other.of(*study)?]));
    let both: Vec<_> = studies.iter().filter_map(both).collect();
    let means =
        |place: usize| grouped(&both.iter().map(|(group, two)| (*group, two[place])).collect::<Vec<_>>());
    means(0).into_iter().zip(means(1)).collect()
}
