//! Preference shift and the scaling certificate (design §4).

use strait_model::{
    Decoder, Edit, Message, Model, Role,
    progress::{Progress, Unit},
};

use super::{Bootstrap, Solution, row_losses};
use crate::{
    Result, Table,
    data::pairs::Pair,
    interval::{Interval, bootstrap_mean, clusters},
    objective::{Kept, Row},
    table::Column,
};

/// Pairs of answers, tokenised: rows `2 i` and `2 i + 1` are the taught and the other answer of pair `i`.
pub struct PairRows {
    /// `narrow` or `general`.
    pub group: &'static str,
    /// The rows, with the base model's stream kept.
    pub kept: Kept,
    domains: Vec<String>,
    questions: Vec<usize>,
}

impl PairRows {
    /// Tokenises pairs and computes the base model's stream at `point`.
    ///
    /// # Errors
    /// If a pair does not fit the model or its template.
    pub fn new(
        model: &Model,
        group: &'static str,
        pairs: &[Pair],
        point: usize,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let mut rows = Vec::with_capacity(2 * pairs.len());
        for pair in pairs {
            let place = format!("{group} pair `{}`", pair.id);
            for answer in [&pair.taught, &pair.other] {
                let mut messages = pair.question.clone();
                messages.push(Message { role: Role::Assistant, content: answer.clone() });
                rows.push(Row::from_chat(model, &messages, &place)?);
            }
        }
        let question = |pair: &Pair| pair.question.iter().map(|m| m.content.clone()).collect::<Vec<_>>();
        let title = format!("reading {group} pairs");
        Ok(Self {
            group,
            kept: Kept::all(&model.decoder, rows, point, true, &title, progress)?,
            domains: pairs.iter().map(|p| p.domain.clone()).collect(),
            questions: clusters(pairs.iter().map(question)),
        })
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
    fn readings(
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
    groups: &[PairRows],
    scales: &[f64],
    coherence: f64,
    bootstrap: Bootstrap,
    progress: &dyn Progress,
) -> Result<Table> {
    let mut rows = Rows::default();
    let passes = 1 + solutions.len() * scales.len();
    let total = groups.iter().map(|g| 2 * g.len() * passes).sum::<usize>();
    let task = progress.begin("preference", Some(total as u64), Unit::Count);
    let seen = |n: u64| super::advance(progress, &*task, n);
    for group in groups.iter().filter(|g| !g.is_empty()) {
        let base = group.readings(decoder, None, &seen)?;
        for solution in solutions {
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
                    let shift =
                        bootstrap_mean(&of(&shifts), &ones, &questions, bootstrap.resamples, bootstrap.seed);
                    let rise = of(&rises).iter().sum::<f64>() / picked.len() as f64;
                    rows.push(solution, group.group, &domain, scale, picked.len(), shift, rise, coherence);
                }
            }
        }
    }
    Ok(rows.table(bootstrap.seed))
}

const ALL: &str = "all";

/// "all", then each domain where there are several.
fn domains(group: &PairRows) -> Vec<String> {
    let mut named: Vec<String> = group.domains.clone();
    named.sort();
    named.dedup();
    let several = named.len() > 1;
    std::iter::once(ALL.to_string()).chain(named.into_iter().filter(|_| several)).collect()
}

#[derive(Default)]
struct Rows {
    solution: Vec<String>,
    group: Vec<String>,
    domain: Vec<String>,
    scale: Vec<f64>,
    pairs: Vec<i64>,
    shift: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
    loss_rise: Vec<f64>,
    coherent: Vec<Option<bool>>,
}

impl Rows {
    #[allow(clippy::too_many_arguments)]
    fn push(
        &mut self,
        solution: &Solution,
        group: &str,
        domain: &str,
        scale: f64,
        pairs: usize,
        shift: Interval,
        rise: f64,
        coherence: f64,
    ) {
        self.solution.push(solution.name.clone());
        self.group.push(group.into());
        self.domain.push(domain.into());
        self.scale.push(scale);
        self.pairs.push(pairs as i64);
        self.shift.push(shift.value);
        self.low.push(shift.low);
        self.high.push(shift.high);
        self.loss_rise.push(rise);
        self.coherent.push(Some(rise <= coherence));
    }

    fn table(self, seed: u64) -> Table {
        let seeds = vec![seed as i64; self.scale.len()];
        Table::new(
            "preference",
            "Preference shift: how much likelier the taught kind of answer became than the other kind",
        )
        .with_column("solution", "", Column::Text(self.solution))
        .with_column("group", "", Column::Text(self.group))
        .with_column("domain", "", Column::Text(self.domain))
        .with_column("scale", "", Column::Real(self.scale))
        .with_column("pairs", "", Column::Integer(self.pairs))
        .with_column("shift", "nats/token", Column::Real(self.shift))
        .with_column("low", "nats/token", Column::Real(self.low))
        .with_column("high", "nats/token", Column::Real(self.high))
        .with_column("loss_rise", "nats/token", Column::Real(self.loss_rise))
        .with_column("coherent", "", Column::Truth(self.coherent))
        .with_column("seed", "", Column::Integer(seeds))
    }
}

/// The scaling certificate, from a table of [`preference`]: at every scale, the general shift's upper bound as a share of
/// the narrow shift. It `holds` where that share is at most `allowed` and the narrow shift is above zero; scales at which
/// either group is no longer coherent decide nothing.
pub fn certificate(preference: &Table, allowed: f64) -> Table {
    let rows = readings(preference);
    let mut found = Vec::new();
    for narrow in rows.iter().filter(|r| r.group == "narrow") {
        let same =
            |r: &&Reading| r.group == "general" && r.solution == narrow.solution && r.scale == narrow.scale;
        if let Some(general) = rows.iter().find(same) {
            found.push((narrow, general));
        }
    }
    let text = |f: fn(&Reading) -> String| Column::Text(found.iter().map(|(n, _)| f(n)).collect());
    let narrow = |f: fn(&Reading) -> f64| Column::Real(found.iter().map(|(n, _)| f(n)).collect());
    let general = |f: fn(&Reading) -> f64| Column::Real(found.iter().map(|(_, g)| f(g)).collect());
    let coherent: Vec<bool> = found.iter().map(|(n, g)| n.coherent && g.coherent).collect();
    let share: Vec<f64> = found.iter().map(|(n, g)| g.shift.high / n.shift.value).collect();
    let holds: Vec<Option<bool>> = found
        .iter()
        .zip(&share)
        .zip(&coherent)
        .map(|(((narrow, _), &share), &coherent)| {
            (coherent && share.is_finite()).then_some(narrow.shift.value > 0.0 && share <= allowed)
        })
        .collect();
    Table::new(
        "certificate",
        "Scaling certificate: the general shift as a share of the narrow one, at every scale",
    )
    .with_column("solution", "", text(|r| r.solution.clone()))
    .with_column("scale", "", narrow(|r| r.scale))
    .with_column("narrow_shift", "nats/token", narrow(|r| r.shift.value))
    .with_column("narrow_low", "nats/token", narrow(|r| r.shift.low))
    .with_column("narrow_high", "nats/token", narrow(|r| r.shift.high))
    .with_column("general_shift", "nats/token", general(|r| r.shift.value))
    .with_column("general_low", "nats/token", general(|r| r.shift.low))
    .with_column("general_high", "nats/token", general(|r| r.shift.high))
    .with_column("share", "", Column::Real(share))
    .with_column("holds", "", Column::Truth(holds))
    .with_column("coherent", "", Column::Truth(coherent.into_iter().map(Some).collect()))
}

/// One row of a table of preferences over all domains of a group.
struct Reading {
    solution: String,
    group: String,
    scale: f64,
    shift: Interval,
    coherent: bool,
}

fn readings(preference: &Table) -> Vec<Reading> {
    let text = |name: &str, row: usize| match preference.column(name) {
        Some(Column::Text(values)) => values[row].clone(),
        _ => String::new(),
    };
    let real = |name: &str, row: usize| match preference.column(name) {
        Some(Column::Real(values)) => values[row],
        _ => f64::NAN,
    };
    let coherent = |row: usize| match preference.column("coherent") {
        Some(Column::Truth(values)) => values[row] == Some(true),
        _ => false,
    };
    (0..preference.rows())
        .filter(|&row| text("domain", row) == ALL)
        .map(|row| Reading {
            solution: text("solution", row),
            group: text("group", row),
            scale: real("scale", row),
            shift: Interval { value: real("shift", row), low: real("low", row), high: real("high", row) },
            coherent: coherent(row),
        })
        .collect()
}
