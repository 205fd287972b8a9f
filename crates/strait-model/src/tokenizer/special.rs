//! Special and added tokens of a folder, gathered as transformers gathers them.
//!
//! Four files may name them. Where `tokenizer_config.json` has `added_tokens_decoder` it counts alone beside
//! `tokenizer.json`; else `special_tokens_map.json` overrides it, and `added_tokens.json` adds to it. What no file names
//! has the default of the tokenizer's class. Tokens that the vocabulary lacks are added behind it, in this order:
//! those of `added_tokens_decoder` by id, then the special ones.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::{class::Class, problem::Problem};

const CONFIG: &str = "tokenizer_config.json";
const ADDITIONAL: &str = "additional_special_tokens";
/// The special tokens that have a name of their own.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A token with how it is matched, as files describe it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Described {
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: Option<bool>,
    special: bool,
}

/// A token as a file names it.
#[derive(Clone, Debug)]
enum Token {
    Text(String),
    Described(Described),
}

/// The special tokens of a tokenizer, and those to add to its vocabulary.
#[derive(Debug, Default)]
pub(super) struct Special {
    /// Each token by its name, in transformers' order.
    named: Vec<(String, Token)>,
    additional: Vec<Token>,
    /// Tokens of the files by the id that they state, which only gives their order.
    decoder: BTreeMap<i64, Described>,
}

/// The files' keys.
pub(super) struct Files {
    pub config: Map<String, Value>,
    pub special_tokens_map: Option<Map<String, Value>>,
    pub added_tokens: Option<Map<String, Value>>,
    /// `added_tokens` of `tokenizer.json`.
    pub of_tokenizer: Vec<Value>,
    /// The token that `tokenizer.json` fills with.
    pub padding: Option<String>,
}

impl Special {
    /// Gathers the tokens, and leaves in `files.config` all that transformers takes as settings.
    pub fn gather(files: &mut Files, class: &Class) -> Result<Self, Problem> {
        let mut known: BTreeMap<String, Described> = BTreeMap::new();
        let mut decoder = BTreeMap::new();
        match files.config.get("added_tokens_decoder") {
            Some(tokens) => {
                let wrong = |key: &str| wrong(CONFIG, key, "an object of token ids and added tokens");
                let tokens = tokens.as_object().ok_or_else(|| wrong("added_tokens_decoder"))?;
                for (id, token) in tokens {
                    let id = id.trim().parse::<i64>().map_err(|_| wrong("added_tokens_decoder"))?;
                    let token = described(token).ok_or_else(|| wrong("added_tokens_decoder"))?;
                    known.insert(token.content.clone(), token.clone());
                    decoder.insert(id, token);
                }
            }
            None => files.gather_older(&mut known, &mut decoder)?,
        }
        let config = &files.config;
        let mut named = Vec::new();
        for name in NAMED {
            let default = class.defaults.iter().find(|(key, _)| *key == name).map(|(_, text)| *text);
            let default = match &files.padding {
                // Filling names the token only where the class has no say.
                Some(padding) if name == "pad_token" && default.is_none() => Some(padding.as_str()),
                _ => default,
            };
            let token = match config.get(name) {
                None => default.map(|text| Token::Text(text.into())),
                Some(value) => token(value, name)?.map(|token| match known.get(token.content()) {
                    Some(known) => Token::Described(known.clone()),
                    None => token,
                }),
            };
            named.extend(token.map(|token| (name.to_string(), token.of(class, name))));
        }
        let mut additional = match config.get(ADDITIONAL) {
            None | Some(Value::Null) => Vec::new(),
            Some(list) => tokens(list)?,
        };
        for (key, text) in class.infill {
            let token = match config.get(*key) {
                None => Some(Token::Text((*text).into())),
                Some(value) => token(value, key)?,
            };
            additional.extend(token);
        }
        match config.get("extra_special_tokens") {
            None => {}
            Some(Value::Object(extra)) => {
                for (key, value) in extra {
                    let token = token(value, key)?.ok_or_else(|| wrong(CONFIG, key, A_TOKEN))?;
                    match named.iter_mut().find(|(name, _)| name == key) {
                        Some((_, named)) => *named = token,
                        None => named.push((key.clone(), token)),
                    }
                }
            }
            Some(_) => return Err(wrong(CONFIG, "extra_special_tokens", "an object of names and tokens")),
        }
        let place = |name: &String| NAMED.iter().position(|n| n == name).unwrap_or(NAMED.len());
        named.sort_by_key(|(name, _)| place(name));
        Ok(Self { named, additional, decoder })
    }

    /// The text of a named token, if it is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        let (_, token) = self.named.iter().find(|(key, _)| key == name)?;
        Some(token.content()).filter(|text| !text.is_empty())
    }

    /// The named tokens as a template gets them.
    pub fn texts(&self) -> BTreeMap<String, String> {
        self.named.iter().filter_map(|(name, _)| Some((name.clone(), self.text(name)?.into()))).collect()
    }

    /// Adds to the vocabulary what it lacks, and describes anew what the files describe otherwise.
    pub fn add_to(&self, library: &mut tokenizers::Tokenizer) -> tokenizers::Result<()> {
        let every = self.every();
        let special: BTreeSet<&str> = every.iter().map(|token| token.content()).collect();
        let before: HashSet<AddedToken> =
            library.get_added_vocabulary().get_added_tokens_decoder().values().cloned().collect();
        let there: BTreeSet<&str> = before.iter().map(|token| token.content.as_str()).collect();
        let mut added: Vec<Token> = self.decoder.values().cloned().map(Token::Described).collect();
        for token in every {
            let is_there = match &token {
                Token::Text(text) => {
                    there.contains(text.as_str()) || self.decoder.values().any(|token| token.content == *text)
                }
                Token::Described(token) => self.decoder.values().any(|other| other.added() == token.added()),
            };
            if !is_there {
                added.push(token.clone());
            }
        }
        let added = added.into_iter().map(|token| match token {
            Token::Text(text) => AddedToken::from(text.clone(), special.contains(text.as_str())),
            Token::Described(token) => {
                let special = token.special || special.contains(token.content.as_str());
                Described { special, ..token }.added()
            }
        });
        // transformers' library leaves out what is there as it is, even if an earlier token of the list changes it.
        let added: Vec<_> = added.filter(|token| !before.contains(token)).collect();
        library.add_tokens(added)?;
        Ok(())
    }

    /// Every special token once, by its text: the named ones, the additional ones where transformers has them, the others.
    fn every(&self) -> Vec<&Token> {
        let (named, others) = self.named.split_at(self.named.iter().filter(|(n, _)| is_named(n)).count());
        let mut seen = BTreeSet::new();
        let mut every = Vec::new();
        for (_, token) in named {
            if !token.content().is_empty() && seen.insert(token.content()) {
                every.push(token);
            }
        }
        // A list is looked through as a whole, so that it may say a token twice.
        every.extend(self.additional.iter().filter(|token| !seen.contains(token.content())));
        seen.extend(self.additional.iter().map(Token::content));
        for (_, token) in others {
            if !token.content().is_empty() && seen.insert(token.content()) {
                every.push(token);
            }
        }
        every
    }
}

impl Files {
    /// Reads the older files, which count where `added_tokens_decoder` is missing.
    fn gather_older(
        &mut self,
        known: &mut BTreeMap<String, Described>,
        decoder: &mut BTreeMap<i64, Described>,
    ) -> Result<(), Problem> {
        const MAP: &str = "special_tokens_map.json";
        let (mut overridden, mut last) = (BTreeSet::new(), None);
        for (key, mut value) in self.special_tokens_map.take().unwrap_or_default() {
            if value.is_object() {
                mark_special(&mut value);
            } else if let (ADDITIONAL, Value::Array(more)) = (key.as_str(), &mut value) {
                let mut list = match self.config.remove(ADDITIONAL) {
                    None | Some(Value::Null) => Vec::new(),
                    Some(Value::Array(list)) => list,
                    Some(_) => return Err(wrong(CONFIG, ADDITIONAL, A_LIST)),
                };
                for mut token in more.drain(..) {
                    mark_special(&mut token);
                    last = token.as_str().or(token.get("content").and_then(Value::as_str)).map(String::from);
                    if !list.contains(&token) {
                        list.push(token);
                    }
                }
                value = list.into();
            } else if !(value.is_string() || value.is_null()) && NAMED.contains(&key.as_str()) {
                return Err(wrong(MAP, &key, A_TOKEN));
            }
            overridden.insert(key.clone());
            self.config.insert(key, value);
        }
        // Of the tokens described in `tokenizer_config.json` transformers compares the description, not the text.
        let text = |key: &str, value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Object(token) if overridden.contains(key) => Some(token.get("content")?.as_str()?.into()),
            _ => None,
        };
        let special: BTreeSet<String> = NAMED
            .iter()
            .filter_map(|key| text(key, self.config.get(*key)?))
            .chain(
                self.config
                    .get(ADDITIONAL)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(|value| text(ADDITIONAL, value)),
            )
            .collect();
        for (content, id) in self.added_tokens.take().unwrap_or_default() {
            let id = id.as_i64().ok_or_else(|| wrong("added_tokens.json", &content, "a token's id"))?;
            let special = special.contains(&content);
            let token = Described { content, normalized: Some(!special), special, ..Described::default() };
            // A slip of transformers: it keeps an added token under the name of the last additional one.
            known.extend(last.clone().map(|last| (last, token.clone())));
            decoder.insert(id, token);
        }
        for token in &self.of_tokenizer {
            let id = token.get("id").and_then(Value::as_i64);
            let (id, token) = id
                .zip(described(token))
                .ok_or_else(|| wrong("tokenizer.json", "added_tokens", "a list of tokens with their ids"))?;
            known.insert(token.content.clone(), token.clone());
            decoder.insert(id, token);
        }
        Ok(())
    }
}

impl Token {
    fn content(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Described(token) => &token.content,
        }
    }

    /// The token as its class has it.
    fn of(self, class: &Class, name: &str) -> Self {
        match self {
            Self::Text(content) if class.as_they_are.contains(&name) => Self::Described(Described {
                content,
                normalized: Some(false),
                special: true,
                ..Described::default()
            }),
            token => token,
        }
    }
}

impl Described {
    /// The token as the library takes it.
    fn added(&self) -> AddedToken {
        AddedToken::from(self.content.as_str(), self.special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized.unwrap_or(!self.special))
    }
}

const A_TOKEN: &str = "a text, or an object with `\"__type\": \"AddedToken\"`";
const A_LIST: &str = "a list of tokens";

fn is_named(name: &str) -> bool {
    NAMED.contains(&name)
}

fn wrong(file: &'static str, key: &str, expected: &'static str) -> Problem {
    Problem::Type { file, key: key.into(), expected }
}

fn described(value: &Value) -> Option<Described> {
    value.as_object()?;
    Described::deserialize(value).ok()
}

/// A token that a key of `tokenizer_config.json` names, if it names one.
fn token(value: &Value, key: &str) -> Result<Option<Token>, Problem> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(Token::Text(text.clone()))),
        value if value.get("__type").and_then(Value::as_str) == Some("AddedToken") => described(value)
            .map(|token| Some(Token::Described(token)))
            .ok_or_else(|| wrong(CONFIG, key, A_TOKEN)),
        _ => Err(wrong(CONFIG, key, A_TOKEN)),
    }
}

fn tokens(list: &Value) -> Result<Vec<Token>, Problem> {
    let list = list.as_array().ok_or_else(|| wrong(CONFIG, ADDITIONAL, A_LIST))?;
    let each = |value| token(value, ADDITIONAL)?.ok_or_else(|| wrong(CONFIG, ADDITIONAL, A_LIST));
    list.iter().map(each).collect()
}

/// Says of a described token that it is one, and special.
fn mark_special(value: &mut Value) {
    if let Some(token) = value.as_object_mut() {
        token.insert("__type".into(), "AddedToken".into());
        token.insert("special".into(), true.into());
    }
}
