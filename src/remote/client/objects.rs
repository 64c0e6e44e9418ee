//! Requests for small objects, and for what a store knows of any object.

use futures_util::{StreamExt, TryStreamExt};
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStoreExt, PutMode, PutPayload, UpdateVersion,
};

use super::transfer::in_time;
use super::{Client, MAX_LIST, folder};
use crate::error::Result;
use crate::util::clock::now;

/// Most memory for the objects of a listing, in bytes: about a million objects.
const MAX_LISTING: usize = 256 << 20;

/// A small object, with the version that it takes to replace exactly this state of it.
#[derive(Debug)]
pub struct SmallObject {
    pub bytes: Vec<u8>,
    pub version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(UpdateVersion);

#[cfg(test)]
impl Version {
    pub(crate) fn unknown() -> Self {
        Self(UpdateVersion { e_tag: None, version: None })
    }
}

/// An object in a listing.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    /// The name that it was written with.
    pub name: String,
    pub bytes: u64,
    /// Seconds since the Unix epoch, by the clock of the store.
    pub modified_at: i64,
}

impl ObjectInfo {
    fn new(name: &str, meta: &ObjectMeta) -> Self {
        Self {
            name: name.to_owned(),
            bytes: meta.size,
            modified_at: meta.last_modified.timestamp(),
        }
    }
}

impl Client {
    /// Reads a list or a set as a whole; `None` if it does not exist.
    pub fn get(&self, name: &str) -> Result<Option<SmallObject>> {
        self.read(name, MAX_LIST, false)
    }

    /// Reads an entry, a lease or another short object; `None` if it does not exist. Of a longer object
    /// this returns only the first `most` bytes and one more, which is no valid object.
    pub fn get_short(&self, name: &str, most: usize) -> Result<Option<SmallObject>> {
        self.read(name, most as u64, true)
    }

    fn read(&self, name: &str, most: u64, is_cut: bool) -> Result<Option<SmallObject>> {
        let (store, path) = (self.store.clone(), self.path(name));
        let answer = self.ask(("get", name), Some(self.patience.answer), async move {
            let found = store.get(&path).await?;
            let version = Version(UpdateVersion {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            });
            let mut bytes = Vec::new();
            let mut stream = found.into_stream();
            while let Some(chunk) = stream.next().await {
                bytes.extend_from_slice(&chunk?);
                if bytes.len() as u64 > most {
                    if is_cut {
                        bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX) + 1);
                        break;
                    }
                    let source = format!("{path} is larger than {most} bytes").into();
                    return Err(StoreError::Generic { store: "remote", source });
                }
            }
            Ok(SmallObject { bytes, version })
        })?;
        match answer {
            Ok(object) => Ok(Some(object)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Creates a small object. Returns whether it did not exist.
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool> {
        self.put(name, bytes, PutMode::Create)
    }

    /// Writes a small object in place of this version, or creates it. Returns whether the object was
    /// still in that state.
    pub fn replace(&self, name: &str, bytes: Vec<u8>, version: Option<&Version>) -> Result<bool> {
        match version {
            None => self.create(name, bytes),
            Some(Version(version)) => self.put(name, bytes, PutMode::Update(version.clone())),
        }
    }

    fn put(&self, name: &str, bytes: Vec<u8>, mode: PutMode) -> Result<bool> {
        let (store, path, folder) = (self.store.clone(), self.path(name), self.folder.clone());
        let answer = self.ask(("put", name), Some(self.patience.answer), async move {
            let payload = PutPayload::from(bytes);
            match (mode, folder) {
                (PutMode::Update(version), Some(folder)) => {
                    folder::replace(store, folder, path, payload, version).await
                }
                (mode, _) => store.put_opts(&path, payload, mode.into()).await.map(drop),
            }
        })?;
        match answer {
            Ok(()) => Ok(true),
            Err(
                StoreError::AlreadyExists { .. }
                | StoreError::Precondition { .. }
                | StoreError::NotModified { .. },
            ) => Ok(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Removes an object, if it exists.
    pub fn remove(&self, name: &str) -> Result<()> {
        let (store, path) = (self.store.clone(), self.path(name));
        match self.ask(("remove", name), Some(self.patience.answer), async move {
            store.delete(&path).await
        })? {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Removes an object, if it exists. Returns whether that is allowed: unlike [`Client::remove`], this
    /// does not give the remote up if it is not.
    pub fn try_remove(&self, name: &str) -> Result<bool> {
        let (store, path) = (self.store.clone(), self.path(name));
        let removed = self.ask(("remove", name), Some(self.patience.answer), async move {
            match store.delete(&path).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => Ok(true),
                Err(StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }) => {
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        })?;
        removed.map_err(|error| self.failed(&error))
    }

    /// All objects below a folder.
    pub fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>> {
        self.list_some(folder, usize::MAX)
    }

    /// At most this many of the objects below a folder.
    pub fn list_some(&self, folder: &str, most: usize) -> Result<Vec<ObjectInfo>> {
        let (store, path, patience) = (self.store.clone(), self.path(folder), self.patience);
        let prefix = self.prefix.as_ref().len();
        let skipped = if prefix == 0 { 0 } else { prefix + 1 };
        let answer = self.ask(("list", folder), None, async move {
            let (mut all, mut room) = (Vec::new(), 0);
            let mut listing = store.list(Some(&path)).take(most);
            while let Some(meta) = in_time(patience.answer, listing.try_next()).await? {
                let object = ObjectInfo::new(&meta.location.as_ref()[skipped..], &meta);
                room += size_of::<ObjectInfo>() + object.name.len();
                if room > MAX_LISTING {
                    let source = format!("it lists more than {} objects", all.len()).into();
                    return Err(StoreError::Generic { store: "remote", source });
                }
                all.push(object);
            }
            Ok(all)
        })?;
        answer.map_err(|error| self.failed(&error))
    }

    /// What a listing would say of an object; `None` if it does not exist.
    pub fn head(&self, name: &str) -> Result<Option<ObjectInfo>> {
        let (store, path) = (self.store.clone(), self.path(name));
        match self.ask(("head", name), Some(self.patience.answer), async move {
            store.head(&path).await
        })? {
            Ok(meta) => Ok(Some(ObjectInfo::new(name, &meta))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Does several requests without another process in between that does so, too. Only a folder can
    /// prevent that; elsewhere they merely follow each other at once.
    pub fn exclusively<T>(&self, requests: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(folder) = self.folder.clone() else { return requests() };
        let lock = self.ask(("lock", ""), Some(self.patience.answer), folder::locked(folder))?;
        let _lock = lock.map_err(|error| self.failed(&error))?;
        requests()
    }

    /// Length of an object in bytes; `None` if it does not exist.
    pub fn length(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.head(name)?.map(|object| object.bytes))
    }

    /// The time by the clock of the store, in seconds since the Unix epoch: the time of an object that
    /// this writes and removes again.
    pub fn clock(&self, name: &str) -> Result<i64> {
        self.put(name, b"now".to_vec(), PutMode::Overwrite)?;
        let written = self.head(name)?;
        self.remove(name)?;
        // Another process that reads the clock may have removed it.
        Ok(written.map_or_else(now, |object| object.modified_at))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::remote::client::tests::client;

    #[test]
    fn a_remove_that_is_forbidden_does_not_give_the_remote_up() {
        let client = client(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        });
        assert!(!client.try_remove("a").unwrap());
        assert_eq!(client.down(), None);
    }
}
