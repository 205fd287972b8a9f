//! Damaged pages of Parquet.

use parquet::errors::ParquetError;

/// A problem of a page.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PageProblem {
    /// Fewer rows than the file says.
    #[error("the column has fewer rows than the file states")]
    Missing,
    /// A column that lies outside its file.
    #[error("the column does not lie within the file")]
    Outside,
    /// A header that cannot be.
    #[error("the header of a page is damaged: {0}")]
    Header(&'static str),
    /// A page out of proportion.
    #[error("a page of {packed} bytes claims to unpack to {size}")]
    OutOfProportion {
        /// Its size.
        packed: u64,
        /// The size that it claims.
        size: u64,
    },
    /// A page that cannot be read or unpacked.
    #[error("a page cannot be unpacked: {0}")]
    Unreadable(String),
}

impl From<PageProblem> for ParquetError {
    fn from(problem: PageProblem) -> Self {
        Self::External(Box::new(problem))
    }
}
