//! LoRA adapters, as llama.cpp's `convert_lora_to_gguf.py` writes them and its loader reads them.
//!
//! A tensor is named after the weight that it adapts: `blk.3.ffn_down.weight.lora_a` of shape (r, in) and `.lora_b` of shape
//! (out, r). Of the embedding table A is transposed, (vocab, r). Of a Llama's queries and keys the rows of B lie in
//! llama.cpp's order. The scale is alpha / r with the rank of each B, and 1 where alpha is 0 or is not there.

use std::{collections::BTreeMap, path::Path};

use candle_core::{Device, Tensor};
use serde_json::Value;

use super::{ADAPTER, ARCHITECTURE, Imported, KIND, Problem};
use crate::{
    Config, Gguf, Result,
    config::{Architecture, Projection},
    edit::{
        Adapter, Edit, Lora, Site, in_file,
        join::joined,
        names::{self, Half, Named},
        problem::Problem as EditProblem,
        tensors::finite_values,
        times,
    },
    gguf::{Entry, TensorInfo, write as write_gguf},
    weights::{in_gguf, is_rotated, pair_rotary_halves, split_rotary_pairs},
};

const TYPE: &str = "adapter.type";
const LORA: &str = "lora";
const ALPHA: &str = "adapter.lora.alpha";
const INVOCATION: &str = "adapter.alora.invocation_tokens";
/// The size of a Llama's heads, under the key of its model's file. llama.cpp passes over it here.
const HEAD_DIM: &str = "llama.rope.dimension_count";
const ENDINGS: [(&str, Half); 2] = [(".lora_a", Half::A), (".lora_b", Half::B)];
const NORM: &str = "_norm.weight";

/// Reads an adapter for models of an architecture.
pub(super) fn read(gguf: &Gguf, architecture: &str, model: Option<&Config>) -> Result<Imported> {
    let path = gguf.path();
    let kind = gguf.string(TYPE)?.unwrap_or_default();
    if kind != LORA {
        return Err(Problem::AdapterType { found: kind.into() }.at(path));
    }
    if gguf.get(INVOCATION).is_some() {
        return Err(Problem::Invoked.at(path));
    }
    let of_name = |known: &Architecture| known.gguf_name() == architecture;
    let known = Architecture::ALL.into_iter().find(of_name);
    let architecture = known.ok_or_else(|| Problem::Architecture { found: architecture.into() }.at(path))?;
    if let Some(model) = model {
        check_architecture(architecture, model).map_err(|problem| problem.at(path))?;
    }
    let head_dim = match model {
        Some(model) => Some(model.head_dim),
        None => gguf.integer(HEAD_DIM)?.and_then(|size| usize::try_from(size).ok()),
    };
    let (mut halves, mut norms) = (Vec::new(), 0);
    for tensor in gguf.tensors() {
        if tensor.name.ends_with(NORM) {
            norms += 1;
            continue;
        }
        let problem = |problem: Problem| problem.at(path);
        let (site, half) = place(&tensor.name)
            .ok_or_else(|| Problem::UnknownTensor { tensor: tensor.name.clone() }.at(path))?;
        let (rows, columns) = matrix(tensor).map_err(problem)?;
        let (_, mut numbers) = gguf.dequantise(&tensor.name)?;
        if half == Half::B && lies_in_pairs(site, architecture) {
            let size = head_size(tensor, rows, head_dim).map_err(problem)?;
            numbers = split_rotary_pairs(&numbers, size, columns);
        }
        let mut matrix = Tensor::from_vec(numbers, (rows, columns), &Device::Cpu)?;
        if half == Half::A && site == Site::Lookup {
            matrix = matrix.t()?.contiguous()?;
        }
        halves.push(Named { name: tensor.name.clone(), site, half, tensor: matrix });
    }
    let adapters = names::pair(halves).map_err(in_file(path))?;
    // llama.cpp takes an alpha of 0 for one that is not there.
    let alpha = gguf.float(ALPHA)?.filter(|&alpha| alpha != 0.0);
    let mut by_rank = BTreeMap::<usize, Vec<Adapter>>::new();
    for adapter in adapters {
        by_rank.entry(adapter.rank()?).or_default().push(adapter);
    }
    if by_rank.is_empty() {
        return Err(EditProblem::Empty.at(path));
    }
    let loras = by_rank.into_iter().map(|(rank, adapters)| {
        let alpha = alpha.unwrap_or(rank as f64);
        Edit::Lora(Lora { adapters, rank, alpha, rslora: false, factor: 1.0 })
    });
    let norms = (norms > 0).then(|| {
        format!("it holds {norms} norms of the model beside the adapter, which llama.cpp passes over: so does strait")
    });
    Ok(Imported {
        edit: Edit::composed(loras),
        architecture: Some(architecture),
        notes: norms.into_iter().collect(),
        provenance: Value::Null,
    })
}

/// Refuses a model of another architecture.
pub(in super::super) fn check_architecture(own: Architecture, model: &Config) -> Result<(), Problem> {
    match own == model.architecture {
        true => Ok(()),
        false => {
            Err(Problem::OtherArchitecture { found: own.gguf_name(), model: model.architecture.gguf_name() })
        }
    }
}

/// llama.cpp's name of the weight at a site.
fn weight(site: Site) -> Option<String> {
    in_gguf(&format!("{}.weight", site.module()))
}

/// The site and half of a tensor.
fn place(name: &str) -> Option<(Site, Half)> {
    let (own, half) = ENDINGS.iter().find_map(|&(ending, half)| Some((name.strip_suffix(ending)?, half)))?;
    let layer = own.strip_prefix("blk.").and_then(|rest| rest.split('.').next());
    let layer = layer.and_then(|layer| layer.parse::<usize>().ok());
    let projections = layer.into_iter().flat_map(|layer| {
        Projection::ALL.into_iter().map(move |projection| Site::Projection { layer, projection })
    });
    let mut sites = projections.chain([Site::Lookup, Site::Head]);
    let site = sites.find(|&site| weight(site).as_deref() == Some(own))?;
    Some((site, half))
}

fn matrix(tensor: &TensorInfo) -> Result<(usize, usize), Problem> {
    match tensor.shape[..] {
        [rows, columns] if rows > 0 && columns > 0 => Ok((rows, columns)),
        _ => Err(Problem::NoMatrix { tensor: tensor.name.clone(), shape: tensor.shape.clone() }),
    }
}

/// True if llama.cpp has the rows of that weight in another order.
fn lies_in_pairs(site: Site, architecture: Architecture) -> bool {
    architecture == Architecture::Llama && is_rotated(&format!("{}.weight", site.module()))
}

/// Rows of a head, of which a matrix must have whole ones.
fn head_size(tensor: &TensorInfo, rows: usize, head_dim: Option<usize>) -> Result<usize, Problem> {
    let tensor = tensor.name.clone();
    match head_dim {
        None => Err(Problem::HeadNeeded { tensor }),
        Some(size) if size >= 2 && size.is_multiple_of(2) && rows.is_multiple_of(size) => Ok(size),
        Some(head_dim) => Err(Problem::Heads { tensor, rows, head_dim }),
    }
}

/// Writes LoRAs as one adapter.
pub(super) fn write(loras: &[&Lora], path: &Path, model: &Config) -> Result<()> {
    let on_site = |adapter: &Adapter| -> Result<Adapter> {
        let module = match adapter.site {
            Site::Embeddings => {
                let kind = "a LoRA on the stream of the embeddings";
                return Err(Problem::Kind { kind }.at(path));
            }
            Site::Lookup => "the embedding table",
            Site::Head => "the head",
            Site::Projection { .. } => return Ok(adapter.clone()),
        };
        match model.tied_embeddings {
            true => Err(Problem::TiedTable { module }.at(path)),
            false => Ok(adapter.clone()),
        }
    };
    let lora = joined(loras, on_site).map_err(in_file(path))?;
    let rank = lora.rank as f64;
    let scale = lora.scale();
    // An alpha of 0 would count as none; then B is zero instead.
    let (alpha, factor) = if scale == 0.0 { (rank, 0.0) } else { (scale * rank, 1.0) };
    if !(alpha as f32).is_finite() || alpha as f32 == 0.0 {
        return Err(Problem::Alpha { alpha }.at(path));
    }
    let mut tensors = Vec::new();
    for adapter in &lora.adapters {
        for (ending, half) in ENDINGS {
            let tensor = half_as_written(adapter, half, factor, model)?;
            let name = weight(adapter.site).ok_or_else(|| {
                let tensor = adapter.site.module();
                Problem::UnknownTensor { tensor }.at(path)
            })?;
            finite_values(&name, &tensor).map_err(in_file(path))?;
            tensors.push((format!("{name}{ending}"), tensor));
        }
    }
    let mut metadata = vec![
        (ARCHITECTURE.to_string(), Entry::Text(model.architecture.gguf_name())),
        (KIND.into(), Entry::Text(ADAPTER)),
        (TYPE.into(), Entry::Text(LORA)),
        (ALPHA.into(), Entry::Fraction(alpha as f32)),
    ];
    if model.architecture == Architecture::Llama {
        metadata.push((HEAD_DIM.into(), Entry::Number(model.head_dim as u32)));
    }
    write_gguf(path, &metadata, &tensors)
}

/// Half of an adapter as the file has it, its B times a factor.
fn half_as_written(adapter: &Adapter, half: Half, factor: f64, model: &Config) -> Result<Tensor> {
    let at_hand = |tensor: &Tensor| tensor.detach().to_device(&Device::Cpu);
    match half {
        Half::A if adapter.site == Site::Lookup => Ok(at_hand(&adapter.a)?.t()?.contiguous()?),
        Half::A => Ok(at_hand(&adapter.a)?),
        Half::B => {
            let b = times(&at_hand(&adapter.b)?, factor)?;
            if !lies_in_pairs(adapter.site, model.architecture) {
                return Ok(b);
            }
            let (rows, columns) = b.dims2()?;
            let numbers = b.flatten_all()?.to_vec1::<f32>()?;
            let paired = pair_rotary_halves(&numbers, model.head_dim, columns);
            Ok(Tensor::from_vec(paired, (rows, columns), b.device())?)
        }
    }
}
