//! The cache: whether it can be used, who can change it, its disk, leftovers and times.

use std::path::Path;

use crate::cache::trust::{self, Trust};
use crate::cache::{Cache, Missing};
use crate::disk::{filesystem, permissions};
use crate::error::{Error, Owner, Result, Unwritable};
use crate::util::clock::{day, now, shown_day};
use crate::util::progress::Progress;
use crate::util::units::{counted, shown_size};

use super::{Finding, Kind};

/// Less free space than this is a problem: a large egg takes some of it.
const LEAST_SPACE: u64 = 1 << 30;
/// A clock before this day is wrong: it is older than this program.
const BEGINNING: &str = "2026-11-01";

pub(super) fn examine(root: &Path, trust: &Trust, progress: &dyn Progress) -> Vec<Finding> {
    let mut findings = clock();
    let cache = match Cache::open_to_read_with(root, trust, progress) {
        Ok(cache) => cache,
        Err(error) => {
            findings.push(Finding::of_error(Kind::Cache, error));
            return findings;
        }
    };
    let shown = root.display();
    match cache.missing() {
        Some(Missing::Cache) => {
            findings.push(Finding::fine(Kind::Cache, format!("there is no cache at {shown} yet")));
            findings.extend(place(root, trust));
            return findings;
        }
        Some(Missing::Index) => {
            findings
                .push(Finding::problem(Kind::Index, format!("the index is missing in {shown}")));
        }
        None => {
            let damage = cache.damage();
            findings.extend(damage.map(|what| Finding::problem(Kind::Index, what)));
        }
    }
    findings.extend(cache.unwritable().map(|reason| closed(root, reason)));
    match content(&cache) {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::of_error(Kind::Cache, error)),
    }
    findings.extend(disk(root));
    findings
}

/// A cache that this user cannot write. Another user, or who has mounted it, may mean it so.
fn closed(root: &Path, reason: Unwritable) -> Finding {
    if matches!(&reason, Unwritable::Permissions(owner) if owner.is_own) {
        return Finding::of_error(Kind::Cache, Error::ReadOnly { path: root.to_owned(), reason });
    }
    let what = format!("{} gives eggs and takes none: {reason}", root.display());
    Finding::fine(Kind::Cache, what)
}

/// Where a cache will be made: in the first folder above it that exists.
fn place(root: &Path, trust: &Trust) -> Vec<Finding> {
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let Some(folder) = absolute.ancestors().skip(1).find(|folder| folder.is_dir()) else {
        return Vec::new();
    };
    let (shown, above) = (root.display(), folder.display());
    if let Err(error) = trust::check_place(root, trust) {
        return vec![Finding::of_error(Kind::Cache, error)];
    }
    let no_cache = |reason: String| {
        vec![Finding::problem(Kind::Place, format!("no cache can be made at {shown}: {reason}"))]
    };
    if filesystem::space(folder).is_ok_and(|space| space.free_bytes.is_none()) {
        return no_cache(format!("the file system of {above} keeps no files"));
    }
    if !permissions::is_writable(folder) {
        return no_cache(format!("you cannot write to {above} ({})", Owner::of_entry(folder)));
    }
    disk(folder)
}

fn clock() -> Vec<Finding> {
    clock_at(now())
}

fn clock_at(now: i64) -> Vec<Finding> {
    let is_behind = day(BEGINNING).is_some_and(|beginning| now < beginning);
    let what = format!("the clock says {}", shown_day(now));
    vec![if is_behind {
        Finding::problem(Kind::Clock, what)
    } else {
        Finding::fine(Kind::Clock, what)
    }]
}

fn content(cache: &Cache) -> Result<Vec<Finding>> {
    let root = cache.root().display();
    let mut findings = Vec::new();
    let eggs = cache.eggs()?.len();
    findings.push(Finding::fine(Kind::Cache, format!("{root} has {}", counted(eggs, "egg"))));
    let exposures = cache.exposures()?;
    for (path, exposure) in &exposures {
        let owner = Owner::of_entry(path);
        let what = format!("{} ({owner})", exposure.of(&owner));
        findings.push(Finding::problem(Kind::Access, what));
    }
    let readers = cache.readers().filter(|_| exposures.is_empty());
    findings.extend(readers.map(|owner| {
        Finding::problem(Kind::Access, format!("other users can read {root} ({owner})"))
    }));
    if let Some(strangers) = cache.strangers()? {
        let (first, entries) = (strangers.first, strangers.entries);
        let path = first.path.display();
        let what = format!(
            "{entries} of its files and folders cannot be written by all who use it: {path} ({first})"
        );
        findings.push(Finding::problem(Kind::Owner, what));
    }
    let future = cache.times_in_future()?;
    if future > 0 {
        let what = format!("{} in {root} with a time in the future", counted(future, "egg"));
        findings.push(Finding::problem(Kind::Times, what));
    }
    let abandoned = cache.blobs().abandoned()?;
    if abandoned > 0 {
        let files = counted(abandoned, "temporary file");
        let what = format!("{files} of processes that died");
        findings.push(Finding::problem(Kind::Leftovers, what));
    }
    Ok(findings)
}

fn disk(root: &Path) -> Vec<Finding> {
    let shown = root.display();
    let mut findings = Vec::new();
    if !filesystem::keeps_modes(root) {
        let what = format!("the file system of {shown} keeps no permissions: others may read it");
        findings.push(Finding::problem(Kind::Disk, what));
    }
    if filesystem::is_network(root) {
        let what = format!(
            "{shown} is on a network file system: it is only as safe as that file system's locks"
        );
        findings.push(Finding::fine(Kind::Disk, what));
    }
    let free = filesystem::space(root).ok().and_then(|space| space.free_bytes);
    if let Some(free) = free {
        let what = format!("{} free at {shown}", shown_size(free));
        findings.push(if free < LEAST_SPACE {
            Finding::problem(Kind::Space, what)
        } else {
            Finding::fine(Kind::Space, what)
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_this_program_is_wrong() {
        let is_problem = |today: &str| clock_at(day(today).unwrap())[0].is_problem;
        assert!(is_problem("2020-01-01"));
        assert!(!is_problem("2030-01-01"));
    }
}
