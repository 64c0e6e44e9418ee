//! Why a wheel is left to buildout.

use std::io;

/// Why a wheel is not converted. Buildout installs it itself, or fails as it would without a cache.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("its file name is not the name of a wheel")]
    FileName,

    #[error("it is not a readable zip file: {0}")]
    Unreadable(String),

    #[error("it has more than {most} {what}")]
    TooMuch { what: &'static str, most: u64 },

    /// A member of the archive. The problem completes the sentence.
    #[error("{path} {problem}")]
    Member { path: String, problem: &'static str },

    #[error("{one} and {other} are one file, or differ only in case")]
    Clash { one: String, other: String },

    /// The metadata directory.
    #[error("it has {0} .dist-info directory")]
    DistInfo(&'static str),

    /// A file of the metadata directory. The problem completes the sentence.
    #[error("its {file} {problem}")]
    Metadata { file: &'static str, problem: String },

    #[error("its {what} is {one} in one place and {other} in another")]
    Disagrees { what: &'static str, one: String, other: String },

    #[error("it needs Python {wanted}, and this is Python {found}")]
    RequiresPython { wanted: String, found: String },

    #[error("its tags {0} do not fit this Python")]
    Tags(String),

    #[error("it is pip, or has a script that pip names after the version of the Python")]
    Installer,

    #[error("pip {0} is not known")]
    Pip(String),

    #[error("Python does not survive to compile its {0}")]
    Compiler(String),

    /// The Python. The text completes the sentence.
    #[error("the Python {0}")]
    Python(String),
}

impl Reason {
    #[must_use]
    pub fn member(path: &str, problem: &'static str) -> Self {
        Self::Member { path: path.to_owned(), problem }
    }

    pub fn metadata(file: &'static str, problem: impl Into<String>) -> Self {
        Self::Metadata { file, problem: problem.into() }
    }
}

impl From<zip::result::ZipError> for Reason {
    fn from(error: zip::result::ZipError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}
