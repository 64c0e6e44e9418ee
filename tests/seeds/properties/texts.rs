//! Properties of the texts that people and other programs write: policies, buildout's files, scripts.

use eggcache::internals::ini::{self, Setting};
use eggcache::internals::script;
use eggcache::policy::Policy;

/// An `eggcache.toml`.
pub fn policy(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    match text.parse::<Policy>() {
        Ok(policy) => {
            assert_eq!(text.parse(), Ok(policy), "a text has one meaning");
            true
        }
        Err(reason) => {
            assert!(!reason.is_empty());
            false
        }
    }
}

/// A `buildout.cfg` with at least one option in a section; also read as a script.
pub fn buildout_file(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let settings = ini::settings(text);
    for Setting { section, name, lines, .. } in &settings {
        assert!(!name.is_empty() && !name.contains('\n') && !section.contains('\n'));
        assert!(lines.iter().all(|line| !line.is_empty() && line.trim() == *line));
    }
    let lines: usize = settings.iter().map(|setting| setting.lines.len()).sum();
    assert!(settings.len() <= text.lines().count() && lines <= text.lines().count());
    for Setting { section, name, .. } in settings.iter().take(8) {
        if let Some(value) = ini::value(text, section, name) {
            assert!(value.len() <= text.len(), "a value consists of lines of the file");
        }
    }
    let script = script::Script::parse(text);
    assert!(script.paths.iter().all(|path| path.len() <= text.len()));
    for path in script::absolute_paths(text) {
        assert!(path.starts_with('/'), "{path:?}");
    }
    for name in script::egg_names(text) {
        assert!(!name.contains('/'), "{name:?}");
    }
    settings.iter().any(|setting| !setting.section.is_empty())
}
