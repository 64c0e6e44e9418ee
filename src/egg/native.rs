//! What native code an egg holds, and what it needs of Python and of the C library.
//!
//! Read from the files themselves: the name of an extension module carries its ABI tag (PEP 3149),
//! and an ELF object lists the versions of the C library's symbols that it needs. An egg therefore
//! needs the libc its objects were linked for, not the newer one of the machine that unpacked it.

use std::io::{Read, Seek};

use object::read::elf::{FileHeader, SectionHeader, SectionTable};
use object::{Endianness, ReadCache, elf};

/// Most sections that an object may have: what its header can say without an extension.
const MAX_SECTIONS: u32 = 1 << 16;
/// Most segments that an object may have: what its header can say without an extension.
const MAX_SEGMENTS: u32 = 1 << 16;
/// Largest section of needs that is read, in bytes: real ones have a few KiB.
const MAX_SECTION: u64 = 1 << 20;
/// Most needs that are looked at: real objects have a few dozen, of some ten libraries.
const MAX_NAMES: usize = 4096;

/// The needs of one or more native files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Native {
    /// ABI tags in file names, for example `cpython-311-x86_64-linux-gnu` or `abi3`.
    abi_tags: Vec<String>,
    glibc: Option<(u32, u32)>,
    musl: bool,
}

impl Native {
    /// Looks at one file; `None` if it is not native code.
    pub fn inspect(file_name: &str, mut content: impl Read + Seek) -> Option<Self> {
        let mut magic = [0; 4];
        content.read_exact(&mut magic).ok()?;
        let is_elf = magic == elf::ELFMAG;
        if !is_elf && !is_mach_o(magic) && !is_shared_object(file_name, magic) {
            return None;
        }
        let mut native =
            Self { abi_tags: abi_tag(file_name).into_iter().collect(), ..Self::default() };
        if is_elf {
            for need in needed_versions(content).unwrap_or_default() {
                native.musl |= need.starts_with(b"libc.musl");
                native.glibc = native.glibc.max(glibc_version(&need));
            }
        }
        Some(native)
    }

    /// The needs of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.abi_tags.extend(other.abi_tags);
        self.abi_tags.sort_unstable();
        self.abi_tags.dedup();
        Self {
            abi_tags: self.abi_tags,
            glibc: self.glibc.max(other.glibc),
            musl: self.musl || other.musl,
        }
    }

    /// The ABI that the extension modules are for: a SOABI, `abi3`, or empty if no name says. Of
    /// several, that of `host` if it is one of them.
    #[must_use]
    pub fn abi<'a>(&'a self, host: &'a str) -> &'a str {
        let hosts = self.abi_tags.iter().find(|tag| *tag == host);
        let exact = hosts.or(self.abi_tags.iter().find(|tag| *tag != "abi3"));
        exact.or(self.abi_tags.first()).map_or("", String::as_str)
    }

    /// `glibc X.Y`, `musl`, or empty if the files need neither.
    #[must_use]
    pub fn libc(&self) -> String {
        match self.glibc {
            Some((major, minor)) => format!("glibc {major}.{minor}"),
            None if self.musl => "musl".to_owned(),
            None => String::new(),
        }
    }
}

fn is_mach_o(magic: [u8; 4]) -> bool {
    let magic = u32::from_be_bytes(magic);
    matches!(magic, 0xfeed_face | 0xfeed_facf | 0xcefa_edfe | 0xcffa_edfe)
}

/// Of magics that other files have as well (PE: launchers of scripts; universal Mach-O: Java
/// classes), those in a file that is named like a shared object.
fn is_shared_object(file_name: &str, magic: [u8; 4]) -> bool {
    let named = [".so", ".dylib", ".pyd", ".dll"].iter().any(|suffix| file_name.ends_with(suffix));
    named && (magic.starts_with(b"MZ") || magic == *b"\xca\xfe\xba\xbe")
}

/// The tag between the module's name and `.so` or `.pyd` (PEP 3149, PEP 384).
fn abi_tag(file_name: &str) -> Option<String> {
    let stem = file_name.strip_suffix(".so").or_else(|| file_name.strip_suffix(".pyd"))?;
    let (_, tag) = stem.rsplit_once('.')?;
    let is_tag =
        ["cpython-", "pypy", "graalpy", "cp", "abi3"].iter().any(|start| tag.starts_with(start));
    is_tag.then(|| tag.to_owned())
}

fn glibc_version(need: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = std::str::from_utf8(need).ok()?.strip_prefix("GLIBC_")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The Python that an extension module is for, for example `3.11`; `None` if its file name does not
/// say, or says the stable ABI.
#[must_use]
pub fn python_of_module(file_name: &str) -> Option<String> {
    let tag = abi_tag(file_name)?;
    let version = ["cpython-", "pypy", "cp"].iter().find_map(|start| tag.strip_prefix(start))?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    let (major, minor) = version[..digits].split_at_checked(1)?;
    (!minor.is_empty()).then(|| format!("{major}.{minor}"))
}

/// The module that an extension module's path names: without the tag and the ending.
#[must_use]
pub fn module_of(path: &str) -> Option<&str> {
    let stem = path.strip_suffix(".so").or_else(|| path.strip_suffix(".pyd"))?;
    let name = stem.rfind('/').map_or(0, |slash| slash + 1);
    let end = stem[name..].find('.').map_or(stem.len(), |dot| name + dot);
    Some(&stem[..end])
}

/// Where an ELF object tells the loader to look for libraries (`DT_RPATH`, `DT_RUNPATH`), folder by
/// folder.
pub fn run_paths(content: impl Read + Seek) -> Vec<String> {
    let found = dynamic_strings(content, &[elf::DT_RPATH, elf::DT_RUNPATH]).unwrap_or_default();
    let text = found.iter().map(|list| String::from_utf8_lossy(list).into_owned());
    let folders = text.flat_map(|list| list.split(':').map(str::to_owned).collect::<Vec<_>>());
    folders.filter(|folder| !folder.is_empty()).collect()
}

/// Whether an ELF object of `size` bytes says that it has more: its last part is the table of its
/// sections, or what a segment holds.
pub fn is_cut_off(content: impl Read + Seek, size: u64) -> bool {
    let cache = ReadCache::new(content);
    let end = match object::FileKind::parse(&cache) {
        Ok(object::FileKind::Elf32) => end_of::<elf::FileHeader32<Endianness>>(&cache),
        Ok(object::FileKind::Elf64) => end_of::<elf::FileHeader64<Endianness>>(&cache),
        _ => return false,
    };
    // What has no header that can be read is cut off before its end.
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

/// Names of symbol versions and of libraries that an ELF object needs.
fn needed_versions(content: impl Read + Seek) -> object::read::Result<Vec<Vec<u8>>> {
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

/// The sections of an ELF object. What is read is bounded before it is read: an object may say that
/// it has any number of sections of any length, that lie over one another, and any number of names at
/// the same bytes.
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
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn abi_tags_are_read_from_module_names() {
        let tag = |name| abi_tag(name).unwrap_or_default();
        assert_eq!(tag("_a.cpython-311-x86_64-linux-gnu.so"), "cpython-311-x86_64-linux-gnu");
        assert_eq!(tag("_ring.abi3.so"), "abi3");
        assert_eq!(tag("_a.cp311-win_amd64.pyd"), "cp311-win_amd64");
        for name in ["_a.so", "libssl.so.3", "libfoo.1.so", "a.py"] {
            assert_eq!(tag(name), "", "{name}");
        }
    }

    #[test]
    fn the_python_of_an_extension_module_is_read_from_its_name() {
        for (name, python, module) in [
            ("a/_b.cpython-311-x86_64-linux-gnu.so", Some("3.11"), "a/_b"),
            ("_b.cpython-38-darwin.so", Some("3.8"), "_b"),
            ("_b.cpython-313t-x86_64-linux-gnu.so", Some("3.13"), "_b"),
            ("a.b/_b.pypy39-pp73-x86_64-linux-gnu.so", Some("3.9"), "a.b/_b"),
            ("_b.cp311-win_amd64.pyd", Some("3.11"), "_b"),
            ("_b.abi3.so", None, "_b"),
            ("a/_b.so", None, "a/_b"),
        ] {
            let file_name = name.rsplit('/').next().unwrap();
            assert_eq!(python_of_module(file_name).as_deref(), python, "{name}");
            assert_eq!(module_of(name), Some(module));
        }
        assert_eq!(module_of("a/b.py"), None);
    }

    #[test]
    fn run_paths_are_read_folder_by_folder() {
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
    fn an_exact_abi_wins_over_the_stable_one() {
        let tags = |tags: &[&str]| Native {
            abi_tags: tags.iter().map(ToString::to_string).collect(),
            ..Native::default()
        };
        let both = tags(&["abi3"]).and(tags(&["cpython-311-x86_64-linux-gnu"]));
        assert_eq!(both.abi(""), "cpython-311-x86_64-linux-gnu");
        assert_eq!(tags(&["abi3"]).abi(""), "abi3");
        let two = tags(&["cpython-310-x86_64-linux-gnu", "cpython-311-x86_64-linux-gnu"]);
        assert_eq!(two.abi("cpython-311-x86_64-linux-gnu"), "cpython-311-x86_64-linux-gnu");
    }

    #[test]
    fn text_is_not_native_and_a_broken_object_still_is() {
        assert_eq!(Native::inspect("a.py", Cursor::new(b"import os\n")), None);
        assert_eq!(Native::inspect("a.so", Cursor::new(b"")), None);
        assert_eq!(Native::inspect("cli.exe", Cursor::new(b"MZ\x90\0")), None);
        let broken = Native::inspect("a.so", Cursor::new(b"\x7fELF broken")).unwrap();
        assert_eq!((broken.abi(""), broken.libc().as_str()), ("", ""));
    }

    #[test]
    fn an_object_that_was_cut_off_is_told() {
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

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn this_test_program_needs_the_libc_it_was_linked_with() {
        let program = std::env::current_exe().unwrap();
        let native = Native::inspect("program", std::fs::File::open(program).unwrap()).unwrap();
        assert!(native.libc().starts_with("glibc 2."), "{}", native.libc());
    }

    /// A little-endian ELF object of sections of these kinds, with this content and with strings.
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
    fn needs_at_the_same_bytes_are_not_counted_without_end() {
        const VERNEED: u32 = elf::SHT_GNU_VERNEED.0;
        // Each need says 65535 times that the same version stands at the same bytes.
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
    fn sections_are_not_read_however_long_they_are() {
        let long = vec![0; usize::try_from(MAX_SECTION).unwrap() + 16];
        let object = object_of(&[(elf::SHT_DYNAMIC.0, &long)], b"\0");
        let mut read = Counting { content: Cursor::new(object), read: 0 };
        assert_eq!(needed_versions(&mut read).unwrap(), [b""; 0]);
        assert!(read.read < 10_000, "{}", read.read);
    }

    #[test]
    fn segments_are_not_read_however_many() {
        let mut object = object_of(&[], b"\0");
        let table =
            usize::try_from(u64::from_le_bytes(object[40..48].try_into().unwrap())).unwrap();
        // As many as the first section says, from the beginning of the object on.
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

    #[test]
    fn glibc_versions_are_compared_as_numbers() {
        assert!(glibc_version(b"GLIBC_2.17") > glibc_version(b"GLIBC_2.2.5"));
        assert_eq!(glibc_version(b"GLIBC_PRIVATE"), None);
        assert_eq!(glibc_version(b"GCC_3.0"), None);
    }
}
