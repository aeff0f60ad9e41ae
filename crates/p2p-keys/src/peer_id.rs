//! Peer ids: the hash of a public key, or the key itself where it is short.

use aws_lc_rs::digest::{SHA256, digest};
use multibase::Base;
use multihash::Multihash;

use crate::{PeerId, PeerIdError, PublicKey};

/// The multihash code of a key that is its own id.
const IDENTITY: u64 = 0x00;
/// The multihash code of SHA-256.
const SHA2_256: u64 = 0x12;
/// The longest key that is its own id.
const MAX_INLINE_LEN: usize = 42;
/// A version 1 CID of a libp2p key: the multihash follows.
const CID: [u8; 2] = [0x01, 0x72];
/// The longest text of an id: 46 bytes in base 2, and the letter of the base.
const MAX_TEXT_LEN: usize = 46 * 8 + 1;

/// How to write a peer id as a CID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CidBase {
    /// `bafz…`: the default of the spec.
    #[default]
    Base32,
    /// `k…`: fits into a DNS label.
    Base36,
    /// `z…`
    Base58,
}

/// What the peer-ids spec asks for beyond the [`PeerId`] of the multiaddr crate.
///
/// Its own `Display` writes base58, and its `FromStr` and `from_bytes` are less strict: they
/// take SHA-256 digests of any length.
pub trait PeerIdExt: Sized {
    /// Reads an id from its binary form, a multihash.
    ///
    /// # Errors
    /// [`PeerIdError::Multihash`]
    fn parse_bytes(bytes: &[u8]) -> Result<Self, PeerIdError>;

    /// Reads an id in any text form: base58 (`12D3KooW…`, `16Uiu2HA…`, `Qm…`), or a CID in any
    /// multibase (`bafz…`, `k51…`, `z…`).
    ///
    /// # Errors
    /// [`PeerIdError`]
    fn parse_any(text: &str) -> Result<Self, PeerIdError>;

    /// The id as a CID of version 1.
    fn to_cid(&self, base: CidBase) -> String;

    /// The public key, if the id contains it: Ed25519 and secp256k1 ids do.
    fn inlined_key(&self) -> Option<PublicKey>;
}

impl PeerIdExt for PeerId {
    fn parse_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        match bytes {
            [0x00, len, key @ ..] if key.len() == usize::from(*len) => from_parts(IDENTITY, key),
            [0x12, 32, hash @ ..] if hash.len() == 32 => from_parts(SHA2_256, hash),
            _ => None,
        }
        .ok_or(PeerIdError::Multihash)
    }

    fn parse_any(text: &str) -> Result<Self, PeerIdError> {
        if text.len() > MAX_TEXT_LEN {
            return Err(PeerIdError::TooLong {
                len: text.len(),
                max: MAX_TEXT_LEN,
            });
        }
        if text.starts_with('1') || text.starts_with("Qm") {
            let bytes = Base::Base58Btc
                .decode(text)
                .map_err(|_| PeerIdError::Encoding)?;
            return Self::parse_bytes(&bytes);
        }
        let (_, bytes) = multibase::decode(text).map_err(|_| PeerIdError::Encoding)?;
        let multihash = bytes.strip_prefix(&CID).ok_or(PeerIdError::NotALibp2pKey)?;
        Self::parse_bytes(multihash)
    }

    fn to_cid(&self, base: CidBase) -> String {
        let base = match base {
            CidBase::Base32 => Base::Base32Lower,
            CidBase::Base36 => Base::Base36Lower,
            CidBase::Base58 => Base::Base58Btc,
        };
        multibase::encode(base, [&CID, self.to_bytes().as_slice()].concat())
    }

    fn inlined_key(&self) -> Option<PublicKey> {
        let multihash: &Multihash<64> = self.as_ref();
        if multihash.code() != IDENTITY {
            return None;
        }
        PublicKey::from_protobuf(multihash.digest()).ok()
    }
}

/// The id of the peer with this key, given in its protobuf form.
pub(crate) fn of_key(protobuf: &[u8]) -> PeerId {
    let id = if protobuf.len() <= MAX_INLINE_LEN {
        from_parts(IDENTITY, protobuf)
    } else {
        from_parts(SHA2_256, digest(&SHA256, protobuf).as_ref())
    };
    id.expect("a key is hashed where it does not fit")
}

/// `None` if there are more than 42 bytes.
fn from_parts(code: u64, digest: &[u8]) -> Option<PeerId> {
    if digest.len() > MAX_INLINE_LEN {
        return None;
    }
    let multihash = Multihash::wrap(code, digest).ok()?;
    PeerId::from_multihash(multihash).ok()
}
