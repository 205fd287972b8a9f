//! The last step of a study: the tables that are made of others, and the report.

use std::path::Path;

use strait_model::edit::{self, Kind, Summary};

use super::{
    Axis, Solution, Study,
    folder::{read_plan, sealed},
    layout::solution_folder,
    provenance::{KL_WEIGHT, MEDIAN_NORM},
    results::{conclusion, draw_report, remove_table, save, table},
};
use crate::{
    Result, Table,
    data::LeftOut,
    measure::{
        Certificate, Member, RateRow, Shift, certificate, families, families_difference,
        frontier::Weight,
        list::ALL,
        rate_certificates,
        records::{OWN_ROWS, Trained, TrainingStep},
    },
    table::{Column, Row},
    train::{EditKind, Length},
};

/// Writes those tables and the report.
///
/// # Errors
/// If a table or an edit cannot be read, or a file cannot be written.
pub(super) fn write(study: &Study, left_out: &[LeftOut], folder: &Path) -> Result<()> {
    let members = members(study);
    if let Some(shifts) = table(folder, Shift::TABLE)? {
        let shifts: Vec<Shift> = shifts.read()?;
        save(folder, &Table::of(&certificate(&shifts, study.measures.certificate)))?;
        save_rows(folder, &families(&shifts, &members))?;
    }
    // A measure that the study no longer asks for may have left its tables.
    let plan = read_plan(folder)?;
    let rates = table(folder, RateRow::TABLE)?.filter(|_| plan.step("rates").is_some());
    let rates: Vec<RateRow> = rates.map_or(Ok(Vec::new()), |table| table.read())?;
    let by_shifts = table(folder, Certificate::TABLE)?.map_or(Ok(Vec::new()), |table| table.read())?;
    save_rows(folder, &rate_certificates(&rates, &by_shifts, study.measures.certificate))?;
    let mut differences = Vec::new();
    for kind in ALL.iter().filter(|kind| plan.step(kind.name).is_some()) {
        let mut measured = Vec::new();
        for name in kind.tables {
            measured.extend(table(folder, name)?);
        }
        differences.extend(families_difference(kind.name, (kind.differences)(&measured), &members));
    }
    save_rows(folder, &differences)?;
    save_rows(folder, &frontiers(study, folder)?)?;
    if study.solutions.iter().all(|s| s.from.is_none()) {
        remove_table(folder, crate::measure::DriftRow::TABLE)?;
    }
    save(folder, &Table::of(left_out))?;
    save(folder, &trained(study, folder)?)?;
    save(folder, &Table::of(&steps(study, folder)?))?;
    if let Some(seal) = sealed(folder)? {
        let claims = conclusion(folder)?.claims;
        save(folder, &seal.table(&claims))?;
    }
    draw_report(folder)
}

/// Saves the table of some rows; one that has none is taken away, lest an older one be shown.
fn save_rows<R: Row>(folder: &Path, rows: &[R]) -> Result<()> {
    if rows.is_empty() { remove_table(folder, R::TABLE) } else { save(folder, &Table::of(rows)) }
}

/// The trained edits, with a column for each axis of the study's sweeps.
fn trained(study: &Study, folder: &Path) -> Result<Table> {
    let mut rows = Vec::new();
    for solution in &study.solutions {
        let own = solution_folder(folder, &solution.name);
        let opened = edit::read(&own.edit().to_string_lossy())?;
        let summary = opened.edit.summary()?;
        rows.push(Trained {
            solution: solution.name.clone(),
            kind: solution.train.edit.kind().into(),
            edit: in_words(&summary),
            layers: summary.layers.iter().map(i32::to_string).collect::<Vec<_>>().join(", "),
            parameters: summary.parameters,
            norm: summary.norm,
            relative_norm: match (&solution.train.edit, opened.provenance[MEDIAN_NORM].as_f64()) {
                (EditKind::Steering { .. }, Some(median_norm)) => summary.norm / median_norm,
                _ => f64::NAN,
            },
            kl_weight: match &solution.search {
                Some(_) => opened.provenance[KL_WEIGHT].as_f64().unwrap_or(0.0),
                None => solution.train.kl.map_or(0.0, |kl| kl.weight),
            },
            steps: own.history()?.len(),
            seed: solution.train.seeds.initialisation,
            family: solution.family().into(),
            variant: solution.variant(),
            control: solution.control,
        });
    }
    let mut table = Table::of(&rows);
    // Weight, steps and seed have columns of their own, whether they are swept or not.
    for axis in [Axis::Layer, Axis::Rank, Axis::LearningRate, Axis::Rows, Axis::Ratio] {
        let varies = |s: &Solution| s.point.as_ref().is_some_and(|p| p.axes.contains_key(&axis));
        if study.solutions.iter().any(varies) {
            let values = study.solutions.iter().map(|solution| axis.of(solution).unwrap_or(f64::NAN));
            table = table.with_column(axis.key(), "", Column::Real(values.collect()));
        }
    }
    if study.solutions.iter().any(|s| s.own_rows.is_some()) {
        let own = study.solutions.iter().map(|s| Some(s.own_rows.is_some()));
        table = table.with_column(OWN_ROWS, "", Column::Truth(own.collect()));
    }
    Ok(table)
}

fn in_words(edit: &Summary) -> String {
    match &edit.lora {
        Some(lora) => format!("LoRA, rank {}, scale {}", lora.rank, lora.scale),
        None if edit.kind == Kind::Full => "full fine-tune".into(),
        None => "steering vector".into(),
    }
}

/// The solutions that differ from each other in their seeds alone.
fn members(study: &Study) -> Vec<Member> {
    let member = |s: &Solution| Member {
        solution: s.name.clone(),
        family: s.variant(),
        seed: s.train.seeds.initialisation,
    };
    study.solutions.iter().map(member).collect()
}

/// The weights of all searches.
fn frontiers(study: &Study, folder: &Path) -> Result<Vec<Weight>> {
    let mut all = Vec::new();
    for solution in study.solutions.iter().filter(|s| s.search.is_some()) {
        let own = Table::read_parquet(&solution_folder(folder, &solution.name).frontier())?;
        all.extend(own.read::<Weight>()?);
    }
    Ok(all)
}

/// Every step of every solution, as their metrics have them.
fn steps(study: &Study, folder: &Path) -> Result<Vec<TrainingStep>> {
    let mut rows = Vec::new();
    for solution in &study.solutions {
        let history = solution_folder(folder, &solution.name).history()?;
        rows.extend(history.into_iter().map(|record| TrainingStep {
            solution: solution.name.clone(),
            step: record.step,
            learning_rate: record.learning_rate,
            loss: record.loss,
            response_loss: record.response_loss,
            kl: record.kl.unwrap_or(f64::NAN),
            gradient_norm: record.gradient_norm,
            norm: record.norm,
            heldout_loss: record.heldout_loss.unwrap_or(f64::NAN),
        }));
    }
    Ok(rows)
}

impl Axis {
    /// A solution's value on it; none where it has none.
    pub fn of(self, solution: &Solution) -> Option<f64> {
        let train = &solution.train;
        match (self, &train.edit) {
            (Self::Layer | Self::Rank, EditKind::Full) => None,
            (Self::Layer, EditKind::Steering { layer }) => Some(f64::from(*layer)),
            (Self::Layer, EditKind::Lora { layers, .. }) => layers.first().map(|&layer| f64::from(layer)),
            (Self::Rank, EditKind::Steering { .. }) => None,
            (Self::Rank, EditKind::Lora { rank, .. }) => Some(*rank as f64),
            (Self::LearningRate, _) => Some(train.learning_rate),
            (Self::Weight, _) => Some(train.kl.map_or(0.0, |kl| kl.weight)),
            (Self::Steps, _) => match train.length {
                Length::Steps(steps) => Some(steps as f64),
                Length::Epochs(_) => None,
            },
            (Self::Rows, _) => Some(solution.rows? as f64),
            (Self::Ratio, _) => Some(solution.mix.as_ref().map_or(0.0, |mix| mix.ratio)),
            (Self::Seeds, _) => Some(train.seeds.initialisation as f64),
        }
    }
}
