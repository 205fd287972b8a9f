//! The results of a run besides the steps' records, and the report that is drawn from them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;
use strait_model::files::write_atomically;

use super::{
    Run, Solution, StepStatus, Study,
    folder::{RESOLVED, read_plan, refuse_damage, report_written},
    layout::{COMPARISON, MODEL, OF_REPORT, REPORT, TABLE_KINDS, TABLES, table_file},
    status,
};
use crate::{
    Result, Table,
    keys::last_part,
    measure::list::ALL,
    report::{self, Conclusion, Facts, Input},
};

/// The outcome of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The run folder.
    pub folder: PathBuf,
    /// Its steps.
    pub steps: Vec<StepStatus>,
    /// The report.
    pub report: PathBuf,
    /// The conclusion in words, for a terminal.
    #[serde(skip)]
    pub verdict: String,
    /// The conclusion.
    pub conclusion: Conclusion,
}

/// Writes the report of a run folder again, from its tables.
///
/// # Errors
/// If the folder holds no run, or its tables cannot be read or are not those that the run made.
pub fn write_report(folder: &Path) -> Result<Outcome> {
    // Refuses a folder without a run in words of its own.
    status(folder)?;
    refuse_damage(folder)?;
    draw_report(folder)?;
    report_written(folder)?;
    outcome(folder)
}

/// Draws the report of a run folder from its tables as they are.
pub fn draw_report(folder: &Path) -> Result<()> {
    let page = report::render(&report_input(folder)?);
    write_atomically(&folder.join(REPORT), |f| std::io::Write::write_all(f, page.as_bytes()))?;
    Ok(())
}

/// Writes a page that shows run folders side by side, into the first of them.
///
/// # Errors
/// If a folder holds no run, or its tables cannot be read or are not those that the run made.
pub fn write_comparison(folders: &[PathBuf]) -> Result<PathBuf> {
    let mut runs = Vec::new();
    for folder in folders {
        status(folder)?;
        refuse_damage(folder)?;
        runs.push(report_input(folder)?);
    }
    let page = report::render_comparison(&names(folders, &runs), &runs);
    let path = folders.first().map_or_else(PathBuf::new, |first| first.join(COMPARISON));
    write_atomically(&path, |f| std::io::Write::write_all(f, page.as_bytes()))?;
    Ok(path)
}

/// The studies' names where they tell the runs apart, else those of their folders, else their places in the row.
fn names(folders: &[PathBuf], runs: &[Input]) -> Vec<String> {
    let studies: Vec<String> = runs.iter().map(|run| run.study.clone()).collect();
    let named = |folder: &PathBuf| last_part(&folder.canonicalize().unwrap_or_else(|_| folder.clone()));
    let of_folders: Vec<String> = folders.iter().map(named).collect();
    let are_distinct = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    match (are_distinct(&studies), are_distinct(&of_folders)) {
        (true, _) => studies,
        (false, true) => of_folders,
        (false, false) => of_folders.iter().zip(1..).map(|(name, n)| format!("{n}: {name}")).collect(),
    }
}

/// The conclusion of a run folder's tables.
pub fn conclusion(folder: &Path) -> Result<Conclusion> {
    let input = report_input(folder)?;
    Ok(report::conclude(&input.facts, &input.tables))
}

/// The state and the conclusion of a run folder.
pub fn outcome(folder: &Path) -> Result<Outcome> {
    let conclusion = conclusion(folder)?;
    Ok(Outcome {
        folder: folder.into(),
        steps: status(folder)?.steps,
        report: folder.join(REPORT),
        verdict: report::terminal_verdict(&conclusion),
        conclusion,
    })
}

/// Writes a table as CSV and as Parquet.
pub fn save(folder: &Path, table: &Table) -> Result<()> {
    let tables = folder.join(TABLES);
    table.write_csv(&tables.join(format!("{}.csv", table.name())))?;
    table.write_parquet(&tables.join(format!("{}.parquet", table.name())))
}

/// Takes away a table that may be there from before.
pub fn remove_table(folder: &Path, name: &str) -> Result<()> {
    for kind in TABLE_KINDS {
        let path = folder.join(TABLES).join(format!("{name}.{kind}"));
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(strait_model::Error::io(path, "remove the table")(e).into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// A table that a step has saved.
pub fn table(folder: &Path, name: &str) -> Result<Option<Table>> {
    let path = table_file(folder, name);
    path.is_file().then(|| Table::read_parquet(&path)).transpose()
}

/// The presets as they became on a model of `depth` blocks, a line each.
pub fn preset_lines(study: &Study, depth: usize) -> Vec<String> {
    let of = |s: &Solution| {
        s.preset.map(|preset| (s.name.clone(), preset.became(&s.train, s.search.as_ref(), depth)))
    };
    let lines =
        |(name, lines): (String, Vec<String>)| lines.into_iter().map(move |line| format!("{name}: {line}"));
    study.solutions.iter().filter_map(of).flat_map(lines).collect()
}

pub fn report_input(folder: &Path) -> Result<Input> {
    let resolved = folder.join(RESOLVED);
    let study = Study::read_resolved(&resolved)?;
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(strait_model::Error::io(path, "read the file"));
    let json = |name: &str| -> Result<Value> {
        let text = read(&folder.join(name))?;
        // A file of another hand is shown as far as it can be read.
        Ok(serde_json::from_str(&text).unwrap_or_default())
    };
    let model = json(MODEL)?;
    let run: Option<Run> = serde_json::from_value(json("run.json")?).ok();
    let values = study.values();
    let mut tables = Vec::new();
    // A measure that the study no longer asks for may have left its tables.
    let plan = read_plan(folder)?;
    let measured = ALL.iter().filter(|kind| plan.step(kind.name).is_some()).flat_map(|kind| kind.tables);
    for name in OF_REPORT.iter().chain(measured) {
        let Some(table) = table(folder, name)? else { continue };
        if let Some(kind) = ALL.iter().find(|kind| kind.tables.contains(name)) {
            (kind.check)(&table)?;
        }
        // A table without rows is of a measure that had nothing to read.
        tables.extend((table.rows() > 0).then_some(table));
    }
    let depth = model["config"]["layers"].as_u64().unwrap_or_default() as usize;
    Ok(Input {
        study: study.name.clone(),
        title: study.title.clone(),
        about: study.about.clone(),
        facts: Facts {
            domain: study.data.domain.clone(),
            kind: study.data.kind.clone(),
            certificate: study.measures.certificate,
            coherence: study.measures.coherence,
            parameters: model["parameters"].as_u64(),
            quantisation: model["provenance"]["quantised"].as_str().map(str::to_string),
            fixed: values.fixed.iter().map(|f| format!("{} = {}", f.key, f.value)).collect(),
        },
        model: model_facts(&model),
        provenance: provenance(&study, run.as_ref()),
        presets: preset_lines(&study, depth),
        scientific: values
            .scientific
            .iter()
            .map(|s| format!("{}: {}", s.key, s.values.join(" / ")))
            .collect(),
        tables,
        resolved_study: read(&resolved)?,
    })
}

fn model_facts(model: &Value) -> Vec<(String, String)> {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    };
    let of = |name: &str, value: &Value| (name.to_string(), shown(value));
    let (from, config) = (&model["provenance"], &model["config"]);
    let mut facts = vec![
        of("name", &from["name"]),
        of("came by", &from["road"]),
        of("revision", &from["revision"]),
        of("format", &from["format"]),
        of("tensor types", &from["quantised"]),
        of("architecture", &config["architecture"]),
        of("blocks", &config["layers"]),
        of("hidden size", &config["hidden_size"]),
        of("parameters", &model["parameters"]),
    ];
    if let Some(precision) = model["precision"].as_str() {
        facts.push(("precision of products".into(), precision.into()));
    }
    for file in model["sha256"].as_array().into_iter().flatten() {
        facts.push((format!("SHA-256 of {}", shown(&file[0])), shown(&file[1])));
    }
    facts
}

fn provenance(study: &Study, run: Option<&Run>) -> Vec<(String, String)> {
    let seeds = study.seeds;
    let mut facts = vec![
        ("study".to_string(), study.name.clone()),
        ("seed of initialisation".into(), seeds.initialisation.to_string()),
        ("seed of order".into(), seeds.order.to_string()),
        ("seed of sampling and intervals".into(), seeds.sampling.to_string()),
    ];
    if let Some(run) = run {
        facts.push(("strait".into(), run.strait.clone()));
        // When and on how many threads changes no figure; `run.json` has it.
        let machines: BTreeSet<String> = run
            .sessions
            .iter()
            .map(|session| format!("{}, {} {}", session.device, session.os, session.architecture))
            .collect();
        facts.extend(machines.into_iter().map(|machine| ("run on".to_string(), machine)));
    }
    facts
}
