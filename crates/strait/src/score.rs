//! Teacher-forced response loss of chat rows.

use serde::Serialize;
use strait_model::{
    Edit, Model,
    progress::{Progress, Unit},
};

use crate::{
    Error, Result,
    data::Chat,
    measure::row_losses,
    objective::{Kept, Row},
};

/// One row's loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RowScore {
    /// Response tokens.
    pub tokens: usize,
    /// Mean nats per response token.
    pub loss: f64,
}

/// Losses of a file's rows, in file order, and over all its response tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Each row.
    pub rows: Vec<RowScore>,
    /// Response tokens of all rows.
    pub tokens: usize,
    /// Mean nats per response token over all of them.
    pub loss: f64,
}

/// Response loss of every chat under an edit, or of the base model.
///
/// # Errors
/// If a chat does not fit the model or its template, or its loss is no number.
pub fn score(model: &Model, edit: Option<&Edit>, chats: &[Chat], progress: &dyn Progress) -> Result<Score> {
    let rows = Row::from_chats(model, chats, progress)?;
    let task = progress.begin("scoring", Some(rows.len() as u64), Unit::Count);
    // Each row is read once: there is nothing to keep.
    let losses = row_losses(&model.decoder, &Kept::new(rows), edit, &|n| {
        task.advance(n);
        Ok(())
    });
    let losses = losses.map_err(|error| match error {
        Error::NotFinite { what, row, edited, value, .. } => {
            let place = chats.get(row).map(|chat| chat.place.clone());
            Error::NotFinite { what, row, place, edited, value }
        }
        other => other,
    })?;
    let rows: Vec<RowScore> = losses.into_iter().map(|(loss, tokens)| RowScore { tokens, loss }).collect();
    let tokens = rows.iter().map(|r| r.tokens).sum();
    let loss = rows.iter().map(|r| r.loss * r.tokens as f64).sum::<f64>() / tokens as f64;
    Ok(Score { rows, tokens, loss })
}
