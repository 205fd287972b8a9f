//! The questions of conversations, and those that are trained on already: a figure read on questions that training has seen measures
//! memory.

use std::collections::{HashMap, HashSet};

use strait_model::{Message, Role};

use super::{Chat, Pair, Passage, Prompt};

/// A question: all that was said before an answer by those who do not answer. System prompts, case and the kind of white
/// space make no other question of it.
pub type Question = Vec<String>;

/// The questions of a conversation, one before each of its answers; those that say nothing are none.
fn questions(messages: &[Message]) -> Vec<Question> {
    let answers = messages.iter().enumerate().filter(|(_, message)| message.is_answer());
    answers.filter_map(|(end, _)| question(&messages[..end])).collect()
}

/// The question of messages; none where they say nothing.
fn question(messages: &[Message]) -> Option<Question> {
    let asking = |m: &&Message| matches!(m.role(), Role::User | Role::Tool);
    let question: Question = messages.iter().filter(asking).map(|m| plain(&m.text())).collect();
    question.iter().any(|text| !text.is_empty()).then_some(question)
}

/// A text in small letters with one space between words.
fn plain(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// Numbers the rows by what they ask: rows of one number ask the same, or one goes on from the other's question. Rows that
/// ask nothing have numbers of their own.
pub fn groups(chats: &[Chat]) -> Vec<usize> {
    let asked: Vec<Vec<Question>> = chats.iter().map(|chat| questions(&chat.conversation.messages)).collect();
    let mut leaders = Leaders((0..chats.len()).collect());
    let mut whole: HashMap<&Question, usize> = HashMap::new();
    for (row, asked) in asked.iter().enumerate() {
        if let Some(last) = asked.last() {
            let first = *whole.entry(last).or_insert(row);
            leaders.join(first, row);
        }
    }
    for (row, asked) in asked.iter().enumerate() {
        for shorter in asked.iter().filter_map(|question| whole.get(question)) {
            leaders.join(*shorter, row);
        }
    }
    crate::interval::clusters((0..chats.len()).map(|row| leaders.of(row)))
}

/// Of every row another one of its group, or itself.
struct Leaders(Vec<usize>);

impl Leaders {
    fn of(&self, mut row: usize) -> usize {
        while self.0[row] != row {
            row = self.0[row];
        }
        row
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        self.0[one.max(other)] = one.min(other);
    }
}

/// All that the solutions of a study are trained on.
#[derive(Debug, Default)]
pub struct TrainedOn {
    kinds: [Seen; KINDS.len()],
}

/// The kinds of rows that are trained on.
const KINDS: [&str; 3] = ["training", "KL", "mixed-in"];

/// Questions and texts of one kind of rows.
#[derive(Debug, Default)]
struct Seen {
    questions: HashSet<Question>,
    texts: HashSet<String>,
}

impl Seen {
    fn of<'a>(chats: impl IntoIterator<Item = &'a Chat>) -> Self {
        let mut seen = Self::default();
        for chat in chats {
            let messages = &chat.conversation.messages;
            seen.questions.extend(questions(messages));
            seen.texts.extend(messages.iter().map(|message| plain(&message.text())));
        }
        seen
    }
}

impl TrainedOn {
    /// The training rows, the rows that a KL penalty holds on, and those that are mixed in.
    pub fn new(train: &[Chat], kl: &[Chat], mixed: &[Chat]) -> Self {
        Self { kinds: [train, kl, mixed].map(Seen::of) }
    }

    /// Leaves out the pairs whose question is trained on.
    pub fn sift_pairs(&self, pairs: Vec<Pair>, out: &mut LeftOut) -> Vec<Pair> {
        let asked = |pair: &Pair| question(&pair.question.messages);
        self.sift(pairs, out, |seen, pair| asked(pair).is_some_and(|q| seen.questions.contains(&q)))
    }

    /// Leaves out the rows whose last question is trained on.
    pub fn sift_rows(&self, rows: Vec<Chat>, out: &mut LeftOut) -> Vec<Chat> {
        let asked = |chat: &Chat| questions(&chat.conversation.messages).pop();
        self.sift(rows, out, |seen, chat| asked(chat).is_some_and(|q| seen.questions.contains(&q)))
    }

    /// Leaves out the questions that are trained on.
    pub fn sift_prompts(&self, prompts: Vec<Prompt>, out: &mut LeftOut) -> Vec<Prompt> {
        let asked = |prompt: &Prompt| question(&prompt.conversation.messages);
        self.sift(prompts, out, |seen, prompt| asked(prompt).is_some_and(|q| seen.questions.contains(&q)))
    }

    /// Leaves out the passages that are a message of a row.
    pub fn sift_passages(&self, passages: Vec<Passage>, out: &mut LeftOut) -> Vec<Passage> {
        self.sift(passages, out, |seen, passage| seen.texts.contains(&plain(&passage.text)))
    }

    fn sift<T>(&self, things: Vec<T>, out: &mut LeftOut, is_in: impl Fn(&Seen, &T) -> bool) -> Vec<T> {
        out.read += things.len();
        let mut kept = Vec::with_capacity(things.len());
        for thing in things {
            let found = self.kinds.each_ref().map(|seen| is_in(seen, &thing));
            let counts = [&mut out.in_training_rows, &mut out.in_kl_rows, &mut out.in_mixed_rows];
            counts.into_iter().zip(found).for_each(|(count, found)| *count += usize::from(found));
            match found.contains(&true) {
                true => out.left_out += 1,
                false => kept.push(thing),
            }
        }
        kept
    }
}

crate::row! {
    /// The number of some things that were left out, since solutions are trained on them.
    pub struct LeftOut in "left_out",
        "What was left out of the measures, since solutions are trained on it"
    {
        /// The things: "narrow pairs".
        what: String,
        /// Number of them.
        read: usize,
        /// Number of them that the training rows hold.
        in_training_rows: usize,
        /// Number of them that the KL rows hold.
        in_kl_rows: usize,
        /// Number of them that the mixed-in rows hold.
        in_mixed_rows: usize,
        /// Number of them that were left out.
        left_out: usize,
    }
}

impl LeftOut {
    /// None so far.
    pub fn of(what: &str) -> Self {
        Self { what: what.into(), read: 0, in_training_rows: 0, in_kl_rows: 0, in_mixed_rows: 0, left_out: 0 }
    }

    /// A sentence, where something was left out.
    pub fn words(&self) -> Option<String> {
        let Self { what, read, in_training_rows, in_kl_rows, in_mixed_rows, left_out } = self;
        let found = KINDS.iter().zip([in_training_rows, in_kl_rows, in_mixed_rows]);
        let among: Vec<String> = found
            .filter(|(_, count)| **count > 0)
            .map(|(kind, count)| format!("the {kind} rows ({count})"))
            .collect();
        (*left_out > 0).then(|| {
            format!(
                "{left_out} of {read} {what} are left out, for solutions are trained on the same: they stand among {} too.",
                among.join(" and ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(turns: &[(Role, &str)]) -> Chat {
        let messages: Vec<Message> = turns.iter().map(|(role, text)| Message::new(*role, *text)).collect();
        Chat { id: None, domain: None, place: String::new(), conversation: messages.into() }
    }

    fn asks(question: &str) -> Chat {
        chat(&[(Role::User, question), (Role::Assistant, "Yes.")])
    }

    const BASE: &[(Role, &str)] = &[(Role::User, "Why is it?"), (Role::Assistant, "So.")];

    fn pair(turns: &[(Role, &str)]) -> Pair {
        Pair {
            id: String::new(),
            domain: String::new(),
            question: chat(turns).conversation,
            taught: Message::new(Role::Assistant, "a"),
            other: Message::new(Role::Assistant, "b"),
        }
    }

    #[test]
    fn a_question_is_the_same_however_it_is_spaced_written_or_introduced() {
        let trained = TrainedOn::new(&[], &[chat(BASE)], &[]);
        let left_out = |turns: &[(Role, &str)]| {
            let mut out = LeftOut::of("pairs");
            trained.sift_pairs(vec![pair(turns)], &mut out);
            out.left_out == 1
        };
        for same in ["Why is it?", " Why is it?\n", "Why  is\tit?", "WHY IS IT?", "Why\u{a0}is it?"] {
            assert!(left_out(&[(Role::User, same)]), "{same:?}");
            assert!(left_out(&[(Role::System, "Be brief."), (Role::User, same)]), "{same:?}");
        }
        for other in ["Why is it", "Why is it not?", "Whyisit?", ""] {
            assert!(!left_out(&[(Role::User, other)]), "{other:?}");
        }
        assert!(!left_out(&[(Role::User, "Hm."), (Role::Assistant, "?"), (Role::User, "Why is it?")]));
        assert!(!left_out(&[]));
    }

    #[test]
    fn every_turn_of_a_row_is_trained_on_and_rows_that_ask_nothing_are_like_none() {
        let longer = [BASE, &[(Role::User, "And then?"), (Role::Assistant, "Then so.")]].concat();
        let silent = chat(&[(Role::Assistant, "Hello.")]);
        let trained = TrainedOn::new(&[chat(&longer), silent.clone()], &[], &[]);
        let mut out = LeftOut::of("rows");
        let kept = trained.sift_rows(vec![chat(BASE), chat(&longer), asks("And then?"), silent], &mut out);
        assert_eq!((kept.len(), out.left_out, out.in_training_rows, out.in_kl_rows), (2, 2, 2, 0));
    }

    #[test]
    fn counts_name_every_kind_of_rows() {
        let trained = TrainedOn::new(&[asks("a?")], &[asks("b?")], &[asks("b?"), asks("c?")]);
        let mut out = LeftOut::of("general pairs");
        let pairs = ["a?", "b?", "c?", "d?"].map(|question| pair(&[(Role::User, question)]));
        assert_eq!(trained.sift_pairs(pairs.to_vec(), &mut out).len(), 1);
        let all = [out, LeftOut::of("passages")];
        assert_eq!(
            all.iter().filter_map(LeftOut::words).collect::<Vec<_>>(),
            [
                "3 of 4 general pairs are left out, for solutions are trained on the same: they stand among the training \
              rows (1) and the KL rows (1) and the mixed-in rows (2) too."
            ]
        );
        let mut out = LeftOut::of("passages");
        let passage = |text: &str| Passage { place: String::new(), text: text.into() };
        assert_eq!(trained.sift_passages(vec![passage("B?\n"), passage("b? It is.")], &mut out).len(), 1);
    }

    #[test]
    fn rows_that_ask_the_same_or_go_on_from_it_are_one_group() {
        let longer = [BASE, &[(Role::User, "And then?"), (Role::Assistant, "Then so.")]].concat();
        let other = [BASE, &[(Role::User, "And now?"), (Role::Assistant, "Now so.")]].concat();
        let silent = || chat(&[(Role::Assistant, "Hello.")]);
        assert_eq!(
            groups(&[asks("x"), chat(&longer), asks("X "), chat(&other), silent(), silent()]),
            [0, 1, 0, 2, 3, 4]
        );
        // What both go on from makes them one.
        assert_eq!(groups(&[chat(&longer), asks("x"), chat(&other), chat(BASE)]), [0, 1, 0, 0]);
        assert!(groups(&[]).is_empty());
    }
}
