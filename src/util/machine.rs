//! The machine that this process runs on. These functions read `/proc`.

use std::fs;

/// The id of this boot of the machine; `None` if it is unknown.
#[must_use]
pub fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// The host name of this machine; empty if it is unknown.
#[must_use]
pub fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
