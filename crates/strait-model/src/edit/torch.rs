//! PyTorch's `.pt` and `.bin` files (zip archives since 1.6), read without running anything.
//!
//! Such a file is a zip with one folder: `data.pkl` says which tensors there are ([`pickle`]) and `data/KEY` holds each
//! storage's numbers. Every size is checked against the file before anything of that size is kept.

use std::{
    io::{BufReader, Read, Seek},
    path::Path,
};

use half::{bf16, f16};
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Number, StorageRef, TensorRef};
use crate::{
    Error, Result,
    files::{StandIn, open_real},
};

/// Most bytes that all deflated entries of a file may declare; PyTorch itself never deflates.
pub const MAX_INFLATED: u64 = 1 << 30;
/// The most times that the storages' bytes are turned into tensors altogether, where tensors share storages.
pub const MAX_SHARING: u64 = 16;

/// A tensor of a PyTorch file.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// Its values in row-major order, rounded to 32 bits where the file has more.
    pub values: Vec<f32>,
}

/// The content of a PyTorch file.
pub type Value = pickle::Value<Loaded>;

/// A problem of a PyTorch file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The format before PyTorch 1.6.
    #[error("a file in PyTorch's format from before version 1.6, which is a bare pickle")]
    Legacy,
    /// Something else.
    #[error("not a PyTorch file: it starts neither as a zip archive nor as a pickle")]
    NotTorch,
    /// A broken zip archive.
    #[error("the zip archive is broken: {0}")]
    Zip(String),
    /// Entries that lie about their sizes, or unpack to more than the limit.
    #[error("the zip archive's entries claim {claimed} bytes, more than {limit}")]
    Size {
        /// The sum of the declared sizes.
        claimed: u64,
        /// The bound: the file's size for stored entries, [`MAX_INFLATED`] for deflated ones.
        limit: u64,
    },
    /// A compression that PyTorch does not write.
    #[error("entry `{entry}` of the zip archive is packed with {method}")]
    Compression {
        /// The entry.
        entry: String,
        /// The method's name.
        method: String,
    },
    /// No `data.pkl`, or more than one.
    #[error("the zip archive has {found} entries named `data.pkl` where PyTorch writes one")]
    Pickles {
        /// Their number.
        found: usize,
    },
    /// Numbers with their bytes the other way round.
    #[error("the file says its byte order is `{found}`")]
    ByteOrder {
        /// The value of `byteorder`.
        found: String,
    },
    /// A malformed or unsafe pickle.
    #[error(transparent)]
    Pickle(#[from] pickle::Problem),
    /// A storage that the pickle names and the archive lacks.
    #[error("storage `{key}` is named in the pickle but there is no entry `{entry}`")]
    NoStorage {
        /// Its name in the pickle.
        key: String,
        /// Its path.
        entry: String,
    },
    /// A storage whose size is not the one that the pickle declares.
    #[error("storage `{key}` is declared with {declared} bytes and has {found}")]
    StorageSize {
        /// Its name in the pickle.
        key: String,
        /// Bytes by the pickle.
        declared: u64,
        /// Bytes by the archive.
        found: u64,
    },
    /// Tensors that show the same storages again and again.
    #[error("the tensors show the file's storages more than {MAX_SHARING} times over")]
    Sharing,
}

impl crate::error::Problem for Problem {
    fn hint(&self) -> String {
        match self {
            Self::Legacy => {
                "write it again with a recent PyTorch: `torch.save(torch.load(F, weights_only=True), F)`"
            }
            Self::NotTorch => "give a file that `torch.save` wrote, or a safetensors file",
            Self::Zip(_) | Self::Pickles { .. } | Self::NoStorage { .. } | Self::StorageSize { .. } => {
                "the file is cut off or damaged: copy or download it again"
            }
            Self::Compression { .. } => "unpack the archive and pack it again without compression",
            Self::ByteOrder { .. } => {
                "write it again on a little-endian machine, or as safetensors"
            }
            Self::Pickle(
                pickle::Problem::Global { .. }
                | pickle::Problem::Call { .. }
                | pickle::Problem::Opcode { .. },
            ) => {
                "strait reads tensors in plain dicts and lists and runs no code: if you trust the file, load it in \
                 Python and save only its tensors, best as safetensors"
            }
            Self::Size { .. } | Self::Pickle(_) | Self::Sharing => {
                "do not trust this file: PyTorch does not write such; get it again from its source"
            }
        }
        .to_string()
    }
}

/// Reads a file that `torch.save` wrote (PyTorch 1.6 or later). Nothing in it is executed.
///
/// # Errors
/// If the file cannot be read, is no such file, or holds anything but tensors in plain containers.
pub fn read(path: &Path) -> Result<Value> {
    let mut file = open_real(path, &[StandIn::Zip])?;
    let bytes = file.metadata().map_err(Error::io(path, "read the file"))?.len();
    let mut start = Vec::new();
    Read::by_ref(&mut file)
        .take(4)
        .read_to_end(&mut start)
        .and_then(|_| file.rewind())
        .map_err(Error::io(path, "read the file"))?;
    read_archive(&start, BufReader::new(file), bytes).map_err(|problem| Error::input(path, problem))
}

fn read_archive<R: Read + Seek>(start: &[u8], reader: R, bytes: u64) -> Result<Value, Problem> {
    match start {
        b"PK\x03\x04" => {}
        [0x80, ..] => return Err(Problem::Legacy),
        _ => return Err(Problem::NotTorch),
    }
    let mut archive = Archive::open(reader, bytes)?;
    archive.check_byte_order()?;
    let pickle = archive.entry("data.pkl", pickle::MAX_BYTES as u64 + 1)?;
    let value = pickle::parse(&pickle.unwrap_or_default())?;
    value.try_map(&mut |tensor| archive.load(&tensor))
}

/// The archive, and the state of its reading.
struct Archive<R> {
    zip: ZipArchive<R>,
    /// The one folder, with its slash.
    root: String,
    /// Bytes that may still be turned into tensors.
    budget: u64,
    /// The storage read last: tensors that share one mostly follow each other.
    last: Option<(StorageRef, Vec<u8>)>,
}

impl<R: Read + Seek> Archive<R> {
    /// Checks the directory: sizes, compression, and one `data.pkl`.
    fn open(reader: R, bytes: u64) -> Result<Self, Problem> {
        let zip = ZipArchive::new(reader).map_err(broken)?;
        if zip.has_duplicate_names() {
            return Err(Problem::Zip("two entries have the same name".into()));
        }
        let (mut stored, mut inflated) = (0u64, 0u64);
        let mut roots = Vec::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_data(index).map_err(broken)?;
            let name = entry.name().map_err(broken)?.into_owned();
            stored = stored.saturating_add(entry.compressed_size());
            match entry.compression() {
                CompressionMethod::Stored if entry.size() == entry.compressed_size() => {}
                CompressionMethod::Stored => {
                    return Err(Problem::Zip(format!(
                        "entry `{name}` is stored as {} bytes and said to have {}",
                        entry.compressed_size(),
                        entry.size()
                    )));
                }
                CompressionMethod::Deflated => inflated = inflated.saturating_add(entry.size()),
                other => {
                    return Err(Problem::Compression { entry: name, method: other.to_string() });
                }
            }
            if let Some(root) = name.strip_suffix("data.pkl")
                && (root.is_empty() || root.ends_with('/'))
            {
                roots.push(root.to_string());
            }
        }
        for (claimed, limit) in [(stored, bytes), (inflated, MAX_INFLATED)] {
            if claimed > limit {
                return Err(Problem::Size { claimed, limit });
            }
        }
        let [root] = roots.as_slice() else {
            return Err(Problem::Pickles { found: roots.len() });
        };
        Ok(Self {
            root: root.clone(),
            budget: (stored + inflated).saturating_mul(MAX_SHARING),
            zip,
            last: None,
        })
    }

    /// The bytes of an entry below the root, cut off after `most`; none where there is no such entry.
    fn entry(&mut self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Problem> {
        let name = format!("{}{name}", self.root);
        let Some(index) = self.zip.index_for_name(&name) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        self.zip
            .by_index(index)
            .map_err(broken)?
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(|e| Problem::Zip(format!("entry `{name}`: {e}")))?;
        Ok(Some(bytes))
    }

    fn check_byte_order(&mut self) -> Result<(), Problem> {
        const LONGEST: u64 = 16;
        match self.entry("byteorder", LONGEST)? {
            Some(order) if order != b"little" => {
                Err(Problem::ByteOrder { found: String::from_utf8_lossy(&order).into_owned() })
            }
            _ => Ok(()),
        }
    }

    fn load(&mut self, tensor: &TensorRef) -> Result<Loaded, Problem> {
        if !matches!(&self.last, Some((storage, _)) if *storage == tensor.storage) {
            let bytes = self.storage(&tensor.storage)?;
            self.last = Some((tensor.storage.clone(), bytes));
        }
        self.spend((tensor.len() as u64).saturating_mul(size_of::<f32>() as u64))?;
        let bytes = self.last.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        Ok(Loaded { shape: tensor.shape.clone(), values: gather(tensor, bytes) })
    }

    /// A storage's bytes, whose number is what the pickle declares.
    fn storage(&mut self, storage: &StorageRef) -> Result<Vec<u8>, Problem> {
        let name = format!("data/{}", storage.key);
        let declared = (storage.len as u64).saturating_mul(storage.number.width() as u64);
        let no_storage = || Problem::NoStorage { key: storage.key.clone(), entry: name.clone() };
        let index = self.zip.index_for_name(&format!("{}{name}", self.root)).ok_or_else(no_storage)?;
        let found = self.zip.by_index_data(index).map_err(broken)?.size();
        let size_differs = |found| Problem::StorageSize { key: storage.key.clone(), declared, found };
        if found != declared {
            return Err(size_differs(found));
        }
        self.spend(declared)?;
        let bytes = self.entry(&name, declared.saturating_add(1))?.ok_or_else(no_storage)?;
        if bytes.len() as u64 != declared {
            return Err(size_differs(bytes.len() as u64));
        }
        Ok(bytes)
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Problem> {
        self.budget = self.budget.checked_sub(bytes).ok_or(Problem::Sharing)?;
        Ok(())
    }
}

fn broken(error: zip::result::ZipError) -> Problem {
    Problem::Zip(error.to_string())
}

/// The numbers that a view shows, in row-major order. The view was proved to lie inside the storage's declared length,
/// and the storage to have it.
fn gather(tensor: &TensorRef, bytes: &[u8]) -> Vec<f32> {
    let number = tensor.storage.number;
    let count = tensor.len();
    let mut values = Vec::with_capacity(count);
    let mut index = vec![0; tensor.shape.len()];
    let mut position = tensor.offset;
    for _ in 0..count {
        values.push(number_at(number, bytes, position));
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            position += tensor.strides[axis];
            if index[axis] < tensor.shape[axis] {
                break;
            }
            position -= tensor.strides[axis] * tensor.shape[axis];
            index[axis] = 0;
        }
    }
    values
}

fn number_at(number: Number, bytes: &[u8], position: usize) -> f32 {
    fn word<const N: usize>(bytes: &[u8], position: usize) -> [u8; N] {
        bytes.as_chunks().0[position]
    }
    match number {
        Number::F64 => f64::from_le_bytes(word(bytes, position)) as f32,
        Number::F32 => f32::from_le_bytes(word(bytes, position)),
        Number::F16 => f16::from_le_bytes(word(bytes, position)).to_f32(),
        Number::BF16 => bf16::from_le_bytes(word(bytes, position)).to_f32(),
        Number::I64 => i64::from_le_bytes(word(bytes, position)) as f32,
        Number::I32 => i32::from_le_bytes(word(bytes, position)) as f32,
    }
}
