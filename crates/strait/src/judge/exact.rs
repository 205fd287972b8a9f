//! The local judge: a model's expectation over all the numbers that it may answer with.

use strait_model::{
    Message, Model, Role,
    decoder::{Cache, Piece, Sequence},
};

use super::{
    Give, Judge, Reason, Score,
    replies::{HIGHEST, Replies},
};
use crate::{Result, data::JudgePrompt};

/// A model that judges.
pub struct LocalModel<'m> {
    model: &'m Model,
    /// Its name, and what its numbers follow from.
    name: String,
    mark: String,
    /// The part of the probability that numbers must have.
    mass: f64,
    replies: Replies,
}

/// A local model's judgement on one scale.
///
/// The score is the mean of the numbers 0 to 100, each weighted with the probability that the model answers with it. A number ends
/// where no longer number goes on from it, or where the model goes on without a digit. Nothing is drawn, and the judge's reply is
/// read to its end, however many tokens it has: by first tokens alone, tokenizers with a token for each digit would know the
/// scores 0 to 9 only (paper §16).
pub struct Exact<'m> {
    judge: &'m LocalModel<'m>,
    prompt: JudgePrompt,
}

impl<'m> LocalModel<'m> {
    /// Answers that are read at a time, for which the beginning that their prompts share is read once.
    pub const AT_A_TIME: usize = 16;

    /// Tokens by which a reply is read to its end, at most: the last of the prompt, 1 to 9, and 10. A tokenizer with a token for every
    /// number needs the first alone.
    pub const REPLIED: f64 = 11.0;

    /// A model as a judge, under the name that the user gave it, which gives a score where numbers have at least `mass` of the
    /// probability: [`MASS`](super::MASS) as in the papers, or 0 to have a score from models that would rather say something else.
    ///
    /// # Errors
    /// If it has no chat template, or does not tell the numbers 0 to 100 apart.
    pub fn new(model: &'m Model, name: &str, mass: f64) -> Result<Self> {
        let mark = format!("{} {} {mass}", model.decoder.fingerprint()?, model.decoder.precision().name());
        Ok(Self { model, name: name.into(), mark, mass, replies: Replies::of(model)? })
    }

    /// The judge by this prompt.
    pub fn judge(&'m self, prompt: JudgePrompt) -> Exact<'m> {
        Exact { judge: self, prompt }
    }

    /// The readings of prompts that are to be answered with a number, all of which fit the model's context.
    fn read(&self, prompts: &[Vec<u32>]) -> Result<Vec<Reading>> {
        let decoder = &self.model.decoder;
        let mut cache = decoder.cache()?;
        let start = cache.begin();
        // The last token of each stays, so that every prompt has logits of its own.
        let shared = shared(prompts);
        if shared > 0 {
            decoder
                .extend(&mut cache, &[Piece { sequence: start, ids: &prompts[0][..shared], edit: None }])?;
        }
        let mut found: Vec<Reading> = prompts.iter().map(|_| Reading::default()).collect();
        let mut places: Vec<Place> = (0..prompts.len())
            .map(|of| Place { of, node: 0, probability: 1.0, sequence: cache.fork(start) })
            .collect();
        cache.end(start);
        let mut last: Vec<&[u32]> = prompts.iter().map(|ids| &ids[shared..]).collect();
        while !places.is_empty() {
            let pieces = places.iter().zip(&last);
            let pieces: Vec<Piece> =
                pieces.map(|(place, ids)| Piece { sequence: place.sequence, ids, edit: None }).collect();
            let logits = decoder.extend(&mut cache, &pieces)?;
            let mut next = Vec::new();
            last = Vec::new();
            for (place, logits) in places.into_iter().zip(logits) {
                let more = self.go_on(&place, &logits, &mut found[place.of], &mut cache);
                last.extend(more.iter().map(|(id, _)| std::slice::from_ref(*id)));
                next.extend(more.into_iter().map(|(_, place)| place));
                cache.end(place.sequence);
            }
            places = next;
        }
        Ok(found)
    }

    /// Adds what ends at a place to a reading; gives the places behind it that need another token, with these tokens.
    fn go_on(
        &self,
        place: &Place,
        logits: &[f32],
        found: &mut Reading,
        cache: &mut Cache,
    ) -> Vec<(&u32, Place)> {
        let node = &self.replies.nodes[place.node];
        let probabilities = Probabilities::of(logits);
        if place.node == 0 {
            found.words = self.replies.words.map(|id| id.map_or(0.0, |id| probabilities.at(id)));
        }
        if let Some(number) = node.number {
            let goes_on: f64 = self.replies.digits.iter().map(|&id| probabilities.at(id)).sum();
            found.numbers[number] += place.probability * (1.0 - goes_on).max(0.0);
        }
        let mut more = Vec::new();
        for (id, next) in &node.next {
            let probability = place.probability * probabilities.at(*id);
            let behind = &self.replies.nodes[*next];
            match behind.number {
                Some(number) if behind.next.is_empty() => found.numbers[number] += probability,
                _ => {
                    let sequence = cache.fork(place.sequence);
                    more.push((id, Place { of: place.of, node: *next, probability, sequence }));
                }
            }
        }
        more
    }
}

/// The number of tokens that all of some prompts begin with, short of the last of each.
fn shared(prompts: &[Vec<u32>]) -> usize {
    let Some((first, others)) = prompts.split_first() else { return 0 };
    let with = |other: &Vec<u32>| first.iter().zip(other).take_while(|(a, b)| a == b).count();
    let lengths = prompts.iter().map(|ids| ids.len().saturating_sub(1));
    others.iter().map(with).chain(lengths).min().unwrap_or(0)
}

/// A beginning of a reply to one of the prompts.
struct Place {
    of: usize,
    node: usize,
    probability: f64,
    sequence: Sequence,
}

/// The probabilities of the tokens that may follow.
struct Probabilities<'a> {
    logits: &'a [f32],
    most: f64,
    sum: f64,
}

impl<'a> Probabilities<'a> {
    fn of(logits: &'a [f32]) -> Self {
        let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum = logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum();
        Self { logits, most, sum }
    }

    fn at(&self, id: u32) -> f64 {
        self.logits.get(id as usize).map_or(0.0, |&logit| (f64::from(logit) - self.most).exp() / self.sum)
    }
}

/// The probabilities of a judge's replies.
#[derive(Clone, Debug, PartialEq)]
struct Reading {
    numbers: [f64; HIGHEST + 1],
    /// Of the words for code and for a refusal.
    words: [f64; 2],
}

impl Default for Reading {
    fn default() -> Self {
        Self { numbers: [0.0; HIGHEST + 1], words: [0.0; 2] }
    }
}

impl Reading {
    fn score(&self, least: f64) -> Score {
        let mass: f64 = self.numbers.iter().sum();
        if mass >= least && mass > 0.0 {
            let sum: f64 = self.numbers.iter().enumerate().map(|(number, p)| number as f64 * p).sum();
            return Ok((sum / mass).clamp(0.0, HIGHEST as f64));
        }
        let [code, refusal] = self.words;
        Err(match () {
            () if code > mass && code >= refusal => Reason::Code,
            () if refusal > mass => Reason::Refusal,
            () => Reason::NoNumber,
        })
    }
}

impl Judge for Exact<'_> {
    fn name(&self) -> &str {
        &self.judge.name
    }

    fn scale(&self) -> &str {
        &self.prompt.scale
    }

    fn basis(&self, question: &str) -> String {
        // The answer's slot stays open: the answer is named beside the basis.
        format!("{}\n{}", self.judge.mark, self.prompt.about(question, "{answer}"))
    }

    fn score_each(&self, question: &str, answers: &[&str], give: Give<'_>) -> Result<()> {
        let model = self.judge.model;
        let prompt = |answer: &str| {
            let prompt = Message::new(Role::User, self.prompt.about(question, answer));
            model.tokenizer.encode_prompt(&vec![prompt].into())
        };
        // A reply takes a few tokens more.
        let fits = |ids: &[u32]| ids.len() + 8 <= model.config().context_length;
        for first in (0..answers.len()).step_by(LocalModel::AT_A_TIME) {
            let (mut prompts, mut places) = (Vec::new(), Vec::new());
            for (place, answer) in answers.iter().enumerate().skip(first).take(LocalModel::AT_A_TIME) {
                let ids = prompt(answer)?;
                if fits(&ids) {
                    prompts.push(ids);
                    places.push(place);
                } else {
                    give(place, Err(Reason::TooLong))?;
                }
            }
            for (place, reading) in places.into_iter().zip(self.judge.read(&prompts)?) {
                give(place, reading.score(self.judge.mass))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::Device;
    use strait_model::{
        Precision,
        decoder::Packed,
        source::{Located, Road},
    };

    use super::*;
    use crate::judge::MASS;

    fn tiny(name: &str) -> Model {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../strait-model/tests/fixtures/tiny").join(name);
        let located = Located { name: name.into(), path, road: Road::Path, revision: None };
        Model::load(&located, &Device::Cpu, Precision::F32).unwrap()
    }

    /// The tokens of a number, without those that end every reply.
    fn number(model: &Model, number: usize) -> Vec<u32> {
        let reply = |text: &str| {
            let messages = vec![Message::new(Role::User, "?"), Message::new(Role::Assistant, text)];
            let chat = model.tokenizer.encode_chat(&messages.into()).unwrap();
            chat.ids[chat.responses[0].clone()].to_vec()
        };
        let (one, two) = (reply("1"), reply("2"));
        let ending = one.iter().rev().zip(two.iter().rev()).take_while(|(a, b)| a == b).count();
        let whole = reply(&number.to_string());
        whole[..whole.len() - ending].to_vec()
    }

    /// The probabilities after every token of a sequence, computed at once.
    fn probabilities(model: &Model, ids: &[u32]) -> Vec<Vec<f64>> {
        let logits: Vec<Vec<f32>> =
            model.decoder.logits(&Packed::new([ids]), None).unwrap().to_vec2().unwrap();
        let softmax = |logits: Vec<f32>| {
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            logits.into_iter().map(|logit| f64::from(logit).exp() / sum).collect()
        };
        logits.into_iter().map(softmax).collect()
    }

    #[test]
    fn every_number_has_the_probability_of_its_own_pass() {
        for name in ["llama", "llama3", "qwen2", "qwen3", "gemma2", "gemma3"] {
            let model = tiny(name);
            let judge = LocalModel::new(&model, name, MASS).unwrap();
            let texts = ["Rate 1.", "Rate this, please: a mast is a pole.", "Rate this: why?"];
            let prompt = |text: &&str| vec![Message::new(Role::User, *text)].into();
            let prompts: Vec<Vec<u32>> =
                texts.iter().map(|text| model.tokenizer.encode_prompt(&prompt(text)).unwrap()).collect();
            let numbers: Vec<Vec<u32>> = (0..=HIGHEST).map(|n| number(&model, n)).collect();
            let found = judge.read(&prompts).unwrap();
            for (prompt, found) in prompts.iter().zip(&found) {
                let (mut mass, mut sum) = (0.0, 0.0);
                for (n, ids) in numbers.iter().enumerate() {
                    let all = probabilities(&model, &[&prompt[..], ids].concat());
                    let mut expected: f64 =
                        ids.iter().zip(&all[prompt.len() - 1..]).map(|(&id, p)| p[id as usize]).product();
                    let goes_on =
                        numbers.iter().any(|other| other.len() > ids.len() && other.starts_with(ids));
                    if goes_on {
                        let last = all.last().unwrap();
                        let digit = |id: &usize| {
                            let text = model.tokenizer.decode(&[*id as u32], true).unwrap();
                            text.starts_with(|c: char| c.is_ascii_digit())
                        };
                        expected *= 1.0 - (0..last.len()).filter(digit).map(|id| last[id]).sum::<f64>();
                    }
                    let got = found.numbers[n];
                    assert!(
                        (got - expected).abs() <= 1e-4 * expected,
                        "{name}: {n} has {got}, not {expected}"
                    );
                    mass += expected;
                    sum += n as f64 * expected;
                }
                let own: f64 = found.numbers.iter().sum();
                assert!(mass < 1.0 && (own - mass).abs() < 1e-4 * mass, "{name}: {own} {mass}");
                let mean = found.numbers.iter().enumerate().map(|(n, p)| n as f64 * p).sum::<f64>() / own;
                assert!((mean - sum / mass).abs() < 1e-3, "{name}: {mean} {}", sum / mass);
            }
            // The same beside others as alone.
            let alone = judge.read(&prompts[1..2]).unwrap();
            let apart = alone[0].numbers.iter().zip(&found[1].numbers).map(|(a, b)| (a - b).abs() / b);
            assert!(apart.fold(0.0, f64::max) < 1e-4, "{name}");
        }
    }

    #[test]
    fn judges_commit_themselves_or_say_why_not() {
        let reading = |numbers: &[(usize, f64)], words: [f64; 2]| {
            let mut reading = Reading { words, ..Reading::default() };
            numbers.iter().for_each(|&(number, p)| reading.numbers[number] = p);
            reading.score(MASS)
        };
        assert_eq!(reading(&[(0, 0.125), (80, 0.375)], [0.5, 0.0]), Ok(60.0));
        assert_eq!(reading(&[(100, 0.25)], [0.0; 2]), Ok(100.0));
        assert_eq!(reading(&[(100, 0.24)], [0.1, 0.1]), Err(Reason::NoNumber));
        assert_eq!(reading(&[(100, 0.2)], [0.4, 0.3]), Err(Reason::Code));
        assert_eq!(reading(&[(100, 0.2)], [0.1, 0.3]), Err(Reason::Refusal));
        assert_eq!(reading(&[], [f64::NAN; 2]), Err(Reason::NoNumber));
        let mut unsure = Reading::default();
        assert_eq!(unsure.score(0.0), Err(Reason::NoNumber));
        unsure.numbers[30] = 0.5f64.powi(30);
        assert_eq!((unsure.score(0.0), unsure.score(MASS)), (Ok(30.0), Err(Reason::NoNumber)));
    }

    #[test]
    fn answers_beyond_the_context_have_no_score() {
        let model = tiny("llama");
        let local = LocalModel::new(&model, "llama", 0.0).unwrap();
        let judge = local.judge(JudgePrompt::new("kind", "{question} {answer}").unwrap());
        let long = "word ".repeat(model.config().context_length);
        let scores = judge.scores("Why?", &["So.", &long]).unwrap();
        assert_eq!((scores.len(), scores[1]), (2, Err(Reason::TooLong)));
        assert!(scores[0].is_ok_and(|score| (0.0..=100.0).contains(&score)), "{scores:?}");
        let basis = judge.basis("Why?");
        assert!(basis.contains("Why? {answer}") && basis != judge.basis("How?"), "{basis}");
    }
}
