//! The `eggcache` command: arguments in, reports out. Everything else is in the library.
#![deny(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
