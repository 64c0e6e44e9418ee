//! Serve: the bridge to buildout. One process for each buildout run, JSON lines both ways.
//!
//! docs/protocol.md describes the lines. The first line, unasked, tells the protocol's version.
//! After that every request line is answered by one line, in order. The end of the input ends it,
//! after it has collected garbage if it is time for that.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::add::{self, Replace};
use crate::auto;
use crate::blob::Provenance;
use crate::cache::Cache;
use crate::clock::now;
use crate::digest::Digest;
use crate::egg::Egg;
use crate::egg_key::Host;
use crate::error::{Error, Result};
use crate::index::Usage;
use crate::materialize::{self, Outcome, Prepared};
use crate::policy::Policy;
use crate::prefetch::Prefetch;
use crate::progress::Silent;
use crate::recall::Recall;
use crate::register;
use crate::staging;
use crate::tree::Hints;

/// Version of the protocol: it changes with every change that an older client would misread.
pub const PROTOCOL: u32 = 6;

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    /// Comes first. Who asks, and for which cache.
    Open {
        cache: PathBuf,
        host: Host,
        buildout: Option<String>,
        setuptools: Option<String>,
        /// Looked at for what a power cut has left incomplete.
        eggs_directory: Option<PathBuf>,
        /// What tells buildouts that want the same eggs from others.
        configuration: Option<String>,
    },
    /// Which eggs of a project work here.
    Find { name: String, variant: String },
    /// Eggs that will be asked for, in that order.
    Prefetch { digests: Vec<Digest>, into: PathBuf },
    /// Copy an egg into an eggs directory.
    Materialize { digest: Digest, into: PathBuf },
    /// Keep an egg that was built.
    Store {
        path: PathBuf,
        source_sha256: String,
        variant: String,
        source: Option<String>,
        build_seconds: Option<f64>,
    },
    /// Note which eggs a buildout uses that has succeeded.
    Root {
        directory: PathBuf,
        eggs_directory: PathBuf,
        eggs: Vec<PathBuf>,
        /// Whether every part was installed or updated.
        whole: bool,
    },
    /// Record what was used, and end.
    Close {},
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Greeting {
        protocol: u32,
        eggcache: &'static str,
    },
    Opened {
        read_only: bool,
        /// Names of eggs that were removed: a power cut had left them incomplete.
        torn: Vec<String>,
        /// What whoever uses this cache should know.
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    Found {
        eggs: Vec<Candidate>,
    },
    Prefetching {
        /// As of `open`, where another eggs directory was looked at just now.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        torn: Vec<String>,
    },
    Materialized {
        #[serde(serialize_with = "crate::fs::lossy")]
        path: PathBuf,
        #[serde(flatten)]
        outcome: Outcome,
        /// As of `open`, where another eggs directory was looked at just now.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        torn: Vec<String>,
    },
    Stored(add::Outcome),
    Registered {
        #[serde(flatten)]
        report: register::Report,
        /// What keeps garbage from being collected.
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    Closed {},
    Failed {
        error: String,
        kind: Kind,
    },
}

/// An egg that could be used.
#[derive(Debug, Serialize)]
struct Candidate {
    digest: Digest,
    version: String,
    file_name: String,
    source_sha256: String,
}

/// What a client can do about a failure.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// The egg is gone or damaged: build it.
    Unusable,
    /// Something else stands in its place.
    InTheWay,
    /// Do without the cache.
    Failure,
}

struct Session {
    cache: Cache,
    host: Host,
    provenance: Provenance,
    /// Eggs directories by the names that they were asked for.
    prepared: HashMap<PathBuf, PathBuf>,
    /// Begins when there is something to do.
    prefetch: Option<Prefetch>,
    recall: Option<Recall>,
    /// What was copied or stored, in this order.
    asked: Vec<Digest>,
    usage: Usage,
    /// Which eggs this run has copied or stored, by their paths.
    known: HashMap<PathBuf, Digest>,
    /// Eggs that turned out to be damaged: the next build of their key takes their place.
    damaged: Vec<Digest>,
    /// Eggs that are not offered again: damaged, gone, of a newer eggcache, or not for this host.
    unusable: Vec<Digest>,
    /// Whether the buildout has.
    has_succeeded: bool,
}

/// Answers requests until the input ends.
///
/// # Errors
/// If the input cannot be read or the output not written. A request that fails is answered.
pub fn serve(mut input: impl BufRead, mut output: impl Write) -> std::io::Result<()> {
    let mut say = |answer: &Answer| {
        serde_json::to_writer(&mut output, answer)?;
        output.write_all(b"\n")?;
        output.flush()
    };
    say(&Answer::Greeting { protocol: PROTOCOL, eggcache: env!("CARGO_PKG_VERSION") })?;
    let (mut session, mut succeeded) = (None, None);
    let mut line = Vec::new();
    let served = loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
        let answer = serde_json::from_slice(&line)
            .map_err(|error| Error::Usage(format!("not a request of protocol {PROTOCOL}: {error}")))
            .and_then(|request| answer(&mut session, &mut succeeded, request));
        if let Err(error) = say(&answer.unwrap_or_else(|error| failed(&error))) {
            break Err(error);
        }
    };
    // The client is gone without a word; what it used was used all the same.
    if let Some(mut session) = session {
        session.record();
    }
    if let Some(mut cache) = succeeded {
        // Nobody waits for this, so nobody shall notice it.
        let _ = std::env::set_current_dir("/");
        let _ = rustix::process::nice(10);
        auto::collect(&mut cache);
    }
    served
}

/// Closing a session whose buildout has succeeded leaves its cache in `succeeded`.
fn answer(
    session: &mut Option<Session>,
    succeeded: &mut Option<Cache>,
    request: Request,
) -> Result<Answer> {
    match request {
        Request::Open { cache, host, buildout, setuptools, eggs_directory, configuration } => {
            let cache = Cache::open(&cache)?;
            let (read_only, warning) = (cache.index.is_read_only(), cache.warning());
            let torn = match eggs_directory.and_then(|dir| dir.canonicalize().ok()) {
                Some(dir) => cache.check_copies(&dir),
                None => Vec::new(),
            };
            let provenance = Provenance { buildout, setuptools, ..Provenance::default() };
            let recall = configuration.map(|it| Recall::of(cache.root(), &it, &host));
            let opened = Session {
                cache,
                host,
                provenance,
                prepared: HashMap::new(),
                prefetch: None,
                recall,
                asked: Vec::new(),
                usage: Usage { is_run: true, ..Usage::default() },
                known: HashMap::new(),
                damaged: Vec::new(),
                unusable: Vec::new(),
                has_succeeded: false,
            };
            if let Some(mut before) = session.replace(opened) {
                before.record();
            }
            return Ok(Answer::Opened { read_only, torn, warning });
        }
        Request::Close {} => {
            if let Some(mut session) = session.take() {
                session.record();
                *succeeded = Some(session.cache).filter(|_| session.has_succeeded);
            }
            return Ok(Answer::Closed {});
        }
        _ => {}
    }
    let session = session.as_mut().ok_or_else(|| Error::Usage("the cache is not open".into()))?;
    match request {
        Request::Find { name, variant } => session.find(&name, &variant),
        Request::Prefetch { digests, into } => session.prefetch(&digests, &into),
        Request::Materialize { digest, into } => session.materialize(digest, &into),
        Request::Store { path, source_sha256, variant, source, build_seconds } => {
            let provenance = Provenance { source, build_seconds, ..session.provenance.clone() };
            session.store(path, source_sha256, variant, provenance)
        }
        Request::Root { directory, eggs_directory, eggs, whole } => {
            session.register(directory, eggs_directory, eggs, whole)
        }
        Request::Open { .. } | Request::Close {} => unreachable!("answered above"),
    }
}

impl Session {
    fn find(&self, name: &str, variant: &str) -> Result<Answer> {
        let mut eggs = self.cache.index.of_project(&crate::egg_name::normalize_name(name))?;
        eggs.retain(|egg| {
            egg.key.variant == variant
                && self.host.accepts(&egg.key)
                && !self.unusable.contains(&egg.digest)
        });
        let candidate = |egg: Egg| Candidate {
            digest: egg.digest,
            version: egg.key.version,
            file_name: egg.file_name,
            source_sha256: egg.key.source_sha256,
        };
        Ok(Answer::Found { eggs: eggs.into_iter().map(candidate).collect() })
    }

    fn materialize(&mut self, digest: Digest, into: &Path) -> Result<Answer> {
        let outcome = self.copy(digest, into);
        match &outcome {
            Err(Error::DamagedBlob { .. }) => {
                self.damaged.push(digest);
                self.unusable.push(digest);
            }
            Err(error) if is_unusable(error) => {
                self.unusable.push(digest);
                self.cache.index.record_miss_of(digest, now());
            }
            _ => {}
        }
        let answer = outcome?;
        if let Answer::Materialized { path, outcome, .. } = &answer {
            if let Outcome::Copied(counts) = outcome {
                self.usage.hits.push(digest);
                self.usage.copied_bytes += counts.bytes;
            } else {
                self.usage.present.push(digest);
            }
            self.known.insert(path.clone(), digest);
            self.asked.push(digest);
        }
        Ok(answer)
    }

    fn prefetch(&mut self, digests: &[Digest], into: &Path) -> Result<Answer> {
        let Prepared { path, torn } = self.prepare(into)?;
        let store = &self.cache.store;
        let is_first = self.prefetch.is_none();
        let prefetch = self.prefetch.get_or_insert_with(|| Prefetch::new(store.clone()));
        prefetch.expect(digests, &path);
        // Now that there is an eggs directory, and that something is missing in it.
        if let Some(recall) = self.recall.as_ref().filter(|_| is_first) {
            prefetch.expect(recall.digests(), &path);
        }
        Ok(Answer::Prefetching { torn })
    }

    fn copy(&mut self, digest: Digest, into: &Path) -> Result<Answer> {
        let miss = || Error::miss(&digest);
        let prefetched = match (&self.prefetch, self.prepared.get(into)) {
            (Some(prefetch), Some(path)) if path.is_dir() => prefetch.take(digest, path),
            _ => None,
        };
        let (blob, temp) = match prefetched {
            Some((blob, temp)) => (blob, Some(temp)),
            None => (self.cache.store.open(digest)?.ok_or_else(miss)?, None),
        };
        let egg = self.cache.index.of_digest(digest)?.ok_or_else(miss)?;
        staging::check_row(&self.cache.store, &egg, &blob)?;
        if !self.host.accepts(&blob.manifest.key) {
            return Err(miss());
        }
        let Prepared { path: into, torn } = self.prepare(into)?;
        let path = into.join(&blob.manifest.file_name);
        let outcome = match temp {
            // Gone with its directory, if somebody has made that anew.
            Some(temp) if temp.path().exists() => materialize::place(&blob, temp, &into)?,
            _ => materialize::materialize_blob(&self.cache.store, &blob, &into, &Silent)?,
        };
        Ok(Answer::Materialized { path, outcome, torn })
    }

    /// Makes an eggs directory ready, the first time that it is asked for.
    fn prepare(&mut self, into: &Path) -> Result<Prepared> {
        if let Some(path) = self.prepared.get(into).filter(|path| path.is_dir()) {
            return Ok(Prepared { path: path.clone(), torn: Vec::new() });
        }
        let prepared = materialize::prepare(&self.cache, into)?;
        self.prepared.insert(into.to_owned(), prepared.path.clone());
        Ok(prepared)
    }

    fn store(
        &mut self,
        path: PathBuf,
        source_sha256: String,
        variant: String,
        provenance: Provenance,
    ) -> Result<Answer> {
        // What was not built just now was installed already when the cache was asked.
        if let Some(seconds) = provenance.build_seconds {
            self.usage.misses += 1;
            self.usage.build_seconds += seconds;
        }
        let hints = Hints {
            generation: Some(self.host.generation),
            implementation: Some(self.host.implementation.clone()),
            soabi: self.host.soabi.clone(),
            source_sha256,
            variant,
            environment: self.host.environment.clone(),
        };
        let replace = Replace::These(self.damaged.clone());
        let options = add::Options { hints, provenance, replace, just_built: true };
        if path.extension().is_none_or(|extension| extension != "egg") {
            let reason = "its name does not end in .egg".into();
            return Err(Error::UnsoundEgg { path, reason });
        }
        let mut report = add::add(&mut self.cache, std::slice::from_ref(&path), &options, &Silent)?;
        let added = report.eggs.pop().map(|added| added.outcome);
        let added = added.ok_or_else(|| Error::miss(&path.display()))?;
        if let add::Outcome::Stored { egg }
        | add::Outcome::Replaced { egg, .. }
        | add::Outcome::Present { egg } = &added
        {
            let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
            self.known.extend(parent.map(|parent| (parent.join(&egg.file_name), egg.digest)));
            self.asked.push(egg.digest);
        }
        Ok(Answer::Stored(added))
    }

    fn register(
        &mut self,
        directory: PathBuf,
        eggs_directory: PathBuf,
        eggs: Vec<PathBuf>,
        whole: bool,
    ) -> Result<Answer> {
        let options = register::Options {
            directory,
            eggs_directory,
            python: self.host.python_tag(),
            buildout: self.provenance.buildout.clone(),
            whole,
            eggs,
            known: self.known.clone(),
        };
        let report = register::register(&mut self.cache, &options)?;
        if let Some(recall) = self.recall.as_ref().filter(|_| report.registered) {
            let _ = recall.remember(&self.asked, &self.cache.index);
        }
        let warning = Policy::read(self.cache.root()).err().map(|error| error.to_string());
        self.has_succeeded = true;
        Ok(Answer::Registered { report, warning })
    }

    fn record(&mut self) {
        let nothing = Usage { is_run: true, ..Usage::default() };
        self.cache.index.record(&std::mem::replace(&mut self.usage, nothing), now());
    }
}

/// Whether an egg cannot be had from the cache, and everything else still can.
fn is_unusable(error: &Error) -> bool {
    matches!(
        error,
        Error::DamagedBlob { .. }
            | Error::NewerFormat { .. }
            | Error::UnreadableBlob { .. }
            | Error::WrongRow { .. }
            | Error::Miss { .. }
    )
}

fn failed(error: &Error) -> Answer {
    let kind = match error {
        error if is_unusable(error) => Kind::Unusable,
        Error::InTheWay { .. } => Kind::InTheWay,
        _ => Kind::Failure,
    };
    Answer::Failed { error: error.to_string(), kind }
}
