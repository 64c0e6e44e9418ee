//! What a folder cannot do by itself: write an object in place of just this version of it.
//!
//! Whoever does that holds the lock of the folder meanwhile, also after the one who asked for it has no
//! patience any more. The system lets go of it when a process dies.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;

use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload, UpdateVersion};

/// The name of the lock, in the folder. It is not of the layout, and stays.
const LOCK: &str = "lock";

/// Replaces an object of the folder if it is still this version.
///
/// # Errors
/// [`Error::Precondition`] if it is another, or is gone.
pub(super) async fn replace(
    store: Arc<dyn ObjectStore>,
    folder: Arc<Path>,
    path: ObjectPath,
    payload: PutPayload,
    version: UpdateVersion,
) -> object_store::Result<()> {
    let failed = |source: std::io::Error| Error::Generic { store: "folder", source: source.into() };
    let replace = async move {
        // To be locked out takes as long as the other one writes.
        let locked = tokio::task::spawn_blocking(move || lock(&folder)).await;
        let _held = locked.map_err(std::io::Error::other).flatten().map_err(failed)?;
        let found = match store.head(&path).await {
            Err(Error::NotFound { .. }) => None,
            found => found?.e_tag,
        };
        if found.is_none() || found != version.e_tag {
            let source = "it was replaced meanwhile".into();
            return Err(Error::Precondition { path: path.to_string(), source });
        }
        store.put(&path, payload).await.map(drop)
    };
    tokio::spawn(replace).await.map_err(|error| failed(std::io::Error::other(error))).flatten()
}

fn lock(folder: &Path) -> std::io::Result<File> {
    // Open for writing, as a file server demands it of who locks.
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

    #[test]
    fn of_many_that_add_a_line_to_a_list_of_a_folder_each_adds_its_own() {
        const EACH: usize = 30;
        let dir = tempfile::tempdir().unwrap();
        let remote = Remote::new("folder", dir.path().to_str().unwrap()).unwrap();
        let add = |writer: usize| {
            // One of its own each, as in as many processes.
            let client = Client::new(&remote, Patience::COMMAND).unwrap();
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
    fn what_is_gone_from_a_folder_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let remote = Remote::new("folder", dir.path().to_str().unwrap()).unwrap();
        let client = Client::new(&remote, Patience::COMMAND).unwrap();
        assert!(client.create("lease", b"1".to_vec()).unwrap());
        let version = client.get("lease").unwrap().unwrap().version;
        client.remove("lease").unwrap();
        assert!(!client.replace("lease", b"2".to_vec(), Some(&version)).unwrap());
        assert!(client.get("lease").unwrap().is_none());
    }
}
