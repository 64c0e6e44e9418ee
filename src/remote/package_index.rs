//! Package indexes: where the archive with a known SHA-256 is.
//!
//! Pages have the JSON of PEP 691, or the HTML of PEP 503. Nothing of a page is trusted: whatever arrives is
//! compared with the SHA-256.

use std::io::Write;

use serde::Deserialize;
use url::Url;

use crate::error::Result;
use crate::remote::client::Web;
use crate::util::hash::sha256::{Hashing, Sha256};

/// The largest page, in bytes.
const MAX_PAGE: u64 = 64 << 20;
/// The largest archive, in bytes.
const MAX_ARCHIVE: u64 = 4 << 30;
const PAGE_TYPES: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// Looks for archives on several indexes.
#[derive(Debug)]
pub struct PackageIndexes {
    web: Web,
    indexes: Vec<Url>,
}

impl PackageIndexes {
    pub fn new(indexes: &[Url]) -> Result<Self> {
        let with_slash = |url: &Url| {
            let mut url = url.clone();
            if !url.path().ends_with('/') {
                url.set_path(&format!("{}/", url.path()));
            }
            url
        };
        Ok(Self { web: Web::new()?, indexes: indexes.iter().map(with_slash).collect() })
    }

    /// Writes the archive of a project with this SHA-256, from the first index that has it.
    ///
    /// # Errors
    /// Why no index has it, as a sentence.
    pub fn fetch(&self, project: &str, sha256: Sha256, into: impl Write) -> Result<(), String> {
        let mut reasons = Vec::new();
        for index in &self.indexes {
            let host = index.host_str().unwrap_or_default();
            match self.look(index, project, sha256) {
                Ok(Some((page, url))) if Web::may_follow(Some(&page), &url) => {
                    return self.fetch_url(&url, sha256, into);
                }
                Ok(Some(_)) => reasons.push(format!("{host} leads to an address without https")),
                Ok(None) => reasons.push(format!("{host} has no such archive of {project}")),
                Err(reason) => reasons.push(format!("{host}: {reason}")),
            }
        }
        Err(reasons.join("; "))
    }

    /// Writes the archive at an address that an entry of a remote names.
    ///
    /// # Errors
    /// Why it was not fetched, as a sentence.
    pub fn fetch_named(&self, url: &str, sha256: Sha256, into: impl Write) -> Result<(), String> {
        match Url::parse(url) {
            Ok(url) if Web::may_follow(None, &url) => self.fetch_url(&url, sha256, into),
            _ => Err("its archive has no https address with a name".into()),
        }
    }

    fn fetch_url(&self, url: &Url, sha256: Sha256, into: impl Write) -> Result<(), String> {
        let host = url.host_str().unwrap_or_default();
        let mut hashing = Hashing::new(into);
        self.web
            .get(url, "*/*", MAX_ARCHIVE, &mut hashing)
            .map_err(|reason| format!("{host}: {reason}"))?;
        if hashing.finish().0 == sha256 {
            Ok(())
        } else {
            Err(format!("{host} sends another archive than the recorded one"))
        }
    }

    /// The page of a project, and the address of the archive on it.
    fn look(
        &self,
        index: &Url,
        project: &str,
        sha256: Sha256,
    ) -> Result<Option<(Url, Url)>, String> {
        let page = index.join(&format!("{project}/")).map_err(|error| error.to_string())?;
        let mut text = Vec::new();
        let page = self.web.get(&page, PAGE_TYPES, MAX_PAGE, &mut text)?;
        Ok(address_on(&text, &page, sha256).map(|url| (page, url)))
    }
}

/// The address of the archive with this SHA-256 on a page.
fn address_on(text: &[u8], page: &Url, sha256: Sha256) -> Option<Url> {
    #[derive(Deserialize)]
    struct Page {
        files: Vec<PageFile>,
    }
    #[derive(Deserialize)]
    struct PageFile {
        url: String,
        hashes: Hashes,
    }
    #[derive(Deserialize)]
    struct Hashes {
        #[serde(default)]
        sha256: String,
    }
    let digest = sha256.to_string();
    let url = match serde_json::from_slice::<Page>(text) {
        Ok(Page { files }) => files.into_iter().find(|it| it.hashes.sha256 == digest)?.url,
        Err(_) => reference(&String::from_utf8_lossy(text), &digest)?,
    };
    let mut url = page.join(&url).ok()?;
    url.set_fragment(None);
    Some(url)
}

/// The reference in a page of HTML that ends with a digest.
fn reference(text: &str, digest: &str) -> Option<String> {
    let before = &text[..text.find(&format!("#sha256={digest}"))?];
    let start = before.rfind(['"', '\''])?;
    Some(before[start + 1..].replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn found(text: &str) -> Option<String> {
        let page = Url::parse("https://index.example/simple/a/").unwrap();
        address_on(text.as_bytes(), &page, DIGEST.parse().unwrap()).map(Into::into)
    }

    #[test]
    fn pages_in_json_and_html_name_an_archive_by_its_digest() {
        let other = "0".repeat(64);
        let json = format!(
            r#"{{"meta": {{}}, "files": [{{"url": "b.whl", "hashes": {{"sha256": "{other}"}}}},
            {{"url": "c.whl", "hashes": {{}}}},
            {{"url": "https://files.example/a.whl", "hashes": {{"sha256": "{DIGEST}"}}}}]}}"#
        );
        assert_eq!(found(&json).unwrap(), "https://files.example/a.whl");
        let html = format!(
            "<a href=\"b.whl#sha256={other}\">b</a>\n\
             <a href='../../p/a.whl?x=1&amp;y#sha256={DIGEST}'>a</a>"
        );
        assert_eq!(found(&html).unwrap(), "https://index.example/p/a.whl?x=1&y");
        for text in ["", "{\"files\": []}", "{\"files\": 1}", DIGEST, "<html>", "#sha256="] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn an_entry_leads_only_to_names_by_https() {
        let may = |url: &str| Web::may_follow(None, &Url::parse(url).unwrap());
        assert!(may("https://files.example/a.whl"));
        for url in [
            "http://files.example/a.whl",
            "https://127.0.0.1/a.whl",
            "https://localhost/a.whl",
            "file:///etc/passwd",
        ] {
            assert!(!may(url), "{url}");
        }
    }
}
