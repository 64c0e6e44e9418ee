//! The provenance of a bundle: a signed statement which archive was made by whom, and of which eggs.
//!
//! It is an in-toto statement with the predicate of SLSA, in a DSSE envelope. docs/reference/provenance.md
//! says what it claims, and what not.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::disk::{files, temp};
use crate::egg::purl::purl;
use crate::error::{Error, IoContext, Result};
use crate::remote::envelope::{BadEnvelope, Envelope, key_id};
use crate::remote::keys::Signer;
use crate::util::clock;
use crate::util::hash::digest::Digest;
use crate::util::hash::sha256::Sha256;

use super::manifest::BundledEgg;
use super::verify::{Problem, Verified};
use super::{Checkout, Mtimes, Options, Report};

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";
const PAYLOAD: &str = "application/vnd.in-toto+json";
const BUILD: &str = "urn:eggcache:bundle:1";
/// The longest provenance that is read, in bytes.
const MAX_PROVENANCE: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Resource>,
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: String,
    external_parameters: Parameters,
    #[serde(default)]
    resolved_dependencies: Vec<Resource>,
}

/// The options of the bundle that decide its bytes.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    prefix: String,
    mtime: String,
    exclude: Vec<String>,
    include: Vec<String>,
    unused: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunDetails {
    builder: Builder,
    metadata: RunMetadata,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    byproducts: Vec<Resource>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Builder {
    id: String,
    version: Version,
}

#[derive(Debug, Serialize, Deserialize)]
struct Version {
    eggcache: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunMetadata {
    finished_on: String,
}

/// A file or an egg.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Resource {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(default, skip_serializing_if = "Digests::is_empty")]
    digest: Digests,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Digests {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    git_commit: Option<String>,
}

impl Digests {
    fn of(sha256: Option<Sha256>) -> Self {
        Self { sha256, git_commit: None }
    }

    fn is_empty(&self) -> bool {
        self.sha256.is_none() && self.git_commit.is_none()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Annotations {
    /// The path of the egg in the buildout.
    egg: String,
    /// Its digest in the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

/// Writes the provenance of an archive to `path`. `bills` are files that describe it; `time` is when it was
/// made, in seconds since the Unix epoch.
///
/// # Errors
/// [`Error::NoFolder`], [`Error::Signing`], or if a file cannot be read or written.
pub fn write(
    path: &Path,
    report: &Report,
    options: &Options,
    bills: &[&Path],
    signer: &Signer,
    time: i64,
) -> Result<()> {
    let byproducts: Result<Vec<Resource>> = bills.iter().map(|path| file(path)).collect();
    let eggs = report.bundled.iter().map(egg);
    let checkouts = report.checkouts.iter().map(checkout);
    let statement = Statement {
        kind: STATEMENT.into(),
        subject: vec![Resource {
            name: file_name(&report.archive),
            digest: Digests::of(Some(report.sha256)),
            ..Resource::default()
        }],
        predicate_type: PREDICATE.into(),
        predicate: Predicate {
            build_definition: BuildDefinition {
                build_type: BUILD.into(),
                external_parameters: parameters(report, options),
                resolved_dependencies: eggs.chain(checkouts).collect(),
            },
            run_details: RunDetails {
                builder: Builder {
                    id: format!("urn:eggcache:key:{}", signer.id()),
                    version: Version { eggcache: env!("CARGO_PKG_VERSION").into() },
                },
                metadata: RunMetadata { finished_on: clock::standard(time) },
                byproducts: byproducts?,
            },
        },
    };
    let payload = serde_json::to_vec(&statement).expect("JSON can represent every value");
    let envelope = Envelope::sign(signer, PAYLOAD, &payload)?;
    let mut text = serde_json::to_vec(&envelope).expect("JSON can represent every value");
    text.push(b'\n');
    let path = std::path::absolute(path).at("write", path)?;
    if let Some(folder) = path.parent().filter(|it| !it.is_dir()) {
        return Err(Error::NoFolder { path: folder.to_owned() });
    }
    temp::write_durably_at(&path, &text)
}

fn parameters(report: &Report, options: &Options) -> Parameters {
    let mtime = match (options.mtimes, report.mtime) {
        (Mtimes::Source, _) | (_, None) => "source".to_owned(),
        (_, Some(mtime)) => mtime.to_string(),
    };
    Parameters {
        prefix: report.prefix.clone(),
        mtime,
        exclude: options.exclude.clone(),
        include: options.include.clone(),
        unused: options.unused,
    }
}

fn egg(egg: &BundledEgg) -> Resource {
    let sha256 = egg.source_sha256.as_ref().and_then(|text| text.parse().ok());
    Resource {
        name: egg.path.rsplit('/').next().unwrap_or_default().to_owned(),
        uri: purl(&egg.name, &egg.version, egg.archive_url.as_deref()),
        digest: Digests::of(sha256),
        annotations: Some(Annotations { egg: egg.path.clone(), digest: egg.digest }),
    }
}

fn checkout(Checkout { name, path, commit }: &Checkout) -> Resource {
    Resource {
        name: name.clone(),
        uri: None,
        digest: Digests { sha256: None, git_commit: Some(commit.clone()) },
        annotations: Some(Annotations { egg: path.clone(), digest: None }),
    }
}

fn file(path: &Path) -> Result<Resource> {
    let text = files::read_short(path, MAX_PROVENANCE).at("read", path)?;
    let digest = Digests::of(Some(Sha256::of(&text)));
    Ok(Resource { name: file_name(path), digest, ..Resource::default() })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Checks that `key` has signed the provenance at `path`, that it is of the archive that was verified, and
/// that it names each of `bills`. What is wrong becomes a problem of the report.
///
/// # Errors
/// If a file cannot be read.
pub fn verify(report: &mut Verified, path: &Path, key: &str, bills: &[&Path]) -> Result<()> {
    let text = files::read_short(path, MAX_PROVENANCE).at("read", path)?;
    let bills: Result<Vec<Resource>> = bills.iter().map(|path| file(path)).collect();
    let shown = path.display().to_string();
    match statement(&text, key) {
        Err(what) => report.problems.push(Problem::new(&shown, what)),
        Ok(statement) => {
            let found = mismatches(&statement, report.sha256, &bills?);
            report.signed_by = found.is_empty().then(|| key_id(key));
            report.problems.extend(found.into_iter().map(|what| Problem::new(&shown, what)));
        }
    }
    Ok(())
}

/// The statement in an envelope that the key has signed, or what is wrong with it.
fn statement(text: &[u8], key: &str) -> std::result::Result<Statement, String> {
    let shown = |bad: BadEnvelope| match bad {
        BadEnvelope::Unsigned => format!("no signature in it is by key {}", key_id(key)),
        BadEnvelope::Form => bad.to_string(),
    };
    let envelope = Envelope::parse(text).map_err(shown)?;
    let payload = envelope.verified(key).map_err(shown)?;
    let other = || "it is not the provenance of a bundle".to_owned();
    if envelope.payload_type != PAYLOAD {
        return Err(other());
    }
    let statement: Statement = serde_json::from_slice(&payload).map_err(|_| other())?;
    let build = &statement.predicate.build_definition.build_type;
    let is_known = statement.kind == STATEMENT && statement.predicate_type == PREDICATE;
    if is_known && build == BUILD { Ok(statement) } else { Err(other()) }
}

fn mismatches(statement: &Statement, archive: Sha256, bills: &[Resource]) -> Vec<String> {
    let has = |all: &[Resource], sha256| all.iter().any(|it| it.digest.sha256 == Some(sha256));
    let mut found = Vec::new();
    if !has(&statement.subject, archive) {
        found.push("it is of another archive".to_owned());
    }
    let byproducts = &statement.predicate.run_details.byproducts;
    for bill in bills {
        if !bill.digest.sha256.is_some_and(|sha256| has(byproducts, sha256)) {
            found.push(format!("it does not name {} with these bytes", bill.name));
        }
    }
    found
}
