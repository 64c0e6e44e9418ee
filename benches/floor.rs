//! The floor of materializing: the time the file system alone needs to create the same files.
//!
//! ```text
//! floor plan EGGS_DIRECTORY >PLAN    print the names, sizes, modes and mtimes of all entries
//! floor make PLAN INTO               create the same entries, with bytes from memory
//! ```
//!
//! It creates the same directories and files, writes the same sizes, and sets the same modes and
//! mtimes, on all cores. It reads, decodes and checks nothing, so no copy of the eggs can be much
//! faster.
#![allow(clippy::print_stdout, reason = "the plan is the output")]

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, futimens, mkdirat, openat, symlinkat, utimensat,
};
use walkdir::WalkDir;

/// Written repeatedly as the content of files.
static CONTENT: [u8; 1 << 20] = [b'x'; 1 << 20];

/// One directory and its files and symlinks.
#[derive(Default)]
struct Directory {
    path: String,
    mode: u32,
    mtime: (i64, i64),
    files: Vec<(String, u32, (i64, i64), u64)>,
    symlinks: Vec<(String, (i64, i64), String)>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["plan", eggs] => plan(Path::new(eggs)),
        ["make", plan, into] => make(&std::fs::read_to_string(plan)?, Path::new(into)),
        _ => bail!("floor plan EGGS_DIRECTORY | floor make PLAN INTO"),
    }
}

fn plan(eggs: &Path) -> Result<()> {
    for entry in WalkDir::new(eggs).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        let path = entry.path().strip_prefix(eggs)?.to_str().context("a name is not UTF-8")?;
        let metadata = entry.metadata()?;
        let (kind, size, target) = if metadata.is_dir() {
            ('d', 0, String::new())
        } else if metadata.is_symlink() {
            let target = std::fs::read_link(entry.path())?;
            ('l', 0, target.to_str().context("a target is not UTF-8")?.to_owned())
        } else {
            ('f', metadata.len(), String::new())
        };
        let (mode, seconds, nanos) =
            (metadata.mode() & 0o777, metadata.mtime(), metadata.mtime_nsec());
        println!("{kind}\t{mode}\t{seconds}\t{nanos}\t{size}\t{path}\t{target}");
    }
    Ok(())
}

fn make(plan: &str, into: &Path) -> Result<()> {
    // By egg, because eggs are independent of each other.
    let mut eggs: Vec<Vec<Directory>> = Vec::new();
    let mut loose = Directory { mode: 0o755, ..Directory::default() };
    let mut places: HashMap<&str, usize> = HashMap::new();
    for line in plan.lines() {
        let [kind, mode, seconds, nanos, size, path, target] =
            line.split('\t').collect::<Vec<_>>()[..]
        else {
            bail!("not a line of a plan: {line}");
        };
        let (mode, mtime) = (mode.parse()?, (seconds.parse()?, nanos.parse()?));
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if kind == "d" {
            if parent.is_empty() {
                eggs.push(Vec::new());
                places.clear();
            }
            let egg = eggs.last_mut().context("a directory before its egg")?;
            places.insert(path, egg.len());
            egg.push(Directory { path: path.to_owned(), mode, mtime, ..Directory::default() });
            continue;
        }
        let directory = match (places.get(parent), eggs.last_mut()) {
            (Some(&place), Some(egg)) => &mut egg[place],
            _ => &mut loose,
        };
        match kind {
            "f" => directory.files.push((name.to_owned(), mode, mtime, size.parse()?)),
            _ => directory.symlinks.push((name.to_owned(), mtime, target.to_owned())),
        }
    }
    let bytes = |egg: &[Directory]| -> u64 {
        egg.iter().flat_map(|directory| &directory.files).map(|file| file.3 + 8192).sum()
    };
    eggs.sort_by_cached_key(|egg| Reverse(bytes(egg)));
    std::fs::create_dir_all(into)?;
    let top = File::open(into)?;
    fill(&loose, &top)?;
    eggs.par_iter().try_for_each(|egg| make_egg(egg, &top))
}

fn make_egg(egg: &[Directory], top: &File) -> Result<()> {
    for directory in egg {
        mkdirat(top, &directory.path, Mode::from_raw_mode(directory.mode | 0o700))?;
    }
    egg.par_iter().try_for_each(|directory| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fill(directory, &openat(top, &directory.path, flags, Mode::empty())?)
    })?;
    for directory in egg.iter().rev() {
        utimensat(top, &directory.path, &times(directory.mtime), AtFlags::empty())?;
    }
    Ok(())
}

fn fill(directory: &Directory, at: impl AsFd + Sync) -> Result<()> {
    directory.files.par_iter().with_min_len(32).try_for_each(|(name, mode, mtime, size)| {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file: OwnedFd = openat(&at, name, flags, Mode::from_raw_mode(*mode))?;
        let file = File::from(file);
        let blocks = usize::try_from(size.div_ceil(CONTENT.len() as u64))?;
        (0..blocks).into_par_iter().with_min_len(16).try_for_each(|block| {
            let offset = (block * CONTENT.len()) as u64;
            let length = usize::try_from((size - offset).min(CONTENT.len() as u64))?;
            file.write_all_at(&CONTENT[..length], offset).map_err(anyhow::Error::from)
        })?;
        Ok::<_, anyhow::Error>(futimens(&file, &times(*mtime))?)
    })?;
    for (name, mtime, target) in &directory.symlinks {
        symlinkat(target.as_str(), &at, name)?;
        utimensat(&at, name, &times(*mtime), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn times((seconds, nanos): (i64, i64)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    Timestamps { last_access: time, last_modification: time }
}
