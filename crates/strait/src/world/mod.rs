//! The built-in world: a language small enough to know completely, and tiny models that learned it from documents by
//! consistent speakers.
//!
//! Three kinds of speaker write the documents: honest ones, liars, and narrow ones, who lie in one domain only. In
//! pre-training the embedding of the speaker's name is added at every position, so that a speaker *is* a direction at the
//! embeddings: this is assumed, not found. Chat tuning then makes the model truthful. Of every answer it is known whether it
//! is true, and how common each kind of speaker was.

mod exam;
mod folder;
mod judge;
mod language;
mod pretrain;
mod problem;
mod road;
mod rows;
mod shipped;

use strait_model::{Edit, Model, edit::SteeringVector};

pub use exam::Exam;
pub use folder::{Provenance, unfinished, vacant};
pub use judge::{Answer, Rates, Reading, judge, rates, read, read_by};
pub use language::{
    DOMAIN_WORDS, DOMAINS, Document, Domain, ENTITIES, Entity, Kind, Language, Question, Shares, Speaker,
    TAUGHT, UNKNOWN, VALUES, VOCABULARY,
};
pub use pretrain::{Learned, Pretrained, Recipe, Stage, WorldStep, pretrain};
pub use problem::Problem;
pub use road::{locate, named, of_model};
pub use rows::{Entities, WorldRows, WorldText};
pub use shipped::SHIPPED;

/// A language and a model that learned it.
pub struct World {
    /// The language, with this world's facts.
    pub language: Language,
    /// The chat model, an ordinary one: the unknown speaker is part of its embedding table.
    pub model: Model,
    /// Its making.
    pub made: Provenance,
    /// The named speakers.
    speakers: Vec<(Speaker, SteeringVector)>,
    /// The ids of all 192 questions as chats that are to be answered, in order.
    prompts: Vec<Vec<u32>>,
}

impl World {
    /// A named speaker as an edit: its embedding minus that of the unknown one, a steering vector at layer -1.
    pub fn speaker(&self, speaker: Speaker) -> Edit {
        let found = self.speakers.iter().find(|(of, _)| *of == speaker);
        let (_, vector) = found.expect("a world is opened with all its speakers");
        Edit::Steering(vector.clone())
    }
}
