//! Several LoRAs as one.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::{Adapter, Lora, Problem, Site, times};
use crate::Result;

/// The LoRAs as one with factor 1, for formats that know one rank and one alpha. `on_site` gives each adapter on a site that the
/// format has.
pub(super) fn joined(loras: &[&Lora], on_site: impl Fn(&Adapter) -> Result<Adapter>) -> Result<Lora> {
    loras.iter().try_for_each(|lora| lora.check_alone())?;
    // A LoRA alone keeps its rank and alpha; those of several are in their B.
    let (alpha, rslora) = match loras {
        [lora] => (Some(lora.alpha), lora.rslora),
        _ => (None, false),
    };
    let mut sites = BTreeMap::<Site, Vec<Adapter>>::new();
    for lora in loras {
        let factor = if alpha.is_some() { lora.factor } else { lora.scale() };
        for adapter in &lora.adapters {
            let adapter = Adapter { b: times(&adapter.b, factor)?, ..on_site(adapter)? };
            sites.entry(adapter.site).or_default().push(adapter);
        }
    }
    let adapters = sites.into_values().map(side_by_side).collect::<Result<Vec<_>>>()?;
    let ranks = adapters.iter().map(Adapter::rank).collect::<Result<Vec<_>>>()?;
    let rank = ranks.into_iter().max().ok_or(Problem::Empty)?;
    let adapters = adapters.into_iter().map(|adapter| of_rank(adapter, rank)).collect::<Result<_>>()?;
    Ok(Lora { adapters, rank, alpha: alpha.unwrap_or(rank as f64), rslora, factor: 1.0 })
}

/// Adapters of one site as one: their ranks stand side by side.
fn side_by_side(mut adapters: Vec<Adapter>) -> Result<Adapter> {
    if adapters.len() == 1 {
        return Ok(adapters.remove(0));
    }
    let site = adapters[0].site;
    let (a, b): (Vec<_>, Vec<_>) = adapters.into_iter().map(|adapter| (adapter.a, adapter.b)).unzip();
    Ok(Adapter { site, a: Tensor::cat(&a, 0)?, b: Tensor::cat(&b, 1)? })
}

/// The same adapter at a rank that is not below its own, filled up with zeros.
fn of_rank(adapter: Adapter, rank: usize) -> Result<Adapter> {
    let missing = rank - adapter.rank()?;
    if missing == 0 {
        return Ok(adapter);
    }
    let Adapter { site, a, b } = adapter;
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, a.device());
    let (below, beside) = (zeros((missing, a.dim(1)?))?, zeros((b.dim(0)?, missing))?);
    Ok(Adapter { site, a: Tensor::cat(&[&a, &below], 0)?, b: Tensor::cat(&[&b, &beside], 1)? })
}
