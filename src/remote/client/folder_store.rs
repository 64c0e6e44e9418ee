//! A folder as an object store.
//!
//! Several users may write the folder, and one of them may mean harm. So every path resolves from one handle
//! of the folder, no symlink below it is followed, and only regular files are objects: nothing outside of the
//! folder is read, written or removed, and no FIFO is waited for.
//!
//! An object is durable before it gets its name. Files and folders have the modes that the umask allows.

use std::fmt::{self, Display};
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use object_store::path::Path as ObjectPath;
use object_store::{
    Attributes, CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, UploadPart,
};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::spawn_blocking;

use crate::disk::dir::Dir;
use crate::disk::files;
use crate::disk::system;

/// Separates the name of an object from the number of a file that is still being written. No object has it
/// in its name.
const UNFINISHED: char = '#';
/// How deep the folders of a listing may be.
const MAX_DEPTH: usize = 16;
/// Objects of a listing that wait to be taken.
const LISTED: usize = 64;

/// The folder of a remote.
#[derive(Debug, Clone)]
pub(super) struct FolderStore {
    root: Dir,
}

impl FolderStore {
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { root: Dir::open(folder)? })
    }

    /// Does this in a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        location: &ObjectPath,
        work: impl FnOnce(&Dir, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (root, location) = (self.root.clone(), location.clone());
        let work = move || work(&root, location.as_ref()).map_err(|error| of(&location, error));
        spawn_blocking(work).await.map_err(|source| Error::JoinError { source })?
    }
}

impl Display for FolderStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the folder {}", self.root.path().display())
    }
}

#[async_trait]
impl ObjectStore for FolderStore {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let replaces = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => false,
            PutMode::Update(_) => return Err(missing("put with a condition")),
        };
        let write = move |root: &Dir, name: &str| {
            let unfinished = Unfinished::new(root, name)?;
            payload.iter().try_for_each(|chunk| (&*unfinished.file).write_all(chunk))?;
            unfinished.finish(replaces)
        };
        self.blocking(location, write).await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let begin = |root: &Dir, name: &str| Unfinished::new(root, name);
        let unfinished = Some(self.blocking(location, begin).await?);
        Ok(Box::new(Upload { location: location.clone(), unfinished, length: 0 }))
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        let (file, found) = self.blocking(location, open).await?;
        let meta = meta(location.clone(), &found);
        options.check_preconditions(&meta)?;
        let range = match options.range {
            None => 0..meta.size,
            Some(range) => range.as_range(meta.size).map_err(|error| generic(error.into()))?,
        };
        Ok(GetResult {
            payload: GetResultPayload::File(file, self.root.join(location.as_ref())),
            meta,
            range,
            attributes: Attributes::default(),
            extensions: Extensions::default(),
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        let this = self.clone();
        let removed = move |location: Result<ObjectPath>| {
            let this = this.clone();
            async move {
                let location = location?;
                this.blocking(&location, |root, name| root.remove_file(name)).await?;
                Ok(location)
            }
        };
        locations.then(removed).boxed()
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (root, prefix) = (self.root.clone(), prefix.cloned().unwrap_or_default());
        let (sender, receiver) = channel(LISTED);
        spawn_blocking(move || {
            let listed = match subdir(&root, prefix.as_ref()) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                opened => opened.and_then(|dir| list(&dir, &prefix, &sender, 0)),
            };
            if let Err(error) = listed {
                let _ = sender.blocking_send(Err(of(&prefix, error)));
            }
        });
        stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|listed| (listed, receiver))
        })
        .boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&ObjectPath>) -> Result<ListResult> {
        Err(missing("list with a delimiter"))
    }

    async fn copy_opts(&self, _: &ObjectPath, _: &ObjectPath, _: CopyOptions) -> Result<()> {
        Err(missing("copy"))
    }
}

/// A large object that is written in parts.
#[derive(Debug)]
struct Upload {
    location: ObjectPath,
    unfinished: Option<Unfinished>,
    length: u64,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let (location, begin) = (self.location.clone(), self.length);
        self.length += part.content_length() as u64;
        let file = self.unfinished.as_ref().map(|it| Arc::clone(&it.file));
        let write = move || {
            let file = file.ok_or_else(ended)?;
            let mut at = begin;
            for chunk in &part {
                file.write_all_at(chunk, at)?;
                at += chunk.len() as u64;
            }
            Ok(())
        };
        Box::pin(async move {
            let written = spawn_blocking(write).await;
            written.map_err(|source| Error::JoinError { source })?.map_err(|it| of(&location, it))
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (location, unfinished) = (self.location.clone(), self.unfinished.take());
        let finish = move || unfinished.ok_or_else(ended)?.finish(true);
        let finished =
            spawn_blocking(finish).await.map_err(|source| Error::JoinError { source })?;
        finished.map_err(|error| of(&location, error))
    }

    async fn abort(&mut self) -> Result<()> {
        drop(self.unfinished.take());
        Ok(())
    }
}

fn ended() -> io::Error {
    io::Error::other("the upload has ended")
}

/// A file without its name. Dropping this removes it.
#[derive(Debug)]
struct Unfinished {
    file: Arc<File>,
    dir: Dir,
    /// The name that it has meanwhile.
    temporary: String,
    name: String,
}

impl Unfinished {
    fn new(root: &Dir, path: &str) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = make_dirs(root, parent)?;
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let temporary = format!("{name}{UNFINISHED}{}{number:06}", std::process::id());
            match dir.create(&temporary, 0o666) {
                // Another machine, or a process before this one, has used this number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => {
                    let file = Arc::new(created?);
                    return Ok(Self { file, dir, temporary, name: name.to_owned() });
                }
            }
        }
    }

    /// Gives the file its name, durably.
    fn finish(self, replaces: bool) -> io::Result<PutResult> {
        self.file.sync_all()?;
        let e_tag = Some(e_tag(&self.file.metadata()?));
        if replaces {
            self.dir.rename(&self.temporary, &self.dir, &self.name)?;
        } else {
            self.link()?;
        }
        self.dir.sync()?;
        Ok(PutResult { e_tag, version: None, extensions: Extensions::default() })
    }

    /// Gives the file its name if no other file has it. Every file system that has hard links does that in
    /// one step, network file systems too.
    fn link(&self) -> io::Result<()> {
        let dir = self.dir.handle();
        match rustix::fs::linkat(dir, &self.temporary, dir, &self.name, AtFlags::empty()) {
            Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::MLINK) => {
                use std::os::fd::AsFd;
                let (old, new) = (self.temporary.as_str(), self.name.as_str());
                Ok(files::rename_new(dir.as_fd(), old, dir.as_fd(), new)?)
            }
            linked => Ok(linked?),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a rename, there is nothing of this name.
        let _ = self.dir.remove_file(&self.temporary);
    }
}

fn subdir(root: &Dir, path: &str) -> io::Result<Dir> {
    if path.is_empty() { Ok(root.clone()) } else { root.subdir(path) }
}

/// Opens a folder below the root, which is made durably if it is missing.
fn make_dirs(root: &Dir, path: &str) -> io::Result<Dir> {
    match subdir(root, path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    let mut dir = root.clone();
    for name in path.split('/') {
        match rustix::fs::mkdirat(dir.handle(), name, system::mode(0o777)) {
            Err(Errno::EXIST) => {}
            made => {
                made?;
                dir.sync()?;
            }
        }
        dir = dir.subdir(name)?;
    }
    Ok(dir)
}

/// Opens an object for reading.
fn open(root: &Dir, name: &str) -> io::Result<(File, Metadata)> {
    let file = root.read(name)?;
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok((file, found)),
        // As in a store, where a folder is no object.
        false if found.is_dir() => Err(ErrorKind::NotFound.into()),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is not a file")),
    }
}

/// Sends all objects below a folder.
fn list(
    dir: &Dir,
    prefix: &ObjectPath,
    sender: &Sender<Result<ObjectMeta>>,
    depth: usize,
) -> io::Result<()> {
    for name in dir.names()? {
        let name = name?;
        let Some(name) = name.to_str().filter(|name| !name.contains(UNFINISHED)) else { continue };
        let Ok(location) = ObjectPath::parse(format!("{prefix}/{name}")) else { continue };
        let found = match dir.look(name) {
            Ok(found) => found.metadata()?,
            // It was removed meanwhile, or is a symlink, which is no object.
            Err(_) => continue,
        };
        if found.is_dir() && depth < MAX_DEPTH {
            match dir.subdir(name) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                opened => list(&opened?, &location, sender, depth + 1)?,
            }
        } else if found.is_file() && sender.blocking_send(Ok(meta(location, &found))).is_err() {
            // Nobody takes the rest.
            return Ok(());
        }
    }
    Ok(())
}

fn meta(location: ObjectPath, found: &Metadata) -> ObjectMeta {
    let last_modified = found.modified().unwrap_or(std::time::UNIX_EPOCH).into();
    ObjectMeta {
        location,
        last_modified,
        size: found.len(),
        e_tag: Some(e_tag(found)),
        version: None,
    }
}

/// It changes with every replacement: the new file exists beside the old one for a moment.
fn e_tag(found: &Metadata) -> String {
    let modified = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
    format!("{:x}-{modified:x}-{:x}", found.ino(), found.len())
}

fn of(location: &ObjectPath, error: io::Error) -> Error {
    let path = location.to_string();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            Error::NotFound { path, source: error.into() }
        }
        ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: error.into() },
        _ => generic(error.into()),
    }
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "folder", source }
}

fn missing(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.into(), implementer: "a folder".into() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use futures_util::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;

    /// A folder with an object, and a file beside it that no request may touch.
    struct Sandbox {
        dir: tempfile::TempDir,
        store: FolderStore,
    }

    impl Sandbox {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("pool/v1/real")).unwrap();
            fs::create_dir(dir.path().join("home")).unwrap();
            fs::write(dir.path().join("pool/v1/real/object"), "mine").unwrap();
            fs::write(dir.path().join("home/private"), "secret").unwrap();
            let store = FolderStore::open(&dir.path().join("pool")).unwrap();
            Self { dir, store }
        }

        fn pool(&self, path: &str) -> PathBuf {
            self.dir.path().join("pool").join(path)
        }

        fn assert_home_is_untouched(&self) {
            let home = self.dir.path().join("home");
            let names: Vec<_> = fs::read_dir(&home).unwrap().map(|it| it.unwrap()).collect();
            assert_eq!(names.len(), 1, "{names:?}");
            assert_eq!(fs::read_to_string(home.join("private")).unwrap(), "secret");
        }

        async fn listed(&self) -> Vec<String> {
            let all: Vec<ObjectMeta> = self.store.list(None).try_collect().await.unwrap();
            let mut names: Vec<String> = all.iter().map(|it| it.location.to_string()).collect();
            names.sort();
            names
        }

        /// The error of each kind of request for this object, and what a read returns.
        async fn refused(&self, path: &str) {
            let path = ObjectPath::from(path);
            assert!(self.store.get(&path).await.is_err(), "{path}");
            assert!(self.store.head(&path).await.is_err(), "{path}");
            assert!(self.listed().await.iter().all(|name| name != path.as_ref()), "{path}");
        }
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }

    #[test]
    fn nothing_outside_of_the_folder_is_reached_by_a_symlink() {
        run(async {
            let sandbox = Sandbox::new();
            symlink("../../home", sandbox.pool("v1/linked")).unwrap();
            symlink("../../home/private", sandbox.pool("v1/link")).unwrap();
            symlink("../../home/new", sandbox.pool("v1/dangling")).unwrap();
            for path in ["v1/linked/private", "v1/link", "v1/dangling", "v1/linked"] {
                sandbox.refused(path).await;
            }
            assert_eq!(sandbox.listed().await, ["v1/real/object"]);
            let payload = || PutPayload::from("x");
            let linked = [ObjectPath::from("v1/linked/new"), ObjectPath::from("v1/linked/a/new")];
            for path in &linked {
                assert!(sandbox.store.put(path, payload()).await.is_err());
                assert!(sandbox.store.put_multipart(path).await.is_err());
                assert!(sandbox.store.delete(path).await.is_err());
            }
            assert!(sandbox.store.delete(&ObjectPath::from("v1/linked/private")).await.is_err());
            sandbox.assert_home_is_untouched();
            // A symlink in place of an object is replaced or removed, and not followed.
            sandbox.store.put(&ObjectPath::from("v1/dangling"), payload()).await.unwrap();
            sandbox.store.delete(&ObjectPath::from("v1/link")).await.unwrap();
            sandbox.assert_home_is_untouched();
            assert_eq!(sandbox.listed().await, ["v1/dangling", "v1/real/object"]);
        });
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        run(async {
            let sandbox = Sandbox::new();
            let mode = system::mode(0o600);
            let fifo = sandbox.pool("v1/fifo");
            rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0)
                .unwrap();
            drop(std::os::unix::net::UnixListener::bind(sandbox.pool("v1/socket")).unwrap());
            for path in ["v1/fifo", "v1/socket", "v1/real"] {
                sandbox.refused(path).await;
            }
        });
    }

    #[test]
    fn an_object_is_created_once_replaced_and_written_in_parts() {
        run(async {
            let sandbox = Sandbox::new();
            let path = ObjectPath::from("v1/a/b/c");
            let create = || async {
                sandbox.store.put_opts(&path, "1".into(), PutMode::Create.into()).await
            };
            let created = create().await.unwrap();
            assert!(matches!(create().await, Err(Error::AlreadyExists { .. })));
            let replaced = sandbox.store.put(&path, "22".into()).await.unwrap();
            assert_ne!(created.e_tag, replaced.e_tag);
            let mut upload = sandbox.store.put_multipart(&path).await.unwrap();
            let parts = [upload.put_part("one".into()), upload.put_part("two".into())];
            // Two parts of an upload may arrive in any order.
            for part in parts.into_iter().rev() {
                part.await.unwrap();
            }
            assert_eq!(sandbox.store.head(&path).await.unwrap().e_tag, replaced.e_tag);
            assert_eq!(sandbox.listed().await, ["v1/a/b/c", "v1/real/object"]);
            let written = upload.complete().await.unwrap();
            let found = sandbox.store.get(&path).await.unwrap();
            assert_eq!(found.meta.e_tag, written.e_tag);
            assert_eq!(&*found.bytes().await.unwrap(), b"onetwo");
            let range = sandbox.store.get_range(&path, 2..4).await.unwrap();
            assert_eq!(&*range, b"et");
            sandbox.store.put_multipart(&path).await.unwrap().abort().await.unwrap();
            assert_eq!(fs::read_dir(sandbox.pool("v1/a/b")).unwrap().count(), 1);
        });
    }
}
