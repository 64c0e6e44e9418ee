//! The commands of `remote`.

use crate::util::units::age;
use clap::Subcommand;

use crate::cli::values::at_least_one;

/// What to do with remotes.
#[derive(Debug, Subcommand)]
pub enum RemoteCommand {
    /// Add a remote: an object store, a folder, or a web server that is only read.
    #[command(
        after_help = "URL is s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, \
        an https address, or the path of a folder. Credentials come from the environment, as the \
        tools of these stores have them (AWS_ACCESS_KEY_ID and so on); a store that everybody can \
        read needs none.\n\nExamples:\n  \
        eggcache remote add team s3://eggs/pool --key team.pub --push\n  \
        eggcache remote add team s3://eggs --endpoint http://storage.example:8333 --key team.pub\n  \
        eggcache remote add mirror https://eggs.example/pool --key team.pub"
    )]
    Add {
        /// How it is called here.
        name: String,
        /// Where it is.
        url: String,
        /// A public key whose signatures count there, or the file that has it. Without any, nothing
        /// of the remote is used.
        #[arg(long = "key", value_name = "KEY")]
        keys: Vec<String>,
        /// Push there what buildouts build here.
        #[arg(long)]
        push: bool,
        /// The server of the store, if it is not that of Amazon, Google or Azure.
        #[arg(long, value_name = "URL")]
        endpoint: Option<String>,
        /// The region of an S3 store.
        #[arg(long)]
        region: Option<String>,
        /// This machine of a cloud has the credentials itself.
        #[arg(long)]
        instance_credentials: bool,
        /// Ask it before the others.
        #[arg(long)]
        first: bool,
    },
    /// List the remotes in the order in which they are asked.
    #[command(after_help = "Examples:\n  eggcache remote list\n  \
        eggcache --json remote list | jq .remotes")]
    List,
    /// Remove a remote: it is not asked any more. What it has stays.
    #[command(after_help = "Examples:\n  eggcache remote remove team")]
    Remove {
        /// The remote.
        name: String,
    },
    /// Check everything that a remote has; exit code 4 if there is a problem.
    #[command(
        after_help = "Every entry is signed by a key that is trusted here and stands where its key \
        says, its blob is there, and lists and sets say what entries say. It needs a listing, so name \
        the store and not a web server before it.\n\nExamples:\n  eggcache remote verify team\n  \
        eggcache remote verify team --full\n  eggcache remote verify team --repair\n\n\
        Exit code 4 if a problem stays."
    )]
    Verify {
        /// The remote.
        name: String,
        /// Read every blob as well, and compare its digest.
        #[arg(long)]
        full: bool,
        /// Make lists and sets say again what the entries say; with --full, remove blobs that are damaged.
        #[arg(long)]
        repair: bool,
    },
    /// Remove eggs from a remote by policy, and what no egg needs. What this cache pins, or its
    /// buildouts use, stays.
    #[command(
        after_help = "Nobody knows when an egg of a remote was last used: its age is that of its \
        entry there. What others use is known to them alone, so pin here what is to stay. It needs a \
        listing, so name the store and not a web server before it.\n\nExamples:\n  \
        eggcache remote gc team --keep-versions 3 --dry-run\n  \
        eggcache remote gc team --max-age 1y\n  \
        eggcache remote gc team --dry-run --verbose    # why does each egg stay?"
    )]
    Gc {
        /// The remote.
        name: String,
        /// Remove what was pushed longer ago than this: 90d, 12h, 1y (m is minutes, mo months).
        #[arg(long, value_name = "AGE", value_parser = age)]
        max_age: Option<i64>,
        /// Remove all but the N newest versions of each project, for each Python and platform.
        #[arg(long, value_name = "N", value_parser = at_least_one)]
        keep_versions: Option<usize>,
        /// Leave blobs that are younger than this, 1d if absent: their entry may be yet to come.
        #[arg(long, value_name = "AGE", value_parser = age)]
        grace: Option<i64>,
        /// Remove also entries that no trusted key has signed: they keep others from pushing these eggs.
        #[arg(long)]
        untrusted: bool,
        /// Only tell what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
}
