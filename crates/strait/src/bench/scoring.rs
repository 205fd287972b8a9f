//! Reading the response loss of rows.

use candle_core::{DType, Tensor};
use strait_model::{Edit, Model, edit::SteeringVector, progress::Silent};

use super::{Batch, Done, Pass, Step, Stopwatch};
use crate::{
    Result,
    objective::{Kept, packed},
};

/// The response loss of the rows, once.
pub struct Scoring {
    name: &'static str,
    about: &'static str,
    /// True if the blocks below a steering vector are kept, and its loss is read: one of the many readings of a sweep.
    sweep: bool,
}

impl Scoring {
    pub const WHOLE: Self =
        Self { name: "score", about: "response loss of 4 rows, whole model", sweep: false };
    pub const SWEEP: Self = Self {
        name: "sweep",
        about: "response loss of 4 rows under a vector after the middle block, blocks below kept: a reading of a sweep",
        sweep: true,
    };
}

impl Step for Scoring {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn run(&self, model: &Model, batch: &Batch, watch: &mut Stopwatch<'_>) -> Result<Done> {
        let (decoder, config) = (&model.decoder, model.config());
        let mut rows = Kept::new(batch.rows.iter().map(|text| text.row()).collect());
        let every_row = rows.every_row();
        let middle = config.layers / 2;
        let vector = Tensor::ones(config.hidden_size, DType::F32, decoder.device())?;
        let edit = Edit::Steering(SteeringVector { layer: middle as i32, vector });
        let (from, edit) = if self.sweep { (middle + 1, Some(&edit)) } else { (0, None) };
        if self.sweep {
            watch.once(|| rows.keep(decoder, &every_row, from, false, "reading rows", &Silent))?;
        }
        watch.repeat(|_| rows.response_losses(decoder, &every_row, edit).map(drop))?;
        let predicting = rows.rows().iter().map(|row| row.response_tokens()).sum();
        let tokens = packed(rows.rows(), &every_row).tokens();
        let pass = Pass { from, tokens, predicting, beside_base: false, trained: None, times: 1 };
        Ok(Done { passes: vec![pass], drawn: None })
    }
}
