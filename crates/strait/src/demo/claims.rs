//! The thirteen claims: `claims.toml` holds their figures, bounds, words and pictures, which the suite judges and draws.
//!
//! Intervals are Student's over fits (one for each taught domain of each world), never over fine-tuning seeds. The fits of one
//! world share its pre-training, so that they are not quite independent: a claim must be on its side in every world as well.

use std::sync::OnceLock;

use super::fits::Kind;
use crate::{
    suite::{Check, Claims, StudyTables},
    table::Word,
};

/// All claims.
pub fn claims() -> &'static Claims {
    static CLAIMS: OnceLock<Claims> = OnceLock::new();
    CLAIMS.get_or_init(|| {
        let kinds = Kind::ALL.map(|kind| (kind.word(), kind.words()));
        Claims::parse(include_str!("claims.toml"), &kinds).expect("a test reads the claims")
    })
}

/// Judges all parts for which there is evidence; what was asked of the contrast worlds comes last in each claim.
pub(super) fn checks(studies: &[StudyTables<'_>]) -> Vec<Check> {
    let mut checks = claims().checks(studies);
    checks.retain(|check| check.n > 0);
    checks.sort_by_key(|check| (check.number, check.id.contains("-contrast-")));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_an_id_of_its_own_that_begins_with_its_number() {
        let checks = claims().checks(&[]);
        for (place, check) in checks.iter().enumerate() {
            assert!(
                check.id.starts_with(&format!("{}-", check.number)) && !check.reading.is_empty(),
                "{check:?}"
            );
            assert!(checks[..place].iter().all(|before| before.id != check.id), "{check:?}");
        }
        assert_eq!(checks.last().map(|check| check.number), Some(13));
    }

    #[test]
    fn nothing_is_said_without_a_figure() {
        assert!(super::checks(&[]).is_empty());
    }
}
