//! The tables of several studies, one under another, and the folder that holds them.

use std::{collections::BTreeMap, path::Path};

use strait_model::{
    files::{self, sha256_of},
    progress::Progress,
};

use crate::{Result, Table};

/// The record of the joined tables that strait wrote: the SHA-256 of each file.
const RECORD: &str = "tables.json";

/// A study's values, by the names of its holes, and its tables.
pub type StudyTables<'a> = (&'a [(String, String)], &'a [Table]);

/// The tables of some studies, one under another: each row begins with the values of its study. A column that a study lacks is
/// empty in its rows. Rows that do not fit those of the studies before are left out, with a note.
pub fn over_studies<'a>(
    studies: impl Iterator<Item = StudyTables<'a>>,
    progress: &dyn Progress,
) -> Vec<Table> {
    let mut all: Vec<Vec<OfTable>> = Vec::new();
    for (values, tables) in studies {
        for table in tables {
            match all.iter_mut().find(|known| known[0].1.name() == table.name()) {
                Some(known) => known.push((values, table)),
                None => all.push(vec![(values, table)]),
            }
        }
    }
    all.iter().map(|tables| joined(tables, progress)).collect()
}

/// A study's values, and one of its tables.
type OfTable<'a> = (&'a [(String, String)], &'a Table);

/// Tables of one name, one under another.
fn joined(tables: &[OfTable], progress: &dyn Progress) -> Table {
    // A hole that is called as a column in any of the tables gets another name in all of them.
    let is_column = |name: &str| tables.iter().any(|(_, table)| table.column(name).is_some());
    let mut holes: Vec<String> = Vec::new();
    for (hole, _) in tables[0].0 {
        let mut name = hole.clone();
        while is_column(&name) || holes.contains(&name) {
            name.insert_str(0, "study_");
        }
        holes.push(name);
    }
    let values = |values: &[(String, String)]| -> Vec<String> {
        values.iter().map(|(_, value)| value.clone()).collect()
    };
    let behind =
        |(own, table): &OfTable| table.behind(&holes.iter().cloned().zip(values(own)).collect::<Vec<_>>());
    let mut joined = behind(&tables[0]);
    for table in &tables[1..] {
        if let Err(error) = joined.append(&behind(table)) {
            let study = values(table.0).join(", ");
            progress.note(&format!("{error}; the rows of the study of {study} are in its own folder alone"));
        }
    }
    joined
}

/// Writes the tables that have rows into `tables/` of a folder, as CSV and Parquet. Those that strait wrote there before and that
/// are none of these are deleted, unless somebody changed them.
///
/// # Errors
/// Any refusal of the file system.
pub fn write_into(out: &Path, tables: &[Table]) -> Result<()> {
    let folder = out.join("tables");
    let mut written = BTreeMap::new();
    for table in tables.iter().filter(|table| table.rows() > 0) {
        let [csv, parquet] = ["csv", "parquet"].map(|kind| format!("{}.{kind}", table.name()));
        table.write_csv(&folder.join(&csv))?;
        table.write_parquet(&folder.join(&parquet))?;
        for file in [csv, parquet] {
            let sha256 = sha256_of(&folder.join(&file), |_| ())?;
            written.insert(file, sha256);
        }
    }
    let record = out.join(RECORD);
    let before = std::fs::read(&record).ok();
    let before = before.and_then(|text| serde_json::from_slice::<BTreeMap<String, String>>(&text).ok());
    for (file, sha256) in before.unwrap_or_default() {
        // A name with a path in it is none that was written here.
        let is_here = Path::new(&file).file_name() == Some(file.as_ref());
        let path = folder.join(&file);
        let is_as_written = || sha256_of(&path, |_| ()).is_ok_and(|found| found == sha256);
        if is_here && !written.contains_key(&file) && is_as_written() {
            std::fs::remove_file(&path).map_err(strait_model::Error::io(&path, "remove the table"))?;
        }
    }
    let text = serde_json::to_string_pretty(&written).expect("names and hashes are JSON");
    files::write(&record, text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use strait_model::progress::{Silent, Task, Unit};

    use super::*;
    use crate::table::Column;

    fn values(layer: &str) -> Vec<(String, String)> {
        vec![("layer".into(), layer.into())]
    }

    fn table(name: &str, columns: &[(&str, f64)]) -> Table {
        let column = |table: Table, (name, value): &(&str, f64)| {
            table.with_column(*name, "", Column::Real(vec![*value]))
        };
        columns.iter().fold(Table::new(name, ""), column)
    }

    #[test]
    fn studies_with_other_axes_are_joined() {
        let (first, second) = (values("1"), values("2"));
        let swept = [table("solutions", &[("norm", 3.0), ("layer", 7.0)])];
        let plain = [table("solutions", &[("norm", 4.0), ("rank", 8.0)]), table("rates", &[("rate", 0.5)])];
        let studies = [(first.as_slice(), swept.as_slice()), (&second, &plain)];
        let joined: Vec<String> =
            over_studies(studies.into_iter(), &Silent).iter().map(Table::to_csv).collect();
        let solutions = "study_layer,norm,layer,rank\n1,3.0,7.0,\n2,4.0,,8.0\n";
        assert_eq!(joined, [solutions, "layer,rate\n2,0.5\n"]);
    }

    struct Notes(Mutex<Vec<String>>);

    impl Progress for Notes {
        fn begin(&self, title: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task> {
            Silent.begin(title, total, unit)
        }

        fn note(&self, text: &str) {
            self.0.lock().unwrap().push(text.into());
        }
    }

    #[test]
    fn rows_that_fit_no_others_are_left_out_with_a_note() {
        let (first, second) = (values("1"), values("2"));
        let (real, word) = ([table("rates", &[("rate", 0.5)])], Column::Text(vec!["half".into()]));
        let other = [Table::new("rates", "").with_column("rate", "", word)];
        let notes = Notes(Mutex::default());
        let studies = [(first.as_slice(), real.as_slice()), (&second, &other)];
        let joined = over_studies(studies.into_iter(), &notes);
        assert_eq!((joined.len(), joined[0].rows()), (1, 1));
        let notes = notes.0.into_inner().unwrap();
        assert!(notes[0].contains("table `rates`") && notes[0].contains("the study of 2"), "{notes:?}");
    }

    #[test]
    fn tables_that_no_study_has_any_more_are_deleted_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let [solutions, rates, curves] =
            ["solutions", "rates", "curves"].map(|name| table(name, &[("x", 1.0)]));
        write_into(folder.path(), &[solutions.clone(), rates, curves]).unwrap();
        // A file of the user's own, and one that the user changed.
        let tables = folder.path().join("tables");
        std::fs::write(tables.join("mine.csv"), "x\n").unwrap();
        std::fs::write(tables.join("curves.csv"), "x,mine\n1.0,2.0\n").unwrap();
        write_into(folder.path(), &[solutions]).unwrap();
        let entries = std::fs::read_dir(&tables).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["curves.csv", "mine.csv", "solutions.csv", "solutions.parquet"]);
    }
}
