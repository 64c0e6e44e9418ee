//! Linux.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, openat2};
use rustix::io::{Errno, Result};

/// To open a file or directory only to look at it: this has no effect and needs no permission.
pub const LOOK: OFlags = OFlags::PATH;
/// As [`LOOK`], and a symlink itself.
pub const LOOK_AT_LINK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW);

/// The permission bits of a number.
pub fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

/// Type and permission bits.
pub fn mode_of(stat: &Stat) -> u32 {
    stat.st_mode
}

/// The number of names.
pub fn links_of(stat: &Stat) -> u64 {
    stat.st_nlink
}

pub fn device_of(stat: &Stat) -> u64 {
    stat.st_dev
}

/// Opens a path below `top` in one step. Fails if a component is a symlink, or if the path leads out of
/// `top`. `None` if the kernel is older than 5.6, or in a sandbox that does not know the call.
pub fn open_beneath(
    top: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> Option<Result<OwnedFd>> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    known(openat2(top, path, flags, mode, resolve))
}

/// Opens an entry that is not a symlink. Fails with `EXDEV` if something is mounted there. `None` as for
/// [`open_beneath`].
pub fn open_here(at: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Option<Result<OwnedFd>> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    known(openat2(at, name, flags, Mode::empty(), resolve))
}

fn known(opened: Result<OwnedFd>) -> Option<Result<OwnedFd>> {
    (!matches!(opened, Err(Errno::NOSYS | Errno::PERM))).then_some(opened)
}

/// Opens a file without a name in a directory, with mode 0600; `None` if the file system does not have such
/// files.
pub fn open_unnamed(dir: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, ".", flags, mode(0o600)) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => Ok(None),
        opened => opened.map(Some),
    }
}

/// The target of the symlink that was opened with [`LOOK_AT_LINK`] from this path.
pub fn read_opened_link(link: &File, _path: &Path) -> Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(link, "", Vec::new())?.into_bytes())
}

/// Sets owner and group of an open file, also of one that is only open for looking.
pub fn own(file: &File, user: Option<Uid>, group: Gid) -> Result<()> {
    rustix::fs::chownat(file, "", user, Some(group), AtFlags::EMPTY_PATH)
}

/// Sets the mode of an open file, also of one that is only open for looking.
pub fn set_mode(file: BorrowedFd<'_>, bits: u32) -> Result<()> {
    match rustix::fs::fchmod(file, mode(bits)) {
        Err(Errno::BADF) => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let set = fs::set_permissions(path, Permissions::from_mode(bits));
            set.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
        set => set,
    }
}

/// Sets the mode of an entry of a directory, of a symlink its own: Linux has no such call before 6.6.
pub fn set_mode_at(_at: BorrowedFd<'_>, _name: &OsStr, _bits: u32) -> Option<Result<()>> {
    None
}

/// Whether the file system at `path` is served by another machine.
pub fn is_network(path: &Path) -> bool {
    /// `f_type` of statfs(2).
    const NETWORK: [u32; 10] = [
        0x6969,      // NFS
        0x517b,      // SMB
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB2
        0x0102_1997, // 9P
        0x5346_414f, // AFS
        0x00c3_6400, // Ceph
        0x0bd0_0bd0, // Lustre
        0x4750_4653, // GPFS
        0x6573_5546, // FUSE: sshfs, s3fs and others
    ];
    file_system(path).is_some_and(|magic| NETWORK.contains(&magic))
}

/// Whether the file system at `path` is one of DOS or Windows, which keep no modes.
pub fn is_without_modes(path: &Path) -> bool {
    /// `f_type` of statfs(2).
    const WITHOUT: [u32; 4] = [0x4d44, 0x2011_bab0, 0x5346_544e, 0x7366_746e];
    file_system(path).is_some_and(|magic| WITHOUT.contains(&magic))
}

/// `f_type` of statfs(2).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a magic number")]
fn file_system(path: &Path) -> Option<u32> {
    rustix::fs::statfs(path).ok().map(|file_system| file_system.f_type as u32)
}

/// Makes a file share the blocks of another.
pub fn clone(from: &File, to: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}

/// Copies bytes at `offset` of one file to the beginning of another in the kernel. A file system that
/// clones blocks then writes none. Returns false if that fails; the other file may then have a part of the
/// bytes.
pub fn copy_range(from: &File, offset: u64, to: &File, len: u64) -> bool {
    let (mut at, mut done) = (offset, 0);
    while done < len {
        let left = usize::try_from(len - done).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut at), to, Some(&mut done), left) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return false,
        }
    }
    true
}

/// Gives way to other processes, for this thread alone.
pub fn give_way() {
    let _ = rustix::process::nice(10);
}
