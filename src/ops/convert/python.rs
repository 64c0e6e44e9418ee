//! The Python that eggs are made for: asked once how it is configured.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::egg::wheel::target::Target;
use crate::error::{Error, IoContext, Result};
use crate::util::process::last_line;

/// Describes a Python, which this starts once.
///
/// # Errors
/// [`Error::BadPython`] if it cannot be started or does not answer.
pub fn describe(python: &Path) -> Result<Target> {
    let output = Command::new(python)
        .args(["-c", include_str!("describe_python.py")])
        .stdin(Stdio::null())
        .output()
        .at("start", python)?;
    let bad = |reason: String| Error::BadPython { path: python.to_owned(), reason };
    if !output.status.success() {
        return Err(bad(last_line(&output.stderr)));
    }
    let target: Target = serde_json::from_slice(&output.stdout).map_err(|error| {
        bad(format!("it describes itself in a way that is not known ({error})"))
    })?;
    if target.version < (3, 8, 0) || target.cache_tag.is_empty() {
        return Err(bad(format!("it is Python {}, which is too old", target.full_version())));
    }
    Ok(target)
}
