//! Names for contents.

use std::{io::Read, path::Path};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::{
    Error, Result,
    files::{hex, open_regular},
};

/// Bytes that are hashed at once.
const PIECE: usize = 1 << 20;

/// Git's name for a file's content: SHA-1 of a header with its length, and of the content. `seen` is called with the size
/// of each piece read.
pub(super) fn git_sha1_of(path: &Path, mut seen: impl FnMut(u64)) -> Result<String> {
    let mut file = open_regular(path)?;
    let length = file.metadata().map_err(Error::io(path, "read the file"))?.len();
    let mut digest = Sha1::new_with_prefix(format!("blob {length}\0"));
    let mut piece = vec![0; PIECE];
    loop {
        let n = file.read(&mut piece).map_err(Error::io(path, "read the file"))?;
        if n == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(&piece[..n]);
        seen(n as u64);
    }
}

/// A name for the part of a file of which the hub states no hash.
pub(super) fn name_of(file: &str) -> String {
    hex(&Sha256::digest(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_git_gives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // By `git hash-object`.
        for (content, expected) in [
            ("", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
            ("hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(git_sha1_of(&path, |_| ()).unwrap(), expected);
        }
    }
}
