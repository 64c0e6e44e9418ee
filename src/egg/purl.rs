//! Package URLs: the names by which scanners know distributions.

use std::fmt::Write;

/// The package URL of a distribution on a Python index, as the type `pypi` demands it.
#[must_use]
pub fn purl(name: &str, version: &str) -> String {
    let name = name.to_lowercase().replace('_', "-");
    format!("pkg:pypi/{}@{}", percent_encoded(&name), percent_encoded(version))
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purl_has_the_name_as_its_type_demands() {
        assert_eq!(purl("Zope.Interface", "7.2"), "pkg:pypi/zope.interface@7.2");
        assert_eq!(purl("Foo_Bar", "1!2.0+local.1"), "pkg:pypi/foo-bar@1%212.0%2Blocal.1");
    }
}
