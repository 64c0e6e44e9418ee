use std::io;

use super::*;
use crate::error::{KeyProblem, NotPublic};

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
        (Error::NothingPushed { name: name() }, "to push nothing, `eggcache remote remove team`"),
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
        (Error::NoVersion { egg: "docopt".into() }, "`eggcache remote eggs NAME docopt` lists"),
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
