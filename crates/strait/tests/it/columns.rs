//! Passages in Parquet files: all ways to write them, and files that claim more than they hold.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    basic::{Compression, Encoding},
    data_type::{ByteArray, ByteArrayType},
    file::{
        properties::{WriterProperties, WriterVersion},
        writer::SerializedFileWriter,
    },
    schema::parser::parse_message_type,
};
use proptest::prelude::*;
use strait::data::read_passages;

/// A file of one column, as one way to write it.
fn written(path: &Path, texts: &[String], optional: bool, properties: WriterProperties) {
    let repetition = if optional { "optional" } else { "required" };
    let schema = format!("message passages {{ {repetition} binary text (utf8); }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    // Two row groups.
    for texts in texts.chunks(texts.len().div_ceil(2)) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let values: Vec<_> = texts.iter().map(|text| ByteArray::from(text.as_str())).collect();
        let levels = vec![1; values.len()];
        let levels = optional.then_some(levels.as_slice());
        column.typed::<ByteArrayType>().write_batch(&values, levels, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("Passage {}, and its words.", i % 90)).collect()
}

#[test]
fn every_encoding_is_read_in_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let texts = texts(400);
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for encoding in [
            None,
            Some(Encoding::PLAIN),
            Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
            Some(Encoding::DELTA_BYTE_ARRAY),
        ] {
            for optional in [false, true] {
                let mut properties = WriterProperties::builder()
                    .set_writer_version(version)
                    .set_compression(Compression::SNAPPY)
                    .set_dictionary_enabled(encoding.is_none())
                    .set_data_page_size_limit(1 << 10)
                    .set_write_batch_size(50);
                if let Some(encoding) = encoding {
                    properties = properties.set_encoding(encoding);
                }
                written(&path, &texts, optional, properties.build());
                let found = read_passages(&path, 1000).unwrap_or_else(|e| panic!("{encoding:?}: {e}"));
                assert!(found.iter().map(|passage| &passage.text).eq(&texts), "{version:?} {encoding:?}");
            }
        }
    }
}

/// A file that `scripts/golden/packed.py` wrote.
fn packed(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data/packed");
    folder.join(format!("{name}.parquet"))
}

#[test]
fn passages_are_read_whatever_their_compression() {
    for name in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"] {
        let found = read_passages(&packed(name), 1000).unwrap_or_else(|e| panic!("{name}: {e}"));
        let expected = (0..200).map(|i| format!("Passage {i}, and its words."));
        assert!(found.into_iter().map(|passage| passage.text).eq(expected), "{name}");
    }
}

#[test]
fn a_page_that_unpacks_out_of_proportion_is_refused() {
    for name in ["long-dictionary", "long-plain"] {
        let error = read_passages(&packed(name), 9).unwrap_err();
        assert!(error.to_string().contains("claims to unpack to"), "{error}");
        assert!(error.hint().is_some());
    }
    // Not packed at all, the text itself is too long.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    written(&path, &["a".repeat(20 << 20), "b".into()], false, properties);
    let error = read_passages(&path, 9).unwrap_err().to_string();
    assert!(error.contains("row 1 is longer than 16777216 bytes"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_file_is_an_error_or_passages(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        delta: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let encoding = if delta { Encoding::DELTA_BYTE_ARRAY } else { Encoding::PLAIN };
        let properties = WriterProperties::builder().set_dictionary_enabled(!delta).set_encoding(encoding).build();
        written(&path, &texts(6), true, properties);
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = read_passages(&path, 9) {
            prop_assert!(error.hint().is_some(), "{error}");
        }
    }
}
