//! The eggs that `push` or `pull` has transferred.

use std::fmt::Write;

use crate::util::hash::digest::Digest;
use crate::util::units::shown_size;

use super::format::eggs;
use super::print::Text;

/// One egg of a report.
pub struct Transfer<'a> {
    pub file_name: &'a str,
    pub digest: Digest,
    pub remote: &'a str,
    pub blob_bytes: u64,
    pub outcome: Outcome<'a>,
}

pub enum Outcome<'a> {
    Transferred,
    Present,
    /// The destination has another build of the egg.
    Conflict {
        existing: Digest,
    },
    Failed {
        reason: &'a str,
    },
}

/// The report of a transfer, as in "2 eggs pushed to remote team".
pub fn transfers_text<'a>(
    verb: &str,
    preposition: &str,
    destination: &str,
    transfers: impl Iterator<Item = Transfer<'a>>,
    verbose: bool,
) -> Text {
    let mut text = Text::default();
    let (mut transferred, mut present, mut bytes) = (0, 0, 0);
    for Transfer { file_name, digest, remote, blob_bytes, outcome } in transfers {
        let action = match outcome {
            Outcome::Transferred => {
                transferred += 1;
                bytes += blob_bytes;
                verb
            }
            Outcome::Present => {
                present += 1;
                "present"
            }
            Outcome::Conflict { existing } => {
                text.notes.push(format!(
                    "{file_name}: {destination} already has another build ({}), which is kept",
                    existing.short()
                ));
                continue;
            }
            Outcome::Failed { reason } => {
                text.problems.push(format!("{file_name}: {reason}"));
                continue;
            }
        };
        if verbose {
            let _ = writeln!(text.data, "{action:<7}  {}  {remote}  {file_name}", digest.short());
        }
    }
    text.summary = format!(
        "{} {verb} {preposition} {destination} ({}), {present} already there",
        eggs(transferred),
        shown_size(bytes)
    );
    text
}
