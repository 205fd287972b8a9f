//! Trains a steering vector on technical answers about vehicles, and reads how far it moved the model towards technical
//! answers, about vehicles and about the weather.
//!
//! `cargo run --release --example vector -- MODEL` from the repository's root; without a model SmolLM2 135M.

use strait::{
    Lab,
    data::{RowSource, read_chats, read_pairs},
    measure::{Measure, Preference},
    table::Word,
    train::{EditKind, Settings},
};
use strait_model::progress::Silent;

fn main() -> strait::Result<()> {
    let model = std::env::args().nth(1).unwrap_or_else(|| "smollm2-135m-instruct".into());
    let rows = |name: &str| RowSource::File(format!("data/technical/{name}.jsonl").into());
    let narrow = read_pairs(&rows("vehicles-heldout.technical"), &rows("vehicles-heldout.plain"), None)?;
    let general = read_pairs(&rows("weather.technical"), &rows("weather.plain"), None)?;
    let mut lab = Lab::open(&model, &Silent)?
        .with_train(&read_chats(&rows("vehicles-train.technical"))?)?
        .with_pairs(&narrow, &general)?;

    let layer = (lab.model.config().layers / 2) as i32;
    let solution = lab.solve("general", &Settings::of(EditKind::Steering { layer }))?;
    let preference = Preference { scales: vec![1.0, 2.0], coherence: 1.0 };
    for shift in preference.run(&mut lab, &vec![solution])?.0 {
        let (group, of) = (shift.group.word(), shift.shift);
        println!(
            "{group} at {}: {:+.3} nats a token ({:+.3} to {:+.3})",
            shift.scale, of.value, of.low, of.high
        );
    }
    Ok(())
}
