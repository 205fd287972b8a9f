//! A problem of a protected archive.

use std::path::PathBuf;

use strait_model::guard::Panicked;
use zip::result::ZipError;

use super::SALT;
use crate::error;

/// A problem of a protected archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    // The envelope.
    /// A file that ends before a token can.
    #[error("{found} bytes are too few for a protected archive, which has at least {least}")]
    TooShort {
        /// Bytes of the file.
        found: usize,
        /// Bytes of the smallest archive.
        least: usize,
    },
    /// A file beyond the bound.
    #[error("the archive is larger than {limit} bytes")]
    TooLarge {
        /// The bound, in bytes.
        limit: u64,
    },
    /// A file of another kind.
    #[error("not a protected archive: no Fernet token follows the {SALT} bytes of salt")]
    NoToken,
    /// A byte that a token cannot hold.
    #[error("the byte at offset {offset} is no character of a Fernet token")]
    NotAToken {
        /// The byte, counted from 0 in the file.
        offset: usize,
    },
    /// A token of impossible length.
    #[error("the Fernet token is cut off: its {length} characters are not a multiple of four")]
    CutOff {
        /// Characters of the token.
        length: usize,
    },
    /// A token whose signature does not agree with the password.
    #[error("wrong password, or a damaged archive")]
    Undecryptable,

    // The zip within.
    /// Decrypted bytes that are not a sound zip.
    #[error("the decrypted zip is broken: {0}")]
    Zip(ZipError),
    /// Bytes that the zip reader did not reckon with.
    #[error("the zip is broken: {0}")]
    Reader(Panicked),
    /// A zip that names two members alike.
    #[error("two members of the zip have one name")]
    Doubled,
    /// A zip of too many members.
    #[error("the zip has {found} members, more than {limit}")]
    TooManyMembers {
        /// Members of the zip.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// A name that the zip does not hold.
    #[error("there is no member `{member}` among {members}")]
    NoMember {
        /// The name asked for.
        member: String,
        /// The names there are, as a list.
        members: String,
    },
    /// A member that cannot be unpacked.
    #[error("member `{member}` cannot be unpacked: {reason}")]
    Member {
        /// The member's name.
        member: String,
        /// The zip reader's words.
        reason: String,
    },
    /// A member beyond the bound.
    #[error("member `{member}` unpacks to {size} bytes, more than {limit}")]
    MemberTooLarge {
        /// The member's name.
        member: String,
        /// Its size as the zip declares it.
        size: u64,
        /// The bound, in bytes: it follows from the archive's size.
        limit: u64,
    },
    /// A member that is longer or shorter than the zip says.
    #[error("member `{member}` does not unpack to the {declared} bytes that the zip declares")]
    Size {
        /// The member's name.
        member: String,
        /// Its size as the zip declares it.
        declared: u64,
    },
    /// A zip that unpacks to more than the bound.
    #[error("the members unpack to {size} bytes together, more than {limit}")]
    UnpacksTooLarge {
        /// Their sizes as the zip declares them, summed.
        size: u64,
        /// The bound, in bytes.
        limit: u64,
    },

    // Unpacking to a folder.
    /// A member whose name leads out of the folder, or that is a link.
    #[error("member `{member}` would be written outside the folder")]
    Escapes {
        /// The member's name.
        member: String,
    },
    /// A member that is a device or a pipe.
    #[error("member `{member}` is no file")]
    Special {
        /// The member's name.
        member: String,
    },
    /// Members that cannot all be files of one folder.
    #[error("member `{member}` cannot lie in one folder with `{other}`")]
    Clash {
        /// The member's name.
        member: String,
        /// The name of another one.
        other: String,
    },
    /// A file that is there already.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },

    // Protecting files.
    /// No file, or folders without one.
    #[error("there is no file to protect")]
    NoFile,
    /// A device, or a link to a folder within a folder.
    #[error("no file, and no folder to enter")]
    NotAFile,
    /// A name that could not be unpacked everywhere.
    #[error("not every system could unpack a file of this name")]
    Name,
    /// Two files for one name.
    #[error("`{}` is the member `{member}` already", first.display())]
    SameName {
        /// The name.
        member: String,
        /// The file found first.
        first: PathBuf,
    },
    /// An archive that is there already.
    #[error("the file exists already")]
    ArchiveExists,
    /// An archive that would hold itself.
    #[error("the archive cannot be written over a file that it is to protect")]
    Itself,
    /// More than an archive may hold.
    #[error("the files are larger than {limit} bytes together")]
    TooMuch {
        /// The bound, in bytes.
        limit: u64,
    },
    /// More files than an archive may hold.
    #[error("{found} files are to be protected, more than {limit}")]
    TooManyFiles {
        /// Files found.
        found: usize,
        /// The bound.
        limit: usize,
    },
}

impl error::Problem for Problem {
    fn hint(&self) -> String {
        let hint = match self {
            Self::TooShort { .. } | Self::NotAToken { .. } | Self::CutOff { .. } => {
                "the file was cut off or changed on its way: fetch it again"
            }
            Self::NoToken => {
                "a protected archive is what easy-dataset-share writes, usually named `.zip.enc`"
            }
            Self::Undecryptable => {
                "check the password, which its authors publish beside the archive; if it is right, fetch the file again"
            }
            Self::Zip(_) | Self::Reader(_) | Self::Doubled | Self::Member { .. } | Self::Size { .. } => {
                "the archive was made from a damaged or unusual zip: ask its author for another"
            }
            Self::NoMember { .. } => "write the member's name as it is listed",
            Self::TooLarge { .. }
            | Self::TooManyMembers { .. }
            | Self::MemberTooLarge { .. }
            | Self::UnpacksTooLarge { .. } => {
                "unpack it with easy-dataset-share if you trust it, and name the files themselves"
            }
            Self::Clash { .. } => {
                "unpack its members one by one, with easy-dataset-share, into folders of their own"
            }
            Self::Escapes { .. } | Self::Special { .. } => {
                "do not unpack this archive: it is malformed or hostile"
            }
            Self::Exists { .. } => "choose an empty folder, or move the file away",
            Self::NoFile => "name files, or folders that hold some",
            Self::NotAFile => {
                "name files and folders; within a folder, links to other folders are not followed"
            }
            Self::Name => "rename the file: in UTF-8, without backslashes and colons",
            Self::SameName { .. } => {
                "name each file once; files of one name can be told apart by their folders"
            }
            Self::ArchiveExists => "give the archive another name, or move the file away",
            Self::Itself => "give the archive a name of its own with `--out`",
            Self::TooMuch { .. } | Self::TooManyFiles { .. } => "spread the files over several archives",
        };
        hint.into()
    }
}
