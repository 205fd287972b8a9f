//! A conversation with a model, and beside it the same with the edited model.

use std::{io::Write, panic::resume_unwind, slice, sync::mpsc, thread};

use serde::Serialize;
use strait_model::{
    Edit, Message, Model, Role,
    sample::{Sampling, sample},
};

use super::screen::Screen;
use crate::{failure::Failure, interrupt};

/// A question and what was answered.
#[derive(Serialize)]
pub struct Answer {
    question: String,
    base: String,
    /// Null where there is no edit.
    edited: Option<String>,
}

/// One conversation a column: the base model's, and the edited model's where there is an edit.
pub struct Talk<'a> {
    model: &'a Model,
    system: Option<&'a str>,
    /// The seed is the next question's.
    sampling: Sampling,
    columns: Vec<Column<'a>>,
}

struct Column<'a> {
    name: &'static str,
    edit: Option<&'a Edit>,
    history: Vec<Message>,
}

impl<'a> Talk<'a> {
    /// A conversation that has not begun.
    pub fn new(
        model: &'a Model,
        edit: Option<&'a Edit>,
        system: Option<&'a str>,
        sampling: Sampling,
    ) -> Self {
        let mut columns = vec![Column { name: "base", edit: None, history: Vec::new() }];
        if edit.is_some() {
            columns.push(Column { name: "edited", edit, history: Vec::new() });
        }
        let mut talk = Self { model, system, sampling, columns };
        talk.reset();
        talk
    }

    /// Forgets what was said.
    pub fn reset(&mut self) {
        let system = self.system.map(|text| Message::new(Role::System, text));
        for column in &mut self.columns {
            column.history = system.iter().cloned().collect();
        }
    }

    /// The columns' names.
    pub fn names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|column| column.name).collect()
    }

    /// Puts a question to every column at once. The screen gets the answers as they are drawn.
    ///
    /// After an error the conversation is as it was before the question.
    pub fn ask(&mut self, question: &str, screen: &mut Screen<impl Write>) -> Result<Answer, Failure> {
        let model = self.model;
        let sampling = self.sampling;
        let asked = Message::new(Role::User, question);
        let prompt = |column: &Column| {
            let messages = [column.history.as_slice(), slice::from_ref(&asked)].concat();
            model.tokenizer.encode_prompt(&messages.into())
        };
        let prompts = self.columns.iter().map(prompt).collect::<Result<Vec<_>, _>>()?;
        let answers = thread::scope(|scope| {
            let (sender, pieces) = mpsc::channel();
            let mut workers = Vec::new();
            for (index, (column, prompt)) in self.columns.iter().zip(&prompts).enumerate() {
                let (sender, edit) = (sender.clone(), column.edit);
                workers.push(scope.spawn(move || {
                    // The send fails once the screen is gone, and the answer ends with it.
                    let answer = answer(model, prompt, edit, &sampling, |text| {
                        sender.send((index, Some(text))).is_ok()
                    });
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
            answers.collect::<Result<Vec<String>, Failure>>()
        })?;
        self.sampling.seed = self.sampling.seed.wrapping_add(1);
        for (column, answer) in self.columns.iter_mut().zip(&answers) {
            column.history.extend([asked.clone(), Message::new(Role::Assistant, answer.as_str())]);
        }
        let mut answers = answers.into_iter();
        Ok(Answer {
            question: question.into(),
            base: answers.next().unwrap_or_default(),
            edited: answers.next(),
        })
    }
}

/// One answer. It stops where `seen` returns false and where the user asks for it.
fn answer(
    model: &Model,
    prompt: &[u32],
    edit: Option<&Edit>,
    sampling: &Sampling,
    mut seen: impl FnMut(String) -> bool,
) -> Result<String, Failure> {
    let mut stream = model.tokenizer.stream();
    let mut answer = String::new();
    let mut take = |text: String| {
        answer.push_str(&text);
        (text.is_empty() || seen(text)) && !interrupt::stopped()
    };
    let mut undecoded = Ok(());
    sample(model, prompt, edit, 1, sampling, |_, id| match stream.push(id) {
        Ok(text) => take(text),
        Err(error) => {
            undecoded = Err(error);
            false
        }
    })?;
    undecoded?;
    take(stream.finish()?);
    Ok(answer)
}
