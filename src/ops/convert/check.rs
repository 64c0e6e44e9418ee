//! Parity: each egg is made twice, by buildout with pip and by [`super::Converter`], and compared file
//! by file. Headers of compiled files and the paths in their code are not compared: these differ between
//! two stock builds too.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;
use walkdir::WalkDir;

use super::compilers::hex;
use super::egg::Outcome;
use super::{Converter, Options, Origin, Target};
use crate::disk::dir::Dir;
use crate::disk::temp::{self, Temp};
use crate::error::{Error, IoContext, Result};
use crate::util::process::last_line;
use crate::util::progress::{Progress, Unit};

#[derive(Debug, Serialize)]
pub struct Report {
    pub wheels: Vec<Compared>,
}

/// One wheel, made both ways.
#[derive(Debug, Serialize)]
pub struct Compared {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub wheel: PathBuf,
    #[serde(flatten)]
    pub verdict: Verdict,
}

#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    Same {
        files: usize,
        compiled: usize,
    },
    /// Paths in the egg, each with what differs.
    Differs {
        files: Vec<Difference>,
    },
    /// It is not converted.
    Left {
        reason: String,
    },
    /// One of the two eggs could not be made, or pip refuses what was converted.
    Failed {
        #[serde(serialize_with = "crate::error::as_text")]
        reason: Error,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub path: String,
    pub what: &'static str,
}

impl Report {
    /// Whether no egg differs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let is_bad =
            |it: &Compared| matches!(it.verdict, Verdict::Differs { .. } | Verdict::Failed { .. });
        !self.wheels.iter().any(is_bad)
    }
}

/// Makes the egg of each wheel both ways and compares the two. The Python must have zc.buildout.
///
/// # Errors
/// [`Error::BadPython`] if it has none.
pub fn check(
    wheels: &[PathBuf],
    target: Target,
    options: Options,
    progress: &dyn Progress,
) -> Result<Report> {
    if target.buildout.is_none() {
        let reason = "it has no zc.buildout to compare with".to_owned();
        return Err(Error::BadPython { path: target.executable, reason });
    }
    let python = target.executable.clone();
    let converter = Converter::start(target, options)?;
    let folder = std::env::temp_dir();
    temp::sweep(&Dir::open(&folder).at("open", &folder)?)?;
    progress.begin("comparing", wheels.len() as u64, Unit::Eggs);
    let compare = |wheel: &PathBuf| {
        let verdict = compare(&converter, &python, wheel, &folder);
        progress.advance(1);
        let verdict = verdict.unwrap_or_else(|reason| Verdict::Failed { reason });
        Compared { wheel: wheel.clone(), verdict }
    };
    let wheels = wheels.iter().map(compare).collect();
    progress.end();
    Ok(Report { wheels })
}

/// Makes both eggs in a temporary directory below `folder`, and compares them.
fn compare(converter: &Converter, python: &Path, wheel: &Path, folder: &Path) -> Result<Verdict> {
    let wheel = std::path::absolute(wheel).at("read", wheel)?;
    let temp = Temp::dir_at(folder)?;
    let (ours, stock) = (temp.path().join("ours"), temp.path().join("stock"));
    for folder in [&ours, &stock] {
        fs::create_dir(folder).at("make", folder)?;
    }
    let ours = match converter.convert(&wheel, &ours, Origin::Exact)?.outcome {
        Outcome::Left { reason } => return Ok(Verdict::Left { reason: reason.to_string() }),
        Outcome::Converted { egg, .. } | Outcome::Present { egg } => ours.join(egg),
    };
    compare_eggs(python, &ours, &stock_egg(python, &wheel, &stock)?)
}

/// Compares two eggs. Returns [`Verdict::Same`] or [`Verdict::Differs`].
pub fn compare_eggs(python: &Path, ours: &Path, stock: &Path) -> Result<Verdict> {
    let (found, expected) = (list(ours)?, list(stock)?);
    let mut differences = Vec::new();
    if ours.file_name() != stock.file_name() {
        differences.push(Difference { path: String::new(), what: "name" });
    }
    let mut compiled = Vec::new();
    for path in found.keys().chain(expected.keys().filter(|path| !found.contains_key(*path))) {
        let what = match (found.get(path), expected.get(path)) {
            (Some(_), None) => Some("added"),
            (None, _) => Some("missing"),
            (Some(one), Some(other)) if (one.is_file, one.mode) != (other.is_file, other.mode) => {
                Some("kind or mode")
            }
            (Some(one), Some(other)) if one.size != other.size => Some("content"),
            (Some(one), _) if !one.is_file => None,
            _ if path.ends_with(".pyc") => {
                compiled.push(path);
                None
            }
            _ => (!is_same(&ours.join(path), &stock.join(path))?).then_some("content"),
        };
        differences.extend(what.map(|what| Difference { path: path.clone(), what }));
    }
    for (path, is_same) in compiled.iter().zip(same_code(python, ours, stock, &compiled)?) {
        if !is_same {
            differences.push(Difference { path: (*path).clone(), what: "bytecode" });
        }
    }
    Ok(if differences.is_empty() {
        Verdict::Same {
            files: found.values().filter(|it| it.is_file).count(),
            compiled: compiled.len(),
        }
    } else {
        Verdict::Differs { files: differences }
    })
}

/// Makes the egg with the zc.buildout and the pip of a Python, in an empty folder.
fn stock_egg(python: &Path, wheel: &Path, folder: &Path) -> Result<PathBuf> {
    let output = Command::new(python)
        .args(["-c", include_str!("stock_egg.py")])
        .args([wheel, folder])
        .envs([
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_NO_INDEX", "1"),
            ("PIP_CONFIG_FILE", "/dev/null"),
        ])
        .current_dir(folder.parent().unwrap_or(folder))
        .stdin(Stdio::null())
        .output()
        .at("start", python)?;
    let bad = |reason: String| Error::BadPython { path: python.to_owned(), reason };
    if !output.status.success() {
        return Err(bad(format!("pip refuses the wheel: {}", last_line(&output.stderr))));
    }
    let egg = PathBuf::from(last_line(&output.stdout));
    if egg.starts_with(folder) && egg.is_dir() {
        Ok(egg)
    } else {
        Err(bad("it makes no egg".into()))
    }
}

/// What is compared of an entry without reading it.
#[derive(Debug)]
struct Seen {
    is_file: bool,
    size: Option<u64>,
    mode: u32,
}

/// The entries of an egg by path.
fn list(egg: &Path) -> Result<BTreeMap<String, Seen>> {
    let mut entries = BTreeMap::new();
    for entry in WalkDir::new(egg).min_depth(1) {
        let entry = entry.map_err(std::io::Error::from).at("read", egg)?;
        let found = entry.metadata().map_err(std::io::Error::from).at("read", entry.path())?;
        let path = entry.path().strip_prefix(egg).unwrap_or(entry.path());
        let path = path.to_string_lossy().into_owned();
        let is_compared = found.is_file() && !path.ends_with(".pyc");
        let seen = Seen {
            is_file: found.is_file(),
            size: is_compared.then_some(found.size()),
            mode: found.permissions().mode(),
        };
        entries.insert(path, seen);
    }
    Ok(entries)
}

fn is_same(one: &Path, other: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).map(BufReader::new).at("read", path);
    let (mut one_file, mut other_file) = (open(one)?, open(other)?);
    let (mut left, mut right) = ([0; 8 << 10], [0; 8 << 10]);
    loop {
        let read = one_file.read(&mut left).at("read", one)?;
        if read == 0 {
            return Ok(other_file.read(&mut right).at("read", other)? == 0);
        }
        if other_file.read_exact(&mut right[..read]).is_err() || left[..read] != right[..read] {
            return Ok(false);
        }
    }
}

/// Whether compiled files have the same code.
fn same_code(python: &Path, one: &Path, other: &Path, paths: &[&String]) -> Result<Vec<bool>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let path_of = |egg: &Path, path: &str| hex(egg.join(path).as_os_str().as_encoded_bytes());
    let lines: Vec<String> = paths
        .iter()
        .map(|path| format!("{} {}\n", path_of(one, path), path_of(other, path)))
        .collect();
    let mut input = tempfile::tempfile().at("start", python)?;
    input.write_all(lines.concat().as_bytes()).at("start", python)?;
    std::io::Seek::rewind(&mut input).at("start", python)?;
    let output = Command::new(python)
        .args(["-I", "-S", "-c", include_str!("compare_bytecode.py")])
        .stdin(input)
        .output()
        .at("start", python)?;
    let answers = String::from_utf8_lossy(&output.stdout);
    let mut answers = answers.lines().map(|line| line == "same");
    Ok(paths.iter().map(|_| answers.next().unwrap_or_default()).collect())
}
