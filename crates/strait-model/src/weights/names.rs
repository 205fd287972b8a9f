//! The names of tensors: Hugging Face's, which the decoder uses, and those of the files.

use crate::config::Architecture;

/// The names of tensors in one model's files.
#[derive(Debug)]
pub(super) enum Names {
    /// Like Hugging Face, under `body` instead of `model.`.
    HuggingFace { body: &'static str, head: &'static str },
    /// Like llama.cpp.
    Gguf { block: [&'static [Pair]; 2] },
}

/// A name of Hugging Face and the same of llama.cpp, without the parts that they share.
type Pair = (&'static str, &'static str);

const BODY: &str = "model.";
const HEAD: &str = "lm_head.";
const EMBEDDING: &str = "embed_tokens.weight";

/// The prefixes of the text model and its head in folders: alone; beside eyes, as Gemma 3 was published and as transformers now
/// writes it; and without the head, as the bare model is saved.
const FOLDERS: [Pair; 4] = [
    ("model.", "lm_head."),
    ("language_model.model.", "language_model.lm_head."),
    ("model.language_model.", "lm_head."),
    ("", "lm_head."),
];

const OUTSIDE_BLOCKS: [Pair; 3] =
    [("model.embed_tokens.", "token_embd."), ("model.norm.", "output_norm."), ("lm_head.", "output.")];

const IN_BLOCKS: [Pair; 10] = [
    ("input_layernorm.", "attn_norm."),
    ("self_attn.q_proj.", "attn_q."),
    ("self_attn.k_proj.", "attn_k."),
    ("self_attn.v_proj.", "attn_v."),
    ("self_attn.o_proj.", "attn_output."),
    ("self_attn.q_norm.", "attn_q_norm."),
    ("self_attn.k_norm.", "attn_k_norm."),
    ("mlp.gate_proj.", "ffn_gate."),
    ("mlp.up_proj.", "ffn_up."),
    ("mlp.down_proj.", "ffn_down."),
];

/// An MLP with one norm: Hugging Face names it after the attention that it follows.
const ONE_NORM: [Pair; 1] = [("post_attention_layernorm.", "ffn_norm.")];

const GEMMA_NORMS: [Pair; 3] = [
    ("post_attention_layernorm.", "post_attention_norm."),
    ("pre_feedforward_layernorm.", "ffn_norm."),
    ("post_feedforward_layernorm.", "post_ffw_norm."),
];

impl Names {
    /// The names in a folder, told by where its embedding is.
    pub(super) fn of_folder(contains: impl Fn(&str) -> bool) -> Self {
        let holds = |&&(body, _): &&Pair| contains(&format!("{body}{EMBEDDING}"));
        let &(body, head) = FOLDERS.iter().find(holds).unwrap_or(&FOLDERS[0]);
        Self::HuggingFace { body, head }
    }

    /// The names in a GGUF file.
    pub(super) fn of_gguf(architecture: Architecture) -> Self {
        let norms: &[Pair] = if architecture.is_gemma() { &GEMMA_NORMS } else { &ONE_NORM };
        Self::Gguf { block: [&IN_BLOCKS, norms] }
    }

    /// The files' name of the tensor that Hugging Face calls `name`.
    pub(super) fn stored(&self, name: &str) -> Option<String> {
        match self {
            Self::HuggingFace { body, head } => replaced(name, &[(BODY, body), (HEAD, head)]),
            Self::Gguf { block } => match name.strip_prefix("model.layers.") {
                None => replaced(name, &OUTSIDE_BLOCKS),
                Some(rest) => {
                    let (layer, rest) = rest.split_once('.')?;
                    let stored = block.iter().find_map(|pairs| replaced(rest, pairs))?;
                    Some(format!("blk.{layer}.{stored}"))
                }
            },
        }
    }
}

/// llama.cpp's name of a weight that has the same in all architectures: of a projection or a table.
pub(crate) fn in_gguf(name: &str) -> Option<String> {
    Names::of_gguf(Architecture::Llama).stored(name)
}

/// `name` with the start that is in the table replaced.
fn replaced(name: &str, table: &[Pair]) -> Option<String> {
    table.iter().find_map(|(from, to)| Some(format!("{to}{}", name.strip_prefix(from)?)))
}

/// True if Hugging Face's name is that of a norm.
pub(super) fn is_norm(name: &str) -> bool {
    name.ends_with("norm.weight")
}

/// True if the rows of the tensor with Hugging Face's name are rotated in pairs.
pub(crate) fn is_rotated(name: &str) -> bool {
    name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight")
}
