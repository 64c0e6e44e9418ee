//! The machine that this process runs on.

use std::fs;

/// The id of this boot of the machine; `None` if it is unknown, as on all systems but Linux.
#[must_use]
pub fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// The host name of this machine; empty if it is unknown.
#[must_use]
pub fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
