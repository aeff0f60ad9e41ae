//! The handshake over a stream: who is at the other end, and which multiplexer to use.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::io::{AsyncRead, AsyncWrite};
use p2p_core::{BoxIo, Cause, PeerId, Protocol, Role, Rt, Secured, Security, SecurityError};
use p2p_keys::{Keypair, PublicKey};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, UnbufferedServerConnection};
use rustls::{CipherSuite, CommonState};

use crate::handshake::{Failure, Link, Side};
use crate::{
    CertificateError, Credentials, HandshakeError, Records, SetupError, certificate, refusal,
};

/// An established TLS channel over `Io`. A remote that ends the link without ending the channel
/// may have been cut off: [`ChannelError::Truncated`](crate::ChannelError::Truncated).
pub type Channel<Io> = p2p_channel::Channel<Io, Records>;

/// The id of TLS for multistream-select.
pub const PROTOCOL: Protocol = Protocol::from_static("/tls/1.0.0");

/// The application protocol that stands for "choose the multiplexer afterwards".
const NO_MUXER: &[u8] = b"libp2p";

/// How many multiplexers are offered at most.
const MAX_MUXERS: usize = 16;

/// The secure channel protocol, holding our identity. Cheap to clone.
///
/// The certificate is made once; each handshake costs one key exchange, one signature and three
/// verifications.
#[derive(Clone)]
pub struct Tls(Credentials);

/// A link whose other end is known.
pub struct Authenticated<Io> {
    /// The channel for everything that follows.
    pub channel: Channel<Io>,
    /// The remote's identity, proven.
    pub public_key: PublicKey,
    /// The multiplexer agreed on. `None`: one of the ends offered none, so negotiate one.
    pub muxer: Option<Protocol>,
    /// What the channel is sealed with.
    pub cipher_suite: CipherSuite,
}

impl<Io> fmt::Debug for Authenticated<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated")
            .field("public_key", &self.public_key)
            .field("muxer", &self.muxer)
            .field("cipher_suite", &self.cipher_suite)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// TLS for the peer with this key, on the system's clock.
    ///
    /// # Errors
    /// [`SetupError`] if the system gives no randomness or the key cannot sign.
    pub fn new(identity: &Keypair) -> Result<Self, SetupError> {
        Ok(Self(Credentials::new(identity)?))
    }

    /// TLS for the peer with this key, on the clock of `rt`: see [`Credentials::with_runtime`].
    ///
    /// # Errors
    /// [`SetupError`] if the system gives no randomness or the key cannot sign.
    pub fn with_runtime(identity: &Keypair, rt: Rt) -> Result<Self, SetupError> {
        Ok(Self(Credentials::with_runtime(identity, rt)?))
    }

    /// TLS with these credentials.
    pub fn with_credentials(credentials: Credentials) -> Self {
        Self(credentials)
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
        match role {
            Role::Dialer => self.dial(io, expect, muxers).await,
            Role::Listener => self.listen(io, expect, muxers).await,
        }
    }

    async fn dial<Io: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: Io,
        expect: Option<PeerId>,
        muxers: &[Protocol],
    ) -> Result<Authenticated<Io>, SecurityError> {
        let mut config = self.0.client(expect, offers(muxers));
        config.enable_secret_extraction = true;
        // Never sent: the peer id says who must be there.
        let name = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let client = UnbufferedClientConnection::new(Arc::new(config), name);
        let client = client.map_err(|error| failed(error.into()))?;
        establish(Link::new(io), client, expect, muxers).await
    }

    async fn listen<Io: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: Io,
        expect: Option<PeerId>,
        muxers: &[Protocol],
    ) -> Result<Authenticated<Io>, SecurityError> {
        let mut link = Link::new(io);
        let hello = link.hello().await.map_err(failed)?;
        let mut config = self.0.server(choose(&hello.client_hello(), muxers));
        drop(hello);
        config.enable_secret_extraction = true;
        let server = UnbufferedServerConnection::new(Arc::new(config));
        let server = server.map_err(|error| failed(error.into()))?;
        establish(link, server, expect, muxers).await
    }
}

impl Security for Tls {
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
        let tls = self.clone();
        Box::pin(async move {
            let remote = Self::secure(&tls, io, role, expect, &muxers).await?;
            Ok(Secured {
                io: Box::new(remote.channel),
                peer: remote.public_key.to_peer_id(),
                public_key: remote.public_key.to_protobuf(),
                muxer: remote.muxer,
            })
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.0.peer())
    }
}

/// The application protocols that we offer or accept.
fn offers(muxers: &[Protocol]) -> Vec<Vec<u8>> {
    let muxers = muxers.iter().map(|muxer| muxer.as_str().as_bytes());
    muxers.chain([NO_MUXER]).map(<[u8]>::to_vec).collect()
}

/// The first application protocol of the client that we have: its order counts, not ours. Without
/// any, everything that we have, and rustls refuses with the right alert.
fn choose(hello: &ClientHello<'_>, muxers: &[Protocol]) -> Vec<Vec<u8>> {
    let ours = offers(muxers);
    let Some(mut theirs) = hello.alpn() else {
        // It does not ask: the multiplexer is chosen afterwards.
        return Vec::new();
    };
    match theirs.find(|theirs| ours.iter().any(|ours| ours == theirs)) {
        Some(first) => vec![first.to_vec()],
        None => ours,
    }
}

/// Takes the handshake to its end, and looks at who is there.
async fn establish<Io: AsyncRead + AsyncWrite + Unpin, S: Side>(
    mut link: Link<Io>,
    mut side: S,
    expect: Option<PeerId>,
    muxers: &[Protocol],
) -> Result<Authenticated<Io>, SecurityError> {
    link.run(&mut side).await.map_err(failed)?;
    let public_key = proven_key(&side).map_err(|error| protocol(error.into()))?;
    let muxer = side.alpn_protocol().and_then(|chosen| {
        muxers
            .iter()
            .find(|muxer| muxer.as_str().as_bytes() == chosen)
    });
    let muxer = muxer.cloned();
    let found = public_key.to_peer_id();
    if let Some(expected) = expect
        && expected != found
    {
        return Err(SecurityError::WrongPeer { expected, found });
    }
    let suite = side.negotiated_cipher_suite();
    let suite = suite.ok_or_else(|| failed(rustls::Error::HandshakeNotComplete.into()))?;
    let records = side.into_records().map_err(|error| failed(error.into()))?;
    Ok(Authenticated {
        channel: Channel::new(link.io, records, link.received, &link.unsent),
        public_key,
        muxer,
        cipher_suite: suite.suite(),
    })
}

/// The host key of the certificate that the handshake verified.
fn proven_key(state: &CommonState) -> Result<PublicKey, CertificateError> {
    match state.peer_certificates() {
        Some([one]) => certificate::host_key(one),
        Some(others) => Err(CertificateError::Count {
            found: others.len(),
        }),
        None => Err(CertificateError::Count { found: 0 }),
    }
}

/// What a failure means: rustls hides what our verifier found inside its own errors.
fn failed(failure: Failure) -> SecurityError {
    let error = match failure {
        Failure::Io(error) => return SecurityError::Io(error),
        Failure::Handshake(error) => error,
    };
    let HandshakeError::Tls(tls) = &error else {
        return protocol(error);
    };
    match refusal(tls) {
        Some(CertificateError::WrongPeer { expected, found }) => SecurityError::WrongPeer {
            expected: *expected,
            found: *found,
        },
        Some(refusal) => protocol(refusal.clone().into()),
        None => protocol(error),
    }
}

fn protocol(error: HandshakeError) -> SecurityError {
    SecurityError::Protocol(Cause::new(error.blame(), error))
}
