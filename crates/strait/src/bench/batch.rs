//! The rows that steps are timed on: as long as those of `data/technical`, of tokens drawn at random.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use strait_model::Config;

use crate::objective::Row;

/// Tokens that all rows begin with, as chats begin with the same system prompt, and those of a question, in the rows of
/// `data/technical` on SmolLM2.
const BEGINNING: usize = 24;
const QUESTION: usize = 19;
/// Response tokens of the rows of a training batch and of a KL batch, likewise.
const RESPONSES: [usize; 4] = [60, 64, 68, 74];
const KL_RESPONSES: [usize; 2] = [57, 67];
/// The longest row.
const LONGEST: usize = BEGINNING + QUESTION + 74;

/// The sizes of what is timed.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Tokens of the longest row; the others are shorter in proportion.
    pub row_tokens: usize,
    /// Answers that are sampled to one question.
    pub answers: usize,
    /// Tokens of each answer.
    pub answer_tokens: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { row_tokens: LONGEST, answers: 16, answer_tokens: 64 }
    }
}

/// A row: a beginning that it shares with all others, a question, and a response to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// The tokens.
    pub ids: Vec<u32>,
    /// The first token of the response.
    pub response: usize,
}

/// The rows of a step, and the prompt of sampled answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The rows that are trained on.
    pub rows: Vec<Text>,
    /// The rows on which a KL penalty holds.
    pub kl_rows: Vec<Text>,
    /// The prompt of sampled answers.
    pub prompt: Vec<u32>,
    /// Answers that are sampled to it.
    pub answers: usize,
    /// Tokens of each of them.
    pub answer_tokens: usize,
}

impl Batch {
    /// The batch of a model: the same for all models of one vocabulary and context.
    pub fn new(config: &Config, sizes: Sizes) -> Self {
        let longest = sizes.row_tokens.min(config.context_length);
        let scaled = |tokens: usize| (tokens * longest / LONGEST).max(1);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut drawn = |tokens: usize| -> Vec<u32> {
            (0..scaled(tokens)).map(|_| rng.random_range(0..config.vocab_size as u32)).collect()
        };
        let beginning = drawn(BEGINNING);
        let mut row = |response: usize| {
            let asked = [beginning.clone(), drawn(QUESTION)].concat();
            Text { response: asked.len(), ids: [asked, drawn(response)].concat() }
        };
        let (rows, kl_rows) = (RESPONSES.map(&mut row), KL_RESPONSES.map(&mut row));
        let prompt = rows[0].ids[..rows[0].response].to_vec();
        Self {
            rows: rows.into(),
            kl_rows: kl_rows.into(),
            prompt,
            answers: sizes.answers,
            answer_tokens: sizes.answer_tokens,
        }
    }
}

impl Text {
    /// As training takes it.
    pub fn row(&self) -> Row {
        let response = self.response..self.ids.len();
        Row { ids: self.ids.clone(), responses: vec![response] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_long_as_real_rows_or_as_asked() {
        let tiny = "../strait-model/tests/fixtures/tiny/llama/config.json";
        let config = Config::from_hf(tiny.as_ref()).unwrap();
        let lengths = |batch: &Batch| batch.rows.iter().map(|row| row.ids.len()).collect::<Vec<_>>();
        let batch = Batch::new(&config, Sizes::default());
        assert_eq!(lengths(&batch), [103, 107, 111, 117]);
        assert_eq!(batch, Batch::new(&config, Sizes::default()));
        let all = || batch.rows.iter().chain(&batch.kl_rows);
        assert!(all().all(|row| row.ids[..BEGINNING] == batch.prompt[..BEGINNING]));
        assert!(all().flat_map(|row| &row.ids).all(|&id| (id as usize) < config.vocab_size));
        assert_eq!(batch.rows[3].row().response_tokens(), 74);

        let long = Batch::new(&config, Sizes { row_tokens: 2048, ..Sizes::default() });
        assert!(lengths(&long).into_iter().all(|length| length <= config.context_length));
        let short = Batch::new(&config, Sizes { row_tokens: 8, ..Sizes::default() });
        assert!(lengths(&short).into_iter().all(|length| length <= 8));
    }
}
