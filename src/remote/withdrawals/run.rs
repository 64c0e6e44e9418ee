//! The withdrawals of all remotes in one run: each list is read at most once, in the background where a
//! thread can be started. Reading an entry of the remote waits for its list.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use tracing::{debug, warn};

use super::contents::{self, WithdrawnContent};
use super::record::{self, Notice, Withdrawals};
use super::statement::{self, BadStatement, Checked, Statement, Withdrawn};
use crate::disk::dir::Dir;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::Manifest;
use crate::error::{Error, IoContext, OrLog, Result};
use crate::remote::client::{Client, Patience, first_line};
use crate::remote::config::{Remote, Stale};
use crate::remote::object_names;
use crate::util::clock::now;
use crate::util::environment::Environment;
use crate::util::hash::digest::Digest;
use crate::util::threads;

/// What a run knows of withdrawals. It begins with what the cache remembers.
#[derive(Debug)]
pub struct RunWithdrawals {
    root: PathBuf,
    remotes: Vec<(Remote, OnceLock<Read>)>,
    known: RwLock<Known>,
    /// The threads that read lists.
    readers: Mutex<Vec<JoinHandle<()>>>,
}

/// What is withdrawn, as far as it is known.
#[derive(Debug, Default)]
struct Known {
    withdrawals: Withdrawals,
    /// The contents of these builds, as far as the cache has or had them.
    contents: Vec<WithdrawnContent>,
}

impl Known {
    /// Reads the contents of all withdrawn builds.
    fn read_contents(&mut self, root: &Path) -> Result<()> {
        if !self.withdrawals.is_empty() {
            let root = Dir::open(root).at("open", root)?;
            self.contents = contents::of(&root, self.withdrawals.eggs())?;
        }
        Ok(())
    }
}

/// The result of reading the list of a remote.
#[derive(Debug, Clone)]
enum Read {
    /// There is a current list, or there was never one.
    Current,
    /// What is wrong with the list.
    Stale(String),
    /// The remote could not be asked.
    Failed(String),
}

impl RunWithdrawals {
    /// # Errors
    /// If a record of the cache at `root` cannot be read.
    pub fn new(root: &Path, remotes: &[Remote]) -> Result<Arc<Self>> {
        let (this, error) = Self::readable(root, remotes);
        error.map_or(Ok(this), Err)
    }

    /// As far as the records of the cache can be read, and the error of another one.
    #[must_use]
    pub fn readable(root: &Path, remotes: &[Remote]) -> (Arc<Self>, Option<Error>) {
        let (withdrawals, error) = Withdrawals::readable(root);
        let mut known = Known { withdrawals, ..Known::default() };
        let error = error.or(known.read_contents(root).err());
        let remotes = remotes.iter().map(|it| (it.clone(), OnceLock::new())).collect();
        let (root, known) = (root.to_owned(), RwLock::new(known));
        (Arc::new(Self { root, remotes, known, readers: Mutex::default() }), error)
    }

    /// Does this in a thread. Without one, it is done when its result is needed.
    fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        let reader = threads::spawn("withdrawals", work).or_log();
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).extend(reader);
    }

    /// Waits for the threads that read lists, so that their results are remembered.
    pub fn finish(&self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        for reader in std::mem::take(&mut *readers) {
            let _ = reader.join();
        }
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why an egg must not be used, if that is known so far.
    #[must_use]
    pub fn notice(&self, egg: Digest) -> Option<Notice> {
        self.known().withdrawals.get(egg).cloned()
    }

    /// Why an egg must not be used whose digest is not withdrawn: its content and its key are those of a
    /// withdrawn build.
    #[must_use]
    pub fn notice_of_content(&self, egg: &Manifest) -> Option<Notice> {
        let Known { withdrawals, contents } = &*self.known();
        withdrawals.get(contents::made_again(contents, egg)?).cloned()
    }

    /// Whether [`RunWithdrawals::notice_of_content`] may have a notice about an egg.
    #[must_use]
    pub fn can_be_made_again(&self, egg: &CachedEgg) -> bool {
        contents::can_be_made_again(&self.known().contents, egg)
    }

    /// As [`RunWithdrawals::notice`], also if another process of this cache has learned it.
    #[must_use]
    pub fn notices(&self, eggs: impl IntoIterator<Item = Digest>) -> Vec<(Digest, Notice)> {
        let (others, error) = Withdrawals::readable(&self.root);
        if let Some(error) = error {
            debug!(%error, "a record is not read");
        }
        let notice = |egg| self.notice(egg).or_else(|| others.get(egg).cloned());
        eggs.into_iter().filter_map(|egg| Some((egg, notice(egg)?))).collect()
    }

    #[must_use]
    pub fn has(&self, egg: Digest) -> bool {
        self.known().withdrawals.has(egg)
    }

    /// All withdrawn eggs that are known so far.
    #[must_use]
    pub fn eggs(&self) -> Vec<Digest> {
        self.known().withdrawals.eggs().collect()
    }

    /// Reads the list of a remote in the background, unless it is read already.
    pub fn begin(self: &Arc<Self>, client: &Client) {
        let (this, client) = (Arc::clone(self), client.clone());
        if this.of(client.name()).is_some_and(|(_, read)| read.get().is_none()) {
            self.spawn(move || this.settle(&client));
        }
    }

    /// Looks in the background for withdrawals of remotes that no run has asked for a day, for a run that
    /// may need nothing from them.
    pub fn begin_if_due(self: &Arc<Self>, environment: &Environment) {
        let is_due = |(remote, _): &&(Remote, _)| {
            !remote.trusted.is_empty() && record::is_due(&self.root, &remote.name)
        };
        for (remote, _) in self.remotes.iter().filter(is_due) {
            let (this, remote, environment) =
                (Arc::clone(self), remote.clone(), environment.clone());
            let read = move || {
                if let Some(client) = Client::new(&remote, Patience::BUILD, &environment).or_log() {
                    this.settle(&client);
                }
            };
            self.spawn(read);
        }
    }

    /// Waits until the list of a remote is read. A remote whose list is stale is given up if its
    /// configuration says so, and one that was not readable is given up in any case: nothing says what
    /// it has withdrawn.
    pub fn settle(&self, client: &Client) {
        let Some((remote, read)) = self.of(client.name()) else { return };
        match read.get_or_init(|| self.read(remote, client)) {
            Read::Stale(problem) if remote.stale == Stale::Skip => client.give_up(problem),
            Read::Failed(reason) => client.give_up(reason),
            Read::Current | Read::Stale(_) => {}
        }
    }

    /// The warning about a remote that is used although its list is stale.
    #[must_use]
    pub fn warning(&self, remote: &str) -> Option<String> {
        let (remote, read) = self.of(remote)?;
        match read.get()? {
            Read::Stale(problem) if remote.stale == Stale::Use => {
                Some(format!("remote {}: {problem}", remote.name))
            }
            _ => None,
        }
    }

    /// The warning about a list that could not be read, if this run would need a current one: the newest
    /// one that is known has expired, or the remote is not to be used without one.
    #[must_use]
    pub fn unread_warning(&self, remote: &str) -> Option<String> {
        let (remote, read) = self.of(remote)?;
        let Read::Failed(reason) = read.get()? else { return None };
        let memory = record::read(&self.root, &remote.name).or_log().unwrap_or_default();
        let is_expired = memory.newest(remote).is_some_and(|it| it.expires_at <= now());
        (is_expired || remote.stale == Stale::Skip).then(|| {
            let reason = first_line(reason);
            format!("remote {}: its list of withdrawn eggs cannot be read: {reason}", remote.name)
        })
    }

    fn of(&self, remote: &str) -> Option<&(Remote, OnceLock<Read>)> {
        self.remotes.iter().find(|(it, _)| it.name == remote)
    }

    fn read(&self, remote: &Remote, client: &Client) -> Read {
        let found = match client.get(object_names::WITHDRAWALS) {
            Ok(found) => found.map(|it| it.bytes),
            Err(error) => return Read::Failed(client.down().unwrap_or_else(|| error.to_string())),
        };
        let checked = found.map(|bytes| checked(&bytes, remote)).transpose();
        let judged = checked.and_then(|found| self.remember(remote, found.as_ref()));
        record::note_looked(&self.root, &remote.name).or_log();
        match judged {
            Ok(()) => Read::Current,
            Err(bad) => {
                let problem = problem(&bad);
                warn!(remote = remote.name, problem, "stale");
                Read::Stale(problem)
            }
        }
    }

    /// Judges the list of a remote, and remembers it.
    fn remember(&self, remote: &Remote, found: Option<&Checked>) -> Result<(), BadStatement> {
        let (memory, judged) = record::learn(&self.root, remote, found);
        if let Some(Checked { statement, .. }) = found {
            debug!(remote = remote.name, number = statement.number, "read the withdrawals");
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.withdrawals.set(&remote.name, memory.withdrawn(remote));
            known.read_contents(&self.root).or_log();
        }
        judged
    }
}

/// Checks the signatures of the list in an object.
pub(super) fn checked(bytes: &[u8], remote: &Remote) -> Result<Checked, BadStatement> {
    statement::checked(&statement::signed(bytes)?, remote.trust(), now())
}

/// What a remote has withdrawn.
#[derive(Debug)]
pub struct Looked {
    /// The newest list that counts, of the remote or of those that the cache remembers.
    pub list: Option<Statement>,
    /// All builds that are withdrawn.
    pub withdrawn: Vec<Withdrawn>,
    /// What is wrong with the list that the remote has.
    pub problem: Option<String>,
}

/// Reads the list of a remote, and remembers it as a run does, if it can.
///
/// # Errors
/// If the remote cannot be read, or a record of the cache.
pub fn look(client: &Client, root: &Path, remote: &Remote) -> Result<Looked> {
    let found = client.get(object_names::WITHDRAWALS)?;
    let before = record::read(root, &remote.name)?;
    let (memory, judged) = match found.map(|it| checked(&it.bytes, remote)).transpose() {
        Ok(found) => record::learn(root, remote, found.as_ref()),
        Err(bad) => (before, Err(bad)),
    };
    record::note_looked(root, &remote.name).or_log();
    Ok(Looked {
        list: memory.newest(remote).cloned(),
        withdrawn: memory.withdrawn(remote).into_iter().cloned().collect(),
        problem: judged.err().map(|bad| problem(&bad)),
    })
}

fn problem(bad: &BadStatement) -> String {
    format!("its list of withdrawn eggs {}", first_line(&bad.to_string()))
}
