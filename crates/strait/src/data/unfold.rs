//! The text of a file of rows: unpacked where it is packed, and refused by name where it is another kind of file.

use std::{
    cell::Cell,
    io::{self, BufReader, Cursor, Read},
    path::Path,
    rc::Rc,
};

use flate2::read::MultiGzDecoder;
use strait_model::files::{START, StandIn};

use super::{
    problem::{OutOfProportion, Problem, RATIO, UTF16},
    zstandard,
};
use crate::Result;

/// The size that any packed file may unpack to.
const FREE: u64 = 64 << 20;

/// The first bytes of kinds of file beside those of [`StandIn`], and the names of the kinds, with their article.
const OTHERS: [(&[u8], &str); 10] = [
    (b"PAR1", "a Parquet file"),
    (b"PARE", "an encrypted Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\xff\xff\xff\xff", "an Arrow stream"),
    (b"BZh", "packed with bzip2"),
    (b"\x04\x22\x4d\x18", "packed with lz4"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"SQLite format 3", "an SQLite database"),
    (b"%PDF", "a PDF"),
    (b"GGUF", "a GGUF model"),
];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text of `reader` without a byte order mark.
pub(super) fn unfolded<'a>(reader: impl Read + 'a, place: &Path) -> Result<Box<dyn Read + 'a>> {
    let count = Rc::new(Cell::new(0));
    let reader = Counted { reader, count: Rc::clone(&count) };
    let (head, reader) = peeked(reader, place)?;
    let unpacked: Box<dyn Read + 'a> = if head.starts_with(b"\x1f\x8b") {
        Box::new(MultiGzDecoder::new(reader))
    } else if head.starts_with(b"\x28\xb5\x2f\xfd") || is_skippable(&head) {
        Box::new(zstandard::Unpacked::new(BufReader::new(reader)))
    } else {
        return text(head, reader, place);
    };
    let bounded = Bounded { reader: unpacked, unpacked: 0, packed: count };
    let (head, reader) = peeked(bounded, place)?;
    text(head, reader, place)
}

/// A frame that Zstandard skips.
fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// The text that begins with `head`, if it is one.
fn text<'a>(head: Vec<u8>, reader: impl Read + 'a, place: &Path) -> Result<Box<dyn Read + 'a>> {
    let refused = |problem: Problem| Err(problem.at(place, None));
    match StandIn::of(&head) {
        None | Some(StandIn::Empty) => {}
        Some(StandIn::Gzip | StandIn::Zstd) => {
            return refused(Problem::OtherKind { found: "packed more than once" });
        }
        // Rows and passages may begin like that too.
        Some(StandIn::Refusal { .. }) if head.len() == START || head.trim_ascii().contains(&b'\n') => {}
        Some(what) => return Err(strait_model::Error::input(place, what).into()),
    }
    if let Some((_, found)) = OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return refused(Problem::OtherKind { found });
    }
    let is_utf16 = matches!(head.as_slice(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
        || matches!(head.as_slice(), [0, first, 0, ..] | [first, 0, _, 0, ..] if *first != 0);
    if is_utf16 {
        return refused(Problem::OtherKind { found: UTF16 });
    }
    match head.starts_with(BYTE_ORDER_MARK) {
        true => {
            let mut reader = reader;
            reader.read_exact(&mut [0; BYTE_ORDER_MARK.len()]).map_err(|e| Problem::unreadable(place, e))?;
            Ok(Box::new(reader))
        }
        false => Ok(Box::new(reader)),
    }
}

/// The first bytes of a reader, and the reader with them still before it.
fn peeked<R: Read>(mut reader: R, place: &Path) -> Result<(Vec<u8>, impl Read + use<R>)> {
    let mut head = Vec::new();
    reader.by_ref().take(START as u64).read_to_end(&mut head).map_err(|e| Problem::unreadable(place, e))?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// A reader that counts the bytes that pass through.
struct Counted<R> {
    reader: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

/// Refuses to unpack out of proportion.
struct Bounded<R> {
    reader: R,
    unpacked: u64,
    packed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.unpacked += read as u64;
        if self.unpacked > FREE.max(self.packed.get().saturating_mul(RATIO)) {
            return Err(io::Error::other(OutOfProportion));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        let mut reader = unfolded(bytes, Path::new("f")).map_err(|e| e.to_string())?;
        reader.read_to_end(&mut text).map_err(|e| e.to_string())?;
        Ok(text)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    #[test]
    fn text_is_read_packed_or_not_and_without_its_mark() {
        for text in ["", "a", "{}\n", "\u{feff}", "x\u{feff}y", &"{\"a\": 1}\n".repeat(10_000)] {
            let right = text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes();
            assert_eq!(read(text.as_bytes()).unwrap(), right);
            assert_eq!(read(&gzip(text.as_bytes())).unwrap(), right);
            assert_eq!(read(&zstd(text.as_bytes())).unwrap(), right);
            // As `cat` joins packed files, and pzstd and zstd's seekable format write them.
            let joined = [gzip(text.as_bytes()), gzip(b"z")].concat();
            assert_eq!(read(&joined).unwrap(), [right, b"z"].concat());
            let joined =
                [b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec(), zstd(text.as_bytes()), zstd(b"z")].concat();
            assert_eq!(read(&joined).unwrap(), [right, b"z"].concat());
        }
    }

    #[test]
    fn other_kinds_are_named_packed_or_not() {
        let utf16: Vec<u8> = "{\"a\"".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [b"\xff\xfe".to_vec(), utf16.clone()].concat();
        let swapped: Vec<u8> = "{\"a\"".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        for bytes in [
            &lfs[..],
            b"<!DOCTYPE html>\n<html>",
            b"Entry not found",
            b"PK\x03\x04",
            b"\xfd7zXZ\0",
            &[0; START],
        ] {
            let expected = format!("`f`: {}", StandIn::of(bytes).unwrap());
            assert_eq!(read(bytes).unwrap_err(), expected);
            assert_eq!(read(&gzip(bytes)).unwrap_err(), expected);
        }
        assert_eq!(read(b"Not found.\n\nNot lost.").unwrap(), b"Not found.\n\nNot lost.");
        let texts = [&utf16, &marked, &swapped].map(|bytes| (bytes.as_slice(), UTF16));
        for (bytes, found) in OTHERS.into_iter().chain(texts) {
            let expected = format!("`f`: this is {found}");
            assert_eq!(read(bytes).unwrap_err(), expected);
            assert_eq!(read(&gzip(bytes)).unwrap_err(), expected);
            assert_eq!(read(&zstd(bytes)).unwrap_err(), expected);
        }
        assert_eq!(read(&gzip(&gzip(b"a"))).unwrap_err(), "`f`: this is packed more than once");
    }

    #[test]
    fn a_bomb_and_a_cut_file_are_refused() {
        let blanks = vec![b' '; FREE as usize + (1 << 20)];
        for packed in [gzip(&blanks), zstd(&blanks)] {
            let length =
                |bytes: &[u8]| io::copy(&mut unfolded(bytes, Path::new("f")).unwrap(), &mut io::sink());
            assert_eq!(length(&packed).unwrap_err().to_string(), OutOfProportion.to_string());
        }
        assert!(read(&gzip(b"abc")[..15]).is_err());
        assert!(read(&zstd(b"abcdefgh")[..9]).is_err());
    }

    /// A file of which a disk gives so many bytes, and then fails.
    struct Failing<'a>(&'a [u8]);

    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            const EIO: i32 = 5;
            if self.0.is_empty() { Err(io::Error::from_raw_os_error(EIO)) } else { self.0.read(buffer) }
        }
    }

    #[test]
    fn a_disk_that_fails_is_not_told_as_a_damaged_file() {
        let text: Vec<u8> =
            (0..200_000u32).flat_map(|n| (n.wrapping_mul(0x9e37_79b1) >> 8).to_le_bytes()).collect();
        for packed in [gzip(&text), zstd(&text)] {
            for length in [5, 6, 9, 600, packed.len() / 2, packed.len() - 1] {
                let mut read = Vec::new();
                let failed = match unfolded(Failing(&packed[..length]), Path::new("f")) {
                    Ok(mut reader) => {
                        Problem::unreadable(Path::new("f"), reader.read_to_end(&mut read).unwrap_err())
                    }
                    Err(error) => error,
                };
                assert!(failed.to_string().contains("cannot read the file"), "{length}: {failed}");
            }
        }
    }
}
