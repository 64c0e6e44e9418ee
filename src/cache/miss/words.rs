//! The words of each reason.

use std::fmt;

use super::{Gone, Miss, OTHER_BUILD, OTHER_FOLDER};
use crate::cache::build_options::Differing;
use crate::util::clock::shown_day;
use crate::util::hash::digest::shown_digits;

/// How many versions, or values of a part of a key, a reason lists.
const LISTED: usize = 8;

/// The end of a sentence that begins with the egg: `lxml 6.1.3 was not in the cache: …`.
impl fmt::Display for Miss {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverSeen => write!(out, "the cache has never had an egg of this project"),
            Self::OthersEvicted => {
                write!(out, "the cache had only other eggs of this project, and has evicted them")
            }
            Self::OtherVersion { cached } => {
                write!(out, "the cache has only other versions: {}", listed(cached))
            }
            Self::OtherHost { part, cached, wanted } => {
                write!(out, "{}", other_host(part, cached, wanted))
            }
            Self::OtherArchive { cached, wanted } => {
                let (cached, wanted) = (shown_digits(cached), shown_digits(wanted));
                write!(out, "the cached egg was built from another archive")?;
                write!(out, " (SHA-256 {cached}…, and this buildout needs {wanted}…)")
            }
            Self::SeveralArchives { archives } => {
                write!(out, "the cache has it from {archives} archives, ")?;
                write!(out, "and offline nothing says which of them is needed")
            }
            Self::UnknownArchive => {
                write!(out, "the cached egg was added by hand, so its archive is not known")
            }
            Self::OtherBuild { differing } if differing.is_empty() => {
                write!(out, "the cached egg is not used: {OTHER_BUILD}")
            }
            Self::OtherBuild { differing } => {
                let pairs: Vec<String> = differing.iter().map(shown_pair).collect();
                write!(out, "the cached egg was built with other options: {}", listed(&pairs))
            }
            Self::OtherFolder => write!(out, "the cached egg is not used: {OTHER_FOLDER}"),
            Self::Evicted { at, why } => write!(out, "{}", evicted(*at, *why)),
            Self::Withdrawn { remote, why, removed_at: None } => {
                write!(out, "the cached egg was withdrawn by remote {remote}: {why}")
            }
            Self::Withdrawn { remote, why, removed_at: Some(at) } => {
                let day = shown_day(*at);
                write!(out, "the egg was withdrawn by remote {remote}: {why} (removed on {day})")
            }
            Self::Unusable { why } | Self::Refused { why } => write!(out, "{why}"),
            Self::Raced => write!(out, "another buildout has stored it meanwhile"),
            Self::BuiltWithOptions => {
                write!(out, "a part of this buildout builds the project with options, ")?;
                write!(out, "so a plain egg of it is never taken from the cache")
            }
            Self::NotAsked => {
                write!(out, "the cache has it, but this buildout could not choose it from there")
            }
        }
    }
}

/// `define was A and is B here`
fn shown_pair(Differing { option, cached, wanted }: &Differing) -> String {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
    format!("{option} was {} and is {} here", shown(cached), shown(wanted))
}

fn evicted(at: i64, why: Gone) -> String {
    let day = shown_day(at);
    match why {
        Gone::MaxAge => format!("evicted on {day}: it was not used for longer than max-age"),
        Gone::KeepVersions => format!("evicted on {day}: there were enough newer versions"),
        Gone::MaxSize => format!("evicted on {day}: the cache was over its size limit"),
        Gone::SignedBy => format!("evicted on {day}: a key that is not trusted had signed it"),
        Gone::Withdrawn => format!("evicted on {day}: it was withdrawn"),
        Gone::Named => format!("removed by hand on {day}"),
        Gone::Damaged => format!("removed on {day}: it was damaged or incomplete"),
    }
}

fn other_host(part: &str, cached: &[String], wanted: &str) -> String {
    let list = listed(cached);
    match part {
        "python" => {
            let cached: Vec<String> = cached.iter().map(|tag| shown_python(tag)).collect();
            let (cached, wanted) = (listed(&cached), shown_python(wanted));
            format!("the cache has it for {cached}, and this is {wanted}")
        }
        "platform" => format!("the cache has it for {list}, and this is {wanted}"),
        "abi" => format!("the cache has it for the ABI {list}, and this Python has {wanted}"),
        "libc" => format!("the cached egg needs {list}, and this machine has {wanted}"),
        "generation" => {
            format!("the cache has it in layout {list}, and this buildout uses layout {wanted}")
        }
        "spelling" => format!("the file name of the cached egg spells the project {list}"),
        "environment" => {
            let with = |label: &String| match &label[..] {
                "" => "without an environment label".to_owned(),
                label => format!("with the environment label {label}"),
            };
            let cached = cached.iter().map(with).collect::<Vec<String>>().join(" and ");
            let own = if wanted.is_empty() { "none".into() } else { format!("the label {wanted}") };
            format!(
                "the cache has it {cached}, and this buildout has {own} (egg-cache-environment)"
            )
        }
        _ => "the setuptools of this buildout gives it another file name".to_owned(),
    }
}

/// `Python 3.11` of `cp311` and of `3.11`, and `PyPy 3.9` of `pp39`.
fn shown_python(tag: &str) -> String {
    let tag = tag.replace('.', "");
    let start = tag.find(|c: char| c.is_ascii_digit()).unwrap_or(tag.len());
    let (implementation, digits) = tag.split_at(start);
    let name = match implementation {
        "cp" | "" => "Python",
        "pp" => "PyPy",
        _ => return tag,
    };
    if digits.len() < 2 || !digits.is_ascii() {
        return format!("{name} {digits}");
    }
    let (major, minor) = digits.split_at(1);
    format!("{name} {major}.{minor}")
}

/// A few of some values, and how many more there are: the last ones are the newest.
fn listed(values: &[String]) -> String {
    let hidden = values.len().saturating_sub(LISTED);
    let shown = values[hidden..].join(", ");
    if hidden == 0 { shown } else { format!("{shown} and {hidden} more") }
}
