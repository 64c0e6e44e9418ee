//! Reading the members of a tar file one by one, with bounds on their names.

use std::borrow::Cow;
use std::io::{self, Read};

use tar::{EntryType, Header};

/// Longest name or target that is read, in bytes: longer than any kernel allows.
const MAX_NAME: u64 = 1 << 16;

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

    pub fn path(&self) -> String {
        let bytes = self.name.as_deref().map_or_else(|| self.content.path_bytes(), Cow::Borrowed);
        String::from_utf8_lossy(&bytes).trim_end_matches('/').to_owned()
    }

    pub fn target(&self) -> Option<Cow<'_, [u8]>> {
        self.target.as_deref().map(Cow::Borrowed).or_else(|| self.content.link_name_bytes())
    }
}

/// The next member, with the long names that GNU tar puts before it. `entries` must be raw, since the
/// `tar` crate reads a name of any length.
pub fn next<'a, R: Read>(
    entries: &mut tar::Entries<'a, R>,
) -> io::Result<Option<TarMember<'a, R>>> {
    let (mut name, mut target) = (None, None);
    for content in entries.by_ref() {
        let content = content?;
        let long_name = match content.header().entry_type() {
            EntryType::GNULongName => &mut name,
            EntryType::GNULongLink => &mut target,
            _ => return Ok(Some(TarMember { content, name, target })),
        };
        if long_name.is_some() || content.size() > MAX_NAME {
            return Err(io::Error::other("a name is too long, or given twice"));
        }
        let mut bytes = Vec::new();
        content.take(MAX_NAME).read_to_end(&mut bytes)?;
        bytes.pop_if(|last| *last == 0);
        *long_name = Some(bytes);
    }
    if name.is_some() || target.is_some() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(None)
}
