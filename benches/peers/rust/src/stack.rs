//! A swarm in a task, and what the jobs need of it.

use std::collections::HashMap;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::StreamExt as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, MemoryTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, ConnectionId, NetworkBehaviour, Stream, StreamProtocol, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport, identify, noise, ping, plaintext, quic, tcp, tls, yamux,
};

use crate::node::args::{Behaviours, Options};
use crate::node::{Error, Node, Result};
use crate::streams::{self, Handlers, Opening};

#[derive(NetworkBehaviour)]
struct Behaviour {
    streams: streams::Behaviour,
    identify: Toggle<identify::Behaviour>,
    ping: Toggle<ping::Behaviour>,
}

/// A node; clones are the same.
#[derive(Clone)]
pub(crate) struct Rust {
    commands: mpsc::UnboundedSender<Command>,
    handlers: Handlers,
}

enum Command {
    Listen(Multiaddr, oneshot::Sender<Multiaddr>),
    Dial(Multiaddr, oneshot::Sender<std::result::Result<ConnectionId, String>>),
    Close(ConnectionId, oneshot::Sender<()>),
}

/// A connection of a node.
#[derive(Clone)]
pub(crate) struct Connection {
    id: ConnectionId,
    handler: mpsc::UnboundedSender<Opening>,
}

impl Node for Rust {
    type Connection = Connection;
    type Stream = Stream;
    const CONNECTS_TWICE: bool = true;

    async fn start(options: &Options) -> Result<Self> {
        let keys = Keypair::generate_ed25519();
        let handlers = Handlers::default();
        let std = options.behaviours == Behaviours::Std;
        let behaviour = Behaviour {
            streams: streams::Behaviour::new(handlers.clone(), usize::try_from(options.chunk)?),
            identify: Toggle::from(std.then(|| {
                let config = identify::Config::new("ipfs/0.1.0".into(), keys.public());
                identify::Behaviour::new(config)
            })),
            ping: Toggle::from(std.then(|| ping::Behaviour::new(ping::Config::new()))),
        };
        let config = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(Duration::from_secs(600));
        let transport = transport(&options.stack, &options.mss, options.max_streams, &keys)?;
        let swarm = Swarm::new(transport, behaviour, keys.public().to_peer_id(), config);
        let (commands, received) = mpsc::unbounded();
        tokio::spawn(drive(swarm, received));
        Ok(Self { commands, handlers })
    }

    async fn listen(&self, addr: &str, _: usize) -> Result<String> {
        let (say, heard) = oneshot::channel();
        self.send(Command::Listen(addr.parse()?, say))?;
        Ok(heard.await?.to_string())
    }

    async fn connect(&self, addr: &str) -> Result<Connection> {
        let (say, heard) = oneshot::channel();
        self.send(Command::Dial(addr.parse()?, say))?;
        let id = heard.await??;
        let handler = self.handlers.get(id).ok_or("the connection is gone")?;
        Ok(Connection { id, handler })
    }

    async fn open(&self, connection: &Connection, protocol: &'static str) -> Result<Stream> {
        let (say, heard) = oneshot::channel();
        let opening = (StreamProtocol::new(protocol), say);
        connection.handler.unbounded_send(opening)?;
        Ok(heard.await??)
    }

    async fn disconnect(&self, connection: Connection) {
        let (say, heard) = oneshot::channel();
        if self.send(Command::Close(connection.id, say)).is_ok() {
            // An error: it is closed already.
            let _ = heard.await;
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    async fn sleep(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }
}

impl Rust {
    fn send(&self, command: Command) -> Result<()> {
        self.commands.unbounded_send(command).map_err(Error::from)
    }
}

/// Polls the swarm for as long as somebody holds the node.
async fn drive(mut swarm: Swarm<Behaviour>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut listening = None;
    let mut dials = HashMap::new();
    let mut closes: HashMap<ConnectionId, oneshot::Sender<()>> = HashMap::new();
    loop {
        futures::select! {
            command = commands.next() => match command {
                None => return,
                Some(Command::Listen(addr, say)) => {
                    listening = Some(say);
                    swarm.listen_on(addr).expect("the transport takes the address");
                }
                Some(Command::Dial(addr, say)) => {
                    let opts = match peer(&addr) {
                        Some(peer) => DialOpts::peer_id(peer)
                            .condition(PeerCondition::Always)
                            .addresses(vec![addr])
                            .build(),
                        None => DialOpts::unknown_peer_id().address(addr).build(),
                    };
                    dials.insert(opts.connection_id(), say);
                    if let Err(error) = swarm.dial(opts) {
                        eprintln!("{error}");
                    }
                }
                Some(Command::Close(id, say)) => {
                    if swarm.close_connection(id) {
                        closes.insert(id, say);
                    }
                }
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::NewListenAddr { address, .. } => {
                    let address = address.with(Protocol::P2p(*swarm.local_peer_id()));
                    if let Some(say) = listening.take() {
                        let _gone = say.send(address);
                    }
                }
                SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                    if let Some(say) = dials.remove(&connection_id) {
                        let _gone = say.send(Ok(connection_id));
                    }
                }
                SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                    if let Some(say) = dials.remove(&connection_id) {
                        let _gone = say.send(Err(error.to_string()));
                    }
                }
                SwarmEvent::ConnectionClosed { connection_id, .. } => {
                    closes.remove(&connection_id);
                }
                _ => {}
            },
        }
    }
}

fn peer(addr: &Multiaddr) -> Option<PeerId> {
    match addr.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The stack as `SwarmBuilder` sets it up.
pub(crate) fn transport(
    stack: &str,
    mss: &str,
    max_streams: Option<usize>,
    keys: &Keypair,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>> {
    if stack == "quic" {
        let quic = quic::tokio::Transport::new(quic::Config::new(keys));
        let map = |(peer, connection), _| (peer, StreamMuxerBox::new(connection));
        return Ok(quic.map(map).boxed());
    }
    match stack.split_once('+') {
        Some(("tcp", upper)) => {
            let tcp = tcp::tokio::Transport::new(tcp::Config::default());
            secured(tcp, upper, mss, max_streams, keys)
        }
        Some(("memory", upper)) => secured(MemoryTransport::default(), upper, mss, max_streams, keys),
        _ => Err(format!("no stack {stack}").into()),
    }
}

fn secured<T>(
    raw: T,
    upper: &str,
    mss: &str,
    max_streams: Option<usize>,
    keys: &Keypair,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: futures::AsyncRead + futures::AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let version = match mss {
        "v1" => Version::V1,
        _ => Version::V1Lazy,
    };
    let raw = raw.upgrade(version);
    let mut yamux = yamux::Config::default();
    if let Some(max) = max_streams {
        // More than 4096 panics.
        yamux.set_max_num_streams(max.min(4096));
    }
    let mut mplex = libp2p_mplex::Config::new();
    if let Some(max) = max_streams {
        mplex.set_max_num_streams(max);
    }
    Ok(match upper {
        "noise+yamux" => raw
            .authenticate(noise::Config::new(keys)?)
            .multiplex(yamux)
            .boxed(),
        "noise+mplex" => raw
            .authenticate(noise::Config::new(keys)?)
            .multiplex(mplex)
            .boxed(),
        "plaintext+yamux" => raw
            .authenticate(plaintext::Config::new(keys))
            .multiplex(yamux)
            .boxed(),
        "plaintext+mplex" => raw
            .authenticate(plaintext::Config::new(keys))
            .multiplex(mplex)
            .boxed(),
        "tls+yamux" => raw
            .authenticate(tls::Config::new(keys)?)
            .multiplex(yamux)
            .boxed(),
        "tls+mplex" => raw
            .authenticate(tls::Config::new(keys)?)
            .multiplex(mplex)
            .boxed(),
        other => return Err(format!("no stack {other}").into()),
    })
}
