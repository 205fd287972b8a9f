//! Pages unpacked to the size that their header states and no further.

use std::io::{self, Read};

use parquet::basic::Compression;

use crate::data::zstandard;

/// The bytes of a page, or of the part of it that is packed.
///
/// # Errors
/// If it does not unpack to `size` bytes, or is packed in a way that is not read.
pub(super) fn unpack(packing: Compression, packed: &[u8], size: usize) -> io::Result<Vec<u8>> {
    match packing {
        Compression::UNCOMPRESSED => exact(packed, size),
        Compression::SNAPPY => {
            let mut unpacked = vec![0; size];
            let length = snap::raw::Decoder::new().decompress(packed, &mut unpacked)?;
            whole(unpacked, length)
        }
        Compression::GZIP(_) => exact(flate2::read::MultiGzDecoder::new(packed), size),
        Compression::BROTLI(_) => exact(brotli_decompressor::Decompressor::new(packed, 1 << 12), size),
        Compression::ZSTD(_) => exact(zstandard::Unpacked::new(packed), size),
        Compression::LZ4_RAW => lz4_block(packed, size),
        // Writers mean one of three things by it.
        Compression::LZ4 => hadoop_lz4(packed, size)
            .or_else(|_| exact(lz4_flex::frame::FrameDecoder::new(packed), size))
            .or_else(|_| lz4_block(packed, size)),
        Compression::LZO => Err(io::Error::other("pages that are packed with LZO are not read")),
    }
}

/// All that a reader gives, which must be `size` bytes.
fn exact(reader: impl Read, size: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(size);
    let length = reader.take(size as u64 + 1).read_to_end(&mut unpacked)?;
    whole_of(unpacked, length, size)
}

fn lz4_block(packed: &[u8], size: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = vec![0; size];
    let length = lz4_flex::block::decompress_into(packed, &mut unpacked).map_err(io::Error::other)?;
    whole(unpacked, length)
}

/// Blocks, each after its size unpacked and its size packed, as Hadoop writes them.
fn hadoop_lz4(mut packed: &[u8], size: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(size);
    while let Some((sizes, rest)) = packed.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *sizes;
        let block = u32::from_be_bytes([a, b, c, d]) as usize;
        let length = u32::from_be_bytes([e, f, g, h]) as usize;
        if length > rest.len() || block > size - unpacked.len() {
            return Err(wrong_size());
        }
        unpacked.extend(lz4_block(&rest[..length], block)?);
        packed = &rest[length..];
    }
    match packed {
        [] => whole_of(unpacked.clone(), unpacked.len(), size),
        _ => Err(wrong_size()),
    }
}

fn whole(unpacked: Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    let size = unpacked.len();
    whole_of(unpacked, length, size)
}

fn whole_of(unpacked: Vec<u8>, length: usize, size: usize) -> io::Result<Vec<u8>> {
    if length == size { Ok(unpacked) } else { Err(wrong_size()) }
}

fn wrong_size() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a page unpacks to another size than it states")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lz4_is_read_in_its_three_meanings_and_to_its_size_alone() {
        let text = b"passages, passages, passages and more passages";
        let block = lz4_flex::block::compress(text);
        let sizes = [text.len(), block.len()].map(|size| u32::try_from(size).unwrap().to_be_bytes());
        let hadoop = [sizes.concat(), block.clone()].concat();
        let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
        frame.write_all(text).unwrap();
        for packed in [block, [hadoop.clone(), hadoop].concat(), frame.finish().unwrap()] {
            let size = if packed.starts_with(&sizes.concat()) { 2 * text.len() } else { text.len() };
            let unpacked = unpack(Compression::LZ4, &packed, size).unwrap();
            assert!(unpacked.chunks(text.len()).all(|part| part == text));
            assert!(unpack(Compression::LZ4, &packed, size - 1).is_err());
            assert!(unpack(Compression::LZ4, &packed, size + 1).is_err());
        }
    }
}
