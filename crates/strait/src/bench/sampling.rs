//! Sampling of answers.

use std::collections::BTreeMap;

use strait_model::{
    Model,
    sample::{self, sample},
};

use super::{Batch, Done, Pass, Step, Stopwatch};
use crate::Result;

/// Answers to one prompt.
pub struct Sampling {
    name: &'static str,
    about: &'static str,
    /// True if it is one answer, and not as many as the batch says.
    one: bool,
}

impl Sampling {
    pub const MANY: Self = Self { name: "sample", about: "answers to one question, at once", one: false };
    pub const ONE: Self = Self { name: "decode", about: "one answer", one: true };
}

impl Step for Sampling {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn run(&self, model: &Model, batch: &Batch, watch: &mut Stopwatch<'_>) -> Result<Done> {
        let count = if self.one { 1 } else { batch.answers };
        let settings = sample::Sampling { max_tokens: batch.answer_tokens, ..sample::Sampling::default() };
        let mut lengths = Vec::new();
        watch.repeat(|_| {
            let answers = sample(model, &batch.prompt, None, count, &settings, |_, _| true)?;
            lengths = answers.iter().map(|answer| answer.ids.len()).collect();
            Ok(())
        })?;
        Ok(Done { passes: passes(batch.prompt.len(), &lengths), drawn: Some(lengths.iter().sum()) })
    }
}

/// The passes that answers of these lengths take: the prompt once, then a token of each answer that goes on, whose last token
/// is not read any more.
fn passes(prompt: usize, lengths: &[usize]) -> Vec<Pass> {
    let pass = |tokens, predicting, times| Pass {
        from: 0,
        tokens,
        predicting,
        beside_base: false,
        trained: None,
        times,
    };
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut times = BTreeMap::new();
    for step in 1..longest {
        *times.entry(lengths.iter().filter(|length| **length > step).count()).or_default() += 1;
    }
    let decoding = times.into_iter().rev().map(|(running, times)| pass(running, running, times));
    std::iter::once(pass(prompt, 1, 1)).chain(decoding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_last_token_is_not_read() {
        let found: Vec<_> = passes(9, &[4, 2, 4]).iter().map(|p| (p.tokens, p.predicting, p.times)).collect();
        assert_eq!(found, [(9, 1, 1), (3, 3, 1), (2, 2, 2)]);
        assert_eq!(passes(9, &[1]).len(), 1);
    }
}
