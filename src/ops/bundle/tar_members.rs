//! Reading the members of a tar file one by one, with bounds on their names.

use std::borrow::Cow;
use std::io::{self, Read};

use tar::{EntryType, Header};

use super::archive::header;

/// Longest name or target that is read, in bytes: longer than any kernel allows.
const MAX_NAME: u64 = 1 << 16;

/// Why the next member cannot be read.
#[derive(Debug)]
pub enum Unreadable {
    /// The stream has failed or ended, or is no archive.
    Io(io::Error),
    /// The reason, in words for users.
    Name(&'static str),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A member of an archive. Its name and target are separate if they are too long for its header.
pub struct TarMember<'a, R: Read> {
    pub content: tar::Entry<'a, R>,
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

impl<R: Read> TarMember<'_, R> {
    pub fn header(&self) -> &Header {
        self.content.header()
    }

    /// The name as it is in the archive.
    pub fn name(&self) -> Cow<'_, [u8]> {
        self.name.as_deref().map_or_else(|| self.content.path_bytes(), Cow::Borrowed)
    }

    pub fn path(&self) -> String {
        String::from_utf8_lossy(&self.name()).trim_end_matches('/').to_owned()
    }

    /// Whether the header is the one that this eggcache writes for such a member. Programs differ in how
    /// they read other headers, so they could see another archive than the one that was compared.
    pub fn is_plain(&self, kind: EntryType, mode: u32, mtime: u64, size: u64) -> bool {
        let (mut found, mut expected) = (self.header().clone(), header(kind, mode, mtime, size));
        let (Some(names), Some(plain)) = (found.as_gnu_mut(), expected.as_gnu_mut()) else {
            return false;
        };
        plain.name = names.name;
        plain.cksum = names.cksum;
        if kind == EntryType::Symlink {
            plain.linkname = names.linkname;
        }
        // `tar --owner=0` writes no names.
        for (name, plain) in [(&names.uname, &mut plain.uname), (&names.gname, &mut plain.gname)] {
            if name.iter().all(|byte| *byte == 0) {
                *plain = *name;
            }
        }
        found.as_bytes() == expected.as_bytes()
    }

    pub fn target(&self) -> Option<Cow<'_, [u8]>> {
        self.target.as_deref().map(Cow::Borrowed).or_else(|| self.content.link_name_bytes())
    }
}

/// The next member, with the long names that GNU tar puts before it. `entries` must be raw, since the
/// `tar` crate reads a name of any length.
pub fn next<'a, R: Read>(
    entries: &mut tar::Entries<'a, R>,
) -> Result<Option<TarMember<'a, R>>, Unreadable> {
    let (mut name, mut target) = (None, None);
    for content in entries.by_ref() {
        let content = content?;
        let long_name = match content.header().entry_type() {
            EntryType::GNULongName => &mut name,
            EntryType::GNULongLink => &mut target,
            _ => return Ok(Some(TarMember { content, name, target })),
        };
        if long_name.is_some() || content.size() > MAX_NAME {
            return Err(Unreadable::Name("a name is too long, or given twice"));
        }
        let mut plain = content.header().clone();
        plain.set_size(content.size());
        if plain.as_bytes() != content.header().as_bytes() {
            return Err(Unreadable::Name("a name has an unusual length field"));
        }
        let mut bytes = Vec::new();
        content.take(MAX_NAME).read_to_end(&mut bytes)?;
        bytes.pop_if(|last| *last == 0);
        *long_name = Some(bytes);
    }
    if name.is_some() || target.is_some() {
        return Err(Unreadable::Name("a name is followed by no member"));
    }
    Ok(None)
}
