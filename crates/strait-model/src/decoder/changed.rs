//! A decoder whose weights full fine-tunes have changed: made once an edit, and kept while the edit lives.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use candle_core::{DType, Tensor};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{Decoder, edited::fulls};
use crate::{
    Edit, Result,
    edit::{Full, Life, Opened, in_file},
    files::hex,
    ops::Weight,
};

/// A decoder's record of full fine-tunes.
#[derive(Default)]
pub(super) struct Changed {
    /// The fingerprint of the decoder's own weights.
    fingerprint: OnceLock<String>,
    /// The decoders that were made, each with the edits that it was made for. One whose edit is gone is let go at the next look,
    /// so that as many copies of the weights are in memory as full edits in use, and one more at most.
    kept: Mutex<Vec<Made>>,
}

/// A decoder with the edits that it was made for.
struct Made {
    lives: Vec<Weak<Life>>,
    decoder: Arc<Decoder>,
}

impl Made {
    /// True if it was made for these edits and no others.
    fn is_for(&self, lives: &[&Arc<Life>]) -> bool {
        let same = |(own, life): (&Weak<Life>, &&Arc<Life>)| own.as_ptr() == Arc::as_ptr(life);
        self.lives.len() == lives.len() && self.lives.iter().zip(lives).all(same)
    }

    fn is_used(&self) -> bool {
        self.lives.iter().all(|life| life.strong_count() > 0)
    }
}

/// The decoder whose weights hold under an edit.
pub(super) enum Under<'a> {
    /// Its own.
    Own(&'a Decoder),
    /// One that was made for the edit.
    Made(Arc<Decoder>),
}

impl Deref for Under<'_> {
    type Target = Decoder;

    fn deref(&self) -> &Decoder {
        match self {
            Self::Own(decoder) => decoder,
            Self::Made(decoder) => decoder,
        }
    }
}

impl Decoder {
    /// The mark of these weights: a SHA-256 of their names, shapes and numbers.
    ///
    /// # Errors
    /// If the weights cannot be read from their device.
    pub fn fingerprint(&self) -> Result<&str> {
        if let Some(known) = self.changed.fingerprint.get() {
            return Ok(known);
        }
        let hashes: Vec<_> = {
            let own = self.weights.par_iter().map(|(name, weight)| hash(name, weight));
            own.collect::<Result<_>>()?
        };
        let all = hashes.iter().fold(Sha256::new(), |all, one| all.chain_update(one));
        Ok(self.changed.fingerprint.get_or_init(|| hex(&all.finalize())))
    }

    /// Checks that an edit fits this model, and that weights in its file are this model's own.
    ///
    /// # Errors
    /// As [`Edit::check`]; if a full fine-tune was made from other weights; or if a table of an adapter's file is another than
    /// the model's.
    pub fn check(&self, opened: &Opened) -> Result<()> {
        opened.check(&self.config, &self.weights)?;
        let own = |full: &Full| full.check_base(self.fingerprint()?);
        fulls(Some(&opened.edit)).try_for_each(own).map_err(in_file(&opened.path))
    }

    /// The weights of this decoder with the changes of full fine-tunes, by name.
    ///
    /// # Errors
    /// If a fine-tune was made from other weights.
    pub fn changed_tensors(&self, edit: &Edit) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = self
            .weights
            .iter()
            .map(|(name, own)| Ok((name.clone(), own.tensor()?.detach().to_dtype(DType::F32)?)))
            .collect::<Result<Vec<_>>>()?;
        for full in fulls(Some(edit)) {
            full.check_base(self.fingerprint()?)?;
            for (name, tensor) in &mut tensors {
                *tensor = full.added_to(name, tensor)?;
            }
        }
        Ok(tensors)
    }

    /// The decoder whose weights hold under an edit: itself, or one with the changes of the full fine-tunes in it.
    pub(super) fn under(&self, edit: Option<&Edit>) -> Result<Under<'_>> {
        let lives: Vec<&Arc<Life>> = fulls(edit).map(Full::life).collect();
        let Some(edit) = edit.filter(|_| !lives.is_empty()) else { return Ok(Under::Own(self)) };
        {
            let mut kept = self.changed.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.retain(Made::is_used);
            if let Some(made) = kept.iter().find(|made| made.is_for(&lives)) {
                return Ok(Under::Made(Arc::clone(&made.decoder)));
            }
        }
        // Nobody waits while it is made: a thread that computes may be given other work that comes here.
        let mut tensors = self.changed_tensors(edit)?.into_iter();
        let made = Self::from_tensors(self.config.clone(), self.precision, |name, _| {
            let found = tensors.next().filter(|(next, _)| next == name);
            found.map(|(_, tensor)| tensor).ok_or_else(|| super::no_tensor(name))
        })?;
        let decoder = Arc::new(made);
        let mut kept = self.changed.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.iter().any(|made| made.is_for(&lives)) {
            let lives = lives.into_iter().map(Arc::downgrade).collect();
            kept.push(Made { lives, decoder: Arc::clone(&decoder) });
        }
        Ok(Under::Made(decoder))
    }
}

/// Numbers that are hashed at once.
const PIECE: usize = 1 << 14;

fn hash(name: &str, weight: &Weight) -> Result<[u8; 32]> {
    let mut hash = Sha256::new().chain_update(format!("{name} {:?} ", weight.dims()));
    let mut update = |numbers: &[f32]| {
        for numbers in numbers.chunks(PIECE) {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            hash.update(bytes);
        }
    };
    match weight {
        Weight::Tensor(tensor) => {
            update(&tensor.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Weight::Stored(stored) => {
            let [rows, width] = stored.dims();
            let mut numbers = vec![0f32; width];
            for row in 0..rows {
                stored.read(row..row + 1, 0..width, &mut numbers, width);
                update(&numbers);
            }
        }
    }
    Ok(hash.finalize().into())
}
