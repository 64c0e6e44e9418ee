//! The inventory of a buildout: its components, without a format.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::buildout::develop_eggs::DevelopEgg;
use crate::buildout::{self, Buildout};
use crate::cache::Cache;
use crate::disk::boundary::Boundary;
use crate::disk::files;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::dependency::{self, Dependency};
use crate::egg::license::License;
use crate::egg::metadata::MAX_METADATA;
use crate::egg::name::{EggName, normalize_name};
use crate::egg::purl::purl;
use crate::error::Result;
use crate::ops::check;
use crate::util::hash::digest::Digest;
use crate::util::hash::sha256::Sha256;

use super::Options;
use super::contents::{Contents, Library, REQUIRES};
use super::graph::Graph;

/// The inventory of a buildout.
#[derive(Debug, Serialize)]
pub struct Inventory {
    /// The name of the folder of the buildout.
    pub name: String,
    /// The SHA-256 of the archive that is described, if it is one.
    pub archive: Option<Sha256>,
    /// Seconds since the Unix epoch.
    pub time: i64,
    /// Sorted by project, version and path.
    pub components: Vec<Component>,
    #[serde(skip)]
    pub graph: Graph,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Kind {
    #[default]
    Egg,
    /// A project in a folder to which a link leads.
    Develop,
}

/// An egg or a develop egg.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Component {
    pub kind: Kind,
    /// Relative to the buildout.
    pub path: String,
    /// In the form of PEP 503.
    pub project: String,
    /// As its metadata spells it.
    pub name: String,
    pub version: String,
    /// The package URL; `None` for a develop egg, as for an egg of a local archive.
    pub purl: Option<String>,
    pub summary: String,
    pub license: License,
    pub archive: Archive,
    /// The digest of the egg, if the cache has it.
    pub digest: Option<Digest>,
    /// The git commit of a develop egg, if it is in a repository.
    pub commit: Option<String>,
    pub libraries: Vec<Library>,
    #[serde(skip)]
    pub dependencies: Vec<Dependency>,
    #[serde(skip)]
    pub newest: i64,
}

/// What an egg was made from, as far as the cache knows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Archive {
    pub file_name: Option<String>,
    /// Only if its host has a domain: another place has no meaning elsewhere.
    pub url: Option<String>,
    pub sha256: Option<Sha256>,
}

impl Inventory {
    pub fn of(
        cache: Option<&Cache>,
        checked: &check::Report,
        buildout: &Buildout,
        options: &Options,
    ) -> Result<Self> {
        let short = |path: &Path| buildout.boundary.short(path).to_string_lossy().into_owned();
        let is_unused = |note: &&check::Finding| note.kind == check::FindingKind::Unused;
        let unused = checked.notes.iter().filter(is_unused);
        let unused: BTreeSet<String> =
            unused.map(|note| note.path.to_string_lossy().into_owned()).collect();
        let is_described = |path: &String| match &options.only {
            Some(only) => only.contains(path),
            None => !unused.contains(path),
        };
        let paths = buildout.eggs()?;
        let eggs = paths.iter().map(|path| (path, short(path)));
        let eggs: Vec<_> = eggs.filter(|(_, short)| is_described(short)).collect();
        let read = |(path, short): (&PathBuf, String)| -> Result<Component> {
            Ok(Component::of(short, Contents::of(path)?))
        };
        let components: Result<Vec<Component>> = eggs.into_par_iter().map(read).collect();
        let mut components = components?;
        for component in &mut components {
            let digest = checked.digests.get(&component.path).copied();
            let cached = match (cache, digest) {
                (Some(cache), Some(digest)) => cache.egg(digest)?,
                _ => None,
            };
            component.add_origin(cached);
        }
        for egg in buildout.develop_eggs()? {
            components.push(develop_egg(&egg, &short(&egg.link), &buildout.boundary));
        }
        components.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
        let configured = [&buildout.installed, &buildout.configuration];
        let extras: Vec<_> =
            configured.iter().flat_map(|text| dependency::extras_in(text)).collect();
        let newest = components.iter().map(|component| component.newest).max();
        let name = buildout.boundary.root().file_name().unwrap_or_default();
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            archive: options.archive,
            time: options.time.or(newest).unwrap_or(0),
            graph: Graph::new(&components, &extras),
            components,
        })
    }

    /// A UUID that only an equal inventory has in the same format (RFC 9562, version 8).
    #[must_use]
    pub fn uuid(&self, format: &str) -> String {
        let content = serde_json::to_string(&(format, self, &self.edges()));
        let content = content.expect("JSON can represent every value");
        let hash = Sha256::of(content.as_bytes()).to_string();
        format!(
            "{}-{}-8{}-8{}-{}",
            &hash[..8],
            &hash[8..12],
            &hash[13..16],
            &hash[17..20],
            &hash[20..32]
        )
    }

    fn edges(&self) -> &[BTreeSet<usize>] {
        &self.graph.of
    }
}

impl Component {
    fn of(path: String, contents: Contents) -> Self {
        let file_name = path.rsplit('/').next().unwrap_or_default();
        let (name, version) = match (contents.metadata, file_name.parse::<EggName>()) {
            (Some(found), _) => (found.name, found.version),
            (None, Ok(EggName { name, version, .. })) => (name, version),
            (None, Err(_)) => (file_name.to_owned(), String::new()),
        };
        Self {
            project: normalize_name(&name),
            purl: purl(&name, &version, None),
            name,
            version,
            summary: contents.summary,
            license: contents.license,
            libraries: contents.libraries,
            dependencies: contents.dependencies,
            newest: contents.newest,
            path,
            ..Self::default()
        }
    }

    fn add_origin(&mut self, cached: Option<CachedEgg>) {
        let Some(CachedEgg { digest, key, provenance, .. }) = cached else { return };
        self.digest = Some(digest);
        self.purl = purl(&self.name, &self.version, provenance.archive_url.as_deref());
        self.archive = Archive {
            file_name: provenance.source,
            url: provenance.archive_url.as_deref().and_then(on_web),
            sha256: key.source_sha256.parse().ok(),
        };
    }

    /// The Software Heritage identifier of the commit (ISO/IEC 18670).
    #[must_use]
    pub fn swhid(&self) -> Option<String> {
        self.commit.as_ref().map(|commit| format!("swh:1:rev:{commit}"))
    }

    fn order(&self) -> (&str, &str, &str) {
        (&self.project, &self.version, &self.path)
    }
}

/// The URL of an archive on a host with a domain.
fn on_web(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let has_domain = url.domain().is_some_and(|domain| domain.contains('.'));
    (has_domain && ["https", "http"].contains(&url.scheme())).then(|| url.into())
}

/// The component of a develop egg.
fn develop_egg(egg: &DevelopEgg, short: &str, boundary: &Boundary) -> Component {
    let is_info = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let project = name.strip_suffix(".egg-info");
        project.is_some_and(|project| normalize_name(project) == normalize_name(&egg.name))
    };
    let found = buildout::entries(&egg.folder).unwrap_or_default().into_iter().find(is_info);
    let mut contents = Contents::default();
    if let Some(info) = found {
        for (name, file) in [("EGG-INFO/PKG-INFO", "PKG-INFO"), (REQUIRES, "requires.txt")] {
            if let Ok(text) = files::read_short(&info.join(file), MAX_METADATA) {
                contents.add_text(name, &text);
            }
        }
    }
    let mut component = Component::of(short.to_owned(), contents);
    if component.version.is_empty() {
        (component.name, component.project) = (egg.name.clone(), normalize_name(&egg.name));
    }
    Component { kind: Kind::Develop, purl: None, commit: egg.commit(boundary), ..component }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_url_that_others_understand_is_stated() {
        let url = "https://files.pythonhosted.org/packages/a/b/foo-1.0.tar.gz";
        assert_eq!(on_web(url).as_deref(), Some(url));
        for other in [
            "file:///srv/a.tar.gz",
            "http://127.0.0.1:80/a",
            "http://pypi/a",
            "http://[::1]/a",
            "x",
        ] {
            assert_eq!(on_web(other), None, "{other}");
        }
    }
}
