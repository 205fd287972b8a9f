//! The pages of a column, each doubted before it is unpacked.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
};

use parquet::{
    basic::{Compression, Encoding},
    column::page::{Page, PageMetadata, PageReader},
    errors::{ParquetError, Result},
    file::metadata::ColumnChunkMetaData,
};

use super::{
    super::damage::PageProblem,
    delta,
    thrift::{self, Fields},
    unpack::unpack,
};

/// The size that any page may unpack to.
const FREE: u64 = 16 << 20;
/// The times that a page's size may go into its unpacked size, beyond [`FREE`]. Text packs to a tenth at best; rows that are nearly
/// alike to less.
const RATIO: u64 = 256;
/// Most values of a page.
const MAX_VALUES: i64 = 1 << 24;
/// Most bytes of a page's header, which may hold the page's least and greatest text.
const MAX_HEADER: u64 = 64 << 20;

/// The pages of one column of one row group.
pub(super) struct Pages {
    chunk: std::io::Take<BufReader<File>>,
    packing: Compression,
    optional: bool,
    /// Values that are still to come.
    values: i64,
}

impl Pages {
    pub fn new(file: &File, column: &ColumnChunkMetaData) -> Result<Self, PageProblem> {
        // Offsets are signed in the file, and the library's own look at them panics on negative ones.
        let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let first = first.min(column.data_page_offset());
        let (Ok(start), Ok(length)) = (u64::try_from(first), u64::try_from(column.compressed_size())) else {
            return Err(PageProblem::Outside);
        };
        if start.checked_add(length).is_none_or(|end| end > file.metadata().map_or(0, |m| m.len())) {
            return Err(PageProblem::Outside);
        }
        let mut reader = BufReader::new(file.try_clone()?);
        reader.seek(SeekFrom::Start(start))?;
        Ok(Self {
            chunk: reader.take(length),
            packing: column.compression(),
            optional: column.column_descr().max_def_level() > 0,
            values: column.num_values(),
        })
    }

    fn next_page(&mut self) -> Result<Option<Page>, PageProblem> {
        while self.values > 0 && self.chunk.limit() > 0 {
            let header = thrift::structure(&mut self.chunk.by_ref().take(MAX_HEADER))?;
            let page = Header::of(&header)?;
            if page.packed > self.chunk.limit() {
                return Err(PageProblem::Header("the page is longer than its column"));
            }
            let mut packed = Vec::new();
            self.chunk.by_ref().take(page.packed).read_to_end(&mut packed)?;
            if let Some(page) = self.page(&header, &page, &packed)? {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// The page; none if it is of a kind that holds no values.
    fn page(&mut self, header: &Fields, page: &Header, packed: &[u8]) -> Result<Option<Page>, PageProblem> {
        const MISSING: PageProblem = PageProblem::Header("a part is missing");
        let size = page.size as usize;
        Ok(Some(match page.kind {
            DATA => {
                let of = header.structure(5).ok_or(MISSING)?;
                let num_values = self.count(of, 1)?;
                let buf = unpack(self.packing, packed, size)?;
                let def_level_encoding = level_encoding(of, 3)?;
                let levels = self.optional.then_some(def_level_encoding);
                Page::DataPage {
                    encoding: plausible(
                        encoding(of, 2)?,
                        num_values,
                        behind_levels(levels, num_values, &buf),
                    )?,
                    def_level_encoding,
                    rep_level_encoding: level_encoding(of, 4)?,
                    num_values,
                    buf: buf.into(),
                    statistics: None,
                }
            }
            DATA_V2 => {
                let of = header.structure(8).ok_or(MISSING)?;
                let num_values = self.count(of, 1)?;
                let levels = [count(of, 6)?, count(of, 5)?];
                let before = levels[0] as usize + levels[1] as usize;
                if before > packed.len() || before > size {
                    return Err(PageProblem::Header("its levels are longer than itself"));
                }
                let is_compressed = of.truth(7).unwrap_or(true);
                let packing = if is_compressed { self.packing } else { Compression::UNCOMPRESSED };
                let mut buf = packed[..before].to_vec();
                // A page of nulls alone has nothing that is packed.
                if size > before {
                    buf.extend(unpack(packing, &packed[before..], size - before)?);
                }
                Page::DataPageV2 {
                    encoding: plausible(encoding(of, 4)?, num_values, &buf[before..])?,
                    num_nulls: count(of, 2)?,
                    num_rows: count(of, 3)?,
                    def_levels_byte_len: levels[1],
                    rep_levels_byte_len: levels[0],
                    is_compressed,
                    num_values,
                    buf: buf.into(),
                    statistics: None,
                }
            }
            DICTIONARY => {
                let of = header.structure(7).ok_or(MISSING)?;
                let num_values = count(of, 1)?;
                // Each text stands after its length.
                if u64::from(num_values) > page.size / 4 {
                    return Err(PageProblem::Header("it has more values than bytes"));
                }
                Page::DictionaryPage {
                    buf: unpack(self.packing, packed, size)?.into(),
                    num_values,
                    encoding: encoding(of, 2)?,
                    is_sorted: of.truth(3).unwrap_or(false),
                }
            }
            _ => return Ok(None),
        }))
    }

    /// The number of values of a page of data, which is taken from those to come.
    fn count(&mut self, of: &Fields, field: i64) -> Result<u32, PageProblem> {
        let values = count(of, field)?;
        self.values -= i64::from(values);
        Ok(values)
    }
}

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

/// The keys of all pages.
struct Header {
    kind: i64,
    packed: u64,
    size: u64,
}

impl Header {
    fn of(header: &Fields) -> Result<Self, PageProblem> {
        let size = |field| header.whole(field).and_then(|size| u64::try_from(size).ok());
        let (Some(kind), Some(size), Some(packed)) = (header.whole(1), size(2), size(3)) else {
            return Err(PageProblem::Header("it does not say how long the page is"));
        };
        if size > FREE.max(packed.saturating_mul(RATIO)) {
            return Err(PageProblem::OutOfProportion { packed, size });
        }
        Ok(Self { kind, packed, size })
    }
}

fn count(of: &Fields, field: i64) -> Result<u32, PageProblem> {
    match of.whole(field) {
        Some(count) if (0..=MAX_VALUES).contains(&count) => Ok(count as u32),
        _ => Err(PageProblem::Header("a count is out of range")),
    }
}

fn encoding(of: &Fields, field: i64) -> Result<Encoding, PageProblem> {
    match of.whole(field) {
        Some(0) => Ok(Encoding::PLAIN),
        Some(2) => Ok(Encoding::PLAIN_DICTIONARY),
        Some(3) => Ok(Encoding::RLE),
        Some(6) => Ok(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        Some(7) => Ok(Encoding::DELTA_BYTE_ARRAY),
        Some(8) => Ok(Encoding::RLE_DICTIONARY),
        _ => Err(PageProblem::Header("its encoding is none that texts have")),
    }
}

fn level_encoding(of: &Fields, field: i64) -> Result<Encoding, PageProblem> {
    match of.whole(field) {
        Some(3) => Ok(Encoding::RLE),
        #[expect(deprecated, reason = "old files have it")]
        Some(4) => Ok(Encoding::BIT_PACKED),
        _ => Err(PageProblem::Header("its levels are in an unknown encoding")),
    }
}

/// The encoding, if the counts within the values, which the library takes at their word, are no greater than the page's.
fn plausible(encoding: Encoding, values: u32, bytes: &[u8]) -> Result<Encoding, PageProblem> {
    const TOO_MANY: PageProblem = PageProblem::Header("its values are more than it states");
    let lists = match encoding {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        // The lengths of what is taken over from the text before, then those of what is added.
        Encoding::DELTA_BYTE_ARRAY => 2,
        _ => 0,
    };
    let mut rest = bytes;
    for _ in 0..lists {
        let (count, left) = delta::skip(rest).ok_or(TOO_MANY)?;
        if count > values.into() {
            return Err(TOO_MANY);
        }
        rest = left;
    }
    Ok(encoding)
}

/// The bytes of a page of the first version behind the levels, which say of an optional column's rows which are there.
fn behind_levels(levels: Option<Encoding>, values: u32, page: &[u8]) -> &[u8] {
    let before = match (levels, page.first_chunk::<4>()) {
        (None, _) => 0,
        (Some(Encoding::RLE), Some(length)) => (u32::from_le_bytes(*length) as usize).saturating_add(4),
        (Some(_), _) => values.div_ceil(8) as usize,
    };
    page.get(before..).unwrap_or_default()
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        Ok(self.next_page()?)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Err(ParquetError::General("pages are read in their order".into()))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        Err(ParquetError::General("pages are read in their order".into()))
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        // A row of a column without repetition is one value.
        Ok(true)
    }
}
