//! The names of objects on a remote. docs/reference/remote.md describes them for other programs.

use serde::Serialize;

use crate::egg::key::{EggKey, Host};
use crate::egg::layout::LAST_GENERATION;
use crate::util::hash::digest::Digest;

/// Version of the layout, and the first folder of every name.
pub const VERSION: &str = "v1";
// The folders in it.
pub const BLOBS: &str = "blobs";
pub const ENTRIES: &str = "entries";
pub const PROJECTS: &str = "projects";
pub const SETS: &str = "sets";
pub const LEASES: &str = "leases";
/// The list of withdrawn builds.
pub const WITHDRAWALS: &str = "v1/withdrawals";
/// An object that is written and removed to read the clock of a store.
pub const CLOCK: &str = "v1/clock";

/// The blob whose bytes have this digest.
#[must_use]
pub fn blob(digest: Digest) -> String {
    let text = digest.to_string();
    format!("{VERSION}/{BLOBS}/{}/{text}", &text[..2])
}

/// The entry of an egg key. There is one for each key, and the first one stays.
#[must_use]
pub fn entry(key: &EggKey) -> String {
    format!("{VERSION}/{ENTRIES}/{}/{}", key.name, digest(key))
}

/// The list of all entries of a project for one Python, for example `cp311`.
#[must_use]
pub fn project(name: &str, python: &str) -> String {
    let python = if python.is_empty() { ANY } else { python };
    format!("{VERSION}/{PROJECTS}/{name}/{python}")
}

/// In place of the Python, for eggs of any Python.
const ANY: &str = "any";

/// The project and the Python of a list; `None` for another object.
#[must_use]
pub fn project_of(object: &str) -> Option<(String, String)> {
    let (name, python) = object
        .strip_prefix(VERSION)?
        .strip_prefix('/')?
        .strip_prefix(PROJECTS)?
        .strip_prefix('/')?
        .split_once('/')?;
    let python = if python == ANY { "" } else { python };
    (project(name, python) == object).then(|| (name.to_owned(), python.to_owned()))
}

/// The set of the entries that the buildouts of one configuration use on equal hosts.
#[must_use]
pub fn set(configuration: &str, host: &Host) -> String {
    #[derive(Serialize)]
    struct Wanted<'a> {
        configuration: &'a str,
        host: Host,
    }
    format!("{VERSION}/{SETS}/{}", digest(&Wanted { configuration, host: partition(host) }))
}

/// The lease to build a version of a project for equal hosts.
#[must_use]
pub fn lease(name: &str, version: &str, variant: &str, host: &Host) -> String {
    #[derive(Serialize)]
    struct Built<'a> {
        host: Host,
        name: &'a str,
        variant: &'a str,
        version: &'a str,
    }
    let host = partition(host);
    format!("{VERSION}/{LEASES}/{}", digest(&Built { host, name, variant, version }))
}

/// What the name of an object says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    Blob(Digest),
    Entry,
    Project,
    Set,
    Lease,
    Withdrawals,
    Clock,
}

/// What an object is, by its name; `None` if the name is not part of the layout.
#[must_use]
pub fn kind_of(object: &str) -> Option<ObjectKind> {
    if object == CLOCK {
        return Some(ObjectKind::Clock);
    }
    if object == WITHDRAWALS {
        return Some(ObjectKind::Withdrawals);
    }
    let parts: Vec<&str> = object.strip_prefix(VERSION)?.strip_prefix('/')?.split('/').collect();
    let digest = |text: &str| text.parse::<Digest>().ok();
    match parts[..] {
        [BLOBS, _, text] => digest(text).filter(|it| blob(*it) == object).map(ObjectKind::Blob),
        [ENTRIES, name, text] if !name.is_empty() => digest(text).map(|_| ObjectKind::Entry),
        [PROJECTS, name, python] if !name.is_empty() && !python.is_empty() => {
            Some(ObjectKind::Project)
        }
        [SETS, text] => digest(text).map(|_| ObjectKind::Set),
        [LEASES, text] => digest(text).map(|_| ObjectKind::Lease),
        _ => None,
    }
}

/// What equal hosts have in common.
fn partition(host: &Host) -> Host {
    Host { generation: host.generation.min(LAST_GENERATION), ..host.clone() }
}

/// BLAKE3 of JSON with sorted keys and no spaces.
fn digest(value: &impl Serialize) -> Digest {
    let sorted = serde_json::to_value(value).expect("texts and numbers have a form in JSON");
    Digest::of(sorted.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::key::tests::key;

    #[test]
    fn names_are_digests_of_sorted_json() {
        let sorted = r#"{"abi":"","environment":"","generation":5,"libc":"","name":"foo","platform":"","python":"cp311","source_sha256":"","variant":"","version":"1.0"}"#;
        let name = format!("v1/entries/foo/{}", Digest::of(sorted.as_bytes()));
        assert_eq!(entry(&key()), name);
    }

    #[test]
    fn the_name_of_a_list_has_its_project_and_python() {
        for python in ["cp311", ""] {
            let named = Some(("foo".to_owned(), python.to_owned()));
            assert_eq!(project_of(&project("foo", python)), named);
        }
        for other in ["v1/entries/foo/cp311", "v1/projects/foo", "v2/projects/foo/cp311"] {
            assert_eq!(project_of(other), None, "{other}");
        }
    }

    #[test]
    fn every_field_changes_the_name() {
        let host = Host { python: "3.11".into(), ..Host::default() };
        let other = Host { python: "3.12".into(), ..Host::default() };
        assert_ne!(set("a", &host), set("b", &host));
        assert_ne!(set("a", &host), set("a", &other));
        assert_ne!(lease("a", "1", "", &host), lease("a", "2", "", &host));
        assert_ne!(lease("a", "1", "", &host), lease("a", "1", "v", &host));
        assert_ne!(project("a", "cp311"), project("a", ""));
        assert!(blob(Digest::of(b"")).starts_with("v1/blobs/af/af"));
    }

    #[test]
    fn the_kind_of_an_object_is_known_by_its_name() {
        let host = Host::default();
        let digest = Digest::of(b"");
        assert_eq!(kind_of(&blob(digest)), Some(ObjectKind::Blob(digest)));
        assert_eq!(kind_of(&entry(&key())), Some(ObjectKind::Entry));
        assert_eq!(kind_of(&project("a", "cp311")), Some(ObjectKind::Project));
        assert_eq!(kind_of(&project("a", "")), Some(ObjectKind::Project));
        assert_eq!(kind_of(&set("a", &host)), Some(ObjectKind::Set));
        assert_eq!(kind_of(&lease("a", "1", "", &host)), Some(ObjectKind::Lease));
        assert_eq!(kind_of(CLOCK), Some(ObjectKind::Clock));
        assert_eq!(kind_of(WITHDRAWALS), Some(ObjectKind::Withdrawals));
        let misplaced = blob(digest).replace("/af/", "/ag/");
        for foreign in ["", "v1", "v1/", "v2/sets/a", "v1/sets/a", "v1/projects/a", &misplaced] {
            assert_eq!(kind_of(foreign), None, "{foreign}");
        }
    }
}
