//! What to do about an error: for each error of the library, the lines that follow it.
//!
//! The library says what failed and why. Only the command line knows commands, options and variables.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::trust::VARIABLE as TRUST_VARIABLE;
use crate::disk::nofollow;
use crate::error::{Error, Exposure, KeyProblem, NotPublic, Owner, Unwritable};
use crate::remote::keys::{KEY_VARIABLE, PASSWORD_VARIABLE, READ_SIGNING_KEY};
use crate::util::printable::quoted;
use crate::util::suggest::Nearest;

const SHARED: u32 = 0o2020;
const UPGRADE: &str = "upgrade eggcache";
/// What to do if there is no cache.
pub const NO_CACHE: &str = "--cache or EGGCACHE_DIR names another one; `eggcache init`, or the first egg \
    that is stored, makes one";

/// An error of the command line itself.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("there is no home directory, and no cache is named")]
    NoHome,
    /// The configuration of a checkout may not choose where a directory is made.
    #[error("there is no cache at {}, which {} names", path.display(), file.display())]
    NotMade { path: PathBuf, file: PathBuf },
    #[error("cannot write standard output: {0}")]
    Stdout(std::io::Error),
}

/// Hints for one cache.
#[derive(Debug, Default)]
pub struct Hints {
    /// The cache, where a command finds it only if it is named.
    pub cache: Option<PathBuf>,
    /// The options with which the command takes eggs.
    pub selects: Selects,
    /// Whether they are for somebody who runs buildout, which has none of these options.
    pub are_for_buildout: bool,
}

/// How a command takes the eggs that it works on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Selects {
    #[default]
    Names,
    /// `--requirements`, too.
    Requirements,
    /// `--requirements` and `--all`, too.
    RequirementsOrAll,
}

/// What an error lists.
pub fn details_of(error: &anyhow::Error) -> Vec<String> {
    match error.downcast_ref::<Error>() {
        Some(Error::Ambiguous { candidates, .. }) => candidates.clone(),
        _ => Vec::new(),
    }
}

impl Hints {
    /// What to do about an error, one line each.
    pub fn of(&self, error: &anyhow::Error) -> Vec<String> {
        if let Some(error) = error.downcast_ref::<Error>() {
            return self.of_library(error);
        }
        match error.downcast_ref::<CliError>() {
            Some(CliError::NoHome) => vec!["name a cache with --cache DIR or EGGCACHE_DIR".into()],
            Some(CliError::NotMade { path, .. }) => {
                let make = Self { cache: Some(path.clone()), ..Self::default() }.command("init");
                vec![format!("{make} makes it")]
            }
            Some(CliError::Stdout(source)) if is_full(source.kind()) => {
                vec!["free some space where standard output goes".into()]
            }
            _ => Vec::new(),
        }
    }

    /// As [`Hints::of`].
    pub fn of_library(&self, error: &Error) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match error {
            Error::Io { action: READ_SIGNING_KEY, .. } => {
                vec![format!("{KEY_VARIABLE} names it; `eggcache keygen FILE` makes one")]
            }
            Error::Io { path, source, .. } => self.of_io(path, source.kind()),
            Error::NoSpace { path, .. } => vec![format!("free some space in {}", path.display())],
            Error::UnreadableBlob { owner, .. } | Error::UnreadableIndex { owner, .. } => {
                vec![self.to_read(owner)]
            }
            Error::ReadOnly { reason: Unwritable::OpenToRead, .. } => Vec::new(),
            Error::ReadOnly { reason, .. } => vec![self.to_write(reason)],
            Error::DamagedBlob { .. }
            | Error::DamagedRecord { .. }
            | Error::WrongRow { .. }
            | Error::MissingBlob { .. } => vec![self.repair()],
            Error::DamagedIndex { .. } | Error::NotAnIndex { .. } => vec![self.rebuild()],
            Error::DamagedArrivals { .. } => {
                one("after you remove these lines, their eggs count as built here; `push \
                 --include-pulled` pushes all eggs that you name")
            }
            Error::LockedIndex { path } => {
                vec![format!("`fuser {}` shows the processes that use it", quoted(path))]
            }
            Error::ReplacedIndex { .. } | Error::Busy { .. } => one("run this again"),
            Error::Changing { .. } => one("run this again when nothing else writes there"),
            Error::NewerFormat { .. } | Error::NewerSchema { .. } => one(UPGRADE),
            Error::NotACache { .. } => one(
                "name another directory with --cache or EGGCACHE_DIR; a cache is made only in a new or \
                 empty one",
            ),
            Error::NoCache { .. } => one(NO_CACHE),
            Error::BrokenLink { target, .. } => {
                vec![format!("create {}, or remove the link", target.display())]
            }
            Error::Untrusted { cache, exposure, owner } => self.to_trust(cache, *exposure, owner),
            Error::ForeignFile { .. } => {
                one("--trust-cache takes over its remotes; `eggcache remote list` shows them")
            }
            Error::ForeignRemotes { exposure: Exposure::Checkout, .. } => {
                vec![format!(
                    "{TRUST_VARIABLE}=DIR uses the remotes of the cache DIR like your own"
                )]
            }
            Error::ForeignRemotes { .. } => {
                let cache = self.cache.as_deref().unwrap_or(Path::new("DIR"));
                vec![format!("{} uses it like one of this user", self.way_to_trust(cache))]
            }
            Error::LockedFolder { owner } => {
                vec![self.to_write(&Unwritable::Permissions(owner.clone()))]
            }
            Error::Miss { query, nearest } => {
                let mut hints = [self.selects.hints(query), suggestions(nearest)].concat();
                if query.contains(['*', '?']) && !query.contains(',') {
                    let list = self.command(&format!("list '{query}'"));
                    hints.push(format!("{list} lists the eggs that a pattern matches"));
                }
                hints
            }
            Error::Ambiguous { has_all_builds, .. } => {
                let all = if *has_all_builds { ", or take all with --all-builds" } else { "" };
                vec![format!(
                    "name one by its digest, or choose with --python, --platform, --generation or \
                     --environment{all}"
                )]
            }
            Error::SameFileName { .. } => one("materialize them into different directories"),
            Error::InTheWay { .. } => one("move it away, then run this again"),
            Error::Unbundleable { .. } => one("--exclude PATTERN leaves it out"),
            Error::NotBundled { path, .. } => {
                vec![format!("`eggcache check --full {}` lists them", quoted(path))]
            }
            Error::NotDescribed { path } => vec![format!(
                "run buildout to its end; `eggcache check {}` says what is missing",
                quoted(path)
            )],
            Error::NotShown { path, .. } => vec![format!(
                "--import needs a folder {}, which may be empty, and `unshare` and `mount` of Linux",
                quoted(path)
            )],
            Error::NoPrefix { .. } => one("name the folder with --prefix"),
            Error::NotARoot { nearest, .. } => {
                let mut hints = self.listed(nearest.as_deref(), "roots", "buildouts");
                hints.push("a buildout is one of them after a run that has succeeded".into());
                hints
            }
            Error::Hashes { .. } => {
                one("name a file that `eggcache lock` has written, or a new one")
            }
            Error::NotAPin { nearest, .. } => self.listed(nearest.as_deref(), "pins", "pins"),
            Error::NoRemote { nearest, .. } => {
                self.listed(nearest.as_deref(), "remote list", "remotes")
            }
            Error::NotTrusted { .. } => self.listed(None, "remote list", "trusted keys"),
            Error::Thread(_) => one("allow this user more processes (`ulimit -u`)"),
            error => self.of_remote(error),
        }
    }

    /// What to do about damage in the cache.
    pub fn repair(&self) -> String {
        format!("{} repairs the cache", self.command("verify --repair"))
    }

    /// What to do about a blob that `verify` could not read.
    pub fn of_unreadable(&self, blob: &Path) -> Vec<String> {
        let denied = nofollow::open(blob)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
        // Nothing but its format keeps it from being read otherwise.
        vec![if denied { self.to_read(&Owner::of(blob)) } else { UPGRADE.to_owned() }]
    }

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

    /// What to do about damage to the index.
    pub fn rebuild(&self) -> String {
        let reindex = self.command("reindex");
        format!("{reindex} sets the index aside and rebuilds it from the blobs")
    }

    /// What to do about a missing index.
    pub fn make_index(&self) -> String {
        format!("{} makes it from the blobs", self.command("reindex"))
    }

    /// What to do about remotes and keys.
    fn of_remote(&self, error: &Error) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match error {
            Error::NoRemotes => {
                vec![format!("{} adds one", self.command("remote add NAME URL --key KEY"))]
            }
            Error::NoTrustedKey { .. } => {
                vec![format!("{} trusts a key", self.command("trust NAME FILE.pub"))]
            }
            Error::UntrustedRemote { name } => vec![self.to_trust_remote(name)],
            Error::NoValidKey { name } => vec![format!(
                "{} trusts the key of your builders; without it, all eggs would be removed",
                self.command(&format!("trust {name} FILE.pub"))
            )],
            Error::NoPushRemote { .. } => one("name one with --to, or add one with --push"),
            Error::RemoteExists { name } => {
                vec![self.to_trust_remote(name), self.to_change_remote(name)]
            }
            Error::KeyIdTaken { .. } => {
                one("ask its owner for another key: `eggcache keygen` makes one with a random id")
            }
            Error::WebServer { .. } => one("use the store behind the web server"),
            Error::UntrustedSigner { name, key, .. } => vec![
                format!("set {KEY_VARIABLE} to a key that the readers of the remote trust"),
                format!(
                    "or {} trusts this one here, and each reader has to trust it, too",
                    self.command(&format!("trust {name} {key}"))
                ),
            ],
            Error::Withdrawn { .. } => {
                vec![format!("{} removes it; another build can be used", self.command("gc"))]
            }
            Error::WithdrawnAgain { .. } => {
                one("repair what builds it, or use another version or another archive")
            }
            Error::WithdrawnInUse { .. } => {
                let check = self.command("check");
                vec![format!(
                    "delete it from the eggs directory and run buildout again; {check} names all withdrawn eggs"
                )]
            }
            Error::Withdrawals { name, .. } => {
                vec![format!("{} shows it", self.command(&format!("remote withdrawals {name}")))]
            }
            Error::OtherProject { name, key, .. } => vec![format!(
                "{} changes for which projects it is trusted",
                self.command(&format!("trust {name} {key} --projects PATTERN"))
            )],
            Error::ExpiredSigner { .. } => vec![format!("set {KEY_VARIABLE} to another key")],
            Error::NoSigningKey => vec![to_have_key()],
            Error::NothingPushed { name } => {
                vec![to_have_key(), format!("or, to push nothing, {}", self.to_change_remote(name))]
            }
            Error::SigningKey { path, problem } => to_sign(path, *problem),
            Error::NoRemoteFolder { name, .. } => vec![format!(
                "create or mount it, or {} and add the right one; a push makes it",
                self.command(&format!("remote remove {name}"))
            )],
            Error::KeyExists { .. } => one("name another file"),
            Error::NotAPublicKey { problem: NotPublic::Secret, .. } => {
                one("name the public key, which is in the file that ends with .pub")
            }
            Error::NotAPublicKey { .. } => one(
                "a public key is the last line of the .pub file that `eggcache keygen` writes: 56 \
                 characters that begin with RW",
            ),
            Error::NoVersion { egg } => {
                vec![format!("name the version and the Python, as in {egg}==1.0 --python 3.11")]
            }
            Error::NoPython { .. } => one("name the Python, as in --python 3.11"),
            _ => Vec::new(),
        }
    }

    /// How the eggs of a remote can be used.
    pub fn to_trust_remote(&self, name: &str) -> String {
        let trust = self.command(&format!("trust {name} FILE.pub"));
        format!("{trust} trusts the key of its builders")
    }

    /// How the settings of a remote can be changed.
    fn to_change_remote(&self, name: &str) -> String {
        let remove = self.command(&format!("remote remove {name}"));
        format!("{remove} removes it with its trusted keys; then add it again")
    }

    /// How a cache can be used that somebody else can change.
    fn to_trust(&self, cache: &Path, exposure: Exposure, owner: &Owner) -> Vec<String> {
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
    fn way_to_trust(&self, cache: &Path) -> String {
        let variable = format!("{TRUST_VARIABLE}={}", quoted(cache));
        if self.are_for_buildout { variable } else { format!("--trust-cache or {variable}") }
    }

    fn of_io(&self, path: &Path, kind: std::io::ErrorKind) -> Vec<String> {
        use std::io::ErrorKind::{
            InvalidInput, NotADirectory, PermissionDenied, ReadOnlyFilesystem, Unsupported,
        };
        if is_full(kind) {
            return vec![format!(
                "free some space there; {} shrinks a cache",
                self.command("gc --max-size SIZE")
            )];
        }
        match kind {
            PermissionDenied => {
                let owner = Owner::of(path);
                let at = owner.path.display();
                vec![format!("check who owns it and how it is mounted: {at} is {owner}")]
            }
            ReadOnlyFilesystem => vec!["check how it is mounted".into()],
            NotADirectory => {
                let file = path.ancestors().find(|above| above.exists() && !above.is_dir());
                file.map(|file| format!("{} is not a directory", file.display()))
                    .into_iter()
                    .collect()
            }
            Unsupported => vec!["choose a directory on another file system".into()],
            InvalidInput if path.is_symlink() => {
                let at = path.display();
                vec![format!(
                    "no link below a cache is followed: replace {at} with what it links to"
                )]
            }
            _ => Vec::new(),
        }
    }

    /// How a file of the cache can be read that denies it.
    fn to_read(&self, owner: &Owner) -> String {
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
    fn to_write(&self, reason: &Unwritable) -> String {
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

    /// The nearest name, and the command that lists all.
    fn listed(&self, nearest: Option<&str>, command: &str, what: &str) -> Vec<String> {
        let nearest = nearest.map(|nearest| format!("the nearest is {nearest}"));
        let all = format!("{} lists the {what}", self.command(command));
        nearest.into_iter().chain([all]).collect()
    }

    /// A command as a user types it.
    pub fn command(&self, words: &str) -> String {
        match &self.cache {
            Some(cache) => format!("`eggcache {words} --cache {}`", quoted(cache)),
            None => format!("`eggcache {words}`"),
        }
    }
}

impl Selects {
    /// Other ways to name eggs, if that is what was meant by the missing names.
    fn hints(self, query: &str) -> Vec<String> {
        if self == Self::Names {
            return Vec::new();
        }
        let names = || query.split(", ");
        let files = names().filter(|name| Path::new(name).is_file() && !name.ends_with(".egg"));
        let hint = |file: &str| {
            let file = quoted(Path::new(file));
            format!("--requirements {file} names the eggs that this file pins")
        };
        let mut hints: Vec<String> = files.map(hint).collect();
        if self == Self::RequirementsOrAll && names().any(|name| matches!(name, "*" | "all" | "."))
        {
            hints.push("--all names every egg in the cache".into());
        }
        hints
    }
}

/// What may have been meant, a line for each part of a query that has such.
fn suggestions(nearest: &[(String, Nearest)]) -> Vec<String> {
    match nearest {
        [(_, nearest)] => vec![nearest.to_string()],
        several => several.iter().map(|(of, nearest)| format!("{of}: {nearest}")).collect(),
    }
}

/// How to have a signing key.
fn to_have_key() -> String {
    format!("set {KEY_VARIABLE} to the file of a secret key; `eggcache keygen FILE` makes one")
}

/// How a key can be used that cannot sign.
fn to_sign(path: &Path, problem: KeyProblem) -> Vec<String> {
    let hint = match problem {
        KeyProblem::NotAKey => return Vec::new(),
        KeyProblem::Public => format!("set {KEY_VARIABLE} to the secret key, without .pub"),
        KeyProblem::Exposed(_) => format!("`chmod 600 {}` hides it", quoted(path)),
        KeyProblem::NoPassword => format!("set {PASSWORD_VARIABLE}"),
        KeyProblem::WrongPassword => format!("check {PASSWORD_VARIABLE}"),
        KeyProblem::NeedsNoPassword => format!("unset {PASSWORD_VARIABLE}"),
    };
    vec![hint]
}

fn is_full(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn hints(error: &Error) -> Vec<String> {
        Hints::default().of_library(error)
    }

    fn owner(path: &Path, mode: u32, is_own: bool) -> Owner {
        Owner { path: path.to_owned(), user: 0, group: 0, mode, is_own }
    }

    fn io(path: &str, kind: io::ErrorKind) -> Error {
        Error::Io { action: "write", path: path.into(), source: kind.into() }
    }

    #[test]
    fn a_command_names_the_cache_only_where_it_must() {
        let damaged = Error::DamagedBlob { path: "/c/blob".into(), reason: "cut".into() };
        assert_eq!(hints(&damaged), ["`eggcache verify --repair` repairs the cache"]);
        for (cache, shown) in [("/srv/eggs", "/srv/eggs"), ("/a b/it's", r"'/a b/it'\''s'")] {
            let hint = Hints { cache: Some(cache.into()), ..Hints::default() }.of_library(&damaged);
            let command = format!("`eggcache verify --repair --cache {shown}` repairs the cache");
            assert_eq!(hint, [command]);
        }
    }

    #[test]
    fn unreadable_files_need_chmod_or_their_owner() {
        let dir = tempfile::tempdir().unwrap();
        let blob = |owner: Owner| {
            let error = Error::UnreadableBlob { path: owner.path.clone(), owner };
            hints(&error).remove(0)
        };
        let file = dir.path().join("blob");
        let own = format!("`chmod u+r {}` makes it readable", file.display());
        assert_eq!(blob(owner(&file, 0, true)), own);
        let folder = format!("`chmod u+rx {}` makes it readable", dir.path().display());
        assert_eq!(blob(owner(dir.path(), 0, true)), folder);
        let others = "root owns it: `eggcache init --shared`, run by root, lets a group share the \
                      cache";
        assert_eq!(blob(owner(&file, 0o600, false)), others);
        let of_group = "root owns it, and the group root may read it";
        assert_eq!(blob(owner(&file, 0o640, false)), of_group);
    }

    #[test]
    fn a_read_only_cache_names_the_group_to_join() {
        let path = PathBuf::from("/srv/eggs");
        let hint = |reason| hints(&Error::ReadOnly { path: path.clone(), reason }).remove(0);
        let permissions = |mode, is_own| hint(Unwritable::Permissions(owner(&path, mode, is_own)));
        assert_eq!(permissions(0o2775, false), "the group root may write it: join that group");
        assert!(permissions(0o755, false).starts_with("root owns it: `eggcache init --shared`"));
        assert_eq!(permissions(0o555, true), "`chmod u+w /srv/eggs` makes it writable");
        assert!(hint(Unwritable::NoSpace).contains("`eggcache gc --max-size SIZE`"));
        assert!(hint(Unwritable::Mount).contains("mount it so that it can be written"));
        assert!(hint(Unwritable::Unfinished).contains("`eggcache init`"));
    }

    #[test]
    fn system_errors_have_a_hint_where_one_helps() {
        let full = hints(&io("/srv", io::ErrorKind::StorageFull));
        let says = "free some space there; `eggcache gc --max-size SIZE` shrinks a cache";
        assert_eq!(full, [says]);
        assert_eq!(hints(&io("/srv", io::ErrorKind::QuotaExceeded)), full);
        let denied = hints(&io("/no/such", io::ErrorKind::PermissionDenied)).remove(0);
        let says = "check who owns it and how it is mounted: / is owned by user 0 and group 0";
        assert!(denied.starts_with(says), "{denied}");
        assert!(hints(&io("/srv", io::ErrorKind::NotFound)).is_empty());
        let full = CliError::Stdout(io::ErrorKind::StorageFull.into());
        assert!(full.to_string().starts_with("cannot write standard output: "), "{full}");
        let hint = Hints::default().of(&full.into());
        assert_eq!(hint, ["free some space where standard output goes"]);
    }

    #[test]
    fn a_suggestion_names_its_part_of_a_query_that_has_several() {
        let name = |name: &str| Nearest::Containing { names: vec![name.to_owned()] };
        let query = || "a, b".to_owned();
        let one = Error::Miss { query: query(), nearest: vec![("a".into(), name("ab"))] };
        assert_eq!(hints(&one), ["the cache has names that contain it: ab"]);
        let nearest = vec![("a".into(), name("ab")), ("c".into(), name("cd"))];
        let two = hints(&Error::Miss { query: query(), nearest });
        assert_eq!(two.len(), 2);
        assert!(two[1].starts_with("c: "), "{two:?}");
        assert!(hints(&Error::miss(&"numpy")).is_empty());
        let pattern = "`eggcache list 'num*'` lists the eggs that a pattern matches";
        assert_eq!(hints(&Error::miss(&"num*")), [pattern]);
    }

    #[test]
    fn each_problem_of_a_signing_key_has_its_own_hint() {
        let hint = |problem| hints(&Error::SigningKey { path: "/team".into(), problem }).remove(0);
        for (problem, says) in [
            (KeyProblem::Public, "set EGGCACHE_SIGNING_KEY to the secret key, without .pub"),
            (KeyProblem::Exposed(0o644), "`chmod 600 /team` hides it"),
            (KeyProblem::NoPassword, "set EGGCACHE_SIGNING_KEY_PASSWORD"),
            (KeyProblem::WrongPassword, "check EGGCACHE_SIGNING_KEY_PASSWORD"),
            (KeyProblem::NeedsNoPassword, "unset EGGCACHE_SIGNING_KEY_PASSWORD"),
        ] {
            assert_eq!(hint(problem), says);
        }
    }

    #[test]
    fn remotes_and_keys_have_hints() {
        let names = || vec!["team".to_owned()];
        let name = || "team".to_owned();
        let (id, key) = ("E762".to_owned(), "RWQ".to_owned());
        let shown = || "x".to_owned();
        for (error, says) in [
            (Error::NoRemotes, "`eggcache remote add NAME URL --key KEY`"),
            (Error::NoTrustedKey { remotes: names() }, "`eggcache trust NAME FILE.pub`"),
            (Error::NoPushRemote { remotes: names() }, "--to"),
            (Error::UntrustedRemote { name: name() }, "`eggcache trust team FILE.pub`"),
            (Error::RemoteExists { name: name() }, "`eggcache trust team FILE.pub`"),
            (Error::RemoteExists { name: name() }, "`eggcache remote remove team`"),
            (Error::WebServer { name: name(), what: "is read-only" }, "store behind"),
            (
                Error::UntrustedSigner { name: name(), id: id.clone(), key: key.clone() },
                "`eggcache trust team RWQ`",
            ),
            (Error::UntrustedSigner { name: name(), id, key }, "each reader has to trust it"),
            (Error::NoSigningKey, "set EGGCACHE_SIGNING_KEY"),
            (Error::NothingPushed { name: name() }, "set EGGCACHE_SIGNING_KEY"),
            (
                Error::NothingPushed { name: name() },
                "to push nothing, `eggcache remote remove team`",
            ),
            (
                Error::Io {
                    action: READ_SIGNING_KEY,
                    path: "/team".into(),
                    source: io::ErrorKind::NotFound.into(),
                },
                "EGGCACHE_SIGNING_KEY names it",
            ),
            (
                Error::NoRemoteFolder { name: name(), path: "/srv/pool".into() },
                "`eggcache remote remove team`",
            ),
            (Error::KeyExists { path: "/team".into() }, "another file"),
            (Error::NotAPublicKey { shown: shown(), problem: NotPublic::Secret }, ".pub"),
            (Error::NotAPublicKey { shown: shown(), problem: NotPublic::NoFile }, "keygen"),
            (Error::NoPython { egg: shown() }, "--python 3.11"),
            (Error::NoVersion { egg: "docopt".into() }, "docopt==1.0 --python 3.11"),
            (
                Error::NoRemote { name: name(), nearest: None },
                "`eggcache remote list` lists the remotes",
            ),
        ] {
            let hint = hints(&error).join("; ");
            assert!(hint.contains(says), "{error}: {hint}");
        }
    }

    #[test]
    fn a_broken_link_as_the_cache_names_its_target() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("cache");
        std::os::unix::fs::symlink("/no/such", &link).unwrap();
        let error = crate::cache::Cache::open(&link).unwrap_err();
        let says = format!(
            "the cache directory {} is a symbolic link to /no/such, which does not exist",
            link.display()
        );
        assert_eq!(error.to_string(), says);
        assert_eq!(hints(&error), ["create /no/such, or remove the link"]);
    }
}
