//! The readings of each solution: those of `strait edit read` and of `strait edit patch`, on the study's pairs.

use strait_model::{Decoder, progress::Progress};

use super::{Contrast, LoraScalars, Measure, ScalarProbeRow, ScalarRemovedRow, ScalarRow};
use crate::{
    Result,
    lab::{Group, PairRows, Solution},
    objective::Row,
    probe::{Problem, Repeats},
    scalars::{self, Classes, Probed, Scalars, Settings, Significant},
};

/// The taught answers of pairs.
pub(super) fn taught(pairs: &PairRows) -> Vec<Row> {
    pairs.kept.rows().iter().step_by(2).cloned().collect()
}

/// Answers of two kinds with their scalars.
struct Answers {
    pairs: usize,
    scalars: Scalars,
    /// True for answers of the first kind.
    first: Vec<bool>,
    /// The question of each.
    questions: Vec<usize>,
    /// The tokens that count, where not all do.
    kept: Option<Vec<Vec<bool>>>,
}

impl Answers {
    /// Those of both sides of the domain: the first kind is inside.
    fn of_both(inside: &Self, outside: &Self) -> Self {
        let behind = inside.questions.iter().max().map_or(0, |last| last + 1);
        let first = |of: &Self, inside: bool| vec![inside; of.first.len()];
        let kept = [&inside.kept, &outside.kept].map(Option::as_deref);
        Self {
            pairs: inside.pairs + outside.pairs,
            scalars: Scalars {
                names: inside.scalars.names.clone(),
                rows: [inside.scalars.rows.as_slice(), &outside.scalars.rows].concat(),
            },
            first: [first(inside, true), first(outside, false)].concat(),
            questions: inside
                .questions
                .iter()
                .copied()
                .chain(outside.questions.iter().map(|q| q + behind))
                .collect(),
            kept: match kept {
                [Some(inside), Some(outside)] => Some([inside, outside].concat()),
                _ => None,
            },
        }
    }
}

impl LoraScalars {
    /// Reads LoRAs on the pairs of both groups.
    ///
    /// # Errors
    /// If an edit has no adapters or one on the head, a reading is no number, probes do not settle, a tensor operation fails, or the
    /// user asked for a stop.
    pub fn read(
        &self,
        decoder: &Decoder,
        solutions: &[Solution],
        pairs: &[PairRows; 2],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<<Self as Measure>::Found> {
        let (mut rows, mut probes, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for solution in solutions {
            let name = &solution.name;
            let mut found = Vec::new();
            for pairs in self.few(pairs).iter().filter(|pairs| !pairs.is_empty()) {
                let contrast = match pairs.group {
                    Group::Narrow => Contrast::Narrow,
                    Group::General => Contrast::General,
                };
                found.push((contrast, self.answers(decoder, solution, pairs, progress)?));
                let without = scalars::remove(decoder, &taught(pairs), &solution.edit, progress)?;
                removed.extend(without.into_iter().map(|of| ScalarRemovedRow {
                    solution: name.clone(),
                    group: pairs.group,
                    adapters: of.adapters,
                    removed: of.removed,
                    loss: of.own,
                    answers: pairs.len(),
                }));
            }
            if let [(_, inside), (_, outside)] = found.as_slice() {
                found.push((Contrast::Topic, Answers::of_both(inside, outside)));
            }
            for (contrast, answers) in &found {
                let probed = self.probed(answers, seed, progress)?;
                rows.extend(probed.carriers.into_iter().map(|carrier| ScalarRow {
                    solution: name.clone(),
                    contrast: *contrast,
                    scalar: carrier.scalar,
                    mean: carrier.taught,
                    other_mean: carrier.other,
                    deviation: carrier.deviation,
                    auroc: carrier.auroc,
                    weight: carrier.weight,
                    weight_deviation: carrier.weight_deviation,
                    used: carrier.used,
                    pairs: answers.pairs,
                    tokens: probed.tokens.iter().sum(),
                }));
                let known = probed.figures.into_iter().filter(|figure| figure.divisions > 0);
                probes.extend(known.map(|figure| ScalarProbeRow {
                    solution: name.clone(),
                    contrast: *contrast,
                    figure: figure.figure,
                    mean: figure.mean,
                    deviation: figure.deviation,
                    divisions: figure.divisions,
                    c: self.c,
                    tokens: probed.tokens[0],
                    other_tokens: probed.tokens[1],
                    seed,
                }));
            }
        }
        Ok((rows, probes, removed))
    }

    /// The taught answers of pairs, and behind them the other ones.
    fn answers(
        &self,
        decoder: &Decoder,
        solution: &Solution,
        pairs: &PairRows,
        progress: &dyn Progress,
    ) -> Result<Answers> {
        let others = pairs.kept.rows().iter().skip(1).step_by(2).cloned();
        let rows: Vec<Row> = taught(pairs).into_iter().chain(others).collect();
        let edit = &solution.edit;
        let significant = || Significant::of(decoder, &rows, edit, self.significant, progress);
        Ok(Answers {
            pairs: pairs.len(),
            scalars: scalars::read(decoder, &rows, edit, progress)?,
            first: (0..rows.len()).map(|row| row < pairs.len()).collect(),
            questions: pairs.questions.repeat(2),
            kept: self.counts_some().then(significant).transpose()?.map(|significant| significant.kept),
        })
    }

    /// Both kinds of answers, without probes where there are too few questions to divide.
    fn probed(&self, answers: &Answers, seed: u64, progress: &dyn Progress) -> Result<Probed> {
        let Answers { scalars, first, questions, kept, .. } = answers;
        let classes = Classes { taught: first, groups: questions, kept: kept.as_deref() };
        let repeats = Repeats { count: self.repeats, seed, ..Repeats::default() };
        match scalars::probe(scalars, classes, Settings { c: self.c, repeats }, progress) {
            Err(error)
                if matches!(error.problem(), Some(Problem::TooFew { .. } | Problem::OneKind { .. })) =>
            {
                Ok(scalars::compare(scalars, classes))
            }
            probed => probed,
        }
    }
}
