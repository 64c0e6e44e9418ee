//! Survey: everything that a remote has, for operations on all of it. It needs a listing, which an
//! object store and a folder have, and a web server has not.
//!
//! Others write meanwhile. Entries are listed before lists and sets are read, so a line of an entry
//! that was pushed in between names one that the survey does not have: who acts on that looks again
//! ([`Inventory::is_gone`]).

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;

use crate::egg::key::EggKey;
use crate::error::{Error, Result};
use crate::remote::client::{Client, ObjectInfo, Patience, Version};
use crate::remote::config::Remote;
use crate::remote::entry::{BadEntry, RemoteEntry, Signed};
use crate::remote::keys::{self, Trusted};
use crate::remote::object_names::{self, ObjectKind};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};

/// Requests that are made at a time.
const AT_A_TIME: usize = 16;

/// Everything that a remote has.
#[derive(Debug)]
pub struct Inventory {
    pub client: Client,
    pool: rayon::ThreadPool,
    pub blobs: BTreeMap<Digest, ObjectInfo>,
    pub entries: Vec<FiledEntry>,
    /// By their names, in which every list is that its entries belong in, also one that is not there.
    pub lists: BTreeMap<String, Lines>,
    pub sets: BTreeMap<String, Lines>,
    pub leases: Vec<ObjectInfo>,
    /// What is not of this layout.
    pub foreign: Vec<ObjectInfo>,
}

/// The lines of a list or a set, each as far as it is one.
pub type Lines = Vec<std::result::Result<Signed, BadEntry>>;

/// An entry, as it is filed.
#[derive(Debug)]
pub struct FiledEntry {
    pub listed: ObjectInfo,
    pub version: Version,
    /// Of the object's bytes, to tell whether it has changed since.
    pub digest: Digest,
    pub signed: Signed,
    /// What it says, whoever has signed it.
    pub claim: std::result::Result<RemoteEntry, BadEntry>,
    /// Why it does not count, if so: nobody trusted has signed it, or it is of another name.
    pub bad: Option<BadEntry>,
}

impl FiledEntry {
    /// What it says, if that counts.
    #[must_use]
    pub fn entry(&self) -> Option<&RemoteEntry> {
        self.claim.as_ref().ok().filter(|_| self.bad.is_none())
    }

    /// The egg's file name, or else the name of the object.
    #[must_use]
    pub fn what(&self) -> &str {
        self.claim.as_ref().map_or(&self.listed.name, |entry| &entry.file_name)
    }

    /// Whether a newer eggcache has written it.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self.claim, Err(BadEntry::NewerFormat(_)))
    }

    fn new(listed: ObjectInfo, bytes: &[u8], version: Version, trusted: &[Trusted]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let parsed = Signed::parse(text.trim_end());
        let (signed, claim) = match parsed {
            Ok(signed) => {
                let claim = signed.unchecked();
                (signed, claim)
            }
            Err(bad) => (Signed { entry: String::new(), signatures: Vec::new() }, Err(bad)),
        };
        let bad = match &claim {
            Err(bad) => Some(bad.clone()),
            Ok(entry) if object_names::entry(&entry.key) != listed.name => {
                Some(BadEntry::OtherEgg(entry.file_name.clone()))
            }
            Ok(_) => keys::open(&signed, trusted, now()).err(),
        };
        Self { listed, version, digest: Digest::of(bytes), signed, claim, bad }
    }
}

/// Refuses a remote that has no listing.
///
/// # Errors
/// [`Error::Remote`]
pub fn check(remote: &Remote) -> Result<()> {
    if remote.is_web() {
        let reason = "a web server has no listing; name the store that it serves".into();
        return Err(Error::Remote { name: remote.name.clone(), reason });
    }
    Ok(())
}

impl Inventory {
    /// Reads all of a remote but for its blobs.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn new(remote: &Remote, progress: &dyn Progress) -> Result<Self> {
        check(remote)?;
        let client = Client::new(remote, Patience::COMMAND)?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(AT_A_TIME).build();
        let pool = pool.map_err(|error| Error::Usage(error.to_string()))?;
        let mut survey = Self {
            client,
            pool,
            blobs: BTreeMap::new(),
            entries: Vec::new(),
            lists: BTreeMap::new(),
            sets: BTreeMap::new(),
            leases: Vec::new(),
            foreign: Vec::new(),
        };
        let (mut entries, mut lists, mut sets) = (Vec::new(), Vec::new(), Vec::new());
        for listed in survey.client.list(object_names::VERSION)? {
            match object_names::place(&listed.name) {
                Some(ObjectKind::Blob(digest)) => drop(survey.blobs.insert(digest, listed)),
                Some(ObjectKind::Entry) => entries.push(listed),
                Some(ObjectKind::Project) => lists.push(listed.name),
                Some(ObjectKind::Set) => sets.push(listed.name),
                Some(ObjectKind::Lease) => survey.leases.push(listed),
                Some(ObjectKind::Clock) => {}
                None => survey.foreign.push(listed),
            }
        }
        let requests = entries.len() + lists.len() + sets.len();
        progress.begin("reading", requests as u64, Unit::Eggs);
        survey.entries = survey.read(entries, &remote.trusted, progress)?;
        survey.lists = survey.lines(lists, progress)?;
        survey.sets = survey.lines(sets, progress)?;
        progress.end();
        for filed in &survey.entries {
            if let (None, Ok(RemoteEntry { key, .. })) = (&filed.bad, &filed.claim) {
                survey.lists.entry(object_names::project(&key.name, &key.python)).or_default();
            }
        }
        Ok(survey)
    }

    /// Does something with each of many, several at a time.
    ///
    /// # Errors
    /// The first that one of them has.
    pub fn each<T: Send, R: Send>(
        &self,
        all: Vec<T>,
        one: impl Fn(T) -> Result<R> + Send + Sync,
    ) -> Result<Vec<R>> {
        self.pool.install(|| all.into_par_iter().with_max_len(1).map(one).collect())
    }

    /// Reads entries, without those that are gone meanwhile.
    fn read(
        &self,
        entries: Vec<ObjectInfo>,
        trusted: &[Trusted],
        progress: &dyn Progress,
    ) -> Result<Vec<FiledEntry>> {
        let read = |listed: ObjectInfo| {
            let fetched = self.client.get(&listed.name)?;
            progress.advance(1);
            Ok(fetched.map(|it| FiledEntry::new(listed, &it.bytes, it.version, trusted)))
        };
        Ok(self.each(entries, read)?.into_iter().flatten().collect())
    }

    fn lines(
        &self,
        names: Vec<String>,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, Lines>> {
        let read = |name: String| {
            let fetched = self.client.get(&name)?;
            progress.advance(1);
            let bytes = fetched.map(|it| it.bytes).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            Ok((name, text.lines().map(Signed::parse).collect()))
        };
        Ok(self.each(names, read)?.into_iter().collect())
    }

    /// Entries that are there now and that were not, or not the same, when this survey was made.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn newer_entries(
        &self,
        remote: &Remote,
        progress: &dyn Progress,
    ) -> Result<Vec<FiledEntry>> {
        let known: HashMap<&str, i64> = self
            .entries
            .iter()
            .map(|filed| (filed.listed.name.as_str(), filed.listed.modified_at))
            .collect();
        let mut listed =
            self.client.list(&format!("{}/{}", object_names::VERSION, object_names::ENTRIES))?;
        listed.retain(|it| known.get(it.name.as_str()) != Some(&it.modified_at));
        self.read(listed, &remote.trusted, progress)
    }

    /// The entries that count, by their keys.
    #[must_use]
    pub fn by_key(&self) -> HashMap<&EggKey, &FiledEntry> {
        self.entries.iter().filter_map(|filed| Some((&filed.entry()?.key, filed))).collect()
    }

    /// Whether a key has no entry, nor one that was written since.
    ///
    /// # Errors
    /// [`Error::Remote`]
    pub fn is_gone(&self, key: &EggKey) -> Result<bool> {
        Ok(self.client.head(&object_names::entry(key))?.is_none())
    }
}

/// What lines are to say, by the entries: those of an entry say what it says, those in `dropped` go,
/// as do those that say a key again, and those that are `missing` come. What cannot be understood may
/// be a newer eggcache's, and stays.
#[must_use]
pub fn mended(
    lines: Vec<Signed>,
    by_key: &HashMap<&EggKey, &FiledEntry>,
    dropped: &HashSet<String>,
    missing: &[&FiledEntry],
) -> Vec<Signed> {
    let mut keys = HashSet::new();
    let mut mended = Vec::new();
    for line in lines {
        if dropped.contains(&line.entry) {
            continue;
        }
        match line.unchecked() {
            Err(_) => mended.push(line),
            Ok(entry) => {
                let line = by_key.get(&entry.key).map_or(line, |filed| filed.signed.clone());
                if keys.insert(entry.key) {
                    mended.push(line);
                }
            }
        }
    }
    for filed in missing {
        if filed.claim.as_ref().is_ok_and(|entry| keys.insert(entry.key.clone())) {
            mended.push(filed.signed.clone());
        }
    }
    mended
}

/// The blobs that lines of lists and sets name.
pub fn named<'a>(lines: impl Iterator<Item = &'a Lines>) -> HashSet<Digest> {
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

    fn filed(entry: &RemoteEntry, signature: &str) -> FiledEntry {
        let listed = ObjectInfo { name: object_names::entry(&entry.key), bytes: 1, modified_at: 0 };
        let line = signed(entry, signature).line();
        FiledEntry::new(listed, line.as_bytes(), Version::unknown(), &[])
    }

    fn other() -> RemoteEntry {
        let mut other = entry();
        other.key.version = "2.0".into();
        other
    }

    #[test]
    fn lines_say_what_entries_say() {
        let (one, two) = (filed(&entry(), "new"), filed(&other(), "new"));
        let by_key: HashMap<_, _> =
            [&one, &two].map(|it| (&it.claim.as_ref().unwrap().key, it)).into();
        let changed = RemoteEntry { blob_bytes: 9, ..entry() };
        let lines = vec![signed(&changed, "old"), signed(&entry(), "old")];
        let found = mended(lines, &by_key, &HashSet::new(), &[&one, &two]);
        assert_eq!(found, [signed(&entry(), "new"), signed(&other(), "new")]);
    }

    #[test]
    fn lines_go_that_are_told_to_and_what_is_not_understood_stays() {
        let newer = Signed { entry: "{\"format\":2}".into(), signatures: Vec::new() };
        let lines = vec![signed(&entry(), "a"), newer.clone(), signed(&other(), "a")];
        let dropped = HashSet::from([entry().text()]);
        let found = mended(lines, &HashMap::new(), &dropped, &[]);
        assert_eq!(found, [newer, signed(&other(), "a")]);
    }

    #[test]
    fn an_entry_is_of_the_name_at_which_it_is_filed() {
        let good = filed(&entry(), "a");
        assert!(matches!(good.bad, Some(BadEntry::Malformed(_))), "{:?}", good.bad);
        let listed =
            ObjectInfo { name: object_names::entry(&other().key), bytes: 1, modified_at: 0 };
        let line = signed(&entry(), "a").line();
        let misplaced = FiledEntry::new(listed, line.as_bytes(), Version::unknown(), &[]);
        assert_eq!(misplaced.bad, Some(BadEntry::OtherEgg(entry().file_name)));
        assert!(misplaced.entry().is_none() && misplaced.what() == entry().file_name);
    }
}
