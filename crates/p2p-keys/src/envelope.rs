//! Signed envelopes: bytes of a stated type, signed for one purpose (RFC 0002).

use std::fmt;

use bytes::Bytes;

use crate::proto::{self, Fields, Value};
use crate::{EnvelopeError, Keypair, PublicKey, SignError};

const PUBLIC_KEY: u8 = 1;
const PAYLOAD_TYPE: u8 = 2;
const PAYLOAD: u8 = 3;
const SIGNATURE: u8 = 5;

/// A payload with the key and the signature of whoever vouches for it.
///
/// The domain says what the signature is for. It is signed and not sent: both ends know it, and
/// a signature made for one purpose is worthless for another. The payload of a received envelope
/// is out of reach until [`open`](Self::open) has verified it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedEnvelope {
    key: PublicKey,
    payload_type: Bytes,
    payload: Bytes,
    signature: Bytes,
}

impl SignedEnvelope {
    /// Signs `payload` for use in `domain`.
    ///
    /// # Errors
    /// [`SignError`] if the cryptography library fails. With Ed25519 it does not.
    pub fn seal(
        keypair: &Keypair,
        domain: &str,
        payload_type: &[u8],
        payload: impl Into<Bytes>,
    ) -> Result<Self, SignError> {
        let payload = payload.into();
        let signature = keypair.sign(&signed_bytes(domain, payload_type, &payload))?;
        Ok(Self {
            key: keypair.public().clone(),
            payload_type: Bytes::copy_from_slice(payload_type),
            payload,
            signature: signature.into(),
        })
    }

    /// Reads an envelope from the wire without trusting it. The caller limits the length of
    /// `bytes`; no more than that is allocated.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] or [`EnvelopeError::Key`]
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let (mut key, mut payload_type, mut payload, mut signature) = (None, None, None, None);
        for field in Fields::of(bytes) {
            let (number, value) = field.map_err(|_| EnvelopeError::Malformed("not protobuf"))?;
            let slot = match u8::try_from(number) {
                Ok(PUBLIC_KEY) => &mut key,
                Ok(PAYLOAD_TYPE) => &mut payload_type,
                Ok(PAYLOAD) => &mut payload,
                Ok(SIGNATURE) => &mut signature,
                _unknown => continue,
            };
            let Value::Bytes(value) = value else {
                return Err(EnvelopeError::Malformed("field of a wrong type"));
            };
            if slot.replace(value).is_some() {
                return Err(EnvelopeError::Malformed("field there twice"));
            }
        }
        let key = key.ok_or(EnvelopeError::Malformed("no public key"))?;
        let signature = signature.ok_or(EnvelopeError::Malformed("no signature"))?;
        Ok(Self {
            key: PublicKey::from_protobuf(key)?,
            payload_type: Bytes::copy_from_slice(payload_type.unwrap_or_default()),
            payload: Bytes::copy_from_slice(payload.unwrap_or_default()),
            signature: Bytes::copy_from_slice(signature),
        })
    }

    /// The form for the wire.
    pub fn encode(&self) -> Vec<u8> {
        let fields = [
            (PUBLIC_KEY, self.key.as_protobuf()),
            (PAYLOAD_TYPE, &self.payload_type),
            (PAYLOAD, &self.payload),
            (SIGNATURE, &self.signature),
        ];
        let len = fields
            .iter()
            .map(|(_, bytes)| proto::bytes_field_len(bytes.len()));
        let mut envelope = Vec::with_capacity(len.sum());
        for (number, bytes) in fields {
            proto::put_bytes(&mut envelope, number, bytes);
        }
        envelope
    }

    /// The payload, if it is of this type and was signed for this domain by
    /// [`signer`](Self::signer).
    ///
    /// # Errors
    /// [`EnvelopeError::PayloadType`] or [`EnvelopeError::BadSignature`]
    pub fn open(&self, domain: &str, payload_type: &[u8]) -> Result<&[u8], EnvelopeError> {
        if self.payload_type != payload_type {
            return Err(EnvelopeError::PayloadType);
        }
        let signed = signed_bytes(domain, payload_type, &self.payload);
        if self.key.verify(&signed, &self.signature) {
            Ok(&self.payload)
        } else {
            Err(EnvelopeError::BadSignature)
        }
    }

    /// Whose key is in the envelope. Proven by [`open`](Self::open) only.
    pub fn signer(&self) -> &PublicKey {
        &self.key
    }

    /// What the envelope says that its payload is. Proven by [`open`](Self::open) only.
    pub fn payload_type(&self) -> &[u8] {
        &self.payload_type
    }
}

impl fmt::Debug for SignedEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedEnvelope")
            .field("signer", &self.key.to_peer_id())
            .field("payload_type", &self.payload_type)
            .field("payload_len", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// Domain, type and payload, each after its length, so that no byte can move between them.
fn signed_bytes(domain: &str, payload_type: &[u8], payload: &[u8]) -> Vec<u8> {
    let parts = [domain.as_bytes(), payload_type, payload];
    let len = parts.iter().map(|part| proto::bytes_field_len(part.len()));
    let mut signed = Vec::with_capacity(len.sum());
    for part in parts {
        proto::put_varint(&mut signed, part.len() as u64);
        signed.extend_from_slice(part);
    }
    signed
}
