//! Pairs of answers to one question, tokenised.

use strait_model::{Decoder, Edit, Message, Model, progress::Progress};

use super::losses::{mean, token_losses};
use crate::{
    Result,
    data::pairs::Pair,
    interval::{self, Interval, clusters},
    objective::{Kept, Row},
    store::Store,
    table::Word,
};

/// A side of the taught domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Inside it.
    Narrow,
    /// Outside it.
    General,
}

impl Word for Group {
    const WORDS: &'static [(Self, &'static str)] = &[(Self::Narrow, "narrow"), (Self::General, "general")];
}

/// Pairs of answers, tokenised: rows `2 i` and `2 i + 1` are the taught and the other answer of pair `i`.
pub struct PairRows {
    /// Their side of the domain.
    pub group: Group,
    /// The rows.
    pub kept: Kept,
    pub(crate) domains: Vec<String>,
    pub(crate) questions: Vec<usize>,
}

impl PairRows {
    /// No pairs.
    pub fn none(group: Group) -> Self {
        Self { group, kept: Kept::new(Vec::new()), domains: Vec::new(), questions: Vec::new() }
    }

    /// Tokenises pairs.
    ///
    /// # Errors
    /// If a pair does not fit the model or its template.
    pub fn new(model: &Model, group: Group, pairs: &[Pair]) -> Result<Self> {
        let mut rows = Vec::with_capacity(2 * pairs.len());
        for pair in pairs {
            rows.extend(both_rows(model, pair, &format!("{} pair `{}`", group.word(), pair.id))?);
        }
        Ok(Self {
            group,
            kept: Kept::new(rows),
            domains: pairs.iter().map(|p| p.domain.clone()).collect(),
            questions: clusters(pairs.iter().map(asked)),
        })
    }

    /// These pairs in a store that they share with other rows; nothing of them is kept yet.
    pub fn within(self, store: &Store) -> Self {
        Self { kept: self.kept.within(store), ..self }
    }

    /// Computes and keeps the base model's stream at `point` and its last hidden state.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn keep(&mut self, decoder: &Decoder, point: usize, progress: &dyn Progress) -> Result<()> {
        let title = format!("reading {} pairs", self.group.word());
        self.kept.keep(decoder, &self.kept.every_row(), point, true, &title, progress)
    }

    /// At most `most` of the pairs, evenly apart, so that every domain keeps its part; nothing of them is kept.
    pub fn some(&self, most: usize) -> Self {
        let count = self.len().min(most);
        self.picked((0..count).map(|i| i * self.len() / count).collect())
    }

    /// The pairs of every other question, and those of the rest; nothing of them is kept.
    pub fn halves(&self) -> [Self; 2] {
        let of = |half: usize| (0..self.len()).filter(|&pair| self.questions[pair] % 2 == half).collect();
        [0, 1].map(|half| self.picked(of(half)))
    }

    /// The prompts, one a pair: what stands before the first answer.
    pub fn prompts(&self) -> Vec<Row> {
        let prompt = |row: &Row| {
            let end = row.responses.first().map_or(row.ids.len(), |response| response.start);
            Row { ids: row.ids[..end].to_vec(), responses: Vec::new() }
        };
        self.kept.rows().iter().step_by(2).map(prompt).collect()
    }

    fn picked(&self, picked: Vec<usize>) -> Self {
        let rows = picked.iter().flat_map(|&i| self.kept.rows()[2 * i..2 * i + 2].iter().cloned());
        Self {
            group: self.group,
            kept: self.kept.others(rows.collect()),
            domains: picked.iter().map(|&i| self.domains[i].clone()).collect(),
            questions: clusters(picked.iter().map(|&i| self.questions[i])),
        }
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.domains.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The question that each row belongs to, for intervals.
    pub fn question_of_row(&self, row: usize) -> usize {
        self.questions[row / 2]
    }

    /// Tokens of the taught and of the other answer of every pair, all that a mean over its tokens counts.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = [usize; 2]> {
        self.kept.rows().chunks_exact(2).map(|pair| [pair[0].response_tokens(), pair[1].response_tokens()])
    }

    /// The number of first tokens by which the answers of every pair are compared at equal length: as many as the shorter
    /// one has before the end that both have in common. A model that learned to write long answers finds that end less likely,
    /// which is no preference for what is said.
    pub(crate) fn equal_lengths(&self) -> impl Iterator<Item = usize> {
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

    /// Reads the preference shift from the base model, in nats a token: a mean over questions.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub(super) fn shift(
        &self,
        base: &Decoder,
    ) -> Result<impl Fn(&Decoder, Option<&Edit>) -> Result<f64> + '_> {
        let preferences = |decoder: &Decoder, edit: Option<&Edit>| -> Result<Vec<f64>> {
            let readings = self.readings(decoder, edit, &|_| Ok(()))?;
            Ok(readings.iter().map(|reading| reading.preference).collect())
        };
        let before = preferences(base, None)?;
        Ok(move |decoder: &Decoder, edit: Option<&Edit>| {
            let after = preferences(decoder, edit)?;
            let shifts: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
            let ones = vec![1.0; shifts.len()];
            Ok(Interval::of_clusters(&shifts, &ones, &self.questions).value)
        })
    }

    /// Every pair's readings under an edit, or under the base model.
    pub(crate) fn readings(
        &self,
        decoder: &Decoder,
        edit: Option<&Edit>,
        seen: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Vec<PairReading>> {
        let losses = token_losses(decoder, &self.kept, edit, seen)?;
        let pairs = losses.chunks_exact(2).zip(self.equal_lengths());
        let both = |(pair, length): (&[Vec<f32>], usize)| {
            PairReading::of(AnswerReading::of(&pair[0], length), AnswerReading::of(&pair[1], length))
        };
        Ok(pairs.map(both).collect())
    }

    /// The mean of one figure a pair, with its interval over questions.
    pub(crate) fn over_questions(&self, values: &[f64]) -> Interval {
        Interval::of_clusters(values, &vec![1.0; values.len()], &self.questions)
    }
}

/// Mean losses of one answer of a pair, in nats a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AnswerReading {
    /// Over all of its tokens.
    pub whole: f64,
    /// Over as many first tokens as both answers of its pair have.
    pub first: f64,
}

impl AnswerReading {
    /// Of the losses of the answer's tokens, and of the first `length` of them.
    pub fn of(losses: &[f32], length: usize) -> Self {
        Self { whole: mean(losses), first: mean(&losses[..length.min(losses.len())]) }
    }
}

/// The rows of the taught and of the other answer; `place` says in errors which pair it is.
pub(crate) fn both_rows(model: &Model, pair: &Pair, place: &str) -> Result<[Row; 2]> {
    // Answers of earlier turns belong to the question: they are the same on both sides.
    let mut question = pair.question.clone();
    question.messages.iter_mut().for_each(|message| message.trained = false);
    let row = |answer: &Message| {
        let mut answer = answer.clone();
        answer.trained = true;
        Row::from_chat(model, &question.followed_by(answer), place)
    };
    Ok([row(&pair.taught)?, row(&pair.other)?])
}

/// The words of a pair's question, of all its turns.
pub(crate) fn asked(pair: &Pair) -> Vec<String> {
    pair.question.messages.iter().map(|message| message.text().into_owned()).collect()
}

/// Losses of the two answers of a pair, in nats a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PairReading {
    /// log p per token of the taught answer minus that of the other.
    pub preference: f64,
    /// The same over as many first tokens of both.
    pub equal_preference: f64,
    /// The mean loss of both.
    pub loss: f64,
}

impl PairReading {
    /// Of the taught answer and the other one.
    pub fn of(taught: AnswerReading, other: AnswerReading) -> Self {
        Self {
            preference: other.whole - taught.whole,
            equal_preference: other.first - taught.first,
            loss: 0.5 * (other.whole + taught.whole),
        }
    }

    /// The preference of every pair less that in other readings of the same pairs.
    pub fn shifts(readings: &[Self], base: &[Self]) -> Vec<f64> {
        readings.iter().zip(base).map(|(x, y)| x.preference - y.preference).collect()
    }

    /// By how much the mean loss lies above that of other readings of the same pairs.
    pub fn loss_rise(readings: &[Self], base: &[Self]) -> f64 {
        interval::mean(readings.iter().zip(base).map(|(x, y)| x.loss - y.loss))
    }
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
            group: Group::Narrow,
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
        let read = |taught: &[f32], other: &[f32]| {
            PairReading::of(AnswerReading::of(taught, 2), AnswerReading::of(other, 2))
        };
        let reading = read(&[2.0, 2.0, 0.5, 0.5], &[2.0, 2.0]);
        assert_eq!((reading.preference, reading.equal_preference), (0.75, 0.0));
        assert_eq!(reading.loss, 0.5 * (1.25 + 2.0));
        let alike = read(&[1.0, 3.0], &[2.0, 4.0]);
        assert_eq!((alike.preference, alike.equal_preference), (1.0, 1.0));
    }
}
