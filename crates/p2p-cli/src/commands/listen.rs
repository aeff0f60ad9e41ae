//! `p2p listen`: a node that answers ping, identify and echo.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::{Either, select};
use futures::io::{AsyncReadExt, AsyncWriteExt, BufReader, copy_buf};
use futures::stream::StreamExt;
use p2p::core::TcpOptions;
use p2p::{Chain, Event, Host, PeerId, Stream};

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
    let host = node::run(args.roads.add_to(output, builder)?).await?;
    roads::show_neighbours(output, &host);
    for protocol in ECHO {
        serve_echo(&host, protocol)?;
    }
    if args.perf {
        let served = p2p::Perf::serve(host.swarm(), p2p::perf::Config::default());
        served.map_err(|error| Failure::new("cannot answer perf", "start", Chain(&error)))?;
    }
    let mut events = host.events();
    for addr in &args.addrs {
        let listening = host.swarm().listen(addr.clone()).await;
        let addrs = listening.map_err(|error| {
            Failure::new(format!("cannot listen on {addr}"), "listen", Chain(&error))
                .tried(addr.to_string())
                .help("choose another port or 0, and an address of this machine")
        })?;
        for addr in addrs {
            output.line(format!(
                "listening on {}",
                output.styled(Style::Bold, &addr)
            ));
            output.record(&Record::new("listening").text("addr", addr));
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
            Either::Right((Some(event), _)) => tell(output, &event),
            Either::Right((None, _)) => break "end of the swarm",
        }
    };
    host.close().await;
    while let Some(event) = events.next().await {
        tell(output, &event);
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

/// Prints what happened.
fn tell(output: Output, event: &Event) {
    match event {
        Event::Connected { info } => {
            let how = node::negotiated(info);
            output.line(format!(
                "connected {} {} at {} over {how}",
                info.id, info.peer, info.remote
            ));
            output.record(&node::info_record("connected", info));
        }
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
            let record = by(Record::new("incoming_failed").text("addr", remote), *peer);
            output.record(&record.text("step", step).text("cause", cause));
        }
        Event::Lagged(count) => {
            output.line(format!("{count} events were lost: too many at once"));
            output.record(&Record::new("lagged").with("count", *count));
        }
        Event::LimitHit {
            exceeded,
            peer,
            times,
            ..
        } => {
            output.line(format!("refused {times} times: {exceeded}"));
            let record = by(Record::new("limit_hit"), *peer).text("setting", exceeded.setting);
            let record = record.with("limit", exceeded.limit).with("times", *times);
            output.record(&record.text("cause", exceeded));
        }
        Event::ExternalAddr(addr) => {
            output.line(format!("others see us at {addr}"));
            output.record(&Record::new("external_addr").text("addr", addr));
        }
        Event::ExternalAddrGone(addr) => {
            output.line(format!("others no longer see us at {addr}"));
            output.record(&Record::new("external_addr_gone").text("addr", addr));
        }
        Event::StreamFailed {
            peer, error, times, ..
        } => {
            output.line(format!(
                "{times} streams failed, the last of {peer}: {}",
                clean(error)
            ));
            let record = Record::new("stream_failed")
                .text("peer", peer)
                .with("times", *times)
                .text("cause", error);
            output.record(&record);
        }
        // Said when they were asked for, or of no interest here.
        Event::DialFailed { .. }
        | Event::ListenAddr(_)
        | Event::ListenAddrGone(_)
        | Event::ProtocolsChanged
        | _ => {}
    }
}

/// Names the peer, if it is known.
fn by(record: Record, peer: Option<PeerId>) -> Record {
    match peer {
        Some(peer) => record.text("peer", peer),
        None => record,
    }
}
