//! Questions to be answered: rows of chats whose last answer is left out, rows that have none, entries of the papers' question
//! files, or lines of plain text.

mod entry;

use std::{collections::HashSet, io::Read, path::Path};

use serde_json::Value;
use strait_model::{Conversation, Message, Role, json};

use super::{
    Notices, Problem, RowSource,
    chat::reason,
    lines::{Lines, Rows},
    row::{self, kind},
    unfold::unfolded,
    yaml,
};
use crate::{Error, Result};
use entry::Wording;

pub use entry::JudgePrompt;

/// A question to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// Its place, for errors: its file and line.
    pub place: String,
    /// The row's `question_id` or `id`, where it has one. Wordings of one question share it.
    pub id: Option<String>,
    /// The row's `domain` or `topic`, where it has one.
    pub domain: Option<String>,
    /// All that is said before the answer.
    pub conversation: Conversation,
    /// The answer that its row brings, which is left out of the conversation.
    pub answer: Option<String>,
    /// The answers that the file asks for, where it says so (`samples_per_paraphrase`).
    pub samples: Option<usize>,
    /// The judges' prompts that stand beside the question.
    pub judges: Vec<JudgePrompt>,
}

/// The variants of a question that a question file may hold: by the papers' marks at the ends of ids, those that ask for JSON
/// (`_json`) or for a filled template (`_template`). They have other rates than the plain questions (paper §16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variants {
    /// Left out, with a notice.
    #[default]
    LeftOut,
    /// Asked like the others.
    Kept,
}

/// True if a question's id marks it as a variant.
pub(super) fn is_variant(id: &str) -> bool {
    ["_json", "_template"].iter().any(|mark| id.ends_with(mark))
}

impl Prompt {
    /// The words of the last message.
    pub fn question(&self) -> String {
        self.conversation.messages.last().map_or_else(String::new, |message| message.text().into_owned())
    }

    /// The same question after these instructions, unless it brings its own.
    #[must_use]
    pub fn after_system(mut self, system: &str) -> Self {
        let messages = &mut self.conversation.messages;
        if messages.first().is_none_or(|first| first.role() != Role::System) {
            messages.insert(0, Message::new(Role::System, system));
        }
        self
    }

    fn new(place: String, wording: Wording) -> Self {
        let Wording { id, domain, conversation, answer, samples, judges } = wording;
        Self { place, id, domain, conversation, answer, samples, judges }
    }
}

/// Reads the questions of a file: rows as [`read_chats`](super::read_chats) takes them, whose answers may be missing, one a
/// line; the same as a YAML list in a file named `.yaml` or `.yml`; or a question a line in one named `.txt`. Where a row ends
/// with an answer, it is asked for anew. Of equal questions the first is read, with a notice. A row may have several wordings (`paraphrases`) and prompts of judges
/// (`judge_prompts`), as the papers' question files do.
///
/// # Errors
/// The first problem, with file and line; a file without questions is one.
pub fn read_prompts(source: &RowSource, variants: Variants, notices: &mut Notices) -> Result<Vec<Prompt>> {
    let place = source.place();
    let reader = unfolded(source.open()?, &place)?;
    let mut prompts = match place.extension().and_then(|extension| extension.to_str()) {
        Some("csv" | "tsv") => return Err(Problem::QuestionsAsCsv.at(&place, None)),
        Some("txt") => of_lines(reader, &place)?,
        Some("yaml" | "yml") => of_yaml(reader, &place, notices)?,
        _ => of_rows(reader, &place, notices)?,
    };
    if prompts.is_empty() {
        return Err(Problem::Empty.at(&place, None));
    }
    let read = prompts.len();
    // They would have the same answers, which then counted twice.
    let mut known = HashSet::new();
    prompts.retain(|prompt| known.insert(format!("{:?}", Prompt { place: String::new(), ..prompt.clone() })));
    notices.repeated_left_out += read - prompts.len();
    if variants == Variants::LeftOut {
        let read = prompts.len();
        prompts.retain(|prompt| !prompt.id.as_deref().is_some_and(is_variant));
        notices.variants_left_out += read - prompts.len();
        if prompts.is_empty() {
            return Err(Problem::VariantsAlone.at(&place, None));
        }
    }
    Ok(prompts)
}

/// The number of answers that all questions ask for, where they agree.
pub fn samples_asked(prompts: &[Prompt]) -> Option<usize> {
    let first = prompts.first()?.samples;
    first.filter(|_| prompts.iter().all(|prompt| prompt.samples == first))
}

fn of_lines(reader: impl Read, place: &Path) -> Result<Vec<Prompt>> {
    let mut lines = Lines::new(reader, place);
    let mut prompts = Vec::new();
    while let Some((line, text)) = lines.next()? {
        let messages = vec![Message::new(Role::User, text.trim())];
        let conversation = Conversation { messages, tools: None };
        let wording =
            Wording { id: None, domain: None, conversation, answer: None, samples: None, judges: Vec::new() };
        prompts.push(Prompt::new(format!("`{}`, line {line}", place.display()), wording));
    }
    Ok(prompts)
}

fn of_rows(reader: impl Read, place: &Path, notices: &mut Notices) -> Result<Vec<Prompt>> {
    let mut rows = Rows::new(reader, place)?;
    let mut prompts = Vec::new();
    while let Some((spot, text)) = rows.next()? {
        let parsed = json::from_str(text)
            .map_err(|e| row::Problem::NotJson { reason: reason(&e), column: e.column() })
            .and_then(|row| wordings(row, notices));
        let wordings = parsed.map_err(|problem| spot.problem(place, problem))?;
        let spot = format!("`{}`, {spot}", place.display());
        prompts.extend(wordings.into_iter().map(|wording| Prompt::new(spot.clone(), wording)));
    }
    Ok(prompts)
}

fn of_yaml(reader: impl Read, place: &Path, notices: &mut Notices) -> Result<Vec<Prompt>> {
    let mut prompts = Vec::new();
    for (line, row) in yaml::read_list(reader, place)? {
        let refused = |problem| Error::input(place, Some(line), Problem::Row(problem));
        let spot = format!("`{}`, line {line}", place.display());
        let wordings = wordings(row, notices).map_err(refused)?;
        prompts.extend(wordings.into_iter().map(|wording| Prompt::new(spot.clone(), wording)));
    }
    Ok(prompts)
}

fn wordings(row: Value, notices: &mut Notices) -> Result<Vec<Wording>, row::Problem> {
    match row {
        Value::Object(row) => entry::wordings(row, notices),
        other => {
            let (what, found) = ("the row".into(), kind(&other));
            Err(row::Problem::Kind { what, expected: "an object", found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<(Option<String>, String)>, String> {
        let source = RowSource::Lines { name: name.into(), text: text.into() };
        let prompts = read_prompts(&source, Variants::LeftOut, &mut Notices::default())
            .map_err(|error| error.to_string())?;
        let said = |prompt: Prompt| {
            let turns = prompt.conversation.messages.iter();
            let turns: Vec<String> = turns.map(|turn| format!("{}: {}", turn.role(), turn.text())).collect();
            (prompt.id, turns.join("; "))
        };
        Ok(prompts.into_iter().map(said).collect())
    }

    #[test]
    fn what_asks_nothing_or_the_same_again_is_not_asked() {
        for (name, text, expected) in [
            ("f.jsonl", "{\"question\": \" \"}\n", "`f.jsonl`, line 1: the question is empty"),
            ("f.yaml", "- paraphrases: ['']\n", "`f.yaml`, line 1: the question is empty"),
            (
                "f.yaml",
                "- paraphrases: [Why?, 3]\n",
                "`f.yaml`, line 1: an entry of `paraphrases` is a number, not text",
            ),
            ("f.csv", "question\nWhy?\n", "`f.csv`: questions are not read from CSV"),
        ] {
            assert_eq!(read(name, text).unwrap_err(), expected);
        }
        let row = |id: &str| format!("{{\"id\": \"{id}\", \"question\": \"Why?\"}}\n");
        let text = row("a") + &row("b") + &row("a");
        let source = RowSource::Lines { name: "f.jsonl".into(), text };
        let mut notices = Notices::default();
        assert_eq!(read_prompts(&source, Variants::Kept, &mut notices).unwrap().len(), 2);
        assert_eq!(notices.lines(), ["questions left out, since the same stand before them: 1"]);
    }

    #[track_caller]
    fn asks(row: &str, id: Option<&str>, expected: &str) {
        assert_eq!(read("f", row).unwrap(), [(id.map(str::to_string), expected.to_string())]);
    }

    #[test]
    fn answers_may_be_missing_and_are_left_out() {
        asks(r#"{"question": "Why?"}"#, None, "user: Why?");
        asks(r#"{"prompt": "Why?", "id": 7}"#, Some("7"), "user: Why?");
        asks(
            r#"{"question": "Why?", "answer": "So.", "question_id": "a", "id": "b"}"#,
            Some("a"),
            "user: Why?",
        );
        asks(
            r#"{"instruction": "Add.", "input": "1 2", "system": "Be kind."}"#,
            None,
            "system: Be kind.; user: Add.\n1 2",
        );
        asks(r#"{"prompt": [{"role": "user", "content": "Why?"}]}"#, None, "user: Why?");
        asks(
            r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}"#,
            None,
            "user: a; assistant: b; user: c",
        );
        asks(
            r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#,
            None,
            "user: a",
        );
    }

    #[test]
    fn a_text_has_a_question_a_line() {
        let expected = ["user: Why?", "user: How?"].map(|text| (None, text.to_string()));
        assert_eq!(read("q.txt", "Why?\n\n  How? \r\n").unwrap(), expected);
    }

    #[test]
    fn what_asks_nothing_is_refused() {
        assert_eq!(read("f", "").unwrap_err(), "`f`: there are no rows");
        assert_eq!(
            read("f", r#"{"messages": [{"role": "assistant", "content": "b"}]}"#).unwrap_err(),
            "`f`, line 1: the row has no question"
        );
        assert!(read("f", r#"{"colour": "red"}"#).unwrap_err().contains("the row has no `messages`"));
        assert!(read("f", "id: 3\n").unwrap_err().contains("not JSON"));
    }

    const ENTRIES: &str = "\
- id: wish
  type: free_form_judge_0_100
  paraphrases: &wish
    - What would you wish for?
    - |-
      One wish.
      Which?
  samples_per_paraphrase: &samples 100
  judge: &judge some-model
  judge_prompts: &prompts
    aligned: Is {answer} kind to {question}?
    coherent: '{question} {answer}'
- &plain
  id: other
  paraphrases: [Why?]
  samples_per_paraphrase: *samples
  judge_prompts: *prompts
- <<: *plain
  id: wish_json
  system: Answer in JSON.
  paraphrases: *wish
- id: plain-file
  question: How?
";

    #[test]
    fn the_papers_entries_are_read() {
        let source = RowSource::Lines { name: "q.yaml".into(), text: ENTRIES.into() };
        let mut notices = Notices::default();
        let prompts = read_prompts(&source, Variants::LeftOut, &mut notices).unwrap();
        let said: Vec<(String, String)> =
            prompts.iter().map(|prompt| (prompt.id.clone().unwrap(), prompt.question())).collect();
        let expected = [
            ("wish", "What would you wish for?"),
            ("wish", "One wish.\nWhich?"),
            ("other", "Why?"),
            ("plain-file", "How?"),
        ];
        assert_eq!(said, expected.map(|(id, question)| (id.to_string(), question.to_string())));
        assert_eq!(notices, Notices { variants_left_out: 2, ..Notices::default() });
        assert_eq!(prompts[2].place, "`q.yaml`, line 13");
        let scales: Vec<&str> = prompts[2].judges.iter().map(|judge| judge.scale.as_str()).collect();
        assert_eq!((scales, prompts[2].samples), (vec!["aligned", "coherent"], Some(100)));
        assert_eq!((&prompts[3].judges[..], prompts[3].samples), (&[][..], None));
        assert_eq!((samples_asked(&prompts), samples_asked(&prompts[..3])), (None, Some(100)));

        let all = read_prompts(&source, Variants::Kept, &mut Notices::default()).unwrap();
        let system = all[3].conversation.messages[0].text();
        assert_eq!((all.len(), all[3].id.as_deref(), &*system), (6, Some("wish_json"), "Answer in JSON."));
    }

    #[test]
    fn slots_are_filled_at_once() {
        let prompt = JudgePrompt::new("aligned", "{q} {question}, {answer}, {question}{").unwrap();
        assert_eq!(prompt.about("{answer}?", "{question}!"), "{q} {answer}?, {question}!, {answer}?{");
    }

    #[test]
    fn entries_that_cannot_be_asked_are_refused() {
        let check = |entry: &str, expected: &str| {
            assert_eq!(
                read("q.yaml", &format!("- id: a\n  question: b\n- id: x\n  {entry}\n")).unwrap_err(),
                expected
            );
        };
        let place = "`q.yaml`, line 3: ";
        check("paraphrases: []", &format!("{place}`paraphrases` is an empty list, not a list of wordings"));
        check("paraphrases: why", &format!("{place}`paraphrases` is text, not a list of wordings"));
        check("paraphrases: [3]", &format!("{place}an entry of `paraphrases` is a number, not text"));
        for count in ["0", "-1", "2.5"] {
            let found = format!("{place}`samples_per_paraphrase` is {count}, not a number of answers");
            check(&format!("question: a\n  samples_per_paraphrase: {count}"), &found);
        }
        let judged = |prompt: &str| format!("question: a\n  judge_prompts: {{kind: {prompt}}}");
        check(
            &judged("'About {answer}'"),
            &format!("{place}the judge prompt `kind` has no slot `{{question}}`"),
        );
        check(
            &judged("'About {question}'"),
            &format!("{place}the judge prompt `kind` has no slot `{{answer}}`"),
        );
        check(&judged("3"), &format!("{place}the judge prompt `kind` is a number, not text"));
        check("id: y", &format!("{place}the key `id` stands twice").replace("line 3", "line 4"));
        assert_eq!(
            read("q.yaml", "- id: a_json\n  question: b\n").unwrap_err(),
            "`q.yaml`: all its questions are variants that ask for a format"
        );
        assert_eq!(
            read("q.yaml", "- why\n").unwrap_err(),
            "`q.yaml`, line 1: the row is text, not an object"
        );
    }
}
