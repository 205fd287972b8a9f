//! Scalars of one prompt in the place of another's: how much of what adapters do to a response hangs on its prompt (paper §13.8).

use candle_core::Tensor;
use strait_model::{
    Decoder, Edit,
    decoder::Packed,
    ops::Loss,
    progress::{Progress, Unit},
};

use super::{
    Problem,
    reading::{check_responses, modules},
};
use crate::{
    Result,
    interval::{self, Interval, clusters},
    lab::{advance, finite, mean},
    objective::{Row, batches},
    table::Heading,
};

/// Nats a token.
const NATS: Heading = Heading::unit("nats/token");

crate::row! {
    /// A row's response loss as scalars are patched.
    pub struct PatchedRow in "patched", "Response loss of every row with scalars of another prompt, and without them" {
        /// The row, counted from 1.
        row: usize,
        /// The adapters: a module, or all.
        adapters: String,
        /// The response loss under the edit.
        own: f64 = NATS,
        /// The same with their scalars read behind the other prompt.
        patched: f64 = NATS,
        /// The same with their scalars zero: without them.
        removed: f64 = NATS,
    }
}

crate::row! {
    /// Patching over all rows.
    pub struct Patched in "patch", "By how much the response loss rises with scalars of another prompt, and without them" {
        /// The adapters: a module, or all.
        adapters: String,
        /// The rise with their scalars read behind the other prompt; its interval is over questions.
        patched: Interval = NATS,
        /// The rise with their scalars zero.
        removed: Interval = NATS.ends("removed_low", "removed_high"),
    }
}

/// The name of all adapters together.
const ALL: &str = "all";

/// What patching does to the response losses of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Patching {
    /// All adapters together, then each alone.
    pub adapters: Vec<Patched>,
    /// Row by row the same.
    pub rows: Vec<PatchedRow>,
}

/// Reads the response loss of rows under an edit with the scalars of its adapters as they are behind another prompt: of the tokens of
/// the other prompt, and of the row's own response behind it. `prompts` has for each row the other prompt's place and tokens.
///
/// # Errors
/// If a prompt has not as many tokens as its row's, there are not as many, the edit has no adapters or one on the head, a row has no
/// response, a loss is no number, or the user asked for a stop.
pub fn patch(
    decoder: &Decoder,
    rows: &[Row],
    prompts: &[(String, Vec<u32>)],
    edit: &Edit,
    progress: &dyn Progress,
) -> Result<Patching> {
    check_responses(rows)?;
    let others = others(rows, prompts)?;
    let found = replaced(decoder, rows, Some(&others), edit, progress)?;
    let adapters = found.modules.iter().enumerate().map(|(at, module)| Patched {
        adapters: module.clone(),
        patched: found.rise(rows, at, |row| row.patched),
        removed: found.rise(rows, at, |row| row.removed),
    });
    Ok(Patching { adapters: adapters.collect(), rows: found.rows })
}

/// The response loss of rows without adapters.
#[derive(Clone, Debug, PartialEq)]
pub struct Removed {
    /// The adapters: a module, or all.
    pub adapters: String,
    /// The response loss under the whole edit, a mean over rows, in nats a token.
    pub own: f64,
    /// By how much it rises with their scalars zero; the interval is over questions.
    pub removed: Interval,
}

/// Reads by how much the response loss of rows rises without all adapters of an edit, and without each alone.
///
/// # Errors
/// If the edit has no adapters or one on the head, a row has no response, a loss is no number, or the user asked for a stop.
pub fn remove(decoder: &Decoder, rows: &[Row], edit: &Edit, progress: &dyn Progress) -> Result<Vec<Removed>> {
    check_responses(rows)?;
    let found = replaced(decoder, rows, None, edit, progress)?;
    let own = interval::mean(found.of(0).map(|row| row.own));
    let adapters = found.modules.iter().enumerate().map(|(at, module)| Removed {
        adapters: module.clone(),
        own,
        removed: found.rise(rows, at, |row| row.removed),
    });
    Ok(adapters.collect())
}

/// The losses of rows with scalars replaced, of all adapters and then of each.
struct Replaced {
    modules: Vec<String>,
    /// Row by row, and within a row as `modules`.
    rows: Vec<PatchedRow>,
}

impl Replaced {
    /// The rows of the adapters of this number.
    fn of(&self, at: usize) -> impl Iterator<Item = &PatchedRow> {
        self.rows.iter().skip(at).step_by(self.modules.len())
    }

    /// By how much a loss lies above the rows' own.
    fn rise(&self, rows: &[Row], at: usize, of: fn(&PatchedRow) -> f64) -> Interval {
        let rises: Vec<f64> = self.of(at).map(|row| of(row) - row.own).collect();
        Interval::of_clusters(&rises, &vec![1.0; rises.len()], &clusters(rows.iter().map(Row::question)))
    }
}

/// With the scalars that the tokens of other rows have in their place, where there are some, and with scalars of zero.
fn replaced(
    decoder: &Decoder,
    rows: &[Row],
    others: Option<&[Vec<u32>]>,
    edit: &Edit,
    progress: &dyn Progress,
) -> Result<Replaced> {
    let edit = edit.detached();
    let modules: Vec<String> = std::iter::once(ALL.into()).chain(modules(&edit)).collect();
    let mut found: Vec<PatchedRow> = Vec::new();
    // One pass without a change, one that reads scalars, and one or two for all adapters and for each.
    let each = if others.is_some() { 2 } else { 1 };
    let passes = rows.len() * (2 + each * modules.len());
    let title = if others.is_some() { "patching scalars" } else { "leaving adapters out" };
    let task = progress.begin(title, Some(passes as u64), Unit::Count);
    let seen = |n: usize| advance(progress, &*task, n as u64);
    for batch in batches(rows, &(0..rows.len()).collect::<Vec<_>>()) {
        let pass = Pass::of(decoder, rows, &batch, &edit);
        let losses = |put: &[Option<Tensor>]| {
            let losses = pass.losses(put)?;
            seen(batch.len())?;
            Ok::<_, crate::Error>(losses)
        };
        let own = losses(&[])?;
        let tokens = |row: usize| others.map_or(rows[row].ids.as_slice(), |others| others[row].as_slice());
        let packed = Packed::new(batch.iter().map(|&row| tokens(row)));
        let theirs = decoder.scalars(&packed, &edit)?;
        seen(batch.len())?;
        let zeros = theirs.iter().map(Tensor::zeros_like).collect::<candle_core::Result<Vec<_>>>()?;
        for (at, module) in modules.iter().enumerate() {
            // The first stands for all.
            let some = |scalars: &[Tensor]| -> Vec<Option<Tensor>> {
                let each = scalars.iter().enumerate();
                each.map(|(own, scalar)| (at == 0 || own + 1 == at).then(|| scalar.clone())).collect()
            };
            let patched = others.map(|_| losses(&some(&theirs))).transpose()?;
            let removed = losses(&some(&zeros))?;
            for (i, &row) in batch.iter().enumerate() {
                let number = |losses: &[f64]| finite("response loss", row, true, losses[i]);
                let patched = patched.as_deref().map_or(Ok(f64::NAN), number);
                found.push(PatchedRow {
                    row: row + 1,
                    adapters: module.clone(),
                    own: number(&own)?,
                    patched: patched?,
                    removed: number(&removed)?,
                });
            }
        }
    }
    found.sort_by_key(|of| of.row);
    Ok(Replaced { modules, rows: found })
}

/// Every row behind the other prompt.
fn others(rows: &[Row], prompts: &[(String, Vec<u32>)]) -> Result<Vec<Vec<u32>>, Problem> {
    if rows.len() != prompts.len() {
        return Err(Problem::Counts { rows: rows.len(), prompts: prompts.len() });
    }
    let other = |(at, (row, (place, prompt))): (usize, (&Row, &(String, Vec<u32>)))| {
        let own = row.question().len();
        if own != prompt.len() {
            let place = place.clone();
            return Err(Problem::Lengths { place, found: prompt.len(), row: at, expected: own });
        }
        Ok([prompt, &row.ids[own..]].concat())
    };
    rows.iter().zip(prompts).enumerate().map(other).collect()
}

/// The passes over a batch.
struct Pass<'a> {
    decoder: &'a Decoder,
    edit: &'a Edit,
    packed: Packed,
    /// Of each row the places at which its response tokens are predicted, and these tokens.
    predicted: Vec<(Vec<u32>, Vec<u32>)>,
}

impl<'a> Pass<'a> {
    fn of(decoder: &'a Decoder, rows: &[Row], batch: &[usize], edit: &'a Edit) -> Self {
        // Nothing is shared, so that tokens stand where those behind other prompts do.
        let packed = Packed::new(batch.iter().map(|&row| rows[row].ids.as_slice()));
        let of_row = |(at, &row): (std::ops::Range<usize>, &usize)| {
            let responses = rows[row].responses.iter().cloned().flatten();
            responses.map(|token| ((at.start + token) as u32 - 1, rows[row].ids[token])).unzip()
        };
        let predicted = packed.rows().into_iter().zip(batch).map(of_row).collect();
        Self { decoder, edit, packed, predicted }
    }

    /// The mean response loss of each row, with what is given in the place of adapters' own scalars.
    fn losses(&self, put: &[Option<Tensor>]) -> Result<Vec<f64>> {
        let (places, targets): (Vec<&[u32]>, Vec<&[u32]>) =
            self.predicted.iter().map(|(places, targets)| (places.as_slice(), targets.as_slice())).unzip();
        let (places, targets) = (places.concat(), targets.concat());
        let stream = self.decoder.run_with_scalars(&self.packed, self.edit, put)?;
        let stream = stream.index_select(&Tensor::new(places, self.decoder.device())?, 0)?;
        let hidden = self.decoder.finish(stream, Some(self.edit))?;
        let unembedding = self.decoder.unembedding(Some(self.edit))?;
        let losses = Loss::CrossEntropy(&targets).values(&hidden, &unembedding)?;
        let mut rest = losses.as_slice();
        let of_row = |(places, _): &(Vec<u32>, Vec<u32>)| {
            let (own, later) = rest.split_at(places.len());
            rest = later;
            mean(own)
        };
        Ok(self.predicted.iter().map(of_row).collect())
    }
}
