//! Edits and their files that are refused.

use std::path::PathBuf;

use super::layers_in_words;
use crate::Error;

/// A problem of an edit or its file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    // What the user wrote.
    /// `E*x` where x is no finite number.
    #[error("`{text}` after `*` is not a finite number")]
    FactorText {
        /// The text after the star.
        text: String,
    },
    /// `E@x` where x is no layer.
    #[error("`{text}` after `@` is not a layer")]
    LayerText {
        /// The text after the at sign.
        text: String,
    },
    /// A factor that would destroy the edit.
    #[error("an edit cannot be scaled by {factor}")]
    Factor {
        /// The factor.
        factor: f64,
    },
    /// A file that holds a vector and does not say where it acts.
    #[error("the file holds a vector of {size} values and does not say after which layer it acts")]
    LayerNeeded {
        /// Length of the vector.
        size: usize,
    },
    /// `E@x` for a file that says another layer.
    #[error("layer {asked} was asked for, but the file says layer {found}")]
    LayerDisagrees {
        /// The layer in the file.
        found: i32,
        /// The layer asked for.
        asked: i32,
    },
    /// `E@x` for a file whose vectors and adapters are at other layers.
    #[error("layer {asked} was asked for, but the edit is at layers {}", layers_in_words(.found))]
    LayerMissing {
        /// The layers of the file.
        found: Vec<i32>,
        /// The layer asked for.
        asked: i32,
    },
    /// `E@x` for an edit that is more than vectors and adapters.
    #[error(
        "layer {asked} was asked for, but the edit is more than steering vectors and LoRAs and says its layers itself"
    )]
    LayerNotWanted {
        /// The layer asked for.
        asked: i32,
    },

    // Scalars of adapters.
    /// An edit without adapters, whose scalars are asked for.
    #[error("the edit has no adapters: it is no LoRA")]
    NoAdapters,
    /// An adapter that acts where no pass over blocks comes.
    #[error(
        "the edit has an adapter on the head, which acts where logits are made: its scalars are not read"
    )]
    ScalarsOfHead,

    // Which file it is.
    /// A folder that holds no edit.
    #[error("the folder holds neither `edit.safetensors` nor `adapter_config.json`")]
    NoEdit,
    /// A PEFT folder without weights.
    #[error(
        "the folder has an `adapter_config.json`, but neither `adapter_model.safetensors` nor `adapter_model.bin`"
    )]
    NoAdapterWeights,
    /// A file of a kind that strait does not read as an edit.
    #[error("strait reads no edit from a file that ends in `.{extension}`")]
    Extension {
        /// Its extension.
        extension: String,
    },
    /// A PEFT folder whose weights are in files of other names.
    #[error(
        "the folder has weights in `{found}`, but neither `adapter_model.safetensors` nor `adapter_model.bin`"
    )]
    OtherWeights {
        /// One of the files.
        found: String,
    },
    /// A kind of file that strait does not write.
    #[error("strait writes no edit to a file that ends in `.{extension}`")]
    OutputExtension {
        /// Its extension.
        extension: String,
    },

    // safetensors.
    /// The header is longer than the file or than any sane header.
    #[error("the safetensors header claims {claimed} bytes, but there is room for {limit}")]
    HeaderSize {
        /// The file's value.
        claimed: u64,
        /// The allowed values.
        limit: u64,
    },
    /// The header is malformed.
    #[error("the safetensors header is malformed: {0}")]
    Header(String),
    /// The file is longer or shorter than header and tensors.
    #[error("the safetensors file has {found} bytes where its header describes {expected}")]
    FileSize {
        /// Bytes by the header.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// A tensor in a number format that edits do not have.
    #[error("tensor `{tensor}` is of type {dtype}, not a float of 16, 32 or 64 bits")]
    DataType {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: String,
    },
    /// NaN or infinity.
    #[error("value {index} of tensor `{tensor}` is {value}")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Place of the first such value, in row-major order.
        index: usize,
        /// The value.
        value: f32,
    },

    // strait's own file.
    /// A safetensors file that strait did not write.
    #[error("the safetensors file is no edit of strait: its format is {}", found.as_deref().map_or("not named".into(), |f| format!("`{f}`")))]
    Format {
        /// The format that its metadata name, if any.
        found: Option<String>,
    },
    /// A file of a version that is not known.
    #[error("the edit is of version `{found}`; this strait knows version `{known}`")]
    Version {
        /// The version of the file.
        found: String,
        /// The version that is known.
        known: &'static str,
    },
    /// Metadata that lack a key.
    #[error("the metadata lack `{key}`")]
    MetadataMissing {
        /// The key.
        key: String,
    },
    /// Metadata with a value that cannot be.
    #[error("the metadata say `{key}` is `{value}`, which is not {expected}")]
    MetadataValue {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// The value that it should have.
        expected: &'static str,
    },
    /// A composition in which a part has no tensors.
    #[error("part {part} of the edit has no tensors")]
    EmptyPart {
        /// The part, counted from 0.
        part: usize,
    },
    /// An edit of nothing.
    #[error("the edit has no tensors")]
    Empty,

    // Tensors.
    /// A tensor that belongs to no edit.
    #[error(
        "tensor `{name}` is neither a steering vector nor a direction to ablate nor half of a LoRA adapter nor the change of a \
         weight"
    )]
    UnknownTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor whose name lacks the beginning of PEFT's names.
    #[error(
        "the name of tensor `{name}` does not begin with `base_model.model.`, so that PEFT would pass over it"
    )]
    Unwrapped {
        /// The tensor.
        name: String,
    },
    /// Tensors of models that keep their text model in different places.
    #[error(
        "tensors `{first}` and `{second}` name models of different makes, so that PEFT would pass over one of them"
    )]
    Places {
        /// One tensor.
        first: String,
        /// Another.
        second: String,
    },
    /// A weight of the model in an adapter's file that is not the model's.
    #[error(
        "tensor `{tensor}` is a weight of the model itself, which PEFT puts in place of the model's, and row {row} of it is \
         another than this model's"
    )]
    OtherTable {
        /// The tensor.
        tensor: String,
        /// The first row that differs.
        row: usize,
    },
    /// A LoRA adapter at a module that strait does not know.
    #[error(
        "tensor `{name}` adapts a module that is none of the seven projections of a block, nor the embeddings, nor the head"
    )]
    UnknownModule {
        /// The tensor.
        name: String,
    },
    /// Two tensors for one place.
    #[error("tensor `{name}` is the second for its place")]
    Duplicate {
        /// The second one.
        name: String,
    },
    /// Half of an adapter.
    #[error("`{site}` has no `{missing}`")]
    Unpaired {
        /// The module.
        site: String,
        /// The half that is missing.
        missing: &'static str,
    },
    /// A vector that is none.
    #[error("`{name}` has shape {shape:?}, which is not one vector")]
    VectorShape {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Halves of an adapter that do not fit together.
    #[error("`{site}` has A of shape {a:?} and B of shape {b:?}, which are not (r, in) and (out, r)")]
    AdapterShapes {
        /// The module.
        site: String,
        /// Shape of A.
        a: Vec<usize>,
        /// Shape of B.
        b: Vec<usize>,
    },
    /// A rank that is not the one that the file or edit says.
    #[error("`{site}` has rank {found} where {expected} is stated")]
    Rank {
        /// The module.
        site: String,
        /// The stated rank.
        expected: usize,
        /// The rank by A's shape.
        found: usize,
    },

    /// A full fine-tune that lacks one of the model's weights.
    #[error("the fine-tune says nothing of the weight `{tensor}`, which this model has")]
    DeltaMissing {
        /// The weight.
        tensor: String,
    },
    /// A full fine-tune of a weight that the model does not have.
    #[error("the fine-tune changes the weight `{tensor}`, which this model does not have")]
    DeltaUnknown {
        /// The weight.
        tensor: String,
    },
    /// A full fine-tune of other weights.
    #[error(
        "the fine-tune changes other weights than this model's: what it adds was trained on a model of the same shape"
    )]
    OtherBase,

    /// A direction to ablate that is none.
    #[error("`{name}` is zero, which is no direction")]
    NoDirection {
        /// The tensor.
        name: String,
    },

    // PEFT.
    /// JSON that cannot be read.
    #[error("not valid JSON: {0}")]
    Json(String),
    /// A key that must be there.
    #[error("`{key}` is missing")]
    KeyMissing {
        /// The key.
        key: &'static str,
    },
    /// A key with a value that cannot be.
    #[error("`{key}` is {value}, which is not {expected}")]
    KeyValue {
        /// The key.
        key: &'static str,
        /// Its value, as JSON.
        value: String,
        /// The value that it should have.
        expected: &'static str,
    },
    /// A variant of LoRA that strait does not run.
    #[error("`{key}` is {value}: {why}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// Its value, as JSON.
        value: String,
        /// Its meaning.
        why: &'static str,
    },
    /// A key that is not known and says something.
    #[error("`{key}` is {value}, and what that does to an adapter is not known here")]
    UnknownKey {
        /// The key.
        key: String,
        /// Its value, as JSON.
        value: String,
    },
    /// A pattern that cannot be read as Python reads it.
    #[error("`{key}` has the pattern `{pattern}`, which is not read here as Python reads it: {why}")]
    Pattern {
        /// The key.
        key: &'static str,
        /// The pattern.
        pattern: String,
        /// The reason.
        why: String,
    },
    /// Tensors of a module that the config does not name.
    #[error(
        "the weights adapt `{module}`, which `target_modules` and the keys beside it do not name, so that PEFT would pass over it"
    )]
    NotTargeted {
        /// The module.
        module: String,
    },
    /// A module that the config names and that has no tensors.
    #[error("`target_modules` names `{module}`, for which the weights hold nothing")]
    TargetMissing {
        /// The module.
        module: String,
    },
    /// An edit that a PEFT folder cannot hold.
    #[error("a PEFT folder cannot hold {kind}")]
    NotPeft {
        /// The kind of the edit.
        kind: &'static str,
    },
    /// A full fine-tune that is to become a folder, without the model that it was made from.
    #[error(
        "a full fine-tune becomes a folder with a whole model, which takes the model that it was made from"
    )]
    ModelNeeded,
    /// A LoRA on the embeddings, to be written for PEFT without the table that it needs.
    #[error(
        "PEFT keeps a LoRA on the embeddings' stream as a change of each token's, which takes the model's embedding table"
    )]
    EmbeddingsNeeded,
    /// A folder that holds other things than an adapter.
    #[error("the folder already holds `{entry}`, which is no part of a PEFT adapter")]
    FolderTaken {
        /// One of the things in it.
        entry: String,
    },

    // .pt files.
    /// A PyTorch file that holds no vector.
    #[error(
        "the file holds {found} where a steering vector should be: a tensor, or a dict with `steering_vector`"
    )]
    NoVector {
        /// Its content.
        found: String,
    },
    /// A PyTorch file that holds no named tensors.
    #[error("the file holds {found} where a dict of an adapter's tensors should be")]
    NoTensors {
        /// Its content.
        found: &'static str,
    },
    /// A field of the dict with a value that cannot be.
    #[error("`{key}` is {found}, which is not {expected}")]
    Field {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// The value that it should have.
        expected: String,
    },

    // The model.
    /// An edit at a layer that the model does not have.
    #[error("the edit acts at `{site}`, but the model has {layers} layers (0 to {})", layers.saturating_sub(1))]
    LayerRange {
        /// The layer of the edit.
        site: String,
        /// The number of the model's layers.
        layers: usize,
    },
    /// A tensor whose shape does not fit the model.
    #[error("tensor `{tensor}` has shape {found:?}, but this model needs {expected:?}")]
    Size {
        /// The tensor.
        tensor: String,
        /// By the model.
        expected: Vec<usize>,
        /// By the edit.
        found: Vec<usize>,
    },
    /// Two adapters of one LoRA at one place.
    #[error("the LoRA has two adapters at `{site}`")]
    SameSite {
        /// The module.
        site: String,
    },
    /// A scale that is no finite number.
    #[error("the LoRA's scale is {scale} (rank {rank}, alpha {alpha}, factor {factor})")]
    Scale {
        /// The factor on B A x.
        scale: f64,
        /// Rank r.
        rank: usize,
        /// Alpha.
        alpha: f64,
        /// Factor.
        factor: f64,
    },
}

/// The remedy for what an adapter holds beyond plain LoRA. Merging is PEFT's own arithmetic; a tied head would be lost with it.
const MERGE: &str = "merge the adapter into its model with PEFT, `model = model.merge_and_unload()`, set \
                     `model.config.tie_word_embeddings = False` if it acts on the embeddings or the head, and give the folder \
                     that `model.save_pretrained` writes as the model";

impl crate::error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::FactorText { .. } => "write an edit's factor as a number: `E*2.5` or `E*-1`".into(),
            Self::LayerText { .. } => {
                "write the layer as a whole number from -1 (the embeddings) up: `vector.pt@24`".into()
            }
            Self::Factor { .. } => "scale by a finite number".into(),
            Self::LayerNeeded { .. } => {
                "add the block after which it acts, counted from 0: `vector.pt@24`, with a factor `vector.pt@24*2.5`"
                    .into()
            }
            Self::LayerDisagrees { found, asked } => {
                format!("leave `@{asked}` away; the vector was made for layer {found}")
            }
            Self::LayerMissing { .. } => "name one of the file's layers, or none for all of them".into(),
            Self::LayerNotWanted { asked } => format!("leave `@{asked}` away"),
            Self::NoAdapters => "name a LoRA: a run folder of one, a PEFT folder, or a file of adapters".into(),
            Self::ScalarsOfHead => "name the adapters of one layer each, as in `E@12`".into(),
            Self::NoEdit => "give a run folder, a PEFT folder, or a `.safetensors`, `.gguf` or `.pt` file".into(),
            Self::NoAdapterWeights => "copy the adapter's weights into the folder".into(),
            Self::Extension { .. } => {
                "give a run folder, a PEFT folder, or a `.safetensors`, `.gguf`, `.pt` or `.bin` file".into()
            }
            Self::OtherWeights { .. } => {
                "PEFT reads one file: load and save the adapter with the tool that wrote it, as one `adapter_model.safetensors`"
                    .into()
            }
            Self::OutputExtension { .. } => {
                "name a `.safetensors` or `.gguf` file, or a folder for a PEFT adapter".into()
            }
            Self::HeaderSize { .. } | Self::Header(_) | Self::FileSize { .. } => {
                "the file is cut off or damaged: copy or download it again".into()
            }
            Self::DataType { .. } => "save the same values in float32, float16 or bfloat16".into(),
            Self::NotFinite { .. } => {
                "the training that made it went wrong: take an earlier checkpoint".into()
            }
            Self::Format { .. } => {
                "for a PEFT adapter give its folder, which holds `adapter_config.json`; `strait edit convert` writes \
                 strait's own files"
                    .into()
            }
            Self::Version { .. } => "use the strait that wrote it, or a newer one".into(),
            Self::MetadataMissing { .. }
            | Self::MetadataValue { .. }
            | Self::EmptyPart { .. }
            | Self::Duplicate { .. }
            | Self::Unpaired { .. }
            | Self::AdapterShapes { .. }
            | Self::Rank { .. } => "the file is damaged or was changed by hand: get it again".into(),
            Self::Empty => {
                "an edit needs a steering vector or an adapter: the file is not the one that training saved".into()
            }
            // These are no LoRA at all, or act on some tokens only, which no merged weight does.
            Self::Unsupported { key: "peft_type" | "task_type" | "alora_invocation_tokens" | "arrow_config", .. } => {
                "such an adapter is not run here: measure it with PEFT itself, or give an adapter of plain LoRA".into()
            }
            Self::UnknownTensor { .. }
            | Self::UnknownModule { .. }
            | Self::UnknownKey { .. }
            | Self::Unsupported { .. } => MERGE.into(),
            Self::Unwrapped { .. } | Self::Places { .. } => {
                "save the adapter with PEFT's `save_pretrained`, from the model that it was trained on, so that its names are those \
                 of one model"
                    .into()
            }
            Self::OtherTable { .. } => {
                "use the adapter with the very model that it was made for, not quantised and not tuned further".into()
            }
            Self::NotTargeted { .. } | Self::TargetMissing { .. } => {
                "config and weights are of two adapters, or one of them is not whole: get both again from where the adapter \
                 was trained"
                    .into()
            }
            Self::VectorShape { .. } => {
                "save one vector of the model's hidden size, of shape (d), (d, 1) or (1, d)".into()
            }
            Self::Json(_) => "the file is cut off or was changed by hand: get it again".into(),
            Self::KeyMissing { key } | Self::KeyValue { key, .. } | Self::Field { key, .. } => {
                format!("take the file that training saved, or set `{key}` as it was in training")
            }
            Self::NoDirection { .. } => "give a direction that is not zero, as the mean difference of two behaviours".into(),
            Self::Pattern { key, .. } => format!(
                "write the modules of `{key}` out by their paths: those that `inspect_matched_modules` of PEFT lists, or that \
                 `print` of the adapted model shows"
            ),
            Self::ModelNeeded => "name it: `--model M`".into(),
            Self::NotPeft { .. } | Self::EmbeddingsNeeded => {
                "write a `.safetensors` file instead, or a whole model: `--model M`".into()
            }
            Self::FolderTaken { .. } => "name a new folder".into(),
            Self::NoVector { .. } => {
                "give a steering vector; for a LoRA adapter give its folder, which holds `adapter_config.json`".into()
            }
            Self::NoTensors { .. } => "save the adapter again with PEFT".into(),
            Self::OtherBase => {
                "use the fine-tune with the very model that it was trained from, not quantised and not tuned further".into()
            }
            Self::LayerRange { .. } | Self::Size { .. } | Self::DeltaMissing { .. } | Self::DeltaUnknown { .. } => {
                "the edit was made for another model: use it with that one".into()
            }
            Self::SameSite { .. } => "compose two edits instead".into(),
            Self::Scale { .. } => "take the rank and alpha of training, and a finite factor".into(),
        }
    }
}

impl Problem {
    /// The error of a file with this problem.
    pub(crate) fn at(self, path: impl Into<PathBuf>) -> Error {
        Error::input(path, self)
    }
}

/// Names the file in an edit's error that has none yet, for `map_err`.
pub(crate) fn in_file(path: impl Into<PathBuf>) -> impl FnOnce(Error) -> Error {
    let path = path.into();
    move |error| match error {
        Error::Input { path: None, problem } => Error::Input { path: Some(path), problem },
        other => other,
    }
}
