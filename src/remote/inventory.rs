//! Inventory: everything that a remote has, for operations on all of it. It needs a listing, which object
//! stores and folders have, and web servers do not.
//!
//! Other processes write meanwhile. Entries are listed before lists and sets are read, so a line may name
//! an entry that was pushed in between and is not in the inventory. Before an operation acts on such a
//! line, it looks for the entry once more ([`Inventory::is_gone`]).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::egg::key::EggKey;
use crate::error::{Error, Result};
use crate::remote::client::{Client, ListEnd, MAX_LIST, ObjectInfo, Patience, Version};
use crate::remote::config::Remote;
use crate::remote::entry::{BadEntry, MAX_OBJECT, RemoteEntry, Signed};
use crate::remote::object_names::{self, ObjectKind};
use crate::remote::parallel::REQUESTS;
use crate::remote::signature::{self, Trust};
use crate::util::clock::now;
use crate::util::environment::Environment;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};
use crate::util::threads;
use crate::util::units::shown_limit;

/// Most bytes of all lists and sets.
const MAX_LINES: usize = 1 << 30;
/// Most malformed lines of one list or set that are remembered.
const MOST_MALFORMED: usize = 100;

/// Everything that a remote has.
#[derive(Debug)]
pub struct Inventory {
    pub client: Client,
    pool: rayon::ThreadPool,
    pub blobs: BTreeMap<Digest, ObjectInfo>,
    pub entries: Vec<StoredEntry>,
    /// By name. Every list that valid entries belong in is here, even if the remote lacks it.
    pub lists: BTreeMap<String, Lines>,
    pub sets: BTreeMap<String, Lines>,
    pub leases: Vec<ObjectInfo>,
    /// Objects that are not part of the layout.
    pub foreign: Vec<ObjectInfo>,
}

/// The lines of a list or a set, with the error of each that cannot be parsed, up to a hundred of those.
pub type Lines = Vec<Result<Signed, BadEntry>>;

/// An entry as the remote stores it.
#[derive(Debug)]
pub struct StoredEntry {
    pub object: ObjectInfo,
    pub version: Version,
    /// Of the object's bytes, to detect a later change.
    pub digest: Digest,
    pub signed: Signed,
    /// The content, whatever its signatures are.
    pub content: Result<RemoteEntry, BadEntry>,
    /// Why it is not valid: it has no trusted signature, or its name does not match its content.
    pub problem: Option<BadEntry>,
}

impl StoredEntry {
    /// The content of a valid entry.
    #[must_use]
    pub fn valid(&self) -> Option<&RemoteEntry> {
        self.content.as_ref().ok().filter(|_| self.problem.is_none())
    }

    /// The egg's file name, or else the name of the object.
    #[must_use]
    pub fn label(&self) -> &str {
        self.content.as_ref().map_or(&self.object.name, |entry| &entry.file_name)
    }

    /// Whether at least one trusted key has signed it, and others are still to sign.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        matches!(self.problem, Some(BadEntry::TooFewSignatures { .. }))
    }

    /// Whether a newer eggcache has written it.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self.content, Err(BadEntry::NewerFormat(_)))
    }

    fn new(object: ObjectInfo, bytes: &[u8], version: Version, trust: Trust<'_>) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (signed, content) = match Signed::parse(text.trim_end()) {
            Ok(signed) => {
                let content = signed.unchecked();
                (signed, content)
            }
            Err(bad) => (Signed::default(), Err(bad)),
        };
        let problem = match &content {
            Err(bad) => Some(bad.clone()),
            Ok(entry) if object_names::entry(&entry.key) != object.name => {
                Some(BadEntry::OtherEgg(entry.file_name.clone()))
            }
            Ok(entry) => {
                signature::verified(&signed, trust, now()).and_then(|_| entry.check_name()).err()
            }
        };
        Self { object, version, digest: Digest::of(bytes), signed, content, problem }
    }
}

/// Checks without a request that a remote can list its objects.
///
/// # Errors
/// [`Error::WebServer`] or [`Error::NoRemoteFolder`]
pub fn require_listing(remote: &Remote) -> Result<()> {
    if remote.is_web() {
        let (name, what) = (remote.name.clone(), "cannot list its objects");
        return Err(Error::WebServer { name, what });
    }
    remote.check_folder()
}

impl Inventory {
    /// Lists a remote, and reads all of it except the blobs.
    pub fn new(
        remote: &Remote,
        environment: &Environment,
        progress: &dyn Progress,
    ) -> Result<Self> {
        Self::read(remote, true, environment, progress)
    }

    /// Lists a remote, and reads its entries alone.
    ///
    /// # Errors
    /// [`Error::WebServer`], [`Error::NoRemoteFolder`] or [`Error::Remote`].
    pub fn entries(
        remote: &Remote,
        environment: &Environment,
        progress: &dyn Progress,
    ) -> Result<Vec<StoredEntry>> {
        Ok(Self::read(remote, false, environment, progress)?.entries)
    }

    /// Reads the entries, and the lists and sets if they are wanted.
    fn read(
        remote: &Remote,
        with_lines: bool,
        environment: &Environment,
        progress: &dyn Progress,
    ) -> Result<Self> {
        require_listing(remote)?;
        let mut inventory = Self {
            client: Client::new(remote, Patience::COMMAND, environment)?,
            pool: threads::pool("requests", REQUESTS)?,
            blobs: BTreeMap::new(),
            entries: Vec::new(),
            lists: BTreeMap::new(),
            sets: BTreeMap::new(),
            leases: Vec::new(),
            foreign: Vec::new(),
        };
        let (mut entries, mut lists, mut sets) = (Vec::new(), Vec::new(), Vec::new());
        for object in inventory.client.list(object_names::VERSION)? {
            match object_names::kind_of(&object.name) {
                Some(ObjectKind::Blob(digest)) => drop(inventory.blobs.insert(digest, object)),
                Some(ObjectKind::Entry) => entries.push(object),
                Some(ObjectKind::Project) => lists.push(object.name),
                Some(ObjectKind::Set) => sets.push(object.name),
                Some(ObjectKind::Lease) => inventory.leases.push(object),
                Some(ObjectKind::Clock | ObjectKind::Withdrawals) => {}
                None => inventory.foreign.push(object),
            }
        }
        if !with_lines {
            (lists, sets) = (Vec::new(), Vec::new());
        }
        let requests = entries.len() + lists.len() + sets.len();
        progress.begin("reading", requests as u64, Unit::Eggs);
        inventory.entries = inventory.read_entries(entries, remote.trust(), progress)?;
        inventory.lists = inventory.read_lines(lists, progress)?;
        inventory.sets = inventory.read_lines(sets, progress)?;
        progress.end();
        for RemoteEntry { key, .. } in inventory.entries.iter().filter_map(StoredEntry::valid) {
            inventory.lists.entry(object_names::project(&key.name, &key.python)).or_default();
        }
        Ok(inventory)
    }

    /// Calls `work` for every item, for several at a time. Returns the first error.
    pub fn in_parallel<T: Send, R: Send>(
        &self,
        items: Vec<T>,
        work: impl Fn(T) -> Result<R> + Send + Sync,
    ) -> Result<Vec<R>> {
        self.pool.install(|| items.into_par_iter().with_max_len(1).map(work).collect())
    }

    /// Reads entries. Those that were removed meanwhile are left out.
    fn read_entries(
        &self,
        objects: Vec<ObjectInfo>,
        trust: Trust<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<StoredEntry>> {
        let read = |object: ObjectInfo| {
            let fetched = self.client.get_short(&object.name, MAX_OBJECT)?;
            progress.advance(1);
            Ok(fetched.map(|it| StoredEntry::new(object, &it.bytes, it.version, trust)))
        };
        Ok(self.in_parallel(objects, read)?.into_iter().flatten().collect())
    }

    fn read_lines(
        &self,
        names: Vec<String>,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, Lines>> {
        let room = AtomicUsize::new(0);
        let read = |name: String| {
            let lines = self.lines(&name, &room)?;
            progress.advance(1);
            Ok((name, lines))
        };
        Ok(self.in_parallel(names, read)?.into_iter().collect())
    }

    /// The lines of a list or a set. All of them are needed: a blob that a line names is in use.
    fn lines(&self, name: &str, room: &AtomicUsize) -> Result<Lines> {
        let (mut lines, mut malformed, mut is_full) = (Lines::new(), 0, false);
        let end = self.client.read_lines(name, |line| {
            let parsed = Signed::parse(line);
            malformed += usize::from(parsed.is_err());
            if parsed.is_err() && malformed > MOST_MALFORMED {
                return ControlFlow::Continue(());
            }
            is_full =
                room.fetch_add(line.len() + size_of::<Signed>(), Ordering::Relaxed) > MAX_LINES;
            lines.push(parsed);
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let too_large = |reason: String| Error::Remote { name: self.client.name().into(), reason };
        match end {
            ListEnd::TooLarge => {
                Err(too_large(format!("{name} is larger than {}", shown_limit(MAX_LIST))))
            }
            _ if is_full => {
                let limit = shown_limit(MAX_LINES as u64);
                Err(too_large(format!("its lists and sets are larger than {limit}")))
            }
            _ => Ok(lines),
        }
    }

    /// Entries that were written or changed after this inventory was made.
    pub fn newer_entries(
        &self,
        remote: &Remote,
        progress: &dyn Progress,
    ) -> Result<Vec<StoredEntry>> {
        let known: HashMap<&str, i64> = self
            .entries
            .iter()
            .map(|stored| (stored.object.name.as_str(), stored.object.modified_at))
            .collect();
        let mut objects =
            self.client.list(&format!("{}/{}", object_names::VERSION, object_names::ENTRIES))?;
        objects.retain(|it| known.get(it.name.as_str()) != Some(&it.modified_at));
        self.read_entries(objects, remote.trust(), progress)
    }

    /// The valid entries, by their keys.
    #[must_use]
    pub fn by_key(&self) -> HashMap<&EggKey, &StoredEntry> {
        self.entries.iter().filter_map(|stored| Some((&stored.valid()?.key, stored))).collect()
    }

    /// Whether a key has no entry now. One may have been written after this inventory was made.
    pub fn is_gone(&self, key: &EggKey) -> Result<bool> {
        Ok(self.client.head(&object_names::entry(key))?.is_none())
    }
}

/// The lines of a list or a set, corrected by the entries: each line equals the entry of its key, the
/// `dropped` lines and repeated keys are left out, and the `missing` entries are added. A line that
/// cannot be parsed stays, because a newer eggcache may have written it.
#[must_use]
pub fn corrected(
    lines: Vec<Signed>,
    by_key: &HashMap<&EggKey, &StoredEntry>,
    dropped: &HashSet<String>,
    missing: &[&StoredEntry],
) -> Vec<Signed> {
    let mut keys = HashSet::new();
    let mut corrected = Vec::new();
    for line in lines {
        if dropped.contains(&line.entry) {
            continue;
        }
        match line.unchecked() {
            Err(_) => corrected.push(line),
            Ok(entry) => {
                let line = by_key.get(&entry.key).map_or(line, |stored| stored.signed.clone());
                if keys.insert(entry.key) {
                    corrected.push(line);
                }
            }
        }
    }
    for stored in missing {
        if stored.content.as_ref().is_ok_and(|entry| keys.insert(entry.key.clone())) {
            corrected.push(stored.signed.clone());
        }
    }
    corrected
}

/// The blobs that lines of lists and sets name.
pub fn named_blobs<'a>(lines: impl Iterator<Item = &'a Lines>) -> HashSet<Digest> {
    let lines = lines.flatten().flatten();
    lines.filter_map(|line| Some(line.unchecked().ok()?.blob)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::entry::tests::entry;

    fn signed(entry: &RemoteEntry, signature: &str) -> Signed {
        Signed { entry: entry.text(), signatures: vec![signature.into()] }
    }

    fn stored(entry: &RemoteEntry, signature: &str) -> StoredEntry {
        let object = ObjectInfo { name: object_names::entry(&entry.key), bytes: 1, modified_at: 0 };
        let line = signed(entry, signature).line();
        StoredEntry::new(object, line.as_bytes(), Version::unknown(), Trust::any(&[]))
    }

    fn other() -> RemoteEntry {
        let mut other = entry();
        other.key.version = "2.0".into();
        other
    }

    #[test]
    fn lines_are_corrected_to_their_entries() {
        let (one, two) = (stored(&entry(), "new"), stored(&other(), "new"));
        let by_key: HashMap<_, _> =
            [&one, &two].map(|it| (&it.content.as_ref().unwrap().key, it)).into();
        let changed = RemoteEntry { blob_bytes: 9, ..entry() };
        let lines = vec![signed(&changed, "old"), signed(&entry(), "old")];
        let found = corrected(lines, &by_key, &HashSet::new(), &[&one, &two]);
        assert_eq!(found, [signed(&entry(), "new"), signed(&other(), "new")]);
    }

    #[test]
    fn unknown_lines_stay_and_dropped_lines_go() {
        let newer = Signed { entry: "{\"format\":2}".into(), signatures: Vec::new() };
        let lines = vec![signed(&entry(), "a"), newer.clone(), signed(&other(), "a")];
        let dropped = HashSet::from([entry().text()]);
        let found = corrected(lines, &HashMap::new(), &dropped, &[]);
        assert_eq!(found, [newer, signed(&other(), "a")]);
    }

    #[test]
    fn an_entry_under_another_name_is_not_valid() {
        let good = stored(&entry(), "a");
        assert!(matches!(good.problem, Some(BadEntry::Malformed(_))), "{:?}", good.problem);
        let object =
            ObjectInfo { name: object_names::entry(&other().key), bytes: 1, modified_at: 0 };
        let line = signed(&entry(), "a").line();
        let misplaced =
            StoredEntry::new(object, line.as_bytes(), Version::unknown(), Trust::any(&[]));
        assert_eq!(misplaced.problem, Some(BadEntry::OtherEgg(entry().file_name)));
        assert!(misplaced.valid().is_none() && misplaced.label() == entry().file_name);
    }
}
