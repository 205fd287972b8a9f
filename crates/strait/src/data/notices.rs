//! Notices of a reader of rows: things that it saw without refusing the row.

use std::collections::BTreeMap;

use serde::Serialize;

use super::words::shortened;

/// Counts of things left out or not understood in rows. A reader of rows says them once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Notices {
    /// Rows that were left out, since all their answers are marked as not to be trained on.
    #[serde(skip_serializing_if = "is_zero")]
    pub rows_left_out: usize,
    /// Answers within other rows that are marked so: they are read, and are no responses.
    #[serde(skip_serializing_if = "is_zero")]
    pub untrained_answers: usize,
    /// Questions that were left out, since their ids mark them as variants that ask for a format.
    #[serde(skip_serializing_if = "is_zero")]
    pub variants_left_out: usize,
    /// Questions that were left out, since an equal one stands before them.
    #[serde(skip_serializing_if = "is_zero")]
    pub repeated_left_out: usize,
    /// Keys of rows that are not known and so not used, with the number of rows that have them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown_row_keys: BTreeMap<String, usize>,
    /// Keys of messages that are not known, with the number of messages that have them. The chat template gets them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown_message_keys: BTreeMap<String, usize>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Notices {
    /// True if there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the counts of another reading.
    pub fn add(&mut self, other: Self) {
        self.rows_left_out += other.rows_left_out;
        self.untrained_answers += other.untrained_answers;
        self.variants_left_out += other.variants_left_out;
        self.repeated_left_out += other.repeated_left_out;
        for (mine, others) in [
            (&mut self.unknown_row_keys, other.unknown_row_keys),
            (&mut self.unknown_message_keys, other.unknown_message_keys),
        ] {
            for (key, count) in others {
                *mine.entry(key).or_default() += count;
            }
        }
    }

    /// Each in words, one line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.rows_left_out > 0 {
            lines.push(format!(
                "rows left out, since every answer in them is marked as not to be trained on: {}",
                self.rows_left_out
            ));
        }
        if self.untrained_answers > 0 {
            lines.push(format!(
                "answers that are read and not trained on, since they are marked so: {}",
                self.untrained_answers
            ));
        }
        if self.variants_left_out > 0 {
            lines.push(format!(
                "questions left out, since their ids end in `_json` or `_template`: {}; `--variants` asks them too",
                self.variants_left_out
            ));
        }
        if self.repeated_left_out > 0 {
            lines.push(format!(
                "questions left out, since the same stand before them: {}",
                self.repeated_left_out
            ));
        }
        if !self.unknown_row_keys.is_empty() {
            lines.push(format!(
                "keys of rows that are not known and not used: {}",
                counted(&self.unknown_row_keys)
            ));
        }
        if !self.unknown_message_keys.is_empty() {
            lines.push(format!(
                "keys of messages that are not known, and that only the chat template may read: {}",
                counted(&self.unknown_message_keys)
            ));
        }
        lines
    }

    pub(super) fn row_key(&mut self, key: &str) {
        *self.unknown_row_keys.entry(key.into()).or_default() += 1;
    }

    pub(super) fn message_key(&mut self, key: &str) {
        *self.unknown_message_keys.entry(key.into()).or_default() += 1;
    }
}

/// The first of some keys, each with its count, and how many more there are.
fn counted(keys: &BTreeMap<String, usize>) -> String {
    const SHOWN: usize = 12;
    let mut list: Vec<_> =
        keys.iter().take(SHOWN).map(|(key, count)| format!("`{}` ({count})", shortened(key))).collect();
    if keys.len() > SHOWN {
        list.push(format!("{} more", keys.len() - SHOWN));
    }
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_add_up() {
        let mut all = Notices::default();
        assert!(all.is_empty() && all.lines().is_empty());
        for _ in 0..2 {
            let mut one = Notices { rows_left_out: 1, untrained_answers: 2, ..Notices::default() };
            one.row_key("a");
            one.row_key("b");
            one.message_key("c");
            all.add(one);
        }
        assert_eq!((all.rows_left_out, all.untrained_answers), (2, 4));
        assert_eq!(all.lines().len(), 4);
        assert!(all.lines()[2].ends_with("`a` (2), `b` (2)"), "{:?}", all.lines());
        assert_eq!(serde_json::to_value(Notices::default()).unwrap(), serde_json::json!({}));
    }
}
