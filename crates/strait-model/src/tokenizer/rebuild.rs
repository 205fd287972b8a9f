//! The tokenizer of a GGUF file, rebuilt from its metadata.
//!
//! The metadata holds the vocabulary and names how text is cut, but not the rules themselves: those are here, as the
//! `tokenizer.json` of each family has them. candle has such a rebuilder too, but it knows no SentencePiece
//! vocabularies, cuts every text of a family that it does not know as GPT-2 does (so SmolLM's digits and, under the
//! name that files use, Llama 3's), and makes special tokens of unused ones.

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    SplitDelimiterBehavior,
    decoders::{
        byte_fallback::ByteFallback, fuse::Fuse, sequence::Sequence as DecoderSequence, strip::Strip,
    },
    models::bpe::{BPE, Vocab},
    normalizers::{prepend::Prepend, replace::Replace, unicode::NFC, utils::Sequence as NormalizerSequence},
    pre_tokenizers::{
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence as PreTokenizerSequence,
        split::{Split, SplitPattern},
    },
};

use super::{Parts, around, bounds::Growth, problem::Problem, templates::Templates};
use crate::{Error, Gguf, Result};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
/// Tokens that end a turn and a message, where they are not the one that ends a text.
const FURTHER_ENDS: [&str; 2] = ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
const PADDING: &str = "tokenizer.ggml.padding_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
const TEMPLATE: &str = "tokenizer.chat_template";
const ARCHITECTURE: &str = "general.architecture";

/// Values of [`TYPES`].
mod kind {
    pub const NORMAL: i64 = 1;
    pub const UNKNOWN: i64 = 2;
    pub const CONTROL: i64 = 3;
    pub const USER_DEFINED: i64 = 4;
}

/// SentencePiece's space.
const SPACE: &str = "▁";
/// Longest token that is taken apart into merges, in bytes. Those in use end at a few hundred.
const MAX_MERGED: usize = 1024;

/// Llama 3's pattern of words.
const LLAMA3_WORDS: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// That of Qwen 2 and 3: the same but for numbers.
const QWEN2_WORDS: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Rebuilds a tokenizer.
pub(super) fn rebuild(path: &Path, gguf: &Gguf) -> Result<Parts> {
    let source = Source::read(path, gguf)?;
    let (mut library, add_bos) = match gguf.string(MODEL)? {
        Some("gpt2") => byte_level(&source)?,
        Some("llama") => sentence_piece(&source)?,
        Some(found) => return Err(Error::input(path, Problem::Kind { found: found.into() })),
        None => return Err(Error::input(path, Problem::NoKey { key: MODEL })),
    };
    let added = source.tokens.iter().zip(&source.types).filter_map(|(token, &kind)| {
        let special = match kind {
            kind::CONTROL | kind::UNKNOWN => true,
            kind::USER_DEFINED => false,
            _ => return None,
        };
        Some(AddedToken::from(token.as_str(), special).normalized(false))
    });
    library.add_tokens(added).map_err(source.refused())?;
    library.with_post_processor(source.post_processor(add_bos)?);
    let specials = [("bos_token", BOS), ("eos_token", EOS), ("unk_token", UNKNOWN), ("pad_token", PADDING)]
        .into_iter()
        .filter_map(|(name, key)| source.token(key).transpose().map(|t| Ok((name.into(), t?.1.into()))))
        .collect::<Result<BTreeMap<_, _>>>()?;
    let ends = [EOS]
        .into_iter()
        .chain(FURTHER_ENDS)
        .filter_map(|key| source.token(key).transpose().map(|token| Ok(token?.0)))
        .collect::<Result<_>>()?;
    let template = gguf.string(TEMPLATE)?.map(str::to_string);
    Ok(Parts { library, growth: Growth::default(), templates: Templates::one(template), specials, ends })
}

/// A GGUF file's metadata, with its tokens and their types.
struct Source<'a> {
    path: &'a Path,
    gguf: &'a Gguf,
    tokens: Cow<'a, [String]>,
    types: Vec<i64>,
}

impl<'a> Source<'a> {
    fn read(path: &'a Path, gguf: &'a Gguf) -> Result<Self> {
        let tokens =
            gguf.strings(TOKENS)?.ok_or_else(|| Error::input(path, Problem::NoKey { key: TOKENS }))?;
        let types = match gguf.integers(TYPES)? {
            Some(types) => same_length(path, TYPES, types, tokens.len())?,
            None => vec![kind::NORMAL; tokens.len()],
        };
        let tokens = match gguf.string(MODEL)? {
            // No piece of SentencePiece has a space in it; converters write one into runs of spaces.
            Some("llama") => tokens.iter().map(|token| token.replace(' ', SPACE)).collect(),
            _ => Cow::Borrowed(tokens),
        };
        Ok(Self { path, gguf, tokens, types })
    }

    fn vocabulary(&self) -> Vocab {
        self.tokens.iter().cloned().zip(0..).collect()
    }

    /// Id and text of the token whose id stands under `key`.
    fn token(&self, key: &'static str) -> Result<Option<(u32, &str)>> {
        let Some(found) = self.gguf.integer(key)? else { return Ok(None) };
        let index = usize::try_from(found).ok().filter(|&index| index < self.tokens.len());
        let id = u32::try_from(found).ok();
        match index.zip(id) {
            Some((index, id)) => Ok(Some((id, self.tokens[index].as_str()))),
            None => Err(Error::input(self.path, Problem::TokenId { key, found, tokens: self.tokens.len() })),
        }
    }

    /// Puts the tokens around a text that the file asks for.
    fn post_processor(&self, add_bos: bool) -> Result<Option<PostProcessorWrapper>> {
        let add_eos = self.gguf.boolean(ADD_EOS)?.unwrap_or(false);
        let wanted = |wanted: bool, key| if wanted { self.token(key) } else { Ok(None) };
        let (bos, eos) = (wanted(add_bos, BOS)?, wanted(add_eos, EOS)?);
        around(bos, eos).map_err(self.refused())
    }

    fn refused(&self) -> impl Fn(tokenizers::Error) -> crate::Error {
        |error| {
            let detail = error.to_string();
            Error::input(self.path, Problem::Library { doing: "be rebuilt from the metadata", detail })
        }
    }
}

/// A byte-level BPE tokenizer, as of GPT-2 and most families since, and whether it begins a text with its BOS token.
fn byte_level(source: &Source) -> Result<(tokenizers::Tokenizer, bool)> {
    let gguf = source.gguf;
    let words = Words::named(source)?;
    let vocabulary = source.vocabulary();
    let merges =
        gguf.strings(MERGES)?.ok_or_else(|| Error::input(source.path, Problem::NoKey { key: MERGES }))?;
    let merges = merges
        .iter()
        .enumerate()
        .map(|(index, merge)| {
            let known = |token: &str| vocabulary.contains_key(token);
            match merge.split_once(' ') {
                Some((a, b)) if known(a) && known(b) && known(&[a, b].concat()) => Ok((a.into(), b.into())),
                _ => Err(Error::input(source.path, Problem::Merge { index, found: merge.clone() })),
            }
        })
        .collect::<Result<_>>()?;
    let model = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(words == Words::Llama3)
        .build()
        .map_err(source.refused())?;
    let mut library = tokenizers::Tokenizer::new(model);
    if words == Words::Qwen2 {
        library.with_normalizer(Some(NFC)).map_err(source.refused())?;
    }
    library.with_pre_tokenizer(Some(words.pre_tokenizer().map_err(source.refused())?));
    library.with_decoder(Some(ByteLevel::default()));
    let add_bos = gguf.boolean(ADD_BOS)?.unwrap_or(words == Words::Llama3);
    Ok((library, add_bos))
}

/// The step that cuts text into the words inside which tokens are merged.
#[derive(Clone, Copy, PartialEq)]
enum Words {
    Gpt2,
    SmolLm,
    Llama3,
    Qwen2,
}

impl Words {
    const NAMES: [(&'static str, Self); 8] = [
        ("gpt-2", Self::Gpt2),
        ("smollm", Self::SmolLm),
        ("llama-bpe", Self::Llama3),
        ("llama-v3", Self::Llama3),
        ("llama3", Self::Llama3),
        ("smaug-bpe", Self::Llama3),
        ("qwen2", Self::Qwen2),
        ("deepseek-r1-qwen", Self::Qwen2),
    ];

    /// The way that the metadata names; where it names none, Qwen's for its architectures and GPT-2's otherwise.
    fn named(source: &Source) -> Result<Self> {
        let name = match source.gguf.string(PRE)? {
            Some(name) if name != "default" => name,
            _ => match source.gguf.string(ARCHITECTURE)? {
                Some("qwen2" | "qwen3") => "qwen2",
                _ => "gpt-2",
            },
        };
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, words)| *words).ok_or_else(|| {
            let known = Self::NAMES.map(|(known, _)| known).into();
            Error::input(source.path, Problem::PreTokenizer { found: name.into(), known })
        })
    }

    fn pre_tokenizer(self) -> tokenizers::Result<PreTokenizerWrapper> {
        // Offsets are of whole tokens, spaces and all: the places of responses are read from them.
        let bytes = ByteLevel::new(false, false, false);
        let first: PreTokenizerWrapper = match self {
            Self::Gpt2 => return Ok(bytes.use_regex(true).into()),
            Self::SmolLm => {
                let pieces = vec![Digits::new(true).into(), bytes.use_regex(true).into()];
                return Ok(PreTokenizerSequence::new(pieces).into());
            }
            Self::Llama3 => split(LLAMA3_WORDS)?,
            Self::Qwen2 => split(QWEN2_WORDS)?,
        };
        Ok(PreTokenizerSequence::new(vec![first, bytes.into()]).into())
    }
}

fn split(pattern: &str) -> tokenizers::Result<PreTokenizerWrapper> {
    let pattern = SplitPattern::Regex(pattern.into());
    Ok(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into())
}

/// A SentencePiece BPE tokenizer, as of Llama 2 and Gemma, and whether it begins a text with its BOS token.
fn sentence_piece(source: &Source) -> Result<(tokenizers::Tokenizer, bool)> {
    let gguf = source.gguf;
    let tokens = source.tokens.len();
    let scores =
        gguf.floats(SCORES)?.ok_or_else(|| Error::input(source.path, Problem::NoKey { key: SCORES }))?;
    let scores = same_length(source.path, SCORES, scores, tokens)?;
    let vocabulary = source.vocabulary();
    let merges = merges_by_score(source, &vocabulary, &scores);
    let mut model = BPE::builder().vocab_and_merges(vocabulary, merges).fuse_unk(true).byte_fallback(true);
    if let Some((_, unknown)) = source.token(UNKNOWN)? {
        model = model.unk_token(unknown.into());
    }
    let mut library = tokenizers::Tokenizer::new(model.build().map_err(source.refused())?);
    let spaces = Replace::new(" ", SPACE).map_err(source.refused())?;
    let mut decoders: Vec<DecoderWrapper> = vec![
        Replace::new(SPACE, " ").map_err(source.refused())?.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    let normalizer: NormalizerWrapper = if gguf.boolean(ADD_SPACE)?.unwrap_or(true) {
        decoders.push(Strip::new(' ', 1, 0).into());
        NormalizerSequence::new(vec![Prepend::new(SPACE.into()).into(), spaces.into()]).into()
    } else {
        spaces.into()
    };
    library.with_normalizer(Some(normalizer)).map_err(source.refused())?;
    library.with_decoder(Some(DecoderSequence::new(decoders)));
    Ok((library, gguf.boolean(ADD_BOS)?.unwrap_or(true)))
}

/// The merges of a SentencePiece vocabulary, which has none, but a score for each piece: every cut of a piece into
/// two others is a merge, those of the best piece first.
///
/// Pieces that are no result of training score 0, the best there is, in SentencePiece itself; converters write
/// something else for them.
fn merges_by_score(source: &Source, vocabulary: &Vocab, scores: &[f64]) -> Vec<(String, String)> {
    let mut merges = Vec::new();
    for (index, piece) in source.tokens.iter().enumerate().filter(|(_, piece)| piece.len() <= MAX_MERGED) {
        let score = if source.types[index] == kind::NORMAL { scores[index] } else { 0.0 };
        let first = merges.len();
        for (chars, (cut, _)) in piece.char_indices().enumerate().skip(1) {
            let (left, right) = piece.split_at(cut);
            if let (Some(&a), Some(&b)) = (vocabulary.get(left), vocabulary.get(right)) {
                // Adding 0 makes 0 of -0, which the best score of training often is.
                merges.push((score + 0.0, chars, right.chars().count(), a, b));
            }
        }
        merges[first..].sort_unstable_by_key(|&(.., a, b)| (a, b));
    }
    merges.sort_by(|x, y| y.0.total_cmp(&x.0).then(y.1.cmp(&x.1)).then(y.2.cmp(&x.2)));
    let text = |id: u32| source.tokens[id as usize].clone();
    merges.into_iter().map(|(.., a, b)| (text(a), text(b))).collect()
}

fn same_length<T>(path: &Path, key: &'static str, list: Vec<T>, tokens: usize) -> Result<Vec<T>> {
    if list.len() != tokens {
        return Err(Error::input(path, Problem::Length { key, found: list.len(), tokens }));
    }
    Ok(list)
}
