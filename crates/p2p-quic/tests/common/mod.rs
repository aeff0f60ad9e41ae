//! Two hosts in a simulated network that speak QUIC.
#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses a part"
)]

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{
    BoxStream, Datagram, Established, Link, Listener, Multiaddr, Muxer, Rt, Transport,
    TransportError, UdpSocket,
};
use p2p_keys::Keypair;
use p2p_quic::{Config, Quic};
use p2p_sim::{Host, Sim};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SEC: Duration = Duration::from_secs(1);
/// Where it listens.
pub(crate) const PORT: u16 = 4001;

/// Two hosts, one of which listens.
pub(crate) struct World {
    pub(crate) near: Host,
    pub(crate) far: Host,
    pub(crate) dialer: Quic,
    pub(crate) server: Quic,
    pub(crate) identity: Keypair,
}

impl World {
    pub(crate) fn new(seed: u64, link: p2p_sim::Link, config: Config) -> (Sim, Self) {
        let sim = Sim::new(seed);
        sim.default_link(link);
        let world = Self::of(sim.host("near"), sim.host("far"), config);
        (sim, world)
    }

    pub(crate) fn of(near: Host, far: Host, config: Config) -> Self {
        let identity = Keypair::ed25519_from_seed([2; 32]);
        let dialer = Keypair::ed25519_from_seed([1; 32]);
        Self {
            dialer: Quic::new(near.rt(), &dialer, Config::default()).unwrap(),
            server: Quic::new(far.rt(), &identity, config).unwrap(),
            near,
            far,
            identity,
        }
    }

    pub(crate) fn addr(&self) -> Multiaddr {
        format!("/ip4/{}/udp/{PORT}/quic-v1", self.far.ip())
            .parse()
            .unwrap()
    }

    pub(crate) async fn listen(&self) -> Box<dyn Listener> {
        self.server.listen(self.addr()).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> Result<Established, TransportError> {
        let expect = Some(self.identity.to_peer_id());
        Ok(muxed(self.dialer.dial(self.addr(), expect).await?.link))
    }

    /// Dials, and serves the connection.
    pub(crate) async fn dial(&self) -> Result<Arc<dyn Muxer>, TransportError> {
        Ok(run(&self.near.rt(), self.connect().await?))
    }

    /// Both ends of one connection, served.
    pub(crate) async fn pair(&self) -> (Arc<dyn Muxer>, Arc<dyn Muxer>) {
        let mut listener = self.listen().await;
        let accept = async { muxed(listener.accept().await.unwrap().link.await.unwrap()) };
        let (near, far) = join(self.dial(), accept).await;
        (near.unwrap(), run(&self.far.rt(), far))
    }

    /// Echoes every stream of every connection.
    pub(crate) async fn serve_echo(&self) {
        let (mut listener, rt) = (self.listen().await, self.far.rt());
        self.far.spawn("accept", async move {
            while let Ok(incoming) = listener.accept().await {
                let serving = rt.clone();
                rt.spawn(
                    "serve",
                    Box::pin(async move {
                        let Ok(link) = incoming.link.await else {
                            return;
                        };
                        let muxer = run(&serving, muxed(link));
                        while let Ok(stream) = muxer.accept().await {
                            serving.spawn(
                                "echo",
                                Box::pin(async move {
                                    let (reader, mut writer) = stream.split();
                                    let _ = futures::io::copy(reader, &mut writer).await;
                                    let _ = writer.close().await;
                                }),
                            );
                        }
                    }),
                );
            }
        });
    }

    /// A socket of a stranger.
    pub(crate) fn socket(&self) -> Arc<dyn UdpSocket> {
        self.near.rt().net().udp_bind(self.near.socket(9)).unwrap()
    }
}

pub(crate) fn muxed(link: Link) -> Established {
    match link {
        Link::Muxed(established) => established,
        Link::Raw(_) => panic!("QUIC needs no upgrade"),
    }
}

pub(crate) fn run(rt: &Rt, established: Established) -> Arc<dyn Muxer> {
    let driver = established.muxing.driver;
    rt.spawn("connection", Box::pin(async move { drop(driver.await) }));
    established.muxing.muxer
}

/// `len` bytes there and back.
pub(crate) async fn echo(near: &dyn Muxer, len: usize) {
    let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
    let stream = near.open().await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(&bytes).await.unwrap();
        writer.close().await.unwrap();
    };
    let mut back = Vec::new();
    let (_, read) = join(write, reader.read_to_end(&mut back)).await;
    read.unwrap();
    assert!(back == bytes, "{} of {len} bytes came back", back.len());
}

/// `len` bytes in one direction.
pub(crate) async fn transfer(near: &dyn Muxer, far: &dyn Muxer, len: usize) {
    let send = async {
        let mut stream = near.open().await.unwrap();
        stream.write_all(&vec![3; len]).await.unwrap();
        stream.close().await.unwrap();
        stream
    };
    let receive = async {
        let mut stream: BoxStream = far.accept().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), len);
    };
    let (_stream, ()) = join(send, receive).await;
}

pub(crate) async fn send(socket: &Arc<dyn UdpSocket>, to: SocketAddr, contents: &[u8]) {
    let datagram = Datagram::new(to, contents);
    poll_fn(|cx| socket.poll_send(cx, &datagram)).await.unwrap();
}

pub(crate) async fn receive(socket: &Arc<dyn UdpSocket>) -> (SocketAddr, Vec<u8>) {
    let mut buffer = vec![0; 2000];
    let received = poll_fn(|cx| socket.poll_recv(cx, &mut buffer))
        .await
        .unwrap();
    buffer.truncate(received.len);
    (received.from, buffer)
}
