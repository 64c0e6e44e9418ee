//! WHEEL and METADATA of a wheel, strictly: what Python and this might read differently is refused.

use pep440_rs::{Version, VersionSpecifiers};

use super::file_name::WheelName;
use super::reason::Reason;
use super::requirement;
use super::target::Target;
use crate::egg::name::normalize_name;

/// Checks WHEEL.
pub fn check_wheel(text: &[u8]) -> Result<(), Reason> {
    const FILE: &str = "WHEEL";
    let version = Headers::parse(FILE, text)?.one("Wheel-Version")?;
    match version.and_then(|it| it.trim_end().split_once('.')) {
        Some(("1", minor)) if minor.parse::<u8>().is_ok() => Ok(()),
        _ => Err(Reason::metadata(FILE, "has another Wheel-Version than 1")),
    }
}

/// Checks METADATA and returns the name of the project as it writes it.
pub fn check_metadata(text: &[u8], file: &WheelName, target: &Target) -> Result<String, Reason> {
    const FILE: &str = "METADATA";
    let headers = Headers::parse(FILE, text)?;
    let required = |name: &str| {
        let found = headers.one(name)?;
        found.ok_or_else(|| Reason::metadata(FILE, format!("has no {name}")))
    };
    let (name, version) = (required("Name")?, required("Version")?);
    if !is_name(name) {
        return Err(Reason::metadata(FILE, "has a name that is not the name of a project"));
    }
    if normalize_name(name) != normalize_name(&file.name) {
        let other = name.to_owned();
        return Err(Reason::Disagrees { what: "name", one: file.name.clone(), other });
    }
    let is_same = version.parse::<Version>().is_ok_and(|version| version == file.version);
    if !is_same {
        let one = file.version.to_string();
        return Err(Reason::Disagrees { what: "version", one, other: version.to_owned() });
    }
    if let Some(wanted) = headers.one("Requires-Python")? {
        check_python(wanted.trim_end(), target)?;
    }
    let requirements = headers.all("Requires-Dist")?;
    if let Some(odd) = requirements.iter().find(|it| !requirement::is_plain(it.trim_end())) {
        return Err(Reason::metadata(FILE, format!("has an unusual requirement: {odd}")));
    }
    Ok(name.to_owned())
}

fn check_python(wanted: &str, target: &Target) -> Result<(), Reason> {
    let odd = || Reason::metadata("METADATA", "has a Requires-Python that is not understood");
    let specifiers: VersionSpecifiers = wanted.parse().map_err(|_| odd())?;
    let found = target.full_version();
    let version: Version = found.parse().map_err(|_| odd())?;
    if specifiers.contains(&version) {
        return Ok(());
    }
    Err(Reason::RequiresPython { wanted: wanted.to_owned(), found })
}

/// The headers above the body, as every parser of mail reads them. The email package of Python takes the
/// first line of another form as the beginning of the body.
struct Headers<'a> {
    file: &'static str,
    headers: Vec<Header<'a>>,
}

struct Header<'a> {
    name: &'a str,
    value: &'a str,
    /// Whether it goes on in the next line.
    is_folded: bool,
}

impl<'a> Headers<'a> {
    fn parse(file: &'static str, text: &'a [u8]) -> Result<Self, Reason> {
        let odd = |problem: &str| Reason::metadata(file, problem);
        let text = std::str::from_utf8(text).map_err(|_| odd("is not UTF-8"))?;
        let mut headers: Vec<Header<'a>> = Vec::new();
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() {
                break;
            }
            let header = if line.starts_with([' ', '\t']) {
                headers.last_mut().map(|last| last.is_folded = true)
            } else {
                let is_name = |c: char| c.is_ascii_graphic();
                let parts = line.split_once(':');
                let parts = parts.filter(|(name, _)| !name.is_empty() && name.chars().all(is_name));
                parts.map(|(name, value)| {
                    let value = value.trim_start_matches([' ', '\t']);
                    headers.push(Header { name, value, is_folded: false });
                })
            };
            if header.is_none() || line.contains('\r') {
                return Err(odd("has a line among its headers that is none"));
            }
        }
        Ok(Self { file, headers })
    }

    /// The values of all headers with a name. None may go on in the next line.
    fn all(&self, name: &str) -> Result<Vec<&'a str>, Reason> {
        let found = self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        found
            .map(|header| {
                let odd = || Reason::metadata(self.file, format!("has {name} in several lines"));
                (!header.is_folded).then_some(header.value).ok_or_else(odd)
            })
            .collect()
    }

    /// The value of a header, which must not be there twice.
    fn one(&self, name: &str) -> Result<Option<&'a str>, Reason> {
        match self.all(name)?.as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(Reason::metadata(self.file, format!("has two headers {name}"))),
        }
    }
}

/// Whether a text is the name of a project (PEP 508).
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    name.len() < 200
        && name.starts_with(is_end)
        && name.ends_with(is_end)
        && name.chars().all(|c| is_end(c) || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::target;
    use super::*;

    fn metadata(text: &[u8]) -> Result<String, Reason> {
        check_metadata(text, &WheelName::parse("Foo_Bar-1.0-py3-none-any.whl").unwrap(), &target())
    }

    #[test]
    fn the_name_is_that_of_the_metadata() {
        let text = b"Metadata-Version: 2.1\nName: foo.bar\nVersion: 1.0.0\n\nName: no\n";
        assert_eq!(metadata(text).unwrap(), "foo.bar");
    }

    #[test]
    fn metadata_that_disagrees_is_refused() {
        for (text, reason) in [
            (&b"Name: foo-bar\n"[..], "no Version"),
            (b"Version: 1.0\n", "no Name"),
            (b"Name: foo\nVersion: 1.0\n", "name is Foo_Bar"),
            (b"Name: foo-bar\nVersion: 1.1\n", "version is 1.0"),
            (b"Name: foo-bar\nVersion: 1.0\nName: foo-bar\n", "two headers Name"),
            (b"Name: foo-bar\nVersion: 1.0\nSummary: \xff\n", "not UTF-8"),
            (b"Name: foo-bar\nVersion: 1.0\nRequires-Python: >=3.12\n", "needs Python >=3.12"),
            (b"Name: foo-bar\nVersion: 1.0\nRequires-Python: later\n", "not understood"),
            (b"Name: foo/bar\nVersion: 1.0\n", "not the name of a project"),
            (b"Name: =?utf-8?q?foo-bar?=\nVersion: 1.0\n", "not the name of a project"),
            (b"Name: foo-bar\nVersion: =?utf-8?q?1.0?=\n", "version is 1.0"),
            (b"Name:\n foo-bar\nVersion: 1.0\n", "has Name in several lines"),
            (b"Name: foo-bar\n x\nVersion: 1.0\n", "has Name in several lines"),
            (b" a\nName: foo-bar\nVersion: 1.0\n", "among its headers"),
            (b"From a\nName: foo-bar\nVersion: 1.0\n", "among its headers"),
            (b"\xef\xbb\xbfName: foo-bar\nVersion: 1.0\n", "among its headers"),
            (b"Name: foo-bar\nVersion: 1.0\ngarbage\nSummary: x\n", "among its headers"),
            (b"Name: foo-bar\nVersion: 1.0\n: x\n", "among its headers"),
            (b"Name: foo-bar\nVersion: 1.0\nSummary: x\ry\n", "among its headers"),
            (b"Name: foo-bar\nVersion: 1.0\nRequires-Dist: !!!bad\n", "unusual requirement"),
            (b"Name: foo-bar\nVersion: 1.0\nrequires-dist: a\n b\n", "in several lines"),
        ] {
            let error = metadata(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let text =
            b"Name: foo-bar\r\nVERSION: 1.0 \r\nSummary: a\r\n  b\r\nRequires-Dist: a (>1)\r\n\
            Requires-Python: >=3.8, !=3.9.*\r\n\r\ngarbage\r";
        assert!(metadata(text).is_ok());
    }

    #[test]
    fn only_version_1_of_wheels_is_known() {
        assert!(check_wheel(b"Wheel-Version: 1.0\nTag: py3-none-any\n").is_ok());
        assert!(check_wheel(b"Wheel-Version: 1.9\r\n").is_ok());
        for text in ["", "Wheel-Version: 2.0\n", "Wheel-Version: 1\n", "Wheel-Version: 1.x\n"] {
            assert!(check_wheel(text.as_bytes()).is_err(), "{text}");
        }
    }
}
