//! Where things are on a remote. docs/remote.md describes it for other programs.

use serde::Serialize;

use crate::egg::key::{EggKey, Host, LAST_GENERATION};
use crate::util::hash::digest::Digest;

/// Version of the layout: the first folder of every name.
pub const VERSION: &str = "v1";
/// The folders below it.
pub const BLOBS: &str = "blobs";
pub const ENTRIES: &str = "entries";
pub const PROJECTS: &str = "projects";
pub const SETS: &str = "sets";
pub const LEASES: &str = "leases";
/// Written for a moment to learn what time it is there.
pub const CLOCK: &str = "v1/clock";

/// A blob, by the digest of its bytes.
#[must_use]
pub fn blob(digest: Digest) -> String {
    let text = digest.to_string();
    format!("{VERSION}/{BLOBS}/{}/{text}", &text[..2])
}

/// The entry of an egg key: there is one, and the first that was written stays.
#[must_use]
pub fn entry(key: &EggKey) -> String {
    format!("{VERSION}/{ENTRIES}/{}/{}", key.name, digest(key))
}

/// All entries of a project for one Python, for example `cp311`.
#[must_use]
pub fn project(name: &str, python: &str) -> String {
    let python = if python.is_empty() { "any" } else { python };
    format!("{VERSION}/{PROJECTS}/{name}/{python}")
}

/// The entries that the buildouts of one configuration use on hosts that are alike.
#[must_use]
pub fn set(configuration: &str, host: &Host) -> String {
    #[derive(Serialize)]
    struct Wanted<'a> {
        configuration: &'a str,
        host: Host,
    }
    format!("{VERSION}/{SETS}/{}", digest(&Wanted { configuration, host: partition(host) }))
}

/// Who builds a version of a project on hosts that are alike.
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

/// What an object is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    Blob(Digest),
    Entry,
    Project,
    Set,
    Lease,
    Clock,
}

/// What stands at a name; `None` if nothing of this layout does.
#[must_use]
pub fn place(object: &str) -> Option<ObjectKind> {
    if object == CLOCK {
        return Some(ObjectKind::Clock);
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

/// What hosts that are alike have in common.
fn partition(host: &Host) -> Host {
    Host { generation: host.generation.min(LAST_GENERATION), ..host.clone() }
}

/// BLAKE3 of JSON with sorted keys and no spaces.
fn digest(value: &impl Serialize) -> Digest {
    let sorted = serde_json::to_value(value).expect("structs of texts and numbers");
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
    fn everything_that_is_asked_for_makes_another_name() {
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
    fn every_name_says_what_stands_there() {
        let host = Host::default();
        let digest = Digest::of(b"");
        assert_eq!(place(&blob(digest)), Some(ObjectKind::Blob(digest)));
        assert_eq!(place(&entry(&key())), Some(ObjectKind::Entry));
        assert_eq!(place(&project("a", "cp311")), Some(ObjectKind::Project));
        assert_eq!(place(&project("a", "")), Some(ObjectKind::Project));
        assert_eq!(place(&set("a", &host)), Some(ObjectKind::Set));
        assert_eq!(place(&lease("a", "1", "", &host)), Some(ObjectKind::Lease));
        assert_eq!(place(CLOCK), Some(ObjectKind::Clock));
        let misplaced = blob(digest).replace("/af/", "/ag/");
        for foreign in ["", "v1", "v1/", "v2/sets/a", "v1/sets/a", "v1/projects/a", &misplaced] {
            assert_eq!(place(foreign), None, "{foreign}");
        }
    }
}
