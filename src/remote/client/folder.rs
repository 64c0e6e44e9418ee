//! Steps that no other process interrupts, which a file system does not offer: replacing exactly one
//! version of an object, and removing a blob that nothing refers to.
//!
//! The process that does this locks the folder meanwhile, even after a request has timed out. The system
//! releases the lock when a process dies. Only who may write the lock file can open it, so a
//! reader of the folder cannot lock it; and nobody waits for the lock without a limit.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload, UpdateVersion};
use rustix::fs::OFlags;

/// Name of the lock file in the folder. It is not part of the remote layout, and stays.
const LOCK: &str = "lock";
/// Its mode before the umask: others may open it only if they may write it.
const WRITERS: u32 = 0o622;
/// How long a process waits for another one, which only writes one small object.
const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_STEP: Duration = Duration::from_millis(5);

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
    let replace = async move {
        let _lock = locked(folder).await?;
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

fn failed(source: std::io::Error) -> Error {
    Error::Generic { store: "folder", source: source.into() }
}

/// Locks the folder until the file is dropped.
pub(super) async fn locked(folder: Arc<Path>) -> object_store::Result<File> {
    lock(&folder, LOCK_WAIT).await.map_err(failed)
}

/// Locks the folder, as soon as no other process has locked it.
async fn lock(folder: &Path, limit: Duration) -> std::io::Result<File> {
    let file = open_lock(&folder.join(LOCK))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begun.elapsed() > limit => {
                return Err(std::io::Error::other("another process keeps the folder locked"));
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_STEP).await,
        }
    }
}

/// Opens the lock file for writing: some file servers only lock files that are open so.
fn open_lock(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(WRITERS)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)?;
    // An older version made it readable. If it belongs to another user, only that user can change it. With
    // a second name, it is another file, which somebody has put here.
    let found = file.metadata()?;
    let is_own = found.nlink() == 1 && found.uid() == rustix::process::geteuid().as_raw();
    if is_own && found.mode() & 0o044 != 0 {
        let _ = file.set_permissions(Permissions::from_mode(found.mode() & 0o622));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn only_who_may_write_the_lock_file_can_open_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOCK);
        std::fs::write(&path, "").unwrap();
        for mode in [0o644, 0o664, 0o600] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            drop(open_lock(&path).unwrap());
            let found = path.metadata().unwrap().mode();
            assert_eq!(found & 0o022, mode & 0o022, "{mode:o}");
            assert_eq!(found & 0o044, 0, "{mode:o}");
        }
        std::fs::remove_file(&path).unwrap();
        drop(open_lock(&path).unwrap());
        assert_eq!(path.metadata().unwrap().mode() & 0o044, 0);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(open_lock(&path).is_err(), "it follows no symlink");
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn a_lock_file_with_a_second_name_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (path, notes) = (dir.path().join(LOCK), dir.path().join("notes"));
        std::fs::write(&notes, "mine").unwrap();
        std::fs::set_permissions(&notes, Permissions::from_mode(0o644)).unwrap();
        std::fs::hard_link(&notes, &path).unwrap();
        drop(open_lock(&path).unwrap());
        assert_eq!(notes.metadata().unwrap().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_folder_that_stays_locked_is_not_waited_for_without_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let other = open_lock(&dir.path().join(LOCK)).unwrap();
        other.lock().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let lock = || runtime.block_on(lock(dir.path(), Duration::from_millis(20)));
        assert!(lock().unwrap_err().to_string().contains("keeps the folder locked"));
        drop(other);
        lock().unwrap();
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
