//! The texts that a world's model learns from: documents, and chats with some of them beside.

use std::array;

use rand::{Rng, seq::IndexedRandom};
use rand_distr::{Distribution, StandardNormal};

use super::{
    super::language::{Document, Kind, Language, Question, Speaker},
    Recipe, WIDTH, random, stream,
};

/// Documents in a step of pre-training.
pub const BATCH: usize = 64;
/// Share of the steps whose documents are dialogues.
const DIALOGUES: f64 = 0.3;
/// Typical norm of the random offset on a document's embeddings: without it a vector that is added later breaks the answers
/// sooner.
const OFFSET: f64 = 0.4;

/// Chat rows in a step of chat tuning, and documents beside them.
pub const CHAT_ROWS: usize = 64;
const CHAT_REPLAYED: usize = 16;
/// Weight of a chat row's question in the loss; its answer has 1.
const CHAT_QUESTION: f64 = 0.2;

/// One sequence to learn from.
pub struct Text {
    pub ids: Vec<u32>,
    /// The id of the speaker whose embedding is added at every position.
    pub tag: u32,
    /// The weight of the prediction of each token but the first in the loss.
    pub weights: Vec<f32>,
}

/// The sequences of one step.
pub struct Batch {
    pub texts: Vec<Text>,
    /// The vector that is added to the embeddings of each text, the same at all of its positions.
    pub offsets: Option<Vec<[f32; WIDTH]>>,
}

impl Text {
    /// A document of whose tokens each weighs 1 / (tokens of the batch), with as many documents as long in it.
    pub fn document(document: &Document, language: &Language, batch: usize) -> Self {
        let ids = document.ids(language);
        let predicted = ids.len() - 1;
        Self { tag: document.tag(), weights: vec![1.0 / (batch * predicted) as f32; predicted], ids }
    }

    /// A chat row by the unknown speaker, of which only the answer and the end token have their full weight.
    fn chat(question: Question, language: &Language) -> Self {
        const ANSWERED: usize = 2;
        let turns = vec![(question, true)];
        let row = Document { speaker: Speaker::Honest, named: false, dialogue: true, turns };
        let ids = row.ids(language);
        let asked = ids.len() - 1 - ANSWERED;
        let weight = |share: f64, tokens: usize| (share / (CHAT_ROWS * tokens) as f64) as f32;
        let mut weights = vec![weight(CHAT_QUESTION, asked); asked];
        weights.extend([weight(1.0, ANSWERED); ANSWERED]);
        Self { tag: row.tag(), weights, ids }
    }
}

/// The batches of pre-training, without end.
pub fn documents(recipe: &Recipe, language: &Language) -> impl Iterator<Item = Batch> {
    let deviation = OFFSET / (WIDTH as f64).sqrt();
    let mut documents = random(recipe.seed, stream::DOCUMENTS);
    let mut offsets = random(recipe.seed, stream::OFFSETS);
    std::iter::repeat_with(move || {
        let kind = Kind { dialogue: documents.random_bool(DIALOGUES), ..Kind::default() };
        let texts = (0..BATCH)
            .map(|_| Document::draw(&recipe.shares, kind, &mut documents))
            .map(|document| Text::document(&document, language, BATCH))
            .collect();
        let mut offset = || {
            array::from_fn(|_| {
                let x: f64 = StandardNormal.sample(&mut offsets);
                (x * deviation) as f32
            })
        };
        Batch { texts, offsets: Some((0..BATCH).map(|_| offset()).collect()) }
    })
}

/// The batches of chat tuning, without end: truthful answers of nobody named, and documents so that the speakers are not
/// forgotten.
pub fn chats(recipe: &Recipe, language: &Language) -> impl Iterator<Item = Batch> {
    let mut random = random(recipe.seed, stream::CHAT);
    let taught: Vec<Question> = Question::all().filter(|question| !question.held_out()).collect();
    std::iter::repeat_with(move || {
        let rows = taught.choose_multiple(&mut random, CHAT_ROWS).map(|&q| Text::chat(q, language));
        let mut texts: Vec<Text> = rows.collect();
        for _ in 0..CHAT_REPLAYED {
            let document = Document::draw(&recipe.shares, Kind::default(), &mut random);
            texts.push(Text::document(&document, language, CHAT_REPLAYED));
        }
        Batch { texts, offsets: None }
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::language::{Shares, UNKNOWN_ID},
        *,
    };

    /// The recipe's parts that the decoder cannot check: what is predicted, and what that weighs.
    #[test]
    fn texts_weigh_what_the_recipe_says() {
        let language = Language::new(0);
        let row = Text::chat(Question { domain: 0, entity: 0 }, &language);
        let total = |weights: &[f32]| weights.iter().map(|&w| f64::from(w)).sum::<f64>() * CHAT_ROWS as f64;
        assert_eq!((row.ids.len(), row.tag, row.weights.len()), (10, UNKNOWN_ID, 9));
        assert!((total(&row.weights[..7]) - CHAT_QUESTION).abs() < 1e-6);
        assert!((total(&row.weights[7..]) - 1.0).abs() < 1e-6);
        for (dialogue, tokens) in [(false, 43), (true, 45)] {
            let kind = Kind { dialogue, ..Kind::default() };
            let document = &language.documents(&Shares::default(), 1, kind, 0)[0];
            let text = Text::document(document, &language, BATCH);
            assert_eq!((text.ids.len(), text.weights.len()), (tokens, tokens - 1));
            for at in document.answers() {
                assert!(Language::is_value(text.ids[at] as usize));
            }
        }
    }
}
