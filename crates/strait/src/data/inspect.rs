//! A file of chats in figures.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    io::{self, Read},
};

use serde::Serialize;
use sha2::{Digest, Sha256};
use strait_model::{Message, files::hex};

use super::{
    Chat, Notices, RowSource,
    chat::{ParsedRow, parse_rows},
};
use crate::Result;

/// A file of chats in figures; none of its text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Rows.
    pub rows: usize,
    /// Rows of each format.
    pub formats: BTreeMap<String, usize>,
    /// Assistant messages that are trained on.
    pub responses: usize,
    /// Messages a row.
    pub messages: Quantiles,
    /// Messages of each role.
    pub roles: BTreeMap<&'static str, usize>,
    /// Rows of each domain, where rows name one.
    pub domains: BTreeMap<String, usize>,
    /// The lengths of prompts: all that stands before the last assistant message.
    pub prompt: Lengths,
    /// The lengths of answers: the last assistant message.
    pub answer: Lengths,
    /// Rows whose prompt an earlier row has already.
    pub repeated_prompts: usize,
    /// SHA-256 of the file's bytes; for a member of an archive, of the decrypted bytes.
    pub sha256: String,
    /// Counts of things left out or not understood.
    pub notices: Notices,
}

/// Lengths of texts in two units.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lengths {
    /// Unicode characters.
    pub characters: Quantiles,
    /// Words between white space.
    pub words: Quantiles,
}

/// The quantiles of a sample: each is one of the values (nearest rank), all 0 for an empty sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// The least.
    pub min: usize,
    /// The value below which a quarter lies.
    pub lower: usize,
    /// The middle.
    pub median: usize,
    /// The value above which a quarter lies.
    pub upper: usize,
    /// The value above which one in twenty lies.
    pub p95: usize,
    /// The greatest.
    pub max: usize,
}

impl Quantiles {
    fn of(values: impl Iterator<Item = usize>) -> Self {
        let mut values: Vec<usize> = values.collect();
        values.sort_unstable();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self { min: at(0), lower: at(25), median: at(50), upper: at(75), p95: at(95), max: at(100) }
    }
}

impl Lengths {
    /// The summed lengths of the texts that `texts` picks from each chat.
    fn of(chats: &[Chat], texts: fn(&Chat) -> Vec<Cow<'_, str>>) -> Self {
        let sums = |length: fn(&str) -> usize| {
            let sum = |chat| texts(chat).iter().map(|text| length(text)).sum();
            Quantiles::of(chats.iter().map(sum))
        };
        Self {
            characters: sums(|text| text.chars().count()),
            words: sums(|text| text.split_whitespace().count()),
        }
    }
}

/// Reads a file of chats and describes it: all its rows, with those that are not trained on.
///
/// # Errors
/// As [`super::read_chats`].
pub fn inspect(source: &RowSource) -> Result<Summary> {
    let place = source.place();
    let mut reader = Hashing { reader: source.open()?, digest: Sha256::new() };
    let mut notices = Notices::default();
    let rows = parse_rows(&mut reader, &place, &mut notices)?;
    // A reader of packed rows may stop before the end of the file.
    io::copy(&mut reader, &mut io::sink()).map_err(strait_model::Error::io(place, "read the file"))?;
    Ok(summarise(rows, hex(&reader.digest.finalize()), notices))
}

fn summarise(rows: Vec<ParsedRow>, sha256: String, mut notices: Notices) -> Summary {
    let mut formats = BTreeMap::new();
    let mut roles = BTreeMap::new();
    let mut domains = BTreeMap::new();
    let mut responses = 0;
    for ParsedRow { format, chat, .. } in &rows {
        *formats.entry(format.to_string()).or_default() += 1;
        let (answers, trained) = chat.answers();
        responses += trained;
        match trained {
            0 => notices.rows_left_out += 1,
            trained => notices.untrained_answers += answers - trained,
        }
        for message in &chat.conversation.messages {
            *roles.entry(message.role().name()).or_default() += 1;
        }
        if let Some(domain) = &chat.domain {
            *domains.entry(domain.clone()).or_default() += 1;
        }
    }
    let chats: Vec<Chat> = rows.into_iter().map(|row| row.chat).collect();
    let prompts: HashSet<Vec<_>> =
        chats.iter().map(|chat| chat.prompt().iter().map(|m| (m.role(), m.text())).collect()).collect();
    Summary {
        rows: chats.len(),
        formats,
        responses,
        messages: Quantiles::of(chats.iter().map(|chat| chat.conversation.messages.len())),
        repeated_prompts: chats.len() - prompts.len(),
        roles,
        domains,
        prompt: Lengths::of(&chats, |chat| contents(chat.prompt())),
        answer: Lengths::of(&chats, |chat| vec![chat.answer()]),
        sha256,
        notices,
    }
}

fn contents(messages: &[Message]) -> Vec<Cow<'_, str>> {
    messages.iter().map(Message::text).collect()
}

/// A reader that hashes the bytes that pass through.
struct Hashing<R> {
    reader: R,
    digest: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.digest.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let of = |values: &[usize]| {
            let q = Quantiles::of(values.iter().copied());
            [q.min, q.lower, q.median, q.upper, q.p95, q.max]
        };
        assert_eq!(of(&[]), [0; 6]);
        assert_eq!(of(&[7]), [7; 6]);
        assert_eq!(of(&[4, 1, 3, 2]), [1, 1, 2, 3, 4, 4]);
        let hundred: Vec<usize> = (1..=100).rev().collect();
        assert_eq!(of(&hundred), [1, 25, 50, 75, 95, 100]);
    }
}
