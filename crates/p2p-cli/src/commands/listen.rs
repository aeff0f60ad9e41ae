//! `p2p listen`: a node that answers ping, identify and echo.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::{Either, select};
use futures::io::{AsyncReadExt, AsyncWriteExt, BufReader, copy_buf};
use futures::stream::StreamExt;
use p2p::core::{AddrExt, Exceeded, TcpOptions};
use p2p::swarm::StreamError;
use p2p::{Chain, DialError, Event, Host, Multiaddr, PeerId, Stream};

use crate::cli::Listen;
use crate::failure::Failure;
use crate::output::{Output, Record, Style, clean};
use crate::{http, node, roads, signals};

/// What is echoed on: the common name, and that of the interop suite.
const ECHO: [&str; 2] = ["/echo/1.0.0", "/p2p-interop/echo/1.0.0"];

pub(crate) async fn run(output: Output, args: Listen) -> Result<(), Failure> {
    let mut stop = signals::stop(args.until_eof)?;
    let mut config = p2p::Config::default();
    config.count_bytes = args.metrics.is_some();
    let builder = node::builder(&args.node, config, ANSWER)?;
    let reach = &args.node.reach;
    let builder = args.roads.add_to(output, reach, builder)?;
    let (host, mut events) = node::run(builder).await?;
    roads::show_neighbours(output, &host);
    for protocol in ECHO {
        serve_echo(&host, protocol)?;
    }
    if args.perf {
        let served = p2p::Perf::serve(host.swarm(), p2p::perf::Config::default());
        served.map_err(|error| Failure::new("cannot answer perf", "start", Chain(&error)))?;
    }
    let mut teller = Teller::new(output, host.peer_id());
    let mut at = args.addrs;
    if at.is_empty() {
        at.extend(reach.default_addrs());
    }
    for addr in &at {
        let listening = host.swarm().listen(addr.clone()).await;
        let addrs = listening.map_err(|error| {
            Failure::new(format!("cannot listen on {addr}"), "listen", Chain(&error))
                .tried(addr.to_string())
                .help("choose another port or 0, and an address of this machine")
        })?;
        for addr in addrs {
            teller.listening(&addr.without_peer());
        }
    }
    if let Some(at) = args.metrics {
        show_metrics(output, &host, at)?;
    }
    let ready = Record::new("ready")
        .text("peer", host.peer_id())
        .texts("protocols", host.swarm().protocols());
    output.record(&ready);
    let why = loop {
        match select(&mut stop, events.next()).await {
            Either::Left((why, _)) => break why.map_or("end of the program", |why| why.reason()),
            Either::Right((Some(event), _)) => teller.tell(&event),
            Either::Right((None, _)) => break "end of the swarm",
        }
    };
    host.close().await;
    while let Some(event) = events.next().await {
        // That we listen no longer goes without saying.
        if !matches!(event, Event::ListenAddrGone(_)) {
            teller.tell(&event);
        }
    }
    output.line(format!("closed: {why}"));
    output.record(&Record::new("closed").text("why", why));
    Ok(())
}

/// Shows what the node does at `at`, over HTTP.
fn show_metrics(output: Output, host: &Host, at: SocketAddr) -> Result<(), Failure> {
    let swarm = host.swarm();
    let rt = swarm.rt();
    let listener = rt.net().tcp_listen(at, &TcpOptions::default());
    let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (at, listener) = bound.map_err(|error| {
        Failure::new(format!("cannot show metrics at {at}"), "listen", error)
            .tried(at.to_string())
            .help("choose another port or 0, and an address of this machine")
    })?;
    let serve = http::serve(rt.clone(), listener, swarm.downgrade());
    swarm.spawn("metrics", serve);
    output.line(format!("metrics at http://{at}/metrics"));
    output.record(&Record::new("metrics").text("addr", at));
    Ok(())
}

/// Answers `protocol` by sending back whatever comes, until the remote closes its side.
fn serve_echo(host: &Host, protocol: &'static str) -> Result<(), Failure> {
    host.handle(protocol, |stream: Stream| async move {
        let (reader, mut writer) = stream.split();
        let reader = BufReader::with_capacity(COPY, reader);
        copy_buf(reader, &mut writer).await?;
        writer.close().await
    })
    .map_err(|error| Failure::new("cannot start a node", "start", error))
}

/// How long we wait for what others say about themselves.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes that are echoed at once.
const COPY: usize = 64 * 1024;

/// Prints what happens.
struct Teller {
    output: Output,
    peer: PeerId,
    /// Where we listen, as far as we have said so.
    listening: BTreeSet<Multiaddr>,
}

impl Teller {
    fn new(output: Output, peer: PeerId) -> Self {
        Self {
            output,
            peer,
            listening: BTreeSet::new(),
        }
    }

    /// Tells an address at which we listen, unless that was said before.
    fn listening(&mut self, addr: &Multiaddr) -> bool {
        let addr = addr.clone().with_peer(self.peer);
        if !self.listening.insert(addr.clone()) {
            return false;
        }
        let output = self.output;
        output.line(format!(
            "listening on {}",
            output.styled(Style::Bold, &addr)
        ));
        output.record(&Record::new("listening").text("addr", addr));
        true
    }

    fn listening_gone(&mut self, addr: &Multiaddr) {
        let addr = addr.clone().with_peer(self.peer);
        if self.listening.remove(&addr) {
            self.output.line(format!("no longer listening on {addr}"));
            let record = Record::new("listening_gone").text("addr", addr);
            self.output.record(&record);
        }
    }

    fn tell(&mut self, event: &Event) {
        let output = self.output;
        match event {
            Event::Connected { info } => {
                let how = node::negotiated(info);
                output.line(format!(
                    "connected {} {} at {} over {how}",
                    info.id, info.peer, info.remote
                ));
                output.record(&node::info_record("connected", info));
            }
            Event::DialFailed { peer, error } => not_reached(output, peer.as_ref(), error),
            Event::Disconnected {
                peer,
                connection,
                end,
                ..
            } => {
                output.line(format!("disconnected {connection} {peer}: {}", clean(end)));
                let record = Record::new("disconnected")
                    .text("connection", connection)
                    .text("peer", peer)
                    .text("why", end)
                    .text("blame", end.blame());
                output.record(&record);
            }
            Event::IncomingFailed {
                remote,
                peer,
                error,
                ..
            } => {
                let (step, cause) = (error.step(), Chain(&**error).to_string());
                output.line(format!("failed {remote}: step {step}: {}", clean(&cause)));
                let record = Record::new("incoming_failed")
                    .text("addr", remote)
                    .with("peer", peer.as_ref().map(ToString::to_string))
                    .text("step", step)
                    .text("cause", cause);
                output.record(&record);
            }
            Event::Lagged(count) => {
                output.line(format!("{count} events were lost: too many at once"));
                output.record(&Record::new("lagged").with("count", *count));
            }
            Event::ExternalAddr(addr) => {
                output.line(format!("others see us at {addr}"));
                output.record(&Record::new("external_addr").text("addr", addr));
            }
            Event::ExternalAddrGone(addr) => {
                output.line(format!("others no longer see us at {addr}"));
                output.record(&Record::new("external_addr_gone").text("addr", addr));
            }
            Event::ListenAddr(addr) => {
                self.listening(addr);
            }
            Event::ListenAddrGone(addr) => self.listening_gone(addr),
            Event::LimitHit {
                exceeded,
                peer,
                times,
                ..
            } => limit_hit(output, exceeded, peer.as_ref(), *times),
            Event::StreamFailed {
                peer, error, times, ..
            } => stream_failed(output, peer, error, *times),
            // Said when it was asked for, or of no interest here.
            Event::ProtocolsChanged | _ => {}
        }
    }
}

/// Whom we wanted to reach, and why we did not.
fn not_reached(output: Output, peer: Option<&PeerId>, error: &DialError) {
    let who = peer.map_or_else(|| "an address".to_owned(), ToString::to_string);
    let cause = Chain(error).to_string();
    output.line(format!("cannot reach {who}: {}", clean(&cause)));
    let record = Record::new("dial_failed")
        .with("peer", peer.map(ToString::to_string))
        .text("cause", cause);
    output.record(&record);
}

/// What a remote was not given.
fn limit_hit(output: Output, exceeded: &Exceeded, peer: Option<&PeerId>, times: u64) {
    output.line(format!("refused {times} times: {exceeded}"));
    let record = Record::new("limit_hit")
        .text("setting", exceeded.setting)
        .with("limit", exceeded.limit)
        .with("times", times)
        .with("peer", peer.map(ToString::to_string))
        .text("cause", exceeded);
    output.record(&record);
}

/// Streams that came and named no protocol.
fn stream_failed(output: Output, peer: &PeerId, error: &StreamError, times: u64) {
    output.line(format!(
        "{times} streams failed, the last of {peer}: {}",
        clean(error)
    ));
    let record = Record::new("stream_failed")
        .text("peer", peer)
        .with("times", times)
        .text("cause", error);
    output.record(&record);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_when_it_comes_and_when_it_goes_and_not_twice() {
        let peer = p2p::Keypair::ed25519_from_seed([1; 32]).to_peer_id();
        let mut teller = Teller::new(Output::new(false), peer);
        let addr: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
        assert!(teller.listening(&addr));
        assert!(!teller.listening(&addr), "the event that follows");
        teller.tell(&Event::ListenAddrGone(addr.clone()));
        assert!(teller.listening.is_empty());
        teller.tell(&Event::ListenAddr(addr.clone()));
        assert_eq!(teller.listening, [addr.with_peer(peer)].into());
    }
}
