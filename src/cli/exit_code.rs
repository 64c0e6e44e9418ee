//! The exit codes of the command, on which scripts rely.

use std::process;

use crate::error::Error;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    Success = 0,
    Failure = 1,
    /// The command line is wrong, or a name matches several eggs.
    Usage = 2,
    /// The cache, or a list that it keeps, does not have what was named.
    Miss = 3,
    /// A check found problems.
    Problems = 4,
}

impl ExitCode {
    /// The code of a check.
    pub fn of_check(is_clean: bool) -> Self {
        if is_clean { Self::Success } else { Self::Problems }
    }
}

impl From<&anyhow::Error> for ExitCode {
    fn from(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<Error>() {
            Some(
                Error::Miss { .. }
                | Error::NotARoot { .. }
                | Error::NoRun { .. }
                | Error::NotAPin { .. }
                | Error::NotOnRemote { .. }
                | Error::NotWithdrawn { .. }
                | Error::NoRemote { .. },
            ) => Self::Miss,
            Some(
                Error::Usage(_)
                | Error::Ambiguous { .. }
                | Error::SameFileName { .. }
                | Error::Requirements { .. }
                | Error::NoPrefix { .. }
                | Error::NoPython { .. }
                | Error::NoVersion { .. }
                | Error::NotAPublicKey { .. }
                | Error::NotTrusted { .. }
                | Error::KeyIdTaken { .. }
                | Error::RemoteExists { .. },
            ) => Self::Usage,
            Some(Error::NotDescribed { .. }) => Self::Problems,
            _ => Self::Failure,
        }
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
