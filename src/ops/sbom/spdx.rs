//! SPDX 2.3 in JSON.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::egg::license::License;
use crate::util::clock;
use crate::util::hash::sha256::Sha256;

use super::inventory::{Component, Inventory, Kind};

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const ROOT: &str = "SPDXRef-Buildout";
const NO_ASSERTION: &str = "NOASSERTION";
const NONE: &str = "NONE";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a> {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: &'a str,
    #[serde(rename = "documentNamespace")]
    namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    has_extracted_licensing_infos: Vec<ExtractedLicense>,
    relationships: Vec<Relationship>,
}

#[derive(Debug, Serialize)]
struct CreationInfo {
    created: String,
    creators: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Package<'a> {
    name: &'a str,
    #[serde(rename = "SPDXID")]
    id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    version_info: &'a str,
    #[serde(rename = "packageFileName", skip_serializing_if = "Option::is_none")]
    file_name: Option<String>,
    download_location: &'a str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    summary: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    primary_package_purpose: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: Sha256,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    #[serde(rename = "referenceCategory")]
    category: &'static str,
    #[serde(rename = "referenceType")]
    kind: &'static str,
    #[serde(rename = "referenceLocator")]
    locator: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExtractedLicense {
    license_id: String,
    name: String,
    extracted_text: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    #[serde(rename = "relationshipType")]
    kind: &'static str,
    related_spdx_element: String,
}

/// The licenses without an SPDX identifier, by their text and name.
type Extracted = BTreeMap<(String, String), String>;

pub fn document(inventory: &Inventory) -> Document<'_> {
    let mut ids = Ids::default();
    let mut extracted = Extracted::new();
    let mut packages = vec![root(inventory)];
    let mut relationships = vec![related(DOCUMENT, "DESCRIBES", ROOT)];
    let components = inventory.components.iter();
    let component_ids: Vec<String> =
        components.map(|it| ids.unique(&format!("{}-{}", it.project, it.version))).collect();
    let depends = |id: &str, of: &std::collections::BTreeSet<usize>| {
        let needed = of.iter().map(|&index| &component_ids[index]);
        needed.map(|it| related(id, "DEPENDS_ON", it)).collect::<Vec<_>>()
    };
    relationships.extend(depends(ROOT, &inventory.graph.top));
    for ((item, id), needs) in
        inventory.components.iter().zip(&component_ids).zip(&inventory.graph.of)
    {
        relationships.extend(depends(id, needs));
        packages.push(package(item, id, &mut extracted));
        for library in &item.libraries {
            let library_id = ids.unique(&format!("{}-{}", item.project, library.file_name()));
            relationships.push(related(id, "CONTAINS", &library_id));
            packages.push(Package {
                file_name: Some(format!("{}/{}", item.path, library.path)),
                checksums: checksums(Some(library.sha256)),
                primary_package_purpose: if library.is_carried() { "LIBRARY" } else { "FILE" },
                ..blank(library.file_name(), library_id)
            });
        }
    }
    Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: &inventory.name,
        namespace: format!("https://spdx.org/spdxdocs/eggcache-{}", inventory.uuid("SPDX")),
        creation_info: CreationInfo {
            created: clock::standard(inventory.time),
            creators: vec![format!("Tool: eggcache-{}", env!("CARGO_PKG_VERSION"))],
        },
        packages,
        has_extracted_licensing_infos: extracted
            .into_iter()
            .map(|((extracted_text, name), license_id)| ExtractedLicense {
                license_id,
                name,
                extracted_text,
            })
            .collect(),
        relationships,
    }
}

/// A package of which nothing is known.
fn blank(name: &str, id: String) -> Package<'_> {
    Package {
        name,
        id,
        version_info: "",
        file_name: None,
        download_location: NO_ASSERTION,
        files_analyzed: false,
        checksums: Vec::new(),
        license_concluded: NO_ASSERTION,
        license_declared: NO_ASSERTION.into(),
        copyright_text: NO_ASSERTION,
        summary: "",
        external_refs: Vec::new(),
        primary_package_purpose: "LIBRARY",
    }
}

fn root(inventory: &Inventory) -> Package<'_> {
    Package {
        checksums: checksums(inventory.archive),
        primary_package_purpose: "APPLICATION",
        ..blank(&inventory.name, ROOT.into())
    }
}

fn package<'a>(item: &'a Component, id: &str, extracted: &mut Extracted) -> Package<'a> {
    let purl = item.purl.clone();
    let purl =
        purl.map(|locator| ExternalRef { category: "PACKAGE-MANAGER", kind: "purl", locator });
    let commit =
        item.swhid().map(|locator| ExternalRef { category: "PERSISTENT-ID", kind: "swh", locator });
    let unknown = if item.kind == Kind::Develop { NONE } else { NO_ASSERTION };
    Package {
        version_info: &item.version,
        file_name: item.archive.file_name.clone(),
        download_location: item
            .archive
            .url
            .as_deref()
            .filter(|it| is_location(it))
            .unwrap_or(unknown),
        checksums: checksums(item.archive.sha256),
        license_declared: declared(&item.license, extracted),
        summary: &item.summary,
        external_refs: purl.into_iter().chain(commit).collect(),
        ..blank(&item.name, id.to_owned())
    }
}

/// Whether a URL passes for a location: the validator of SPDX knows only short top-level domains.
fn is_location(url: &str) -> bool {
    let url = url::Url::parse(url).ok();
    let top = url.as_ref().and_then(url::Url::domain).and_then(|it| it.rsplit('.').next());
    top.is_some_and(|top| {
        (2..=5).contains(&top.len()) && top.bytes().all(|byte| byte.is_ascii_lowercase())
    })
}

fn declared(license: &License, extracted: &mut Extracted) -> String {
    match license {
        License::Expression(expression) => {
            for name in own_references(expression) {
                // An expression may refer to a license that only its author knows.
                let text = format!("The metadata declares {name} and does not contain its text.");
                extracted.insert((text, name.clone()), name);
            }
            expression.clone()
        }
        License::Named { name, text } => {
            let key = (text.clone(), name.clone());
            let hash = Sha256::of(text.as_bytes()).to_string();
            extracted.entry(key).or_insert_with(|| format!("LicenseRef-{}", &hash[..16])).clone()
        }
        License::Unknown => NO_ASSERTION.into(),
    }
}

/// The references in an expression to licenses outside the list of SPDX.
fn own_references(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| c.is_whitespace() || c == '(' || c == ')');
    words.filter(|word| word.starts_with("LicenseRef-")).map(str::to_owned).collect()
}

fn checksums(sha256: Option<Sha256>) -> Vec<Checksum> {
    sha256
        .map(|checksum_value| Checksum { algorithm: "SHA256", checksum_value })
        .into_iter()
        .collect()
}

fn related(from: &str, kind: &'static str, to: &str) -> Relationship {
    Relationship { spdx_element_id: from.into(), kind, related_spdx_element: to.into() }
}

/// The identifiers that were given, and how often each was asked for.
#[derive(Debug, Default)]
struct Ids(HashMap<String, usize>);

impl Ids {
    /// An identifier with this text, of letters, digits, `.` and `-`, that was not given before. Only those
    /// with a number after `--` are made to differ, and no text has that.
    fn unique(&mut self, text: &str) -> String {
        let mut plain = String::from("SPDXRef-");
        for c in text.chars() {
            let c = if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
            if c != '-' || !plain.ends_with('-') {
                plain.push(c);
            }
        }
        let count = self.0.entry(plain.clone()).or_default();
        *count += 1;
        if *count == 1 { plain } else { format!("{plain}--{count}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_url_with_a_short_top_level_domain_is_a_location() {
        assert!(is_location("https://files.pythonhosted.org/foo-1.0.tar.gz"));
        assert!(!is_location("https://pypi.acme.internal/foo-1.0.tar.gz"));
    }

    #[test]
    fn identifiers_are_unique_and_of_allowed_characters() {
        let mut ids = Ids::default();
        let given = ["foo-1.0", "foo--1.0", "foo_1.0", "f\u{e9}+1", ""].map(|it| ids.unique(it));
        let expected = ["foo-1.0", "foo-1.0--2", "foo-1.0--3", "f-1", ""];
        assert_eq!(given, expected.map(|it| format!("SPDXRef-{it}")));
    }
}
