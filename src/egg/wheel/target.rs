//! The Python that eggs are made for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A Python, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `sys.executable`
    pub executable: PathBuf,
    /// `sys.implementation.name`
    pub implementation: String,
    /// `sys.version_info`, the first three numbers.
    pub version: (u32, u32, u32),
    /// `sys.implementation.cache_tag`
    pub cache_tag: String,
    /// `sysconfig.get_platform()`
    pub platform: String,
    /// Whether it is a virtual environment, where pip puts headers elsewhere.
    pub is_virtual: bool,
    /// The version of its pip.
    pub pip: Option<String>,
    /// The version of its zc.buildout.
    pub buildout: Option<String>,
}

impl Target {
    /// `3.11`
    #[must_use]
    pub fn python(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// `3.11.7`
    #[must_use]
    pub fn full_version(&self) -> String {
        format!("{}.{}", self.python(), self.version.2)
    }

    /// `x86_64` for `linux-x86_64`.
    #[must_use]
    pub fn machine(&self) -> Option<&str> {
        self.platform.strip_prefix("linux-")
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    #[must_use]
    pub fn target() -> Target {
        Target {
            executable: "/venv/bin/python".into(),
            implementation: "cpython".into(),
            version: (3, 11, 7),
            cache_tag: "cpython-311".into(),
            platform: "linux-x86_64".into(),
            is_virtual: true,
            pip: Some("26.3".into()),
            buildout: None,
        }
    }
}
