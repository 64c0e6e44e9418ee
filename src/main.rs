//! The `eggcache` command. The command line itself is in the library, below `cli`.
#![deny(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    eggcache::main()
}
