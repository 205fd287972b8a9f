//! A batch of rows whose stream is carried upwards once, and read at the top under edits that act from its point on.

use candle_core::Tensor;
use strait_model::{Decoder, Edit, decoder::Packed, ops::Loss};

use super::{Kept, packed};
use crate::Result;

/// The residual stream of a batch of rows on its way up under one edit, or under none. At every point it can be read under edits
/// that differ from that one only there or above: a sweep over layers passes the blocks below each of them once for all.
pub struct Rising<'a> {
    decoder: &'a Decoder,
    packed: Packed,
    predicting: Tensor,
    targets: Vec<u32>,
    common: Option<Edit>,
    /// Unedited at the point itself.
    stream: Tensor,
    point: usize,
    blocks: usize,
}

impl Kept {
    /// Some rows at the embeddings, to be carried upwards under an edit.
    ///
    /// # Errors
    /// If a row does not fit the model.
    pub fn rising<'a>(
        &self,
        decoder: &'a Decoder,
        rows: &[usize],
        common: Option<&Edit>,
    ) -> Result<Rising<'a>> {
        let packed = packed(self.rows(), rows);
        let (predicting, targets) = self.responses(rows, &packed);
        Ok(Rising {
            decoder,
            predicting: Tensor::new(predicting, decoder.device())?,
            targets,
            common: common.map(Edit::detached),
            stream: decoder.embed(&packed)?,
            packed,
            point: 0,
            blocks: 0,
        })
    }
}

impl Rising<'_> {
    /// Carries the stream to a point, which must not lie below it.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn rise(&mut self, point: usize) -> Result<()> {
        self.stream = self.to(point, self.common.as_ref())?;
        self.blocks += point - self.point;
        self.point = point;
        Ok(())
    }

    /// Cross-entropy of every response token, in nats, in the order of the rows, under an edit that differs from the one below
    /// only from this point on.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn response_losses(&mut self, edit: Option<&Edit>) -> Result<Vec<f32>> {
        let edit = edit.map(Edit::detached);
        let top = self.decoder.config().layers;
        let stream = self.to(top, edit.as_ref())?;
        self.blocks += top - self.point;
        let hidden = self.decoder.finish(stream.index_select(&self.predicting, 0)?, edit.as_ref())?;
        let unembedding = self.decoder.unembedding(edit.as_ref())?;
        Ok(Loss::CrossEntropy(&self.targets).values(&hidden, &unembedding)?)
    }

    /// Blocks that the batch went through so far.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    fn to(&self, point: usize, edit: Option<&Edit>) -> Result<Tensor> {
        Ok(self.decoder.run(self.stream.clone(), self.point..point, &self.packed, edit)?)
    }
}
