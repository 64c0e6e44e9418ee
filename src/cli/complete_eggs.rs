//! Completion in shells, by the engine of `clap_complete`.
//!
//! A completion script runs `eggcache` with `EGGCACHE_COMPLETE` set to the name of the shell and with
//! the words of the command line. The engine answers from the definition of the command line, and asks
//! [`egg_names`] where an egg is wanted, and the functions beside it where a remote, a pin or a buildout is.
//! Names are completed as they are typed, `zope.i` and `zope-i` alike, and versions after `==`.
//! [`super::complete_shells`] has what shells do differently. The index is only read: completion neither
//! creates a cache nor prints an error.
//!
//! `clap_complete` calls its engine unstable, because script and program must be of the same version.
//! Packages install both together, and a script that is out of date only completes nothing.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::CompleteEnv;

use super::args::{CommandLine, visible};
use super::cache_place::CachePlace;
use super::complete_shells::SHELLS;
use super::exit_code::ExitCode;
use crate::cache::Cache;
use crate::cache::retention::{pins, roots};
use crate::cache::trust::Trust;
use crate::egg::name::normalize_name;
use crate::remote::config;
use crate::util::clock::now;
use crate::util::environment::Environment;
use crate::util::printable::is_printable;
use crate::util::progress::Silent;

/// Names the shell that asks for completion. Not clap's `COMPLETE`, which other programs may set.
const VARIABLE: &str = "EGGCACHE_COMPLETE";
const NAME: &str = "eggcache";

/// Answers a shell that asks for completion; `None` if this is another run.
pub fn answer() -> Option<ExitCode> {
    let engine = CompleteEnv::with_factory(offered).shells(SHELLS).var(VARIABLE);
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
    SHELLS.names()
}

/// The completion script of a shell; `None` if it is not one of [`shells`].
pub fn script(shell: &str) -> Option<String> {
    let shell = SHELLS.completer(shell)?;
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

/// Completes the names of cached eggs, and their versions after `==`.
pub fn egg_names() -> ArgValueCompleter {
    completer(|typed, root, trust| match typed.split_once("==") {
        None => {
            let names = Cache::project_names_at(root, trust).ok()?;
            Some(names.iter().filter_map(|name| as_typed(name, typed)).collect())
        }
        Some((name, _)) => {
            let cache = Cache::open_to_read_with(root, trust, &Silent).ok()?;
            let eggs = cache.eggs_of_project(&normalize_name(name)).ok()?;
            Some(eggs.iter().map(|egg| format!("{name}=={}", egg.key.version)).collect())
        }
    })
}

/// Completes the names of remotes.
pub fn remote_names() -> ArgValueCompleter {
    completer(|_, root, trust| {
        let remotes = config::read(root, trust).ok()?;
        Some(remotes.into_iter().map(|remote| remote.name).collect())
    })
}

/// Completes the ids of trusted keys, and files, which a key can also be in.
pub fn key_ids() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let ids = candidates(typed, |_, root, trust| {
            let remotes = config::read(root, trust).ok()?;
            let keys = remotes.iter().flat_map(|remote| &remote.trusted);
            Some(keys.filter_map(|key| key.id().ok()).collect())
        });
        let mut all = ids.unwrap_or_default();
        all.extend(PathCompleter::file().complete(typed));
        all
    })
}

/// Completes pins.
pub fn pin_names() -> ArgValueCompleter {
    completer(|_, root, trust| {
        let cache = Cache::open_to_read_with(root, trust, &Silent).ok()?;
        let pins = pins::all(cache.dir()).ok()?;
        Some(pins.into_iter().map(|(pin, _)| pin.what).collect())
    })
}

/// Completes the folders of registered buildouts.
pub fn root_folders() -> ArgValueCompleter {
    completer(|_, root, trust| {
        let cache = Cache::open_to_read_with(root, trust, &Silent).ok()?;
        let (roots, _) = roots::all(cache.dir(), now()).ok()?;
        let folders = roots.into_iter().map(|known| known.root.directory.display().to_string());
        Some(folders.collect())
    })
}

/// Completes with those words of a cache that begin with what is typed, each once.
fn completer(
    words: impl Fn(&str, &Path, &Trust) -> Option<Vec<String>> + Send + Sync + 'static,
) -> ArgValueCompleter {
    ArgValueCompleter::new(move |typed: &OsStr| candidates(typed, &words).unwrap_or_default())
}

fn candidates(
    typed: &OsStr,
    words: impl Fn(&str, &Path, &Trust) -> Option<Vec<String>>,
) -> Option<Vec<CompletionCandidate>> {
    let typed = typed.to_str()?;
    let option = cache_option(env::args_os().skip_while(|word| word != "--"));
    let environment: Environment = env::vars_os().collect();
    let trust = Trust::of(&environment);
    let root = CachePlace::new(option, &environment, &trust).quietly()?;
    let words: BTreeSet<String> = words(typed, &root, &trust)?.into_iter().collect();
    // A word with other characters could change the line that is typed.
    let is_offered = |word: &String| word.starts_with(typed) && word.chars().all(is_printable);
    Some(words.into_iter().filter(is_offered).map(Into::into).collect())
}

/// A name that continues what is typed, with the separator that is typed: `zope.interface` for `zope.i`.
fn as_typed(name: &str, typed: &str) -> Option<String> {
    let is_same = |(left, right): (char, char)| {
        left == right.to_ascii_lowercase() || (left == '-' && matches!(right, '.' | '_'))
    };
    let rest = name.get(typed.len()..)?;
    if !name.chars().zip(typed.chars()).all(is_same) {
        return None;
    }
    let separator = typed.chars().find(|c| matches!(c, '.' | '_')).unwrap_or('-');
    Some(format!("{typed}{}", rest.replace('-', &separator.to_string())))
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
    fn a_name_is_completed_in_the_spelling_that_is_typed() {
        for (typed, completed) in [
            ("", Some("zope-interface")),
            ("zop", Some("zope-interface")),
            ("zope.i", Some("zope.interface")),
            ("zope_", Some("zope_interface")),
            ("Zope-In", Some("Zope-Interface")),
            ("zope.x", None),
            ("zope-interface-x", None),
        ] {
            assert_eq!(as_typed("zope-interface", typed).as_deref(), completed, "{typed}");
        }
    }

    #[test]
    fn the_cache_option_is_found_in_a_command_line() {
        for line in ["--cache dir show", "show --cache=dir foo", "show --cache = dir foo"] {
            let words = line.split(' ').map(OsString::from);
            assert_eq!(cache_option(words), Some("dir".into()), "{line}");
        }
        assert_eq!(cache_option(["show", "foo"].map(OsString::from).into_iter()), None);
    }
}
