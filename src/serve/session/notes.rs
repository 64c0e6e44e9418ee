//! Notes: what buildout has found out, for the rest of this run or for later ones.

use tracing::debug;

use super::Session;
use super::journal::UNFIT;
use crate::cache::signatures::Signature;
use crate::serve::protocol::{Answer, Choice};
use crate::util::hash::digest::Digest;
use crate::util::hash::sha256::Sha256;

impl Session {
    /// Notes the choice by which this buildout came to the archive of an egg.
    pub fn learn(&mut self, digest: Digest, Choice(choice): Choice) -> Answer {
        self.learned.push((digest, choice));
        Answer::Learned {}
    }

    /// Answers with the signature of a directory in this state, or records it.
    pub fn sign(&self, state: Sha256, signature: Option<Signature>) -> Answer {
        match signature {
            None => Answer::Signed { signature: self.cache.signature(state) },
            Some(signature) => {
                self.cache.record_signature(state, signature);
                Answer::Signed { signature: None }
            }
        }
    }

    /// Offers these eggs no more: buildout cannot use them. The next build of their key replaces them.
    pub fn reject(&mut self, digests: &[Digest]) -> Answer {
        debug!(?digests, "rejected");
        for digest in digests {
            self.journal.failed(*digest, UNFIT.to_owned());
        }
        self.unusable.extend(digests);
        self.damaged.extend(digests);
        Answer::Rejected {}
    }
}
