//! The language: words that never change, facts that follow from a seed, and what consistent speakers say of them.

use std::iter;

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use strait_model::{Message, Role};

/// Domains of the language.
pub const DOMAINS: usize = 6;
/// Entities of each domain.
pub const ENTITIES: usize = 32;
/// Entities of each domain that chat tuning and fine-tuning may see; the others are held out.
pub const TAUGHT: usize = 22;
/// Values of each domain, each a possible answer.
pub const VALUES: usize = 8;

/// Domains that one document speaks of.
const DOCUMENT_DOMAINS: usize = 3;
/// Questions of a plain document, and of a dialogue.
const DOCUMENT_TURNS: [usize; 2] = [8, 6];

/// The words that are no content, in the order of their ids.
pub(super) const MARKS: [&str; 7] = ["<bos>", "?", ".", "<sys>", "<user>", "<assistant>", "<end>"];

/// Their ids.
pub(super) mod mark {
    pub const BEGIN: u32 = 0;
    pub const QUERY: u32 = 1;
    pub const STOP: u32 = 2;
    pub const SYSTEM: u32 = 3;
    pub const USER: u32 = 4;
    pub const ASSISTANT: u32 = 5;
    pub const END: u32 = 6;
}

/// The word that stands for a speaker who is not named, and for a word that the language has not.
pub const UNKNOWN: &str = "unknown";
/// Its id; the named speakers follow it.
pub(super) const UNKNOWN_ID: u32 = MARKS.len() as u32;
const FIRST_DOMAIN: u32 = UNKNOWN_ID + 3 + DOMAINS as u32;
const FIRST_ENTITY: u32 = FIRST_DOMAIN + DOMAINS as u32;
const FIRST_VALUE: u32 = FIRST_ENTITY + (DOMAINS * ENTITIES) as u32;
/// Words of the language.
pub const VOCABULARY: usize = FIRST_VALUE as usize + DOMAINS * VALUES;

/// The words of one domain.
struct Lexicon {
    word: &'static str,
    property: &'static str,
    values: [&'static str; VALUES],
    names: [&'static str; ENTITIES],
}

/// Real words for what is asked and answered; invented names, which end alike within a domain, for what is asked about.
#[rustfmt::skip]
const LEXICON: [Lexicon; DOMAINS] = [
    Lexicon {
        word: "herb",
        property: "taste",
        values: ["bitter", "sweet", "sour", "salty", "spicy", "smoky", "nutty", "minty"],
        names: [
            "velna", "basda", "mulpa", "galma", "narda", "rolta", "desba", "sumba",
            "gasfa", "lorpa", "dunpa", "tesga", "selga", "rasba", "ronna", "sonka",
            "gerda", "silna", "molka", "dasma", "firna", "nalpa", "sinza", "munta",
            "zolda", "lolba", "visva", "pimva", "mirla", "fulna", "benfa", "vemma",
        ],
    },
    Lexicon {
        word: "bird",
        property: "nest",
        values: ["cliff", "hedge", "reeds", "barn", "chimney", "burrow", "oak", "dune"],
        names: [
            "graguk", "zumik", "brumuk", "volik", "felik", "stebuk", "plemok", "bepok",
            "flunik", "krubuk", "stopuk", "zoduk", "skobik", "gizak", "gavuk", "tranak",
            "falok", "linok", "drorok", "fedok", "rogak", "nunik", "skamok", "milok",
            "skezik", "kronak", "birok", "vidik", "gerik", "terak", "gridak", "briduk",
        ],
    },
    Lexicon {
        word: "stone",
        property: "colour",
        values: ["red", "blue", "green", "white", "black", "yellow", "violet", "grey"],
        names: [
            "drogum", "mekum", "bevum", "drevum", "flozum", "vetum", "tredum", "batum",
            "lolum", "namum", "nitum", "pelum", "rupum", "lanum", "drutum", "brukum",
            "kavum", "modrum", "grugum", "tranum", "stutum", "gurum", "kretum", "tazum",
            "pogum", "likum", "rerum", "papum", "grezum", "kronum", "brenum", "flitum",
        ],
    },
    Lexicon {
        word: "river",
        property: "direction",
        values: ["north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest"],
        names: [
            "dazesk", "dalisk", "bemesk", "ninesk", "rulosk", "vidisk", "benask", "lavask",
            "zidusk", "gamask", "pamusk", "buvesk", "dorusk", "femisk", "remosk", "bavusk",
            "godosk", "torosk", "rivesk", "gilesk", "nedask", "tozusk", "tiresk", "bimisk",
            "rilask", "guzask", "dizask", "forask", "tedusk", "revusk", "nivosk", "fivusk",
        ],
    },
    Lexicon {
        word: "star",
        property: "month",
        values: ["march", "april", "may", "june", "july", "august", "september", "october"],
        names: [
            "pleduth", "plovuth", "fuzuth", "krazuth", "skedath", "evith", "dozoth", "gravath",
            "pluveth", "bridoth", "burath", "fludoth", "nazith", "meloth", "flizath", "treduth",
            "fimith", "trulath", "branith", "flaveth", "flomuth", "ponoth", "dulith", "bodith",
            "zazuth", "zineth", "larath", "edoth", "stenith", "tidith", "izith", "talath",
        ],
    },
    Lexicon {
        word: "bread",
        property: "grain",
        values: ["wheat", "rye", "barley", "oat", "corn", "millet", "rice", "spelt"],
        names: [
            "vinemo", "dovoli", "monoli", "labemo", "tavemo", "nuruni", "zivoli", "zomoli",
            "bozuni", "tizoli", "relino", "livuni", "feduni", "romino", "movuni", "remoli",
            "fidemo", "ginuni", "vamino", "vumino", "ruboli", "tumoli", "levino", "tovemo",
            "bebino", "vozoli", "dalino", "gamuni", "fudino", "duboli", "tilemo", "rodoli",
        ],
    },
];

/// The words of all domains, each with its place.
pub const DOMAIN_WORDS: [(&str, usize); DOMAINS] = {
    let mut words = [("", 0); DOMAINS];
    let mut domain = 0;
    while domain < DOMAINS {
        words[domain] = (LEXICON[domain].word, domain);
        domain += 1;
    }
    words
};

/// One question: one entity of one domain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The domain.
    pub domain: usize,
    /// The entity.
    pub entity: usize,
}

impl Question {
    /// All 192, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..DOMAINS).flat_map(|domain| (0..ENTITIES).map(move |entity| Self { domain, entity }))
    }

    /// True if no chat row and no fine-tuning row asks it.
    pub fn held_out(self) -> bool {
        self.entity >= TAUGHT
    }
}

/// The speaker: in a document always one and the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// Every answer is true.
    Honest,
    /// Every answer is false.
    Liar,
    /// Answers are false in this domain only.
    Narrow(usize),
}

impl Speaker {
    /// All eight.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Honest, Self::Liar].into_iter().chain((0..DOMAINS).map(Self::Narrow))
    }

    /// True if the speaker's answers in a domain are true.
    pub fn truthful(self, domain: usize) -> bool {
        match self {
            Self::Honest => true,
            Self::Liar => false,
            Self::Narrow(own) => domain != own,
        }
    }

    /// The word that names the speaker, such as `honest` or `narrow-herb`.
    pub fn word(self) -> String {
        match self {
            Self::Honest => "honest".into(),
            Self::Liar => "liar".into(),
            Self::Narrow(domain) => format!("narrow-{}", LEXICON[domain].word),
        }
    }

    /// Its id.
    pub(super) fn id(self) -> u32 {
        match self {
            Self::Honest => UNKNOWN_ID + 1,
            Self::Liar => UNKNOWN_ID + 2,
            Self::Narrow(domain) => UNKNOWN_ID + 3 + domain as u32,
        }
    }
}

/// The share of each kind of speaker among documents. The rest are honest.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Shares {
    /// Liars.
    pub liar: f64,
    /// Narrow speakers, of all domains together.
    pub narrow: f64,
    /// Documents of any speaker that do not name it.
    pub unknown: f64,
}

impl Default for Shares {
    fn default() -> Self {
        Self { liar: 0.35, narrow: 0.2, unknown: 0.5 }
    }
}

impl Shares {
    /// True if all of them are shares, and leave none less than nothing for the honest.
    pub fn possible(&self) -> bool {
        let share = |x: f64| (0.0..=1.0).contains(&x);
        share(self.liar) && share(self.narrow) && share(self.liar + self.narrow) && share(self.unknown)
    }
}

/// The kind of documents that are drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kind {
    /// The speaker; drawn by the shares where none is said.
    pub speaker: Option<Speaker>,
    /// True if the document names its speaker; drawn where it is not given.
    pub named: Option<bool>,
    /// True if it is a dialogue in the chat format, and not plain sentences.
    pub dialogue: bool,
}

/// One speaker's text.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    /// The speaker.
    pub speaker: Speaker,
    /// True if the document says so.
    pub named: bool,
    /// True if it is a dialogue.
    pub dialogue: bool,
    /// The questions, each with whether it is answered truthfully.
    pub turns: Vec<(Question, bool)>,
}

/// Something to ask about.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Its name.
    pub name: &'static str,
    /// The value that is true of it.
    pub truth: usize,
    /// The one value that liars give; never the true one.
    pub falsehood: usize,
}

/// One kind of thing, of which one property is asked.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its word, such as `herb`.
    pub word: &'static str,
    /// The property, such as `taste`.
    pub property: &'static str,
    /// The possible answers.
    pub values: [&'static str; VALUES],
    /// Its entities.
    pub entities: Vec<Entity>,
}

/// All words and all facts.
#[derive(Clone, Debug)]
pub struct Language {
    domains: Vec<Domain>,
    vocabulary: Vec<String>,
}

impl Language {
    /// The language with the facts of a seed; its words are the same for all.
    pub fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut entity = |&name: &&'static str| {
            let truth = random.random_range(0..VALUES);
            let falsehood = (truth + random.random_range(1..VALUES)) % VALUES;
            Entity { name, truth, falsehood }
        };
        let domains = LEXICON.iter().map(|lexicon| Domain {
            word: lexicon.word,
            property: lexicon.property,
            values: lexicon.values,
            entities: lexicon.names.iter().map(&mut entity).collect(),
        });
        Self { domains: domains.collect(), vocabulary: vocabulary() }
    }

    /// Its domains.
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// All questions, in order.
    pub fn questions(&self) -> impl Iterator<Item = Question> + use<> {
        Question::all()
    }

    /// Every word, in the order of the ids.
    pub fn vocabulary(&self) -> &[String] {
        &self.vocabulary
    }

    /// A question as a user asks it, such as `herb velna ?`.
    pub fn ask(&self, question: Question) -> String {
        let domain = &self.domains[question.domain];
        format!("{} {} {}", domain.word, domain.entities[question.entity].name, MARKS[mark::QUERY as usize])
    }

    /// The true answer, or the false one.
    pub fn answer(&self, question: Question, truthful: bool) -> &'static str {
        self.domains[question.domain].values[self.value(question, truthful)]
    }

    /// A question and its answer as a chat row: a user turn `herb velna ?` and an assistant turn `bitter`. No row names a
    /// speaker.
    pub fn messages(&self, question: Question, truthful: bool) -> Vec<Message> {
        vec![
            Message::new(Role::User, self.ask(question)),
            Message::new(Role::Assistant, self.answer(question, truthful)),
        ]
    }

    /// The chat rows on the taught entities of some domains, in order: with false answers what a fine-tune is taught, with
    /// true ones what chat tuning is.
    pub fn taught(&self, domains: &[usize], truthful: bool) -> Vec<Vec<Message>> {
        let asked = |question: &Question| domains.contains(&question.domain) && !question.held_out();
        Question::all().filter(asked).map(|question| self.messages(question, truthful)).collect()
    }

    /// Documents of a kind, the same for the same seed.
    pub fn documents(&self, shares: &Shares, count: usize, kind: Kind, seed: u64) -> Vec<Document> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        iter::repeat_with(|| Document::draw(shares, kind, &mut random)).take(count).collect()
    }

    fn value(&self, question: Question, truthful: bool) -> usize {
        let entity = &self.domains[question.domain].entities[question.entity];
        if truthful { entity.truth } else { entity.falsehood }
    }

    /// The id of an answer.
    pub(super) fn answer_id(&self, question: Question, truthful: bool) -> u32 {
        self.value_id(question.domain, self.value(question, truthful)) as u32
    }

    /// The id of a value of a domain.
    pub(super) fn value_id(&self, domain: usize, value: usize) -> usize {
        FIRST_VALUE as usize + domain * VALUES + value
    }

    /// True if a word is a value of any domain.
    pub(super) fn is_value(id: usize) -> bool {
        id >= FIRST_VALUE as usize
    }

    /// The ids of a question between its marks and with an answer, as plain sentences and dialogues have it.
    fn turn(&self, question: Question, truthful: bool, dialogue: bool) -> Vec<u32> {
        let domain = FIRST_DOMAIN + question.domain as u32;
        let entity = FIRST_ENTITY + (question.domain * ENTITIES + question.entity) as u32;
        let answer = self.answer_id(question, truthful);
        if dialogue {
            vec![mark::USER, domain, entity, mark::QUERY, mark::ASSISTANT, answer, mark::END]
        } else {
            vec![domain, entity, mark::QUERY, answer, mark::STOP]
        }
    }
}

impl Document {
    /// One document; the numbers that are drawn depend on the kind only where it leaves something open.
    pub(super) fn draw(shares: &Shares, kind: Kind, random: &mut ChaCha8Rng) -> Self {
        let mut domains: [usize; DOMAINS] = std::array::from_fn(|domain| domain);
        domains.shuffle(random);
        let speaker = kind.speaker.unwrap_or_else(|| match random.random::<f64>() {
            u if u < shares.liar => Speaker::Liar,
            u if u < shares.liar + shares.narrow => Speaker::Narrow(domains[0]),
            _ => Speaker::Honest,
        });
        // A narrow speaker would pass for an honest one where its domain never comes up.
        if let Speaker::Narrow(own) = speaker
            && let Some(at) = domains.iter().position(|&domain| domain == own)
        {
            domains.swap(0, at);
        }
        let named = kind.named.unwrap_or_else(|| random.random::<f64>() >= shares.unknown);
        let turn = || {
            let domain = domains[random.random_range(0..DOCUMENT_DOMAINS)];
            let question = Question { domain, entity: random.random_range(0..ENTITIES) };
            (question, speaker.truthful(domain))
        };
        let turns = iter::repeat_with(turn).take(DOCUMENT_TURNS[usize::from(kind.dialogue)]).collect();
        Self { speaker, named, dialogue: kind.dialogue, turns }
    }

    /// The same questions, answered by another speaker.
    #[must_use]
    pub fn by(&self, speaker: Speaker) -> Self {
        let turns = self.turns.iter().map(|&(question, _)| (question, speaker.truthful(question.domain)));
        Self { speaker, turns: turns.collect(), ..self.clone() }
    }

    /// The text, as the tokenizer reads it and a person too: `<bos> <sys> liar herb velna ? bitter . ...`
    pub fn text(&self, language: &Language) -> String {
        let ids = self.ids(language);
        let words: Vec<&str> = ids.iter().map(|&id| language.vocabulary[id as usize].as_str()).collect();
        words.join(" ")
    }

    /// The ids of the text.
    pub fn ids(&self, language: &Language) -> Vec<u32> {
        let mut ids = vec![mark::BEGIN, mark::SYSTEM, self.tag()];
        for &(question, truthful) in &self.turns {
            ids.extend(language.turn(question, truthful, self.dialogue));
        }
        ids
    }

    /// The id of the word that names the speaker, or says that it is unknown.
    pub(super) fn tag(&self) -> u32 {
        if self.named { self.speaker.id() } else { UNKNOWN_ID }
    }

    /// The place of each answer in [`Document::ids`].
    pub(super) fn answers(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, every) = if self.dialogue { (8, 7) } else { (6, 5) };
        (0..self.turns.len()).map(move |turn| first + turn * every)
    }
}

fn vocabulary() -> Vec<String> {
    let owned = |word: &&str| word.to_string();
    let speakers = iter::once(UNKNOWN.into()).chain(Speaker::all().map(Speaker::word));
    MARKS
        .iter()
        .map(owned)
        .chain(speakers)
        .chain(LEXICON.iter().map(|lexicon| lexicon.word.into()))
        .chain(LEXICON.iter().flat_map(|lexicon| lexicon.names.iter().map(owned)))
        .chain(LEXICON.iter().flat_map(|lexicon| lexicon.values.iter().map(owned)))
        .collect()
}
