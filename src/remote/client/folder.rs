//! Replacing exactly one version of an object in a folder, which a file system does not offer.
//!
//! The process that replaces an object locks the folder meanwhile, even after the request has timed out.
//! The system releases the lock when a process dies.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;

use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload, UpdateVersion};

/// Name of the lock file in the folder. It is not part of the remote layout, and stays.
const LOCK: &str = "lock";

/// Replaces an object of the folder if it still has this version.
///
/// # Errors
/// [`Error::Precondition`] if it has another version, or does not exist.
pub(super) async fn replace(
    store: Arc<dyn ObjectStore>,
    folder: Arc<Path>,
    path: ObjectPath,
    payload: PutPayload,
    version: UpdateVersion,
) -> object_store::Result<()> {
    let failed = |source: std::io::Error| Error::Generic { store: "folder", source: source.into() };
    let replace = async move {
        // The lock may block for as long as another process writes.
        let locked = tokio::task::spawn_blocking(move || lock(&folder)).await;
        let _lock = locked.map_err(std::io::Error::other).flatten().map_err(failed)?;
        let found = match store.head(&path).await {
            Err(Error::NotFound { .. }) => None,
            found => found?.e_tag,
        };
        if found.is_none() || found != version.e_tag {
            let source = "another process has replaced it".into();
            return Err(Error::Precondition { path: path.to_string(), source });
        }
        store.put(&path, payload).await.map(drop)
    };
    tokio::spawn(replace).await.map_err(|error| failed(std::io::Error::other(error))).flatten()
}

fn lock(folder: &Path) -> std::io::Result<File> {
    // Some file servers only lock files that are open for writing.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use crate::remote::client::{Client, Patience};
    use crate::remote::config::Remote;
    use crate::util::environment::Environment;

    #[test]
    fn concurrent_writers_of_a_list_lose_no_line() {
        const EACH: usize = 30;
        let dir = tempfile::tempdir().unwrap();
        let remote = Remote::new("folder", dir.path().to_str().unwrap()).unwrap();
        let add = |writer: usize| {
            // One client for each, as separate processes have.
            let client = Client::new(&remote, Patience::COMMAND, &Environment::default()).unwrap();
            for line in 0..EACH {
                let added = || {
                    let found = client.get("list").unwrap();
                    let (mut bytes, version) =
                        found.map_or((Vec::new(), None), |it| (it.bytes, Some(it.version)));
                    bytes.extend(format!("{writer} {line}\n").bytes());
                    client.replace("list", bytes, version.as_ref()).unwrap()
                };
                while !added() {}
            }
        };
        std::thread::scope(|scope| {
            (0..4).for_each(|writer| drop(scope.spawn(move || add(writer))));
        });
        let list = std::fs::read_to_string(dir.path().join("list")).unwrap();
        let mut lines: Vec<&str> = list.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 4 * EACH);
    }

    #[test]
    fn a_removed_object_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let remote = Remote::new("folder", dir.path().to_str().unwrap()).unwrap();
        let client = Client::new(&remote, Patience::COMMAND, &Environment::default()).unwrap();
        assert!(client.create("lease", b"1".to_vec()).unwrap());
        let version = client.get("lease").unwrap().unwrap().version;
        client.remove("lease").unwrap();
        assert!(!client.replace("lease", b"2".to_vec(), Some(&version)).unwrap());
        assert!(client.get("lease").unwrap().is_none());
    }
}
