//! CycloneDX 1.6 in JSON.

use std::borrow::Cow;

use serde::Serialize;

use crate::egg::license::License;
use crate::util::clock;
use crate::util::hash::sha256::Sha256;

use super::contents::Library;
use super::inventory::{Component as Item, Inventory};

/// The reference of the component that the document describes.
const ROOT: &str = "buildout";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<Component<'a>>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    timestamp: String,
    tools: Tools,
    component: Component<'a>,
}

#[derive(Debug, Serialize)]
struct Tools {
    components: Vec<Component<'static>>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Component<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    bom_ref: Option<String>,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_references: Vec<Reference<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Component<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Debug, Clone, Serialize)]
struct Hash {
    alg: &'static str,
    content: Sha256,
}

/// A license with a name, or an expression.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Choice<'a> {
    License(Named<'a>),
    #[serde(untagged)]
    Expression {
        expression: &'a str,
        acknowledgement: &'static str,
    },
}

#[derive(Debug, Default, Serialize)]
struct Named<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    acknowledgement: &'static str,
}

#[derive(Debug, Serialize)]
struct Reference<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
}

#[derive(Debug, Serialize)]
struct Property {
    name: &'static str,
    value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    of: String,
    depends_on: Vec<String>,
}

pub fn document(inventory: &Inventory) -> Document<'_> {
    let paths = |of: &std::collections::BTreeSet<usize>| {
        of.iter().map(|&index| inventory.components[index].path.clone()).collect()
    };
    let root = Dependency { of: ROOT.into(), depends_on: paths(&inventory.graph.top) };
    let of_components = inventory.components.iter().zip(&inventory.graph.of);
    let of_components =
        of_components.map(|(it, of)| Dependency { of: it.path.clone(), depends_on: paths(of) });
    Document {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: format!("urn:uuid:{}", inventory.uuid("CycloneDX")),
        version: 1,
        metadata: Metadata {
            timestamp: clock::standard(inventory.time),
            tools: Tools {
                components: vec![Component {
                    kind: "application",
                    name: "eggcache",
                    version: env!("CARGO_PKG_VERSION"),
                    ..Component::default()
                }],
            },
            component: Component {
                kind: "application",
                bom_ref: Some(ROOT.into()),
                name: &inventory.name,
                hashes: hashes(inventory.archive),
                ..Component::default()
            },
        },
        components: inventory.components.iter().map(component).collect(),
        dependencies: [root].into_iter().chain(of_components).collect(),
    }
}

fn component(item: &Item) -> Component<'_> {
    let archive = &item.archive;
    let distribution = archive.url.as_ref().map(|url| Reference {
        kind: "distribution",
        url: url.into(),
        hashes: hashes(archive.sha256),
    });
    let vcs =
        item.swhid().map(|url| Reference { kind: "vcs", url: url.into(), hashes: Vec::new() });
    let digest = item.digest.map(|digest| ("eggcache:digest", digest.to_string()));
    let source = archive.file_name.clone().map(|name| ("eggcache:archive", name));
    let properties = [Some(("eggcache:path", item.path.clone())), source, digest];
    Component {
        kind: "library",
        bom_ref: Some(item.path.clone()),
        name: &item.name,
        version: &item.version,
        description: &item.summary,
        hashes: hashes(archive.sha256),
        licenses: licenses(&item.license),
        purl: item.purl.clone(),
        external_references: distribution.into_iter().chain(vcs).collect(),
        components: item.libraries.iter().map(|it| library(item, it)).collect(),
        properties: properties
            .into_iter()
            .flatten()
            .map(|(name, value)| Property { name, value })
            .collect(),
    }
}

fn library<'a>(item: &Item, library: &'a Library) -> Component<'a> {
    Component {
        kind: if library.is_carried() { "library" } else { "file" },
        bom_ref: Some(format!("{}/{}", item.path, library.path)),
        name: library.file_name(),
        hashes: hashes(Some(library.sha256)),
        properties: vec![Property {
            name: "eggcache:path",
            value: format!("{}/{}", item.path, library.path),
        }],
        ..Component::default()
    }
}

fn hashes(sha256: Option<Sha256>) -> Vec<Hash> {
    sha256.map(|content| Hash { alg: "SHA-256", content }).into_iter().collect()
}

fn licenses(license: &License) -> Vec<Choice<'_>> {
    let acknowledgement = "declared";
    match license {
        License::Expression(text) if ::spdx::license_id(text).is_some() => {
            vec![Choice::License(Named { id: Some(text), name: None, acknowledgement })]
        }
        License::Expression(expression) => vec![Choice::Expression { expression, acknowledgement }],
        License::Named { name, .. } => {
            vec![Choice::License(Named { id: None, name: Some(name), acknowledgement })]
        }
        License::Unknown => Vec::new(),
    }
}
