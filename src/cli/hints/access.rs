//! Files and folders that cannot be read or written, or that others can change.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::Hints;
use crate::cache::trust::VARIABLE as TRUST_VARIABLE;
use crate::error::{Exposure, Owner, Unwritable};
use crate::util::printable::quoted;

const SHARED: u32 = 0o2020;

impl Hints {
    /// What to do about entries of a cache that not all can write who should.
    pub fn of_strangers(&self, cache: &Path) -> Vec<String> {
        let owner = Owner::of(cache);
        if owner.mode & SHARED == SHARED {
            let share = self.command("init --shared --trust-cache");
            return vec![format!("root can run {share}")];
        }
        let (user, group) = (owner.user, owner.group);
        vec![format!("root can run `chown -R {user}:{group} {}`", quoted(cache))]
    }

    /// How a cache can be used that somebody else can change.
    pub(super) fn to_trust(&self, cache: &Path, exposure: Exposure, owner: &Owner) -> Vec<String> {
        let may_read = rustix::fs::access(&owner.path, rustix::fs::Access::READ_OK).is_ok();
        if exposure == Exposure::AnotherUser && !may_read {
            return vec![self.to_read(owner)];
        }
        let path = quoted(&owner.path);
        let close = match exposure {
            Exposure::Everybody => Some(format!("`chmod o-w {path}` closes it")),
            Exposure::Group => Some(format!("`chmod g-w {path}` closes it")),
            Exposure::AnotherUser if rustix::process::geteuid().is_root() => {
                Some(format!("run it as {}", user(owner.user)))
            }
            Exposure::List => Some(format!("`setfacl -b {path}` removes the list")),
            Exposure::AnotherUser | Exposure::Link | Exposure::Checkout => None,
        };
        let way = self.way_to_trust(cache);
        let trust = format!("if you trust all who can change it, {way} uses it as it is");
        close.into_iter().chain([trust]).collect()
    }

    /// How to say that a cache is trusted.
    pub(super) fn way_to_trust(&self, cache: &Path) -> String {
        let variable = format!("{TRUST_VARIABLE}={}", quoted(cache));
        if self.are_for_buildout { variable } else { format!("--trust-cache or {variable}") }
    }

    pub(super) fn of_io(&self, path: &Path, kind: ErrorKind) -> Vec<String> {
        if is_full(kind) {
            return vec![format!(
                "free some space there; {} shrinks a cache",
                self.command("gc --max-size SIZE")
            )];
        }
        match kind {
            ErrorKind::PermissionDenied => {
                let owner = Owner::of(path);
                let at = owner.path.display();
                vec![format!("check who owns it and how it is mounted: {at} is {owner}")]
            }
            ErrorKind::ReadOnlyFilesystem => vec!["check how it is mounted".into()],
            ErrorKind::NotADirectory => {
                let file = path.ancestors().find(|above| above.exists() && !above.is_dir());
                file.map(|file| format!("{} is not a directory", file.display()))
                    .into_iter()
                    .collect()
            }
            ErrorKind::Unsupported => vec!["choose a directory on another file system".into()],
            ErrorKind::InvalidInput if path.is_symlink() => {
                let at = path.display();
                vec![format!(
                    "no link below a cache is followed: replace {at} with what it links to"
                )]
            }
            _ => Vec::new(),
        }
    }

    /// How a file of the cache can be read that denies it.
    pub(super) fn to_read(&self, owner: &Owner) -> String {
        let path = quoted(&owner.path);
        if owner.is_own {
            let bits = if owner.path.is_dir() { "u+rx" } else { "u+r" };
            return format!("`chmod {bits} {path}` makes it readable");
        }
        let user = user(owner.user);
        if owner.mode & 0o040 != 0 {
            return format!("{user} owns it, and the group {} may read it", group(owner.group));
        }
        let share = self.command("init --shared");
        format!("{user} owns it: {share}, run by {user}, lets a group share the cache")
    }

    /// How a cache can be written that is read-only.
    pub(super) fn to_write(&self, reason: &Unwritable) -> String {
        match reason {
            Unwritable::Permissions(owner) if owner.is_own => {
                format!("`chmod u+w {}` makes it writable", quoted(&owner.path))
            }
            Unwritable::Permissions(owner)
                if owner.mode & SHARED == SHARED || owner.mode & 0o020 != 0 =>
            {
                format!("the group {} may write it: join that group", group(owner.group))
            }
            Unwritable::Permissions(owner) => {
                let (user, share) = (user(owner.user), self.command("init --shared"));
                format!("{user} owns it: {share}, run by {user}, lets a group share the cache")
            }
            Unwritable::Mount => "mount it so that it can be written, or use another cache".into(),
            Unwritable::NoSpace | Unwritable::Disk => {
                format!("free some space there; {} shrinks it", self.command("gc --max-size SIZE"))
            }
            Unwritable::Unfinished | Unwritable::OlderSchema | Unwritable::OpenToRead => {
                format!("{}, run by a user who may write it, finishes that", self.command("init"))
            }
        }
    }
}

pub(super) fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn user(id: u32) -> String {
    name_in("/etc/passwd", id).unwrap_or_else(|| format!("user {id}"))
}

fn group(id: u32) -> String {
    name_in("/etc/group", id).unwrap_or_else(|| id.to_string())
}

/// The name of a user or group, if the file has it: a directory service may have others.
fn name_in(file: &str, id: u32) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let is_id = |line: &&str| line.split(':').nth(2) == Some(&id.to_string());
    text.lines().find(is_id)?.split(':').next().map(str::to_owned)
}
