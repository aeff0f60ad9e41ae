//! Our own node, and its connection to another.

use std::time::Duration;

use p2p::identify::{IdentifyError, IdentifyInfo};
use p2p::{
    Chain, Config, Connection, ConnectionInfo, Events, Host, HostBuilder, HostError, Keypair,
    Multiaddr, Multiplexer, Ping, Protocol, SecureChannel,
};

use crate::cli::{MuxerArg, NodeArgs, RemoteArgs, SecurityArg};
use crate::failure::Failure;
use crate::output::{Output, Record};
use crate::{explain, keyfile, units};

/// What we call ourselves in identify.
pub(crate) const AGENT: &str = concat!("p2p-cli/", env!("CARGO_PKG_VERSION"));

/// Starts a node as the command line wants it.
///
/// `timeout` is how long a service waits for an answer.
pub(crate) async fn start(
    args: &NodeArgs,
    config: Config,
    timeout: Duration,
) -> Result<Host, Failure> {
    let (host, _) = run(builder(args, config, timeout)?).await?;
    Ok(host)
}

/// A node as the command line wants it, not yet started.
pub(crate) fn builder(
    args: &NodeArgs,
    config: Config,
    timeout: Duration,
) -> Result<HostBuilder, Failure> {
    let identity = match &args.key {
        Some(file) => keyfile::load(file)?,
        None => Keypair::generate_ed25519(),
    };
    let security: Vec<SecureChannel> = args.security.iter().map(|one| (*one).into()).collect();
    let muxers: Vec<Multiplexer> = args.muxer.iter().map(|one| (*one).into()).collect();
    let mut builder = parts(identity, &security, &muxers, config, timeout);
    if args.reach.hides() {
        let agent = p2p::identify::Config::private().agent_version;
        builder = builder.identify(Some(identify_as(&agent, timeout)));
    }
    args.reach.add_to(builder)
}

/// Starts a node.
pub(crate) async fn build(
    identity: Keypair,
    security: &[SecureChannel],
    muxers: &[Multiplexer],
    config: Config,
    timeout: Duration,
) -> Result<Host, Failure> {
    let (host, _) = run(parts(identity, security, muxers, config, timeout)).await?;
    Ok(host)
}

/// Starts it, with what happens from the first moment on.
pub(crate) async fn run(builder: HostBuilder) -> Result<(Host, Events), Failure> {
    let started = builder.build_with_events().await;
    started.map_err(|error| {
        let failure = Failure::new("cannot start a node", "start", Chain(&error));
        match matches!(error, HostError::NoPrivateNetwork) {
            true => {
                failure.help("give the file of its key with --swarm-key; not all commands take one")
            }
            false => failure,
        }
    })
}

fn identify_as(agent: &str, timeout: Duration) -> p2p::identify::Config {
    let mut identify = p2p::identify::Config::default();
    agent.clone_into(&mut identify.agent_version);
    identify.timeout = timeout;
    identify
}

fn parts(
    identity: Keypair,
    security: &[SecureChannel],
    muxers: &[Multiplexer],
    config: Config,
    timeout: Duration,
) -> HostBuilder {
    let mut ping = p2p::ping::Config::default();
    // Only what was asked for: a step view full of pings helps nobody.
    ping.watch = false;
    ping.patience = timeout;
    Host::builder()
        .identity(identity)
        .secure_channels(security)
        .multiplexers(muxers)
        .identify(Some(identify_as(AGENT, timeout)))
        .ping(Some(ping))
        .config(config)
}

/// The ping service of a node.
pub(crate) fn ping(host: &Host) -> Result<&Ping, Failure> {
    host.ping()
        .ok_or_else(|| Failure::new("cannot ping", "start", "our node was built without ping"))
}

/// What the other end of a connection says about itself.
pub(crate) async fn identify(
    host: &Host,
    connection: &Connection,
) -> Result<IdentifyInfo, IdentifyError> {
    let service = host.identify().ok_or(IdentifyError::Ended)?;
    service.identified(connection).await
}

/// Starts a node and connects it; `verb` says for what.
pub(crate) async fn connect(
    output: Output,
    verb: &str,
    args: &RemoteArgs,
) -> Result<(Host, Connection), Failure> {
    let mut config = Config::default();
    config.dial_timeout = args.timeout;
    config.negotiation_timeout = args.timeout;
    let host = start(&args.node, config, args.timeout).await?;
    let connection = dial(&host, format!("cannot {verb} {}", args.addr), &args.addr).await?;
    output.record(&connected(&connection));
    Ok((host, connection))
}

/// Connects a node.
pub(crate) async fn dial(
    host: &Host,
    what: String,
    addr: &Multiaddr,
) -> Result<Connection, Failure> {
    host.dial(addr)
        .await
        .map_err(|error| explain::dial(what, &error))
}

/// The record of a connection.
pub(crate) fn connected(connection: &Connection) -> Record {
    let info = connection.info();
    info_record("connected", info)
        .with("transport_ms", units::millis(info.timings.transport))
        .with("security_ms", units::millis(info.timings.security))
        .with("muxer_ms", units::millis(info.timings.muxer))
}

/// What is known of a connection, as a record.
pub(crate) fn info_record(event: &'static str, info: &ConnectionInfo) -> Record {
    let name = |protocol: &Option<Protocol>| protocol.as_ref().map(ToString::to_string);
    Record::new(event)
        .text("connection", info.id)
        .text("peer", info.peer)
        .text("addr", &info.remote)
        .text("role", info.role)
        .with("security", name(&info.security))
        .with("muxer", name(&info.muxer))
}

/// `/noise, /yamux/1.0.0`
pub(crate) fn negotiated(info: &ConnectionInfo) -> String {
    let name = |protocol: &Option<Protocol>| {
        protocol
            .as_ref()
            .map_or_else(|| "the transport's own".to_owned(), ToString::to_string)
    };
    match (&info.security, &info.muxer) {
        // The only transport so far that brings both.
        (None, None) => "QUIC".to_owned(),
        (security, muxer) => format!("{}, {}", name(security), name(muxer)),
    }
}

impl From<SecurityArg> for SecureChannel {
    fn from(arg: SecurityArg) -> Self {
        match arg {
            SecurityArg::Noise => Self::Noise,
            SecurityArg::Plaintext => Self::Plaintext,
            SecurityArg::Tls => Self::Tls,
        }
    }
}

impl From<MuxerArg> for Multiplexer {
    fn from(arg: MuxerArg) -> Self {
        match arg {
            MuxerArg::Yamux => Self::Yamux,
            MuxerArg::Mplex => Self::Mplex,
        }
    }
}
