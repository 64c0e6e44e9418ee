//! What shells pass and expect, where `clap_complete` does it differently.
//!
//! - Options are offered only after `-` is typed. `clap_complete` offers them with everything else for an
//!   empty word, where they hide the names that are wanted.
//! - bash splits words at the characters of `COMP_WORDBREAKS` too, and replaces only the last part:
//!   of `foo==1`, that is `1`. [`joined`] puts the parts together, and only the last part is offered.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{Result, Write};
use std::path::Path;

use clap::Command;
use clap_complete::engine;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh};

pub const SHELLS: Shells<'static> = Shells(&[
    &SplitWords,
    &AfterDash(&Elvish),
    &AfterDash(&Fish),
    &AfterDash(&Powershell),
    &AfterDash(&Zsh),
]);

/// The line of the script for bash that replaces the current word by its part before the cursor. Where that
/// word is only `==`, bash reports no part.
const CURRENT_WORD: &str = r#"words[COMP_CWORD]="$2""#;
const CURRENT_PART: &str = r#"[[ "${words[COMP_CWORD]}" == [=:]* ]] || words[COMP_CWORD]="$2""#;

/// A shell of `clap_complete` that offers options only after `-`.
struct AfterDash(&'static dyn EnvCompleter);

impl EnvCompleter for AfterDash {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn is(&self, name: &str) -> bool {
        self.0.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        script: &mut dyn Write,
    ) -> Result<()> {
        self.0.write_registration(var, name, bin, completer, script)
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        current_dir: Option<&Path>,
        answer: &mut dyn Write,
    ) -> Result<()> {
        let index = current_index().unwrap_or(words.len().saturating_sub(1));
        let is_dashed = words.get(index).is_some_and(|word| is_option(word));
        let mut lines = Vec::new();
        self.0.write_complete(command, words, current_dir, &mut lines)?;
        if !is_dashed {
            let kept = lines.split_inclusive(|byte| *byte == b'\n');
            lines = kept.filter(|line| !line.starts_with(b"-")).flatten().copied().collect();
        }
        answer.write_all(&lines)
    }
}

/// bash.
struct SplitWords;

impl EnvCompleter for SplitWords {
    fn name(&self) -> &'static str {
        Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        Bash.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        script: &mut dyn Write,
    ) -> Result<()> {
        let mut text = Vec::new();
        Bash.write_registration(var, name, bin, completer, &mut text)?;
        let text = String::from_utf8_lossy(&text).replace(CURRENT_WORD, CURRENT_PART);
        script.write_all(text.as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        current_dir: Option<&Path>,
        answer: &mut dyn Write,
    ) -> Result<()> {
        let index = current_index().unwrap_or_default();
        let (words, current, before) = joined(words, index);
        let is_dashed = is_option(&current);
        let index = words.len() - 1;
        let offered = engine::complete(command, words, index, current_dir)?;
        let values = offered.iter().map(|it| it.get_value().to_string_lossy());
        let values = values.filter(|value| is_dashed || !value.starts_with('-'));
        let parts = values.filter_map(|value| value.strip_prefix(&before).map(str::to_owned));
        let separator = env::var("_CLAP_IFS").unwrap_or_else(|_| "\n".into());
        answer.write_all(parts.collect::<Vec<_>>().join(&separator).as_bytes())
    }
}

/// The place of the word to complete, as the scripts pass it.
fn current_index() -> Option<usize> {
    env::var("_CLAP_COMPLETE_INDEX").ok()?.parse().ok()
}

fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// The words of a command line up to the current one, with the parts of each joined; the current word; and
/// which of its parts bash keeps before the one that it replaces.
///
/// A part of only `=` and `:` belongs to the words before and after it, which follow without a space as far
/// as is known. An empty word is not a part: it follows a space.
fn joined(parts: Vec<OsString>, index: usize) -> (Vec<OsString>, OsString, String) {
    let mut words: Vec<OsString> = Vec::new();
    let (mut before, mut is_open) = (String::new(), false);
    let is_new = index >= parts.len();
    let current = is_new.then(OsString::new);
    for part in parts.into_iter().take(index.saturating_add(1)).chain(current) {
        let is_break =
            !part.is_empty() && part.as_encoded_bytes().iter().all(|b| b"=:".contains(b));
        let is_more = is_break || (is_open && !part.is_empty());
        // The first word is the name of the command.
        let is_command = words.len() == 1;
        match words.last_mut() {
            Some(word) if is_more && !is_command => {
                let end = if is_break { part.as_os_str() } else { OsStr::new("") };
                before = format!("{}{}", word.to_string_lossy(), end.to_string_lossy());
                word.push(&part);
            }
            _ => {
                before.clear();
                words.push(part);
            }
        }
        is_open = is_break;
    }
    let current = words.last().cloned().unwrap_or_default();
    (words, current, before)
}
