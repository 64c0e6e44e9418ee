//! The manifest of a bundle: the members of the archive and its eggs. docs/reference/bundle.md describes it.

use serde::{Deserialize, Serialize};

use crate::buildout::BUNDLE_MANIFEST;
use crate::disk::temp::TEMP_PREFIX;
use crate::util::hash::digest::Digest;
use crate::util::hash::sha256::Sha256;

// It begins with the prefix of temporary files, as no other file of a bundle does.
const _: () = assert!(BUNDLE_MANIFEST.len() > TEMP_PREFIX.len());
/// The format that this eggcache writes and reads.
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of eggcache that wrote it.
    pub eggcache: String,
    /// The folder in the archive; empty if there is none.
    pub prefix: String,
    /// The only path at which the buildout works; absent if it works anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Members that contain that path and that the application may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound: Vec<String>,
    /// The folders that members may name as that of the buildout: its own, and those of earlier bundles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    pub eggs: Vec<BundledEgg>,
    /// All members but the manifest itself, in the order of the archive.
    pub entries: Vec<BundleEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundledEgg {
    /// Relative to the buildout.
    pub path: String,
    /// As its metadata says, or else its file name.
    pub name: String,
    pub version: String,
    /// Its digest in the cache; absent if the cache does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The digest of the archive that it was built from, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_sha256: Option<String>,
    /// The address of that archive, if known; not part of the manifest.
    #[serde(skip)]
    pub archive_url: Option<String>,
}

/// One member of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleEntry {
    /// Relative to the buildout.
    pub path: String,
    #[serde(flatten)]
    pub kind: EntryKind,
    /// Seconds since the Unix epoch.
    pub mtime: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum EntryKind {
    Directory,
    File { size: u64, executable: bool, sha256: Sha256 },
    Symlink { target: String },
}

impl EntryKind {
    /// The mode in the archive, which does not depend on the umask.
    #[must_use]
    pub fn mode(&self) -> u32 {
        match self {
            Self::Directory | Self::File { executable: true, .. } => 0o755,
            Self::File { executable: false, .. } => 0o644,
            Self::Symlink { .. } => 0o777,
        }
    }
}

impl Manifest {
    /// The path in the archive of `path` in the buildout.
    #[must_use]
    pub fn member(&self, path: &str) -> String {
        if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("JSON can represent every value");
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_encoding() {
        let entry =
            |path: &str, kind| BundleEntry { path: path.into(), kind, mtime: 1_600_000_000 };
        let sha256 = "ab".repeat(32).parse().unwrap();
        let manifest = Manifest {
            format: FORMAT,
            eggcache: "1.0".into(),
            prefix: "app".into(),
            path: Some("/srv/app".into()),
            bound: vec!["bin/a".into()],
            folders: vec!["/srv/app".into()],
            eggs: vec![BundledEgg {
                path: "eggs/a-1.egg".into(),
                name: "a".into(),
                version: "1".into(),
                digest: Some(Digest::of(b"")),
                source_sha256: None,
                archive_url: None,
            }],
            entries: vec![
                entry("bin", EntryKind::Directory),
                entry("bin/a", EntryKind::File { size: 7, executable: true, sha256 }),
                entry("bin/b", EntryKind::Symlink { target: "a".into() }),
            ],
        };
        let text = manifest.encode();
        assert_eq!(serde_json::from_slice::<Manifest>(&text).unwrap(), manifest);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(r#""kind":"file","size":7,"executable":true"#), "{text}");
        assert_eq!(manifest.member("bin/a"), "app/bin/a");
        let modes: Vec<u32> = manifest.entries.iter().map(|entry| entry.kind.mode()).collect();
        assert_eq!(modes, [0o755, 0o755, 0o777]);
    }
}
