//! A table as files: CSV and JSON for people's tools, Parquet to read back.

use std::{fs::File, path::Path, sync::Arc};

use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical},
    column::writer::ColumnWriterImpl,
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{
        metadata::{FileMetaData, KeyValue},
        properties::WriterProperties,
        reader::{FileReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
    record::Field,
    schema::types::Type,
};
use serde_json::{Map, Value, json};
use strait_model::{
    files::{self, open_regular},
    guard::caught,
};

use super::{Column, Named, Problem, Table};
use crate::error::{Error, Place, Result};

/// The keys of a Parquet file's metadata under which a table keeps its sentence and its units.
mod key {
    pub const NAME: &str = "strait.name";
    pub const ABOUT: &str = "strait.about";
    /// A JSON object from column to unit.
    pub const UNITS: &str = "strait.units";
}

impl Column {
    /// One value as CSV has it: empty where there is none, reals with as many digits as bring them back.
    fn cell(&self, row: usize) -> String {
        match self {
            Self::Text(values) => values[row].clone(),
            Self::Integer(values) => values[row].to_string(),
            Self::Real(values) if values[row].is_nan() => String::new(),
            Self::Real(values) => format!("{:?}", values[row]),
            Self::Truth(values) => values[row].map(|v| v.to_string()).unwrap_or_default(),
        }
    }

    /// One value as JSON has it; JSON knows neither NaN nor infinity, both are null.
    pub(super) fn json(&self, row: usize) -> Value {
        match self {
            Self::Text(values) => values[row].clone().into(),
            Self::Integer(values) => values[row].into(),
            Self::Real(values) => values[row].into(),
            Self::Truth(values) => values[row].into(),
        }
    }

    /// Its type in a Parquet schema.
    fn parquet_type(&self, name: &str) -> Result<Type, ParquetError> {
        let (physical, logical, repetition) = match self {
            Self::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::REQUIRED),
            Self::Integer(_) => (Physical::INT64, None, Repetition::REQUIRED),
            Self::Real(_) => (Physical::DOUBLE, None, Repetition::OPTIONAL),
            Self::Truth(_) => (Physical::BOOLEAN, None, Repetition::OPTIONAL),
        };
        Type::primitive_type_builder(name, physical)
            .with_logical_type(logical)
            .with_repetition(repetition)
            .build()
    }

    /// An empty column of the kind that a Parquet type stands for.
    fn of_parquet_type(kind: &Type) -> Option<Self> {
        if !kind.is_primitive() {
            return None;
        }
        match (kind.get_physical_type(), kind.get_basic_info().logical_type_ref()) {
            (Physical::BYTE_ARRAY, Some(LogicalType::String)) => Some(Self::Text(Vec::new())),
            (Physical::INT64, None) => Some(Self::Integer(Vec::new())),
            (Physical::DOUBLE, None) => Some(Self::Real(Vec::new())),
            (Physical::BOOLEAN, None) => Some(Self::Truth(Vec::new())),
            _ => None,
        }
    }

    /// Adds one value read from Parquet; false if the column cannot hold it, which is then left as it was.
    #[must_use]
    fn push(&mut self, value: Field) -> bool {
        match (self, value) {
            (Self::Text(values), Field::Str(value)) => values.push(value),
            (Self::Integer(values), Field::Long(value)) => values.push(value),
            (Self::Real(values), Field::Double(value)) => values.push(value),
            (Self::Real(values), Field::Null) => values.push(f64::NAN),
            (Self::Truth(values), Field::Bool(value)) => values.push(Some(value)),
            (Self::Truth(values), Field::Null) => values.push(None),
            _ => return false,
        }
        true
    }
}

impl Table {
    /// The table as one JSON object: `name`, `about`, `units` (column to unit), `rows` (objects from column to value;
    /// null for no value and for infinities, which JSON has not).
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "about": self.about,
            "units": self.units(),
            "rows": self.objects(),
        })
    }

    fn units(&self) -> Map<String, Value> {
        let columns = self.columns.iter();
        columns.map(|c| (c.name.clone(), c.unit.clone().into())).collect()
    }

    /// Writes the table as CSV with a line of column names; a real without value is an empty cell.
    ///
    /// # Errors
    /// Any refusal of the file system; the file is then as it was before.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let text = self.to_csv();
        files::write(path, text)?;
        Ok(())
    }

    /// The text of the file that [`Table::write_csv`] writes.
    pub fn to_csv(&self) -> String {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let header = self.columns.iter().map(|c| c.name.clone()).collect();
        let rows = (0..self.rows()).map(|row| self.columns.iter().map(|c| c.values.cell(row)).collect());
        for record in std::iter::once(header).chain(rows) {
            let record: Vec<String> = record;
            csv.write_record(record).expect("memory takes every write");
        }
        let bytes = csv.into_inner().expect("memory takes every write");
        String::from_utf8(bytes).expect("all cells are text")
    }

    /// Writes the table as Parquet (Snappy); name, `about` and units stand in the file's key-value metadata as
    /// `strait.name`, `strait.about` and `strait.units` (a JSON object). A real without value is a null.
    ///
    /// # Errors
    /// Any refusal of the file system; the file is then as it was before.
    pub fn write_parquet(&self, path: &Path) -> Result<()> {
        let bytes = self.to_parquet().map_err(|e| unreadable(path, Problem::Parquet(e)))?;
        files::write(path, &bytes)?;
        Ok(())
    }

    fn to_parquet(&self) -> Result<Vec<u8>, ParquetError> {
        let fields = self
            .columns
            .iter()
            .map(|c| c.values.parquet_type(&c.name).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let schema = Type::group_type_builder("table").with_fields(fields).build()?;
        let metadata = [
            (key::NAME, self.name.clone()),
            (key::ABOUT, self.about.clone()),
            (key::UNITS, Value::Object(self.units()).to_string()),
        ];
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(
                metadata.map(|(key, value)| KeyValue::new(key.into(), value)).into(),
            ))
            .build();
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))?;
        let mut group = writer.next_row_group()?;
        for column in &self.columns {
            let Some(mut writer) = group.next_column()? else {
                break;
            };
            match &column.values {
                Column::Text(values) => {
                    let values: Vec<_> = values.iter().map(|v| ByteArray::from(v.as_str())).collect();
                    writer.typed::<ByteArrayType>().write_batch(&values, None, None)?;
                }
                Column::Integer(values) => {
                    writer.typed::<Int64Type>().write_batch(values, None, None)?;
                }
                Column::Real(values) => {
                    let values = values.iter().map(|&v| (!v.is_nan()).then_some(v));
                    write_optional(writer.typed::<DoubleType>(), values)?;
                }
                Column::Truth(values) => {
                    write_optional(writer.typed::<BoolType>(), values.iter().copied())?;
                }
            }
            writer.close()?;
        }
        group.close()?;
        writer.close()?;
        Ok(bytes)
    }

    /// Reads a table that [`Table::write_parquet`] wrote.
    ///
    /// # Errors
    /// If the file cannot be read, is not Parquet, or has columns that strait does not write.
    pub fn read_parquet(path: &Path) -> Result<Self> {
        let file = open_regular(path)?;
        // The Parquet reader asserts some of what a damaged page header can break.
        let table = caught(|| Self::from_parquet(path, file));
        let table = table.unwrap_or_else(|_| Err(Problem::Damaged));
        table.map_err(|problem| unreadable(path, problem))
    }

    fn from_parquet(path: &Path, file: File) -> Result<Self, Problem> {
        let reader = SerializedFileReader::new(file)?;
        let file = reader.metadata().file_metadata();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let units = metadata(file, key::UNITS)
            .and_then(|units| serde_json::from_str::<Map<String, Value>>(units).ok())
            .unwrap_or_default();
        let mut columns = Vec::new();
        for field in file.schema().get_fields() {
            let values = Column::of_parquet_type(field).ok_or_else(|| Problem::Kind {
                column: field.name().into(),
                found: match field.is_primitive() {
                    true => field.get_physical_type().to_string(),
                    false => "a group".into(),
                },
            })?;
            columns.push(Named {
                name: field.name().into(),
                unit: units.get(field.name()).and_then(Value::as_str).unwrap_or_default().into(),
                values,
            });
        }
        for (number, row) in reader.get_row_iter(None)?.enumerate() {
            for (column, (name, value)) in columns.iter_mut().zip(row?.into_columns()) {
                if !column.values.push(value) {
                    return Err(Problem::Gap { column: name, row: number + 1 });
                }
            }
        }
        Ok(Self {
            name: metadata(file, key::NAME).unwrap_or(&stem).into(),
            about: metadata(file, key::ABOUT).unwrap_or_default().into(),
            columns,
        })
    }
}

/// Writes values of which some are absent: the present ones, and a definition level of 0 or 1 for each.
fn write_optional<T: DataType>(
    writer: &mut ColumnWriterImpl<'_, T>,
    values: impl Iterator<Item = Option<T::T>> + Clone,
) -> Result<(), ParquetError> {
    let levels: Vec<i16> = values.clone().map(|v| v.is_some().into()).collect();
    let present: Vec<T::T> = values.flatten().collect();
    writer.write_batch(&present, Some(&levels), None)?;
    Ok(())
}

/// The text under a key of a Parquet file's metadata.
fn metadata<'a>(file: &'a FileMetaData, key: &str) -> Option<&'a str> {
    let entries = file.key_value_metadata()?;
    entries.iter().find(|e| e.key == key)?.value.as_deref()
}

fn unreadable(path: &Path, problem: Problem) -> Error {
    Error::Input { place: Place::Table(path.display().to_string()), problem: Box::new(problem) }
}

impl From<ParquetError> for Problem {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}
