//! Safetensors files that are written one tensor after the other, so that no second copy of all of them is in memory.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::write_atomically;
use crate::Result;

/// The bytes of a header's length, which the header's own length is a multiple of.
const LENGTH_BYTES: usize = size_of::<u64>();

/// Numbers whose bytes are made at once.
const AT_ONCE: usize = 1 << 14;

/// The name, type and shape of a tensor in a file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name, which no other tensor of the file has.
    pub name: String,
    /// The type of its numbers.
    pub dtype: Dtype,
    /// The shape.
    pub shape: Vec<usize>,
}

/// Writes a safetensors file as a whole or not at all, its metadata (strings, as the format wants them) and tensors in the order in
/// which they are given. `write` writes the bytes of the tensor of that index, as many as type and shape say.
///
/// # Errors
/// Any refusal of the file system or of `write`; the file at `path` is then as it was before.
pub fn write_tensors(
    path: &Path,
    metadata: Map<String, Value>,
    entries: &[Entry],
    mut write: impl FnMut(usize, &mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    let mut header = Map::from_iter([("__metadata__".to_string(), metadata.into())]);
    let mut offset = 0;
    for Entry { name, dtype, shape } in entries {
        let end = offset + shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let dtype = dtype.to_string();
        header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}));
        offset = end;
    }
    let mut header = Value::from(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');
    write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        (0..entries.len()).try_for_each(|index| write(index, file))
    })
}

/// Writes numbers as a tensor of type F32 holds them.
///
/// # Errors
/// If they cannot be written.
pub fn write_numbers(file: &mut impl Write, numbers: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(AT_ONCE * size_of::<f32>());
    for numbers in numbers.chunks(AT_ONCE) {
        bytes.clear();
        bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
        file.write_all(&bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn what_is_written_is_a_safetensors_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        let long: Vec<f32> = (0..AT_ONCE + 3).map(|i| i as f32).collect();
        let tensors = [("z", vec![0.5_f32, -1.0]), ("a", long), ("empty", Vec::new())];
        let entries = tensors.clone().map(|(name, numbers)| Entry {
            name: name.into(),
            dtype: Dtype::F32,
            shape: vec![numbers.len()],
        });
        let metadata = Map::from_iter([("kind".to_string(), "test".into())]);
        write_tensors(&path, metadata, &entries, |index, file| write_numbers(file, &tensors[index].1))
            .unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["kind"], "test");
        let read = SafeTensors::deserialize(&bytes).unwrap();
        for (name, numbers) in tensors {
            let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
            assert_eq!(read.tensor(name).unwrap().data(), bytes, "{name}");
        }
    }

    #[test]
    fn a_tensor_that_cannot_be_written_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        let entries = [Entry { name: "a".into(), dtype: Dtype::F32, shape: vec![1] }];
        let refused = write_tensors(&path, Map::new(), &entries, |_, _| Err(io::Error::other("no number")));
        assert!(refused.unwrap_err().to_string().contains("state.safetensors"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
