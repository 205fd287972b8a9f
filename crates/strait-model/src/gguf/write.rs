//! Writes GGUF files with tensors of f32, laid out as llama.cpp's own writer lays them out.

use std::path::Path;

use candle_core::Tensor;

use super::header::{DEFAULT_ALIGNMENT, MAGIC};
use crate::{
    Result,
    files::{write_atomically, write_numbers},
};

const VERSION: u32 = 3;
const F32: u32 = 0;

/// A metadata value to be written.
pub(crate) enum Entry<'a> {
    /// A text.
    Text(&'a str),
    /// An unsigned integer of 32 bits.
    Number(u32),
    /// A floating-point number of 32 bits.
    Fraction(f32),
}

/// Writes a file of version 3 as a whole or not at all, its metadata and tensors in their order. Every name must be another.
pub(crate) fn write(path: &Path, metadata: &[(String, Entry)], tensors: &[(String, Tensor)]) -> Result<()> {
    let header = header(metadata, tensors);
    write_atomically(path, |file| {
        use std::io::Write;
        file.write_all(&header)?;
        for (_, tensor) in tensors {
            let numbers = tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
            let numbers = numbers.map_err(std::io::Error::other)?;
            write_numbers(file, &numbers)?;
            // The last one too: llama.cpp reads whole units.
            let bytes = numbers.len() * size_of::<f32>();
            file.write_all(&vec![0; padded(bytes) - bytes])?;
        }
        Ok(())
    })
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(DEFAULT_ALIGNMENT as usize)
}

/// All bytes before the tensors' own.
fn header(metadata: &[(String, Entry)], tensors: &[(String, Tensor)]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut out, key);
        let (kind, bytes) = match value {
            Entry::Number(number) => (4u32, number.to_le_bytes()),
            Entry::Fraction(number) => (6, number.to_le_bytes()),
            Entry::Text(words) => {
                out.extend(8u32.to_le_bytes());
                text(&mut out, words);
                continue;
            }
        };
        out.extend(kind.to_le_bytes());
        out.extend(bytes);
    }
    let mut offset = 0;
    for (name, tensor) in tensors {
        text(&mut out, name);
        out.extend((tensor.rank() as u32).to_le_bytes());
        // Innermost first.
        out.extend(tensor.dims().iter().rev().flat_map(|&size| (size as u64).to_le_bytes()));
        out.extend(F32.to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        offset += padded(tensor.elem_count() * size_of::<f32>());
    }
    out.resize(padded(out.len()), 0);
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::Gguf;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edit.gguf");
        let tensor = |shape: &[usize], first: f32| {
            let numbers = (0..shape.iter().product()).map(|i| first + i as f32).collect::<Vec<_>>();
            Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
        };
        let tensors = [("a".to_string(), tensor(&[3], 0.5)), ("b".to_string(), tensor(&[3, 5], -2.0))];
        let metadata = [
            ("general.architecture".to_string(), Entry::Text("ж")),
            ("n".to_string(), Entry::Number(7)),
            ("x".to_string(), Entry::Fraction(-0.25)),
        ];
        write(&path, &metadata, &tensors).unwrap();
        let file = Gguf::open(&path).unwrap();
        assert_eq!(file.string("general.architecture").unwrap(), Some("ж"));
        assert_eq!(file.integer("n").unwrap(), Some(7));
        assert_eq!(file.float("x").unwrap(), Some(-0.25));
        for (name, tensor) in &tensors {
            let (shape, numbers) = file.dequantise(name).unwrap();
            assert_eq!(shape, tensor.dims());
            assert_eq!(numbers, tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len() % 32, 0);
    }
}
