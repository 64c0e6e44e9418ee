//! Importing what the scripts of a bundle import, where it works. This runs code of its packages.
//!
//! The bundle is unpacked into a temporary folder. If it works at one path only, it is imported there: in a
//! namespace of mounts, in which the unpacked folder is at that path and hides what else is there. `unshare`
//! and `mount` of the system make the namespace, since a process with threads cannot enter one.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rayon::prelude::*;
use serde::Serialize;
use tar::Archive;
use walkdir::{DirEntry, WalkDir};

use crate::error::{Error, IoContext, Result};
use crate::util::process::last_line;
use crate::util::progress::{Progress, Unit};
use crate::util::threads;

use super::verify::{Problem, Verified, ZSTD};

/// How long the imports of one script may take, in seconds.
const MAX_SECONDS: &str = "300";
/// The exit status of the importer for a script that runs when it is imported.
const RUNS: i32 = 3;
/// Longest script that is looked at, in bytes.
const MAX_SCRIPT: u64 = 1 << 20;
/// What every Python script has that buildout writes, and no other.
const SETUP: &str = "sys.path[0:0] = [";
/// The arguments of `unshare` for a user, and for root where users may not.
const NAMESPACES: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];
/// Runs a command where the first folder is at the path of the second.
const BIND: &str = r#"mount --bind -- "$1" "$2" && shift 2 && exec "$@""#;

/// Imports of the scripts of a bundle.
#[derive(Debug, Serialize)]
pub struct Imports {
    /// The scripts whose imports succeed.
    pub scripts: usize,
    /// Scripts that run when they are imported. They are not.
    pub not_imported: Vec<String>,
}

/// Imports the scripts of an archive that is verified, and notes in the report what fails.
///
/// # Errors
/// [`Error::NotShown`] if this machine has no such folder or allows no namespace.
pub fn import(verified: &mut Verified, progress: &dyn Progress) -> Result<()> {
    threads::start_pool()?;
    let temp = tempfile::Builder::new().prefix("eggcache-").tempdir();
    let temp = temp.at("make a temporary directory in", &std::env::temp_dir())?;
    unpack(&verified.archive, temp.path())?;
    let unpacked = temp.path().join(&verified.prefix);
    let place = Place::new(unpacked, verified.path.as_deref())?;
    let scripts = scripts(&place.unpacked);
    progress.begin("importing", scripts.len() as u64, Unit::Scripts);
    let import = |script: &Script| {
        let outcome = place.import(script);
        progress.advance(1);
        outcome
    };
    let outcomes: Vec<Outcome> = scripts.par_iter().map(import).collect();
    progress.end();
    let mut imports = Imports { scripts: 0, not_imported: Vec::new() };
    for (script, outcome) in scripts.into_iter().zip(outcomes) {
        match outcome {
            Outcome::Imported => imports.scripts += 1,
            Outcome::Runs => imports.not_imported.push(script.path),
            Outcome::Failed(why) => verified
                .problems
                .push(Problem { path: script.path, what: format!("cannot be imported: {why}") }),
        }
    }
    verified.imports = Some(imports);
    Ok(())
}

/// Unpacks an archive into an empty folder.
fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let mut file = BufReader::new(File::open(archive).at("open", archive)?);
    let is_compressed = file.fill_buf().at("read", archive)?.starts_with(&ZSTD);
    let unpacked = if is_compressed {
        zstd::Decoder::with_buffer(file).and_then(|stream| Archive::new(stream).unpack(into))
    } else {
        Archive::new(file).unpack(into)
    };
    unpacked.at("unpack a bundle into", into)
}

/// A script of a bundle.
struct Script {
    /// Its path in the buildout.
    path: String,
    /// The program that runs it, and an argument of that.
    interpreter: (String, Option<String>),
}

enum Outcome {
    Imported,
    Runs,
    Failed(String),
}

/// The scripts below a folder that buildout has written for Python, except those in eggs.
fn scripts(folder: &Path) -> Vec<Script> {
    let is_egg = |entry: &DirEntry| entry.file_name().to_string_lossy().ends_with(".egg");
    let entries = WalkDir::new(folder).sort_by_file_name().into_iter();
    let entries = entries.filter_entry(|entry| !is_egg(entry)).flatten();
    entries.filter_map(|entry| script(folder, &entry)).collect()
}

fn script(folder: &Path, entry: &DirEntry) -> Option<Script> {
    let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
    if metadata.permissions().mode() & 0o111 == 0 {
        return None;
    }
    let mut text = Vec::new();
    File::open(entry.path()).ok()?.take(MAX_SCRIPT).read_to_end(&mut text).ok()?;
    let text = std::str::from_utf8(&text).ok()?;
    let (program, argument) = shebang(text)?;
    let is_python = ["python", "pypy", "/env"].iter().any(|name| program.contains(name));
    if !is_python || !text.contains(SETUP) {
        return None;
    }
    let path = entry.path().strip_prefix(folder).ok()?.to_str()?.to_owned();
    Some(Script { path, interpreter: (program.to_owned(), argument.map(str::to_owned)) })
}

/// The interpreter of a script and its argument, as the kernel reads them.
fn shebang(text: &str) -> Option<(&str, Option<&str>)> {
    let line = text.lines().next()?.strip_prefix("#!")?.trim();
    match line.split_once([' ', '\t']) {
        Some((program, argument)) => Some((program, Some(argument.trim()))),
        None => Some((line, None)).filter(|_| !line.is_empty()),
    }
}

/// Where an unpacked bundle is seen.
struct Place {
    unpacked: PathBuf,
    /// The path at which it is seen, and the arguments of `unshare` for that; absent where it is unpacked.
    bound: Option<(PathBuf, &'static [&'static str])>,
}

impl Place {
    /// The place of a bundle that works only at this path.
    fn new(unpacked: PathBuf, path: Option<&str>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { unpacked, bound: None }) };
        if !Path::new(path).is_absolute() {
            return Err(Error::NotShown { path: path.into(), why: "not an absolute path".into() });
        }
        if !Path::new(path).is_dir() {
            return Err(Error::NotShown {
                path: path.into(),
                why: "there is no such folder".into(),
            });
        }
        let mut why = None;
        for namespace in NAMESPACES {
            let place = Self { unpacked: unpacked.clone(), bound: Some((path.into(), namespace)) };
            let failure = match place.command("true").output() {
                Ok(output) if output.status.success() => return Ok(place),
                Ok(output) => last_line(&output.stderr),
                Err(error) => format!("unshare: {error}"),
            };
            why.get_or_insert(failure);
        }
        Err(Error::NotShown { path: path.into(), why: why.unwrap_or_default() })
    }

    /// A program that sees the bundle here.
    fn command(&self, program: &str) -> Command {
        let mut command = match &self.bound {
            None => Command::new(program),
            Some((path, namespace)) => {
                let mut command = Command::new("unshare");
                command.args(*namespace).args(["sh", "-c", BIND, "sh"]);
                command.arg(&self.unpacked).arg(path).arg(program);
                command
            }
        };
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    fn import(&self, script: &Script) -> Outcome {
        let root = self.bound.as_ref().map_or(&self.unpacked, |(path, _)| path);
        let (program, argument) = &script.interpreter;
        let mut command = self.command(program);
        command.args(argument).args(["-c", include_str!("import_script.py")]);
        command.arg(root.join(&script.path)).arg(MAX_SECONDS);
        command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        command.env("PYTHONDONTWRITEBYTECODE", "1").stdout(Stdio::null());
        match command.output() {
            Ok(output) => outcome(&output),
            Err(error) => Outcome::Failed(format!("{program}: {error}")),
        }
    }
}

fn outcome(output: &Output) -> Outcome {
    match (output.status.code(), output.status.signal()) {
        (Some(0), _) => Outcome::Imported,
        (Some(RUNS), _) => Outcome::Runs,
        (None, Some(signal)) => Outcome::Failed(format!("it was ended by signal {signal}")),
        _ => Outcome::Failed(last_line(&output.stderr)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shebang_is_read_as_the_kernel_reads_it() {
        for (text, expected) in [
            ("#!/usr/bin/python3\n", Some(("/usr/bin/python3", None))),
            ("#! /usr/bin/env  python3 -I \nx", Some(("/usr/bin/env", Some("python3 -I")))),
            ("#!\n", None),
            ("import os\n", None),
            ("", None),
        ] {
            assert_eq!(shebang(text), expected, "{text}");
        }
    }
}
