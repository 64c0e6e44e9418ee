//! macOS. It resolves paths name by name, and has no files without names.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RawMode, Stat, Uid};
use rustix::io::Result;

/// The file system is on this machine (`MNT_LOCAL` of statfs(2)).
const LOCAL: u32 = 0x1000;

/// To open a file or directory only to look at it. Unlike on Linux, this needs the permission to read.
pub const LOOK: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK);
/// As [`LOOK`], and a symlink itself.
pub const LOOK_AT_LINK: OFlags = LOOK.union(OFlags::SYMLINK);

/// The permission bits of a number.
#[expect(clippy::cast_possible_truncation, reason = "a mode has 16 bits")]
pub fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits as RawMode)
}

/// Type and permission bits.
pub fn mode_of(stat: &Stat) -> u32 {
    stat.st_mode.into()
}

/// The number of names.
pub fn links_of(stat: &Stat) -> u64 {
    stat.st_nlink.into()
}

#[expect(clippy::cast_sign_loss, reason = "a number without a meaning")]
pub fn device_of(stat: &Stat) -> u64 {
    u64::from(stat.st_dev as u32)
}

/// Opens a path below another in one step: there is no call for that.
pub fn open_beneath(
    _top: BorrowedFd<'_>,
    _path: &Path,
    _flags: OFlags,
    _mode: Mode,
) -> Option<Result<OwnedFd>> {
    None
}

/// Opens an entry if nothing is mounted there: there is no call for that.
pub fn open_here(_at: BorrowedFd<'_>, _name: &OsStr, _flags: OFlags) -> Option<Result<OwnedFd>> {
    None
}

/// Opens a file without a name in a directory: there are none.
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
pub fn open_unnamed(_dir: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    Ok(None)
}

/// The target of the symlink that was opened with [`LOOK_AT_LINK`] from this path.
pub fn read_opened_link(_link: &File, path: &Path) -> Result<Vec<u8>> {
    Ok(rustix::fs::readlink(path, Vec::new())?.into_bytes())
}

/// Sets owner and group of an open file.
pub fn own(file: &File, user: Option<Uid>, group: Gid) -> Result<()> {
    rustix::fs::fchown(file, user, Some(group))
}

/// Sets the mode of an open file.
pub fn set_mode(file: BorrowedFd<'_>, bits: u32) -> Result<()> {
    rustix::fs::fchmod(file, mode(bits))
}

/// Sets the mode of an entry of a directory, of a symlink its own.
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
pub fn set_mode_at(at: BorrowedFd<'_>, name: &OsStr, bits: u32) -> Option<Result<()>> {
    Some(rustix::fs::chmodat(at, name, mode(bits), AtFlags::SYMLINK_NOFOLLOW))
}

/// Whether the file system at `path` is served by another machine.
pub fn is_network(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_flags & LOCAL == 0)
}

/// Whether the file system at `path` is one of DOS or Windows, which keep no modes.
pub fn is_without_modes(path: &Path) -> bool {
    let name = |found: rustix::fs::StatFs| {
        let bytes = found.f_fstypename.iter().take_while(|&&byte| byte != 0);
        bytes.map(|&byte| byte.cast_unsigned()).collect::<Vec<u8>>()
    };
    let found = rustix::fs::statfs(path).map(name).unwrap_or_default();
    [&b"msdos"[..], b"exfat", b"ntfs"].contains(&&*found)
}

/// Makes a file share the blocks of another. APFS clones only whole files, into new ones, and a blob has
/// many: the cache copies bytes.
pub fn clone(_from: &File, _to: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Copies bytes in the kernel: there is no call for a part of a file.
pub fn copy_range(_from: &File, _offset: u64, _to: &File, _len: u64) -> bool {
    false
}

/// Gives way to other processes, for this thread alone: there is no call for that. That for the whole process
/// would slow down its answers.
pub fn give_way() {}
