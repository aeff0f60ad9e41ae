//! The handshake of libp2p over a stream: who is at the other end, and which multiplexer to use.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use p2p_channel::Received;
use p2p_core::{BoxIo, Cause, PeerId, Protocol, Role, Rt, Secured, Security, SecurityError};
use p2p_keys::{Keypair, PublicKey};
use zeroize::Zeroizing;

use crate::handshake::{self, DH, DhKey, Session};
use crate::proto::{self, Verified};
use crate::records::{PREFIX, Records};
use crate::{Channel, Config, HandshakeError, SetupError};

/// The id of Noise for multistream-select.
pub const PROTOCOL: Protocol = Protocol::from_static("/noise");

/// How many multiplexers are offered at most, so that every list fits into a message.
const MAX_MUXERS: usize = 16;

/// How many of the remote's multiplexers an error shows.
const SHOWN_MUXERS: usize = 8;

/// The secure channel protocol, holding our identity. Cheap to clone.
///
/// The static key is made once and signed once; each handshake costs one ephemeral key, three
/// Diffie-Hellman steps and one verification.
#[derive(Clone)]
pub struct Noise(Arc<Inner>);

struct Inner {
    static_key: DhKey,
    /// The payload that proves that `static_key` is ours, without extensions.
    proof: Vec<u8>,
    peer: PeerId,
    entropy: Entropy,
    config: Config,
}

/// Where ephemeral keys come from.
enum Entropy {
    System,
    Runtime(Rt),
    /// Always the same key: for test vectors only.
    Fixed(Zeroizing<[u8; DH]>),
}

impl Entropy {
    fn key(&self) -> Result<DhKey, HandshakeError> {
        match self {
            Self::System => DhKey::generate(),
            Self::Runtime(rt) => {
                let mut bytes = Zeroizing::new([0; DH]);
                rt.fill_random(&mut *bytes);
                DhKey::from_bytes(&bytes)
            }
            Self::Fixed(bytes) => DhKey::from_bytes(bytes),
        }
    }
}

/// A link whose other end is known.
pub struct Authenticated<Io> {
    /// The channel for everything that follows.
    pub channel: Channel<Io>,
    /// The remote's identity, proven.
    pub public_key: PublicKey,
    /// The multiplexer agreed on. `None`: one of the ends offered none, so negotiate one.
    pub muxer: Option<Protocol>,
    /// The hash of the handshake: the same at both ends, and in no other handshake.
    pub handshake_hash: [u8; 32],
}

impl<Io> fmt::Debug for Authenticated<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated")
            .field("public_key", &self.public_key)
            .field("muxer", &self.muxer)
            .finish_non_exhaustive()
    }
}

impl Noise {
    /// Noise for the peer with this key, with default settings.
    ///
    /// # Errors
    /// [`SetupError`] if the system gives no randomness or the key cannot sign.
    pub fn new(identity: &Keypair) -> Result<Self, SetupError> {
        Self::with_config(identity, Config::default())
    }

    /// Noise for the peer with this key.
    ///
    /// # Errors
    /// [`SetupError`] if the system gives no randomness or the key cannot sign.
    pub fn with_config(identity: &Keypair, config: Config) -> Result<Self, SetupError> {
        Self::build(identity, config, Entropy::System, None)
    }

    /// Noise that takes all its randomness from `rt`: in a simulation, the same seed gives the
    /// same bytes.
    ///
    /// # Errors
    /// [`SetupError`] if the key cannot sign.
    pub fn with_runtime(identity: &Keypair, config: Config, rt: Rt) -> Result<Self, SetupError> {
        Self::build(identity, config, Entropy::Runtime(rt), None)
    }

    /// Noise with keys that are known to others: for test vectors, and worthless otherwise.
    ///
    /// # Errors
    /// [`SetupError`] if the key cannot sign.
    #[doc(hidden)]
    pub fn with_fixed_keys(
        identity: &Keypair,
        config: Config,
        static_key: [u8; DH],
        ephemeral: [u8; DH],
    ) -> Result<Self, SetupError> {
        let entropy = Entropy::Fixed(Zeroizing::new(ephemeral));
        Self::build(identity, config, entropy, Some(static_key))
    }

    fn build(
        identity: &Keypair,
        config: Config,
        entropy: Entropy,
        static_key: Option<[u8; DH]>,
    ) -> Result<Self, SetupError> {
        let static_key = match static_key {
            Some(bytes) => DhKey::from_bytes(&bytes),
            None => entropy.key(),
        };
        let static_key = static_key.map_err(|_| SetupError::Entropy)?;
        Ok(Self(Arc::new(Inner {
            proof: proto::prove(identity, static_key.public())?,
            static_key,
            peer: identity.to_peer_id(),
            entropy,
            config,
        })))
    }

    /// Runs the handshake over `io`, as [`Security::secure`] does, on a stream of any type.
    ///
    /// A dialer's last message is still in the channel when this returns, and travels with the
    /// first bytes written: write or flush before waiting for the remote.
    ///
    /// The caller sets the deadline. Not cancel-safe: `io` is dropped with the future.
    ///
    /// # Errors
    /// See [`SecurityError`]; the source of [`SecurityError::Protocol`] is a [`HandshakeError`].
    /// A dialer that finds the wrong peer leaves without showing who it is.
    pub async fn secure<Io>(
        &self,
        io: Io,
        role: Role,
        expect: Option<PeerId>,
        muxers: &[Protocol],
    ) -> Result<Authenticated<Io>, SecurityError>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let muxers = muxers.get(..MAX_MUXERS).unwrap_or(muxers);
        let link = Link {
            io,
            received: Received::default(),
            max: self.0.config.max_handshake_message,
        };
        match role {
            Role::Dialer => self.0.dial(link, expect, muxers).await,
            Role::Listener => self.0.listen(link, expect, muxers).await,
        }
    }
}

impl Inner {
    async fn dial<Io: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut link: Link<Io>,
        expect: Option<PeerId>,
        muxers: &[Protocol],
    ) -> Result<Authenticated<Io>, SecurityError> {
        let ephemeral = self.entropy.key().map_err(protocol)?;
        let (first, initiated) = handshake::initiate(&self.config.prologue, ephemeral, &[]);
        link.send(&first).await?;
        let second = link.receive().await?;
        let (payload, proven) = initiated.read(&second).map_err(protocol)?;
        let remote = proto::verify(&payload, proven.remote_static()).map_err(protocol)?;
        check_peer(expect, &remote)?;
        let muxer = agree(muxers, &remote.muxers, Role::Dialer)?;
        let proof = proto::with_muxers(&self.proof, muxers);
        let (third, session) = proven.write(&self.static_key, &proof).map_err(protocol)?;
        Ok(link.finish(session, remote.public_key, muxer, &frame(&third)))
    }

    async fn listen<Io: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut link: Link<Io>,
        expect: Option<PeerId>,
        muxers: &[Protocol],
    ) -> Result<Authenticated<Io>, SecurityError> {
        let first = link.receive().await?;
        let (_, responding) =
            handshake::respond(&self.config.prologue, &first).map_err(protocol)?;
        let ephemeral = self.entropy.key().map_err(protocol)?;
        let proof = proto::with_muxers(&self.proof, muxers);
        let (second, responded) = responding
            .write(ephemeral, &self.static_key, &proof)
            .map_err(protocol)?;
        link.send(&second).await?;
        let third = link.receive().await?;
        let (payload, session) = responded.read(&third).map_err(protocol)?;
        let remote = proto::verify(&payload, &session.remote_static).map_err(protocol)?;
        check_peer(expect, &remote)?;
        let muxer = agree(muxers, &remote.muxers, Role::Listener)?;
        Ok(link.finish(session, remote.public_key, muxer, &[]))
    }
}

impl Security for Noise {
    fn protocol(&self) -> Protocol {
        PROTOCOL
    }

    fn secure(
        &self,
        io: BoxIo,
        role: Role,
        expect: Option<PeerId>,
        muxers: Vec<Protocol>,
    ) -> BoxFuture<'static, Result<Secured, SecurityError>> {
        let noise = self.clone();
        Box::pin(async move {
            let remote = Self::secure(&noise, io, role, expect, &muxers).await?;
            Ok(Secured {
                io: Box::new(remote.channel),
                peer: remote.public_key.to_peer_id(),
                public_key: remote.public_key.to_protobuf(),
                muxer: remote.muxer,
            })
        })
    }
}

impl fmt::Debug for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Noise({})", self.0.peer)
    }
}

/// A stream of handshake messages.
struct Link<Io> {
    io: Io,
    /// Bytes read ahead; at most one message.
    received: Received,
    max: u16,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Link<Io> {
    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.io.write_all(&frame(message)).await?;
        self.io.flush().await
    }

    async fn receive(&mut self) -> Result<Vec<u8>, SecurityError> {
        let limit = PREFIX + usize::from(self.max);
        loop {
            if let Some(message) = self.next_message().map_err(protocol)? {
                return Ok(message);
            }
            if poll_fn(|cx| self.received.poll_fill(&mut self.io, cx, limit)).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    fn next_message(&mut self) -> Result<Option<Vec<u8>>, HandshakeError> {
        let Some((prefix, rest)) = self.received.bytes().split_first_chunk() else {
            return Ok(None);
        };
        let len = u16::from_be_bytes(*prefix);
        if len > self.max {
            let max = self.max;
            return Err(HandshakeError::TooLong { len, max });
        }
        let message = rest.get(..usize::from(len)).map(<[u8]>::to_vec);
        if message.is_some() {
            self.received.consume(PREFIX + usize::from(len));
        }
        Ok(message)
    }

    fn finish(
        self,
        session: Session,
        public_key: PublicKey,
        muxer: Option<Protocol>,
        unsent: &[u8],
    ) -> Authenticated<Io> {
        let handshake_hash = session.hash;
        Authenticated {
            channel: Channel::new(self.io, Records::new(session), self.received, unsent),
            public_key,
            muxer,
            handshake_hash,
        }
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).expect("our payloads are far below 64 KiB");
    [&len.to_be_bytes(), message].concat()
}

fn protocol(error: HandshakeError) -> SecurityError {
    SecurityError::Protocol(Cause::new(error.blame(), error))
}

fn check_peer(expect: Option<PeerId>, remote: &Verified) -> Result<(), SecurityError> {
    let found = remote.public_key.to_peer_id();
    match expect {
        Some(expected) if expected != found => Err(SecurityError::WrongPeer { expected, found }),
        Some(_) | None => Ok(()),
    }
}

/// The first multiplexer of the initiator that the responder has too; `None` if an end offers
/// none.
fn agree(
    ours: &[Protocol],
    theirs: &[Vec<u8>],
    role: Role,
) -> Result<Option<Protocol>, SecurityError> {
    if ours.is_empty() || theirs.is_empty() {
        return Ok(None);
    }
    let same = |ours: &Protocol, theirs: &[u8]| ours.as_str().as_bytes() == theirs;
    let found = match role {
        Role::Dialer => ours
            .iter()
            .find(|ours| theirs.iter().any(|theirs| same(ours, theirs))),
        Role::Listener => theirs
            .iter()
            .find_map(|theirs| ours.iter().find(|ours| same(ours, theirs))),
    };
    match found {
        Some(muxer) => Ok(Some(muxer.clone())),
        None => Err(SecurityError::NoCommonMuxer {
            ours: ours.to_vec(),
            theirs: theirs
                .iter()
                .take(SHOWN_MUXERS)
                .map(|muxer| excerpt(muxer))
                .collect(),
        }),
    }
}

/// The start of what a remote sent, fit for a log line.
fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes)).into_owned()
}
