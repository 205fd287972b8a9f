//! The keys above all tables, and the smallest tables.

use serde_json::json;
use strait_model::template::Date;

use super::{CueKeys, DataKeys, MeasureKeys, SolutionKeys, TrainKeys, names::name};
use crate::keys::{At, Kind, keys, number, table, tables, text, whole, word};

keys! {
    /// A study file.
    #[derive(Clone, Debug)]
    pub(crate) struct TopKeys {
        /// Names the folder of results.
        name: String = name(), left_out "the name of this file";
        /// Title of the report.
        title: String = text(), left_out "the name";
        /// The question that the study asks, in the report's words.
        about: String = text(), default String::new();
        /// A folder, a .gguf file, a hub id (org/name@revision), a short name, or world:NAME for a built-in world.
        model: String = word(), required;
        /// The date for chat templates that ask for today's: fixed, so that they give the same tokens every day.
        date: Date = date(), default Date::default();
        /// Equal seeds give equal results, to the last bit on processors of one kind.
        seeds: SeedKeys = table(), default SeedKeys::default();
        /// Rows to train on and to measure with.
        data: DataKeys = table(), required;
        /// For all solutions; each [[solution]] may say any of these keys otherwise.
        train: TrainKeys = table(), default TrainKeys::default();
        /// Something around questions, with and without which pairs and answers are read; may be repeated.
        cue: Vec<At<CueKeys>> = tables("cue"), default Vec::new();
        /// One for each edit to train.
        solution: Vec<At<SolutionKeys>> = tables("solution"), left_out "no study";
        /// A prediction of yours, sealed before the first step and scored in the report; may be repeated.
        prediction: Vec<At<PredictionKeys>> = tables("prediction"), default Vec::new();
        /// The measures and their settings.
        measure: MeasureKeys = table(), default MeasureKeys::default();
    }
}

keys! {
    /// `[seeds]`.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct SeedKeys {
        /// Seed of LoRA's A; a steering vector begins at zero.
        initialisation: u64 = whole(), default 0;
        /// Seed of the held-out split and of the order of rows.
        order: u64 = whole(), default 0;
        /// Seed of noise, random directions, continuations, and of which training rows are measured.
        sampling: u64 = whole(), default 0;
    }
}

keys! {
    /// A `[[prediction]]`.
    #[derive(Clone, Debug)]
    pub(crate) struct PredictionKeys {
        /// A sentence of the report; `strait run --dry-run` lists them.
        claim: String = text(), required;
        /// Your probability that it holds.
        probability: f64 = number(0.0..=1.0), required;
    }
}

fn date() -> Kind<Date> {
    Kind::plain(
        "a day as text, such as \"2024-07-26\"",
        json!({ "type": "string", "format": "date" }),
        |cell| cell.text()?.parse().ok(),
        |date| json!(date),
    )
}
