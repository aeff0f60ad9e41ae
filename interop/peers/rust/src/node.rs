//! The swarm, and the two commands.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport as _,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    gossipsub, identify,
    identity::Keypair,
    multiaddr::Protocol,
    ping, quic, swarm,
    swarm::NetworkBehaviour,
    swarm::SwarmEvent,
    swarm::behaviour::toggle::Toggle,
    tcp,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    Options, Result, Unsupported, chain, event, protocols,
    pubsub::{self, Side},
    stdin_closed,
    upgrades::{Chosen, Muxers, Securities},
};

/// Pings a test wants.
const PINGS: usize = 5;
/// Between two of them.
const PING_INTERVAL: Duration = Duration::from_millis(50);
/// How long a dialer stays after identify, so that the remote can finish its own.
const LINGER: Duration = Duration::from_secs(3);
/// Longer than any test.
const IDLE: Duration = Duration::from_secs(120);

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
    gossip: Toggle<gossipsub::Behaviour>,
}

struct Node {
    swarm: Swarm<Behaviour>,
    chosen: Chosen,
    /// The script of a pubsub test.
    script: Option<pubsub::Script>,
}

/// What a test waits for.
enum Seen {
    Connected,
    Failed(String),
    Identified,
    Pinged(Duration),
    Published,
}

pub(crate) async fn listen(options: Options) -> Result<()> {
    let mut node = build(&options, Side::Listener)?;
    protocols::serve(&mut node.swarm.behaviour().streams.new_control())?;
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
    let mut node = build(&options, Side::Dialer)?;
    let mut control = node.swarm.behaviour().streams.new_control();
    protocols::serve(&mut control)?;
    node.swarm.dial(addr)?;
    let (seen_by, mut seen) = mpsc::unbounded_channel();
    tokio::spawn(drive(node, Some(seen_by)));
    wait(&mut seen, |it| matches!(it, Seen::Connected)).await?;
    match options.test.as_str() {
        "ping" => ping_test(&mut seen).await?,
        "identify" => {
            wait(&mut seen, |it| matches!(it, Seen::Identified)).await?;
            let _either = tokio::time::timeout(LINGER, stdin_closed()).await;
        }
        "echo" => protocols::echo_test(&mut control, remote).await?,
        "transfer" => protocols::transfer_test(&mut control, remote).await?,
        test if pubsub::Flavour::of(test).is_some() => {
            wait(&mut seen, |it| matches!(it, Seen::Published)).await?;
        }
        other => return Err(Unsupported(format!("test {other}")).into()),
    }
    event("done", json!({ "ms": millis(started.elapsed()) }));
    Ok(())
}

/// A swarm that offers exactly what the options name and reaches out to nobody.
fn build(options: &Options, side: Side) -> Result<Node> {
    let keys = Keypair::generate_ed25519();
    let chosen = Chosen::default();
    let transport: Boxed<(PeerId, StreamMuxerBox)> = match options.transport.as_str() {
        "tcp" => tcp::tokio::Transport::new(tcp::Config::default())
            .upgrade(Version::V1Lazy)
            .authenticate(Securities::new(&options.security, &keys, chosen.clone())?)
            .multiplex(Muxers::new(&options.muxer, chosen.clone())?)
            .timeout(Duration::from_secs(15))
            .boxed(),
        "quic" => quic::tokio::Transport::new(quic::Config::new(&keys))
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed(),
        other => return Err(Unsupported(format!("transport {other}")).into()),
    };
    let ping = match options.test.as_str() {
        "ping" => ping::Config::new().with_interval(PING_INTERVAL),
        _ => ping::Config::new(),
    };
    let flavour = pubsub::Flavour::of(&options.test);
    let is_pubsub = options.test.starts_with("gossip") || options.test.starts_with("flood");
    if is_pubsub && flavour.is_none() {
        return Err(Unsupported(format!("test {}", options.test)).into());
    }
    let behaviour = Behaviour {
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
    let mut node = Node {
        swarm,
        chosen,
        script: flavour.map(|_| pubsub::Script::new(side)),
    };
    if node.script.is_some() {
        let behaviour = node.swarm.behaviour_mut();
        pubsub::subscribe(behaviour.gossip.as_mut())?;
    }
    Ok(node)
}

/// Polls the swarm for as long as the program runs, and reports what it says.
async fn drive(mut node: Node, seen_by: Option<mpsc::UnboundedSender<Seen>>) {
    // A listener reports identify to the runner; so does a dialer. Only the dialer waits.
    let tell = |seen| seen_by.as_ref().is_none_or(|to| to.send(seen).is_ok());
    let mut retry = tokio::time::interval(Duration::from_millis(20));
    loop {
        let happened = tokio::select! {
            it = node.swarm.select_next_some() => it,
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
                tell(Seen::Connected);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                message,
                ..
            })) => received(&mut node, &message.data, &tell),
            SwarmEvent::OutgoingConnectionError { error, .. } => {
                tell(Seen::Failed(chain(&error)));
            }
            SwarmEvent::ConnectionClosed { cause, .. } => {
                let cause = cause.map_or_else(|| "no error".into(), |cause| chain(&cause));
                tracing::info!(cause, "connection closed");
                tell(Seen::Failed(format!("connection closed: {cause}")));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(it)) => match it {
                identify::Event::Received { peer_id, info, .. } => {
                    report_identify(peer_id, info);
                    tell(Seen::Identified);
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
    let gossip = node.swarm.behaviour_mut().gossip.as_mut();
    if let (Some(script), Some(gossip)) = (&mut node.script, gossip) {
        script.publish(gossip);
    }
}

fn report_identify(peer: libp2p::PeerId, info: identify::Info) {
    let texts = |addrs: &[Multiaddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
    event(
        "identify",
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

async fn ping_test(seen: &mut mpsc::UnboundedReceiver<Seen>) -> Result<()> {
    let mut rtts = Vec::new();
    while rtts.len() < PINGS {
        if let Seen::Pinged(rtt) = wait(seen, |it| matches!(it, Seen::Pinged(_))).await? {
            rtts.push(millis(rtt));
        }
    }
    event("ping", json!({ "rtts_ms": rtts }));
    Ok(())
}

async fn wait(
    seen: &mut mpsc::UnboundedReceiver<Seen>,
    wanted: impl Fn(&Seen) -> bool,
) -> Result<Seen> {
    loop {
        match seen.recv().await.ok_or("the swarm ended")? {
            Seen::Failed(cause) => return Err(cause.into()),
            it if wanted(&it) => return Ok(it),
            _ => {}
        }
    }
}

pub(crate) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
