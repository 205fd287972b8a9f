//! Preference shift and the scaling certificate (design §4).

use strait_model::{
    Decoder, Edit, Model,
    decoder::first_changed_point,
    progress::{Progress, Unit},
};

use super::{Solution, row_losses};
use crate::{
    Result, Table,
    data::pairs::Pair,
    interval::{Interval, clusters},
    objective::{Kept, Row},
};

/// Pairs of answers, tokenised: rows `2 i` and `2 i + 1` are the taught and the other answer of pair `i`.
pub struct PairRows {
    /// `narrow` or `general`.
    pub group: &'static str,
    /// The rows.
    pub kept: Kept,
    domains: Vec<String>,
    questions: Vec<usize>,
}

impl PairRows {
    /// Tokenises pairs.
    ///
    /// # Errors
    /// If a pair does not fit the model or its template.
    pub fn new(model: &Model, group: &'static str, pairs: &[Pair]) -> Result<Self> {
        let mut rows = Vec::with_capacity(2 * pairs.len());
        for pair in pairs {
            let place = format!("{group} pair `{}`", pair.id);
            for answer in [&pair.taught, &pair.other] {
                rows.push(Row::from_chat(model, &pair.question.followed_by(answer.clone()), &place)?);
            }
        }
        let question =
            |pair: &Pair| pair.question.messages.iter().map(|m| m.text().into_owned()).collect::<Vec<_>>();
        Ok(Self {
            group,
            kept: Kept::new(rows),
            domains: pairs.iter().map(|p| p.domain.clone()).collect(),
            questions: clusters(pairs.iter().map(question)),
        })
    }

    /// Computes and keeps the base model's stream at `point` and its last hidden state.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn keep(&mut self, decoder: &Decoder, point: usize, progress: &dyn Progress) -> Result<()> {
        let title = format!("reading {} pairs", self.group);
        self.kept.keep(decoder, &self.kept.every_row(), point, true, &title, progress)
    }

    /// At most `most` of the pairs, evenly apart, so that every domain keeps its part; nothing of them is kept.
    pub fn some(&self, most: usize) -> Self {
        let count = self.len().min(most);
        let picked: Vec<usize> = (0..count).map(|i| i * self.len() / count).collect();
        let rows = picked.iter().flat_map(|&i| self.kept.rows()[2 * i..2 * i + 2].iter().cloned());
        Self {
            group: self.group,
            kept: Kept::new(rows.collect()),
            domains: picked.iter().map(|&i| self.domains[i].clone()).collect(),
            questions: clusters(picked.iter().map(|&i| self.questions[i])),
        }
    }

    /// The question of every pair.
    pub(super) fn questions(&self) -> &[usize] {
        &self.questions
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.domains.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The question that each row belongs to, for intervals.
    pub fn question_of_row(&self, row: usize) -> usize {
        self.questions[row / 2]
    }

    /// Of every pair: log p per token of the taught answer minus that of the other, and the mean loss of both.
    pub(super) fn readings(
        &self,
        decoder: &Decoder,
        edit: Option<&Edit>,
        seen: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Vec<(f64, f64)>> {
        let losses = row_losses(decoder, &self.kept, edit, seen)?;
        let reading = |pair: &[(f64, usize)]| {
            let (taught, other) = (pair[0].0, pair[1].0);
            (other - taught, 0.5 * (other + taught))
        };
        Ok(losses.chunks_exact(2).map(reading).collect())
    }
}

/// The change, from base to edited, of mean log p per token of the taught kind of answer minus that of the other, in nats
/// a token: for every solution, at every scale, in the domain and outside it.
///
/// # Errors
/// If a tensor operation fails.
pub fn preference(
    decoder: &Decoder,
    solutions: &[Solution],
    groups: &mut [PairRows],
    scales: &[f64],
    coherence: f64,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Table> {
    let mut rows = Vec::new();
    let passes = 1 + solutions.len() * scales.len();
    let total = groups.iter().map(|g| 2 * g.len() * passes).sum::<usize>();
    let task = progress.begin("preference", Some(total as u64), Unit::Count);
    let seen = |n: u64| super::advance(progress, &*task, n);
    for group in groups.iter_mut().filter(|g| !g.is_empty()) {
        let (mut base, mut kept_at) = (Vec::new(), None);
        for solution in solutions {
            let point = first_changed_point(&solution.edit, decoder.config().layers);
            if kept_at.replace(point) != Some(point) {
                group.keep(decoder, point, progress)?;
            }
            if base.is_empty() {
                base = group.readings(decoder, None, &seen)?;
            }
            for &scale in scales {
                let edited = group.readings(decoder, Some(&solution.edit.scaled(scale)?), &seen)?;
                let shifts: Vec<f64> = edited.iter().zip(&base).map(|(e, b)| e.0 - b.0).collect();
                let rises: Vec<f64> = edited.iter().zip(&base).map(|(e, b)| e.1 - b.1).collect();
                for domain in domains(group) {
                    let inside = |i: &usize| domain == ALL || group.domains[*i] == domain;
                    let picked: Vec<usize> = (0..group.len()).filter(inside).collect();
                    let of = |values: &[f64]| picked.iter().map(|&i| values[i]).collect::<Vec<_>>();
                    let questions = clusters(picked.iter().map(|&i| group.questions[i]));
                    let ones = vec![1.0; picked.len()];
                    let shift = Interval::of_clusters(&of(&shifts), &ones, &questions);
                    rows.push(Reading {
                        solution: solution.name.clone(),
                        group: group.group.into(),
                        domain,
                        scale,
                        pairs: picked.len(),
                        questions: questions.iter().max().map_or(0, |last| last + 1),
                        shift,
                        loss_rise: of(&rises).iter().sum::<f64>() / picked.len() as f64,
                    });
                }
            }
        }
    }
    let about = "Preference shift: how much likelier the taught kind of answer became than the other kind";
    Ok(Table::of_rows("preference", about, &rows)
        .text("solution", |r| r.solution.clone())
        .text("group", |r| r.group.clone())
        .text("domain", |r| r.domain.clone())
        .real("scale", "", |r| r.scale)
        .integer("pairs", "", |r| r.pairs as i64)
        .integer("questions", "", |r| r.questions as i64)
        .interval(["shift", "low", "high"], "nats/token", |r| r.shift)
        .real("loss_rise", "nats/token", |r| r.loss_rise)
        .truth("coherent", |r| Some(r.loss_rise <= coherence))
        .integer("seed", "", |_| seed as i64)
        .table())
}

/// A row of the table of preferences.
struct Reading {
    solution: String,
    group: String,
    domain: String,
    scale: f64,
    pairs: usize,
    questions: usize,
    shift: Interval,
    loss_rise: f64,
}

pub(super) const ALL: &str = "all";

/// "all", then each domain where there are several.
fn domains(group: &PairRows) -> Vec<String> {
    let mut named: Vec<String> = group.domains.clone();
    named.sort();
    named.dedup();
    let several = named.len() > 1;
    std::iter::once(ALL.to_string()).chain(named.into_iter().filter(|_| several)).collect()
}

/// The scaling certificate, from a table of [`preference`]: at every scale, the upper bound of the general shift as a share of
/// the narrow shift, both being uncertain. It `holds` where that bound is at most `allowed`. Scales at which the narrow shift
/// is not clearly above zero, or either group no longer coherent, decide nothing.
pub fn certificate(preference: &Table, allowed: f64) -> Table {
    let sides = sides(preference).unwrap_or_default();
    let mut found = Vec::new();
    for narrow in sides.iter().filter(|s| s.group == "narrow") {
        let same =
            |s: &&Side| s.group == "general" && s.solution == narrow.solution && s.scale == narrow.scale;
        if let Some(general) = sides.iter().find(same) {
            found.push(Scaled { narrow, general });
        }
    }
    let about = "Scaling certificate: the general shift as a share of the narrow one, at every scale";
    Table::of_rows("certificate", about, &found)
        .text("solution", |s| s.narrow.solution.into())
        .real("scale", "", |s| s.narrow.scale)
        .interval(["narrow_shift", "narrow_low", "narrow_high"], "nats/token", |s| s.narrow.shift)
        .interval(["general_shift", "general_low", "general_high"], "nats/token", |s| s.general.shift)
        .real("share", "", Scaled::share)
        .truth("holds", |s| s.holds(allowed))
        .truth("coherent", |s| Some(s.coherent()))
        .table()
}

/// One solution at one scale.
struct Scaled<'a> {
    narrow: &'a Side<'a>,
    general: &'a Side<'a>,
}

impl Scaled<'_> {
    fn share(&self) -> f64 {
        self.general.shift.over(self.narrow.shift).high
    }

    fn coherent(&self) -> bool {
        self.narrow.coherent && self.general.coherent
    }

    fn holds(&self, allowed: f64) -> Option<bool> {
        let told = self.coherent() && self.share().is_finite();
        told.then_some(self.share() <= allowed)
    }
}

/// The shift inside the domain or outside it.
struct Side<'a> {
    solution: &'a str,
    group: &'a str,
    scale: f64,
    shift: Interval,
    coherent: bool,
}

/// Those rows of a table of preferences that stand for all domains of a group; none if it is another table.
fn sides(preference: &Table) -> Option<Vec<Side<'_>>> {
    let text = |name| preference.text(name);
    let (solution, group, domain) = (text("solution")?, text("group")?, text("domain")?);
    let (scale, coherent) = (preference.real("scale")?, preference.truth("coherent")?);
    let shift = preference.interval(["shift", "low", "high"])?;
    let side = |row: usize| Side {
        solution: &solution[row],
        group: &group[row],
        scale: scale[row],
        shift: shift[row],
        coherent: coherent[row] == Some(true),
    };
    Some((0..preference.rows()).filter(|&row| domain[row] == ALL).map(side).collect())
}
