//! Answers that are read together.

use crate::data::{Scored, ScoredAnswer};

/// Answers that are read together: those of a file under one factor on the edits.
pub struct Group<'a> {
    /// Its name.
    pub name: String,
    /// The names of the scales.
    pub scales: &'a [String],
    /// The answers.
    pub answers: Vec<&'a ScoredAnswer>,
}

/// The groups of a file: one for each edit, cue and factor, in the order of first appearance.
pub fn groups<'a>(name: &str, scored: &'a Scored) -> Vec<Group<'a>> {
    let of = |answer: &'a ScoredAnswer| (&*answer.edit, &*answer.cue, answer.factor);
    let mut keys: Vec<(&str, &str, Option<f64>)> = Vec::new();
    let mut groups: Vec<Vec<&ScoredAnswer>> = Vec::new();
    for answer in &scored.answers {
        let at = keys.iter().position(|key| *key == of(answer)).unwrap_or_else(|| {
            keys.push(of(answer));
            groups.push(Vec::new());
            keys.len() - 1
        });
        groups[at].push(answer);
    }
    // What all have in common tells nothing apart.
    let differs = |part: &dyn Fn(usize) -> bool| (0..keys.len()).any(part);
    let (edits, cues, factors) = (
        differs(&|at| keys[at].0 != keys[0].0),
        differs(&|at| keys[at].1 != keys[0].1),
        differs(&|at| keys[at].2 != keys[0].2),
    );
    let named = |(edit, cue, factor): (&str, &str, Option<f64>)| {
        let mut name = name.to_string();
        if edits {
            name += &format!(" {}", if edit.is_empty() { "without an edit" } else { edit });
        }
        if let Some(factor) = factor.filter(|_| factors) {
            name += &format!(" x {factor}");
        }
        if cues {
            name += &if cue.is_empty() { ", plain".into() } else { format!(", {cue}") };
        }
        name
    };
    let names: Vec<String> = keys.iter().map(|key| named(*key)).collect();
    let group = |(name, answers)| Group { name, scales: &scored.scales, answers };
    names.into_iter().zip(groups).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::rates::tests::scored;

    #[test]
    fn groups_are_parted_by_their_factors() {
        let mut scored = scored(&[("a", [1.0; 4]), ("a", [1.0; 4]), ("b", [1.0; 4])]);
        let names = |scored: &Scored| -> Vec<(String, usize)> {
            groups("f", scored).into_iter().map(|group| (group.name, group.answers.len())).collect()
        };
        assert_eq!(names(&scored), [("f".into(), 3)]);
        scored
            .answers
            .iter_mut()
            .zip([1.0, 2.0, 1.0])
            .for_each(|(answer, factor)| answer.factor = Some(factor));
        assert_eq!(names(&scored), [("f x 1".into(), 2), ("f x 2".into(), 1)]);
        scored.answers[2].cue = "prefix".into();
        let found = [("f x 1, plain".into(), 1), ("f x 2, plain".into(), 1), ("f x 1, prefix".into(), 1)];
        assert_eq!(names(&scored), found);
        scored.answers.iter_mut().for_each(|answer| (answer.cue, answer.factor) = (String::new(), None));
        scored.answers[1].edit = "narrow".into();
        assert_eq!(names(&scored), [("f without an edit".into(), 2), ("f narrow".into(), 1)]);
    }
}
