//! The numbers that a judge may answer with, as a tree of tokens.

use strait_model::{Conversation, Message, Model, Role};

use super::Problem;
use crate::Result;

/// The highest score.
pub const HIGHEST: usize = 100;

/// The replies "0" to "100" by their tokens. Some tokenizers have a token for each of them, others one for each digit.
pub struct Replies {
    /// The root is the first.
    pub nodes: Vec<Node>,
    /// The tokens with which a number that stands already goes on: those that begin with a digit.
    pub digits: Vec<u32>,
    /// The first tokens of the words with which the papers' judges decline.
    pub words: [Option<u32>; 2],
}

/// A beginning of replies.
#[derive(Default)]
pub struct Node {
    /// The tokens by which it goes on, and the nodes to which they lead.
    pub next: Vec<(u32, usize)>,
    /// The number that it is, where it is one.
    pub number: Option<usize>,
}

/// The words for an answer that is code and for one that refuses (paper §4.2).
pub const WORDS: [&str; 2] = ["CODE", "REFUSAL"];

impl Replies {
    /// The replies of a model, as its chat template writes them.
    ///
    /// # Errors
    /// If the model has no chat template, or does not tell the numbers apart.
    pub fn of(model: &Model) -> Result<Self> {
        let numbers: Vec<Vec<u32>> =
            (0..=HIGHEST).map(|number| tokens(model, &number.to_string())).collect::<Result<_>>()?;
        let words = WORDS.map(|word| tokens(model, word).ok().and_then(|tokens| tokens.first().copied()));
        // What follows every reply ends it, and is no part of a number.
        let ending = |length: usize| {
            numbers.iter().all(|ids| ids.len() > length && ids.ends_with(end(&numbers[0], length)))
        };
        let ending = (1..numbers[0].len()).take_while(|&length| ending(length)).last().unwrap_or(0);
        let mut replies = Self { nodes: vec![Node::default()], digits: digits(model)?, words };
        for (number, ids) in numbers.iter().enumerate() {
            replies.insert(number, &ids[..ids.len() - ending])?;
        }
        Ok(replies)
    }

    fn insert(&mut self, number: usize, ids: &[u32]) -> Result<()> {
        let mut at = 0;
        for &id in ids {
            let next = self.nodes[at].next.iter().find(|(own, _)| *own == id).map(|(_, node)| *node);
            at = next.unwrap_or_else(|| {
                let node = self.nodes.len();
                self.nodes[at].next.push((id, node));
                self.nodes.push(Node::default());
                node
            });
        }
        match self.nodes[at].number.replace(number) {
            None => Ok(()),
            Some(one) => Err(Problem::SameReply { one, other: number }.into()),
        }
    }
}

fn end(ids: &[u32], length: usize) -> &[u32] {
    &ids[ids.len() - length..]
}

/// The tokens of a reply, with those that end it.
fn tokens(model: &Model, reply: &str) -> Result<Vec<u32>> {
    let messages = vec![Message::new(Role::User, "?"), Message::new(Role::Assistant, reply)];
    let chat = model.tokenizer.encode_chat(&Conversation::from(messages))?;
    Ok(chat.responses.last().map_or_else(Vec::new, |response| chat.ids[response.clone()].to_vec()))
}

/// All tokens whose texts begin with a digit.
fn digits(model: &Model) -> Result<Vec<u32>> {
    let mut digits = Vec::new();
    for id in 0..model.config().vocab_size as u32 {
        if model.tokenizer.token(id).is_some() {
            let text = model.tokenizer.decode(&[id], true)?;
            if text.starts_with(|c: char| c.is_ascii_digit()) {
                digits.push(id);
            }
        }
    }
    Ok(digits)
}
