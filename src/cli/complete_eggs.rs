//! Completion in shells, by the engine of `clap_complete`.
//!
//! A completion script runs `eggcache` with `EGGCACHE_COMPLETE` set to the name of the shell and with
//! the words of the command line. The engine answers from the definition of the command line, and asks
//! [`egg_names`] where an egg is wanted. Only names are completed: bash splits words at the `==` before
//! a version. The index is only read: completion neither creates a cache nor prints an error.
//!
//! `clap_complete` calls its engine unstable, because script and program must be of the same version.
//! Packages install both together, and a script that is out of date only completes nothing.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use super::args::{CommandLine, visible};
use super::cache_place::CachePlace;
use super::exit_code::ExitCode;
use crate::cache::Cache;
use crate::cache::trust::Trust;
use crate::util::environment::Environment;

/// Names the shell that asks for completion. Not clap's `COMPLETE`, which other programs may set.
const VARIABLE: &str = "EGGCACHE_COMPLETE";
const NAME: &str = "eggcache";

/// Answers a shell that asks for completion; `None` if this is another run.
pub fn answer() -> Option<ExitCode> {
    let engine = CompleteEnv::with_factory(offered).var(VARIABLE);
    match engine.try_complete(env::args_os(), env::current_dir().ok().as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::Success),
        // The shell would print a message in the middle of the line that is being typed.
        Err(_) => Some(ExitCode::Failure),
    }
}

/// The command line without its hidden commands, which the engine would offer if nothing else matches.
fn offered() -> Command {
    let full = CommandLine::command();
    let commands = visible(&full).cloned();
    Command::new(NAME).version("").args(full.get_arguments()).subcommands(commands)
}

/// The names of the shells that have a completion script.
pub fn shells() -> impl Iterator<Item = &'static str> {
    const SHELLS: Shells<'static> = Shells::builtins();
    SHELLS.names()
}

/// The completion script of a shell; `None` if it is not one of [`shells`].
pub fn script(shell: &str) -> Option<String> {
    let shells = Shells::builtins();
    let shell = shells.completer(shell)?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script).ok()?;
    let mut script = String::from_utf8(script).ok()?;
    if shell.name() == "zsh" {
        script.push_str(ZSH_AUTOLOAD);
    }
    Some(script)
}

/// zsh loads a file of its `fpath` as the body of a function when the first completion is wanted. The
/// script only defines another function, which has to answer that first time as well.
const ZSH_AUTOLOAD: &str = r#"
if [ "$funcstack[1]" = "_eggcache" ]; then
    _clap_dynamic_completer_eggcache "$@"
fi
"#;

/// Completes the names of cached eggs.
pub fn egg_names() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| candidates(typed).unwrap_or_default())
}

fn candidates(typed: &OsStr) -> Option<Vec<CompletionCandidate>> {
    let typed = typed.to_str()?;
    let option = cache_option(env::args_os().skip_while(|word| word != "--"));
    let environment: Environment = env::vars_os().collect();
    let trust = Trust::of(&environment);
    let root = CachePlace::new(option, &environment, &trust).ok()?.quietly()?;
    let names = Cache::project_names_at(&root, &trust).ok()?;
    Some(names.into_iter().filter(|it| it.starts_with(typed)).map(Into::into).collect())
}

/// The directory that `--cache` names in a command line. bash makes `=` a word of its own.
fn cache_option(words: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let mut words = words.skip_while(|word| !word.as_encoded_bytes().starts_with(b"--cache"));
    match words.next()?.to_str()?.strip_prefix("--cache=") {
        Some(value) => Some(value.into()),
        None => words.find(|word| word != "=").map(PathBuf::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_option_is_found_in_a_command_line() {
        for line in ["--cache dir show", "show --cache=dir foo", "show --cache = dir foo"] {
            let words = line.split(' ').map(OsString::from);
            assert_eq!(cache_option(words), Some("dir".into()), "{line}");
        }
        assert_eq!(cache_option(["show", "foo"].map(OsString::from).into_iter()), None);
    }
}
