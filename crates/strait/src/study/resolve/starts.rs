//! Solutions that go on from others.

use std::iter;

use super::Unplaced;
use crate::study::{
    Problem,
    problem::{Checked, Fault},
    sweep,
};

/// Finds the solution that each one starts from, and refuses circles.
pub(super) fn find_starts(solutions: &mut [Unplaced]) -> Checked<()> {
    let all = || solutions.iter().map(|s| (s.solution.name.as_str(), s.solution.point.as_ref()));
    let mut found = Vec::new();
    for Unplaced { solution, from, .. } in solutions.iter() {
        let Some(from) = from else {
            found.push(None);
            continue;
        };
        let own = |names: Vec<&str>| names.into_iter().map(str::to_string).collect::<Vec<_>>();
        found.push(match sweep::meant(&from.value, solution.point.as_ref(), all()).as_slice() {
            [one] => Some(one.to_string()),
            fitting => {
                let points = own(sweep::meant(&from.value, None, all()));
                let (solution, written) = (solution.name.clone(), from.value.clone());
                return Err(from.fault(match points.is_empty() {
                    true => Problem::UnknownStart {
                        solution,
                        from: written,
                        known: all().map(|(name, _)| name.to_string()).collect(),
                    },
                    false => Problem::UnclearStart {
                        solution,
                        from: written,
                        fitting: own(fitting.to_vec()),
                        points,
                    },
                }));
            }
        });
    }
    for (unplaced, found) in solutions.iter_mut().zip(found) {
        unplaced.solution.from = found;
    }
    // What is taken out behind an edit stays so in those that go on from it, however many there are between.
    for _ in 0..solutions.len() {
        let ablated: Vec<String> = {
            let all = solutions.iter().filter(|s| s.solution.train.ablated);
            all.map(|s| s.solution.name.clone()).collect()
        };
        for Unplaced { solution, .. } in solutions.iter_mut() {
            solution.train.ablated |= solution.from.as_ref().is_some_and(|from| ablated.contains(from));
        }
    }
    for Unplaced { solution, from, .. } in solutions.iter() {
        let before = |name: &String| {
            let start = solutions.iter().find(|other| other.solution.name == *name)?;
            start.solution.from.clone()
        };
        // As many steps back as there are solutions reach the start of every chain.
        let chain = iter::successors(solution.from.clone(), before).take(solutions.len());
        let mut circle: Vec<String> = iter::once(solution.name.clone()).chain(chain).collect();
        if let Some(back) = (1..circle.len()).find(|&i| circle[i] == solution.name) {
            circle.truncate(back);
            let line = from.as_ref().map(|from| from.line);
            return Err(Fault { line, problem: Problem::Circle { solutions: circle } });
        }
    }
    Ok(())
}
