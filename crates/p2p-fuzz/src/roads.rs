//! Secure channels of rustls, private networks, WebSocket and proxies: exchanges with a remote
//! that says anything, below a connection.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{
    AddrExt, Dialed, Incoming, Link, Listener, Multiaddr, PeerId, Protocol, Role, Transport,
    TransportError,
};
use p2p_keys::Keypair;
use p2p_pnet::{NONCE, PreSharedKey, Protected};
use p2p_socks::{Destination, Login};
use p2p_tls::{Tls, certificate};
use p2p_websocket::WebSocket;

use crate::remote::{Remote, finish};

/// More than any of these exchanges reads.
const ENOUGH: u64 = 1 << 20;
/// The longest WebSocket message that is taken, in bytes.
const MAX_MESSAGE: usize = 512;
/// When certificates are looked at, after the Unix epoch.
const NOW: Duration = Duration::from_secs(1_800_000_000);

/// What is read behind a handshake, until the remote hangs up.
fn read_all(stream: impl futures::AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    finish(stream.take(ENOUGH).read_to_end(&mut read)).map(|_| read)
}

/// A certificate of a peer: what is accepted names one key, and nothing may be behind it.
pub fn tls_certificate(bytes: &[u8]) {
    if let Ok(key) = certificate::verify(bytes, NOW) {
        assert_eq!(certificate::host_key(bytes).ok().as_ref(), Some(&key));
        let longer = [bytes, &[0]].concat();
        assert!(certificate::verify(&longer, NOW).is_err());
    }
}

fn tls(bytes: &[u8], role: Role) {
    static TLS: OnceLock<Option<Tls>> = OnceLock::new();
    let tls = TLS.get_or_init(|| Tls::new(&Keypair::ed25519_from_seed([1; 32])).ok());
    let Some(tls) = tls else { return };
    let muxers = ["/yamux/1.0.0", "/mplex/6.7.0"].map(Protocol::from_static);
    let secured = finish(tls.secure(Remote::new(bytes), role, None, &muxers));
    // Our part of the keys is new each time: nothing that was written before can fit.
    assert!(secured.is_err(), "a recorded handshake was accepted");
}

/// The client of the TLS handshake.
pub fn tls_dialer(bytes: &[u8]) {
    tls(bytes, Role::Dialer);
}

/// The server of the TLS handshake, which also chooses the multiplexer.
pub fn tls_listener(bytes: &[u8]) {
    tls(bytes, Role::Listener);
}

/// The file of a private network's key: what is read is written and read the same.
pub fn pnet_key(bytes: &[u8]) {
    if let Ok(key) = PreSharedKey::from_file(bytes) {
        let again = PreSharedKey::from_file(key.to_file().as_bytes());
        assert!(again.is_ok_and(|again| again.fingerprint() == key.fingerprint()));
    }
}

/// A stream in a private network: a nonce, then as many bytes as were sent.
pub fn pnet(bytes: &[u8]) {
    let key = PreSharedKey::new([7; 32]);
    let mut stream = Protected::new(Remote::new(bytes), &key, [9; NONCE]);
    let said = bytes.len().saturating_sub(1);
    match read_all(&mut stream) {
        Ok(read) => assert_eq!(read.len(), said.saturating_sub(NONCE)),
        // Cut inside of the nonce.
        Err(_) => assert!((1..NONCE).contains(&said)),
    }
}

/// What a proxy says to us. The first byte also says how we ask.
pub fn socks(bytes: &[u8]) {
    let with_login = bytes.first().is_some_and(|first| first % 4 < 2);
    let login = with_login.then(|| Login {
        user: "user".to_owned(),
        password: "password".to_owned(),
    });
    let to = Destination::Name("example.com".to_owned());
    let mut remote = Remote::new(bytes);
    if finish(p2p_socks::connect(&mut remote, login.as_ref(), &to, 443)).is_ok() {
        // A method, and an answer with an IPv4 address or an empty name, are 9 bytes at least.
        let left = read_all(&mut remote).map_or(0, |left| left.len());
        assert!(left + 9 < bytes.len(), "it took too little");
    }
}

/// Below WebSocket: a link to a remote that has said everything already.
#[derive(Debug)]
struct Said(Bytes);

impl Said {
    fn link(&self) -> Link {
        Link::Raw(Box::new(Remote::new(&self.0)))
    }
}

impl Transport for Said {
    fn supports(&self, addr: &Multiaddr) -> bool {
        addr.tcp_socket().is_some()
    }

    fn dial(
        &self,
        addr: Multiaddr,
        _: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let dialed = Dialed {
            link: self.link(),
            local: Some(addr),
        };
        futures::future::ready(Ok(dialed)).boxed()
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let listener = SaidOnce(Self(self.0.clone()), addr);
        futures::future::ready(Ok(Box::new(listener) as Box<dyn Listener>)).boxed()
    }
}

struct SaidOnce(Said, Multiaddr);

impl Listener for SaidOnce {
    fn addrs(&self) -> Vec<Multiaddr> {
        vec![self.1.clone()]
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Incoming>> {
        let incoming = Incoming {
            remote: self.1.clone(),
            local: self.1.clone(),
            link: futures::future::ready(Ok(self.0.link())).boxed(),
        };
        futures::future::ready(Ok(incoming)).boxed()
    }
}

fn websocket(bytes: &[u8]) -> Option<(WebSocket, Multiaddr)> {
    let mut config = p2p_websocket::Config::default();
    config.max_message = MAX_MESSAGE;
    let below = Said(Bytes::copy_from_slice(bytes));
    let addr = "/ip4/192.0.2.1/tcp/80/ws".parse().ok()?;
    Some((WebSocket::new(below, config).ok()?, addr))
}

/// Reads and writes behind the upgrade.
fn use_link(link: Link, said: usize) {
    let Link::Raw(mut io) = link else { return };
    if let Ok(read) = read_all(&mut io) {
        assert!(read.len() <= said);
    }
    // It may be closed already.
    let _ = finish(async {
        io.write_all(b"answer").await?;
        io.close().await
    });
}

/// The client of the WebSocket upgrade.
pub fn websocket_dialer(bytes: &[u8]) {
    let Some((websocket, addr)) = websocket(bytes) else {
        return;
    };
    if let Ok(dialed) = finish(websocket.dial(addr, None)) {
        use_link(dialed.link, bytes.len());
    }
}

/// The server of the WebSocket upgrade, and the frames behind it.
pub fn websocket_listener(bytes: &[u8]) {
    let Some((websocket, addr)) = websocket(bytes) else {
        return;
    };
    let Ok(mut listener) = finish(websocket.listen(addr)) else {
        return;
    };
    let Ok(incoming) = finish(listener.accept()) else {
        return;
    };
    if let Ok(link) = finish(incoming.link) {
        use_link(link, bytes.len());
    }
}
