//! The mark of an edit, by which it is known again.

use sha2::{Digest, Sha256};

use super::Edit;
use crate::{Result, files::hex};

impl Edit {
    /// A hash of its parts: their tensors and factors. The file that it came from, and its format, are no part of it.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn mark(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for part in self.parts() {
            let factor = match part {
                Self::Lora(lora) => lora.scale(),
                Self::Ablation(ablation) => ablation.factor,
                Self::Full(full) => full.factor(),
                Self::Steering(_) | Self::Composed(_) => 1.0,
            };
            hash.update(factor.to_le_bytes());
            for (name, tensor) in part.tensors() {
                hash.update(format!("{name} {:?} ", tensor.dims()));
                for number in tensor.flatten_all()?.to_vec1::<f32>()? {
                    hash.update(number.to_le_bytes());
                }
            }
        }
        Ok(hex(&hash.finalize()))
    }
}
