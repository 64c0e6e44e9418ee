//! One session: the state of the bridge between `open` and `close` of one buildout run.

mod connection;
mod convert;
mod copy;
mod find;
mod journal;
mod notes;
mod remotes;
mod store;
mod time_budget;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Options;
use super::auto_gc;
use super::prefetch_worker::PrefetchWorker;
use super::protocol::{Answer, Opening};
use super::store_worker::StoreWorker;
use crate::cache::parity::Parity;
use crate::cache::prefetch_hints::PrefetchHints;
use crate::cache::retention::policy::Policy;
use crate::cache::{Cache, Usage};
use crate::disk::dir::Dir;
use crate::disk::temp::{self, Temp};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::Host;
use crate::egg::loader::Loader;
use crate::egg::provenance::Provenance;
use crate::error::{Error, OrLog, Result};
use crate::ops::add::Added;
use crate::ops::register;
use crate::remote::checkout;
use crate::remote::config::{self, Remote};
use crate::remote::withdrawals::record::Notice;
use crate::remote::withdrawals::run::RunWithdrawals;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::Silent;
use remotes::SessionRemotes;
use tracing::{debug, info};

pub struct Session {
    cache: Cache,
    host: Host,
    provenance: Provenance,
    /// The eggs directory of the buildout, as `open` names it.
    eggs_directory: Option<PathBuf>,
    /// Canonical paths of prepared eggs directories, by the names that requests use.
    prepared: HashMap<PathBuf, PathBuf>,
    /// Starts when the first egg is missing in an eggs directory.
    prefetcher: Option<PrefetchWorker>,
    /// What the last buildout of this configuration asked for.
    hints: Option<PrefetchHints>,
    conversion: convert::Conversion,
    /// Wheels with an error, one after another.
    conversion_errors: usize,
    /// Where archives are that were fetched ahead.
    spool: Option<Temp>,
    /// Comparisons of this session, in case the cache cannot keep them.
    parities: Vec<Parity>,
    /// Starts with the first egg to store.
    storer: Option<StoreWorker>,
    /// Outcomes of stored eggs that `settle` has not returned yet.
    settled: Vec<Added>,
    /// Copied and stored eggs in the order of their requests; `None` for an egg that is not stored yet,
    /// or not at all.
    asked: Vec<Option<Digest>>,
    usage: Usage,
    journal: journal::Journal,
    /// Choices by which this buildout came to the archives of eggs.
    learned: Vec<(Digest, String)>,
    /// Eggs that this session has copied or stored, by their paths.
    known: HashMap<PathBuf, Digest>,
    /// Withdrawn eggs that this session has built again, with the same content, and that were not stored,
    /// by the paths of their copies.
    built_again: HashMap<PathBuf, Digest>,
    /// The eggs that the buildout has registered, by their paths.
    registered: HashMap<PathBuf, Digest>,
    /// Eggs that are damaged or need a library that was replaced: the next build of their key replaces
    /// them.
    damaged: Vec<Digest>,
    /// Eggs that are not offered again: damaged, gone, of a newer eggcache, or not for this host.
    unusable: Vec<Digest>,
    /// Why remotes are not asked at all.
    unusable_remotes: Vec<String>,
    remotes: Option<SessionRemotes>,
    withdrawals: Arc<RunWithdrawals>,
    loader: Loader,
    /// Whether the buildout has registered its eggs.
    has_succeeded: bool,
    /// Whether the buildout has said that it has failed.
    has_failed: bool,
    options: Arc<Options>,
}

impl Session {
    pub fn open(opening: Opening, options: &Arc<Options>) -> Result<(Self, Answer)> {
        let Opening { cache, host, buildout, setuptools, .. } = opening;
        let Opening { eggs_directory, configuration, library_folder, offline, .. } = opening;
        let mut cache = Cache::open_with(&cache, &options.trust, &Silent)?;
        cache.limit_waiting();
        let read_only = cache.is_read_only();
        let full = cache.check_writable().err().filter(Error::is_disk_full);
        let torn = match eggs_directory.as_ref().and_then(|dir| dir.canonicalize().ok()) {
            Some(dir) => clean_up(&cache, &dir),
            None => Vec::new(),
        };
        let hints = configuration.as_ref().map(|it| PrefetchHints::of(cache.dir(), it, &host));
        let text = |error: &Error| options.text(error, cache.root());
        let configured = remotes_of(&cache, options);
        let of_cache = configured.as_deref().unwrap_or(&[]);
        let (withdrawals, unreadable) = RunWithdrawals::readable(cache.root(), of_cache);
        let unreadable = unreadable.map(|error| text(&error));
        let untrusted = of_cache.iter().filter(|remote| !offline && remote.trusted.is_empty());
        let untrusted: Vec<String> = untrusted
            .map(|remote| text(&Error::UntrustedRemote { name: remote.name.clone() }))
            .collect();
        let remotes = configured.and_then(|remotes| {
            SessionRemotes::open(&cache, remotes, &withdrawals, &host, configuration, options)
        });
        let mut unasked_remotes = Vec::new();
        let (remotes, failure) = match remotes {
            Ok(remotes) if offline => {
                unasked_remotes = remotes.iter().flat_map(SessionRemotes::names).collect();
                (None, None)
            }
            Err(_) if offline => (None, None),
            Ok(remotes) => (remotes, None),
            Err(error) => (None, Some(text(&error))),
        };
        if remotes.is_some() {
            withdrawals.begin_if_due(&options.environment);
        }
        let warnings = options.warning.clone().into_iter().chain(cache.warning());
        let mut unusable_remotes: Vec<String> = failure.into_iter().chain(untrusted).collect();
        let warnings = warnings.chain(unreadable).chain(unusable_remotes.clone());
        let warnings: Vec<String> = warnings.collect();
        if !unasked_remotes.is_empty() {
            // Buildout knows it. The record of the run has to say it later.
            let names = unasked_remotes.join(", ");
            unusable_remotes.push(format!("buildout was offline, and asked no remote ({names})"));
        }
        info!(
            cache = %cache.root().display(),
            host = ?host,
            buildout,
            offline,
            read_only,
            remotes = ?remotes.as_ref().map(SessionRemotes::role),
            "opened a session"
        );
        let answer = Answer::Opened {
            read_only,
            torn,
            warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
            full: full.map(|error| text(&error)),
            remotes: remotes.as_ref().map(SessionRemotes::role),
            unasked_remotes,
        };
        let session = Self {
            cache,
            host,
            provenance: Provenance { buildout, setuptools, ..Provenance::default() },
            eggs_directory,
            prepared: HashMap::new(),
            prefetcher: None,
            hints,
            conversion: convert::Conversion::default(),
            conversion_errors: 0,
            spool: None,
            parities: Vec::new(),
            storer: None,
            settled: Vec::new(),
            asked: Vec::new(),
            usage: Usage { is_run: true, ..Usage::default() },
            journal: journal::Journal::default(),
            learned: Vec::new(),
            known: HashMap::new(),
            built_again: HashMap::new(),
            registered: HashMap::new(),
            damaged: Vec::new(),
            unusable: Vec::new(),
            unusable_remotes,
            remotes,
            withdrawals,
            loader: Loader::new(
                options.environment.get_os("LD_LIBRARY_PATH"),
                library_folder.as_deref(),
            ),
            has_succeeded: false,
            has_failed: false,
            options: Arc::clone(options),
        };
        Ok((session, answer))
    }

    /// Whether an egg is not offered: it could not be copied before, or was withdrawn.
    fn is_unusable(&self, digest: Digest) -> bool {
        self.unusable.contains(&digest) || self.withdrawals.has(digest)
    }

    /// Registers the buildout and its eggs after it has succeeded.
    pub fn register(
        &mut self,
        directory: PathBuf,
        eggs_directory: PathBuf,
        eggs: Vec<PathBuf>,
        whole: bool,
    ) -> Result<Answer> {
        self.settle();
        let owned = |(path, digest): (&PathBuf, &Digest)| (path.clone(), *digest);
        let options = register::Options {
            directory,
            eggs_directory,
            python: self.host.python_tag(),
            environment: self.host.environment.clone(),
            buildout: self.provenance.buildout.clone(),
            whole,
            eggs,
            known: self.known.iter().chain(&self.built_again).map(owned).collect(),
        };
        let report = register::register(&mut self.cache, &options)?;
        self.registered.clone_from(&report.digests);
        debug!(directory = %options.directory.display(), ?report, "registered a buildout");
        if report.registered {
            self.remember_used()?;
        }
        let policy = Policy::read(self.cache.root());
        let warning = policy.err().map(|error| self.options.text(&error, self.cache.root()));
        self.has_succeeded = true;
        Ok(Answer::Registered { report, warning })
    }

    /// Records the eggs of this configuration as hints for the next buildout, and pushes them as its set.
    fn remember_used(&mut self) -> Result<()> {
        let Some(hints) = &self.hints else { return Ok(()) };
        let asked: Vec<Digest> = self.asked.iter().flatten().copied().collect();
        if let Some(all) = hints.remember(&asked, &self.cache).or_log()
            && let Some(remotes) = &mut self.remotes
        {
            let eggs: Result<Vec<Option<CachedEgg>>> =
                all.iter().map(|&digest| self.cache.egg(digest)).collect();
            remotes.push_set(eggs?.into_iter().flatten().collect());
        }
        Ok(())
    }

    /// Notes whether the buildout has failed. One that ends without registering its eggs may also have listed something.
    pub fn note_failure(&mut self, failed: bool) {
        self.has_failed = failed && !self.has_succeeded;
    }

    /// Records in the index what the session has used, and where its eggs came from.
    pub fn record_use(&mut self) {
        let nothing = Usage { is_run: true, ..Usage::default() };
        let usage = std::mem::replace(&mut self.usage, nothing);
        let (hits, present, misses) = (usage.hits.len(), usage.present.len(), usage.misses);
        info!(hits, present, misses, copied_bytes = usage.copied_bytes, "used in the session");
        self.cache.record_use(&usage, now());
        self.record_run();
        self.cache.learn_choices(&std::mem::take(&mut self.learned));
    }

    /// The answer to `close`. Waits a while for pushes, and after a run that has copied eggs, for lists of
    /// withdrawn eggs that are being read.
    pub fn close(&mut self) -> Answer {
        self.end_conversion();
        if !self.known.is_empty() {
            self.withdrawals.finish();
        }
        let (pushed, mut warnings) = match &mut self.remotes {
            None => (None, Vec::new()),
            Some(remotes) => remotes.finish(),
        };
        warnings.extend(self.withdrawn_in_use());
        Answer::Closed { warnings, pushed }
    }

    /// Warnings about eggs that the buildout has and that were withdrawn, perhaps while it ran. Of those that
    /// were built again, the refusal to store them says so already.
    fn withdrawn_in_use(&self) -> Vec<String> {
        let eggs: BTreeMap<&PathBuf, Digest> = self
            .registered
            .iter()
            .chain(&self.known)
            .filter(|(path, _)| !self.built_again.contains_key(*path))
            .map(|(path, digest)| (path, *digest))
            .collect();
        let notices: HashMap<Digest, Notice> =
            self.withdrawals.notices(eggs.values().copied()).into_iter().collect();
        let warning = |(path, digest): (&PathBuf, Digest)| {
            let what = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Notice { remote: name, reason, .. } = notices.get(&digest)?.clone();
            let error = Error::WithdrawnInUse { what, name, reason };
            Some(self.options.text(&error, self.cache.root()))
        };
        eggs.into_iter().filter_map(warning).collect()
    }

    /// Finishes in the background, after the answer to `close`.
    pub fn end(self) {
        let Self { mut cache, remotes, withdrawals, prefetcher, has_succeeded, options, .. } = self;
        drop(prefetcher);
        (options.on_background)();
        drop(remotes);
        withdrawals.finish();
        if has_succeeded {
            auto_gc::collect(&mut cache);
        }
    }
}

/// Removes what killed runs and a power cut have left in an eggs directory: this run may copy nothing, which
/// would remove it, too. Returns the names of torn copies.
fn clean_up(cache: &Cache, eggs: &Path) -> Vec<String> {
    Dir::open(eggs).or_log().and_then(|dir| temp::sweep(&dir).or_log());
    cache.remove_torn_copies(eggs)
}

/// The remotes of a cache.
fn remotes_of(cache: &Cache, options: &Options) -> Result<Vec<Remote>> {
    let mut remotes = config::read(cache.root(), cache.trust())?;
    if let Some(buildout) = &options.directory {
        let home = options.environment.get_os("HOME").map(Path::new);
        checkout::mark_remotes(&mut remotes, cache.root(), buildout, home, cache.trust());
    }
    Ok(remotes)
}

/// Whether the cache does not have one egg, and has no other problem.
pub fn is_unusable(error: &Error) -> bool {
    matches!(
        error,
        Error::DamagedBlob { .. }
            | Error::ReplacedLibrary { .. }
            | Error::NewerFormat { .. }
            | Error::UnreadableBlob { .. }
            | Error::WrongRow { .. }
            | Error::Miss { .. }
            | Error::Withdrawn { .. }
            | Error::Unfetched(_)
    )
}
