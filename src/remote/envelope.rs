//! DSSE envelopes: a text of any kind with signatures, in the form that supply-chain tools read
//! (<https://github.com/secure-systems-lab/dsse>).
//!
//! The key is that of the team. The signature is plain Ed25519, where minisign's own signs a digest of the
//! text: what is signed here begins with `DSSEv1`, so that no signature of one kind passes for one of the
//! other.

use base64::prelude::{BASE64_STANDARD, Engine};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

use super::keys::{Signer, shown_id};

/// Where the parts of minisign's keys are, in bytes: a public key is the algorithm, the id and the key. Of a
/// secret key, algorithms, salt and limits are first, then the id, the seed, and the public key once more.
const PUBLIC_ID: std::ops::Range<usize> = 2..10;
const PUBLIC_KEY: std::ops::Range<usize> = 10..42;
const SEED: std::ops::Range<usize> = 62..94;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    pub payload_type: String,
    /// In base64.
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    /// The id of the key, as minisign writes it. Nothing depends on it.
    #[serde(default)]
    keyid: String,
    /// In base64.
    sig: String,
}

/// What an envelope lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEnvelope {
    #[error("it is not a signed envelope (DSSE)")]
    Form,
    #[error("no signature in it is by this key")]
    Unsigned,
}

impl Envelope {
    /// Signs a payload.
    ///
    /// # Errors
    /// [`Error::Signing`]
    pub fn sign(signer: &Signer, payload_type: &str, payload: &[u8]) -> Result<Self> {
        let failed = || {
            let kind = minisign::ErrorKind::Misc;
            let source = minisign::PError::new(kind, "the key is no Ed25519 key");
            Error::Signing { action: "sign a provenance", source }
        };
        let secret = signer.secret_bytes();
        let public = BASE64_STANDARD.decode(&signer.public).map_err(|_| failed())?;
        let (seed, public) = secret.get(SEED).zip(public.get(PUBLIC_KEY)).ok_or_else(failed)?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| failed())?;
        let signature = pair.sign(&encoded(payload_type, payload));
        Ok(Self {
            payload_type: payload_type.to_owned(),
            payload: BASE64_STANDARD.encode(payload),
            signatures: vec![Signature {
                keyid: signer.id(),
                sig: BASE64_STANDARD.encode(signature),
            }],
        })
    }

    /// # Errors
    /// [`BadEnvelope::Form`]
    pub fn parse(text: &[u8]) -> Result<Self, BadEnvelope> {
        serde_json::from_slice(text).map_err(|_| BadEnvelope::Form)
    }

    /// The payload, if `key` has signed it: a public key in base64, as minisign writes it.
    ///
    /// # Errors
    /// [`BadEnvelope`]
    pub fn verified(&self, key: &str) -> Result<Vec<u8>, BadEnvelope> {
        let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| BadEnvelope::Form);
        let payload = decode(&self.payload)?;
        let key = BASE64_STANDARD.decode(key).map_err(|_| BadEnvelope::Unsigned)?;
        let key = UnparsedPublicKey::new(&ED25519, key.get(PUBLIC_KEY).unwrap_or_default());
        let signed = encoded(&self.payload_type, &payload);
        let is_by_key = |it: &Signature| {
            decode(&it.sig).is_ok_and(|signature| key.verify(&signed, &signature).is_ok())
        };
        if self.signatures.iter().any(is_by_key) { Ok(payload) } else { Err(BadEnvelope::Unsigned) }
    }
}

/// The id of a public key in base64, as minisign writes it.
#[must_use]
pub fn key_id(key: &str) -> String {
    let key = BASE64_STANDARD.decode(key).unwrap_or_default();
    shown_id(key.get(PUBLIC_ID).unwrap_or_default())
}

/// What is signed: the pre-authentication encoding of DSSE.
fn encoded(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let lengths = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [lengths.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::keys::keygen;

    fn signer(dir: &std::path::Path, name: &str) -> Signer {
        Signer::read(&keygen(&dir.join(name), None).unwrap().secret, None).unwrap()
    }

    #[test]
    fn the_encoding_is_that_of_the_standard() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(encoded("http://example.com/HelloWorld", b"hello world"), expected);
    }

    #[test]
    fn only_the_payload_and_type_that_a_key_has_signed_are_verified() {
        let dir = tempfile::tempdir().unwrap();
        let (team, other) = (signer(dir.path(), "team"), signer(dir.path(), "other"));
        let envelope = Envelope::sign(&team, "text/plain", b"hello").unwrap();
        let text = serde_json::to_vec(&envelope).unwrap();
        let envelope = Envelope::parse(&text).unwrap();
        assert_eq!(envelope.verified(&team.public).unwrap(), b"hello");
        assert_eq!(envelope.signatures[0].keyid, key_id(&team.public));
        for key in [other.public.as_str(), "", "RW"] {
            assert_eq!(envelope.verified(key), Err(BadEnvelope::Unsigned), "{key}");
        }
        let of_type = Envelope { payload_type: "text/html".into(), ..envelope.clone() };
        let payload = BASE64_STANDARD.encode(b"hullo");
        for changed in [of_type, Envelope { payload, ..envelope.clone() }] {
            assert_eq!(changed.verified(&team.public), Err(BadEnvelope::Unsigned));
        }
        let broken = Envelope { payload: "?".into(), ..envelope };
        assert_eq!(broken.verified(&team.public), Err(BadEnvelope::Form));
        assert_eq!(Envelope::parse(b"{}"), Err(BadEnvelope::Form));
    }

    #[test]
    fn one_of_several_signatures_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        let (team, other) = (signer(dir.path(), "team"), signer(dir.path(), "other"));
        let mut envelope = Envelope::sign(&team, "text/plain", b"hello").unwrap();
        envelope
            .signatures
            .extend(Envelope::sign(&other, "text/plain", b"hello").unwrap().signatures);
        envelope.signatures.insert(0, Signature { keyid: String::new(), sig: "?".into() });
        assert!(
            envelope.verified(&team.public).is_ok() && envelope.verified(&other.public).is_ok()
        );
    }
}
