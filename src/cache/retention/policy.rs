//! The policy: settings in `eggcache.toml` in the cache, most of them for garbage collection.
//!
//! ```toml
//! [gc]
//! max-age = "90d"       # evict eggs not used for longer
//! max-size = "20GiB"    # evict the least recently used eggs beyond this size
//! keep-versions = 3     # keep only the newest versions of each project
//! grace = "30d"         # protect a root's eggs for this long after its folder is gone
//! auto = true           # collect after a buildout, at most once a day
//!
//! [remotes]
//! budget = "30s"        # how much longer a buildout may take because of its remotes
//! ```
//!
//! Every key is optional. An unknown key is an error: ignoring it could keep or evict the wrong eggs.

use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::Path;

use toml::{Table, Value};

use crate::cache::retention::plan::Rules;
use crate::disk::dir::Dir;
use crate::error::{Error, IoContext, Result};
use crate::util::units::{age, size};

/// The name of the file in the cache directory.
pub const FILE_NAME: &str = "eggcache.toml";
/// The longest policy that is read, in bytes.
const MAX_POLICY: u64 = 1 << 20;
/// The tables of the file, and their keys.
const TABLES: [(&str, &[&str]); 2] =
    [("gc", &["max-age", "max-size", "keep-versions", "grace", "auto"]), ("remotes", &["budget"])];

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    pub rules: Rules,
    /// How long the root of a missing folder is kept, in seconds.
    pub grace: Option<i64>,
    /// Whether to collect after a buildout.
    pub auto: bool,
    /// How much longer a buildout may take because of its remotes than without them, in seconds.
    pub budget: Option<i64>,
}

impl Policy {
    /// Reads the policy of the cache at `root`. Without the file, the policy has no rules.
    ///
    /// # Errors
    /// [`Error::Policy`] if the file is invalid.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE_NAME);
        let dir = match Dir::open(root) {
            // A missing cache, or a file in its place, is reported elsewhere.
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => {
                return Ok(Self::default());
            }
            dir => dir.at("read", &path)?,
        };
        let text = match dir.read_short(FILE_NAME, MAX_POLICY) {
            Err(error) if error.kind() == NotFound => return Ok(Self::default()),
            text => text.at("read", &path)?,
        };
        let reason = |error: std::string::FromUtf8Error| error.to_string();
        let policy = String::from_utf8(text).map_err(reason).and_then(|text| text.parse());
        policy.map_err(|reason| Error::Policy { path, reason })
    }
}

impl std::str::FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut file: Table = text.parse().map_err(|error: toml::de::Error| {
            let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or(""));
            format!("line {}: {}", before.matches('\n').count() + 1, error.message())
        })?;
        let mut policy = Self::default();
        for (table, known) in TABLES {
            let keys = match file.remove(table) {
                None => continue,
                Some(Value::Table(keys)) => keys,
                Some(_) => return Err(format!("`{table}` is not a table: write it as [{table}]")),
            };
            for (key, value) in &keys {
                if !known.contains(&key.as_str()) {
                    return Err(unknown(key, known));
                }
                policy.set(key, value)?;
            }
        }
        if let Some(key) = file.keys().next() {
            let is_in = |(_, known): &&(&str, &[&str])| known.contains(&key.as_str());
            return Err(match TABLES.iter().find(is_in) {
                Some((table, _)) => format!("`{key}` belongs below a line [{table}]"),
                None => unknown(key, &TABLES.map(|(table, _)| table)),
            });
        }
        Ok(policy)
    }
}

impl Policy {
    /// Sets one key. Their names are distinct in all tables.
    fn set(&mut self, key: &str, value: &Value) -> std::result::Result<(), String> {
        let wrong = |what: &str| format!("`{key}` {what}");
        let unreadable = |reason: String| format!("`{key}`: {reason}");
        let text = || value.as_str().ok_or_else(|| wrong("is not a text like \"90d\""));
        match key {
            "max-age" => self.rules.max_age = Some(age(text()?).map_err(unreadable)?),
            "max-size" => self.rules.max_size = Some(size(text()?).map_err(unreadable)?),
            "grace" => self.grace = Some(age(text()?).map_err(unreadable)?),
            "budget" => self.budget = Some(age(text()?).map_err(unreadable)?),
            "keep-versions" => {
                let count = value.as_integer().and_then(|count| usize::try_from(count).ok());
                let count = count.filter(|&count| count > 0);
                self.rules.keep_versions =
                    Some(count.ok_or_else(|| wrong("is not a number, at least 1"))?);
            }
            _ => {
                let auto = value.as_bool();
                self.auto = auto.ok_or_else(|| wrong("is neither true nor false"))?;
            }
        }
        Ok(())
    }
}

fn unknown(key: &str, known: &[&str]) -> String {
    let nearest = known.iter().min_by_key(|known| strsim::osa_distance(key, known));
    format!("there is no `{key}`; the nearest is `{}`", nearest.unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<Policy, String> {
        text.parse()
    }

    #[test]
    fn a_policy_is_parsed() {
        let text = "[gc]\nmax-age = \"90d\"\nmax-size = \"20GiB\"\nkeep-versions = 3\n\
                    grace = \"1d\"\nauto = true\n";
        let (max_age, max_size, keep_versions) = (Some(90 * 86_400), Some(20 << 30), Some(3));
        let rules = Rules { max_age, max_size, keep_versions, ..Rules::default() };
        assert_eq!(
            parse(text),
            Ok(Policy { rules, grace: Some(86_400), auto: true, budget: None })
        );
        let budget = "[remotes]\nbudget = \"2m\"\n";
        assert_eq!(parse(budget), Ok(Policy { budget: Some(120), ..Policy::default() }));
        assert_eq!(parse("# nothing\n[gc]\n"), Ok(Policy::default()));
        assert_eq!(parse(""), Ok(Policy::default()));
    }

    #[test]
    fn an_invalid_policy_is_an_error_with_a_suggestion() {
        for (text, says) in [
            ("[gc]\nmax-aeg = \"90d\"", "there is no `max-aeg`; the nearest is `max-age`"),
            (
                "[gc]\nkeep_versions = 3",
                "there is no `keep_versions`; the nearest is `keep-versions`",
            ),
            ("[cg]\nauto = true", "there is no `cg`; the nearest is `gc`"),
            ("auto = true", "`auto` belongs below a line [gc]"),
            ("budget = \"1s\"", "`budget` belongs below a line [remotes]"),
            ("[gc]\nbudget = \"1s\"", "there is no `budget`"),
            ("[remotes]\nbudget = 30", "`budget` is not a text"),
            ("gc = 1", "`gc` is not a table"),
            ("[gc]\nauto = \"yes\"", "`auto` is neither true nor false"),
            ("[gc]\nmax-age = 90", "`max-age` is not a text"),
            ("[gc]\nmax-age = \"soon\"", "`max-age`: an age is"),
            ("[gc]\nmax-size = \"20\"", "`max-size`: a size needs a unit"),
            ("[gc]\nkeep-versions = 0", "`keep-versions` is not a number, at least 1"),
            ("[gc]\nkeep-versions = -1", "`keep-versions` is not a number, at least 1"),
            ("[gc]\n\nmax-age = \n", "line 3: "),
            ("[gc", "line 1: "),
        ] {
            let reason = parse(text).unwrap_err();
            assert!(reason.contains(says), "{text}: {reason}");
        }
    }
}
