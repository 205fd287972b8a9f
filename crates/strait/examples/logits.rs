//! Prints the logits behind every token of a text of token ids, as JSON: what `interop/check.py` holds against transformers.
//!
//! `cargo run --example logits -- MODEL EDIT 1,5,22`, with `-` for no edit.

use strait::Lab;
use strait_model::{decoder::Packed, edit, progress::Silent};

fn main() -> strait::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, path, ids] = arguments.as_slice() else {
        eprintln!("usage: logits MODEL EDIT IDS");
        return Ok(());
    };
    let ids: Vec<u32> = ids.split(',').filter_map(|id| id.parse().ok()).collect();
    let lab = Lab::open(model, &Silent)?;
    let decoder = &lab.model.decoder;
    let opened = match path.as_str() {
        "-" => None,
        path => Some(edit::read_for(path, decoder.config())?),
    };
    if let Some(opened) = &opened {
        decoder.check(opened)?;
    }
    let logits =
        decoder.logits(&Packed::new([ids.as_slice()]), opened.as_ref().map(|opened| &opened.edit))?;
    let rows: Vec<Vec<f32>> = logits.to_vec2().map_err(strait_model::Error::from)?;
    println!("{rows:?}");
    Ok(())
}
