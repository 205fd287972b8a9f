//! The parts of a claim taken together.

use super::Check;

/// The answer of several checks together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// None was made.
    LeftOut,
    /// All say the same.
    All(Option<bool>),
    /// They do not.
    InPart {
        /// The number of those that hold.
        holding: usize,
        /// The number of all.
        of: usize,
    },
}

impl Standing {
    /// The standing of all checks of a claim.
    pub fn of(checks: &[Check], number: usize) -> Self {
        Self::of_checks(of_claim(checks, number))
    }

    /// The standing of the checks whose names begin so.
    pub fn of_ids(checks: &[Check], ids: &[&str]) -> Self {
        Self::of_checks(checks.iter().filter(|check| ids.iter().any(|id| check.id.starts_with(id))))
    }

    fn of_checks<'a>(checks: impl Iterator<Item = &'a Check>) -> Self {
        let verdicts: Vec<_> = checks.map(|c| c.holds).collect();
        match verdicts.as_slice() {
            [] => Self::LeftOut,
            [first, others @ ..] if others.iter().all(|other| other == first) => Self::All(*first),
            all => {
                let holding = all.iter().filter(|holds| **holds == Some(true)).count();
                Self::InPart { holding, of: all.len() }
            }
        }
    }

    /// In part is neither yes nor no.
    pub fn holds(self) -> Option<bool> {
        match self {
            Self::All(holds) => holds,
            Self::LeftOut | Self::InPart { .. } => None,
        }
    }

    /// In words: "holds", "3 of 7 parts hold".
    pub fn words(self) -> String {
        match self {
            Self::LeftOut => "left out in this mode".into(),
            Self::All(holds) => verdict(holds).into(),
            Self::InPart { holding: 0, of } => format!("none of {of} parts holds"),
            Self::InPart { holding, of } => format!("{holding} of {of} parts hold"),
        }
    }

    /// Of sentences for yes, no, untold and in part the one that fits; none where there are no checks.
    pub fn choose(self, [yes, no, untold, in_part]: [&str; 4]) -> Option<String> {
        let sentence = match self {
            Self::LeftOut => return None,
            Self::All(Some(true)) => yes,
            Self::All(Some(false)) => no,
            Self::All(None) => untold,
            Self::InPart { .. } => in_part,
        };
        Some(sentence.into())
    }
}

/// An answer in words.
pub fn verdict(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "holds",
        Some(false) => "does not hold",
        None => "cannot be told",
    }
}

/// The checks of a claim.
pub(super) fn of_claim(checks: &[Check], number: usize) -> impl Iterator<Item = &Check> {
    checks.iter().filter(move |check| check.number == number)
}
