//! The tokenizer of a Hugging Face folder.

use std::{collections::BTreeMap, fs::File, io::Read, panic::catch_unwind, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

use super::{Parts, at};
use crate::{
    Error, Result,
    template::{MAX_TEMPLATE, Problem},
};

const TOKENIZER: &str = "tokenizer.json";
/// Longest `tokenizer.json` that is read, in bytes; Gemma 3's takes an eighth of it.
const MAX_TOKENIZER: u64 = 1 << 28;
/// Longest of the other files, in bytes. A `tokenizer_config.json` may list each added token.
const MAX_CONFIG: u64 = 1 << 24;

/// What is read from `tokenizer_config.json`.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    chat_template: Option<ChatTemplate>,
    bos_token: Option<TokenText>,
    eos_token: Option<TokenText>,
    unk_token: Option<TokenText>,
    pad_token: Option<TokenText>,
}

/// `chat_template.json`, which the processors of multimodal models write.
#[derive(Deserialize)]
struct ProcessorTemplate {
    chat_template: ChatTemplate,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ChatTemplate {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Described { content: String },
}

/// What is read from `generation_config.json` and `config.json`.
#[derive(Default, Deserialize)]
struct EndConfig {
    eos_token_id: Option<Ids>,
    text_config: Option<Box<EndConfig>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

/// Reads a folder.
pub(super) fn read(folder: &Path) -> Result<Parts> {
    let library = read_tokenizer(folder)?;
    let config: TokenizerConfig = read_json(folder, "tokenizer_config.json")?.unwrap_or_default();
    let template = read_template(folder, config.chat_template)?;
    let specials: BTreeMap<_, _> = [
        ("bos_token", config.bos_token),
        ("eos_token", config.eos_token),
        ("unk_token", config.unk_token),
        ("pad_token", config.pad_token),
    ]
    .into_iter()
    .filter_map(|(name, token)| Some((name.to_string(), token?.into_text())))
    .collect();
    let mut ends: Vec<_> =
        specials.get("eos_token").and_then(|token| library.token_to_id(token)).into_iter().collect();
    for file in ["generation_config.json", "config.json"] {
        let config: EndConfig = read_json(folder, file)?.unwrap_or_default();
        ends.extend(config.into_ids());
    }
    Ok(Parts { library, template, specials, ends })
}

fn read_tokenizer(folder: &Path) -> Result<tokenizers::Tokenizer> {
    let json =
        read_file(folder, TOKENIZER, MAX_TOKENIZER)?.ok_or_else(|| at(folder, Problem::NoTokenizer))?;
    let refused = |detail: String| at(folder, Problem::Library { doing: "read `tokenizer.json`", detail });
    // The library indexes past its buffers where a merge leads to no token.
    let mut library = catch_unwind(|| tokenizers::Tokenizer::from_bytes(json))
        .map_err(|_| refused("its merges lead to tokens that it does not have".into()))?
        .map_err(|error| refused(error.to_string()))?;
    // Files saved after training may still cut or fill what they are given.
    library.with_truncation(None).map_err(|error| refused(error.to_string()))?;
    library.with_padding(None);
    Ok(library)
}

/// The chat template, from wherever it is: newer folders have it in a file of its own, which then counts.
fn read_template(folder: &Path, configured: Option<ChatTemplate>) -> Result<Option<String>> {
    if let Some(bytes) = read_file(folder, "chat_template.jinja", MAX_TEMPLATE as u64)? {
        return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
    }
    let template = match configured {
        Some(template) => Some(template),
        None => read_json::<ProcessorTemplate>(folder, "chat_template.json")?.map(|file| file.chat_template),
    };
    match template {
        None => Ok(None),
        Some(ChatTemplate::One(source)) => Ok(Some(source)),
        Some(ChatTemplate::Named(mut named)) => match named.iter().position(|t| t.name == "default") {
            Some(index) => Ok(Some(named.swap_remove(index).template)),
            None => {
                let found = named.into_iter().map(|template| template.name).collect();
                Err(at(folder, Problem::NoDefaultTemplate { found }))
            }
        },
    }
}

impl TokenText {
    fn into_text(self) -> String {
        match self {
            Self::Plain(content) | Self::Described { content } => content,
        }
    }
}

impl EndConfig {
    fn into_ids(self) -> Vec<u32> {
        let mut ids = match self.eos_token_id {
            None => Vec::new(),
            Some(Ids::One(id)) => vec![id],
            Some(Ids::Many(ids)) => ids,
        };
        ids.extend(self.text_config.into_iter().flat_map(|config| config.into_ids()));
        ids
    }
}

fn read_json<T: DeserializeOwned>(folder: &Path, file: &'static str) -> Result<Option<T>> {
    let Some(bytes) = read_file(folder, file, MAX_CONFIG)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| at(folder, Problem::Json { file, source }))
}

/// A file's bytes, if it is there.
fn read_file(folder: &Path, file: &'static str, limit: u64) -> Result<Option<Vec<u8>>> {
    let path = folder.join(file);
    let opened = match File::open(&path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path, "open the file")(error)),
    };
    let mut bytes = Vec::new();
    opened.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "read the file"))?;
    if bytes.len() as u64 > limit {
        return Err(at(folder, Problem::FileTooLong { file, limit }));
    }
    Ok(Some(bytes))
}
