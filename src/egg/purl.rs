//! Package URLs: the names by which scanners know distributions.

use std::fmt::Write;

/// The hosts of the public index. Without a qualifier, a package URL of the type `pypi` names a project there.
const PUBLIC_HOSTS: [&str; 4] =
    ["pypi.org", "files.pythonhosted.org", "pypi.python.org", "www.pypi.org"];

/// The package URL of a distribution on a Python index, as the type `pypi` demands it. One that came from
/// another host than these has the qualifier `download_url`. There is none for a distribution from a
/// local file: a scanner would take it for the project of the same name in the public index. With no known
/// address, it counts as one of the public index.
#[must_use]
pub fn purl(name: &str, version: &str, archive_url: Option<&str>) -> Option<String> {
    if name.is_empty() || version.is_empty() {
        return None;
    }
    let qualifier = match archive_url.map(Origin::of) {
        None | Some(Origin::Public) => String::new(),
        Some(Origin::Local) => return None,
        Some(Origin::Elsewhere(url)) => format!("?download_url={}", percent_encoded(&url, b":")),
    };
    let name = name.to_lowercase().replace('_', "-");
    let (name, version) = (percent_encoded(&name, b""), percent_encoded(version, b""));
    Some(format!("pkg:pypi/{name}@{version}{qualifier}"))
}

/// Where an archive came from.
enum Origin {
    Public,
    /// A path or a `file:` URL.
    Local,
    /// The URL, without a fragment.
    Elsewhere(String),
}

impl Origin {
    fn of(address: &str) -> Self {
        let Ok(mut url) = url::Url::parse(address) else { return Self::Local };
        url.set_fragment(None);
        match (url.scheme(), url.domain()) {
            ("file", _) => Self::Local,
            ("http" | "https", Some(host)) if PUBLIC_HOSTS.contains(&host) => Self::Public,
            _ => Self::Elsewhere(url.into()),
        }
    }
}

fn percent_encoded(text: &str, plain: &[u8]) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || plain.contains(&byte) {
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
        let plain = |name, version| purl(name, version, None).unwrap_or_default();
        assert_eq!(plain("Zope.Interface", "7.2"), "pkg:pypi/zope.interface@7.2");
        assert_eq!(plain("Foo_Bar", "1!2.0+local.1"), "pkg:pypi/foo-bar@1%212.0%2Blocal.1");
        assert_eq!((plain("foo", ""), plain("", "1")), (String::new(), String::new()));
    }

    #[test]
    fn a_purl_without_a_qualifier_is_of_the_public_index() {
        let of = |address: &str| purl("foo", "1", Some(address));
        for host in PUBLIC_HOSTS {
            let url = format!("https://{host}/packages/a/foo-1.tar.gz#sha256=00");
            assert_eq!(of(&url).as_deref(), Some("pkg:pypi/foo@1"), "{host}");
        }
        for local in ["/srv/dist/foo-1.tar.gz", "dist/foo-1.tar.gz", "file:///srv/foo-1.tar.gz"] {
            assert_eq!(of(local), None, "{local}");
        }
        let elsewhere = "pkg:pypi/foo@1?download_url=https:%2F%2Fpypi.acme.test:8443%2Ffoo-1.whl";
        let url = "https://pypi.acme.test:8443/foo-1.whl#sha256=00";
        assert_eq!(of(url).as_deref(), Some(elsewhere));
        for other in ["http://127.0.0.1:80/foo-1.whl", "ftp://pypi.org/foo-1.whl"] {
            assert!(of(other).is_some_and(|purl| purl.contains("?download_url=")), "{other}");
        }
    }
}
