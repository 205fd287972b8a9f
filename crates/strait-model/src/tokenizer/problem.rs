//! Tokenizers that are damaged or not supported, and texts that they do not fit.

use crate::error::quoted;

/// A problem of a tokenizer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Only the files of a slow tokenizer, which transformers would convert.
    #[error("the folder has `{found}` and no `tokenizer.json`")]
    SlowFiles {
        /// The slow tokenizer's file.
        found: &'static str,
    },
    /// A tokenizer class whose defaults are not known.
    #[error("the tokenizer class is `{found}`, where {} are supported", quoted(known))]
    Class {
        /// The class.
        found: String,
        /// Those that are known.
        known: Vec<&'static str>,
    },
    /// A setting with which transformers does not take `tokenizer.json` as it is.
    #[error(
        "`tokenizer_config.json` sets `{key}`, with which transformers makes the tokenizer anew from other files"
    )]
    Rebuilt {
        /// The setting.
        key: &'static str,
    },
    /// A key of the wrong type.
    #[error("`{file}`: `{key}` must be {expected}")]
    Type {
        /// The file.
        file: &'static str,
        /// The key.
        key: String,
        /// The type that it must have.
        expected: &'static str,
    },
    /// A token that is to be put around texts and is not named.
    #[error("`{key}` is true, but there is no `{token}`")]
    NoToken {
        /// The part that asks for it.
        key: &'static str,
        /// The token's name.
        token: &'static str,
    },
    /// A tokenizer that draws at random.
    #[error("`tokenizer.json`: `model.dropout` is {found}: each reading would give other tokens")]
    Dropout {
        /// The share of merges that are dropped.
        found: f64,
    },
    /// A post-processor that writes the text many times, or very many tokens around it.
    #[error(
        "`tokenizer.json`: `post_processor` writes {found} pieces around and for a text, where {limit} is the limit"
    )]
    Pieces {
        /// Pieces.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A decoder that makes texts many times longer.
    #[error(
        "`tokenizer.json`: `decoder` can make a text {found:.0} times longer, where {limit} is the limit"
    )]
    Decoder {
        /// The factor.
        found: f64,
        /// The limit.
        limit: f64,
    },
    /// Words that are looked at for too long.
    #[error("`tokenizer.json`: `model.max_input_chars_per_word` is {found}, where {limit} is the limit")]
    Word {
        /// The number.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A text that the normalizer could make too long.
    #[error(
        "`tokenizer.json`: `normalizer` and `pre_tokenizer` can make {found:.0} bytes of a text of {length}, where {limit} is the limit"
    )]
    Growth {
        /// Bytes of the text.
        length: usize,
        /// Bytes that may come of it.
        found: f64,
        /// The limit.
        limit: f64,
    },
    /// A file that is longer than any real one.
    #[error("`{file}` is longer than {limit} bytes")]
    FileTooLong {
        /// Its name.
        file: String,
        /// The limit.
        limit: u64,
    },
    /// A file that is no UTF-8.
    #[error("`{file}` is not UTF-8 text")]
    NotText {
        /// Its name.
        file: String,
    },
    /// A template that reads a variable that is not given to it here.
    #[error("the chat template reads `{name}`, which strait does not give it")]
    TemplateNames {
        /// The name.
        name: &'static str,
    },
    /// A token that the model has no row for.
    #[error("the token `{}` has the id {id}, but the model's embedding has {rows} rows", token.escape_debug())]
    BeyondEmbedding {
        /// The token's id.
        id: u32,
        /// The token's text.
        token: String,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A conversation in which no turn is to be trained on.
    #[error("no assistant turn of the conversation is to be trained on")]
    NothingTrained,
    /// A conversation whose turns cannot be told apart in sensible time.
    #[error(
        "the conversation's {turns} assistant turns in {bytes} bytes are too many to tell apart, one rendering each"
    )]
    TooManyTurns {
        /// Assistant turns.
        turns: usize,
        /// Bytes of the whole.
        bytes: usize,
    },
    /// A folder without a tokenizer that can be read.
    #[error("the folder has no `tokenizer.json`")]
    NoTokenizer,
    /// A file that is not the JSON it should be.
    #[error("`{file}`: {source}")]
    Json {
        /// Its name.
        file: &'static str,
        /// The parser's words.
        source: serde_json::Error,
    },
    /// A metadata key that every tokenizer needs.
    #[error("the metadata has no `{key}`")]
    NoKey {
        /// The key.
        key: &'static str,
    },
    /// A kind of tokenizer that is not known.
    #[error("`tokenizer.ggml.model` is `{found}`, where `gpt2` and `llama` are supported")]
    Kind {
        /// The kind.
        found: String,
    },
    /// A way of cutting text into words that is not known.
    #[error("`tokenizer.ggml.pre` is `{found}`, where {} are supported", quoted(known))]
    PreTokenizer {
        /// The name.
        found: String,
        /// Those that are known.
        known: Vec<&'static str>,
    },
    /// Two lists that should be as long as one another.
    #[error("`{key}` has {found} entries for {tokens} tokens")]
    Length {
        /// The list's key.
        key: &'static str,
        /// Its length.
        found: usize,
        /// The number of tokens.
        tokens: usize,
    },
    /// A token id that is no token's.
    #[error("`{key}` is {found}, but there are {tokens} tokens")]
    TokenId {
        /// Its key.
        key: &'static str,
        /// The id.
        found: i64,
        /// The number of tokens.
        tokens: usize,
    },
    /// A merge rule that does not lead from two tokens to a token.
    #[error("`tokenizer.ggml.merges` entry {index}, `{found}`, does not join two tokens to a token")]
    Merge {
        /// Its place in the list, counted from 0.
        index: usize,
        /// The rule.
        found: String,
    },
    /// The tokenizers library refused.
    #[error("the tokenizer cannot {doing}: {detail}")]
    Library {
        /// The step that failed, as a verb phrase.
        doing: &'static str,
        /// The library's words.
        detail: String,
    },
}

impl crate::error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::SlowFiles { .. } | Self::Rebuilt { .. } => {
                "load the tokenizer with transformers' `AutoTokenizer`, `save_pretrained` it into the folder, and remove the setting if it is still there: `tokenizer.json` then says all"
            }
            Self::Class { .. } => {
                "name the class that it derives from as `tokenizer_class` in `tokenizer_config.json`; `PreTrainedTokenizerFast` takes `tokenizer.json` as it is"
            }
            Self::Type { .. } => "correct the key, or fetch the model's files again",
            Self::NoToken { .. } => "name the token in `tokenizer_config.json`, or do not ask for it",
            Self::Dropout { .. } => "set `model.dropout` to null, as models are used after training",
            Self::Pieces { .. } | Self::Decoder { .. } | Self::Word { .. } | Self::Growth { .. } => {
                "no real tokenizer does that: fetch the model's files again, from their original source"
            }
            Self::FileTooLong { .. } => {
                "put the model's own file there; `strait model pull` fetches it again"
            }
            Self::NotText { .. } => "save the file as UTF-8, or fetch it again",
            Self::BeyondEmbedding { .. } => {
                "the tokenizer and the weights do not belong together: fetch both from one source, or resize the model's embedding in transformers and save it"
            }
            Self::TemplateNames { .. } => "write the tokens into the template instead",
            Self::NothingTrained => "leave the row out, or mark a turn as one to train on",
            Self::TooManyTurns { .. } => "split the conversation into rows of fewer turns",
            Self::NoTokenizer => {
                "load the tokenizer with transformers' `AutoTokenizer` and `save_pretrained` it into the folder, which writes `tokenizer.json`"
            }
            Self::Json { .. } | Self::Library { .. } => {
                "fetch the model's files again; the tokenizer must be one that the `tokenizers` library reads"
            }
            Self::Kind { .. } | Self::PreTokenizer { .. } => {
                "take the model as a Hugging Face folder, whose `tokenizer.json` says how text is cut"
            }
            Self::NoKey { .. } | Self::Length { .. } | Self::TokenId { .. } | Self::Merge { .. } => {
                "the GGUF file's tokenizer is damaged: convert or fetch the file again"
            }
        }
        .into()
    }
}
