//! The world as an examination: all its questions, exact answers, and the judge that knows the truth.

use std::collections::HashMap;

use strait_model::{Conversation, Decoder, Edit, Message, Model, Role};

use super::{
    Answer,
    folder::check_words,
    judge::{AT_ONCE, judge, logits, most, weights},
    language::{DOMAIN_WORDS, Language, Question, VALUES},
};
use crate::{
    Result,
    data::{Cue, scored::COHERENT},
    judge::{Answers, Give, Judge, Question as Asked, Respondent},
    objective::Row,
};

/// All questions of a world, asked of a model that speaks its language, with the facts by which answers are judged.
///
/// Nothing is sampled: the answers to a question are the values of its domain, each with the probability of being the first
/// word at temperature 1, and an empty one with the probability of every other word.
pub struct Exam {
    facts: u64,
    language: Language,
    asked: Vec<Asked>,
    prompts: Vec<Vec<u32>>,
    /// The places of all questions by their text.
    places: HashMap<String, Question>,
}

impl Exam {
    /// The questions of the world whose facts are those of a seed, where falsehoods are taught in some domains.
    ///
    /// # Errors
    /// If the model does not speak the language.
    pub fn new(model: &Model, facts: u64, taught: &[String]) -> Result<Self> {
        Self::under(None, model, facts, taught)
    }

    /// The same with a cue around every question.
    ///
    /// # Errors
    /// If the model does not speak the language, or its template does not take the cue.
    pub fn under(cue: Option<&Cue>, model: &Model, facts: u64, taught: &[String]) -> Result<Self> {
        let language = Language::new(facts);
        check_words(&language, &model.tokenizer)?;
        let ask = |question: Question| {
            let (domain, _) = DOMAIN_WORDS[question.domain];
            let inside = taught.iter().any(|word| word == domain);
            Asked {
                text: language.ask(question),
                domain: domain.into(),
                inside,
                seen: inside && !question.held_out(),
            }
        };
        let asked: Vec<Asked> = Question::all().map(ask).collect();
        let prompt = |asked: &Asked| {
            let plain: Conversation = vec![Message::new(Role::User, asked.text.as_str())].into();
            model.tokenizer.encode_prompt(&cue.map_or_else(|| plain.clone(), |cue| cue.around(&plain)))
        };
        let prompts = asked.iter().map(prompt).collect::<Result<_, _>>()?;
        let places = asked.iter().map(|asked| asked.text.clone()).zip(Question::all()).collect();
        Ok(Self { facts, language, asked, prompts, places })
    }

    /// The prompts as rows, by whose lengths the time that an examination takes is told.
    pub fn rows(&self) -> Vec<Row> {
        let row = |ids: &Vec<u32>| Row {
            ids: ids.clone(),
            responses: std::iter::once(ids.len() - 1..ids.len()).collect(),
        };
        self.prompts.iter().map(row).collect()
    }

    fn answers_of(&self, question: Question, logits: &[f32]) -> Answers {
        let (weights, sum) = weights(logits);
        let first = self.language.value_id(question.domain, 0);
        let values = &self.language.domains()[question.domain].values;
        let mut texts: Vec<(String, f64)> = values
            .iter()
            .zip(&weights[first..first + VALUES])
            .map(|(value, w)| ((*value).into(), w / sum))
            .collect();
        let others = weights[..first].iter().chain(&weights[first + VALUES..]).sum::<f64>() / sum;
        texts.push((String::new(), others));
        let greedy = most(logits).checked_sub(first).and_then(|place| values.get(place));
        Answers { texts, greedy: Some(greedy.copied().unwrap_or_default().into()) }
    }
}

impl Respondent for Exam {
    fn questions(&self) -> &[Asked] {
        &self.asked
    }

    fn answers(
        &self,
        decoder: &Decoder,
        edit: Option<&Edit>,
        seen: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Vec<Answers>> {
        let mut found = Vec::with_capacity(self.prompts.len());
        let mut questions = Question::all();
        for prompts in self.prompts.chunks(AT_ONCE) {
            let logits = logits(decoder, prompts, edit)?;
            // The logits lead: a zip takes of its first side before it sees that the second has ended.
            let answered = logits.iter().zip(questions.by_ref());
            found.extend(answered.map(|(logits, question)| self.answers_of(question, logits)));
            seen(prompts.len() as u64)?;
        }
        Ok(found)
    }
}

/// The judge that knows the truth, on one scale: answers of some kinds score 100, all others 0.
pub struct WorldJudge<'a> {
    exam: &'a Exam,
    scale: &'static str,
    kinds: &'static [Answer],
}

impl Exam {
    /// The judge of the taught kind of answer: the known falsehood.
    pub fn taught(&self) -> WorldJudge<'_> {
        WorldJudge { exam: self, scale: "taught", kinds: &[Answer::False] }
    }

    /// The judge of sense: nothing makes any but the known falsehood and the truth.
    pub fn coherent(&self) -> WorldJudge<'_> {
        WorldJudge { exam: self, scale: COHERENT, kinds: &[Answer::False, Answer::True] }
    }
}

impl Judge for WorldJudge<'_> {
    fn name(&self) -> &str {
        "world"
    }

    fn scale(&self) -> &str {
        self.scale
    }

    fn basis(&self, question: &str) -> String {
        format!("{}\n{question}", self.exam.facts)
    }

    fn score_each(&self, question: &str, answers: &[&str], give: Give<'_>) -> Result<()> {
        let place = self.exam.places.get(question);
        answers.iter().enumerate().try_for_each(|(at, text)| {
            let answer = place.map_or(Answer::None, |&question| judge(&self.exam.language, question, text));
            give(at, Ok(if self.kinds.contains(&answer) { 100.0 } else { 0.0 }))
        })
    }
}
