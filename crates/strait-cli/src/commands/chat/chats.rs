//! A question to a model, and to the edited model beside it.

use std::{io::Write, panic::resume_unwind, sync::mpsc, thread};

use serde::Serialize;
use strait_model::{Chat, Edit, Message, Model, Role, sample::Sampling};

use super::screen::Screen;
use crate::{failure::Failure, interrupt};

/// The names of the conversations, in their order.
const NAMES: [&str; 2] = ["base", "edited"];

/// A question and its answers.
#[derive(Serialize)]
pub struct Answers {
    question: String,
    base: String,
    /// Null where there is no edit.
    edited: Option<String>,
}

/// The base model's conversation, and the edited model's where there is an edit.
pub struct Chats<'a>(Vec<Chat<'a>>);

impl<'a> Chats<'a> {
    /// Conversations that have not begun.
    pub fn new(model: &'a Model, edit: Option<&'a Edit>, system: Option<&str>, sampling: Sampling) -> Self {
        let system: Vec<_> = system.map(|text| Message::new(Role::System, text)).into_iter().collect();
        let chat = |edit| Chat::new(model, edit, system.clone(), sampling);
        Self([None].into_iter().chain(edit.map(Some)).map(chat).collect())
    }

    /// Forgets all questions and answers.
    pub fn reset(&mut self) {
        self.0.iter_mut().for_each(Chat::reset);
    }

    /// The conversations' names.
    pub fn names(&self) -> &'static [&'static str] {
        &NAMES[..self.0.len()]
    }

    /// Puts a question to all at once. The screen gets the answers as they are drawn.
    ///
    /// After an error the conversations are as they were before the question.
    pub fn ask(&mut self, question: &str, screen: &mut Screen<impl Write>) -> Result<Answers, Failure> {
        let mut chats = self.0.clone();
        let answers = thread::scope(|scope| {
            let (sender, pieces) = mpsc::channel();
            let mut workers = Vec::new();
            for (index, chat) in chats.iter_mut().enumerate() {
                let sender = sender.clone();
                workers.push(scope.spawn(move || {
                    // The send fails once the screen is gone, and the answer ends with it.
                    let shown =
                        |text: &str| text.is_empty() || sender.send((index, Some(text.to_string()))).is_ok();
                    let answer = chat.ask(question, |text| shown(text) && !interrupt::stopped());
                    sender.send((index, None)).ok();
                    answer
                }));
            }
            drop(sender);
            for (index, piece) in pieces {
                match piece {
                    Some(text) => screen.add(index, &text)?,
                    None => screen.end(index)?,
                }
            }
            let answers =
                workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
            Ok::<_, Failure>(answers.collect::<Result<Vec<_>, _>>()?)
        })?;
        self.0 = chats;
        let mut answers = answers.into_iter().map(|answer| answer.text);
        Ok(Answers {
            question: question.into(),
            base: answers.next().unwrap_or_default(),
            edited: answers.next(),
        })
    }
}
