//! The eggs that `push` or `pull` has transferred.

use std::collections::BTreeSet;

use crate::ops::remote::transfer::{EggTransfer, Outcome};
use crate::util::units::shown_size;

use super::format::eggs;
use super::print::Text;

/// The report of a transfer, as in "2 eggs pushed to remote team".
pub fn transfers_text(
    verb: &str,
    preposition: &str,
    destination: &str,
    transfers: &[EggTransfer],
    verbose: bool,
) -> Text {
    let mut text = Text::default();
    let (mut transferred, mut present, mut skipped, mut bytes) = (0, 0, 0, 0);
    let mut from = BTreeSet::new();
    for EggTransfer { file_name, digest, remote, blob_bytes, outcome } in transfers {
        let action = match outcome {
            Outcome::Pushed | Outcome::Pulled => {
                transferred += 1;
                bytes += blob_bytes;
                verb
            }
            Outcome::Present => {
                present += 1;
                "present"
            }
            Outcome::Other { existing } => {
                text.notes.push(format!(
                    "{file_name}: {destination} already has another build ({}), which is kept",
                    existing.short()
                ));
                continue;
            }
            Outcome::Skipped { arrival } => {
                skipped += 1;
                from.insert(&arrival.remote);
                "skipped"
            }
            Outcome::Revoked { arrival } => {
                text.notes.push(format!(
                    "{file_name}: not {verb}: pulled from {}, signed by {}, and no remote trusts \
                     that any more",
                    arrival.remote,
                    arrival.keys.join(", ")
                ));
                continue;
            }
            Outcome::Failed { reason } => {
                text.problems.push(format!("{file_name}: {reason}").into());
                continue;
            }
        };
        if verbose {
            let line = format!("{action:<7}  {}  {remote}  {file_name}", digest.short());
            text.data.line(&line);
        }
    }
    if skipped > 0 {
        let from: Vec<&str> = from.into_iter().map(String::as_str).collect();
        text.notes.push(format!(
            "{} not {verb}: pulled from {}, and not in {destination}; --include-pulled signs them",
            eggs(skipped),
            from.join(", ")
        ));
    }
    text.summary = format!(
        "{} {verb} {preposition} {destination} ({}), {present} already there",
        eggs(transferred),
        shown_size(bytes)
    );
    text
}
