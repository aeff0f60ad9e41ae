//! The swarm, and the two commands.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    floodsub, gossipsub, identify,
    identity::Keypair,
    multiaddr::Protocol,
    ping,
    pnet::{PnetConfig, PreSharedKey},
    quic, swarm,
    swarm::NetworkBehaviour,
    swarm::SwarmEvent,
    swarm::behaviour::toggle::Toggle,
    tcp,
};
use libp2p_stream::Control;
use libp2p_websocket as websocket;
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    Options, Result, Unsupported, chain, event, play, protocols,
    pubsub::{self, Side},
    stdin_closed,
    upgrades::{Chosen, Io, Muxers, Securities},
};

/// Pings a test wants.
const PINGS: usize = 5;
/// Between two of them.
const PING_INTERVAL: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: usize = 60;
/// How long a dialer stays after identify, so that the remote can finish its own.
const LINGER: Duration = Duration::from_secs(3);
/// Longer than any test.
const IDLE: Duration = Duration::from_secs(600);

/// An RSA identity, since the library cannot make one. Known to everybody, so worth nothing.
const RSA: &[u8] = include_bytes!("rsa.pk8");

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
    flood: Toggle<floodsub::Behaviour>,
    gossip: Toggle<gossipsub::Behaviour>,
}

struct Node {
    swarm: Swarm<Behaviour>,
    chosen: Chosen,
    /// The script of a pubsub test.
    script: Option<pubsub::Script>,
    orders: mpsc::UnboundedReceiver<Order>,
    /// Connections that have ended.
    ended: Arc<AtomicUsize>,
}

/// What a test or a served stream wants of the swarm.
pub(crate) enum Order {
    Close(PeerId),
    Dial(Multiaddr),
    Push(PeerId),
}

/// What a served stream works with.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) control: Control,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) ended: Arc<AtomicUsize>,
}

/// What a test works with.
pub(crate) struct Session {
    pub(crate) served: Served,
    pub(crate) remote: PeerId,
    pub(crate) addr: Multiaddr,
    pub(crate) seen: mpsc::UnboundedReceiver<Seen>,
}

/// What a test waits for.
pub(crate) enum Seen {
    Closed(String),
    Connected,
    Failed(String),
    Identified,
    Pinged(Duration),
    Published,
    Pushed(Vec<String>),
}

pub(crate) async fn listen(options: Options) -> Result<()> {
    let (mut node, mut served) = build(&options, Side::Listener)?;
    protocols::serve(&mut served.control)?;
    play::serve(&served)?;
    node.swarm.listen_on(options.addr.parse()?)?;
    tokio::spawn(drive(node, None));
    stdin_closed().await;
    Ok(())
}

pub(crate) async fn dial(options: Options) -> Result<()> {
    let started = Instant::now();
    let addr: Multiaddr = options.addr.parse()?;
    let Some(Protocol::P2p(remote)) = addr.iter().last() else {
        return Err("the address has no /p2p/<peer id>".into());
    };
    let (mut node, mut served) = build(&options, Side::Dialer)?;
    protocols::serve(&mut served.control)?;
    play::serve(&served)?;
    node.swarm.dial(addr.clone())?;
    let (seen_by, seen) = mpsc::unbounded_channel();
    tokio::spawn(drive(node, Some(seen_by)));
    let mut session = Session {
        served,
        remote,
        addr,
        seen,
    };
    session.wait(|it| matches!(it, Seen::Connected)).await?;
    match options.test.as_str() {
        "big" => play::big_test(&session).await?,
        "close" => play::close_test(&mut session).await?,
        "echo" => protocols::echo_test(&mut session.served.control, remote).await?,
        "identify" => {
            session.wait(|it| matches!(it, Seen::Identified)).await?;
            let _either = tokio::time::timeout(LINGER, stdin_closed()).await;
        }
        "idle" => play::idle_test(&mut session).await?,
        "minute" => minute_test(&mut session).await?,
        "orders" => play::orders_test(&session).await?,
        "ping" => ping_test(&mut session).await?,
        "push" => play::push_test(&mut session).await?,
        "reset" => play::reset_test(&session).await?,
        "slow" => play::slow_test(&session).await?,
        "streams" => play::streams_test(&session).await?,
        "transfer" => protocols::transfer_test(&mut session.served.control, remote).await?,
        test if pubsub::Flavour::of(test).is_some() => {
            session.wait(|it| matches!(it, Seen::Published)).await?;
        }
        other => return Err(Unsupported(format!("test {other}")).into()),
    }
    event("done", json!({ "ms": millis(started.elapsed()) }));
    Ok(())
}

impl Session {
    /// Waits for something; a failure or an end that was not waited for is an error.
    pub(crate) async fn wait(&mut self, wanted: impl Fn(&Seen) -> bool) -> Result<Seen> {
        loop {
            match self.seen.recv().await.ok_or("the swarm ended")? {
                it if wanted(&it) => return Ok(it),
                Seen::Failed(cause) | Seen::Closed(cause) => return Err(cause.into()),
                _ => {}
            }
        }
    }

    /// Whether the connection has ended since somebody last looked.
    pub(crate) fn is_closed(&mut self) -> bool {
        std::iter::from_fn(|| self.seen.try_recv().ok()).any(|it| matches!(it, Seen::Closed(_)))
    }

    pub(crate) fn order(&self, order: Order) -> Result<()> {
        let sent = self.served.orders.send(order);
        sent.map_err(|_| "the swarm ended".into())
    }
}

fn identity(options: &Options) -> Result<Keypair> {
    Ok(match options.key.as_str() {
        "ecdsa" => Keypair::generate_ecdsa(),
        "ed25519" => Keypair::generate_ed25519(),
        "rsa" => Keypair::rsa_from_pkcs8(&mut RSA.to_vec())?,
        "secp256k1" => Keypair::generate_secp256k1(),
        other => return Err(Unsupported(format!("key {other}")).into()),
    })
}

/// What carries the bytes, secured and multiplexed.
fn transport(
    options: &Options,
    keys: &Keypair,
    chosen: &Chosen,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default());
    match options.transport.as_str() {
        "tcp" => match &options.swarm_key {
            Some(file) => {
                let key: PreSharedKey = std::fs::read_to_string(file)?.parse()?;
                let private = tcp.and_then(move |io, _| PnetConfig::new(key).handshake(io));
                upgraded(private, options, keys, chosen)
            }
            None => upgraded(tcp, options, keys, chosen),
        },
        other if options.swarm_key.is_some() => {
            Err(Unsupported(format!("private networks over {other} here")).into())
        }
        "ws" => upgraded(websocket::Config::new(tcp), options, keys, chosen),
        "wss" => {
            let mut secure = websocket::Config::new(tcp);
            secure.set_tls_config(options.tls()?);
            upgraded(secure, options, keys, chosen)
        }
        "quic" => Ok(quic::tokio::Transport::new(quic::Config::new(keys))
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed()),
        other => Err(Unsupported(format!("transport {other}")).into()),
    }
}

fn upgraded<T>(
    transport: T,
    options: &Options,
    keys: &Keypair,
    chosen: &Chosen,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>>
where
    T: Transport<Output: Io + 'static, Error: Send + Sync, Dial: Send, ListenerUpgrade: Send>
        + Send
        + Unpin
        + 'static,
{
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(Securities::new(&options.security, keys, chosen.clone())?)
        .multiplex(Muxers::new(&options.muxer, chosen.clone())?)
        .timeout(Duration::from_secs(15))
        .boxed())
}

/// A swarm that offers exactly what the options name and reaches out to nobody.
fn build(options: &Options, side: Side) -> Result<(Node, Served)> {
    if options.test == "codes" {
        return Err(Unsupported("stream error codes".into()).into());
    }
    if options.early == "off" && options.security.iter().any(|it| it == "plaintext") {
        return Err(Unsupported("early muxer negotiation in plaintext".into()).into());
    }
    let keys = identity(options)?;
    let chosen = Chosen::default();
    let transport = transport(options, &keys, &chosen)?;
    let ping = match options.test.as_str() {
        "ping" => ping::Config::new().with_interval(PING_INTERVAL),
        "minute" => ping::Config::new().with_interval(SECOND),
        _ => ping::Config::new(),
    };
    let flavour = pubsub::Flavour::of(&options.test);
    let is_pubsub = options.test.starts_with("gossip") || options.test.starts_with("flood");
    if is_pubsub && flavour.is_none() {
        return Err(Unsupported(format!("test {}", options.test)).into());
    }
    let behaviour = Behaviour {
        flood: pubsub::flood(flavour, &keys).into(),
        gossip: pubsub::gossip(flavour, &keys)?.into(),
        identify: identify::Behaviour::new(
            identify::Config::new("ipfs/0.1.0".into(), keys.public())
                .with_agent_version("p2p-interop-rust/rust-libp2p".into()),
        ),
        ping: ping::Behaviour::new(ping),
        streams: libp2p_stream::Behaviour::new(),
    };
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE);
    let swarm = Swarm::new(transport, behaviour, keys.public().to_peer_id(), config);
    let ended = Arc::new(AtomicUsize::new(0));
    let (order, orders) = mpsc::unbounded_channel();
    let served = Served {
        control: swarm.behaviour().streams.new_control(),
        orders: order,
        ended: ended.clone(),
    };
    let mut node = Node {
        swarm,
        chosen,
        script: flavour.map(|flavour| pubsub::Script::new(side, flavour)),
        orders,
        ended,
    };
    if node.script.is_some() {
        let behaviour = node.swarm.behaviour_mut();
        pubsub::subscribe(behaviour.gossip.as_mut())?;
    }
    Ok((node, served))
}

/// Polls the swarm for as long as the program runs, and reports what it says.
async fn drive(mut node: Node, seen_by: Option<mpsc::UnboundedSender<Seen>>) {
    // A listener reports identify to the runner; so does a dialer. Only the dialer waits.
    let tell = |seen| seen_by.as_ref().is_none_or(|to| to.send(seen).is_ok());
    // The first identify of a connection was asked for, every later one was pushed.
    let mut identified = HashSet::new();
    let mut retry = tokio::time::interval(Duration::from_millis(20));
    loop {
        let happened = tokio::select! {
            happened = node.swarm.select_next_some() => happened,
            order = node.orders.recv() => {
                let done = match order {
                    Some(Order::Close(peer)) => node.swarm.disconnect_peer_id(peer).is_ok(),
                    Some(Order::Dial(addr)) => node.swarm.dial(addr).is_ok(),
                    Some(Order::Push(peer)) => {
                        node.swarm.behaviour_mut().identify.push([peer]);
                        true
                    }
                    None => true,
                };
                if !done {
                    tell(Seen::Failed("the swarm cannot do that".into()));
                }
                continue;
            }
            _ = retry.tick(), if node.script.as_ref().is_some_and(pubsub::Script::is_sending) => {
                publish(&mut node);
                continue;
            }
        };
        match happened {
            SwarmEvent::NewListenAddr { address, .. } => {
                let addr = address.with(Protocol::P2p(*node.swarm.local_peer_id()));
                event("listening", json!({ "addr": addr.to_string() }));
            }
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                let (security, muxer) = node.chosen.names();
                event(
                    "connected",
                    json!({
                        "peer": peer_id.to_string(), "security": security, "muxer": muxer,
                    }),
                );
                if let Some(flood) = node.swarm.behaviour_mut().flood.as_mut() {
                    flood.add_node_to_partial_view(peer_id);
                }
                tell(Seen::Connected);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Flood(it)) => match it {
                floodsub::Event::Message(message) => received(&mut node, &message.data, &tell),
                floodsub::Event::Subscribed { peer_id, .. } => {
                    if let Some(script) = &mut node.script {
                        script.subscribed(peer_id);
                    }
                    publish(&mut node);
                }
                floodsub::Event::Unsubscribed { .. } => {}
            },
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                message,
                ..
            })) => received(&mut node, &message.data, &tell),
            SwarmEvent::OutgoingConnectionError { error, .. } => {
                tell(Seen::Failed(chain(&error)));
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::info!(error = chain(&error), "incoming connection failed");
            }
            SwarmEvent::ConnectionClosed { peer_id, cause, .. } => {
                let cause = cause.map_or_else(|| "no error".into(), |cause| chain(&cause));
                tracing::info!(cause, "connection closed");
                node.ended.fetch_add(1, Ordering::Relaxed);
                event(
                    "disconnected",
                    json!({ "peer": peer_id.to_string(), "why": cause }),
                );
                tell(Seen::Closed(format!("connection closed: {cause}")));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(it)) => match it {
                identify::Event::Received {
                    peer_id,
                    info,
                    connection_id,
                } => {
                    if identified.insert(connection_id) {
                        report_identify("identify", peer_id, &info);
                        tell(Seen::Identified);
                    } else {
                        report_identify("push", peer_id, &info);
                        let protocols = info.protocols.iter().map(ToString::to_string);
                        tell(Seen::Pushed(protocols.collect()));
                    }
                }
                identify::Event::Error { error, .. } => {
                    tell(Seen::Failed(format!("identify: {}", chain(&error))));
                }
                _ => {}
            },
            SwarmEvent::Behaviour(BehaviourEvent::Ping(it)) => match it.result {
                Ok(rtt) => {
                    tell(Seen::Pinged(rtt));
                }
                Err(error) => {
                    tell(Seen::Failed(format!("ping: {}", chain(&error))));
                }
            },
            other => tracing::debug!(?other),
        }
    }
}

/// A message of the remote's series.
fn received(node: &mut Node, data: &[u8], tell: &impl Fn(Seen) -> bool) {
    let Some(script) = &mut node.script else {
        return;
    };
    if let Some(gossip) = node.swarm.behaviour().gossip.as_ref() {
        script.look(gossip);
    }
    match script.received(data) {
        Ok(true) => {
            tell(Seen::Published);
        }
        Ok(false) => {}
        Err(cause) => {
            tell(Seen::Failed(cause));
        }
    }
    publish(node);
}

/// Sends what the script wants sent, as far as the library takes it.
fn publish(node: &mut Node) {
    let behaviour = node.swarm.behaviour_mut();
    let Some(script) = &mut node.script else {
        return;
    };
    if let Some(gossip) = behaviour.gossip.as_mut() {
        script.gossip(gossip);
    }
    if let Some(flood) = behaviour.flood.as_mut() {
        script.flood(flood);
    }
}

fn report_identify(name: &str, peer: PeerId, info: &identify::Info) {
    let texts = |addrs: &[Multiaddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
    event(
        name,
        json!({
            "peer": peer.to_string(),
            "agent": info.agent_version,
            "protocols": info.protocols.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
            "addrs": texts(&info.listen_addrs),
            "observed": info.observed_addr.to_string(),
            "signed": info.signed_peer_record.is_some(),
        }),
    );
}

async fn ping_test(session: &mut Session) -> Result<()> {
    let mut rtts = Vec::new();
    while rtts.len() < PINGS {
        if let Seen::Pinged(rtt) = session.wait(|it| matches!(it, Seen::Pinged(_))).await? {
            rtts.push(millis(rtt));
        }
    }
    event("ping", json!({ "rtts_ms": rtts }));
    Ok(())
}

async fn minute_test(session: &mut Session) -> Result<()> {
    let mut worst = Duration::ZERO;
    for _ in 0..MINUTE {
        if let Seen::Pinged(rtt) = session.wait(|it| matches!(it, Seen::Pinged(_))).await? {
            worst = worst.max(rtt);
        }
    }
    event(
        "minute",
        json!({ "pings": MINUTE, "worst_ms": millis(worst) }),
    );
    Ok(())
}

pub(crate) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
