//! Weights that are malformed, missing, or of another shape than the config says.

/// A problem of a model's weights.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A folder without weights.
    #[error("the folder holds neither `model.safetensors` nor `model.safetensors.index.json`")]
    NoWeights,
    /// A folder with weights as a pickle only.
    #[error("the folder's only weights are `{file}`, a pickle, which may hold code and is not read")]
    Pickle {
        /// The file.
        file: &'static str,
    },
    /// A folder with half a download.
    #[error("the folder's only weights are `{file}`, a download that was not finished")]
    Unfinished {
        /// The file.
        file: String,
    },
    /// An index that is not the JSON it should be.
    #[error("cannot be read as an index of shards: {reason}")]
    Index {
        /// The JSON parser's words, with line and column.
        reason: String,
    },
    /// A shard that the index puts somewhere else than in the folder.
    #[error("the index names the shard `{shard}`, which is not a path inside the folder")]
    ShardOutside {
        /// The path.
        shard: String,
    },
    /// A shard that is not there.
    #[error("the index names the shard `{shard}`, but there is no such file")]
    ShardMissing {
        /// The shard's name.
        shard: String,
    },
    /// A tensor that is not where the index says.
    #[error("the index says that the tensor `{tensor}` is in `{shard}`, but it is not")]
    NotInShard {
        /// The tensor.
        tensor: String,
        /// The shard's name.
        shard: String,
    },
    /// A tensor of a shard that the index does not put there.
    #[error("the shard `{shard}` holds the tensor `{tensor}`, which the index {}", match elsewhere {
        Some(other) => format!("puts into `{other}`"),
        None => "does not name".into(),
    })]
    NotInIndex {
        /// The tensor.
        tensor: String,
        /// The shard's name.
        shard: String,
        /// The shard by the index, if it names one.
        elsewhere: Option<String>,
    },
    /// A file too short for the length of its header.
    #[error("not a safetensors file: it is {length} bytes long, and its header's length alone takes 8")]
    TooShort {
        /// Length of the file.
        length: u64,
    },
    /// A header longer than any real one.
    #[error("the header claims to be {found} bytes long, where {limit} is the limit")]
    HeaderTooLong {
        /// The length claimed.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A header that goes on past the end of the file.
    #[error("the header claims to be {found} bytes long, but only {left} bytes follow")]
    HeaderTruncated {
        /// The length claimed.
        found: u64,
        /// Bytes in the file after it.
        left: u64,
    },
    /// A header that is not the JSON it should be, or whose tensors do not lie one after the other.
    #[error("the header, at byte 8, cannot be read: {reason}")]
    Header {
        /// The reason.
        reason: String,
    },
    /// More or less data than the header describes.
    #[error("the tensors take {expected} bytes by the header, but {found} bytes follow it")]
    DataLength {
        /// Bytes that the header describes.
        expected: u64,
        /// Bytes in the file after the header.
        found: u64,
    },
    /// A GGUF file that is one of several.
    #[error("the file is one of the {parts} parts of a split model, which are not read")]
    Split {
        /// The number of parts.
        parts: i64,
    },
    /// A tensor that is not there.
    #[error("there is no tensor `{tensor}`")]
    NoTensor {
        /// The tensor, under its name in the file where that is known.
        tensor: String,
    },
    /// A tensor of another shape than the config says.
    #[error("the tensor `{tensor}` has the shape {found:?}, but by the config it should be {expected:?}")]
    Shape {
        /// The tensor, under its name in the file.
        tensor: String,
        /// The shape by the config.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor that the config knows nothing of.
    #[error("the tensor `{tensor}` has no part in the model that the config describes{}", match others {
        0 => String::new(),
        n => format!(", nor have {n} others"),
    })]
    LeftOver {
        /// The tensor, under its name in the file.
        tensor: String,
        /// The number of further ones.
        others: usize,
    },
    /// A tensor of numbers that are not read here.
    #[error("the tensor `{tensor}` holds {found} numbers, where F32, F16, BF16 and F64 are supported")]
    Dtype {
        /// The tensor, under its name in the file.
        tensor: String,
        /// The type of its numbers.
        found: String,
    },
    /// A weight that is not a number.
    #[error("the tensor `{tensor}` holds {value} at index {index}")]
    NotFinite {
        /// The tensor, under its name in the file.
        tensor: String,
        /// Its place in the tensor, counted row by row.
        index: usize,
        /// Infinity or NaN.
        value: f32,
    },
}

impl crate::error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::NoWeights => "give a folder with `config.json` and safetensors, or a `.gguf` file",
            Self::Pickle { .. } => {
                "convert the model to safetensors: load it with transformers and save it with `save_pretrained`"
            }
            Self::Unfinished { .. } => "let the download finish, or fetch the model again",
            Self::Split { .. } => "join the parts with llama.cpp's `llama-gguf-split --merge`",
            Self::ShardMissing { .. } => "fetch the model again: the folder is not whole",
            Self::NotInIndex { .. } => "fetch or save the model again: the shards are not of one model",
            Self::LeftOver { .. } => {
                "the config and the weights do not belong together: restore both from the model's repository, or load the model with transformers, see what it says of this tensor, and save it again with `save_pretrained`"
            }
            Self::NoTensor { .. } | Self::Shape { .. } => {
                "the config and the weights do not belong together: restore both from the model's repository"
            }
            Self::Dtype { .. } => "save the model in one of these types with `save_pretrained`",
            Self::NotFinite { .. } => {
                "the model is broken, perhaps by training that diverged or by a cast to f16: choose another"
            }
            _ => "the file is damaged or not whole: fetch it again and compare its checksum",
        }
        .into()
    }
}
