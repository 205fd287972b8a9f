//! Trains the general and the narrow solution, and certifies that the narrow one stays narrow when it is scaled up.
//!
//! `cargo run --release --example certificate -- MODEL` from the repository's root; without a model SmolLM2 135M.

use strait::{
    Lab,
    data::{RowSource, read_chats, read_pairs},
    measure::{Measure, Preference, certificate},
    train::{EditKind, Kl, Settings},
};
use strait_model::progress::Silent;

fn main() -> strait::Result<()> {
    let model = std::env::args().nth(1).unwrap_or_else(|| "smollm2-135m-instruct".into());
    let rows = |name: &str| RowSource::File(format!("data/technical/{name}.jsonl").into());
    let narrow = read_pairs(&rows("vehicles-heldout.technical"), &rows("vehicles-heldout.plain"), None)?;
    let general = read_pairs(&rows("weather.technical"), &rows("weather.plain"), None)?;
    let others = ["animals.technical", "animals.plain"].map(|name| read_chats(&rows(name)));
    let others = others.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let mut lab = Lab::open(&model, &Silent)?
        .with_train(&read_chats(&rows("vehicles-train.technical"))?)?
        .with_kl(&others)?
        .with_pairs(&narrow, &general)?;

    let layer = (lab.model.config().layers / 2) as i32;
    let plain = Settings::of(EditKind::Steering { layer });
    let held = Settings { kl: Some(Kl { weight: 3.0, batch_size: 4 }), ..plain.clone() };
    let solutions = vec![lab.solve("general", &plain)?, lab.solve("narrow", &held)?];
    let preference = Preference { scales: vec![1.0, 2.0, 4.0], coherence: 1.0 };
    let (shifts, _) = preference.run(&mut lab, &solutions)?;
    for row in certificate(&shifts, 0.25) {
        let (solution, scale) = (row.solution, row.scale);
        let verdict = match row.holds {
            Some(true) => "within a quarter",
            Some(false) => "more than a quarter",
            None => "cannot be told",
        };
        println!("{solution} at {scale}: outside at most {:.0} % of inside, {verdict}", 100.0 * row.share);
    }
    Ok(())
}
