//! The origin of an egg.

use serde::{Deserialize, Serialize};

use crate::util::hash::digest::Digest;

/// The origin of an egg. It is not part of the egg digest; unknown fields are absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// When the blob was written, in seconds since the Unix epoch.
    pub added_at: i64,
    /// The version of eggcache that wrote the blob.
    pub eggcache: String,
    /// The version of zc.buildout that built the egg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildout: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setuptools: Option<String>,
    /// File name of the source archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where the source archive came from, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_url: Option<String>,
    /// The choice by which the buildout came to this archive: a digest of the places among which it
    /// chose (docs/reference/protocol.md). A buildout that chooses among the same places gets the same
    /// archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<String>,
    /// How long the build took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_seconds: Option<f64>,
    /// The egg of the same key that this one replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Digest>,
}

/// The longest text that is kept, in bytes.
const MAX_TEXT: usize = 4096;

impl Provenance {
    /// Without texts that are longer than any honest one: every list would read them.
    #[must_use]
    pub fn within_limits(mut self) -> Self {
        let Self { eggcache, buildout, setuptools, source, archive_url, choice, .. } = &mut self;
        if eggcache.len() > MAX_TEXT {
            eggcache.clear();
        }
        for text in [buildout, setuptools, source, archive_url, choice] {
            *text = text.take().filter(|text| text.len() <= MAX_TEXT);
        }
        self
    }

    /// Whether the egg was built here from a source archive, and not made from a wheel or another egg. If
    /// the archive is not known, neither is that.
    #[must_use]
    pub fn is_of_sources(&self) -> bool {
        let is_built = |name: &String| [".whl", ".egg"].iter().any(|suffix| name.ends_with(suffix));
        self.source.as_ref().is_some_and(|name| !is_built(name))
    }

    /// Whether it has fields that the first format of blobs and entries does not know.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.archive_url.is_some() || self.choice.is_some()
    }
}
