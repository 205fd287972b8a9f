//! Control vectors and adapters of llama.cpp that are refused.

use std::path::PathBuf;

use crate::Error;

/// A problem of an edit in a GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A GGUF file of another kind.
    #[error("the GGUF file is {found}, not a control vector or a LoRA adapter")]
    NoEdit {
        /// What it is, with its article.
        found: String,
    },
    /// An adapter that is no LoRA.
    #[error("the adapter is of type `{found}`, not `lora`")]
    AdapterType {
        /// The type.
        found: String,
    },
    /// An adapter that acts after an invocation only.
    #[error("`adapter.alora.invocation_tokens` makes it an adapter that acts on some tokens only")]
    Invoked,
    /// An adapter for models that strait does not read.
    #[error("the adapter is for models of the architecture `{found}`, which strait does not read")]
    Architecture {
        /// The architecture.
        found: String,
    },
    /// An adapter for another model.
    #[error("the adapter is for models of the architecture `{found}`, and this model is of `{model}`")]
    OtherArchitecture {
        /// That of the adapter.
        found: &'static str,
        /// That of the model.
        model: &'static str,
    },
    /// Rows in llama.cpp's order, of heads whose size is not known.
    #[error(
        "tensor `{tensor}` has its rows in llama.cpp's order, and how large the model's heads are the file does not say"
    )]
    HeadNeeded {
        /// The tensor.
        tensor: String,
    },
    /// Rows that do not make up whole heads.
    #[error("tensor `{tensor}` has {rows} rows, which are no whole heads of {head_dim}")]
    Heads {
        /// The tensor.
        tensor: String,
        /// Its rows.
        rows: usize,
        /// Rows of a head.
        head_dim: usize,
    },
    /// A tensor that is no matrix.
    #[error("tensor `{tensor}` has shape {shape:?}, which is no matrix")]
    NoMatrix {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor of an adapter with a name that says nothing here.
    #[error("tensor `{tensor}` adapts none of the projections of a block, nor the embeddings, nor the head")]
    UnknownTensor {
        /// The tensor.
        tensor: String,
    },
    /// A tensor of a control vector that llama.cpp would drop the whole file for.
    #[error("tensor `{tensor}` {why}, and llama.cpp drops the whole file for it")]
    Direction {
        /// The tensor.
        tensor: String,
        /// The reason.
        why: String,
    },

    // Writing.
    /// No word on which model the edit is for.
    #[error("a GGUF file says which model its edit is for")]
    ModelNeeded,
    /// An edit that neither kind of file holds.
    #[error("a GGUF file cannot hold {kind}")]
    Kind {
        /// The kind of the edit.
        kind: &'static str,
    },
    /// A vector at a layer that control vectors do not have.
    #[error("a control vector cannot act {place}: its first layer in llama.cpp is the output of block 1")]
    TooLow {
        /// The place.
        place: &'static str,
    },
    /// An adapter of a table that is embeddings and head at once.
    #[error(
        "the LoRA adapts {module} of a model whose embeddings are its head too, which llama.cpp cannot tell apart"
    )]
    TiedTable {
        /// The module.
        module: &'static str,
    },
    /// A scale that 32 bits do not hold.
    #[error("the LoRA's alpha is {alpha}, which a GGUF file cannot hold")]
    Alpha {
        /// Alpha.
        alpha: f64,
    },
}

impl crate::error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::NoEdit { .. } => "give a model as the model; an edit is a control vector or a LoRA adapter",
            Self::AdapterType { .. } | Self::Invoked => {
                "such an adapter is not run here: give one of plain LoRA"
            }
            Self::Architecture { .. } | Self::OtherArchitecture { .. } => {
                "use the adapter with the model that it was made for"
            }
            Self::HeadNeeded { .. } => {
                "name its model: `strait edit convert ADAPTER.gguf adapter.safetensors --model M`"
            }
            Self::Heads { .. } | Self::NoMatrix { .. } => {
                "the file is damaged or was made for another model: get it again"
            }
            Self::UnknownTensor { .. } => {
                "give the model with the adapter in its weights instead: `llama-export-lora` writes it"
            }
            Self::Direction { .. } => "write the control vector again with the tool that made it",
            Self::ModelNeeded => "name it: `--model M`",
            Self::Kind { .. } | Self::TooLow { .. } | Self::TiedTable { .. } => {
                "write a `.safetensors` file instead"
            }
            Self::Alpha { .. } => "take a smaller alpha, and a larger B",
        }
        .into()
    }
}

impl Problem {
    /// The error of a file with this problem.
    pub(super) fn at(self, path: impl Into<PathBuf>) -> Error {
        Error::input(path, self)
    }
}
