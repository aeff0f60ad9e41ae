//! Both ends say who they are.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures::future::{BoxFuture, try_join};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use p2p_core::{
    Blame, BoxIo, Cause, Chain, PeerId, Protocol, Role, Secured, Security, SecurityError, frame,
};
use p2p_keys::{Keypair, PublicKey};

use crate::{Config, PlaintextError, proto};

/// The id of plaintext for multistream-select.
pub const PROTOCOL: Protocol = Protocol::from_static("/plaintext/2.0.0");

/// plaintext 2.0, holding our public key. **For tests only:** nothing is secret, nobody is proven.
#[derive(Clone, Debug)]
pub struct Plaintext {
    message: Arc<[u8]>,
    config: Config,
}

/// A link whose other end has said who it is.
pub struct Exchanged<Io> {
    /// The same stream, from the byte after the exchange.
    pub io: Io,
    /// The key that the remote calls its own.
    pub public_key: PublicKey,
}

impl<Io> fmt::Debug for Exchanged<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchanged({:?})", self.public_key)
    }
}

impl Plaintext {
    /// Plaintext for the peer with this key, with default settings.
    pub fn new(identity: &Keypair) -> Self {
        Self::with_config(identity.public(), Config::default())
    }

    /// Plaintext for the peer with this public key: nothing else is needed, as nothing is proven.
    pub fn with_config(public_key: &PublicKey, config: Config) -> Self {
        let message = proto::encode(public_key.to_peer_id(), public_key);
        Self {
            message: message.into(),
            config,
        }
    }

    /// Tells the remote who we are, and hears who it is. Takes no byte more than that from `io`.
    ///
    /// The caller sets the deadline. Not cancel-safe: `io` is dropped with the future.
    ///
    /// # Errors
    /// See [`SecurityError`]; the source of [`SecurityError::Protocol`] is a [`PlaintextError`].
    pub async fn exchange<Io>(
        &self,
        io: Io,
        expect: Option<PeerId>,
    ) -> Result<Exchanged<Io>, SecurityError>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut reader, mut writer) = io.split();
        // Together, or two ends of a narrow link would wait for each other.
        let (message, ()) = try_join(
            async {
                frame::read(&mut reader, self.config.max_message)
                    .await
                    .map_err(read_failed)
            },
            async { Ok(frame::write(&mut writer, &self.message).await?) },
        )
        .await?;
        let io = reader
            .reunite(writer)
            .map_err(|error| SecurityError::Io(io::Error::other(error.to_string())))?;
        let public_key = proto::decode(&message).map_err(protocol)?;
        let found = public_key.to_peer_id();
        match expect {
            Some(expected) if expected != found => {
                Err(SecurityError::WrongPeer { expected, found })
            }
            Some(_) | None => Ok(Exchanged { io, public_key }),
        }
    }
}

impl Security for Plaintext {
    fn protocol(&self) -> Protocol {
        PROTOCOL
    }

    fn is_secure(&self) -> bool {
        false
    }

    fn secure(
        &self,
        io: BoxIo,
        _: Role,
        expect: Option<PeerId>,
        _: Vec<Protocol>,
    ) -> BoxFuture<'static, Result<Secured, SecurityError>> {
        let plaintext = self.clone();
        Box::pin(async move {
            let remote = plaintext.exchange(io, expect).await?;
            Ok(Secured {
                io: remote.io,
                peer: remote.public_key.to_peer_id(),
                public_key: remote.public_key.to_protobuf(),
                muxer: None,
            })
        })
    }
}

fn protocol(error: PlaintextError) -> SecurityError {
    SecurityError::Protocol(Cause::new(error.blame(), error))
}

fn read_failed(error: frame::Error) -> SecurityError {
    match error.blame() {
        Blame::Remote => protocol(PlaintextError::Malformed(Chain(&error).to_string())),
        Blame::Us | Blame::Network => SecurityError::Io(error.into()),
    }
}
