//! Keys of a trained edit's provenance, which its training writes and the report reads.

/// The weight of its KL penalty.
pub(super) const KL_WEIGHT: &str = "kl_weight";

/// The median norm of the residual stream where it acts.
pub(super) const MEDIAN_NORM: &str = "median_residual_norm";
