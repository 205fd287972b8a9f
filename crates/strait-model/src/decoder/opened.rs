//! Edits from files, held against the model that they are to act on.

use super::Decoder;
use crate::{
    Result,
    edit::{Opened, Site, in_file},
};

impl Opened {
    /// Refuses an edit that does not fit a model, or whose file holds a table of another model.
    ///
    /// # Errors
    /// As [`Edit::check`](crate::Edit::check), or if a table of the file is another than the model's.
    pub fn check(&self, decoder: &Decoder) -> Result<()> {
        self.edit.check(decoder.config()).map_err(in_file(&self.path))?;
        for table in &self.tables {
            let checked = match table.site {
                Site::Head => table.check(&decoder.unembedding(None)?.weight),
                _ => table.check(decoder.embeddings()),
            };
            checked.map_err(in_file(&self.path))?;
        }
        Ok(())
    }
}
