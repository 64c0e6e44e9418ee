//! The words of the command line.

mod remote;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cache::query;
use crate::ops::bundle::Mtimes;
use crate::util::units::{age, size};
use anstream::ColorChoice;
use clap::builder::PossibleValuesParser;
use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;

pub use self::remote::RemoteCommand;
use super::print::LogFormat;
use super::values::{at_least_one, day, mtimes, sha256};

/// Keep built eggs once, copy them into every buildout that needs them.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  eggcache add eggs/v5\n  eggcache list zope\n  \
        eggcache materialize --into eggs/v5 lxml==6.1.3\n  eggcache gc --max-size 20GiB --dry-run\n\n\
        Exit codes:\n  0  fine\n  1  failure\n  2  the command line makes no sense, or names several eggs\n  \
        3  the cache does not have it\n  4  problems found\n\n\
        Environment:\n  EGGCACHE_DIR    the cache directory\n  \
        XDG_CACHE_HOME  where the cache is by default; ~/.cache if not set\n  \
        NO_COLOR        print no colour\n  \
        EGGCACHE_SIGNING_KEY           the secret key that `push` and `sign` sign with\n  \
        EGGCACHE_SIGNING_KEY_PASSWORD  its password, if it has one\n\n\
        Files:\n  ~/.cache/eggcache                the cache, by default\n  \
        ~/.cache/eggcache/eggcache.toml  what `gc` does where it is not told otherwise"
)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Below a command's own options, which who asks for help looks for.
const GLOBAL: &str = "Options of every command";

#[derive(Debug, ClapArgs)]
pub struct Global {
    /// The cache directory; by default `eggcache` in the platform's cache folder.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DIR", env = "EGGCACHE_DIR", hide_env_values = true)]
    pub cache: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Print problems only.
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// Print a line for each egg.
    #[arg(short, long, global = true, help_heading = GLOBAL, conflicts_with = "quiet")]
    pub verbose: bool,
    /// When to use colour.
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "WHEN",
        default_value = "auto",
        value_parser = PossibleValuesParser::new(["auto", "always", "never"])
    )]
    color: String,
    /// How messages are written to standard error; json is one object for each line.
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "FORMAT",
        default_value = "text",
        value_parser = PossibleValuesParser::new(["text", "json"])
    )]
    log_format: String,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep eggs: egg directories, zipped eggs, folders of them, or all eggs of a buildout.
    #[command(after_help = "Examples:\n  eggcache add eggs/v5\n  eggcache add /srv/buildout\n  \
        eggcache add eggs/lxml-6.1.3-py3.11-linux-x86_64.egg\n\n\
        Exit code 1 if an egg was refused; the others are kept.")]
    Add {
        /// An egg directory, a zipped egg, an eggs directory (its v5/ too), or a buildout.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The major version of the zc.buildout that built them (5 stands for all from 5 on); told
        /// from their metadata if absent.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..))]
        generation: Option<u8>,
        /// The label of the build environment (`egg-cache-environment`).
        #[arg(long, value_name = "LABEL", default_value = "")]
        environment: String,
        /// SHA-256 of the archive they were built from.
        #[arg(long, value_name = "HEX", value_parser = sha256)]
        source_sha256: Option<String>,
        /// Store an egg in place of another build of it.
        #[arg(long)]
        replace: bool,
    },
    /// Copy eggs into an eggs directory.
    #[command(after_help = "What the cache does not have is pulled from the remotes, if it is \
        name==version or a file name; without --python for the Python of the eggs that are there \
        already.\n\nExamples:\n  eggcache materialize --into eggs/v5 lxml==6.1.3\n  \
        eggcache materialize --into eggs/v5 --requirements requirements.txt --python 3.11\n  \
        eggcache materialize --into eggs/v5 --requirements requirements.txt --preflight\n\n\
        Exit code 3 if neither the cache nor a remote has one of them.")]
    Materialize {
        /// The eggs directory, made if needed.
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
        /// name==version, a name, an egg's file name, or at least 8 digits of its digest.
        #[arg(value_name = "EGG", required_unless_present_any = ["requirements", "all"])]
        eggs: Vec<String>,
        /// Also the eggs that a file of name==version lines pins.
        #[arg(long, value_name = "FILE")]
        requirements: Vec<PathBuf>,
        /// Every egg in the cache.
        #[arg(long, conflicts_with_all = ["eggs", "requirements"])]
        all: bool,
        /// Only tell what is missing, and whether there is room for the rest. Nothing is written. Exit
        /// code 3 if the cache lacks an egg, 1 if there is no room.
        #[arg(long)]
        preflight: bool,
        #[command(flatten)]
        narrow: Narrow,
    },
    /// List the eggs in the cache.
    #[command(after_help = "Examples:\n  eggcache list\n  eggcache list zope --python 3.11\n  \
        eggcache --json list lxml | jq .eggs")]
    List {
        /// Part of a name or a file name, name==version, or at least 8 digits of a digest.
        query: Option<String>,
        #[command(flatten)]
        narrow: Narrow,
    },
    /// Show everything that is known of an egg.
    #[command(after_help = "Examples:\n  eggcache show lxml==6.1.3\n  \
        eggcache show lxml --files --python 3.11\n\n\
        Exit code 3 if the cache does not have it, 2 if several answer to it.")]
    Show {
        /// name==version, a name, an egg's file name, or at least 8 digits of its digest.
        egg: String,
        /// Also what it consists of.
        #[arg(long)]
        files: bool,
        #[command(flatten)]
        narrow: Narrow,
    },
    /// Remove eggs by policy, and what no egg needs. What is pinned or a buildout uses stays.
    #[command(
        after_help = "What is not said here is taken from eggcache.toml in the cache, if it is \
        there:\n\n  [gc]\n  max-age = \"90d\"\n  max-size = \"20GiB\"\n  keep-versions = 3\n  \
        grace = \"30d\"\n  auto = true    # after a buildout, at most once a day\n\nExamples:\n  eggcache gc --max-age 90d --dry-run\n  \
        eggcache gc --max-size 20GiB --keep-versions 3\n  \
        eggcache gc --dry-run --verbose    # why does each egg stay?"
    )]
    Gc {
        /// Remove what was not used for longer than this: 90d, 12h, 1y (m is minutes, mo months).
        #[arg(long, value_name = "AGE", value_parser = age)]
        max_age: Option<i64>,
        /// Remove the least recently used until the blobs have no more than this: 500MB, 20GiB.
        #[arg(long, value_name = "SIZE", value_parser = size)]
        max_size: Option<u64>,
        /// Remove all but the N newest versions of each project, for each Python and platform.
        #[arg(long, value_name = "N", value_parser = at_least_one)]
        keep_versions: Option<usize>,
        /// Keep what a buildout uses for this long after its folder is gone, 30d if absent: the folder
        /// may be on a disk that is not mounted.
        #[arg(long, value_name = "AGE", value_parser = age)]
        grace: Option<i64>,
        /// Remove also what buildouts use, but not what is pinned; each builds or fetches it again when it needs it anew.
        #[arg(long)]
        ignore_roots: bool,
        /// Only tell what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
    /// List the buildouts that use the cache; what they use is kept by `gc`.
    #[command(
        after_help = "A buildout is listed once it has run with `egg-cache` and succeeded.\n\n\
        Examples:\n  eggcache roots\n  eggcache roots --forget /srv/old-app\n\n\
        Exit code 3 if the folder to forget is not listed, 4 if a record cannot be read."
    )]
    Roots {
        /// Forget the buildout in this folder first; its next run lists it again.
        #[arg(long, value_name = "DIR")]
        forget: Option<PathBuf>,
    },
    /// Keep eggs whatever the policy of `gc` says.
    #[command(
        after_help = "A pin may be of an egg that is yet to come. `eggcache pins` lists what is \
        pinned.\n\nExamples:\n  \
        eggcache pin lxml==6.1.3 --note 'the release of May'\n  eggcache pin 'zope.interface>=5,<6'\n  \
        eggcache pin 'zope.*'"
    )]
    Pin {
        /// A name, name==version, a name with version specifiers, a name or a file name with * in it,
        /// an egg's file name, or at least 8 digits of its digest.
        #[arg(required = true, value_name = "WHAT")]
        what: Vec<String>,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Take pins away.
    #[command(after_help = "Examples:\n  eggcache unpin lxml==6.1.3\n  \
        eggcache unpin 'zope.*'\n\nExit code 3 if it is not pinned.")]
    Unpin {
        /// As it was pinned; `eggcache pins` lists it.
        #[arg(required = true, value_name = "WHAT")]
        what: Vec<String>,
    },
    /// List what is pinned.
    #[command(after_help = "Examples:\n  eggcache pins\n  eggcache --json pins | jq .pins")]
    Pins,
    /// Tell what is in the cache, what it is good for, and what the next `gc` would take.
    #[command(
        after_help = "A hit is an egg that was copied from the cache, a miss one that was asked for \
        and had to be built. Time saved is what the builds of the hits had taken.\n\nExamples:\n  \
        eggcache stats\n  eggcache stats --html stats.html\n  \
        eggcache --json stats | jq .usage.last_30_days"
    )]
    Stats {
        /// Also write a page with all of it, one file that loads nothing.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Check every byte of every egg in the cache; exit code 4 if there is a problem.
    #[command(after_help = "Examples:\n  eggcache verify\n  eggcache verify --repair")]
    Verify {
        /// Mend what can be mended: what is damaged goes to quarantine/ in the cache, and the index
        /// tells again what the blobs tell. Exit code 4 if a problem stays.
        #[arg(long)]
        repair: bool,
    },
    /// Prove that a buildout is self-contained and that its eggs are what they were; exit code 4 if
    /// there is a problem.
    #[command(after_help = "Where no other cache is said, it is the one that the buildout names: \
        egg-cache in buildout.cfg, in a file that it extends, or in ~/.buildout/default.cfg.\n\n\
        Examples:\n  eggcache check .\n  \
        eggcache check --full --repair /srv/app\n  \
        eggcache --json check . | jq .problems")]
    Check {
        /// The folder of the buildout.
        #[arg(value_name = "BUILDOUT")]
        buildout: PathBuf,
        /// Compare every byte of every egg with the cache, not only sizes and times.
        #[arg(long)]
        full: bool,
        /// Restore from the cache what has drifted. What was added to an egg goes to set-aside/ in the
        /// eggs directory. Exit code 4 if a problem stays.
        #[arg(long)]
        repair: bool,
        /// Its eggs directory; by default where buildout was told to put eggs.
        #[arg(long, value_name = "DIR")]
        eggs: Option<PathBuf>,
    },
    /// Write a reproducible archive of a buildout, for an RPM, an image, or another machine; exit code 4
    /// if a check finds a problem.
    #[command(
        after_help = "What goes in, and what differs between two archives, is in docs/bundle.md. \
        PATTERN is a name (*.log), or a path from the top of the buildout (parts/*/log) in which ** \
        stands for any folders; either stands for all that is below as well. --exclude is stronger.\n\n\
        Where no other cache is said, it is the one that the buildout names, as for `eggcache check`.\n\n\
        Examples:\n  eggcache bundle . -o ../app-1.0.tar.zst\n  \
        eggcache bundle /srv/app -o app.tar.zst --include var/templates\n  \
        eggcache bundle --verify app.tar.zst"
    )]
    Bundle {
        /// The folder of the buildout.
        #[arg(value_name = "BUILDOUT", required_unless_present = "verify")]
        buildout: Option<PathBuf>,
        /// The archive: .tar.zst or .tar.
        #[arg(short, long, value_name = "FILE", required_unless_present = "verify")]
        output: Option<PathBuf>,
        /// The folder in the archive, by default the name of the buildout's; '' for none.
        #[arg(long, value_name = "DIR")]
        prefix: Option<String>,
        /// The mtime of what is of no egg, in seconds since the Unix epoch, or `source` for that of
        /// each file; by default that of the newest file in the eggs. Eggs keep theirs, on which their
        /// bytecode depends.
        #[arg(long, value_name = "EPOCH", env = "SOURCE_DATE_EPOCH", hide_env_values = true, value_parser = mtimes)]
        mtime: Option<Mtimes>,
        /// Leave out what matches.
        #[arg(long, value_name = "PATTERN")]
        exclude: Vec<String>,
        /// Take in what matches although it would be left out: data, downloads, bytecode, an unused egg.
        #[arg(long, value_name = "PATTERN")]
        include: Vec<String>,
        /// Take in also the eggs that nothing uses: no script, configuration or `.installed.cfg` names them.
        #[arg(long)]
        unused: bool,
        /// Its eggs directory; by default where buildout was told to put eggs.
        #[arg(long, value_name = "DIR")]
        eggs: Option<PathBuf>,
        /// Check every byte of an archive against its manifest; exit code 4 if there is a problem.
        #[arg(
            long,
            value_name = "ARCHIVE",
            conflicts_with_all = ["buildout", "output", "prefix", "exclude", "include", "unused", "eggs"]
        )]
        verify: Option<PathBuf>,
    },
    /// Make a cache; every command does, and this one can let a group share it.
    #[command(after_help = "Examples:\n  mkdir /srv/eggs && chgrp builders /srv/eggs\n  \
        eggcache --cache /srv/eggs init --shared")]
    Init {
        /// Whoever is in the group of the cache's directory can use all of it.
        #[arg(long)]
        shared: bool,
    },
    /// Say where else eggs may come from, and where those that are built here go.
    #[command(
        subcommand_required = true,
        disable_help_subcommand = true,
        after_help = "Examples:\n  \
        eggcache remote add team s3://eggs/pool --key team.pub --push\n  eggcache remote list"
    )]
    Remote {
        #[command(subcommand)]
        command: RemoteCommand,
    },
    /// Bring eggs of the cache to a remote.
    #[command(
        after_help = "EGGCACHE_SIGNING_KEY names the file with the secret key that signs them, which \
        `eggcache keygen` makes.\n\nExamples:\n  eggcache push lxml==6.1.3\n  \
        eggcache push --all --to team\n  eggcache push --requirements requirements.txt --python 3.11\n\n\
        Exit code 3 if the cache does not have one of them, 1 if one could not be pushed."
    )]
    Push {
        /// name==version, a name, an egg's file name, or at least 8 digits of its digest.
        #[arg(value_name = "EGG", required_unless_present_any = ["requirements", "all"])]
        eggs: Vec<String>,
        /// Also the eggs that a file of name==version lines pins.
        #[arg(long, value_name = "FILE")]
        requirements: Vec<PathBuf>,
        /// Every egg in the cache.
        #[arg(long, conflicts_with_all = ["eggs", "requirements"])]
        all: bool,
        /// The remote; by default all that were added with --push.
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
        #[command(flatten)]
        narrow: Narrow,
    },
    /// Bring eggs from the remotes into the cache.
    #[command(after_help = "`materialize` and buildouts \
        pull what they need by themselves.\n\nExamples:\n  \
        eggcache pull lxml==6.1.3 --python 3.11\n  \
        eggcache pull --requirements requirements.txt --python 3.11\n\n\
        Exit code 3 if no remote has one of them, 1 if one could not be pulled or a remote not be used \
        for it.")]
    Pull {
        /// name==version, or an egg's file name.
        #[arg(value_name = "EGG", required_unless_present = "requirements")]
        eggs: Vec<String>,
        /// Also the eggs that a file of name==version lines pins.
        #[arg(long, value_name = "FILE")]
        requirements: Vec<PathBuf>,
        /// The remote; by default all, in their order.
        #[arg(long, value_name = "NAME")]
        from: Option<String>,
        #[command(flatten)]
        narrow: Narrow,
    },
    /// Make a pair of keys: one that signs, and one that tells others whose signature it is.
    #[command(after_help = "The secret key goes to FILE, for its owner alone, the public one to \
        FILE.pub. Both are in the form of minisign. Where EGGCACHE_SIGNING_KEY_PASSWORD is set, the \
        secret key has that password.\n\nExamples:\n  eggcache keygen team")]
    Keygen {
        /// The secret key; the public one is beside it.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say whose signatures count on a remote.
    #[command(after_help = "Examples:\n  eggcache trust team team.pub\n  \
        eggcache trust team old.pub --until 2027-01-31 --note 'of the old builders'\n  \
        eggcache trust team --remove E7620F1842B4E81F")]
    Trust {
        /// The remote.
        name: String,
        /// A public key, or the file that has it; with --remove also the key's id.
        key: String,
        /// From this day on (UTC) nothing counts that it has signed.
        #[arg(long, value_name = "DAY", value_parser = day)]
        until: Option<i64>,
        /// What it is.
        #[arg(long, value_name = "TEXT", conflicts_with = "remove")]
        note: Option<String>,
        /// Do not trust it any more.
        #[arg(long, conflicts_with = "until")]
        remove: bool,
    },
    /// Add the signature of another key to what a remote has, so that the key before it can be done
    /// without.
    #[command(
        after_help = "EGGCACHE_SIGNING_KEY names the file with the secret key. It has to be trusted on \
        the remote, as does the key that has signed so far: what nobody trusted has signed is left, and \
        told. Once the others trust the new key as well, the old one can go.\n\nExamples:\n  \
        eggcache trust team new.pub\n  EGGCACHE_SIGNING_KEY=new eggcache sign team\n  \
        eggcache trust team --remove old.pub"
    )]
    Sign {
        /// The remote.
        name: String,
    },
    /// Rebuild the index from the blobs.
    #[command(after_help = "Examples:\n  eggcache reindex\n\n\
        Exit code 4 if a blob cannot be read; the others are in the index.")]
    Reindex,
    /// Print a script that completes the words of this command in a shell.
    #[command(
        after_help = "Examples:\n  eggcache completions bash > ~/.local/share/bash-completion/completions/eggcache\n  \
        eggcache completions zsh > ~/.zfunc/_eggcache\n  \
        eggcache completions fish > ~/.config/fish/completions/eggcache.fish"
    )]
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the man page of eggcache, or write that of each command too.
    #[command(after_help = "Examples:\n  eggcache man | man -l -\n  \
        eggcache man --out ~/.local/share/man/man1")]
    Man {
        /// Write eggcache.1 and a page for each command into this directory, made if needed.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Print the names of all projects in the cache; the completions of shells run this.
    #[command(hide = true)]
    Names,
    /// Answer a buildout; the `eggcache` Python package runs this.
    #[command(hide = true)]
    Serve,
}

/// What an egg must also be.
#[derive(Debug, ClapArgs)]
pub struct Narrow {
    /// Only eggs of this Python: 3.11 or cp311.
    #[arg(long, value_name = "VERSION")]
    python: Option<String>,
    /// Only eggs of this platform: linux-x86_64.
    #[arg(long)]
    platform: Option<String>,
    /// Only eggs of this layout: the major version of zc.buildout, 5 for all from 5 on.
    #[arg(long, value_name = "N")]
    generation: Option<u8>,
}

impl From<Narrow> for query::Narrow {
    fn from(Narrow { python, platform, generation }: Narrow) -> Self {
        Self { python, platform, generation }
    }
}

impl Command {
    /// The buildout that it is about, which may name a cache.
    pub fn buildout(&self) -> Option<&Path> {
        match self {
            Self::Check { buildout, .. } => Some(buildout),
            Self::Bundle { buildout, .. } => buildout.as_deref(),
            _ => None,
        }
    }
}

impl Global {
    pub fn color(&self) -> ColorChoice {
        match self.color.as_str() {
            "always" => ColorChoice::Always,
            "never" => ColorChoice::Never,
            _ => ColorChoice::Auto,
        }
    }

    pub fn log_format(&self) -> LogFormat {
        if self.log_format == "json" { LogFormat::Json } else { LogFormat::Text }
    }
}

/// How an error of the command line itself is told, before it is known what its words mean.
pub fn log_format_of(words: impl Iterator<Item = OsString>) -> LogFormat {
    let mut words = words.skip_while(|word| word != "--log-format" && word != "--log-format=json");
    let json = match words.next() {
        Some(word) if word == "--log-format" => words.next().is_some_and(|word| word == "json"),
        word => word.is_some(),
    };
    if json { LogFormat::Json } else { LogFormat::Text }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    /// The commands that a line of an example runs, each as the words that a shell makes of it.
    fn commands(line: &str) -> Vec<Vec<String>> {
        let mut commands = vec![vec![]];
        for word in line.split(" #").next().unwrap_or_default().split('\'').enumerate() {
            let all = commands.last_mut().unwrap();
            match word {
                // In quotes.
                (n, text) if n % 2 == 1 => all.push(text.to_owned()),
                (_, text) => {
                    for word in text.split_whitespace() {
                        match word {
                            "|" | "&&" | ";" => commands.push(vec![]),
                            word => commands.last_mut().unwrap().push(word.to_owned()),
                        }
                    }
                }
            }
        }
        for words in &mut commands {
            // What is set for one command alone.
            let is_set = |word: &String| word.starts_with("EGGCACHE_") && word.contains('=');
            words.drain(..words.iter().take_while(|word| is_set(word)).count());
            words.truncate(words.iter().position(|word| word == ">").unwrap_or(words.len()));
        }
        commands.retain(|words| words.first().is_some_and(|word| word == "eggcache"));
        commands
    }

    fn examples(command: &Command) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_default();
        examples.lines().take_while(|line| !line.is_empty()).map(Into::into).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    /// What `--help` of each command prints, with its words: `remote`, and `remote add`.
    fn told(command: &Command, words: &[String]) -> Vec<(Vec<String>, Command)> {
        let mut all = vec![(words.to_vec(), command.clone())];
        for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            let words = [words, &[below.get_name().to_owned()]].concat();
            all.extend(told(below, &words));
        }
        all
    }

    #[test]
    fn every_example_of_every_help_is_understood() {
        for (name, command) in told(&Args::command(), &[]) {
            let lines = examples(&command);
            let all: Vec<_> = lines.iter().flat_map(|line| commands(line)).collect();
            assert!(!all.is_empty(), "{name:?} has no example");
            for words in &all {
                let understood = Args::try_parse_from(words);
                assert!(understood.is_ok(), "{words:?}: {understood:?}");
            }
            // Some of them need another command before.
            let is_of = |words: &Vec<String>| words.windows(name.len()).any(|it| *it == name[..]);
            assert!(name.is_empty() || all.iter().any(is_of), "{name:?}: {all:?}");
        }
    }

    #[test]
    fn every_word_of_the_command_line_is_explained() {
        for (name, command) in told(&Args::command(), &[]) {
            let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for word in command.get_arguments() {
                // What takes more than a line is explained below all of them.
                let is_told_below =
                    word.get_value_names().is_some_and(|it| below.contains(it[0].as_str()));
                assert!(word.get_help().is_some() || is_told_below, "{name:?}: {}", word.get_id());
            }
        }
    }
}
