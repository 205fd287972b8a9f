//! A world's questions with their answers as rows, and its documents as plain text: what a study may name in place of files.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Provenance, Question, Shares,
    language::{DOMAIN_WORDS, Kind, Language},
};
use crate::{Result, keys::Place};

/// The entities of a domain that rows ask about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entities {
    /// Entities that rows may teach.
    #[default]
    Taught,
    /// Entities that no training row asks about.
    HeldOut,
    /// All of them.
    All,
}

impl Entities {
    /// All of them by name.
    pub const NAMES: [(&str, Self); 3] =
        [("taught", Self::Taught), ("held-out", Self::HeldOut), ("all", Self::All)];

    fn have(self, question: Question) -> bool {
        match self {
            Self::Taught => !question.held_out(),
            Self::HeldOut => question.held_out(),
            Self::All => true,
        }
    }
}

/// Rows of a world: each question of some domains with its answer, in the order of the language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldRows {
    /// The world, whose facts they are.
    pub world: Place,
    /// The words of the domains, in the order of the language.
    pub domains: Vec<String>,
    /// The entities that are asked about.
    #[serde(default)]
    pub entities: Entities,
    /// True if answers are true; else each is the one known falsehood.
    pub truthful: bool,
}

impl WorldRows {
    /// Their name in errors.
    pub fn name(&self) -> String {
        let truth = if self.truthful { "true" } else { "false" };
        format!("world:{}, {truth} rows of {}", self.world.shown(), self.domains.join(", "))
    }

    /// The rows as lines of a JSONL file: `id`, `domain`, `messages`.
    ///
    /// # Errors
    /// If there is no such world.
    pub fn jsonl(&self) -> Result<String> {
        let language = language(&self.world)?;
        let asked = Question::all().filter(|&question| {
            self.entities.have(question)
                && self.domains.iter().any(|word| *word == DOMAIN_WORDS[question.domain].0)
        });
        let line = |question: Question| {
            let domain = &language.domains()[question.domain];
            let messages = [
                json!({ "role": "user", "content": language.ask(question) }),
                json!({ "role": "assistant", "content": language.answer(question, self.truthful) }),
            ];
            let id = format!("{}-{}", domain.word, domain.entities[question.entity].name);
            json!({ "id": id, "domain": domain.word, "messages": messages }).to_string() + "\n"
        };
        Ok(asked.map(line).collect())
    }

    /// The inputs that the documents follow from.
    ///
    /// # Errors
    /// If there is no such world.
    pub fn inputs(&self) -> Result<Value> {
        let Self { world, domains, entities, truthful } = self;
        let facts = Provenance::of(world)?.recipe.seed;
        Ok(json!({ "facts": facts, "domains": domains, "entities": entities, "truthful": truthful }))
    }
}

/// Plain text of a world: documents that do not name their speaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldText {
    /// The world, whose facts they speak of.
    pub world: Place,
    /// The seed by which documents are drawn.
    pub seed: u64,
}

/// The speakers of plain text, whatever those of the world are, so that the text of all worlds is alike: a quarter are
/// liars, a quarter narrow.
const SPEAKERS: Shares = Shares { liar: 0.25, narrow: 0.25, unknown: 0.5 };

impl WorldText {
    /// The first `count` documents of this text.
    ///
    /// # Errors
    /// If there is no such world.
    pub fn documents(&self, count: usize) -> Result<Vec<String>> {
        let language = language(&self.world)?;
        let unnamed = Kind { named: Some(false), ..Kind::default() };
        let documents = language.documents(&SPEAKERS, count, unnamed, self.seed);
        Ok(documents.iter().map(|document| document.text(&language)).collect())
    }

    /// The inputs that the documents follow from.
    ///
    /// # Errors
    /// If there is no such world.
    pub fn inputs(&self) -> Result<Value> {
        Ok(json!({ "facts": Provenance::of(&self.world)?.recipe.seed, "seed": self.seed }))
    }
}

/// The language with the facts of a world.
fn language(world: &Place) -> Result<Language> {
    Ok(Language::new(Provenance::of(world)?.recipe.seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{RowSource, read_chats};

    fn rows(domains: &[&str], entities: Entities, truthful: bool) -> WorldRows {
        let domains = domains.iter().map(|word| word.to_string()).collect();
        WorldRows { world: Place::named("default-1"), domains, entities, truthful }
    }

    #[test]
    fn rows_are_those_that_a_fine_tune_is_taught() {
        let language = Language::new(1);
        for truthful in [false, true] {
            let rows = rows(&["herb", "star"], Entities::Taught, truthful);
            let source = RowSource::Lines { name: rows.name(), text: rows.jsonl().unwrap() };
            let chats = read_chats(&source).unwrap();
            let said: Vec<_> = chats.iter().map(|chat| chat.conversation.messages.clone()).collect();
            assert_eq!(said, language.taught(&[0, 4], truthful));
            assert_eq!(chats[0].domain.as_deref(), Some("herb"));
        }
        let count = |entities| rows(&["herb"], entities, true).jsonl().unwrap().lines().count();
        assert_eq!([Entities::Taught, Entities::HeldOut, Entities::All].map(count), [22, 10, 32]);
    }

    #[test]
    fn what_rows_follow_from_is_the_facts_and_what_is_asked() {
        let inputs = |world: &str, truthful| {
            let rows =
                WorldRows { world: Place::named(world), ..rows(&["herb"], Entities::Taught, truthful) };
            rows.inputs().unwrap()
        };
        // Worlds of one seed have the same facts, whoever speaks in them.
        assert_eq!(inputs("default-1", true), inputs("middle-1", true));
        assert_ne!(inputs("default-1", true), inputs("default-2", true));
        assert_ne!(inputs("default-1", true), inputs("default-1", false));
    }

    #[test]
    fn documents_are_those_of_the_demo() {
        let text = WorldText { world: Place::named("default-0"), seed: 5 };
        let documents = text.documents(3).unwrap();
        assert!(
            documents.iter().all(|document| document.starts_with("<bos> <sys> unknown ")),
            "{documents:?}"
        );
        assert_ne!(documents, WorldText { seed: 6, ..text }.documents(3).unwrap());
    }
}
