//! Reads an adapter or a steering vector that somebody else trained, and the loss on rows as it is scaled.
//!
//! `cargo run --release --example adapter -- MODEL EDIT ROWS`, such as `... smollm2-135m-instruct path/to/adapter rows.jsonl`.

use strait::{
    Lab,
    data::{RowSource, read_chats},
    lab::Solution,
    measure::{Efficiency, Measure},
    table::Word,
};
use strait_model::{edit, progress::Silent};

fn main() -> strait::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, path, rows] = arguments.as_slice() else {
        eprintln!("usage: adapter MODEL EDIT ROWS");
        return Ok(());
    };
    let mut lab = Lab::open(model, &Silent)?.with_train(&read_chats(&RowSource::File(rows.into()))?)?;
    let opened = edit::read(path)?;
    lab.model.decoder.check(&opened)?;

    let efficiency = Efficiency { factors: vec![0.0, 0.5, 1.0, 1.5, 2.0], norms: 4, mean_norms: Vec::new() };
    let (rows, _) = efficiency.run(&mut lab, &vec![Solution { name: path.clone(), edit: opened.edit }])?;
    for row in rows {
        println!(
            "{:8} {:6.3} of its length: {:.4} nats a token",
            row.kind.word(),
            row.factor,
            row.loss.value
        );
    }
    Ok(())
}
