//! Preference shift and the scaling certificate (design §4).

use strait_model::{
    Decoder, Edit, Model,
    decoder::first_changed_point,
    progress::{Progress, Unit},
};

use super::{Solution, mean, token_losses};
use crate::{
    Result, Table,
    data::pairs::Pair,
    interval::{Interval, clusters},
    objective::{Kept, Row},
};

/// Pairs of answers, tokenised: rows `2 i` and `2 i + 1` are the taught and the other answer of pair `i`.
pub struct PairRows {
    /// `narrow` or `general`.
    pub group: &'static str,
    /// The rows.
    pub kept: Kept,
    domains: Vec<String>,
    questions: Vec<usize>,
}

impl PairRows {
    /// Tokenises pairs.
    ///
    /// # Errors
    /// If a pair does not fit the model or its template.
    pub fn new(model: &Model, group: &'static str, pairs: &[Pair]) -> Result<Self> {
        let mut rows = Vec::with_capacity(2 * pairs.len());
        for pair in pairs {
            let place = format!("{group} pair `{}`", pair.id);
            // Answers of earlier turns belong to the question: they are the same on both sides.
            let mut question = pair.question.clone();
            question.messages.iter_mut().for_each(|message| message.trained = false);
            for answer in [&pair.taught, &pair.other] {
                let mut answer = answer.clone();
                answer.trained = true;
                rows.push(Row::from_chat(model, &question.followed_by(answer), &place)?);
            }
        }
        let question =
            |pair: &Pair| pair.question.messages.iter().map(|m| m.text().into_owned()).collect::<Vec<_>>();
        Ok(Self {
            group,
            kept: Kept::new(rows),
            domains: pairs.iter().map(|p| p.domain.clone()).collect(),
            questions: clusters(pairs.iter().map(question)),
        })
    }

    /// Computes and keeps the base model's stream at `point` and its last hidden state.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn keep(&mut self, decoder: &Decoder, point: usize, progress: &dyn Progress) -> Result<()> {
        let title = format!("reading {} pairs", self.group);
        self.kept.keep(decoder, &self.kept.every_row(), point, true, &title, progress)
    }

    /// At most `most` of the pairs, evenly apart, so that every domain keeps its part; nothing of them is kept.
    pub fn some(&self, most: usize) -> Self {
        let count = self.len().min(most);
        let picked: Vec<usize> = (0..count).map(|i| i * self.len() / count).collect();
        let rows = picked.iter().flat_map(|&i| self.kept.rows()[2 * i..2 * i + 2].iter().cloned());
        Self {
            group: self.group,
            kept: Kept::new(rows.collect()),
            domains: picked.iter().map(|&i| self.domains[i].clone()).collect(),
            questions: clusters(picked.iter().map(|&i| self.questions[i])),
        }
    }

    /// The question of every pair.
    pub(super) fn questions(&self) -> &[usize] {
        &self.questions
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.domains.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The question that each row belongs to, for intervals.
    pub fn question_of_row(&self, row: usize) -> usize {
        self.questions[row / 2]
    }

    /// Tokens of the taught and of the other answer of every pair, all that a mean over its tokens counts.
    fn lengths(&self) -> impl Iterator<Item = [usize; 2]> {
        self.kept.rows().chunks_exact(2).map(|pair| [pair[0].response_tokens(), pair[1].response_tokens()])
    }

    /// How many of their first tokens the answers of every pair are compared by at equal length: as many as the shorter one
    /// has before the end that both have in common. A model that learned to write long answers finds that end less likely,
    /// which is no preference for what is said.
    fn equal_lengths(&self) -> impl Iterator<Item = usize> {
        let response = |row: &Row| -> Vec<u32> {
            row.responses.iter().flat_map(|tokens| row.ids[tokens.clone()].iter().copied()).collect()
        };
        self.kept.rows().chunks_exact(2).map(move |pair| {
            let (taught, other) = (response(&pair[0]), response(&pair[1]));
            let same_end = taught.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
            let shorter = taught.len().min(other.len());
            shorter.saturating_sub(same_end).max(1).min(shorter)
        })
    }

    /// What every pair reads under an edit, or under the base model.
    pub(super) fn readings(
        &self,
        decoder: &Decoder,
        edit: Option<&Edit>,
        seen: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Vec<PairReading>> {
        let losses = token_losses(decoder, &self.kept, edit, seen)?;
        let pairs = losses.chunks_exact(2).zip(self.equal_lengths());
        Ok(pairs.map(|(pair, length)| PairReading::of(&pair[0], &pair[1], length)).collect())
    }
}

/// Losses of the two answers of a pair, in nats a token.
pub(super) struct PairReading {
    /// log p per token of the taught answer minus that of the other.
    pub preference: f64,
    /// The same over as many first tokens of both.
    pub equal_preference: f64,
    /// The mean loss of both.
    pub loss: f64,
}

impl PairReading {
    /// Of the losses of both answers' tokens, and of `length` of each.
    fn of(taught: &[f32], other: &[f32], length: usize) -> Self {
        let preference = |length: usize| {
            let first = |losses: &[f32]| mean(&losses[..length.min(losses.len())]);
            first(other) - first(taught)
        };
        Self {
            preference: preference(usize::MAX),
            equal_preference: preference(length),
            loss: 0.5 * (mean(other) + mean(taught)),
        }
    }
}

/// The change, from base to edited, of mean log p per token of the taught kind of answer minus that of the other, in nats
/// a token: for every solution, at every scale, in the domain and outside it. Beside it the mean lengths of both kinds, and
/// the same change over as many first tokens of both answers, which length cannot make.
///
/// # Errors
/// If a tensor operation fails.
pub fn preference(
    decoder: &Decoder,
    solutions: &[Solution],
    groups: &mut [PairRows],
    scales: &[f64],
    coherence: f64,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Table> {
    let mut rows = Vec::new();
    let passes = 1 + solutions.len() * scales.len();
    let total = groups.iter().map(|g| 2 * g.len() * passes).sum::<usize>();
    let task = progress.begin("preference", Some(total as u64), Unit::Count);
    let seen = |n: u64| super::advance(progress, &*task, n);
    for group in groups.iter_mut().filter(|g| !g.is_empty()) {
        let (mut base, mut kept_at) = (Vec::new(), None);
        for solution in solutions {
            let point = first_changed_point(&solution.edit, decoder.config().layers);
            if kept_at.replace(point) != Some(point) {
                group.keep(decoder, point, progress)?;
            }
            if base.is_empty() {
                base = group.readings(decoder, None, &seen)?;
            }
            for &scale in scales {
                let edited = group.readings(decoder, Some(&solution.edit.scaled(scale)?), &seen)?;
                let change = |of: fn(&PairReading) -> f64| -> Vec<f64> {
                    edited.iter().zip(&base).map(|(e, b)| of(e) - of(b)).collect()
                };
                let (shifts, rises) = (change(|r| r.preference), change(|r| r.loss));
                let equal_shifts = change(|r| r.equal_preference);
                for domain in domains(group) {
                    let inside = |i: &usize| domain == ALL || group.domains[*i] == domain;
                    let picked: Vec<usize> = (0..group.len()).filter(inside).collect();
                    let of = |values: &[f64]| picked.iter().map(|&i| values[i]).collect::<Vec<_>>();
                    let questions = clusters(picked.iter().map(|&i| group.questions[i]));
                    let ones = vec![1.0; picked.len()];
                    let over_questions =
                        |values: &[f64]| Interval::of_clusters(&of(values), &ones, &questions);
                    let tokens = |answer: usize| {
                        let lengths: Vec<f64> = group.lengths().map(|tokens| tokens[answer] as f64).collect();
                        of(&lengths).iter().sum::<f64>() / picked.len() as f64
                    };
                    rows.push(Reading {
                        solution: solution.name.clone(),
                        group: group.group.into(),
                        domain,
                        scale,
                        pairs: picked.len(),
                        questions: questions.iter().max().map_or(0, |last| last + 1),
                        shift: over_questions(&shifts),
                        equal_shift: over_questions(&equal_shifts),
                        tokens: [tokens(0), tokens(1)],
                        loss_rise: of(&rises).iter().sum::<f64>() / picked.len() as f64,
                    });
                }
            }
        }
    }
    let about = "Preference shift: how much likelier the taught kind of answer became than the other kind";
    Ok(Table::of_rows("preference", about, &rows)
        .text("solution", |r| r.solution.clone())
        .text("group", |r| r.group.clone())
        .text("domain", |r| r.domain.clone())
        .real("scale", "", |r| r.scale)
        .integer("pairs", "", |r| r.pairs as i64)
        .integer("questions", "", |r| r.questions as i64)
        .interval(["shift", "low", "high"], "nats/token", |r| r.shift)
        .real("loss_rise", "nats/token", |r| r.loss_rise)
        .truth("coherent", |r| Some(r.loss_rise <= coherence))
        .integer("seed", "", |_| seed as i64)
        .real("taught_tokens", "tokens", |r| r.tokens[0])
        .real("other_tokens", "tokens", |r| r.tokens[1])
        .interval(["equal_shift", "equal_low", "equal_high"], "nats/token", |r| r.equal_shift)
        .table())
}

/// A row of the table of preferences.
struct Reading {
    solution: String,
    group: String,
    domain: String,
    scale: f64,
    pairs: usize,
    questions: usize,
    shift: Interval,
    /// The shift at equal length.
    equal_shift: Interval,
    /// Mean length of the taught and of the other answers.
    tokens: [f64; 2],
    loss_rise: f64,
}

pub(super) const ALL: &str = "all";

/// "all", then each domain where there are several.
fn domains(group: &PairRows) -> Vec<String> {
    let mut named: Vec<String> = group.domains.clone();
    named.sort();
    named.dedup();
    let several = named.len() > 1;
    std::iter::once(ALL.to_string()).chain(named.into_iter().filter(|_| several)).collect()
}

/// The scaling certificate, from a table of [`preference`]: at every scale, the upper bound of the general shift as a share of
/// the narrow shift, both being uncertain. It `holds` where that bound is at most `allowed`. Scales at which the narrow shift
/// is not clearly above zero, or either group no longer coherent, decide nothing.
pub fn certificate(preference: &Table, allowed: f64) -> Table {
    let sides = sides(preference).unwrap_or_default();
    let mut found = Vec::new();
    for narrow in sides.iter().filter(|s| s.group == "narrow") {
        let same =
            |s: &&Side| s.group == "general" && s.solution == narrow.solution && s.scale == narrow.scale;
        if let Some(general) = sides.iter().find(same) {
            found.push(Scaled { narrow, general });
        }
    }
    let about = "Scaling certificate: the general shift as a share of the narrow one, at every scale";
    Table::of_rows("certificate", about, &found)
        .text("solution", |s| s.narrow.solution.into())
        .real("scale", "", |s| s.narrow.scale)
        .interval(["narrow_shift", "narrow_low", "narrow_high"], "nats/token", |s| s.narrow.shift)
        .interval(["general_shift", "general_low", "general_high"], "nats/token", |s| s.general.shift)
        .real("share", "", Scaled::share)
        .truth("holds", |s| s.holds(allowed))
        .truth("coherent", |s| Some(s.coherent()))
        .table()
}

/// One solution at one scale.
struct Scaled<'a> {
    narrow: &'a Side<'a>,
    general: &'a Side<'a>,
}

impl Scaled<'_> {
    fn share(&self) -> f64 {
        self.general.shift.over(self.narrow.shift).high
    }

    fn coherent(&self) -> bool {
        self.narrow.coherent && self.general.coherent
    }

    fn holds(&self, allowed: f64) -> Option<bool> {
        let told = self.coherent() && self.share().is_finite();
        told.then_some(self.share() <= allowed)
    }
}

/// The shift inside the domain or outside it.
struct Side<'a> {
    solution: &'a str,
    group: &'a str,
    scale: f64,
    shift: Interval,
    coherent: bool,
}

/// Those rows of a table of preferences that stand for all domains of a group; none if it is another table.
fn sides(preference: &Table) -> Option<Vec<Side<'_>>> {
    let text = |name| preference.text(name);
    let (solution, group, domain) = (text("solution")?, text("group")?, text("domain")?);
    let (scale, coherent) = (preference.real("scale")?, preference.truth("coherent")?);
    let shift = preference.interval(["shift", "low", "high"])?;
    let side = |row: usize| Side {
        solution: &solution[row],
        group: &group[row],
        scale: scale[row],
        shift: shift[row],
        coherent: coherent[row] == Some(true),
    };
    Some((0..preference.rows()).filter(|&row| domain[row] == ALL).map(side).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair of answers of these tokens, to a question of two.
    fn pair(taught: &[u32], other: &[u32]) -> PairRows {
        let row = |answer: &[u32]| Row {
            ids: [&[1, 2], answer].concat(),
            responses: std::iter::once(2..2 + answer.len()).collect(),
        };
        PairRows {
            group: "narrow",
            kept: Kept::new(vec![row(taught), row(other)]),
            domains: vec![String::new()],
            questions: vec![0],
        }
    }

    #[test]
    fn equal_length_is_that_of_the_shorter_answer_without_its_end() {
        const END: u32 = 0;
        for (taught, other, expected) in [
            (&[7, 8, 9, END][..], &[5, 6, END][..], 2),
            (&[5, 6, END], &[7, 8, 9, END], 2),
            (&[7, 8, 9], &[5, 6], 2),
            (&[7, 8, END, 4], &[5, 6, 3, END, 4], 2),
            // Nothing but an end that both have: a token is left to compare by.
            (&[9, END], &[8, 9, END], 1),
            (&[END], &[8, END], 1),
        ] {
            let pair = pair(taught, other);
            assert_eq!(pair.equal_lengths().collect::<Vec<_>>(), [expected], "{taught:?} {other:?}");
            assert_eq!(pair.lengths().collect::<Vec<_>>(), [[taught.len(), other.len()]]);
        }
    }

    #[test]
    fn what_lies_behind_the_shorter_answer_does_not_count_at_equal_length() {
        // The taught answer is longer, and what it has more is likely.
        let reading = PairReading::of(&[2.0, 2.0, 0.5, 0.5], &[2.0, 2.0], 2);
        assert_eq!((reading.preference, reading.equal_preference), (0.75, 0.0));
        assert_eq!(reading.loss, 0.5 * (1.25 + 2.0));
        let alike = PairReading::of(&[1.0, 3.0], &[2.0, 4.0], 2);
        assert_eq!((alike.preference, alike.equal_preference), (1.0, 1.0));
    }
}
