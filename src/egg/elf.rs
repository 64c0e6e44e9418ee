//! ELF objects: the symbol versions and libraries that one needs, its run paths, its debugging information, and
//! its length.
//!
//! Everything is bounded before it is read: an object can claim any number of sections of any length,
//! overlapping, with any number of names at the same bytes.

use std::io::{Read, Seek};
use std::ops::Range;

use object::read::elf::{FileHeader, SectionHeader, SectionTable};
use object::{Endianness, ReadCache, elf};

/// The bytes that an ELF object begins with.
pub const MAGIC: [u8; 4] = elf::ELFMAG;

/// The most sections that an object may have: as many as a header can state without an extension.
const MAX_SECTIONS: u32 = 1 << 16;
/// The most segments that an object may have: as many as a header can state without an extension.
const MAX_SEGMENTS: u32 = 1 << 16;
/// The largest section that is read, in bytes. Real ones have a few KiB.
const MAX_SECTION: u64 = 1 << 20;
/// The most names that are read. Real objects have a few dozen, from some ten libraries.
const MAX_NAMES: usize = 4096;

/// The folders that an object names for the loader to search for libraries (`DT_RPATH`, `DT_RUNPATH`).
pub fn run_paths(content: impl Read + Seek) -> Vec<String> {
    let found = dynamic_strings(content, &[elf::DT_RPATH, elf::DT_RUNPATH]).unwrap_or_default();
    let text = found.iter().map(|list| String::from_utf8_lossy(list).into_owned());
    let folders = text.flat_map(|list| list.split(':').map(str::to_owned).collect::<Vec<_>>());
    folders.filter(|folder| !folder.is_empty()).collect()
}

/// The names of the libraries that an object needs (`DT_NEEDED`).
pub fn needed_libraries(content: impl Read + Seek) -> Vec<String> {
    let found = dynamic_strings(content, &[elf::DT_NEEDED]).unwrap_or_default();
    found.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// Where in an object its debugging information is, which is never loaded.
pub fn debugging_information(content: impl Read + Seek) -> Vec<Range<u64>> {
    let cache = ReadCache::new(content);
    let found = match object::FileKind::parse(&cache) {
        Ok(object::FileKind::Elf32) => {
            Sections::<elf::FileHeader32<Endianness>, _>::parse(&cache).map(|it| it.debugging())
        }
        Ok(object::FileKind::Elf64) => {
            Sections::<elf::FileHeader64<Endianness>, _>::parse(&cache).map(|it| it.debugging())
        }
        _ => return Vec::new(),
    };
    found.unwrap_or_default()
}

/// Whether an object of `size` bytes claims to be longer. Its last part is the table of its sections, or
/// the content of a segment.
pub fn is_cut_off(content: impl Read + Seek, size: u64) -> bool {
    let cache = ReadCache::new(content);
    let end = match object::FileKind::parse(&cache) {
        Ok(object::FileKind::Elf32) => end_of::<elf::FileHeader32<Endianness>>(&cache),
        Ok(object::FileKind::Elf64) => end_of::<elf::FileHeader64<Endianness>>(&cache),
        _ => return false,
    };
    // Without a readable header, it is cut off before the end of the header.
    end.map_or(true, |end| end > size)
}

fn end_of<'a, Elf: FileHeader<Endian = Endianness>>(
    data: impl object::ReadRef<'a>,
) -> object::read::Result<u64> {
    use object::read::elf::ProgramHeader;
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let sections = u64::from(header.e_shentsize(endian)) * u64::from(header.e_shnum(endian));
    let mut end = header.e_shoff(endian).into().saturating_add(sections);
    if header.phnum(endian, data)? > MAX_SEGMENTS {
        return Ok(end);
    }
    for segment in header.program_headers(endian, data)? {
        let (offset, length) = segment.file_range(endian);
        end = end.max(offset.saturating_add(length));
    }
    Ok(end)
}

fn dynamic_strings(
    content: impl Read + Seek,
    tags: &[elf::DynamicTag],
) -> object::read::Result<Vec<Vec<u8>>> {
    let cache = ReadCache::new(content);
    match object::FileKind::parse(&cache)? {
        object::FileKind::Elf32 => {
            Sections::<elf::FileHeader32<Endianness>, _>::parse(&cache)?.dynamic_strings(tags)
        }
        object::FileKind::Elf64 => {
            Sections::<elf::FileHeader64<Endianness>, _>::parse(&cache)?.dynamic_strings(tags)
        }
        _ => Ok(Vec::new()),
    }
}

/// The first result of `pick` for the name of a symbol that an object imports or exports. Of the symbols, as
/// many are read as of other names.
pub fn find_symbol<T>(
    content: impl Read + Seek,
    pick: impl Fn(&[u8]) -> Option<T>,
) -> object::read::Result<Option<T>> {
    let cache = ReadCache::new(content);
    match object::FileKind::parse(&cache)? {
        object::FileKind::Elf32 => {
            Sections::<elf::FileHeader32<Endianness>, _>::parse(&cache)?.find_symbol(pick)
        }
        object::FileKind::Elf64 => {
            Sections::<elf::FileHeader64<Endianness>, _>::parse(&cache)?.find_symbol(pick)
        }
        _ => Ok(None),
    }
}

/// The names of the symbol versions and libraries that an object needs.
pub fn needed_versions(content: impl Read + Seek) -> object::read::Result<Vec<Vec<u8>>> {
    let cache = ReadCache::new(content);
    match object::FileKind::parse(&cache)? {
        object::FileKind::Elf32 => {
            Sections::<elf::FileHeader32<Endianness>, _>::parse(&cache)?.needed_versions()
        }
        object::FileKind::Elf64 => {
            Sections::<elf::FileHeader64<Endianness>, _>::parse(&cache)?.needed_versions()
        }
        _ => Ok(Vec::new()),
    }
}

/// The sections of an object.
struct Sections<'a, Elf: FileHeader<Endian = Endianness>, R: object::ReadRef<'a>> {
    data: R,
    endian: Endianness,
    table: SectionTable<'a, Elf, R>,
}

impl<'a, Elf: FileHeader<Endian = Endianness>, R: object::ReadRef<'a>> Sections<'a, Elf, R> {
    fn parse(data: R) -> object::read::Result<Self> {
        let header = Elf::parse(data)?;
        let endian = header.endian()?;
        if header.shnum(endian, data)? > MAX_SECTIONS {
            return Ok(Self { data, endian, table: SectionTable::default() });
        }
        Ok(Self { data, endian, table: header.sections(endian, data)? })
    }

    fn first(&self, kind: elf::SectionType) -> Option<&'a Elf::SectionHeader> {
        let mut sections = self.table.iter();
        let section = sections.find(|section| section.sh_type(self.endian) == kind)?;
        (section.sh_size(self.endian).into() <= MAX_SECTION).then_some(section)
    }

    fn debugging(&self) -> Vec<Range<u64>> {
        let is_debugging = |section: &&'a Elf::SectionHeader| {
            let name = self.table.section_name(self.endian, section).unwrap_or_default();
            let is_loaded = section.sh_flags(self.endian).0 & elf::SHF_ALLOC.0 != 0;
            !is_loaded && (name.starts_with(b".debug") || name.starts_with(b".zdebug"))
        };
        let sections = self.table.iter().filter(is_debugging);
        let ranges = sections.filter_map(|section| section.file_range(self.endian));
        ranges.map(|(start, length)| start..start.saturating_add(length)).collect()
    }

    fn needed_versions(&self) -> object::read::Result<Vec<Vec<u8>>> {
        let Self { data, endian, table } = self;
        let mut names = Vec::new();
        if let Some(section) = self.first(elf::SHT_GNU_VERNEED)
            && let Some((mut needs, link)) = section.gnu_verneed(*endian, *data)?
        {
            let strings = table.strings(*endian, *data, link)?;
            while let Some((_, mut versions)) = needs.next()? {
                while let Some(version) = versions.next()? {
                    if names.len() == MAX_NAMES {
                        return Ok(names);
                    }
                    names.push(version.name(*endian, strings)?.to_vec());
                }
            }
        }
        names.extend(self.dynamic_strings(&[elf::DT_NEEDED])?);
        names.truncate(MAX_NAMES);
        Ok(names)
    }

    fn find_symbol<T>(&self, pick: impl Fn(&[u8]) -> Option<T>) -> object::read::Result<Option<T>> {
        if self.first(elf::SHT_DYNSYM).is_none() {
            return Ok(None);
        }
        let symbols = self.table.symbols(self.endian, self.data, elf::SHT_DYNSYM)?;
        for symbol in symbols.iter().take(MAX_NAMES) {
            if let Some(picked) = pick(symbols.symbol_name(self.endian, symbol)?) {
                return Ok(Some(picked));
            }
        }
        Ok(None)
    }

    fn dynamic_strings(&self, tags: &[elf::DynamicTag]) -> object::read::Result<Vec<Vec<u8>>> {
        use object::read::elf::Dyn;
        let Self { data, endian, table } = self;
        let mut strings = Vec::new();
        if let Some(section) = self.first(elf::SHT_DYNAMIC)
            && let Some((entries, link)) = section.dynamic(*endian, *data)?
        {
            let names = table.strings(*endian, *data, link)?;
            let entries = entries.iter().filter(|entry| tags.contains(&entry.tag(*endian)));
            for entry in entries.take(MAX_NAMES) {
                strings.push(entry.string(*endian, names)?.to_vec());
            }
        }
        Ok(strings)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::egg::native::Native;

    #[test]
    fn run_paths_are_split_into_folders() {
        let entry = |tag: elf::DynamicTag, at: u64| {
            [tag.0.cast_unsigned(), at].map(u64::to_le_bytes).concat()
        };
        let dynamic =
            [entry(elf::DT_RPATH, 1), entry(elf::DT_NEEDED, 1), entry(elf::DT_RUNPATH, 16)];
        let strings = b"\0$ORIGIN:/opt/a\0/usr/lib\0";
        let object = object_of(&[(elf::SHT_DYNAMIC.0, &dynamic.concat())], strings);
        assert_eq!(run_paths(Cursor::new(object)), ["$ORIGIN", "/opt/a", "/usr/lib"]);
        assert_eq!(run_paths(Cursor::new(b"\x7fELF broken")), [""; 0]);
    }

    #[test]
    fn an_object_that_was_cut_off_is_found() {
        let object = object_of(&[(elf::SHT_DYNAMIC.0, &[0; 64])], b"\0");
        let is_cut_off = |length: usize| {
            is_cut_off(Cursor::new(&object[..length]), u64::try_from(length).unwrap())
        };
        assert!(!is_cut_off(object.len()));
        for length in [object.len() - 1, object.len() / 2, 30] {
            assert!(is_cut_off(length), "{length}");
        }
        assert!(!super::is_cut_off(Cursor::new(b"no object"), 9));
    }

    /// An object that needs these libraries and has a run path.
    pub(crate) fn object_that_needs(libraries: &[&str], run_path: &str) -> Vec<u8> {
        let (mut strings, mut dynamic) = (vec![0], Vec::new());
        let names = libraries.iter().map(|name| (elf::DT_NEEDED, *name));
        for (tag, text) in names.chain([(elf::DT_RUNPATH, run_path)]) {
            let at = u64::try_from(strings.len()).unwrap();
            dynamic.extend([tag.0.cast_unsigned(), at].map(u64::to_le_bytes).concat());
            strings.extend([text.as_bytes(), b"\0"].concat());
        }
        object_of(&[(elf::SHT_DYNAMIC.0, &dynamic)], &strings)
    }

    /// An object that imports these symbols.
    pub(crate) fn object_that_imports(symbols: &[&str]) -> Vec<u8> {
        let (mut strings, mut table) = (vec![0], vec![0; 24]);
        for name in symbols {
            table.extend(u32::try_from(strings.len()).unwrap().to_le_bytes());
            table.extend([0; 20]);
            strings.extend([name.as_bytes(), b"\0"].concat());
        }
        object_of(&[(elf::SHT_DYNSYM.0, &table)], &strings)
    }

    #[test]
    fn an_imported_symbol_is_found_by_its_name() {
        let object = object_that_imports(&["malloc", "PyInt_Type"]);
        let pick = |name: &[u8]| name.starts_with(b"Py").then(|| name.to_vec());
        let found = find_symbol(Cursor::new(object), pick).unwrap();
        assert_eq!(found, Some(b"PyInt_Type".to_vec()));
        let without = object_that_needs(&["libc.so.6"], "");
        assert_eq!(find_symbol(Cursor::new(without), pick).unwrap(), None);
    }

    /// An object with one section, which is loaded or not.
    pub(crate) fn object_with_section(name: &str, is_loaded: bool, content: &[u8]) -> Vec<u8> {
        let strings = [b"\0", name.as_bytes(), b"\0"].concat();
        let mut object = object_of(&[(elf::SHT_PROGBITS.0, content)], &strings);
        let table =
            usize::try_from(u64::from_le_bytes(object[40..48].try_into().unwrap())).unwrap();
        object[table + 128] = 1; // the third section: its name, then its flags
        object[table + 136] = if is_loaded { 2 } else { 0 };
        object
    }

    /// A little-endian object with sections of these types and contents, and with strings.
    fn object_of(sections: &[(u32, &[u8])], strings: &[u8]) -> Vec<u8> {
        let mut object = b"\x7fELF\x02\x01\x01".to_vec();
        object.resize(64, 0);
        let mut table = vec![0; 64];
        for (kind, content) in [&[(3, strings)], sections].concat() {
            let (offset, length) = (object.len() as u64, content.len() as u64);
            table.extend([0, kind].map(u32::to_le_bytes).concat());
            table.extend([0, 0, offset, length].map(u64::to_le_bytes).concat());
            table.extend([1_u32, 0, 0, 0, 0, 0].map(u32::to_le_bytes).concat());
            object.extend(content);
        }
        let at = object.len() as u64;
        object[40..48].copy_from_slice(&at.to_le_bytes());
        object[58] = 64; // the size of a section's header, then how many there are
        object[60..62].copy_from_slice(&u16::try_from(table.len() / 64).unwrap().to_le_bytes());
        object[62] = 1;
        object.extend(table);
        object
    }

    #[test]
    fn repeated_names_are_read_up_to_a_limit() {
        const VERNEED: u32 = elf::SHT_GNU_VERNEED.0;
        // Each need claims 65535 versions, all at the same bytes.
        let mut need = [1_u16, u16::MAX].map(u16::to_le_bytes).concat();
        need.extend([1_u32, 16, 32, 0, 0, 1, 0].map(u32::to_le_bytes).concat());
        let need = need.repeat(100);
        let object = object_of(&[(VERNEED, &need)], b"\0GLIBC_2.17\0");
        let needs = needed_versions(Cursor::new(&object)).unwrap();
        assert_eq!(needs, vec![b"GLIBC_2.17".to_vec(); MAX_NAMES]);
        let native = Native::inspect("a.so", Cursor::new(object)).unwrap();
        assert_eq!(native.libc(), "glibc 2.17");
    }

    #[test]
    fn long_sections_are_not_read() {
        let long = vec![0; usize::try_from(MAX_SECTION).unwrap() + 16];
        let object = object_of(&[(elf::SHT_DYNAMIC.0, &long)], b"\0");
        let mut read = Counting { content: Cursor::new(object), read: 0 };
        assert_eq!(needed_versions(&mut read).unwrap(), [b""; 0]);
        assert!(read.read < 10_000, "{}", read.read);
    }

    #[test]
    fn too_many_segments_are_not_read() {
        let mut object = object_of(&[], b"\0");
        let table =
            usize::try_from(u64::from_le_bytes(object[40..48].try_into().unwrap())).unwrap();
        // As many as the first section states, from the beginning of the object.
        object[32] = 64;
        object[54] = 56;
        object[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
        object[table + 44..table + 48].copy_from_slice(&1_000_000_u32.to_le_bytes());
        object.resize(60_000_000, 0);
        let size = u64::try_from(object.len()).unwrap();
        let mut read = Counting { content: Cursor::new(object), read: 0 };
        assert!(!is_cut_off(&mut read, size));
        assert!(read.read < 10_000, "{}", read.read);
    }

    struct Counting {
        content: Cursor<Vec<u8>>,
        read: usize,
    }

    impl Read for Counting {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let read = self.content.read(buffer)?;
            self.read += read;
            Ok(read)
        }
    }

    impl Seek for Counting {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            self.content.seek(to)
        }
    }
}
