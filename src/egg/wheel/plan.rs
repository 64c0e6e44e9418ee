//! What to do to make an egg of a wheel: the name of the egg, its files, and its RECORD.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::archive::{Archive, Member};
use super::entry_points::{self, Scripts};
use super::file_name::WheelName;
use super::layout::{self, Place, Placed, Rules};
use super::pip::Pip;
use super::reason::Reason;
use super::record::{self, Row};
use super::target::Target;
use super::{headers, namespaces, scripts};
use crate::egg::metadata::MAX_METADATA;
use crate::egg::name::normalize_name;
use crate::util::hash::sha256::Sha256;

/// The longest WHEEL and `top_level.txt`, and the longest script whose first line is examined, in bytes.
const MAX_TEXT: u64 = 1 << 20;
pub const MAX_SCRIPT: u64 = 16 << 20;
/// The most rows of RECORD for each file: some list bytecode that they do not contain.
const MOST_ROWS: usize = 4;
/// Metadata that pip writes.
const INSTALLER: &str = "INSTALLER";
const REQUESTED: &str = "REQUESTED";
const DIRECT_URL: &str = "direct_url.json";
const RECORD: &str = "RECORD";

/// What the metadata of an egg says about where it was made. An egg of stock buildout names the path of
/// its archive, which mostly was a temporary one, and has digests of scripts that name its Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Nothing: the egg is the same wherever it is made.
    #[default]
    Portable,
    /// Exactly what pip writes, to compare with it.
    Exact,
}

/// The archive that an egg is made of.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// Absolute.
    pub path: &'a Path,
    pub sha256: Sha256,
}

/// A file that is written into the egg.
#[derive(Debug, Clone, Copy)]
pub struct EggFile<'a> {
    pub member: &'a Member,
    /// Its path in the egg.
    pub path: &'a str,
    /// Its row in the RECORD of the wheel.
    pub row: Option<&'a Row>,
    /// Whether stock buildout keeps its bytecode, if it is a source.
    pub keeps_bytecode: bool,
    /// Whether it only declares a namespace and is removed after it is compiled.
    pub is_removed: bool,
}

/// Everything that is known about an egg before a file is written.
#[derive(Debug)]
pub struct Plan {
    pub egg_name: String,
    /// Its metadata directory.
    egg_info: String,
    dist_info: String,
    placed: Vec<Placed>,
    rows: Vec<Row>,
    /// The members that only declare a namespace.
    namespaces: HashSet<usize>,
    scripts: Scripts,
    pip: Pip,
    /// Whether this pip cannot compile a source whose encoding needs a module.
    pub blocks_imports: bool,
    executable: OsString,
    direct_url: String,
}

impl Plan {
    /// Reads the metadata of a wheel and decides what to do with each file.
    pub fn of(
        archive: &mut Archive,
        original: Original<'_>,
        target: &Target,
        origin: Origin,
    ) -> Result<Self, Reason> {
        let file_name =
            original.path.file_name().and_then(OsStr::to_str).ok_or(Reason::FileName)?;
        let file = WheelName::parse(file_name)?;
        file.check_tags(target)?;
        if normalize_name(&file.name) == "pip" {
            return Err(Reason::Installer);
        }
        let known = Pip::of(target)?;
        let pip = if origin == Origin::Exact { known } else { Pip::NEWEST };
        let dist_info = dist_info(archive, &file)?;
        let mut text = MetadataFiles { archive, dist_info: &dist_info };
        headers::check_wheel(&text.required("WHEEL", MAX_TEXT)?)?;
        let name =
            headers::check_metadata(&text.required("METADATA", MAX_METADATA)?, &file, target)?;
        let record = text.required(RECORD, record::MAX_LENGTH)?;
        let rows = record::parse(&record, MOST_ROWS * text.archive.members.len())?;
        let entry_points = text.optional("entry_points.txt", entry_points::MAX_LENGTH)?;
        let entry_points = entry_points.unwrap_or_default();
        let scripts = entry_points::parse(&entry_points)?;
        let top_levels =
            top_levels(&text.optional("top_level.txt", MAX_TEXT)?.unwrap_or_default())?;
        for written in [INSTALLER, REQUESTED, DIRECT_URL] {
            if archive.member(&format!("{dist_info}/{written}")).is_some() {
                return Err(Reason::DistInfo("pip's own files in its"));
            }
        }
        let base = base_name(&name, &file, target);
        let egg_info = format!("{base}.dist-info");
        let placed = layout::place(
            &archive.members,
            &Rules {
                dist_info: &dist_info,
                egg_info: &egg_info,
                scripts: &scripts,
                mentions_scripts: mentions_scripts(&entry_points),
                top_levels: &top_levels,
                headers: &headers_directory(&file, target, pip, origin),
            },
        )?;
        check_rows(&rows, &archive.members)?;
        let namespaces = find_namespaces(archive, &placed)?;
        let (url, executable) = match origin {
            Origin::Exact => (url(original.path), target.executable.clone().into_os_string()),
            Origin::Portable => (portable_url(file_name), "python".into()),
        };
        let direct_url = direct_url(&url, original.sha256, pip);
        let egg_name = format!("{base}.egg");
        Ok(Self {
            egg_name,
            egg_info,
            dist_info,
            placed,
            rows,
            namespaces,
            scripts,
            pip,
            blocks_imports: known.blocks_imports,
            executable,
            direct_url,
        })
    }

    /// The files of the egg that come from the wheel.
    pub fn files<'a>(&'a self, members: &'a [Member]) -> impl Iterator<Item = EggFile<'a>> {
        let rows: HashMap<&str, &Row> =
            self.rows.iter().map(|row| (row.path.as_str(), row)).collect();
        let record = format!("{}/{RECORD}", self.dist_info);
        let placed = self.placed.iter().filter(move |it| members[it.member].path != record);
        placed.filter_map(move |it| {
            let Place::Egg { path, keeps_bytecode } = &it.place else { return None };
            let member = &members[it.member];
            Some(EggFile {
                member,
                path,
                row: rows.get(member.path.as_str()).copied(),
                keeps_bytecode: *keeps_bytecode,
                is_removed: self.namespaces.contains(&it.member),
            })
        })
    }

    /// The files that pip installs and buildout drops.
    pub fn dropped<'a>(&'a self, members: &'a [Member]) -> impl Iterator<Item = Dropped<'a>> {
        self.placed.iter().filter_map(|it| match it.place {
            Place::Dropped { is_script } => Some(Dropped {
                member: &members[it.member],
                record_path: &it.record_path,
                is_script,
            }),
            _ => None,
        })
    }

    /// The rows of RECORD for files that the wheel does not have.
    pub fn rows_without_file<'a>(&'a self, members: &'a [Member]) -> impl Iterator<Item = &'a Row> {
        let paths: HashSet<&str> = members.iter().map(|member| member.path.as_str()).collect();
        self.rows.iter().filter(move |row| !paths.contains(row.path.as_str()))
    }

    /// The content of a dropped script after pip has changed its first line, if it does.
    #[must_use]
    pub fn changed_script(&self, content: &[u8]) -> Option<Vec<u8>> {
        scripts::fixed(content, &self.executable)
    }

    /// The metadata that pip writes, as paths in the egg and contents. `compiled` are the sources that
    /// have been compiled, by their paths in the egg or in RECORD; `changed` are dropped scripts.
    #[must_use]
    pub fn metadata(
        &self,
        members: &[Member],
        compiled: &HashSet<String>,
        changed: &HashMap<String, Vec<u8>>,
        bytecode: &Bytecode,
    ) -> Vec<(String, Vec<u8>)> {
        let mut files = vec![
            (INSTALLER, b"pip\n".to_vec()),
            (REQUESTED, Vec::new()),
            (DIRECT_URL, self.direct_url.clone().into_bytes()),
        ];
        let mut rows = self.installed_rows(members, changed);
        for it in self.placed.iter().filter(|it| it.place != Place::Skipped) {
            let key = if let Place::Egg { path, .. } = &it.place { path } else { &it.record_path };
            if compiled.contains(key) {
                rows.push(Row::bare(bytecode.path(&it.record_path)));
            }
        }
        for (name, content) in &files {
            rows.push(row_of(format!("{}/{name}", self.dist_info), content));
        }
        for (name, callable) in &self.scripts {
            let script = scripts::script(self.pip.template, &self.executable, callable);
            rows.push(row_of(format!("../../bin/{name}"), &script));
        }
        files.push((RECORD, record::write(rows).into_bytes()));
        let in_egg = |(name, content)| (format!("{}/{name}", self.egg_info), content);
        files.into_iter().map(in_egg).collect()
    }

    /// The rows of the files that pip has copied: those of the wheel with new paths, and one for each
    /// file that they do not list.
    fn installed_rows(&self, members: &[Member], changed: &HashMap<String, Vec<u8>>) -> Vec<Row> {
        let installed = self.placed.iter().filter(|it| it.place != Place::Skipped);
        let mut installed: HashMap<&str, &str> = installed
            .map(|it| (members[it.member].path.as_str(), it.record_path.as_str()))
            .collect();
        let mut rows: Vec<Row> = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let path = installed.remove(row.path.as_str()).unwrap_or(&row.path);
            rows.push(match changed.get(path) {
                Some(content) => row_of(path.to_owned(), content),
                None => Row { path: path.to_owned(), ..row.clone() },
            });
        }
        rows.extend(installed.into_values().map(Row::bare));
        rows
    }
}

/// A file that pip installs outside of the egg.
#[derive(Debug, Clone, Copy)]
pub struct Dropped<'a> {
    pub member: &'a Member,
    pub record_path: &'a str,
    pub is_script: bool,
}

/// How a Python names compiled files.
#[derive(Debug, Clone)]
pub struct Bytecode {
    /// `cpython-311`, or `cpython-311.opt-1`.
    tag: String,
}

impl Bytecode {
    #[must_use]
    pub fn of(target: &Target, optimize: u8) -> Self {
        let tag = &target.cache_tag;
        Self { tag: if optimize == 0 { tag.clone() } else { format!("{tag}.opt-{optimize}") } }
    }

    /// The path of the compiled file of a source.
    #[must_use]
    pub fn path(&self, source: &str) -> String {
        let stem = source.strip_suffix(".py").unwrap_or(source);
        let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("{folder}{slash}__pycache__/{name}.{}.pyc", self.tag)
    }
}

/// Whether pip compiles a file.
#[must_use]
pub fn is_source(path: &str) -> bool {
    path.ends_with(".py")
}

fn row_of(path: String, content: &[u8]) -> Row {
    let digest = Sha256::of(content).in_record();
    Row { path, digest, size: content.len().to_string() }
}

/// The metadata directory, which must be that of the distribution in the file name.
fn dist_info(archive: &Archive, file: &WheelName) -> Result<String, Reason> {
    let mut found = archive.tops.iter().filter(|top| top.ends_with(".dist-info"));
    let (Some(dist_info), None) = (found.next(), found.next()) else {
        return Err(Reason::DistInfo(if archive.members.is_empty() {
            "no files and no"
        } else {
            "no or more than one"
        }));
    };
    let stem = dist_info.strip_suffix(".dist-info").unwrap_or_default();
    let (name, version) = stem.split_once('-').unwrap_or((stem, ""));
    if normalize_name(name) != normalize_name(&file.name) {
        return Err(disagree("name", &file.name, name));
    }
    let is_same = version.parse().is_ok_and(|version: pep440_rs::Version| version == file.version);
    if !is_same || version.contains('-') {
        return Err(disagree("version", &file.version.to_string(), version));
    }
    Ok(dist_info.to_owned())
}

fn disagree(what: &'static str, one: &str, other: &str) -> Reason {
    Reason::Disagrees { what, one: one.to_owned(), other: other.to_owned() }
}

/// Files of the metadata directory.
struct MetadataFiles<'a> {
    archive: &'a mut Archive,
    dist_info: &'a str,
}

impl MetadataFiles<'_> {
    fn optional(&mut self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Reason> {
        let member = self.archive.member(&format!("{}/{name}", self.dist_info)).cloned();
        member.map(|member| self.archive.content(&member, most)).transpose()
    }

    fn required(&mut self, name: &'static str, most: u64) -> Result<Vec<u8>, Reason> {
        self.optional(name, most)?.ok_or_else(|| Reason::metadata(name, "is missing"))
    }
}

/// The name of the egg without its extension, as `pkg_resources` and buildout make it.
fn base_name(name: &str, file: &WheelName, target: &Target) -> String {
    let (name, version) = (name.replace('-', "_"), file.version.to_string().replace('-', "_"));
    format!("{name}-{version}-py{}-{}", target.python(), target.platform)
}

fn headers_directory(file: &WheelName, target: &Target, pip: Pip, origin: Origin) -> String {
    let name = if pip.has_normalized_names {
        normalize_name(&file.name)
    } else {
        file.name.replace('_', "-")
    };
    if target.is_virtual || origin == Origin::Portable {
        format!("include/site/python{}/{name}", target.python())
    } else {
        format!("include/python/{name}")
    }
}

/// Whether buildout finds the names of these sections anywhere in the text.
fn mentions_scripts(entry_points: &[u8]) -> bool {
    let text = String::from_utf8_lossy(entry_points);
    text.contains("console_scripts") || text.contains("gui_scripts")
}

fn top_levels(text: &[u8]) -> Result<Vec<String>, Reason> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii());
    let text = text.ok_or_else(|| Reason::metadata("top_level.txt", "is not ASCII"))?;
    let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

/// Refuses rows that buildout could take for other files of the wheel than they name.
fn check_rows(rows: &[Row], members: &[Member]) -> Result<(), Reason> {
    let mut directories: HashSet<&str> = HashSet::new();
    for Member { path, .. } in members {
        for (at, _) in path.rmatch_indices('/') {
            if !directories.insert(&path[..at]) {
                // All directories above it are known as well.
                break;
            }
        }
    }
    for Row { path, .. } in rows {
        if crate::egg::path::EggPath::new(path.as_str()).is_err() {
            return Err(Reason::metadata(RECORD, format!("names {path}, outside of the egg")));
        }
        if directories.contains(path.as_str()) {
            return Err(Reason::metadata(RECORD, format!("names the directory {path}")));
        }
    }
    match members.iter().find(|member| member.path.rsplit('/').next() == Some(".py")) {
        Some(member) => Err(Reason::member(&member.path, "has a name without a module")),
        None => Ok(()),
    }
}

fn find_namespaces(archive: &mut Archive, placed: &[Placed]) -> Result<HashSet<usize>, Reason> {
    let mut found = HashSet::new();
    for it in layout::namespace_candidates(placed) {
        let member = archive.members[it.member].clone();
        let text = archive.content(&member, namespaces::MAX_LENGTH)?;
        if namespaces::is_declaration(&member.path, &text)? {
            found.insert(it.member);
        }
    }
    Ok(found)
}

/// The content of `direct_url.json` in an egg that was converted from a wheel.
#[must_use]
pub fn portable_direct_url(file_name: &str, digest: &str) -> Option<String> {
    Some(direct_url(&portable_url(file_name), digest.parse().ok()?, Pip::NEWEST))
}

fn portable_url(file_name: &str) -> String {
    url(&Path::new("/").join(file_name))
}

/// The content of `direct_url.json`.
fn direct_url(url: &str, digest: Sha256, pip: Pip) -> String {
    let archive = if pip.has_digests {
        format!("\"hash\": \"sha256={digest}\", \"hashes\": {{\"sha256\": \"{digest}\"}}")
    } else {
        String::new()
    };
    format!("{{\"archive_info\": {{{archive}}}, \"url\": \"{url}\"}}")
}

/// The `file:` URL of a path, as pip writes it.
fn url(path: &Path) -> String {
    let mut url = String::from("file://");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/_.-~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}
