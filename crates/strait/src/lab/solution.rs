//! Solutions, as measures see them: before training as settings, afterwards as edits.

use std::path::PathBuf;

use strait_model::Edit;

use super::Lab;
use crate::{Result, claim::Subject, train::Settings};

/// A trained edit under the name that the study gave it.
#[derive(Clone, Debug)]
pub struct Solution {
    /// Its name in the study.
    pub name: String,
    /// The edit.
    pub edit: Edit,
}

/// A solution whose training started from another one.
pub struct Trajectory {
    /// Its name.
    pub solution: String,
    /// The solution that it started from.
    pub from: String,
    /// True if it was trained without the KL penalty that its start was trained with.
    pub freed: bool,
    /// The edit that it started from.
    pub start: Edit,
    /// The edit after so many steps, in their order.
    pub checkpoints: Vec<(usize, Edit)>,
    /// The edits that it is compared with, by the same names for every trajectory; none where a name means no edit for this
    /// one.
    pub others: Vec<(String, Option<Edit>)>,
    /// A general and a narrow solution: the change is compared with the way from the second to the first.
    pub axis: Option<(Edit, Edit)>,
}

/// Trained solutions, opened where a measure asks for them.
pub trait Solved {
    /// All of them, in the order of the study.
    ///
    /// # Errors
    /// If one cannot be read.
    fn every(&self) -> Result<Vec<Solution>>;

    /// The solutions that are compared: they start from nothing, are no controls, and train on the rows of the study.
    ///
    /// # Errors
    /// If one cannot be read.
    fn compared(&self) -> Result<Vec<Solution>> {
        self.every()
    }

    /// The solutions that directions are held against: those that are compared, and those that train on rows of their own.
    ///
    /// # Errors
    /// If one cannot be read.
    fn beside(&self) -> Result<Vec<Solution>> {
        self.compared()
    }

    /// The same, as claims see them.
    fn subjects(&self) -> Vec<Subject> {
        Vec::new()
    }

    /// True if a solution goes on from another one.
    fn follows(&self, _solution: &str) -> bool {
        false
    }

    /// The steps after which one of them was kept, 0 before them: its training begins there.
    ///
    /// # Errors
    /// If what training kept cannot be listed.
    fn steps(&self, _solution: &str) -> Result<Vec<usize>> {
        Ok(Vec::new())
    }

    /// One of them, after one of its [`Self::steps`]; none after others. One at a time is opened: all
    /// checkpoints of a large edit would not fit into memory.
    ///
    /// # Errors
    /// If it cannot be read.
    fn after(&self, _solution: &str, _step: usize) -> Result<Option<Edit>> {
        Ok(None)
    }

    /// The folder in which a measure may keep what takes long to make, so that it goes on where it was stopped.
    fn folder(&self) -> Option<PathBuf> {
        None
    }

    /// The solutions that started from another one, with their checkpoints.
    ///
    /// # Errors
    /// If one cannot be read.
    fn trajectories(&self) -> Result<Vec<Trajectory>> {
        Ok(Vec::new())
    }
}

impl Solved for Vec<Solution> {
    fn every(&self) -> Result<Vec<Solution>> {
        Ok(self.clone())
    }
}

/// A solution that may yet have to be trained.
pub struct Planned<'a> {
    /// Its name.
    pub name: &'a str,
    /// The settings of its training.
    pub settings: &'a Settings,
    /// True if measures compare it with others.
    pub compared: bool,
    /// True if measures of directions hold it against others.
    pub beside: bool,
    /// True if it starts from another solution.
    pub follows: bool,
    /// The number of its checkpoints.
    pub checkpoints: usize,
}

/// At most `most` of so many places in a row, evenly apart, the last among them.
pub fn evenly(places: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = places.min(most);
    (1..=count).map(move |i| (i * places).div_ceil(count) - 1)
}

/// All that the time and memory of a measure follow from.
pub struct Scene<'a> {
    /// Model and rows.
    pub lab: &'a Lab<'a>,
    /// The solutions.
    pub solutions: Vec<Planned<'a>>,
}

impl Scene<'_> {
    /// The settings of the solutions that are compared.
    pub fn compared(&self) -> impl Iterator<Item = &Settings> + Clone {
        self.solutions.iter().filter(|solution| solution.compared).map(|solution| solution.settings)
    }

    /// The settings of those that directions are held against.
    pub fn beside(&self) -> impl Iterator<Item = &Settings> + Clone {
        self.solutions.iter().filter(|solution| solution.beside).map(|solution| solution.settings)
    }

    /// The point up to which no solution changes anything.
    pub fn common_point(&self) -> usize {
        self.solutions.iter().map(|solution| super::point(solution.settings)).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::evenly;

    #[test]
    fn places_evenly_apart_end_with_the_last() {
        let places = |of, most| evenly(of, most).collect::<Vec<_>>();
        assert!(places(0, 6).is_empty());
        assert_eq!(places(3, 6), [0, 1, 2]);
        assert_eq!(places(12, 6), [1, 3, 5, 7, 9, 11]);
        assert_eq!(places(13, 3), [4, 8, 12]);
    }
}
