//! Rows as directions are made of them: the mean of the residual stream over the tokens of each row, at every point.

use std::{
    env,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

use strait_model::Decoder;

use crate::{
    Result,
    direction::reading::{Condition, Tokens, row_sums},
};

/// The mean of the stream over the tokens of every row, after some blocks.
///
/// One pass a row gives all that directions, their reliability and their tests are made of. The numbers lie in memory, or in a
/// temporary file where there is no room for them.
pub struct RowMeans {
    layers: Vec<i32>,
    width: usize,
    tokens: Vec<usize>,
    numbers: Numbers,
}

impl RowMeans {
    /// Reads rows, for these layers: ascending, -1 is the embeddings. `room` is the number of bytes that may be kept in memory,
    /// and `seen` is told of the rows that are done and may end the reading by an error.
    ///
    /// # Errors
    /// If a row does not fit the model, a reading is no number, or the temporary file cannot be written.
    pub fn read(
        decoder: &Decoder,
        condition: Condition<'_>,
        tokens: Tokens,
        layers: &[i32],
        room: u64,
        seen: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Self> {
        let width = decoder.config().hidden_size;
        let counts: Vec<usize> = condition.rows.iter().map(|row| tokens.of(row).len()).collect();
        let mut numbers = Numbers::of(layers.len() * counts.len() * width, room)?;
        let last = layers.last().map_or(0, |last| (last + 1) as usize);
        let mut take = |point: usize, row: usize, sum: &[f64]| {
            let Ok(place) = layers.binary_search(&(point as i32 - 1)) else { return Ok(()) };
            let count = counts[row] as f64;
            let mean: Vec<f32> = sum.iter().map(|x| (x / count) as f32).collect();
            numbers.write((place * counts.len() + row) * width, &mean)
        };
        row_sums(decoder, condition, tokens, last, seen, &mut take)?;
        Ok(Self { layers: layers.to_vec(), width, tokens: counts, numbers })
    }

    /// The layers.
    pub fn layers(&self) -> &[i32] {
        &self.layers
    }

    /// Numbers of each row at a layer.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of tokens of every row; a row without any has zeros for its mean.
    pub fn tokens(&self) -> &[usize] {
        &self.tokens
    }

    /// The means of all rows at the layer of this place in [`RowMeans::layers`], one row behind the other.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub fn at(&self, place: usize) -> Result<Vec<f32>> {
        let length = self.tokens.len() * self.width;
        self.numbers.read(place * length, length)
    }
}

/// Numbers in memory, or in a temporary file without a name, which ends with the process.
enum Numbers {
    Memory(Vec<f32>),
    File(File),
}

const BYTES: usize = size_of::<f32>();

impl Numbers {
    /// So many zeros.
    fn of(count: usize, room: u64) -> Result<Self> {
        if (count * BYTES) as u64 <= room {
            return Ok(Self::Memory(vec![0.0; count]));
        }
        let file = tempfile::tempfile().map_err(failed("make a temporary file in"))?;
        file.set_len((count * BYTES) as u64).map_err(failed("make a temporary file in"))?;
        Ok(Self::File(file))
    }

    fn write(&mut self, at: usize, numbers: &[f32]) -> Result<()> {
        match self {
            Self::Memory(all) => all[at..at + numbers.len()].copy_from_slice(numbers),
            Self::File(file) => {
                let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                let written = file.seek(start(at)).and_then(|_| file.write_all(&bytes));
                written.map_err(failed("write a temporary file in"))?;
            }
        }
        Ok(())
    }

    fn read(&self, at: usize, count: usize) -> Result<Vec<f32>> {
        match self {
            Self::Memory(all) => Ok(all[at..at + count].to_vec()),
            Self::File(file) => {
                let (mut bytes, mut file) = (vec![0; count * BYTES], file);
                let read = file.seek(start(at)).and_then(|_| file.read_exact(&mut bytes));
                read.map_err(failed("read a temporary file in"))?;
                let (numbers, _) = bytes.as_chunks::<BYTES>();
                Ok(numbers.iter().map(|&number| f32::from_le_bytes(number)).collect())
            }
        }
    }
}

fn start(at: usize) -> SeekFrom {
    SeekFrom::Start((at * BYTES) as u64)
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> crate::Error {
    move |error| strait_model::Error::io(env::temp_dir(), doing)(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_memory_does() {
        let mut both = [Numbers::of(12, 48).unwrap(), Numbers::of(12, 47).unwrap()];
        assert!(matches!(both, [Numbers::Memory(_), Numbers::File(_)]));
        for numbers in &mut both {
            numbers.write(3, &[1.0, -2.5]).unwrap();
            numbers.write(10, &[f32::MIN_POSITIVE, 7.0]).unwrap();
        }
        let [memory, file] = both.map(|numbers| (numbers.read(2, 4).unwrap(), numbers.read(8, 4).unwrap()));
        assert_eq!(memory, file);
        assert_eq!(memory.0, [0.0, 1.0, -2.5, 0.0]);
    }
}
