//! The native code of an egg, and the Python and C library that it needs.
//!
//! Both are read from the files: the file name of an extension module has an ABI tag (PEP 3149), and an
//! ELF object lists the versions of the C library's symbols that it needs. So an egg needs the libc
//! that its objects were linked for, not the newer one of the machine that unpacked it.

use std::io::{Read, Seek};

use crate::egg::elf;

/// The requirements of one or more native files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Native {
    /// ABI tags in file names, for example `cpython-311-x86_64-linux-gnu` or `abi3`.
    abi_tags: Vec<String>,
    glibc: Option<(u32, u32)>,
    musl: bool,
}

impl Native {
    /// Inspects one file; `None` if it is not native code.
    pub fn inspect(file_name: &str, mut content: impl Read + Seek) -> Option<Self> {
        let mut magic = [0; 4];
        content.read_exact(&mut magic).ok()?;
        let is_elf = magic == elf::MAGIC;
        if !is_elf && !is_mach_o(magic) && !is_shared_object(file_name, magic) {
            return None;
        }
        let mut native =
            Self { abi_tags: abi_tag(file_name).into_iter().collect(), ..Self::default() };
        if is_elf {
            for need in elf::needed_versions(content).unwrap_or_default() {
                native.musl |= need.starts_with(b"libc.musl");
                native.glibc = native.glibc.max(glibc_version(&need));
            }
        }
        Some(native)
    }

    /// The requirements of both.
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

    /// The ABI of the extension modules: a SOABI, `abi3`, or empty if no file name has one. Of several,
    /// that of `host` if it is among them.
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

/// Whether a file with an ambiguous magic is a shared object, by its name. Script launchers are PE files
/// too, and Java classes begin as universal Mach-O does.
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

/// The Python of an extension module, for example `3.11`; `None` if its file name has no tag, or that of
/// the stable ABI.
#[must_use]
pub fn python_of_module(file_name: &str) -> Option<String> {
    let tag = abi_tag(file_name)?;
    let version = ["cpython-", "pypy", "cp"].iter().find_map(|start| tag.strip_prefix(start))?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    let (major, minor) = version[..digits].split_at_checked(1)?;
    (!minor.is_empty()).then(|| format!("{major}.{minor}"))
}

/// The path of an extension module without its tag and extension.
#[must_use]
pub fn module_of(path: &str) -> Option<&str> {
    let stem = path.strip_suffix(".so").or_else(|| path.strip_suffix(".pyd"))?;
    let name = stem.rfind('/').map_or(0, |slash| slash + 1);
    let end = stem[name..].find('.').map_or(stem.len(), |dot| name + dot);
    Some(&stem[..end])
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
    fn the_python_of_a_module_is_read_from_its_name() {
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
    fn a_broken_object_is_native_code_and_text_is_not() {
        assert_eq!(Native::inspect("a.py", Cursor::new(b"import os\n")), None);
        assert_eq!(Native::inspect("a.so", Cursor::new(b"")), None);
        assert_eq!(Native::inspect("cli.exe", Cursor::new(b"MZ\x90\0")), None);
        let broken = Native::inspect("a.so", Cursor::new(b"\x7fELF broken")).unwrap();
        assert_eq!((broken.abi(""), broken.libc().as_str()), ("", ""));
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn a_program_needs_the_libc_that_it_was_linked_with() {
        let program = std::env::current_exe().unwrap();
        let native = Native::inspect("program", std::fs::File::open(program).unwrap()).unwrap();
        assert!(native.libc().starts_with("glibc 2."), "{}", native.libc());
    }

    #[test]
    fn glibc_versions_are_compared_as_numbers() {
        assert!(glibc_version(b"GLIBC_2.17") > glibc_version(b"GLIBC_2.2.5"));
        assert_eq!(glibc_version(b"GLIBC_PRIVATE"), None);
        assert_eq!(glibc_version(b"GCC_3.0"), None);
    }
}
