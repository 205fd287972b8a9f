//! The texts of one column of a Parquet file, within bounds of memory that follow from the file's size.
//!
//! The Parquet library takes a file's word for how much a page unpacks to and how many values it holds, so that two
//! kilobytes may ask for gigabytes. Here pages are found, doubted and unpacked ([`pages`]); the library decodes what is in them.

mod delta;
mod pages;
mod thrift;
mod unpack;

use std::{fs::File, io};

use parquet::{
    basic::{ConvertedType, Type},
    column::reader::{get_column_reader, get_typed_column_reader},
    data_type::{ByteArray, ByteArrayType},
    errors::ParquetError,
    file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
    schema::types::ColumnDescPtr,
};
use strait_model::guard::caught;

use self::pages::Pages;
use super::{Problem, damage::PageProblem, lines::MAX_LINE, taken::Taken, words::listed};

/// Hands the texts of column `name`, row by row, to `taken` until that has enough.
pub(super) fn read(file: &File, name: &'static str, taken: &mut Taken) -> Result<(), Problem> {
    // The library asserts some of what a damaged page can break.
    caught(|| read_column(file, name, taken))
        .unwrap_or_else(|panicked| Err(Problem::Parquet { reason: panicked.to_string() }))
}

fn read_column(file: &File, name: &'static str, taken: &mut Taken) -> Result<(), Problem> {
    thrift::check_footer(file).map_err(PageProblem::from)?;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file)?;
    let (leaf, column) = find(&metadata, name)?;
    let mut row = 0;
    for group in metadata.row_groups() {
        read_group(file, group, leaf, &column, &mut row, taken)?;
        if taken.is_full() {
            break;
        }
    }
    Ok(())
}

/// The column of that name, which must hold plain text, and its place among the leaves.
fn find(metadata: &ParquetMetaData, name: &'static str) -> Result<(usize, ColumnDescPtr), Problem> {
    let schema = metadata.file_metadata().schema_descr();
    let fields = schema.root_schema().get_fields();
    match fields.iter().filter(|field| field.name() == name).count() {
        0 => {
            let found = listed(fields.iter().map(|field| field.name()));
            return Err(Problem::NoColumn { column: name, found });
        }
        1 => {}
        _ => return Err(Problem::TwoColumns { column: name.into() }),
    }
    let leaf = schema.columns().iter().position(|column| column.path().parts() == [name]);
    let is_text = |column: &ColumnDescPtr| {
        use ConvertedType::{ENUM, JSON, NONE, UTF8};
        column.physical_type() == Type::BYTE_ARRAY
            && matches!(column.converted_type(), NONE | UTF8 | ENUM | JSON)
            && column.max_rep_level() == 0
            && column.max_def_level() <= 1
    };
    match leaf.map(|leaf| (leaf, schema.column(leaf))) {
        Some((leaf, column)) if is_text(&column) => Ok((leaf, column)),
        _ => Err(Problem::NoPassage { why: "row 1 does not hold text".into() }),
    }
}

fn read_group(
    file: &File,
    group: &RowGroupMetaData,
    leaf: usize,
    column: &ColumnDescPtr,
    row: &mut u64,
    taken: &mut Taken,
) -> Result<(), Problem> {
    let chunk = group.column(leaf);
    let pages = Pages::new(file, chunk)?;
    let mut reader =
        get_typed_column_reader::<ByteArrayType>(get_column_reader(column.clone(), Box::new(pages)));
    let optional = column.max_def_level() > 0;
    let (mut levels, mut values): (Vec<i16>, Vec<ByteArray>) = (Vec::new(), Vec::new());
    for _ in 0..group.num_rows() {
        if taken.is_full() {
            return Ok(());
        }
        levels.clear();
        values.clear();
        let (records, ..) = reader.read_records(1, optional.then_some(&mut levels), None, &mut values)?;
        *row += 1;
        let bad = |why: &str| Problem::NoPassage { why: format!("row {row} {why}") };
        if records == 0 {
            return Err(PageProblem::Missing.into());
        }
        let value = values.first().ok_or_else(|| bad("has no text"))?;
        if value.len() as u64 > MAX_LINE {
            return Err(bad(&format!("is longer than {MAX_LINE} bytes")));
        }
        let text = std::str::from_utf8(value.data()).map_err(|_| bad("is not UTF-8"))?;
        if text.trim().is_empty() {
            return Err(bad("is empty"));
        }
        taken.take(format!("row {row}"), text.into());
    }
    Ok(())
}

impl From<ParquetError> for Problem {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(inner) => match inner.downcast::<PageProblem>() {
                Ok(problem) => Self::Page(*problem),
                Err(other) => Self::Parquet { reason: other.to_string() },
            },
            error => Self::Parquet { reason: error.to_string() },
        }
    }
}

impl From<PageProblem> for Problem {
    fn from(problem: PageProblem) -> Self {
        Self::Page(problem)
    }
}

impl From<io::Error> for PageProblem {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}
