//! The core metadata of a distribution: `PKG-INFO` of an egg, `METADATA` of a wheel.

use mailparse::MailHeaderMap;

/// The longest metadata file that is read, in bytes. Long descriptions have a few hundred KiB.
pub const MAX_METADATA: u64 = 16 << 20;

/// The longest name or version that is accepted, in bytes. A file name cannot contain a longer one, and
/// a zipped egg can have very many metadata files.
const MAX_FIELD: usize = 255;

/// The two fields of the core metadata that identify a distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub name: String,
    pub version: String,
}

/// Reads the headers of a core metadata file; `None` if the name or the version is missing or too long.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Metadata> {
    let (headers, _) = mailparse::parse_headers(text).ok()?;
    let field = |name: &str| {
        headers
            .get_first_value(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| (1..=MAX_FIELD).contains(&value.len()))
    };
    Some(Metadata { name: field("Name")?, version: field("Version")? })
}

/// Whether `path`, relative to the egg, is a distribution's core metadata.
#[must_use]
pub fn is_metadata_path(path: &str) -> bool {
    match path.split_once('/') {
        Some(("EGG-INFO", "PKG-INFO")) => true,
        Some((top, "METADATA")) => top.ends_with(".dist-info"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_and_version_are_read() {
        let text =
            b"Metadata-Version: 2.1\nName: Foo.Bar\nVersion: 1.0\nSummary: a\n  b\n\nName: no\n";
        let found = parse(text).unwrap();
        assert_eq!((found.name.as_str(), found.version.as_str()), ("Foo.Bar", "1.0"));
    }

    #[test]
    fn incomplete_metadata_is_ignored() {
        for text in
            [&b""[..], b"Name: a\n", b"Version: 1\n", b"Name:\nVersion: 1\n", b"\xff\xfe\x00"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn fields_longer_than_a_file_name_are_ignored() {
        let text = |length: usize| format!("Name: {}\nVersion: 1\n", "a".repeat(length));
        assert!(parse(text(MAX_FIELD).as_bytes()).is_some());
        assert_eq!(parse(text(MAX_FIELD + 1).as_bytes()), None);
    }

    #[test]
    fn metadata_is_in_a_top_level_folder() {
        assert!(is_metadata_path("EGG-INFO/PKG-INFO"));
        assert!(is_metadata_path("foo-1.0-py3.11-linux-x86_64.dist-info/METADATA"));
        for path in ["PKG-INFO", "vendor/EGG-INFO/PKG-INFO", "a/b.dist-info/METADATA", "METADATA"] {
            assert!(!is_metadata_path(path), "{path}");
        }
    }
}
