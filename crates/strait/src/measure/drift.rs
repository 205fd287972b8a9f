//! Drift: where training goes that starts from a trained solution, above all from a narrow one whose penalty is lifted
//! (paper §11).

use strait_model::{
    Decoder, Edit,
    progress::{Progress, Unit},
};

use super::{PairRows, preference::PairReading, row_losses};
use crate::{Result, Table, interval::Interval, objective::Kept};

/// A solution whose training started from another one.
pub struct Trajectory {
    /// Its name.
    pub solution: String,
    /// The solution that it started from.
    pub from: String,
    /// Whether it was trained without the KL penalty that its start was trained with.
    pub freed: bool,
    /// The edit that it started from.
    pub start: Edit,
    /// The edit after so many steps, in their order.
    pub checkpoints: Vec<(usize, Edit)>,
    /// What it is compared with: the same names for every trajectory; none where a name means no edit for this one.
    pub others: Vec<(String, Option<Edit>)>,
    /// A general and a narrow solution: the change is compared with the way from the second to the first.
    pub axis: Option<(Edit, Edit)>,
}

/// What is read at every checkpoint, kept at a point that no edit changes.
pub struct DriftRows<'a> {
    /// Rows that training did not see.
    pub held_out: &'a Kept,
    /// Pairs inside the domain, and outside it.
    pub pairs: &'a [PairRows; 2],
    /// Nats a token that the mean response loss of the pairs may rise by for a checkpoint to count as coherent.
    pub coherence: f64,
}

/// Norm, cosines, held-out loss and preference shifts of every checkpoint of every trajectory, its start as step 0.
///
/// Cosines are those of the changes that the edits make (for LoRA of scale * B A over all modules), NaN where two edits
/// share no site. `rise` is the general shift less that of the start, paired by question.
///
/// # Errors
/// If a tensor operation fails.
pub fn drift(
    decoder: &Decoder,
    trajectories: &[Trajectory],
    rows: &DriftRows,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Table> {
    let edits = trajectories.iter().map(|t| 1 + t.checkpoints.len()).sum::<usize>();
    let a_pass = rows.held_out.rows().len() + rows.pairs.iter().map(|p| 2 * p.len()).sum::<usize>();
    let task = progress.begin("drift", Some((a_pass * (1 + edits)) as u64), Unit::Count);
    let read = |edit: Option<&Edit>| rows.read(decoder, edit, &|n| super::advance(progress, &*task, n));
    let base = read(None)?;
    let mut readings = Vec::new();
    for trajectory in trajectories {
        let start = read(Some(&trajectory.start))?;
        readings.push(rows.reading(trajectory, 0, &trajectory.start, [&base, &start, &start])?);
        for (step, edit) in &trajectory.checkpoints {
            let found = read(Some(edit))?;
            readings.push(rows.reading(trajectory, *step, edit, [&base, &start, &found])?);
        }
    }
    let [inside, outside] = rows.pairs;
    let about = "Drift: solutions whose training started from another one, along their checkpoints";
    let mut table = Table::of_rows("drift", about, &readings)
        .text("solution", |r| r.trajectory.solution.clone())
        .text("from", |r| r.trajectory.from.clone())
        .truth("freed", |r| Some(r.trajectory.freed))
        .integer("step", "", |r| r.step as i64)
        .real("norm", "", |r| r.norm)
        .real("cosine_start", "", |r| r.cosine_start)
        .real("cosine_change", "", |r| r.cosine_change);
    let names = trajectories.first().map_or(&[][..], |t| &t.others);
    for (i, (name, _)) in names.iter().enumerate() {
        table = table.real(&format!("cosine_to_{name}"), "", |r| r.cosines[i]);
    }
    Ok(table
        .interval(["heldout_loss", "heldout_low", "heldout_high"], "nats/token", |r| r.heldout)
        .interval(["narrow_shift", "narrow_low", "narrow_high"], "nats/token", |r| r.narrow)
        .interval(["general_shift", "general_low", "general_high"], "nats/token", |r| r.general)
        .interval(["rise", "rise_low", "rise_high"], "nats/token", |r| r.rise)
        .truth("coherent", |r| Some(r.coherent))
        .integer("heldout_rows", "", |_| rows.held_out.rows().len() as i64)
        .integer("narrow_pairs", "", |_| inside.len() as i64)
        .integer("general_pairs", "", |_| outside.len() as i64)
        .integer("seed", "", |_| seed as i64)
        .table())
}

/// A row of the table.
struct Reading<'a> {
    trajectory: &'a Trajectory,
    step: usize,
    norm: f64,
    cosine_start: f64,
    /// To the others, in their order.
    cosines: Vec<f64>,
    /// Of the change since the start with the way from narrow to general.
    cosine_change: f64,
    heldout: Interval,
    narrow: Interval,
    general: Interval,
    rise: Interval,
    coherent: bool,
}

/// What the rows say of one edit, or of base.
struct Read {
    /// Loss and response tokens of every held-out row.
    held_out: Vec<(f64, usize)>,
    /// Preference and mean loss of every pair, inside and outside.
    pairs: [Vec<PairReading>; 2],
}

impl DriftRows<'_> {
    fn read(&self, decoder: &Decoder, edit: Option<&Edit>, seen: &dyn Fn(u64) -> Result<()>) -> Result<Read> {
        let [inside, outside] = self.pairs;
        Ok(Read {
            held_out: row_losses(decoder, self.held_out, edit, seen)?,
            pairs: [inside.readings(decoder, edit, seen)?, outside.readings(decoder, edit, seen)?],
        })
    }

    fn reading<'a>(
        &self,
        trajectory: &'a Trajectory,
        step: usize,
        edit: &Edit,
        [base, start, found]: [&Read; 3],
    ) -> Result<Reading<'a>> {
        let cosine = |other: &Option<Edit>| match other {
            Some(other) => edit.cosine(other),
            None => Ok(f64::NAN),
        };
        let cosines = trajectory.others.iter().map(|(_, other)| cosine(other));
        let change = |group: usize, from: &Read| {
            let changes =
                found.pairs[group].iter().zip(&from.pairs[group]).map(|(f, b)| f.preference - b.preference);
            let ones = vec![1.0; found.pairs[group].len()];
            Interval::of_clusters(&changes.collect::<Vec<_>>(), &ones, self.pairs[group].questions())
        };
        let rise = |group: usize| {
            let rises = found.pairs[group].iter().zip(&base.pairs[group]).map(|(f, b)| f.loss - b.loss);
            rises.sum::<f64>() / found.pairs[group].len().max(1) as f64
        };
        let tokens: Vec<f64> = found.held_out.iter().map(|&(_, tokens)| tokens as f64).collect();
        let losses: Vec<f64> = found.held_out.iter().map(|&(loss, _)| loss).collect();
        Ok(Reading {
            trajectory,
            step,
            norm: edit.norm()?,
            cosine_start: edit.cosine(&trajectory.start)?,
            cosines: cosines.collect::<strait_model::Result<_>>()?,
            cosine_change: change_along(edit, &trajectory.start, trajectory.axis.as_ref())?,
            heldout: Interval::of_clusters(&losses, &tokens, &self.held_out.questions()),
            narrow: change(0, base),
            general: change(1, base),
            rise: change(1, start),
            coherent: rise(0) <= self.coherence && rise(1) <= self.coherence,
        })
    }
}

/// Cosine of (edit - start) with (general - narrow), from inner products alone; NaN where nothing changed, or where there is
/// no axis.
fn change_along(edit: &Edit, start: &Edit, axis: Option<&(Edit, Edit)>) -> strait_model::Result<f64> {
    let Some((general, narrow)) = axis else { return Ok(f64::NAN) };
    let dot = |a: &Edit, b: &Edit| Ok::<_, strait_model::Error>(a.dot(b)?.unwrap_or(f64::NAN));
    let along = dot(edit, general)? - dot(edit, narrow)? - dot(start, general)? + dot(start, narrow)?;
    let length = |a: &Edit, b: &Edit| {
        let squared = dot(a, a)? - 2.0 * dot(a, b)? + dot(b, b)?;
        // Rounding can leave a square of almost zero on either side of it.
        let nothing = 1e-9 * (dot(a, a)? + dot(b, b)?);
        Ok::<_, strait_model::Error>(if squared > nothing { squared.sqrt() } else { f64::NAN })
    };
    Ok(along / (length(edit, start)? * length(general, narrow)?))
}
