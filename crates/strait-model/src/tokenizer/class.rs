//! Tokenizer classes of transformers, and the tokens that they add to those of their files.

use serde_json::{Map, Value};

use super::problem::Problem;

/// A class of transformers' fast tokenizers.
#[derive(Debug, PartialEq)]
pub(super) struct Class {
    /// Its name without `Fast`.
    name: &'static str,
    /// The special tokens that it has where the files name none.
    pub defaults: &'static [(&'static str, &'static str)],
    /// The special tokens that are matched as they are, before any normalising, where files give them as text.
    pub as_they_are: &'static [&'static str],
    /// BOS and EOS around a text where the files do not say, true for each that is put there; none where `tokenizer.json` says that.
    pub around: Option<(bool, bool)>,
    /// True if `add_prefix_space` makes it forget `tokenizer.json`.
    pub rebuilt_for_prefix: bool,
    /// Special tokens that it has besides.
    pub infill: &'static [(&'static str, &'static str)],
}

const PLAIN: Class = Class {
    name: "PreTrainedTokenizer",
    defaults: &[],
    as_they_are: &[],
    around: None,
    rebuilt_for_prefix: false,
    infill: &[],
};

const SENTENCE: &[(&str, &str)] = &[("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")];
const END_OF_TEXT: &[(&str, &str)] =
    &[("unk_token", "<|endoftext|>"), ("bos_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>")];
/// The same, and no token to fill with, whatever `tokenizer.json` fills with.
const END_OF_TEXT_UNFILLED: &[(&str, &str)] = &[
    ("unk_token", "<|endoftext|>"),
    ("bos_token", "<|endoftext|>"),
    ("eos_token", "<|endoftext|>"),
    ("pad_token", ""),
];

const LLAMA: Class = Class {
    name: "LlamaTokenizer",
    defaults: SENTENCE,
    around: Some((true, false)),
    rebuilt_for_prefix: true,
    ..PLAIN
};

const GEMMA: Class = Class {
    name: "GemmaTokenizer",
    defaults: &[
        ("unk_token", "<unk>"),
        ("bos_token", "<bos>"),
        ("eos_token", "<eos>"),
        ("pad_token", "<pad>"),
    ],
    around: Some((true, false)),
    ..PLAIN
};

const QWEN2: Class = Class {
    name: "Qwen2Tokenizer",
    defaults: &[
        ("unk_token", "<|endoftext|>"),
        ("eos_token", "<|endoftext|>"),
        ("pad_token", "<|endoftext|>"),
    ],
    as_they_are: &["bos_token", "eos_token", "unk_token", "pad_token"],
    ..PLAIN
};

const CLASSES: [Class; 7] = [
    PLAIN,
    LLAMA,
    GEMMA,
    QWEN2,
    Class { name: "GPT2Tokenizer", defaults: END_OF_TEXT, ..PLAIN },
    Class { name: "GPTNeoXTokenizer", defaults: END_OF_TEXT_UNFILLED, around: Some((false, false)), ..PLAIN },
    Class {
        name: "CodeLlamaTokenizer",
        rebuilt_for_prefix: false,
        infill: &[
            ("prefix_token", "▁<PRE>"),
            ("middle_token", "▁<MID>"),
            ("suffix_token", "▁<SUF>"),
            ("eot_token", "▁<EOT>"),
        ],
        ..LLAMA
    },
];

/// The classes that transformers takes for models whose files name none.
const OF_MODELS: [(&str, &Class); 6] = [
    ("llama", &LLAMA),
    ("qwen2", &QWEN2),
    ("qwen3", &QWEN2),
    ("gemma2", &GEMMA),
    ("gemma3", &GEMMA),
    ("gemma3_text", &GEMMA),
];

impl Class {
    /// The class that `tokenizer_config.json` names, else `config.json`, else that of the model's type.
    pub fn of(tokenizer: &Map<String, Value>, model: &Map<String, Value>) -> Result<&'static Self, Problem> {
        let named = |file, map: &Map<String, Value>| match map.get("tokenizer_class") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(name)) => Ok(Some(name.clone())),
            Some(_) => Err(Problem::Type { file, key: "tokenizer_class".into(), expected: "a text" }),
        };
        let name = match named("tokenizer_config.json", tokenizer)? {
            Some(name) => Some(name),
            None => named("config.json", model)?,
        };
        match name {
            Some(found) => {
                let base = found.strip_suffix("Fast").unwrap_or(&found);
                CLASSES.iter().find(|class| class.name == base).ok_or_else(|| Problem::Class {
                    found,
                    known: CLASSES.iter().map(|class| class.name).collect(),
                })
            }
            None => {
                let kind = model.get("model_type").and_then(Value::as_str).unwrap_or_default();
                Ok(OF_MODELS.iter().find(|(known, _)| *known == kind).map_or(&PLAIN, |(_, class)| class))
            }
        }
    }
}
