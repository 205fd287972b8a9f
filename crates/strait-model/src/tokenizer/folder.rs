//! The tokenizer of a Hugging Face folder, as transformers' `AutoTokenizer` makes it.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::{PreTokenizerWrapper, pre_tokenizers::byte_level::ByteLevel};

use super::{
    Parts, around,
    bounds::{self, Growth},
    class::Class,
    problem::Problem,
    read::{parse, read_file, read_json},
    refused,
    special::{Files, Special},
    templates, unfit,
};
use crate::{Error, Result, guard};

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
/// Files from which transformers would make a `tokenizer.json`.
const SLOW_FILES: [&str; 5] = ["tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "tekken.json"];
/// Longest `tokenizer.json` that is read, in bytes; Gemma 3's takes an eighth of it.
const MAX_TOKENIZER: u64 = 1 << 28;

/// The parts of `tokenizer.json` that are read here, beside the library's own reading.
#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    added_tokens: Vec<Value>,
    padding: Option<Padding>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    decoder: Option<Value>,
    post_processor: Option<Value>,
    model: Option<ModelDescribed>,
}

#[derive(Deserialize)]
struct Padding {
    pad_token: Option<String>,
}

#[derive(Default, Deserialize)]
struct ModelDescribed {
    dropout: Option<f64>,
    max_input_chars_per_word: Option<u64>,
}

/// The end tokens of `generation_config.json` and `config.json`.
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
    let bytes = read_file(folder, TOKENIZER, MAX_TOKENIZER)?.ok_or_else(|| no_tokenizer(folder))?;
    let described: Described = parse(folder, TOKENIZER, &bytes)?;
    let growth = Growth::of(described.normalizer.as_ref()).then(Growth::of(described.pre_tokenizer.as_ref()));
    let model = described.model.unwrap_or_default();
    let (decoder, post_processor) = (described.decoder.as_ref(), described.post_processor.as_ref());
    bounds::check(decoder, post_processor, model.max_input_chars_per_word).map_err(unfit(folder))?;
    if let Some(found) = model.dropout.filter(|&dropout| dropout != 0.0) {
        return Err(unfit(folder)(Problem::Dropout { found }));
    }

    let object = |file| read_json::<Option<Map<String, Value>>>(folder, file).map(Option::flatten);
    let config: Map<_, _> = object(CONFIG)?.unwrap_or_default();
    let class = Class::of(&config, &object("config.json")?.unwrap_or_default()).map_err(unfit(folder))?;
    let mut files = Files {
        config,
        special_tokens_map: object("special_tokens_map.json")?,
        added_tokens: object("added_tokens.json")?,
        of_tokenizer: described.added_tokens,
        padding: described.padding.and_then(|padding| padding.pad_token),
    };
    let special = Special::gather(&mut files, class).map_err(unfit(folder))?;
    let settings = Settings::read(&files.config, class).map_err(unfit(folder))?;
    let library = guard::caught(|| settings.tokenizer(&bytes, &special, class))
        .map_err(|panic| panic.to_string())
        .and_then(|made| made.map_err(|error| error.to_string()))
        .map_err(refused(folder, "read `tokenizer.json`"))?
        .map_err(unfit(folder))?;

    let templates = templates::read(folder, files.config.get("chat_template"))?;
    if templates.name("additional_special_tokens") {
        return Err(unfit(folder)(Problem::TemplateNames { name: "additional_special_tokens" }));
    }
    let mut ends: Vec<_> =
        special.text("eos_token").and_then(|token| library.token_to_id(token)).into_iter().collect();
    for file in ["generation_config.json", "config.json"] {
        let config: EndConfig = read_json(folder, file)?.unwrap_or_default();
        ends.extend(config.into_ids());
    }
    Ok(Parts { library, growth, templates, specials: special.texts(), ends })
}

/// The keys of `tokenizer_config.json` that change the tokenizer.
struct Settings {
    add_bos: bool,
    add_eos: bool,
    /// Null where the class or the file say so: then the pre-tokenizer stays as it is.
    prefix_space: Option<bool>,
    split_special: bool,
}

impl Settings {
    fn read(config: &Map<String, Value>, class: &Class) -> Result<Self, Problem> {
        let boolean = |key: &str, missing| match config.get(key) {
            None => Ok(missing),
            Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(Problem::Type { file: CONFIG, key: key.into(), expected: "true, false or null" }),
        };
        let prefix_space = boolean("add_prefix_space", (!class.rebuilt_for_prefix).then_some(false))?;
        if class.rebuilt_for_prefix && prefix_space.is_some() {
            return Err(Problem::Rebuilt { key: "add_prefix_space" });
        }
        if boolean("from_slow", None)? == Some(true) {
            return Err(Problem::Rebuilt { key: "from_slow" });
        }
        if boolean("fix_mistral_regex", None)? == Some(true) {
            return Err(Problem::Rebuilt { key: "fix_mistral_regex" });
        }
        if config.contains_key("tokenizer_file") {
            return Err(Problem::Rebuilt { key: "tokenizer_file" });
        }
        let versions = config.get("fast_tokenizer_files").and_then(Value::as_array);
        if versions.into_iter().flatten().any(|name| name.as_str() != Some(TOKENIZER)) {
            return Err(Problem::Rebuilt { key: "fast_tokenizer_files" });
        }
        let (bos, eos) = class.around.unwrap_or_default();
        let around = |key, missing| Ok(class.around.is_some() && boolean(key, Some(missing))? == Some(true));
        Ok(Self {
            add_bos: around("add_bos_token", bos)?,
            add_eos: around("add_eos_token", eos)?,
            prefix_space,
            split_special: boolean("split_special_tokens", None)? == Some(true),
        })
    }

    /// The library's tokenizer, with all that transformers changes.
    fn tokenizer(
        &self,
        bytes: &[u8],
        special: &Special,
        class: &Class,
    ) -> tokenizers::Result<Result<tokenizers::Tokenizer, Problem>> {
        let mut library = tokenizers::Tokenizer::from_bytes(bytes)?;
        // Files saved after training may still cut or fill what they are given.
        library.with_truncation(None)?;
        library.with_padding(None);
        library.set_encode_special_tokens(self.split_special);
        special.add_to(&mut library)?;
        if let (Some(PreTokenizerWrapper::ByteLevel(bytes)), Some(wanted)) =
            (library.get_pre_tokenizer(), self.prefix_space)
            && bytes.add_prefix_space != wanted
        {
            let bytes = ByteLevel::new(wanted, true, bytes.use_regex);
            library.with_pre_tokenizer(Some(bytes));
        }
        if class.around.is_some() {
            let token = |wanted: bool, key, name| match special.text(name) {
                _ if !wanted => Ok(None),
                Some(text) => Ok(library.token_to_id(text).map(|id| (id, text))),
                None => Err(Problem::NoToken { key, token: name }),
            };
            let bos = token(self.add_bos, "add_bos_token", "bos_token");
            let eos = token(self.add_eos, "add_eos_token", "eos_token");
            let (bos, eos) = match bos.and_then(|bos| Ok((bos, eos?))) {
                Ok(both) => both,
                Err(problem) => return Ok(Err(problem)),
            };
            let processor = around(bos, eos)?;
            library.with_post_processor(processor);
        }
        Ok(Ok(library))
    }
}

fn no_tokenizer(folder: &Path) -> Error {
    match SLOW_FILES.into_iter().find(|file| folder.join(file).exists()) {
        Some(found) => unfit(folder)(Problem::SlowFiles { found }),
        None => Error::input(folder, Problem::NoTokenizer),
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
