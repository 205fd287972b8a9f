//! Drift: where training goes that starts from a trained solution, above all from a narrow one whose penalty is lifted
//! (paper §11).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strait_model::{
    Decoder, Edit,
    progress::{Progress, Unit},
};

use super::{
    Common, Difference, Facts, FamilyDifference, Inputs, Measure, Panel, Setting, Shown, Trajectory,
    difference::OVER_SEEDS, plots::HEIGHT, shown::rows, unit::NATS,
};
use crate::{
    Result, Table,
    claim::{Bound, Claim, Place, Subject, sentence},
    interval::Interval,
    keys::{Checked, count, keys, most, table},
    lab::{Estimate, Lab, PairReading, PairRows, Scene, Solved, advance, point, row_losses},
    objective::Kept,
    page::{
        figure::{Drawing, Figure, Growing, Look, Point, Series, Style, axis, layout, range},
        numbers::{number, quoted},
    },
    table::Row,
};

/// The checkpoints of solutions that started from another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The most pairs of each group that are read at every checkpoint; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<usize>,
    /// Nats a token that the mean response loss of the pairs may rise by for a checkpoint to count as coherent.
    pub coherence: f64,
}

keys! {
    /// `[measure.drift]`.
    #[derive(Clone, Debug, Default)]
    pub struct DriftKeys {
        /// The most pairs of each group read at every checkpoint of a drift.
        pairs: usize = count(2..=most::ROWS), left_out "all";
    }
}

/// The most checkpoints of a solution that are read, besides its start.
pub const CHECKPOINTS: usize = 6;

crate::row! {
    /// A solution that started from another one, at one checkpoint; step 0 is its start.
    pub struct DriftRow in "drift",
        "Drift: solutions whose training started from another one, along their checkpoints"
    {
        /// The solution.
        solution: String,
        /// The solution that it started from.
        from: String,
        /// True if it was trained without the KL penalty of its start.
        freed: bool,
        /// Optimiser steps since the start.
        step: usize,
        /// Norm of the edit.
        norm: f64,
        /// Cosine with the start, of the changes that the edits make.
        cosine_start: f64,
        /// Cosine of the change since the start with the way from narrow to general; NaN where nothing changed.
        cosine_change: f64,
        /// Cosines with other solutions; NaN where two edits share no site.
        cosine_to: Vec<(String, f64)>,
        /// Response loss on held-out rows.
        heldout_loss: Interval = NATS.ends("heldout_low", "heldout_high"),
        /// The shift inside the domain.
        narrow_shift: Interval = NATS.ends("narrow_low", "narrow_high"),
        /// The shift outside it.
        general_shift: Interval = NATS.ends("general_low", "general_high"),
        /// The general shift less that of the start, paired by question.
        rise: Interval = NATS.ends("rise_low", "rise_high"),
        /// True if both groups are coherent.
        coherent: bool,
        /// Number of held-out rows.
        heldout_rows: usize,
        /// Number of pairs inside the domain.
        narrow_pairs: usize,
        /// Number of pairs outside it.
        general_pairs: usize,
        /// The seed of sampling.
        seed: u64,
    }
}

/// The statement that training leaves a narrow solution for the general one once its penalty is lifted.
const DRIFTS: &str = "drifts to the general solution";

impl Measure for Drift {
    const NAME: &'static str = "drift";
    type Found = Vec<DriftRow>;
    type Said = DriftKeys;

    fn key() -> Option<Setting<DriftKeys>> {
        Some(Setting {
            about: "Reading at every checkpoint of a solution that goes on from another.",
            kind: table(),
            default: DriftKeys::default(),
        })
    }

    fn asked(said: Option<DriftKeys>, common: &Common<'_>) -> Checked<Option<Self>> {
        let pairs = said.and_then(|keys| keys.pairs).map(|pairs| pairs.value);
        Ok(Some(Self { pairs, coherence: common.coherence }))
    }

    fn applies(&self, inputs: &Inputs<'_>) -> bool {
        inputs.follows
    }

    fn inputs(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        let mut own = json!({
            "pairs": inputs.pairs,
            "domain": inputs.domain,
            "limit": self.pairs,
            "coherence": self.coherence,
            "intervals": inputs.intervals,
        });
        // Drifts are set beside what is compared.
        if !inputs.controls.is_empty() {
            own["controls"] = json!(inputs.controls);
        }
        Ok(own)
    }

    fn estimate(&self, scene: &Scene<'_>, estimate: &mut Estimate) {
        let few = scene.lab.pairs.each_ref().map(|pairs| pairs.some(self.most()));
        few.iter().for_each(|pairs| _ = estimate.keeping(pairs.kept.rows(), scene.common_point(), true));
        estimate.holding(scene.lab.held_out.rows(), false);
        for solution in scene.solutions.iter().filter(|solution| solution.follows) {
            let (point, passes) = (point(solution.settings), 1 + solution.checkpoints.clamp(1, CHECKPOINTS));
            estimate.losses(scene.lab.held_out.rows(), point, passes);
            few.iter().for_each(|pairs| _ = estimate.losses(pairs.kept.rows(), point, passes));
        }
    }

    fn run(&self, lab: &mut Lab<'_>, solved: &dyn Solved) -> Result<Vec<DriftRow>> {
        let trajectories = solved.trajectories()?;
        let point = lab.common_point(trajectories.iter().map(|t| &t.start));
        let (model, seed, progress) = (std::sync::Arc::clone(&lab.model), lab.seed, lab.progress);
        let held_out = lab.unseen();
        held_out.keep(
            &model.decoder,
            &held_out.every_row(),
            point,
            false,
            "reading held-out rows",
            progress,
        )?;
        let mut pairs = lab.pairs.each_ref().map(|pairs| pairs.some(self.most()));
        pairs.iter_mut().try_for_each(|pairs| pairs.keep(&model.decoder, point, progress))?;
        self.read(&model.decoder, &trajectories, lab.unseen(), &pairs, seed, progress)
    }

    fn panels() -> Vec<Panel> {
        let reading = "Training that goes on from another solution's end. Where a penalty was lifted and the shift outside rises \
                       towards that inside, the narrow solution was not where training stays by itself. The cosine of the change \
                       is that with the way from a narrow solution to a general one.";
        let draw = |shown: &Shown<'_>| figures(shown.facts, &shown.solutions, &shown.rows());
        vec![Panel::table(DriftRow::TABLE, "Drift", reading).drawn(draw)]
    }

    fn statements(subjects: &[Subject]) -> Vec<(Place, String)> {
        let freed = || subjects.iter().enumerate().filter(|(_, subject)| subject.freed);
        let single = freed().map(|(i, s)| (Place::Solution(i), sentence(Some(&s.name), DRIFTS)));
        let mut variants: Vec<&str> = freed().map(|(_, subject)| subject.variant.as_str()).collect();
        variants.dedup();
        let several = |variant: &&str| subjects.iter().filter(|s| s.variant == *variant).count() > 1;
        let over_seeds = variants.into_iter().filter(several);
        single
            .chain(over_seeds.map(|variant| (Place::OverSeeds, sentence(None, &drifts_over(variant)))))
            .collect()
    }

    fn claims(shown: &Shown<'_>) -> Vec<(Place, Claim)> {
        let drifts: Vec<DriftRow> = shown.rows();
        let claim = |(i, solution): (usize, &&str)| {
            Some((Place::Solution(i), drifted(shown.facts, solution, &drifts)?))
        };
        let single = shown.solutions.iter().enumerate().filter_map(claim);
        let over_seeds = over_seeds(shown).into_iter().map(|claim| (Place::OverSeeds, claim));
        single.chain(over_seeds).collect()
    }

    fn differences(tables: &[Table]) -> Vec<Difference> {
        let of = |row: DriftRow| Difference {
            solution: row.solution,
            other: row.from,
            what: "rise".into(),
            at: row.step as f64,
            difference: row.rise,
            unit: "nats/token",
        };
        rows(tables).into_iter().filter(|row: &DriftRow| row.step > 0).map(of).collect()
    }
}

impl Drift {
    fn most(&self) -> usize {
        self.pairs.unwrap_or(usize::MAX)
    }

    /// Norm, cosines, held-out loss and preference shifts of every checkpoint of every trajectory, its start as step 0. The
    /// rows are kept at a point that no edit changes; pairs are those inside the domain and those outside it.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn read(
        &self,
        decoder: &Decoder,
        trajectories: &[Trajectory],
        held_out: &Kept,
        pairs: &[PairRows; 2],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<DriftRow>> {
        let edits = trajectories.iter().map(|t| 1 + t.checkpoints.len()).sum::<usize>();
        let a_pass = held_out.rows().len() + pairs.iter().map(|p| 2 * p.len()).sum::<usize>();
        let task = progress.begin("drift", Some((a_pass * (1 + edits)) as u64), Unit::Count);
        let seen = |n| advance(progress, &*task, n);
        let read = |edit: Option<&Edit>| -> Result<Readings> {
            let [inside, outside] = pairs;
            Ok(Readings {
                held_out: row_losses(decoder, held_out, edit, &seen)?,
                pairs: [inside.readings(decoder, edit, &seen)?, outside.readings(decoder, edit, &seen)?],
            })
        };
        let rows = Rows { held_out, pairs, coherence: self.coherence, seed };
        let base = read(None)?;
        let mut found = Vec::new();
        for trajectory in trajectories {
            let start = read(Some(&trajectory.start))?;
            found.push(rows.row(trajectory, 0, &trajectory.start, [&base, &start, &start])?);
            for (step, edit) in &trajectory.checkpoints {
                found.push(rows.row(trajectory, *step, edit, [&base, &start, &read(Some(edit))?])?);
            }
        }
        Ok(found)
    }
}

/// The readings of one edit, or of base.
struct Readings {
    /// Loss and response tokens of every held-out row.
    held_out: Vec<(f64, usize)>,
    /// Preference and mean loss of every pair, inside and outside.
    pairs: [Vec<PairReading>; 2],
}

/// The rows that are read at every checkpoint.
struct Rows<'a> {
    held_out: &'a Kept,
    pairs: &'a [PairRows; 2],
    coherence: f64,
    seed: u64,
}

impl Rows<'_> {
    fn row(
        &self,
        trajectory: &Trajectory,
        step: usize,
        edit: &Edit,
        [base, start, found]: [&Readings; 3],
    ) -> Result<DriftRow> {
        let cosine_to = trajectory.others.iter().map(|(name, other)| {
            let cosine = other.as_ref().map_or(Ok(f64::NAN), |other| edit.cosine(other))?;
            Ok((name.clone(), cosine))
        });
        let change = |group: usize, from: &Readings| {
            let changes =
                found.pairs[group].iter().zip(&from.pairs[group]).map(|(f, b)| f.preference - b.preference);
            let ones = vec![1.0; found.pairs[group].len()];
            Interval::of_clusters(&changes.collect::<Vec<_>>(), &ones, &self.pairs[group].questions)
        };
        let loss_rise = |group: usize| {
            let rises = found.pairs[group].iter().zip(&base.pairs[group]).map(|(f, b)| f.loss - b.loss);
            rises.sum::<f64>() / found.pairs[group].len().max(1) as f64
        };
        let tokens: Vec<f64> = found.held_out.iter().map(|&(_, tokens)| tokens as f64).collect();
        let losses: Vec<f64> = found.held_out.iter().map(|&(loss, _)| loss).collect();
        Ok(DriftRow {
            solution: trajectory.solution.clone(),
            from: trajectory.from.clone(),
            freed: trajectory.freed,
            step,
            norm: edit.norm()?,
            cosine_start: edit.cosine(&trajectory.start)?,
            cosine_change: change_along(edit, &trajectory.start, trajectory.axis.as_ref())?,
            cosine_to: cosine_to.collect::<strait_model::Result<_>>()?,
            heldout_loss: Interval::of_clusters(&losses, &tokens, &self.held_out.questions()),
            narrow_shift: change(0, base),
            general_shift: change(1, base),
            rise: change(1, start),
            coherent: loss_rise(0) <= self.coherence && loss_rise(1) <= self.coherence,
            heldout_rows: self.held_out.rows().len(),
            narrow_pairs: self.pairs[0].len(),
            general_pairs: self.pairs[1].len(),
            seed: self.seed,
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

/// The claim that a solution that was trained on without the penalty of its start moved outside the domain (paper §11).
fn drifted(facts: &Facts, solution: &str, drifts: &[DriftRow]) -> Option<Claim> {
    let own = || drifts.iter().filter(|d| d.solution == solution && d.freed);
    let (start, end) = (own().next()?, own().next_back().filter(|end| end.step > 0)?);
    let claim = |holds, words| Claim::new(DRIFTS, "§11", holds, end.rise, words).of(solution);
    let domain = &facts.domain;
    if !(start.coherent && end.coherent) {
        return Some(claim(None, "its start or its end is incoherent".into()));
    }
    let toward = match end.cosine_change.is_nan() {
        true => String::new(),
        false => format!(
            "; the cosine of its change with the way from narrow to general is {}",
            number(end.cosine_change)
        ),
    };
    let moved = format!(
        "in {} steps without the penalty of {} its shift outside {domain} changed by {} nats a token, from {}",
        end.step,
        quoted(&end.from),
        end.rise.words(),
        number(start.general_shift.value)
    );
    let holds = match end.rise {
        rise if rise.low > 0.0 => Some(true),
        // Less than what a narrow solution may have is no drift.
        rise if end.narrow_shift.is_known()
            && rise.high <= (facts.certificate * end.narrow_shift.value).max(0.0) =>
        {
            Some(false)
        }
        _ => None,
    };
    let doubt = if holds.is_none() { ", which cannot be told from none" } else { "" };
    Some(claim(holds, moved + doubt + &toward))
}

/// The claims that the shift outside rose once the penalty was lifted, for each family of several seeds, at its last checkpoint.
fn over_seeds(shown: &Shown<'_>) -> Vec<Claim> {
    let drifts: Vec<DriftRow> = shown.rows();
    let freed = drifts.iter().filter(|drift| drift.freed);
    let freed: Vec<&str> = freed.filter_map(|drift| shown.variant_of(&drift.solution)).collect();
    let mut rows = FamilyDifference::of(shown, Drift::NAME);
    let seeds = rows.iter().map(|row| row.seeds).min().unwrap_or(0);
    rows.retain(|row| freed.contains(&row.family.as_str()));
    rows.sort_by(|a, b| a.family.cmp(&b.family).then(b.at.total_cmp(&a.at)));
    rows.dedup_by(|a, b| a.family == b.family);
    let claim = |row: &FamilyDifference| {
        let words = format!(
            "in {} steps without the penalty of {} its shift outside changed by {} nats a token, a 95 % interval over \
             {seeds} seeds",
            row.at,
            quoted(&row.other),
            row.difference.words()
        );
        let holds = Bound::Above(0.0).judge(row.difference, &[]);
        Claim::new(drifts_over(&row.family), "§11", holds, row.difference, words)
    };
    rows.iter().map(claim).collect()
}

fn drifts_over(variant: &str) -> String {
    format!("{} {DRIFTS}{OVER_SEEDS}", quoted(variant))
}

/// The preference shift along the checkpoints of every solution that started from another one, and the cosines.
fn figures(facts: &Facts, solutions: &[&str], rows: &[DriftRow]) -> Vec<Vec<Figure>> {
    let inside = format!("inside {}", facts.domain);
    let y = axis("preference shift (nats a token)")
        .range(range(rows.iter().flat_map(|d| [d.narrow_shift, d.general_shift])));
    let mut groups = Vec::new();
    for (place, solution) in solutions.iter().enumerate() {
        let own: Vec<_> = rows.iter().filter(|d| d.solution == *solution).collect();
        let Some(first) = own.first() else { continue };
        let mut shifts = Drawing::new(Growing::Up);
        type End = fn(&DriftRow) -> Interval;
        let sides: [(&str, Style, End); 2] =
            [(&inside, Style::Inside, |d| d.narrow_shift), ("outside", Style::Outside, |d| d.general_shift)];
        for (name, style, side) in sides {
            let point = |d: &&DriftRow| Point {
                at: d.step as f64,
                value: side(d),
                words: format!("{name}, step {}: {}", d.step, side(d).words()),
            };
            let points = own.iter().map(point).collect();
            shifts.add(Series { name: Some(name.into()), look: Look::at(place), style, points });
        }
        let mut cosines = Drawing::new(Growing::Up);
        let change = ("change since the start", own.iter().map(|d| d.cosine_change).collect());
        // The family that it started from is its start again.
        let is_start = |i: &usize| own.iter().all(|d| d.cosine_to[*i].1 == d.cosine_start);
        let start = ("its start", own.iter().map(|d| d.cosine_start).collect::<Vec<_>>());
        let others = (0..first.cosine_to.len())
            .filter(|i| !is_start(i))
            .map(|i| (first.cosine_to[i].0.as_str(), own.iter().map(|d| d.cosine_to[i].1).collect()));
        for (i, (name, values)) in [start].into_iter().chain(others).chain([change]).enumerate() {
            let known = own.iter().zip(values).filter(|(_, cosine)| cosine.is_finite());
            let point = |(d, value): (&&DriftRow, f64)| Point {
                at: d.step as f64,
                value: Interval::bare(value),
                words: format!("{name}, step {}: {}", d.step, number(value)),
            };
            let points = known.map(point).collect();
            let name = Some(name.into());
            cosines.add(Series { name, look: Look::at(i), style: Style::MarkedLine, points });
        }
        let steps = || axis("optimiser step");
        let caption = format!("{} from {}", quoted(solution), quoted(&first.from));
        let mut group = vec![shifts.finish(caption, HEIGHT, layout(steps(), y.clone()))];
        if !cosines.is_empty() {
            let caption = format!("Cosines of {}", quoted(solution));
            let y = axis("cosine").range(vec![-1.05, 1.05]);
            group.push(cosines.finish(caption, HEIGHT, layout(steps(), y)));
        }
        groups.push(group);
    }
    groups
}
