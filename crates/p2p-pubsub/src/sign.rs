//! Who wrote a message: signing, and checking what was signed.
//!
//! A signature covers `"libp2p-pubsub:"` and the message without its fields `signature` and
//! `key`. These are the last two, so that the signed bytes are the front of a message in
//! canonical form and are checked where they lie; any other message is written anew first.
//!
//! Spec: libp2p/specs `pubsub/README.md`, "Message Signing".

use std::time::Duration;

use p2p_core::{Blame, PeerId};
use p2p_keys::{Keypair, PeerIdExt, PublicKey, SignError};

use crate::message::{Draft, Message, Topic, put_signed_fields, rewrite_signed};
use crate::wire::{MessageView, WireError};

/// What every message of a network must carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// Author, sequence number and signature; anything else is rejected.
    #[default]
    StrictSign,
    /// None of them; a message that has any is rejected. Needs message ids made of the contents.
    StrictNoSign,
    /// Whatever there is: our messages are signed, those of others need not be, but a signature
    /// that is there must be right. For networks with peers that cannot sign, such as those of
    /// rust-libp2p's floodsub: anybody can write in anybody's name.
    Lax,
}

/// Why a message does not fit the policy or its signature is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The author is not a peer id.
    #[error("the author is not a peer id")]
    BadAuthor,
    /// The public key is not the author's, or not a key.
    #[error("the public key is not the author's")]
    BadKey,
    /// The sequence number does not have eight bytes.
    #[error("the sequence number does not have 8 bytes")]
    BadSeqno,
    /// The signature is not one of this message by its author.
    #[error("the signature is wrong")]
    Invalid,
    /// It has no signature or no author, under [`SignaturePolicy::StrictSign`].
    #[error("the message is not signed")]
    Missing,
    /// It has an author, sequence number, signature or key, under
    /// [`SignaturePolicy::StrictNoSign`].
    #[error("the message is signed or names its author, where none may")]
    Unexpected,
}

impl SignatureError {
    /// Who to hold responsible: whoever sent the message on.
    pub fn blame(&self) -> Blame {
        Blame::Remote
    }
}

impl SignaturePolicy {
    /// Whether `message` carries what it must, without checking the signature.
    ///
    /// # Errors
    /// [`SignatureError`]
    pub fn check_fields(self, message: &MessageView<'_>) -> Result<(), SignatureError> {
        match self {
            Self::StrictSign => {
                let from = message.from.ok_or(SignatureError::Missing)?;
                if message.signature.is_none_or(<[u8]>::is_empty) {
                    return Err(SignatureError::Missing);
                }
                if message.seqno.is_none_or(|seqno| seqno.len() != 8) {
                    return Err(SignatureError::BadSeqno);
                }
                match PeerId::parse_bytes(from) {
                    Ok(_) => Ok(()),
                    Err(_) => Err(SignatureError::BadAuthor),
                }
            }
            Self::StrictNoSign => {
                let parts = [message.from, message.seqno, message.signature, message.key];
                if parts.iter().any(Option::is_some) {
                    return Err(SignatureError::Unexpected);
                }
                Ok(())
            }
            Self::Lax => Ok(()),
        }
    }

    /// Whether `message` carries what it must and its signature, if it needs one, is right.
    ///
    /// The costly part of receiving a message: a few tens of microseconds.
    ///
    /// # Errors
    /// [`SignatureError`]
    pub fn verify(self, message: &Message) -> Result<(), SignatureError> {
        let view = MessageView::parse(message.raw()).map_err(|_| SignatureError::Invalid)?;
        self.check_fields(&view)?;
        match self {
            Self::StrictSign => verify(message),
            Self::Lax if view.signature.is_some_and(|it| !it.is_empty()) => verify(message),
            Self::StrictNoSign | Self::Lax => Ok(()),
        }
    }
}

/// Checks the signature over the bytes that were received.
fn verify(message: &Message) -> Result<(), SignatureError> {
    let source = message.source().ok_or(SignatureError::BadAuthor)?;
    let signature = message.signature().ok_or(SignatureError::Missing)?;
    let key = author_key(source, message.key())?;
    let signed = signed_bytes(message).map_err(|_| SignatureError::Invalid)?;
    if key.verify(&signed, signature) {
        Ok(())
    } else {
        Err(SignatureError::Invalid)
    }
}

/// The key that `source` must have signed with: the one sent along, or the one inside its id.
fn author_key(source: PeerId, sent: Option<&[u8]>) -> Result<PublicKey, SignatureError> {
    let key = match sent.filter(|key| !key.is_empty()) {
        Some(key) => PublicKey::from_protobuf(key).ok(),
        None => source.inlined_key(),
    };
    key.filter(|key| key.to_peer_id() == source)
        .ok_or(SignatureError::BadKey)
}

/// The bytes that the signature of `message` covers.
pub(crate) fn signed_bytes(message: &Message) -> Result<Vec<u8>, WireError> {
    let mut signed = Vec::with_capacity(SIGN_PREFIX.len() + message.raw().len());
    signed.extend_from_slice(SIGN_PREFIX);
    match message.signed_prefix() {
        Some(prefix) => signed.extend_from_slice(prefix),
        None => rewrite_signed(message.raw(), &mut signed)?,
    }
    Ok(signed)
}

/// Writes our own messages.
#[derive(Debug)]
pub struct Author {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Signing {
        keypair: Keypair,
        /// Sent along if the peer id does not contain it.
        key: Option<Vec<u8>>,
        /// Invariant: only grows.
        last_seqno: u64,
    },
    Anonymous,
}

impl Author {
    /// Signs with `keypair`, for [`SignaturePolicy::StrictSign`].
    pub fn signing(keypair: Keypair) -> Self {
        let inlined = keypair.to_peer_id().inlined_key().is_some();
        let key = (!inlined).then(|| keypair.public().as_protobuf().to_vec());
        Self {
            kind: Kind::Signing {
                keypair,
                key,
                last_seqno: 0,
            },
        }
    }

    /// Writes messages without an author, for [`SignaturePolicy::StrictNoSign`].
    pub fn anonymous() -> Self {
        Self {
            kind: Kind::Anonymous,
        }
    }

    /// A message with the next sequence number: `unix_time` in nanoseconds, or one more than the
    /// last if the clock has not moved or has jumped back.
    ///
    /// # Errors
    /// [`SignError`] if the cryptography library fails. With Ed25519 it does not.
    pub fn write(
        &mut self,
        topic: Topic,
        data: &[u8],
        unix_time: Duration,
    ) -> Result<Message, SignError> {
        let seqno = match &mut self.kind {
            Kind::Anonymous => 0,
            Kind::Signing { last_seqno, .. } => {
                let nanos = u64::try_from(unix_time.as_nanos()).unwrap_or(u64::MAX);
                *last_seqno = nanos.max(last_seqno.saturating_add(1));
                *last_seqno
            }
        };
        self.write_with_seqno(topic, data, seqno)
    }

    /// A message with this sequence number; without one if the author is anonymous.
    fn write_with_seqno(
        &self,
        topic: Topic,
        data: &[u8],
        seqno: u64,
    ) -> Result<Message, SignError> {
        let Kind::Signing { keypair, key, .. } = &self.kind else {
            let draft = Draft {
                data,
                ..Draft::default()
            };
            return Ok(Message::encode(topic, &draft));
        };
        let (from, seqno) = (keypair.to_peer_id().to_bytes(), seqno.to_be_bytes());
        let mut signed = SIGN_PREFIX.to_vec();
        let view = MessageView {
            from: Some(&from),
            data: Some(data),
            seqno: Some(&seqno),
            topic: Some(topic.as_bytes()),
            ..MessageView::default()
        };
        put_signed_fields(&mut signed, &view);
        let signature = keypair.sign(&signed)?;
        let draft = Draft {
            from: Some(&from),
            data,
            seqno: Some(&seqno),
            signature: Some(&signature),
            key: key.as_deref(),
        };
        Ok(Message::encode(topic, &draft))
    }
}

/// What every signature starts with.
const SIGN_PREFIX: &[u8] = b"libp2p-pubsub:";

#[cfg(test)]
mod tests;
