//! Datagrams from anybody, over the simulated network: whoever gets them must live on, and owe
//! nothing in the end.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_bootstrap::List;
use p2p_core::multiaddr_parts::Part;
use p2p_core::{
    AddrExt, Datagram, Instant, Multiaddr, TcpOptions, Transport, TransportError, UdpSocket,
};
use p2p_dns::{Config, Dns, Resolver};
use p2p_keys::Keypair;
use p2p_mdns::{Discovery, wire};
use p2p_quic::Quic;
use p2p_sim::{Host, Sim};
use p2p_socks::Socks5;
use p2p_tcp::Tcp;
use p2p_websocket::WebSocket;

const SEC: Duration = Duration::from_secs(1);
const QUIC_PORT: u16 = 4001;
const DNS_PORT: u16 = 53;

fn pair(n: u8) -> Keypair {
    Keypair::ed25519_from_seed([n; 32])
}

async fn send(socket: &dyn UdpSocket, to: SocketAddr, contents: &[u8]) -> io::Result<()> {
    let datagram = Datagram::new(to, contents);
    poll_fn(|cx| socket.poll_send(cx, &datagram)).await
}

/// An address, as bytes and as text, for every transport: who does not support it refuses it.
pub fn address(bytes: &[u8]) {
    if let Ok(addr) = Multiaddr::try_from(bytes.to_vec()) {
        dial_everywhere(&addr);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(addr) = text.parse()
    {
        dial_everywhere(&addr);
    }
}

fn dial_everywhere(addr: &Multiaddr) {
    let peer = pair(1).to_peer_id();
    assert_eq!(addr.with_peer(peer).peer(), Some(peer));
    assert_eq!(addr.with_peer(peer).without_peer(), addr.without_peer());
    let sim = Sim::new(1);
    let host = sim.host("host");
    let Some(all) = transports(&host) else { return };
    for transport in &all {
        let (dial, rt) = (transport.dial(addr.clone(), None), host.rt());
        let dialed = sim.block_on(rt.timeout(SEC, dial));
        if !transport.supports(addr) {
            let refused = matches!(dialed, Ok(Err(TransportError::Unsupported { .. })));
            assert!(refused, "{transport:?} dials {addr}");
        }
    }
    drop(all);
    sim.run_until_idle();
    assert!(sim.census().is_empty(), "{}", sim.census());
}

fn transports(host: &Host) -> Option<Vec<Arc<dyn Transport>>> {
    let rt = || host.rt();
    let tcp = || Tcp::new(rt(), p2p_tcp::Config::default());
    let proxy = p2p_socks::Config::new(([192, 0, 2, 1], 9050).into());
    Some(vec![
        Arc::new(tcp()),
        Arc::new(WebSocket::new(tcp(), p2p_websocket::Config::default()).ok()?),
        Arc::new(Quic::new(rt(), &pair(1), p2p_quic::Config::default()).ok()?),
        Arc::new(Socks5::new(rt(), proxy)),
        Arc::new(Dns::new(rt(), Config::default(), vec![Arc::new(tcp())])),
    ])
}

/// A list of peers to begin with: all are named and placed, and none comes twice.
pub fn bootstrap_list(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(list) = text.parse::<List>() {
        let mut seen = std::collections::BTreeSet::new();
        for (peer, addrs) in list.peers() {
            assert!(seen.insert(peer), "twice");
            assert!(!addrs.is_empty());
        }
    }
}

/// What a name server answers. The first byte says what is asked; the rest is the header without
/// its number, and what comes behind the question, which is given back as it was asked.
pub fn dns_answer(bytes: &[u8]) {
    let (first, said) = bytes.split_first().unwrap_or((&0, &[]));
    let sim = Sim::new(1);
    let (near, far) = (sim.host("near"), sim.host("far"));
    let asked = Arc::new(AtomicUsize::new(0));
    serve_names(&far, said, &asked);
    let mut config = Config::default();
    config.servers = vec![far.socket(DNS_PORT)];
    let (max_addrs, max_questions) = (config.max_addrs, config.max_questions);
    let resolver = Resolver::new(near.rt(), config);
    let name = match first % 3 {
        0 => "/dnsaddr/a.test",
        1 => "/dns/a.test/tcp/1",
        _ => "/dns4/a.test/tcp/1/wss",
    };
    let Ok(addr) = name.parse() else { return };
    if let Ok(found) = sim.block_on(resolver.resolve(&addr)) {
        assert!((1..=max_addrs).contains(&found.len()));
        let is_name = |part| matches!(part, Part::Dnsaddr(_) | Part::Dns(_) | Part::Dns4(_));
        assert!(
            !found.iter().any(|addr| addr.iter().any(is_name)),
            "{found:?}"
        );
    }
    // A name without a family is two questions; each is asked twice, and once more over TCP.
    assert!(asked.load(Ordering::Relaxed) <= max_questions * 2 * 2 * 2);
    drop(resolver);
    nothing_on(&sim, "near");
}

/// Answers every question with `said`, over UDP and TCP.
fn serve_names(host: &Host, said: &[u8], asked: &Arc<AtomicUsize>) {
    let (header, records) = said.split_at(said.len().min(10));
    let (header, records) = (header.to_vec(), records.to_vec());
    let count = Arc::clone(asked);
    let answer = move |question: &[u8]| {
        count.fetch_add(1, Ordering::Relaxed);
        let (id, rest) = question.split_at(question.len().min(2));
        // What is behind the question is 11 bytes about us.
        let name = rest.get(10..rest.len().saturating_sub(11));
        [id, &header, name.unwrap_or_default(), &records].concat()
    };
    let (rt, at) = (host.rt(), host.socket(DNS_PORT));
    if let Ok(mut listener) = rt.net().tcp_listen(at, &TcpOptions::default()) {
        let answer = answer.clone();
        host.spawn("names over tcp", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut question = vec![0; 512];
                let Ok(len) = stream.read(&mut question).await else {
                    continue;
                };
                let answer = answer(question.get(2..len).unwrap_or_default());
                let len = u16::try_from(answer.len()).unwrap_or(u16::MAX);
                let _ = stream
                    .write_all(&[&len.to_be_bytes(), &*answer].concat())
                    .await;
                let _ = stream.close().await;
            }
        });
    }
    let Ok(socket) = rt.net().udp_bind(at) else {
        return;
    };
    host.spawn("names", async move {
        let mut question = vec![0; 512];
        while let Ok(received) = poll_fn(|cx| socket.poll_recv(cx, &mut question)).await {
            let answer = answer(question.get(..received.len).unwrap_or_default());
            let _ = send(&*socket, received.from, &answer).await;
        }
    });
}

/// A packet of multicast DNS.
pub fn mdns_packet(bytes: &[u8]) {
    let service = wire::service_name(None);
    if let Some(wire::Message::Answer(found)) = wire::decode(bytes, &service, "us") {
        assert!(!found.is_empty());
        for one in found {
            assert_eq!(one.addr.peer(), Some(one.peer));
        }
    }
}

/// The machine of one link: packets, time and our own addresses in any order. A step is a byte for
/// what happens, one for its length in units of four bytes, and so many bytes.
pub fn mdns(bytes: &[u8]) {
    let mut config = p2p_mdns::Config::default();
    (config.max_peers, config.max_addrs) = (4, 3);
    let max_ttl = config.max_ttl;
    let mut now = Instant::ZERO;
    let mut machine = Discovery::new(pair(1).to_peer_id(), config, [1; 32], now);
    let mut rest = bytes;
    while let [what, len, tail @ ..] = rest {
        let (said, later) = tail.split_at(tail.len().min(usize::from(*len) * 4));
        rest = later;
        match what % 4 {
            0 => {
                now += Duration::from_millis(u64::from(*len) * 100);
                machine.handle_timeout(now);
            }
            1 => machine.set_addrs(format!("/ip4/192.0.2.{len}/tcp/1").parse(), now),
            _ => machine.handle_packet(said, now),
        }
        while machine.poll_output().is_some() {}
        assert!(machine.peers().count() <= 4);
        assert!(
            machine
                .peers()
                .all(|(_, addrs)| (1..=3).contains(&addrs.len()))
        );
        assert!(machine.poll_timeout() <= now + max_ttl);
    }
    now += max_ttl;
    machine.handle_timeout(now);
    assert_eq!(machine.peers().count(), 0, "everybody is forgotten in time");
}

/// Each datagram behind its length in two bytes.
fn datagrams(bytes: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    let mut rest = bytes;
    while let [high, low, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (one, later) = tail.split_at(len);
        all.push(one);
        rest = later;
    }
    all
}

fn quic_addr(host: &Host) -> Multiaddr {
    Multiaddr::from(host.ip())
        .with(Part::Udp(QUIC_PORT))
        .with(Part::QuicV1)
}

/// A QUIC listener, datagrams from anybody, and then an honest dialer: it gets through.
pub fn quic_listener(bytes: &[u8]) {
    let sim = Sim::new(1);
    let (near, far, fuzzer) = (sim.host("near"), sim.host("far"), sim.host("fuzzer"));
    let quic = |host: &Host, n| Quic::new(host.rt(), &pair(n), p2p_quic::Config::default());
    let (Ok(dialer), Ok(server)) = (quic(&near, 1), quic(&far, 2)) else {
        return;
    };
    let addr = quic_addr(&far);
    sim.block_on(async {
        let Ok(mut listener) = server.listen(addr.clone()).await else {
            panic!("the port is free");
        };
        let Ok(socket) = fuzzer.rt().net().udp_bind(fuzzer.socket(QUIC_PORT)) else {
            panic!("the port is free");
        };
        for one in datagrams(bytes) {
            // Too large ones are refused.
            let _ = send(&*socket, far.socket(QUIC_PORT), one).await;
        }
        let (rt, far_rt) = (near.rt(), far.rt());
        rt.sleep(SEC).await;
        let dial = rt.timeout(10 * SEC, dialer.dial(addr, None));
        let serve = async {
            loop {
                let Ok(incoming) = listener.accept().await else {
                    continue;
                };
                // What came before the dialer, if anything did, is never finished.
                if let Ok(Ok(link)) = far_rt.timeout(SEC, incoming.link).await {
                    return link;
                }
            }
        };
        let (dialed, _link) = join(dial, far_rt.timeout(20 * SEC, serve)).await;
        assert!(
            matches!(dialed, Ok(Ok(_))),
            "an honest dialer is not served"
        );
    });
    drop((dialer, server));
    sim.run_until_idle();
    assert!(sim.census().is_empty(), "{}", sim.census());
}

/// A QUIC dialer, and answers of anybody to whatever it sends, one datagram after the other. Those
/// whose first byte is odd are long headers: the ids that the dialer has to see are put in behind
/// the version.
pub fn quic_dialer(bytes: &[u8]) {
    let sim = Sim::new(1);
    let (near, far) = (sim.host("near"), sim.host("far"));
    let dialer = Quic::new(near.rt(), &pair(1), p2p_quic::Config::default());
    let (Ok(dialer), Ok(socket)) = (dialer, far.rt().net().udp_bind(far.socket(QUIC_PORT))) else {
        return;
    };
    let answers: Vec<Vec<u8>> = datagrams(bytes).into_iter().map(<[u8]>::to_vec).collect();
    far.spawn("answers", async move {
        let mut buffer = vec![0; 2048];
        for answer in answers {
            let Ok(received) = poll_fn(|cx| socket.poll_recv(cx, &mut buffer)).await else {
                return;
            };
            let asked = buffer.get(..received.len).unwrap_or_default();
            let answer = with_ids(asked, &answer).unwrap_or(answer);
            let _ = send(&*socket, received.from, &answer).await;
        }
    });
    let dial = dialer.dial(quic_addr(&far), None);
    let dialed = sim.block_on(near.rt().timeout(60 * SEC, dial));
    assert!(!matches!(dialed, Ok(Ok(_))), "nobody has proven anything");
    drop((dialed, dialer));
    sim.run_until_idle();
    nothing_on(&sim, "near");
}

fn nothing_on(sim: &Sim, host: &str) {
    let census = sim.census();
    let own = census.host(host);
    assert!(own.is_some_and(p2p_sim::HostCensus::is_empty), "{census}");
}

/// `answer` with the ids of the long header in `asked`, the other way round.
fn with_ids(asked: &[u8], answer: &[u8]) -> Option<Vec<u8>> {
    let (answer_head, answer_tail) = answer.split_at_checked(5)?;
    if answer_head.first()? % 2 == 0 {
        return None;
    }
    let (len, rest) = asked.get(5..)?.split_first()?;
    let (to, rest) = rest.split_at_checked((*len).into())?;
    let (len, rest) = rest.split_first()?;
    let (from, _) = rest.split_at_checked((*len).into())?;
    let len = |id: &[u8]| u8::try_from(id.len()).map(|len| [len]);
    let (from_len, to_len) = (len(from).ok()?, len(to).ok()?);
    Some([answer_head, &from_len, from, &to_len, to, answer_tail].concat())
}
