//! A summary of an edit, for people and for `--json`.

use serde::Serialize;

use super::{Ablation, Edit, Full, Leaf, Lora, SteeringVector, layers::ascending, names};
use crate::Result;

/// A summary of an edit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Steering vector, LoRA, ablation, full fine-tune or composition.
    pub kind: Kind,
    /// The layers at which it acts, ascending; -1 is the embeddings.
    pub layers: Vec<i32>,
    /// Rank and scale, for a LoRA.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraSummary>,
    /// As [`Edit::norm`] defines it.
    pub norm: f64,
    /// The number of its numbers.
    pub parameters: usize,
    /// The sites of a vector, LoRA, ablation or full fine-tune; those of a composition are in its parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteSummary>,
    /// The parts of a composition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Summary>,
}

/// The kind of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A steering vector.
    Steering,
    /// Low-rank adapters.
    Lora,
    /// A direction taken out of the residual stream.
    Ablation,
    /// A change of every weight.
    Full,
    /// Several edits at once.
    Composed,
}

/// The settings that a LoRA's adapters share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoraSummary {
    /// Rank r.
    pub rank: usize,
    /// Alpha.
    pub alpha: f64,
    /// True if the scale is alpha / sqrt(r) instead of alpha / r.
    pub rslora: bool,
    /// Factor by which the whole edit is scaled.
    pub factor: f64,
    /// The factor on B A x.
    pub scale: f64,
}

/// One site of an edit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SiteSummary {
    /// `steering.24`, `ablation.24`, a module such as `model.layers.24.mlp.down_proj`, or a weight such as `model.norm.weight`.
    pub site: String,
    /// Norm of the change there.
    pub norm: f64,
    /// The spectrum of the change, of matrices and where it was asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub spectrum: Option<Spectrum>,
}

/// The spectrum of the change of one matrix. No threshold on these figures carries over from one way of training to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spectrum {
    /// ||D||_F^2 / s_1^2 of the change D with the largest singular value s_1: from 1 to its rank.
    pub stable_rank: f64,
    /// The whole spectrum, where it is known: of a LoRA's matrices, whose rank is small.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub whole: Option<WholeSpectrum>,
}

/// All singular values of a change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WholeSpectrum {
    /// exp of the entropy: the number of equal singular values that would be as spread out (Roy and Vetterli 2007).
    pub effective_rank: f64,
    /// Entropy in nats of the singular values as shares of their sum.
    pub spectrum_entropy: f64,
    /// Geometric over arithmetic mean of the squared singular values, as many as the adapter's rank: 1 where all are equal, 0
    /// where one is zero.
    pub spectrum_flatness: f64,
    /// The singular values, the largest first; the scale is in them.
    pub singular_values: Vec<f64>,
}

impl SiteSummary {
    fn new(site: String, norm: f64) -> Self {
        Self { site, norm, spectrum: None }
    }
}

impl Edit {
    /// The summary of the edit.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn summary(&self) -> Result<Summary> {
        let parts: Vec<Summary> = match self {
            Self::Steering(_) | Self::Lora(_) | Self::Ablation(_) | Self::Full(_) => Vec::new(),
            Self::Composed(_) => self.leaves().map(Leaf::summary).collect::<Result<_>>()?,
        };
        match self {
            Self::Steering(steering) => steering.summary(),
            Self::Lora(lora) => lora.summary(),
            Self::Ablation(ablation) => Ok(ablation.summary()),
            Self::Full(full) => full.summary(),
            Self::Composed(_) => Ok(Summary {
                kind: Kind::Composed,
                layers: self.layers(),
                lora: None,
                norm: self.norm()?,
                parameters: parts.iter().map(|p| p.parameters).sum(),
                sites: Vec::new(),
                parts,
            }),
        }
    }
}

impl Leaf<'_> {
    fn summary(self) -> Result<Summary> {
        match self {
            Self::Steering(steering) => steering.summary(),
            Self::Lora(lora) => lora.summary(),
            Self::Ablation(ablation) => Ok(ablation.summary()),
            Self::Full(full) => full.summary(),
        }
    }
}

impl Full {
    fn summary(&self) -> Result<Summary> {
        let sites = self.norms()?.into_iter().map(|(site, norm)| SiteSummary::new(site, norm)).collect();
        Ok(Summary {
            kind: Kind::Full,
            layers: ascending(Leaf::Full(self).layers()),
            lora: None,
            norm: self.norm()?,
            parameters: self.deltas().iter().map(|(_, delta)| delta.elem_count()).sum(),
            sites,
            parts: Vec::new(),
        })
    }
}

impl Ablation {
    fn summary(&self) -> Summary {
        let norm = self.factor.abs();
        Summary {
            kind: Kind::Ablation,
            layers: vec![self.layer],
            lora: None,
            norm,
            parameters: self.direction.elem_count(),
            sites: vec![SiteSummary::new(names::ablation(self.layer), norm)],
            parts: Vec::new(),
        }
    }
}

impl SteeringVector {
    fn summary(&self) -> Result<Summary> {
        let norm = self.norm()?;
        Ok(Summary {
            kind: Kind::Steering,
            layers: vec![self.layer],
            lora: None,
            norm,
            parameters: self.vector.elem_count(),
            sites: vec![SiteSummary::new(names::steering(self.layer), norm)],
            parts: Vec::new(),
        })
    }
}

impl Lora {
    fn summary(&self) -> Result<Summary> {
        let sites = self
            .adapters
            .iter()
            .map(|adapter| Ok(SiteSummary::new(adapter.site.module(), self.adapter_norm(adapter)?)))
            .collect::<Result<_>>()?;
        Ok(Summary {
            kind: Kind::Lora,
            layers: ascending(Leaf::Lora(self).layers()),
            lora: Some(LoraSummary {
                rank: self.rank,
                alpha: self.alpha,
                rslora: self.rslora,
                factor: self.factor,
                scale: self.scale(),
            }),
            norm: self.norm()?,
            parameters: self.adapters.iter().map(|a| a.a.elem_count() + a.b.elem_count()).sum(),
            sites,
            parts: Vec::new(),
        })
    }
}
