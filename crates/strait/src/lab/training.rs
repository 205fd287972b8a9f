//! The training of solutions on the laboratory's rows.

use serde_json::Value;
use strait_model::Edit;

use super::{Lab, Solution};
use crate::{
    Result,
    train::{Keeping, Order, Run, Settings, Shift, Trainable, Trained, TrainingData},
};

/// One training: how, and on which rows.
pub struct Training<'c> {
    /// The settings.
    pub settings: &'c Settings,
    /// The rows of each batch.
    pub order: Order,
    /// The mixture whose rows are taken; none for the training rows.
    pub mixture: Option<usize>,
    /// The rows of its own on which its penalty holds; none for the KL rows.
    pub own_kl: Option<usize>,
    /// True if a steering vector's learning rate is in its own units; else it is relative to the residual stream.
    pub absolute_rate: bool,
    /// The edit that it starts from; from nothing where there is none.
    pub start: Option<&'c Edit>,
    /// Ablations behind the edit, which stay as they are.
    pub without: &'c [Edit],
}

/// The folder that a training is kept in.
pub struct Record<'c> {
    /// The folder, and what a state in it must belong to.
    pub keeping: Keeping<'c>,
    /// The provenance that the edit is saved with, from the median norm of the residual stream where it acts.
    pub provenance: &'c dyn Fn(f64) -> Value,
}

impl Lab<'_> {
    /// Trains a solution on all training rows, held to the base model on the KL rows where the settings have a penalty, and
    /// keeps nothing of it on disk.
    ///
    /// # Errors
    /// [`Error::Diverged`](crate::Error::Diverged) where the loss is not finite or explodes,
    /// [`Error::Interrupted`](crate::Error::Interrupted) after a request to stop, or what a tensor operation says.
    pub fn solve(&mut self, name: &str, settings: &Settings) -> Result<Solution> {
        let order = Order::new(settings, self.train.rows(), self.kl.rows());
        let training = Training {
            settings,
            order,
            mixture: None,
            own_kl: None,
            absolute_rate: false,
            start: None,
            without: &[],
        };
        let Trained { edit, .. } = self.train(training, None)?;
        Ok(Solution { name: name.into(), edit })
    }

    /// Trains, from the last state that was kept where there is a record.
    ///
    /// # Errors
    /// As [`Lab::solve`], or what the file system says; after a request to stop everything is saved.
    pub fn train(&mut self, training: Training<'_>, record: Option<Record<'_>>) -> Result<Trained> {
        self.store.begin_step();
        let trained = self.train_on(training, record);
        // What it kept may make room for what is read next.
        self.store.begin_step();
        trained
    }

    fn train_on(&mut self, training: Training<'_>, record: Option<Record<'_>>) -> Result<Trained> {
        let Training { settings, order, mixture, own_kl: own, absolute_rate, start, without } = training;
        let point = settings.first_changed_point();
        let Lab { progress, model, train, mixtures, held_out, kl, own_kl, watched, .. } = self;
        let (decoder, progress) = (&model.decoder, *progress);
        let kl = own.map_or(kl, |own| &mut own_kl[own]);
        let train = mixture.map_or(train, |mixture| &mut mixtures[mixture]);
        let (train_rows, held_out_rows) = (order.train_rows(), held_out.every_row());
        // Those that are the dearest to compute anew come first.
        kl.keep(decoder, &order.kl_rows(), point, true, "reading KL rows", progress)?;
        train.keep(decoder, &train_rows, point, false, "reading training rows", progress)?;
        held_out.keep(decoder, &held_out_rows, point, false, "reading held-out rows", progress)?;
        // A steering rate is relative to the residual's scale where the vector acts.
        let median_norm = train.median_norm(decoder, &train_rows)?;
        let scale = match absolute_rate {
            true => 1.0,
            false => median_norm / (model.config().hidden_size as f64).sqrt(),
        };
        if settings.stop.is_some() {
            watched.keep(decoder, point, progress)?;
        }
        let outside = match settings.stop {
            Some(_) => Some(watched.shift(decoder)?),
            None => None,
        };
        let data = TrainingData {
            train,
            held_out: (!held_out_rows.is_empty()).then_some(&*held_out),
            kl: settings.kl.map(|_| &*kl),
            outside: outside.as_ref().map(|shift| shift as &Shift),
        };
        let trainable = match start {
            Some(start) => Trainable::from_edit(start.clone(), decoder, scale)?,
            None => Trainable::new(settings, decoder, scale)?,
        };
        let trainable = match without {
            [] => trainable,
            ablations => trainable.without(ablations.iter().cloned()),
        };
        let run = Run { decoder, data, settings, order };
        match record {
            Some(Record { keeping, provenance }) => {
                run.train(trainable, keeping, &provenance(median_norm), progress)
            }
            None => run.train_in_memory(trainable, progress),
        }
    }
}
