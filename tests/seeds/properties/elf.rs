//! Properties of the reader of ELF objects.

use std::io::Cursor;

use eggcache::internals::elf;

/// The most names, and the largest section, that are read of an object.
const MAX_NAMES: usize = 4096;
const MAX_SECTION: usize = 1 << 20;

/// An ELF object with names of symbol versions or libraries that it needs.
pub fn object(input: &[u8]) -> bool {
    let read = || Cursor::new(input);
    let length = input.len() as u64;
    let needed = elf::needed_versions(read()).unwrap_or_default();
    assert!(needed.len() <= MAX_NAMES);
    let is_part =
        |name: &[u8]| name.is_empty() || input.windows(name.len()).any(|found| found == name);
    // Each is at least one byte of a section away from the next, so few are looked up here.
    assert!(needed.iter().take(8).all(|name| name.len() <= MAX_SECTION && is_part(name)));
    let folders = elf::run_paths(read());
    assert!(folders.iter().all(|folder| !folder.is_empty() && !folder.contains(':')));
    if !elf::is_cut_off(read(), length) {
        assert!(!elf::is_cut_off(read(), length + 1), "a longer file is not cut off");
    }
    !needed.is_empty()
}
