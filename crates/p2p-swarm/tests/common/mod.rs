//! Two hosts in a simulated network, without cryptography.
#![allow(
    dead_code,
    clippy::panic,
    reason = "each test file is a crate of its own and uses a part"
)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, io};
use p2p_core::{
    AddrExt, Blame, BoxIo, Budget, Cause, Multiaddr, Multiplex, Muxing, PeerId, Protocol, Role, Rt,
    Secured, Security, SecurityError, TcpOptions, frame,
};
use p2p_sim::{Host, Link, Sim};
use p2p_swarm::{
    Attempt, Config, DialError, Event, Events, Stream, Swarm, SwarmBuilder, UpgradeError,
};
use p2p_tcp::Tcp;
use p2p_yamux::Yamux;

pub(crate) const ECHO: Protocol = Protocol::from_static("/echo/1.0.0");

/// One-way latency of every link.
pub(crate) const LATENCY: Duration = Duration::from_millis(50);

/// Tells who we are and believes what it hears; agrees on the first muxer, as Noise does.
#[derive(Clone, Debug)]
pub(crate) struct Credulous(pub(crate) PeerId);

impl Security for Credulous {
    fn protocol(&self) -> Protocol {
        Protocol::from_static("/credulous/1.0.0")
    }

    fn secure(
        &self,
        mut io: BoxIo,
        role: Role,
        expect: Option<PeerId>,
        muxers: Vec<Protocol>,
    ) -> BoxFuture<'static, Result<Secured, SecurityError>> {
        let own = self.0.to_bytes();
        async move {
            // The dialer speaks first, as in every handshake with roles.
            if role == Role::Dialer {
                frame::write(&mut io, &own).await?;
            }
            let theirs = frame::read(&mut io, 64).await.map_err(io::Error::from)?;
            if role == Role::Listener {
                frame::write(&mut io, &own).await?;
            }
            let peer = PeerId::from_bytes(&theirs)
                .map_err(|error| SecurityError::Protocol(Cause::new(Blame::Remote, error)))?;
            if let Some(expected) = expect.filter(|expected| *expected != peer) {
                return Err(SecurityError::WrongPeer {
                    expected,
                    found: peer,
                });
            }
            Ok(Secured {
                io,
                peer,
                public_key: Vec::new().into(),
                muxer: muxers.into_iter().next(),
            })
        }
        .boxed()
    }
}

/// A peer id that a test can tell apart.
pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[0, 1, n]).expect("an identity multihash is a peer id")
}

/// A network in which every link has [`LATENCY`].
pub(crate) fn sim(seed: u64) -> Sim {
    let sim = Sim::new(seed);
    sim.default_link(Link::new(LATENCY));
    sim
}

pub(crate) fn builder(host: &Host, n: u8) -> SwarmBuilder {
    let rt = host.rt();
    Swarm::builder(rt.clone(), peer(n))
        .transport(Tcp::new(rt, p2p_tcp::Config::default()))
        .security(Credulous(peer(n)))
        .muxer(Yamux::default())
}

pub(crate) fn swarm_with(host: &Host, n: u8, config: Config) -> Swarm {
    builder(host, n)
        .config(config)
        .build()
        .expect("a valid configuration")
}

/// A swarm that answers [`ECHO`].
pub(crate) fn swarm(host: &Host, n: u8) -> Swarm {
    let swarm = swarm_with(host, n, Config::default());
    swarm.handle(ECHO, echo).expect("the protocol is free");
    swarm
}

pub(crate) async fn echo(stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    io::copy(reader, &mut writer).await?;
    writer.close().await
}

/// Listens on every interface; the address as others dial it.
pub(crate) async fn listen(swarm: &Swarm, host: &Host) -> Multiaddr {
    let addr = format!("/ip4/{}/tcp/0", host.ip());
    let addrs = swarm.listen(addr.parse().expect("an address")).await;
    addrs.expect("a free port").remove(0)
}

/// Sends `data` on a new stream and reads the answer to its end.
pub(crate) async fn ask(swarm: &Swarm, to: Multiaddr, data: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = swarm.open(to, ECHO).await.map_err(io::Error::other)?;
    stream.write_all(data).await?;
    stream.close().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Dials `to` from a new swarm, asks for one echo, and leaves; how long that took.
pub(crate) async fn visit(new: SwarmBuilder, to: &Multiaddr) -> Duration {
    let swarm = new.build().expect("a valid configuration");
    let start = swarm.rt().now();
    let answer = ask(&swarm, to.clone(), b"hello").await;
    assert_eq!(answer.expect("an echo"), b"hello", "at {start:?}");
    let took = swarm.rt().now() - start;
    swarm.close().await;
    took
}

/// A host in a network of its own.
pub(crate) fn elsewhere(sim: &Sim, name: &str, n: u16) -> Host {
    let [a, b] = n.to_be_bytes();
    sim.host_at(name, [IpAddr::from([203, a, b, 1])])
}

/// The same, but says nothing of multiplexers: they are negotiated.
#[derive(Clone, Debug)]
pub(crate) struct Terse(pub(crate) PeerId);

impl Security for Terse {
    fn protocol(&self) -> Protocol {
        Protocol::from_static("/terse/1.0.0")
    }

    fn secure(
        &self,
        io: BoxIo,
        role: Role,
        expect: Option<PeerId>,
        muxers: Vec<Protocol>,
    ) -> BoxFuture<'static, Result<Secured, SecurityError>> {
        let secured = Credulous(self.0).secure(io, role, expect, muxers);
        async move {
            Ok(Secured {
                muxer: None,
                ..secured.await?
            })
        }
        .boxed()
    }
}

/// Yamux under a name of its own.
#[derive(Debug)]
pub(crate) struct Renamed(pub(crate) &'static str);

impl Multiplex for Renamed {
    fn protocol(&self) -> Protocol {
        Protocol::from_static(self.0)
    }

    fn start(&self, io: BoxIo, role: Role, rt: &Rt, budget: &Budget) -> Muxing {
        Yamux::default().start(io, role, rt, budget)
    }
}

/// The only attempt of a failed dial.
pub(crate) fn attempt(error: DialError) -> Attempt {
    if let DialError::AllFailed {
        attempts, more: 0, ..
    } = &error
        && let [only] = &**attempts
    {
        return only.clone();
    }
    panic!("not a single failed attempt: {error}");
}

/// Why the next incoming connection failed.
pub(crate) async fn failed(events: &mut Events) -> Arc<UpgradeError> {
    while let Some(event) = events.next().await {
        if let Event::IncomingFailed { error, .. } = event {
            return error;
        }
    }
    panic!("the swarm has ended, and nothing failed");
}

/// No connection, no memory, no share of a peer, and no task but listeners.
pub(crate) fn assert_nothing_left(swarm: &Swarm) {
    let census = swarm.census();
    let held = (census.connections, census.memory, census.sharing_peers);
    assert_eq!(held, (0, 0, 0), "{census:?}");
    let known = ["listener"];
    assert!(
        census.tasks.iter().all(|task| known.contains(task)),
        "{census:?}"
    );
}

/// What a dialer or listener says first.
pub(crate) const GREETING: &str = "/multistream/1.0.0";

/// A message of multistream-select.
pub(crate) fn token(text: &str) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len() + 1).expect("a short token")];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'\n');
    bytes
}

/// Opens a socket to `to`, by hand.
pub(crate) async fn connect(rt: &Rt, to: &Multiaddr) -> io::Result<BoxIo> {
    let to = to.tcp_socket().expect("an address of TCP");
    let io = rt.net().tcp_connect(to, &TcpOptions::default()).await?;
    Ok(Box::new(io))
}

/// Reads the listener's two tokens, after the dialer has named [`Credulous`].
pub(crate) async fn skip_answers(mut io: BoxIo) -> Option<BoxIo> {
    let answers = [token(GREETING), token("/credulous/1.0.0")].concat();
    let mut read = vec![0; answers.len()];
    io.read_exact(&mut read).await.ok()?;
    Some(io)
}

/// A connection made by hand, secured as `id` and multiplexed; what streams carry is up to the
/// caller.
pub(crate) async fn muxed(rt: &Rt, to: &Multiaddr, id: PeerId) -> Option<Muxing> {
    let mut io = connect(rt, to).await.ok()?;
    let said = [token(GREETING), token("/credulous/1.0.0")].concat();
    io.write_all(&said).await.ok()?;
    let io = skip_answers(io).await?;
    let yamux = Yamux::default();
    let secured = Credulous(id).secure(io, Role::Dialer, None, vec![yamux.protocol()]);
    let io = secured.await.ok()?.io;
    Some(yamux.start(io, Role::Dialer, rt, &Budget::unlimited()))
}
