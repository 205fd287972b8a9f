//! Tables survive their files, and those files are what other tools expect.

use std::{fs, path::Path};

use proptest::prelude::*;
use serde_json::json;
use strait::{
    Error, Table,
    table::{Column, Problem},
};

fn example() -> Table {
    Table::new("efficiency", "one row a solution and scale")
        .with_column("solution", "", Column::Text(vec!["general".into(), "narrow, \"old\"".into()]))
        .with_column("seed", "", Column::Integer(vec![i64::MIN, 7]))
        .with_column("loss", "nats/token", Column::Real(vec![f64::NAN, 1e-9]))
        .with_column("coherent", "", Column::Truth(vec![None, Some(true)]))
}

#[test]
fn csv_has_names_values_and_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tables/efficiency.csv");
    example().write_csv(&path).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "solution,seed,loss,coherent\n\
         general,-9223372036854775808,,\n\
         \"narrow, \"\"old\"\"\",7,1e-9,true\n"
    );
}

#[test]
fn json_has_units_and_rows_by_column() {
    let expected = json!({
        "name": "efficiency",
        "about": "one row a solution and scale",
        "units": {"solution": "", "seed": "", "loss": "nats/token", "coherent": ""},
        "rows": [
            {"solution": "general", "seed": i64::MIN, "loss": null, "coherent": null},
            {"solution": "narrow, \"old\"", "seed": 7, "loss": 1e-9, "coherent": true},
        ],
    });
    assert_eq!(example().to_json(), expected);
}

/// Equal, counting NaN as equal to NaN.
fn same(left: &Table, right: &Table) -> bool {
    // `Debug` tells every value apart, and one NaN from no other.
    format!("{left:?}") == format!("{right:?}")
}

#[test]
fn parquet_is_written_as_a_whole_over_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    fs::write(&path, "old").unwrap();
    example().write_parquet(&path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(same(&Table::read_parquet(&path).unwrap(), &example()));
    let bytes = fs::read(&path).unwrap();
    example().write_parquet(&path).unwrap();
    assert_eq!(bytes, fs::read(&path).unwrap(), "equal tables, equal bytes");
}

#[test]
fn appending_refuses_columns_that_do_not_fit() {
    let mut table = example();
    table.append(&example()).unwrap();
    assert_eq!(table.rows(), 4);
    assert_eq!(table.column("seed"), Some(&Column::Integer(vec![i64::MIN, 7, i64::MIN, 7])));
    let other = Table::new("efficiency", "").with_column("loss", "bits", Column::Real(vec![1.0]));
    let error = table.append(&other).unwrap_err();
    assert_eq!(
        error.to_string(),
        "table `efficiency`: its columns are `solution` (text), `seed` (integer), `loss` (real, nats/token), \
         `coherent` (truth), those to append are `loss` (real, bits)"
    );
    assert!(error.hint().is_some());
    assert_eq!(table.rows(), 4);
}

#[test]
fn a_column_that_one_table_lacks_is_empty_in_its_rows() {
    let seed = |n| Table::new("t", "").with_column("seed", "", Column::Integer(vec![n]));
    let mut table = seed(1).with_column("layer", "", Column::Real(vec![3.0]));
    let other = seed(2).with_column("word", "", Column::Text(vec!["herb".into()])).with_column(
        "holds",
        "",
        Column::Truth(vec![Some(true)]),
    );
    table.append(&other).unwrap();
    assert_eq!(table.to_csv(), "seed,layer,word,holds\n1,3.0,,\n2,,herb,true\n");
    // A whole number cannot be absent.
    let error = Table::new("t", "").with_column("layer", "", Column::Real(vec![4.0]));
    assert!(table.append(&error).is_err());
    assert_eq!(table.rows(), 2);
}

#[test]
#[should_panic(expected = "column `b` and column `a` of table `t` differ in length")]
fn columns_of_unequal_length_are_an_error_of_the_program() {
    let _ = Table::new("t", "").with_column("a", "", Column::Integer(vec![1])).with_column(
        "b",
        "",
        Column::Integer(vec![]),
    );
}

#[test]
#[should_panic(expected = "two columns `a`")]
fn a_column_of_the_same_name_is_an_error_of_the_program() {
    let _ = Table::new("t", "").with_column("a", "", Column::Integer(vec![1])).with_column(
        "a",
        "",
        Column::Integer(vec![1]),
    );
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Input { problem, .. } => *(problem as Box<dyn std::error::Error>).downcast().unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_damaged_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let missing = Table::read_parquet(&path).unwrap_err();
    assert!(missing.to_string().contains("cannot open the file"), "{missing}");

    example().write_parquet(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(13) {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = problem(Table::read_parquet(&path).unwrap_err());
        assert!(matches!(error, Problem::Parquet(_)), "{length}: {error}");
    }
    // A flipped bit is an error or another value, never a crash.
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, flipped).unwrap();
        Table::read_parquet(&path).ok();
    }
}

fn column(rows: usize) -> impl Strategy<Value = Column> {
    prop_oneof![
        prop::collection::vec(".{0,9}", rows).prop_map(Column::Text),
        prop::collection::vec(any::<i64>(), rows).prop_map(Column::Integer),
        prop::collection::vec(any::<f64>(), rows).prop_map(|values| {
            // One NaN: which one of the many, a null cannot say.
            let plain = |v: f64| if v.is_nan() { f64::NAN } else { v };
            Column::Real(values.into_iter().map(plain).collect())
        }),
        prop::collection::vec(any::<Option<bool>>(), rows).prop_map(Column::Truth),
    ]
}

fn table() -> impl Strategy<Value = Table> {
    let columns = (0usize..40).prop_flat_map(|rows| prop::collection::vec(column(rows), 1..5));
    (columns, ".{0,5}").prop_map(|(columns, word)| {
        let table = Table::new(word.clone(), format!("about {word}"));
        columns
            .into_iter()
            .enumerate()
            .fold(table, |table, (n, c)| table.with_column(format!("{word}.{n}"), format!("{word}/s"), c))
    })
}

/// Reads a CSV file back with the kinds of `like`.
fn csv_agrees(path: &Path, like: &Table) -> bool {
    let mut csv = csv::Reader::from_path(path).unwrap();
    let records: Vec<_> = csv.records().map(Result::unwrap).collect();
    records.len() == like.rows()
        && like.columns().enumerate().all(|(n, (_, _, column))| {
            let cells = records.iter().map(|record| &record[n]);
            match column {
                Column::Text(values) => cells.eq(values.iter()),
                Column::Integer(values) => {
                    cells.map(|c| c.parse::<i64>().unwrap()).eq(values.iter().copied())
                }
                Column::Real(values) => cells.zip(values).all(|(cell, value)| match cell {
                    "" => value.is_nan(),
                    cell => cell.parse::<f64>().unwrap().to_bits() == value.to_bits(),
                }),
                Column::Truth(values) => cells.map(|c| c.parse().ok()).eq(values.iter().copied()),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(table in table()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        table.write_parquet(&path).unwrap();
        prop_assert!(same(&Table::read_parquet(&path).unwrap(), &table));
        let path = folder.path().join("t.csv");
        table.write_csv(&path).unwrap();
        prop_assert!(csv_agrees(&path, &table));
        prop_assert_eq!(table.to_json()["rows"].as_array().unwrap().len(), table.rows());
    }
}
