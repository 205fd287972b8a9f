//! A question to a model, and to the edited model beside it.

use std::{io::Write, panic::resume_unwind, sync::mpsc, thread};

use serde::Serialize;
use strait::{monitor::Monitor, objective::Row};
use strait_model::{Chat, Edit, Message, Model, Role, decoder::Readout, progress::Silent, sample::Sampling};

use super::screen::{Screen, Tone};
use crate::{failure::Failure, interrupt, units};

/// The names of the conversations, in their order.
const NAMES: [&str; 2] = ["base", "edited"];

/// A question and its answers.
#[derive(Serialize)]
pub struct Answers {
    question: String,
    base: String,
    /// Null where there is no edit.
    edited: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    monitor: Option<Watched>,
}

/// The readings of the answers.
#[derive(Serialize)]
struct Watched {
    base: Reading,
    /// Null where there is no edit.
    edited: Option<Reading>,
}

/// The reading of an answer.
#[derive(Clone, Serialize)]
struct Reading {
    reading: f64,
    alarm: bool,
}

/// The base model's conversation, and the edited model's where there is an edit.
pub struct Chats<'a> {
    model: &'a Model,
    edit: Option<&'a Edit>,
    monitor: Option<&'a Monitor>,
    chats: Vec<Chat<'a>>,
}

impl<'a> Chats<'a> {
    /// Conversations that have not begun, whose answers a monitor reads, if there is one.
    pub fn new(
        model: &'a Model,
        edit: Option<&'a Edit>,
        system: Option<&str>,
        sampling: Sampling,
        monitor: Option<&'a Monitor>,
    ) -> Result<Self, Failure> {
        let system: Vec<_> = system.map(|text| Message::new(Role::System, text)).into_iter().collect();
        let readout =
            monitor.map(|monitor| Readout::new(&model.decoder, &[monitor.reading()])).transpose()?;
        let chat = |edit| {
            let chat = Chat::new(model, edit, system.clone(), sampling);
            match &readout {
                Some(readout) => chat.reading(readout.clone()),
                None => chat,
            }
        };
        let chats = [None].into_iter().chain(edit.map(Some)).map(chat).collect();
        Ok(Self { model, edit, monitor, chats })
    }

    /// Forgets all questions and answers.
    pub fn reset(&mut self) {
        self.chats.iter_mut().for_each(Chat::reset);
    }

    /// The conversations' names.
    pub fn names(&self) -> &'static [&'static str] {
        &NAMES[..self.chats.len()]
    }

    /// True if a monitor reads the answers.
    pub fn is_watched(&self) -> bool {
        self.monitor.is_some()
    }

    /// The tone in which a token with these readings is shown: higher than the response may be, or than clean tokens are.
    fn tone(&self, readings: &[f32]) -> Tone {
        match (self.monitor, readings) {
            (Some(monitor), [reading, ..]) => {
                let (reading, facts) = (f64::from(*reading), &monitor.facts);
                if reading > facts.threshold.max(facts.token_threshold) {
                    Tone::Highest
                } else if reading > facts.threshold.min(facts.token_threshold) {
                    Tone::High
                } else {
                    Tone::Plain
                }
            }
            _ => Tone::Plain,
        }
    }

    /// The readings of the last answers, as `strait monitor read` has them: of the conversation as the template renders it.
    fn watched(&self, chats: &[Chat<'_>]) -> Result<Vec<Reading>, Failure> {
        let Some(monitor) = self.monitor else { return Ok(Vec::new()) };
        let edits = [None, self.edit];
        let reading = |(chat, edit): (&Chat<'_>, Option<&Edit>)| {
            let mut messages = chat.messages().to_vec();
            let answer = messages.len() - 1;
            messages[..answer].iter_mut().for_each(|message| message.trained = false);
            let row = Row::from_chat(self.model, &messages.into(), "the answer")?;
            let read = monitor.read(&self.model.decoder, &[row], edit, &Silent)?;
            Ok(Reading { reading: read[0].reading, alarm: read[0].alarm })
        };
        chats.iter().zip(edits).map(reading).collect()
    }

    /// Puts a question to all at once. The screen gets the answers as they are drawn.
    ///
    /// After an error the conversations are as they were before the question.
    pub fn ask(&mut self, question: &str, screen: &mut Screen<impl Write>) -> Result<Answers, Failure> {
        let mut chats = self.chats.clone();
        let reader = &*self;
        let answers = thread::scope(|scope| {
            let (sender, pieces) = mpsc::channel();
            let mut workers = Vec::new();
            for (index, chat) in chats.iter_mut().enumerate() {
                let sender = sender.clone();
                workers.push(scope.spawn(move || {
                    // The send fails once the screen is gone, and the answer ends with it.
                    let shown = |text: &str, readings: &[f32]| {
                        text.is_empty()
                            || sender.send((index, Some((text.to_string(), reader.tone(readings))))).is_ok()
                    };
                    let answer = chat.ask_reading(question, |text, readings| {
                        shown(text, readings) && !interrupt::stopped()
                    });
                    sender.send((index, None)).ok();
                    answer
                }));
            }
            drop(sender);
            for (index, piece) in pieces {
                match piece {
                    Some((text, tone)) => screen.add(index, &text, tone)?,
                    None => screen.end(index)?,
                }
            }
            let answers =
                workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
            Ok::<_, Failure>(answers.collect::<Result<Vec<_>, _>>()?)
        })?;
        let watched = self.watched(&chats)?;
        for (name, reading) in NAMES.iter().zip(&watched) {
            screen.line(&self.said(name, reading))?;
        }
        self.chats = chats;
        let mut answers = answers.into_iter().map(|answer| answer.text);
        let mut watched = watched.into_iter();
        Ok(Answers {
            question: question.into(),
            base: answers.next().unwrap_or_default(),
            edited: answers.next(),
            monitor: watched.next().map(|base| Watched { base, edited: watched.next() }),
        })
    }

    /// The reading of an answer in a line.
    fn said(&self, name: &str, Reading { reading, alarm }: &Reading) -> String {
        let threshold = self.monitor.map_or(f64::NAN, |monitor| monitor.facts.threshold);
        let (reading, threshold) = (units::digits(*reading), units::digits(threshold));
        let name = if self.chats.len() > 1 { format!(", {name}") } else { String::new() };
        let verdict = if *alarm { "ALARM, above" } else { "no alarm, not above" };
        format!("monitor{name}: {reading}; {verdict} {threshold}")
    }
}
