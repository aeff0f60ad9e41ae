//! From a started connection to one whose other end is known.

use std::io;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::poll_fn;
use p2p_core::{Established, Muxing, PeerId, SecurityError, TransportError};

use crate::connection::Handle;
use crate::driver::{Driver, NotConnected};
use crate::listen::failed;
use crate::tls;

/// Runs the handshake. With `expect`, nobody else will do.
///
/// Cancel-safe: dropping the future ends the connection.
pub(crate) async fn establish(
    mut driver: Driver,
    expect: Option<PeerId>,
) -> Result<Established, TransportError> {
    if let Err(error) = poll_fn(|cx| driver.poll_connected(cx)).await {
        return Err(match error {
            NotConnected::Lost(lost) => failed(lost.into()),
            NotConnected::Io(source) => unreachable_error(&driver, source),
        });
    }
    let shared = driver.shared.clone();
    let identity = shared.with(|state| state.quic.crypto_session().peer_identity());
    let public_key = tls::remote_key(identity).map_err(|refused| failed(refused.into()))?;
    let found = public_key.to_peer_id();
    if let Some(expected) = expect.filter(|expected| *expected != found) {
        return Err(SecurityError::WrongPeer { expected, found }.into());
    }
    Ok(Established {
        peer: found,
        public_key: public_key.to_protobuf(),
        muxing: Muxing {
            muxer: Arc::new(Handle(shared)),
            driver: driver.boxed(),
        },
    })
}

/// The first datagrams could not even be sent.
fn unreachable_error(driver: &Driver, source: io::Error) -> TransportError {
    let remote = driver.shared.with(|state| state.quic.remote_address());
    TransportError::Connect {
        addr: crate::addr::multiaddr(remote),
        source,
    }
}
