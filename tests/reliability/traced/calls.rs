//! The system calls that change a file system, decoded from the registers and the memory of a
//! stopped process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

/// `ioctl(2)` requests that share blocks between files; `libc` has no names for them.
const FICLONE: u64 = 0x4004_9409;
const FICLONERANGE: u64 = 0x4020_940d;

/// The suffix that the kernel appends to the path of an open file that was unlinked.
const DELETED: &str = " (deleted)";

/// The effect of a call, with everything needed to replay it. Paths are relative to the watched
/// folder; for an open file it is its path at the time of the call.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Creates a file, or truncates an existing one.
    Open {
        path: PathBuf,
        existed: bool,
        emptied: bool,
        mode: u32,
    },
    Write {
        path: PathBuf,
        offset: u64,
        data: Vec<u8>,
    },
    /// Copies bytes from another file; the data is read back from the destination.
    Copy {
        path: PathBuf,
        offset: u64,
        data: Vec<u8>,
    },
    Truncate {
        path: PathBuf,
        len: u64,
    },
    /// Reserves space; `len` is the resulting length of the file.
    Allocate {
        path: PathBuf,
        len: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    /// Unlinks a file, or removes an empty directory.
    Remove {
        path: PathBuf,
    },
    MakeDirectory {
        path: PathBuf,
        mode: u32,
    },
    Symlink {
        path: PathBuf,
        target: PathBuf,
    },
    Mode {
        path: PathBuf,
        mode: u32,
    },
    Owner {
        path: PathBuf,
    },
    Times {
        path: PathBuf,
        mtime: (i64, i64),
    },
    /// `fsync` of a file or directory; `fdatasync` does not cover mode and times.
    Sync {
        path: PathBuf,
        data_only: bool,
    },
    /// `sync` or `syncfs`: the whole file system.
    SyncAll,
    /// Starts writing, without any guarantee.
    SyncRange {
        path: PathBuf,
    },
}

impl Effect {
    pub fn path(&self) -> &Path {
        match self {
            Self::Open { path, .. }
            | Self::Write { path, .. }
            | Self::Copy { path, .. }
            | Self::Truncate { path, .. }
            | Self::Allocate { path, .. }
            | Self::Rename { from: path, .. }
            | Self::Link { from: path, .. }
            | Self::Remove { path }
            | Self::MakeDirectory { path, .. }
            | Self::Symlink { path, .. }
            | Self::Mode { path, .. }
            | Self::Owner { path }
            | Self::Times { path, .. }
            | Self::Sync { path, .. }
            | Self::SyncRange { path } => path,
            Self::SyncAll => Path::new(""),
        }
    }

    /// The errors this call can return through no fault of the caller.
    pub fn errors(&self) -> &'static [Errno] {
        use Errno::{EACCES, EDQUOT, EIO, EMFILE, ENOSPC, EROFS};
        match self {
            Self::Open { .. } => &[ENOSPC, EMFILE, EIO, EACCES, EDQUOT, EROFS],
            Self::MakeDirectory { .. }
            | Self::Rename { .. }
            | Self::Link { .. }
            | Self::Symlink { .. } => &[ENOSPC, EROFS, EIO, EACCES, EDQUOT],
            Self::Write { .. }
            | Self::Copy { .. }
            | Self::Truncate { .. }
            | Self::Allocate { .. }
            | Self::Sync { .. }
            | Self::SyncAll
            | Self::SyncRange { .. } => &[EIO, ENOSPC, EDQUOT],
            Self::Remove { .. } => &[EIO, EACCES, EROFS],
            Self::Mode { .. } | Self::Owner { .. } | Self::Times { .. } => &[EIO, EROFS],
        }
    }

    /// Whether the kernel would return this error here: it first checks whether the name exists,
    /// and a call that needs no space does not fail for lack of it.
    pub fn can_have(&self, errno: Errno, root: &Path) -> bool {
        let metadata = root.join(self.path()).symlink_metadata();
        let is_there = metadata.is_ok();
        let gets_there = match self {
            Self::MakeDirectory { .. } | Self::Symlink { .. } => !is_there,
            Self::Open { .. } => !is_there || errno != Errno::ENOSPC,
            Self::Truncate { len, .. } => {
                errno != Errno::ENOSPC || metadata.is_ok_and(|it| it.len() < *len)
            }
            _ => is_there,
        };
        gets_there && self.errors().contains(&errno)
    }

    /// Its description in messages.
    pub fn name(&self) -> String {
        let what = match self {
            Self::Open { .. } => "open",
            Self::Write { .. } => "write",
            Self::Copy { .. } => "copy",
            Self::Truncate { .. } => "truncate",
            Self::Allocate { .. } => "allocate",
            Self::Rename { .. } => "rename",
            Self::Link { .. } => "link",
            Self::Remove { .. } => "remove",
            Self::MakeDirectory { .. } => "mkdir",
            Self::Symlink { .. } => "symlink",
            Self::Mode { .. } => "chmod",
            Self::Owner { .. } => "chown",
            Self::Times { .. } => "utimes",
            Self::Sync { .. } | Self::SyncAll => "sync",
            Self::SyncRange { .. } => "sync range",
        };
        format!("{what} {}", self.path().display())
    }
}

/// A stopped thread.
pub struct Tracee<'a> {
    proc: PathBuf,
    root: &'a Path,
    /// Whether to read the written data too.
    with_data: bool,
}

impl<'a> Tracee<'a> {
    /// `root` is the watched folder; its path contains no symlinks.
    pub fn new(thread: Pid, root: &'a Path, with_data: bool) -> Self {
        Self { proc: format!("/proc/{thread}").into(), root, with_data }
    }

    /// The effect below the watched folder of the call that a thread has just entered.
    pub fn entered(&self, registers: &libc::user_regs_struct) -> Option<Effect> {
        let number = registers.orig_rax.cast_signed();
        let [a, b, c, d] = [registers.rdi, registers.rsi, registers.rdx, registers.r10];
        let here = u64::from(libc::AT_FDCWD.cast_unsigned());
        Some(match number {
            libc::SYS_open => self.open(here, a, b)?,
            libc::SYS_openat => self.open(a, b, c)?,
            libc::SYS_creat => self.open(here, a, flag(libc::O_CREAT | libc::O_TRUNC))?,
            libc::SYS_openat2 => self.open(a, b, self.number(c)?)?,
            libc::SYS_write => self.write(a, None, &[(b, c)])?,
            libc::SYS_pwrite64 => self.write(a, Some(d), &[(b, c)])?,
            libc::SYS_writev => self.write(a, None, &self.vector(a, b, c)?)?,
            libc::SYS_pwritev | libc::SYS_pwritev2 => {
                // An offset of -1 means the current position of the descriptor.
                let offset = Some(d).filter(|&offset| offset != u64::MAX);
                self.write(a, offset, &self.vector(a, b, c)?)?
            }
            libc::SYS_copy_file_range => self.copy(c, d)?,
            libc::SYS_sendfile => self.copy(a, 0)?,
            libc::SYS_ioctl if b == FICLONE || b == FICLONERANGE => {
                Effect::Copy { path: self.descriptor(a)?, offset: 0, data: Vec::new() }
            }
            libc::SYS_truncate => Effect::Truncate { path: self.at(here, a)?, len: b },
            libc::SYS_ftruncate => Effect::Truncate { path: self.descriptor(a)?, len: b },
            libc::SYS_fallocate => Effect::Allocate { path: self.descriptor(a)?, len: 0 },
            libc::SYS_rename => self.two((here, a), (here, b), true)?,
            libc::SYS_renameat | libc::SYS_renameat2 => self.two((a, b), (c, d), true)?,
            libc::SYS_link => self.two((here, a), (here, b), false)?,
            libc::SYS_linkat => self.two((a, b), (c, d), false)?,
            libc::SYS_unlink | libc::SYS_rmdir => Effect::Remove { path: self.at(here, a)? },
            libc::SYS_unlinkat => Effect::Remove { path: self.at(a, b)? },
            libc::SYS_mkdir => Effect::MakeDirectory { path: self.at(here, a)?, mode: 0 },
            libc::SYS_mkdirat => Effect::MakeDirectory { path: self.at(a, b)?, mode: 0 },
            libc::SYS_symlink => {
                Effect::Symlink { path: self.at(here, b)?, target: self.string(a)? }
            }
            libc::SYS_symlinkat => {
                Effect::Symlink { path: self.at(b, c)?, target: self.string(a)? }
            }
            libc::SYS_chmod => Effect::Mode { path: self.at(here, a)?, mode: 0 },
            libc::SYS_fchmod => Effect::Mode { path: self.descriptor(a)?, mode: 0 },
            libc::SYS_fchmodat | libc::SYS_fchmodat2 => {
                Effect::Mode { path: self.at(a, b)?, mode: 0 }
            }
            libc::SYS_chown | libc::SYS_lchown => Effect::Owner { path: self.at(here, a)? },
            libc::SYS_fchown => Effect::Owner { path: self.descriptor(a)? },
            libc::SYS_fchownat => Effect::Owner { path: self.at(a, b)? },
            libc::SYS_utime | libc::SYS_utimes => {
                Effect::Times { path: self.at(here, a)?, mtime: (0, 0) }
            }
            libc::SYS_utimensat | libc::SYS_futimesat => {
                Effect::Times { path: self.at(a, b)?, mtime: (0, 0) }
            }
            libc::SYS_fsync => Effect::Sync { path: self.descriptor(a)?, data_only: false },
            libc::SYS_fdatasync => Effect::Sync { path: self.descriptor(a)?, data_only: true },
            libc::SYS_syncfs => self.descriptor(a).map(|_| Effect::SyncAll)?,
            libc::SYS_sync => Effect::SyncAll,
            libc::SYS_sync_file_range => Effect::SyncRange { path: self.descriptor(a)? },
            libc::SYS_mmap => {
                self.assert_not_written_through(c, d, registers.r8);
                return None;
            }
            _ => return None,
        })
    }

    /// The text that the call a thread has just entered writes to standard output.
    pub fn printed(&self, registers: &libc::user_regs_struct) -> Option<String> {
        let is_print = registers.orig_rax.cast_signed() == libc::SYS_write && registers.rdi == 1;
        let len = usize::try_from(registers.rdx).ok().filter(|_| is_print && self.with_data)?;
        String::from_utf8(self.memory(registers.rsi, len)?).ok()
    }

    /// Completes an effect with what is known only after the call, and returns whether the call
    /// changed anything.
    pub fn left(&self, effect: &mut Effect, result: i64) -> bool {
        let Ok(result) = u64::try_from(result) else { return false };
        let path = self.root.join(effect.path());
        // An unlinked file is unreachable, with or without a power cut.
        if path.as_os_str().as_encoded_bytes().ends_with(DELETED.as_bytes()) {
            return false;
        }
        let metadata = path.symlink_metadata().ok();
        let mode_now = metadata.as_ref().map_or(0, |it| it.permissions().mode() & 0o7777);
        match effect {
            Effect::Open { existed, emptied, mode, .. } => {
                *mode = mode_now;
                return !*existed || *emptied;
            }
            Effect::MakeDirectory { mode, .. } | Effect::Mode { mode, .. } => *mode = mode_now,
            Effect::Times { mtime, .. } => {
                *mtime = metadata.map_or((0, 0), |it| (it.mtime(), it.mtime_nsec()));
            }
            Effect::Allocate { len, .. } => *len = metadata.map_or(0, |it| it.len()),
            Effect::Write { data, .. } => {
                data.truncate(usize::try_from(result).unwrap());
            }
            Effect::Copy { offset, data, .. } if self.with_data => {
                let content = fs::read(&path).unwrap();
                let from = usize::try_from(*offset).unwrap();
                // A clone returns 0 and copies the whole file.
                let to = if result == 0 {
                    content.len()
                } else {
                    from + usize::try_from(result).unwrap()
                };
                data.extend_from_slice(&content[from..to]);
            }
            _ => {}
        }
        true
    }

    fn open(&self, dir: u64, path: u64, flags: u64) -> Option<Effect> {
        if flags & flag(libc::O_CREAT | libc::O_TRUNC) == 0 {
            return None;
        }
        let path = self.at(dir, path)?;
        let existed = self.root.join(&path).symlink_metadata().is_ok();
        let emptied = existed && flags & flag(libc::O_TRUNC) != 0;
        Some(Effect::Open { path, existed, emptied, mode: 0 })
    }

    fn write(&self, to: u64, offset: Option<u64>, parts: &[(u64, u64)]) -> Option<Effect> {
        let path = self.descriptor(to)?;
        let mut data = Vec::new();
        if self.with_data {
            for &(address, len) in parts {
                data.extend(self.memory(address, usize::try_from(len).unwrap())?);
            }
        }
        let offset = offset.unwrap_or_else(|| self.position(to, &path));
        Some(Effect::Write { path, offset, data })
    }

    fn copy(&self, to: u64, offset: u64) -> Option<Effect> {
        let path = self.descriptor(to)?;
        let offset = if offset == 0 { self.position(to, &path) } else { self.number(offset)? };
        Some(Effect::Copy { path, offset, data: Vec::new() })
    }

    /// The offset of the next write through a descriptor.
    fn position(&self, descriptor: u64, path: &Path) -> u64 {
        let info = self.proc.join("fdinfo").join(descriptor.to_string());
        let info = fs::read_to_string(info).unwrap();
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
        };
        let flags = i32::from_str_radix(field("flags:"), 8).unwrap();
        if flags & libc::O_APPEND == 0 {
            field("pos:").parse().unwrap()
        } else {
            self.root.join(path).metadata().map_or(0, |it| it.len())
        }
    }

    fn two(&self, from: (u64, u64), to: (u64, u64), rename: bool) -> Option<Effect> {
        let (from, to) = (self.at(from.0, from.1)?, self.at(to.0, to.1)?);
        Some(if rename { Effect::Rename { from, to } } else { Effect::Link { from, to } })
    }

    /// Writes through a memory map are invisible to the tracer. Only SQLite's shared memory, which
    /// does not survive a power cut, may be written that way.
    fn assert_not_written_through(&self, protection: u64, flags: u64, descriptor: u64) {
        let is_shared = flags & flag(libc::MAP_SHARED) != 0;
        if is_shared && protection & flag(libc::PROT_WRITE) != 0 {
            let path = self.descriptor(descriptor).unwrap_or_default();
            let is_unseen =
                path.components().next().is_some() && !path.to_str().unwrap().ends_with("-shm");
            assert!(!is_unseen, "{} is written through a map", path.display());
        }
    }

    /// The path of an open file, if it is below the watched folder.
    fn descriptor(&self, descriptor: u64) -> Option<PathBuf> {
        self.below(&self.link("fd", descriptor)?)
    }

    fn link(&self, folder: &str, descriptor: u64) -> Option<PathBuf> {
        let number = (descriptor & u64::from(u32::MAX)).to_string();
        fs::read_link(self.proc.join(folder).join(number)).ok()
    }

    fn below(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(self.root).ok().map(Path::to_owned)
    }

    /// The path that a call refers to, if it is below the watched folder.
    fn at(&self, dir: u64, address: u64) -> Option<PathBuf> {
        let named = if address == 0 { PathBuf::new() } else { self.string(address)? };
        if named.as_os_str().is_empty() {
            return self.descriptor(dir);
        }
        let here = u64::from(libc::AT_FDCWD.cast_unsigned());
        let base = if dir & u64::from(u32::MAX) == here {
            fs::read_link(self.proc.join("cwd")).ok()?
        } else {
            self.link("fd", dir)?
        };
        let path = base.join(named);
        self.below(&match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => parent.canonicalize().ok()?.join(name),
            _ => path.canonicalize().ok()?,
        })
    }

    fn memory(&self, address: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        File::open(self.proc.join("mem")).ok()?.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }

    fn number(&self, address: u64) -> Option<u64> {
        Some(u64::from_ne_bytes(self.memory(address, 8)?.try_into().ok()?))
    }

    fn string(&self, address: u64) -> Option<PathBuf> {
        let memory = File::open(self.proc.join("mem")).ok()?;
        let mut bytes = Vec::new();
        // The page after the one in which a string ends may not be mapped.
        loop {
            let at = address + bytes.len() as u64;
            let mut part = vec![0; usize::try_from(256 - at % 256).unwrap()];
            memory.read_exact_at(&mut part, at).ok()?;
            let end = part.iter().position(|&byte| byte == 0);
            bytes.extend_from_slice(&part[..end.unwrap_or(part.len())]);
            if end.is_some() {
                return Some(OsString::from_vec(bytes).into());
            }
        }
    }

    /// Addresses and lengths of a vector of buffers, if the file is below the watched folder.
    fn vector(&self, to: u64, address: u64, count: u64) -> Option<Vec<(u64, u64)>> {
        self.descriptor(to)?;
        (0..count)
            .map(|part| {
                let at = address + part * 16;
                Some((self.number(at)?, self.number(at + 8)?))
            })
            .collect()
    }
}

/// A flag as a register holds it.
fn flag(bits: i32) -> u64 {
    u64::from(bits.cast_unsigned())
}
