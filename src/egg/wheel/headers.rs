//! WHEEL and METADATA of a wheel, strictly: what Python and this might read differently is refused.

use mailparse::{MailHeader, MailHeaderMap};
use pep440_rs::{Version, VersionSpecifiers};

use super::file_name::WheelName;
use super::reason::Reason;
use super::target::Target;
use crate::egg::name::normalize_name;

/// Checks WHEEL.
pub fn check_wheel(text: &[u8]) -> Result<(), Reason> {
    const FILE: &str = "WHEEL";
    let headers = parse(FILE, text)?;
    match one(FILE, &headers, "Wheel-Version")?.as_deref().and_then(|it| it.split_once('.')) {
        Some(("1", minor)) if minor.parse::<u8>().is_ok() => Ok(()),
        _ => Err(Reason::metadata(FILE, "has another Wheel-Version than 1")),
    }
}

/// Checks METADATA and returns the name of the project as it writes it.
pub fn check_metadata(text: &[u8], file: &WheelName, target: &Target) -> Result<String, Reason> {
    const FILE: &str = "METADATA";
    let headers = parse(FILE, text)?;
    let required = |name: &str| {
        let found = one(FILE, &headers, name)?;
        found.ok_or_else(|| Reason::metadata(FILE, format!("has no {name}")))
    };
    let (name, version) = (required("Name")?, required("Version")?);
    if !is_name(&name) {
        return Err(Reason::metadata(FILE, "has a name that is not the name of a project"));
    }
    if normalize_name(&name) != normalize_name(&file.name) {
        return Err(Reason::Disagrees { what: "name", one: file.name.clone(), other: name });
    }
    let is_same = version.parse::<Version>().is_ok_and(|version| version == file.version);
    if !is_same {
        let one = file.version.to_string();
        return Err(Reason::Disagrees { what: "version", one, other: version });
    }
    if let Some(wanted) = one(FILE, &headers, "Requires-Python")? {
        check_python(&wanted, target)?;
    }
    Ok(name)
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

fn parse<'a>(file: &'static str, text: &'a [u8]) -> Result<Vec<MailHeader<'a>>, Reason> {
    if std::str::from_utf8(text).is_err() {
        return Err(Reason::metadata(file, "is not UTF-8"));
    }
    let (headers, _) =
        mailparse::parse_headers(text).map_err(|_| Reason::metadata(file, "cannot be parsed"))?;
    Ok(headers)
}

/// The value of a header, which must not be there twice.
fn one(
    file: &'static str,
    headers: &[MailHeader<'_>],
    name: &str,
) -> Result<Option<String>, Reason> {
    let mut values = headers.get_all_values(name).into_iter();
    let first = values.next().map(|value| value.trim().to_owned());
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Reason::metadata(file, format!("has two headers {name}"))),
    }
}

/// Whether a text is the name of a project (PEP 508).
fn is_name(name: &str) -> bool {
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
        ] {
            let error = metadata(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let text = b"Name: foo-bar\nVersion: 1.0\nRequires-Python: >=3.8, !=3.9.*\n";
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
