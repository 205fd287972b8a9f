//! The accounts of earlier commands: a budget that is for several of them counts what all of them used.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{Problem, Spent};
use crate::{Error, Result, journal};

/// A file with a line for each request that was answered, and whose it was. It is locked against others while it is open.
pub struct Ledger {
    path: PathBuf,
    file: Mutex<File>,
    spent: BTreeMap<String, Spent>,
}

/// One owner's part of a ledger.
#[derive(Clone)]
pub struct Owned {
    ledger: Arc<Ledger>,
    owner: String,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    owner: std::borrow::Cow<'a, str>,
    prompt_tokens: u64,
    answer_tokens: u64,
    /// True where the endpoint says no count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    uncounted: bool,
}

impl Ledger {
    /// Opens a file, or makes it where there is none.
    ///
    /// # Errors
    /// If it holds something else, another process writes into it, or the file system refuses.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let file = journal::open(path, || Error::input(path, None, Problem::InUse))?;
        let mut spent: BTreeMap<String, Spent> = BTreeMap::new();
        journal::read_lines(&file, path, |number, text| {
            let line: Option<Line> = serde_json::from_slice(text).ok();
            let line = line.ok_or_else(|| Error::input(path, Some(number), Problem::NoAccount))?;
            let own = spent.entry(line.owner.into_owned()).or_default();
            own.add(line.prompt_tokens, line.answer_tokens, line.uncounted);
            Ok(())
        })?;
        Ok(Arc::new(Self { path: path.into(), file: Mutex::new(file), spent }))
    }

    /// The part of an owner: a name that stands for the same requests whenever the file is opened.
    pub fn of(self: &Arc<Self>, owner: &str) -> Owned {
        Owned { ledger: Arc::clone(self), owner: owner.into() }
    }
}

impl Owned {
    /// All that was used before the file was opened.
    pub(super) fn before(&self) -> Spent {
        self.ledger.spent.get(&self.owner).copied().unwrap_or_default()
    }

    /// Writes down a request that was answered.
    pub(super) fn add(&self, prompt_tokens: u64, answer_tokens: u64, uncounted: bool) -> Result<()> {
        let io = |error: io::Error| strait_model::Error::io(&self.ledger.path, "write the file")(error);
        let line = Line { owner: self.owner.as_str().into(), prompt_tokens, answer_tokens, uncounted };
        let mut text = serde_json::to_vec(&line).map_err(|error| io(error.into()))?;
        text.push(b'\n');
        let mut file = self.ledger.file.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(file.write_all(&text).map_err(io)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_go_on_where_they_were_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/spent.jsonl");
        let ledger = Ledger::open(&path).unwrap();
        let own = ledger.of("a");
        assert_eq!(own.before(), Spent::default());
        own.add(10, 5, false).unwrap();
        own.add(3, 1, true).unwrap();
        ledger.of("b").add(100, 100, false).unwrap();
        let busy = Ledger::open(&path).err().unwrap().to_string();
        assert!(busy.ends_with("another strait is writing into it"), "{busy}");
        drop((own, ledger));
        // As a kill may leave it.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{{\"owner\": \"a\"")).unwrap();
        let spent = Spent { requests: 2, prompt_tokens: 13, answer_tokens: 6, uncounted: 1, cost: None };
        assert_eq!(Ledger::open(&path).unwrap().of("a").before(), spent);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

        std::fs::write(&path, format!("{text}{{}}\n")).unwrap();
        let error = Ledger::open(&path).err().unwrap().to_string();
        assert!(error.ends_with("line 4: this is no account that strait kept"), "{error}");
    }
}
