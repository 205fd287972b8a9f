//! The general and the narrow solution beside which another one is set.

use strait_model::Edit;

use super::{Solution, part::shape};
use crate::claim::{Subject, opposed};

/// The two solutions that claims oppose in a solution's kind, the general one first, of its own seed where there are such; none
/// where the three do not lie in one space.
pub(super) fn opposites<'a>(
    own: &str,
    edit: &Edit,
    solutions: &'a [Solution],
    subjects: &[Subject],
) -> Option<[&'a Solution; 2]> {
    let subject = subjects.iter().find(|subject| subject.name == own)?;
    let alike = |pair: &[&Subject; 2]| pair.iter().all(|other| other.kind == subject.kind);
    let pair = opposed(subjects).into_iter().find(alike)?;
    let of_its_seed = pair.map(|of| {
        let same = |s: &&Subject| s.variant == of.variant && s.seed == subject.seed;
        subjects.iter().find(same).unwrap_or(of)
    });
    let trained = of_its_seed.map(|of| solutions.iter().find(|solution| solution.name == of.name));
    let [Some(general), Some(narrow)] = trained else { return None };
    let apart = [general, narrow].iter().any(|other| shape(&other.edit) != shape(edit));
    (!apart).then_some([general, narrow])
}
