//! POSIX access control lists: who may write a file besides those of its mode.
//!
//! Linux keeps a list in an extended attribute: a version, and then the tag, the permissions and the number of
//! each entry (`linux/posix_acl_xattr.h`).

use std::path::Path;

use rustix::io::Errno;

pub const ACCESS: &str = "system.posix_acl_access";
/// What new entries of a directory get.
pub const DEFAULT: &str = "system.posix_acl_default";

const VERSION: u32 = 2;
/// More entries than any file has.
const MOST_BYTES: usize = 64 << 10;
const WRITE: u16 = 0o2;

/// An entry of a list that lets somebody write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    User(u32),
    /// The group of the file.
    OwnGroup,
    Group(u32),
    /// The list cannot be read.
    Unknown,
}

/// Who may write a file by a list; `None` if the file has none. A symlink is not followed.
#[must_use]
pub fn writers(path: &Path, list: &str) -> Option<Vec<Writer>> {
    let mut bytes = vec![0; MOST_BYTES];
    match rustix::fs::lgetxattr(path, list, &mut bytes) {
        Ok(length) => Some(parse(&bytes[..length]).unwrap_or_else(|| vec![Writer::Unknown])),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::NOENT | Errno::ACCESS) => None,
        Err(_) => Some(vec![Writer::Unknown]),
    }
}

fn parse(list: &[u8]) -> Option<Vec<Writer>> {
    let (version, entries) = list.split_first_chunk()?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
        return None;
    }
    let (mut writers, mut mask) = (Vec::new(), WRITE);
    for &[tag, zero, allowed, _, a, b, c, d] in entries {
        let (number, allowed) = (u32::from_le_bytes([a, b, c, d]), u16::from(allowed));
        let writer = match u16::from_le_bytes([tag, zero]) {
            0x02 => Writer::User(number),
            0x04 => Writer::OwnGroup,
            0x08 => Writer::Group(number),
            0x10 => {
                mask = allowed;
                continue;
            }
            // The owner and all others, as in the mode.
            0x01 | 0x20 => continue,
            _ => return None,
        };
        if allowed & WRITE != 0 {
            writers.push(writer);
        }
    }
    if mask & WRITE == 0 {
        writers.clear();
    }
    Some(writers)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A list as the kernel keeps it.
    pub(crate) fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = VERSION.to_le_bytes().to_vec();
        for (tag, allowed, number) in entries {
            list.extend([tag.to_le_bytes(), allowed.to_le_bytes()].concat());
            list.extend(number.to_le_bytes());
        }
        list
    }

    #[test]
    fn a_list_names_who_may_write() {
        let none = u32::MAX;
        let all = [(1, 7, none), (2, 6, 7), (2, 4, 8), (4, 7, none), (8, 2, 9), (0x20, 7, none)];
        let expected = [Writer::User(7), Writer::OwnGroup, Writer::Group(9)];
        assert_eq!(parse(&list(&all)).unwrap(), expected);
        let with_mask = |mask| parse(&list(&[&all[..], &[(0x10, mask, none)]].concat())).unwrap();
        assert_eq!(with_mask(7), expected);
        assert_eq!(with_mask(5), []);
        for damaged in [&b""[..], b"\x03\0\0\0", &list(&all)[..9], &list(&[(3, 7, 0)])] {
            assert_eq!(parse(damaged), None);
        }
    }
}
