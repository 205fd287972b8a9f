//! The provenance of a direction: all that it takes to make it again.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use strait_model::{Edit, Model, files::hex, source::Road};

use super::{Classes, Extracted, Method};
use crate::{Result, data::RowSource, keys::last_part, table::Word};

/// A file and its hash.
#[derive(Clone, Debug)]
pub struct NamedFile {
    place: PathBuf,
    sha256: String,
}

impl NamedFile {
    /// Of the bytes of a source.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(source: &RowSource) -> Result<Self> {
        let place = source.place();
        let mut hash = Sha256::new();
        let copied = io::copy(&mut source.open()?, &mut hash);
        copied.map_err(strait_model::Error::io(&place, "read the file"))?;
        Ok(Self { place, sha256: hex(&hash.finalize()) })
    }

    fn written(&self) -> Value {
        json!({ "file": last_part(&self.place), "sha256": self.sha256 })
    }
}

/// The making of directions. What it says of the machine is nothing: of paths the last parts are written down.
pub struct Made<'a> {
    /// The model.
    pub model: &'a Model,
    /// The names of the edits under which rows were read, as the user gave them.
    pub edits: &'a [String],
    /// These edits as one; none where rows were read under the base model.
    pub edit: Option<&'a Edit>,
    /// The files that the rows come from.
    pub sources: &'a [NamedFile],
    /// The seed.
    pub seed: u64,
}

impl Made<'_> {
    /// The provenance of extracted directions; `rules` are those of judged answers.
    ///
    /// # Errors
    /// If the model's weights cannot be read again for their fingerprint.
    pub fn extracted(
        &self,
        found: &Extracted,
        method: Method,
        classes: &Classes,
        rules: Option<&str>,
    ) -> Result<Value> {
        let layers: Vec<i32> = found.directions.iter().map(|direction| direction.layer).collect();
        let class = |class: usize| json!({ "found": classes.found[class], "used": classes.count(), "tokens": found.tokens[class] });
        let mut written = self.begun(method.word(), &layers)?;
        let source = if classes.paired { "pairs" } else { "judged answers" };
        written.insert("source".into(), source.into());
        written.insert("classes".into(), json!({ "taught": class(0), "other": class(1) }));
        rules.into_iter().for_each(|rules| _ = written.insert("rules".into(), rules.into()));
        written.insert("prompts".into(), rows_hash(classes).into());
        Ok(Value::Object(written))
    }

    /// The provenance of random directions, which are as long as those of an edit with this name.
    ///
    /// # Errors
    /// As [`Made::extracted`].
    pub fn random(&self, name: &str, like: &Edit) -> Result<Value> {
        let mut written = self.begun("random", &like.layers())?;
        written.insert("like".into(), json!({ "edit": last_part(Path::new(name)), "sha256": like.mark()? }));
        Ok(Value::Object(written))
    }

    fn begun(&self, method: &str, layers: &[i32]) -> Result<Map<String, Value>> {
        let model = self.model;
        let located = &model.provenance.located;
        // A path says where it lies on this machine.
        let name = match &model.provenance.hub {
            Some(hub) => hub.clone(),
            None if located.road == Road::Path => last_part(Path::new(&located.name)),
            None => located.name.clone(),
        };
        let written = json!({
            "kind": "direction",
            "method": method,
            "model": name,
            "fingerprint": model.decoder.fingerprint()?,
            "precision": model.decoder.precision().name(),
            "date": model.tokenizer.date().map(|date| date.to_string()),
            "edits": self.edits.iter().map(|name| last_part(Path::new(name))).collect::<Vec<_>>(),
            "edits_sha256": self.edit.map(Edit::mark).transpose()?,
            "layers": layers,
            "factor": 1,
            "files": self.sources.iter().map(NamedFile::written).collect::<Vec<_>>(),
            "seed": self.seed,
            "strait": env!("CARGO_PKG_VERSION"),
        });
        match written {
            Value::Object(written) => Ok(written),
            _ => unreachable!("an object was written"),
        }
    }
}

/// A hash of all rows, as the model's template renders them.
fn rows_hash(classes: &Classes) -> String {
    let mut hash = Sha256::new();
    for row in classes.rows.iter().flatten() {
        hash.update((row.ids.len() as u64).to_le_bytes());
        row.ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
    }
    hex(&hash.finalize())
}
