//! Names against a simulated name server: what they come to, what is remembered, and how each
//! failure is called.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic"
)]

use std::error::Error as _;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{
    AddrExt, Datagram, Denied, Dialed, Gate, Listener, Multiaddr, PeerId, Rt, TcpOptions,
    Transport, TransportError, UdpSocket,
};
use p2p_dns::{Config, Dns, ResolveError, Resolver};
use p2p_sim::{Host, Sim};
use p2p_tcp::Tcp;
use simple_dns::rdata::{A, AAAA, RData, TXT};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

const ALICE: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
const BOB: &str = "12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv";

/// A zone: name, kind, text form of the value.
type Zone = &'static [(&'static str, TYPE, &'static str)];

const ZONE: Zone = &[
    ("both.test", TYPE::A, "127.0.0.1"),
    ("both.test", TYPE::AAAA, "::1"),
    ("four.test", TYPE::A, "127.0.0.1"),
    ("two.test", TYPE::A, "127.0.0.2"),
    ("two.test", TYPE::A, "127.0.0.1"),
    (
        "_dnsaddr.boot.test",
        TYPE::TXT,
        "dnsaddr=/dns4/four.test/tcp/1/p2p/ALICE",
    ),
    (
        "_dnsaddr.boot.test",
        TYPE::TXT,
        "dnsaddr=/ip4/9.9.9.9/tcp/2/p2p/BOB",
    ),
    ("_dnsaddr.boot.test", TYPE::TXT, "something else"),
    ("_dnsaddr.boot.test", TYPE::TXT, "dnsaddr=/no/such/address"),
    (
        "_dnsaddr.deep.test",
        TYPE::TXT,
        "dnsaddr=/dnsaddr/boot.test/p2p/ALICE",
    ),
    (
        "_dnsaddr.loop.test",
        TYPE::TXT,
        "dnsaddr=/dnsaddr/pool.test",
    ),
    (
        "_dnsaddr.pool.test",
        TYPE::TXT,
        "dnsaddr=/dnsaddr/loop.test",
    ),
    ("_dnsaddr.empty.test", TYPE::TXT, "v=spf1"),
    (
        "_dnsaddr.mixed.test",
        TYPE::TXT,
        "dnsaddr=/ip4/192.0.2.1/tcp/1/ws",
    ),
    (
        "_dnsaddr.mixed.test",
        TYPE::TXT,
        "dnsaddr=/ip4/192.0.2.2/tcp/1",
    ),
    (
        "_dnsaddr.mixed.test",
        TYPE::TXT,
        "dnsaddr=/ip4/192.0.2.3/udp/1/quic-v1",
    ),
    (
        "_dnsaddr.mixed.test",
        TYPE::TXT,
        "dnsaddr=/ip4/192.0.2.4/tcp/1",
    ),
    ("cut.test", TYPE::A, "127.0.0.1"),
];

/// The texts of a name with a hundred addresses.
fn many() -> impl Iterator<Item = String> {
    (1..=100).map(|n| format!("dnsaddr=/ip4/192.0.2.{n}/tcp/1"))
}

/// Us and a server that answers from the zone, and counts the questions.
struct World {
    sim: Sim,
    us: Host,
    at: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl World {
    /// `fits` is the longest answer that the server sends over UDP, in bytes.
    fn new(fits: usize) -> Self {
        let sim = Sim::new(1);
        let (us, server) = (sim.host("us"), sim.host("server"));
        let (rt, at) = (server.rt(), server.socket(53));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let udp = rt.net().udp_bind(at).unwrap();
        server.spawn("names", async move {
            let mut buffer = [0; 2000];
            loop {
                let received = poll_fn(|cx| udp.poll_recv(cx, &mut buffer)).await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let question = &buffer[..received.len];
                let mut reply = answer(question, false);
                if reply.len() > fits {
                    reply = answer(question, true);
                }
                // Somebody else's words first: they must be ignored.
                let mut forged = reply.clone();
                forged[0] ^= 0xff;
                for said in [&forged[..], b"nonsense", &reply] {
                    send(&*udp, received.from, said).await;
                }
            }
        });
        let mut tcp = rt.net().tcp_listen(at, &TcpOptions::default()).unwrap();
        server.spawn("names over tcp", async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut len = [0; 2];
                stream.read_exact(&mut len).await.unwrap();
                let mut question = vec![0; u16::from_be_bytes(len).into()];
                stream.read_exact(&mut question).await.unwrap();
                let reply = answer(&question, false);
                let len = u16::try_from(reply.len()).unwrap().to_be_bytes();
                let reply = [&len[..], &reply].concat();
                stream.write_all(&reply).await.unwrap();
            }
        });
        Self { sim, us, at, asked }
    }

    fn rt(&self) -> Rt {
        self.us.rt()
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.servers = vec![self.at];
        config
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(self.rt(), self.config())
    }

    fn resolve(&self, resolver: &Resolver, text: &str) -> Result<Vec<String>, ResolveError> {
        let resolved = self.sim.block_on(resolver.resolve(&addr(text)))?;
        let short = |addr: Multiaddr| addr.to_string().replace(ALICE, "ALICE").replace(BOB, "BOB");
        Ok(resolved.into_iter().map(short).collect())
    }
}

async fn send(socket: &dyn UdpSocket, to: SocketAddr, contents: &[u8]) {
    let datagram = Datagram::new(to, contents);
    poll_fn(|cx| socket.poll_send(cx, &datagram)).await.unwrap();
}

fn answer(question: &[u8], truncated: bool) -> Vec<u8> {
    let question = Packet::parse(question).unwrap();
    let name = question.questions[0].qname.to_string().to_ascii_lowercase();
    let QTYPE::TYPE(kind) = question.questions[0].qtype else {
        panic!("a question for one kind");
    };
    let mut reply = Packet::new_reply(question.id());
    reply.questions = question.questions.clone();
    let qname = &question.questions[0].qname;
    if name == "refused.test" {
        *reply.rcode_mut() = RCODE::Refused;
    } else if name == "_dnsaddr.many.test" && !truncated {
        for text in many() {
            let rdata = RData::TXT(TXT::try_from(&*text.leak()).unwrap());
            let record = ResourceRecord::new(qname.clone(), CLASS::IN, 60, rdata);
            reply.answers.push(record);
        }
    } else if !name.starts_with("_dnsaddr.many") && !ZONE.iter().any(|(known, ..)| *known == name) {
        *reply.rcode_mut() = RCODE::NameError;
    } else if truncated || name == "cut.test" {
        reply.set_flags(PacketFlag::TRUNCATION);
    } else {
        for (_, _, value) in ZONE
            .iter()
            .filter(|(known, of, _)| *known == name && *of == kind)
        {
            let rdata = match kind {
                TYPE::TXT => {
                    let text = value.replace("ALICE", ALICE).replace("BOB", BOB);
                    RData::TXT(TXT::try_from(&*text.leak()).unwrap())
                }
                _ => match value.parse().unwrap() {
                    IpAddr::V4(ip) => RData::A(A { address: ip.into() }),
                    IpAddr::V6(ip) => RData::AAAA(AAAA { address: ip.into() }),
                },
            };
            reply
                .answers
                .push(ResourceRecord::new(qname.clone(), CLASS::IN, 60, rdata));
        }
    }
    reply.build_bytes_vec().unwrap()
}

fn addr(text: &str) -> Multiaddr {
    text.replace("ALICE", ALICE)
        .replace("BOB", BOB)
        .parse()
        .unwrap()
}

#[test]
fn names_come_to_their_addresses() {
    let world = World::new(1000);
    let resolver = world.resolver();
    for (name, addrs) in [
        ("/dns4/both.test/tcp/1", &["/ip4/127.0.0.1/tcp/1"][..]),
        ("/dns6/both.test/tcp/1", &["/ip6/::1/tcp/1"]),
        (
            "/dns/both.test/tcp/1",
            &["/ip6/::1/tcp/1", "/ip4/127.0.0.1/tcp/1"],
        ),
        (
            "/dns/four.test/udp/1/quic-v1",
            &["/ip4/127.0.0.1/udp/1/quic-v1"],
        ),
        (
            "/dns4/FOUR.test/tcp/1/p2p/ALICE",
            &["/ip4/127.0.0.1/tcp/1/p2p/ALICE"],
        ),
        ("/dns4/four.test./tcp/1", &["/ip4/127.0.0.1/tcp/1"]),
        (
            "/dns4/four.test/tcp/1/ws",
            &["/ip4/127.0.0.1/tcp/1/sni/four.test/ws"],
        ),
        (
            "/dns4/four.test./tcp/1/wss",
            &["/ip4/127.0.0.1/tcp/1/tls/sni/four.test/ws"],
        ),
        (
            "/dns4/four.test/tcp/1/wss",
            &["/ip4/127.0.0.1/tcp/1/tls/sni/four.test/ws"],
        ),
        (
            "/dns4/four.test/tcp/1/tls/ws",
            &["/ip4/127.0.0.1/tcp/1/tls/sni/four.test/ws"],
        ),
        (
            "/dns4/four.test/tcp/1/tls/sni/a.b/ws",
            &["/ip4/127.0.0.1/tcp/1/tls/sni/a.b/ws"],
        ),
        (
            "/dnsaddr/boot.test",
            &[
                "/ip4/9.9.9.9/tcp/2/p2p/BOB",
                "/ip4/127.0.0.1/tcp/1/p2p/ALICE",
            ],
        ),
        (
            "/dnsaddr/boot.test/p2p/BOB",
            &["/ip4/9.9.9.9/tcp/2/p2p/BOB"],
        ),
        (
            "/dnsaddr/deep.test/p2p/ALICE",
            &["/ip4/127.0.0.1/tcp/1/p2p/ALICE"],
        ),
        ("/ip4/1.2.3.4/tcp/1", &["/ip4/1.2.3.4/tcp/1"]),
    ] {
        assert_eq!(world.resolve(&resolver, name).unwrap(), addrs, "{name}");
    }
}

#[test]
fn each_failure_has_its_name() {
    let world = World::new(1000);
    let resolver = world.resolver();
    let failed = |name: &str| world.resolve(&resolver, name).unwrap_err();
    let no_name = failed("/dns4/nobody.test/tcp/1");
    assert!(
        matches!(no_name, ResolveError::NoSuchName { .. }),
        "{no_name}"
    );
    let nothing = failed("/dns6/four.test/tcp/1");
    assert_eq!(nothing.to_string(), "four.test has no IPv6 address");
    let refused = failed("/dns4/refused.test/tcp/1");
    assert_eq!(
        refused.to_string(),
        format!(
            "name server {} has no answer for refused.test: it refuses to answer (REFUSED)",
            world.at
        )
    );
    let cut = failed("/dns4/cut.test/tcp/1");
    assert!(matches!(cut, ResolveError::Server { .. }), "{cut}");
    let looped = failed("/dnsaddr/loop.test");
    assert!(
        matches!(&looped, ResolveError::Circle { name } if name == "loop.test"),
        "{looped}"
    );
    let mut shallow = world.config();
    shallow.max_depth = 1;
    let shallow = Resolver::new(world.rt(), shallow);
    let deep = world.resolve(&shallow, "/dnsaddr/deep.test").unwrap_err();
    assert!(matches!(deep, ResolveError::TooDeep { .. }), "{deep}");
    let no_match = failed("/dnsaddr/deep.test/p2p/BOB");
    assert!(
        matches!(no_match, ResolveError::NoMatch { records: 1, .. }),
        "{no_match}"
    );
    let empty = failed("/dnsaddr/empty.test");
    assert!(matches!(empty, ResolveError::Nothing { .. }), "{empty}");
    let long = failed(&format!("/dns4/{}/tcp/1", "a".repeat(64)));
    assert!(matches!(long, ResolveError::BadName { .. }), "{long}");
}

#[test]
fn a_silent_server_is_given_up_and_the_next_one_asked() {
    let world = World::new(1000);
    let silent = world.sim.host("silent");
    let _deaf = silent.rt().net().udp_bind(silent.socket(53)).unwrap();
    let mut config = world.config();
    config.servers = vec![silent.socket(53)];
    let resolver = Resolver::new(world.rt(), config.clone());
    let error = world
        .resolve(&resolver, "/dns4/four.test/tcp/1")
        .unwrap_err();
    assert!(
        matches!(error, ResolveError::Timeout { servers: 1, .. }),
        "{error}"
    );

    config.servers.push(world.at);
    let start = world.sim.now();
    let resolver = Resolver::new(world.rt(), config);
    assert!(world.resolve(&resolver, "/dns4/four.test/tcp/1").is_ok());
    // The patience with the first, and a round trip.
    assert_eq!(world.sim.now() - start, Duration::from_millis(2020));
}

#[test]
fn an_address_takes_no_longer_than_the_patience_however_many_servers_are_silent() {
    let world = World::new(1000);
    let silent = world.sim.host("silent");
    let ports = [53, 54, 55].map(|port| silent.socket(port));
    let _deaf = ports.map(|at| silent.rt().net().udp_bind(at).unwrap());
    let mut config = world.config();
    config.servers = ports.to_vec();
    let resolver = Resolver::new(world.rt(), config);
    for road in ["/dns4/four.test/tcp/1", "/dnsaddr/four.test"] {
        let start = world.sim.now();
        let error = world.resolve(&resolver, road).unwrap_err();
        assert_eq!(
            error.to_string(),
            "looking up four.test took longer than 5s (setting: patience)"
        );
        assert_eq!(world.sim.now() - start, Duration::from_secs(5));
    }
}

#[test]
fn an_answer_that_does_not_fit_comes_over_tcp() {
    let world = World::new(100);
    let addrs = world
        .resolve(&world.resolver(), "/dnsaddr/boot.test/p2p/BOB")
        .unwrap();
    assert_eq!(addrs, ["/ip4/9.9.9.9/tcp/2/p2p/BOB"]);
}

#[test]
fn answers_are_remembered_and_so_is_that_there_is_none() {
    let world = World::new(1000);
    let resolver = world.resolver();
    for name in ["/dns4/four.test/tcp/1", "/dns4/nobody.test/tcp/1"] {
        let before = world.asked.load(Ordering::SeqCst);
        for _ in 0..3 {
            let _ = world.resolve(&resolver, name);
        }
        assert_eq!(world.asked.load(Ordering::SeqCst) - before, 1, "{name}");
    }
}

#[test]
fn the_address_that_answers_wins() {
    let world = World::new(1000);
    world.sim.block_on(async {
        let rt = world.rt();
        let tcp = Tcp::new(rt.clone(), p2p_tcp::Config::default());
        let mut listener = tcp.listen(addr("/ip4/127.0.0.1/tcp/0")).await.unwrap();
        let port = listener
            .addrs()
            .remove(0)
            .to_string()
            .replace("/ip4/127.0.0.1", "");
        let dns = Dns::new(rt, world.config(), vec![Arc::new(tcp)]);
        for name in ["four.test", "two.test"] {
            let to = addr(&format!("/dns4/{name}{port}"));
            assert!(dns.supports(&to));
            let (dialed, accepted) = join(dns.dial(to, None), listener.accept()).await;
            assert_eq!(dialed.unwrap().local, Some(accepted.unwrap().remote));
        }
    });
}

/// Connects to nothing, and notes what is dialed.
#[derive(Clone, Debug)]
struct Deaf {
    rt: Rt,
    /// How long a dial takes to fail.
    takes: Duration,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    dialed: Vec<String>,
    now: usize,
    most: usize,
}

impl Deaf {
    fn new(rt: Rt, takes: Duration) -> Self {
        let seen = Arc::default();
        Self { rt, takes, seen }
    }
}

impl Transport for Deaf {
    fn supports(&self, addr: &Multiaddr) -> bool {
        addr.ip().is_some()
    }

    fn dial(
        &self,
        addr: Multiaddr,
        _: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let deaf = self.clone();
        Box::pin(async move {
            {
                let mut seen = deaf.seen.lock().unwrap();
                seen.dialed.push(addr.to_string());
                seen.now += 1;
                seen.most = seen.most.max(seen.now);
            }
            deaf.rt.sleep(deaf.takes).await;
            deaf.seen.lock().unwrap().now -= 1;
            let source = std::io::ErrorKind::TimedOut.into();
            Err(TransportError::Connect { addr, source })
        })
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        Box::pin(async move { Err(TransportError::Unsupported { addr }) })
    }
}

/// Dials `to` where nobody answers for so long: what was seen of it, and the error.
fn dial_in_vain(world: &World, to: &str, takes: Duration) -> (Seen, String) {
    let deaf = Deaf::new(world.rt(), takes);
    let dns = Dns::new(world.rt(), world.config(), vec![Arc::new(deaf.clone())]);
    let error = world.sim.block_on(dns.dial(addr(to), None)).err().unwrap();
    let seen = std::mem::take(&mut *deaf.seen.lock().unwrap());
    (seen, error.source().unwrap().to_string())
}

#[test]
fn quic_is_dialed_before_tcp_and_that_before_websocket() {
    let world = World::new(1000);
    let (seen, _) = dial_in_vain(&world, "/dnsaddr/mixed.test", Duration::from_secs(10));
    let order = [
        "/ip4/192.0.2.3/udp/1/quic-v1",
        "/ip4/192.0.2.2/tcp/1",
        "/ip4/192.0.2.4/tcp/1",
        "/ip4/192.0.2.1/tcp/1/ws",
    ];
    assert_eq!(seen.dialed, order);
}

#[test]
fn a_name_with_a_hundred_addresses_costs_sixteen_dials_eight_at_a_time() {
    let world = World::new(1000);
    let (seen, error) = dial_in_vain(&world, "/dnsaddr/many.test", Duration::from_secs(10));
    assert_eq!((seen.dialed.len(), seen.most), (16, 8));
    let left_out = "; 84 more were left out (setting: max_dials)";
    assert!(error.ends_with(left_out), "{error}");
    // Whatever fails at once makes room at once: the stagger is for those that wait.
    let (seen, _) = dial_in_vain(&world, "/dnsaddr/many.test", Duration::ZERO);
    assert_eq!((seen.dialed.len(), seen.most), (16, 1));
}

#[derive(Debug)]
struct NoLoopback;

impl Gate for NoLoopback {
    fn dial(&self, _: Option<&PeerId>, addr: &Multiaddr) -> Result<(), Denied> {
        match addr.to_string().starts_with("/ip4/127.") {
            true => Err(Denied {
                reason: "loopback".into(),
            }),
            false => Ok(()),
        }
    }
}

#[test]
fn the_gate_sees_what_a_name_comes_to() {
    let world = World::new(1000);
    let rt = world.rt();
    let tcp = Tcp::new(rt.clone(), p2p_tcp::Config::default());
    let dns = Dns::new(rt, world.config(), vec![Arc::new(tcp)]).gate(Arc::new(NoLoopback));
    let error = world
        .sim
        .block_on(dns.dial(addr("/dns4/four.test/tcp/1"), None))
        .err()
        .unwrap();
    let source = error.source().unwrap().to_string();
    assert!(source.contains("denied by policy: loopback"), "{source}");
}

#[test]
fn a_failed_dial_names_the_name_and_every_address() {
    let world = World::new(1000);
    let rt = world.rt();
    let tcp = Tcp::new(rt.clone(), p2p_tcp::Config::default());
    let dns = Dns::new(rt, world.config(), vec![Arc::new(tcp)]);
    let unknown = addr("/dns4/nobody.test/tcp/1");
    let error = world
        .sim
        .block_on(dns.dial(unknown.clone(), None))
        .err()
        .unwrap();
    assert!(matches!(&error, TransportError::Connect { addr, .. } if *addr == unknown));
    assert_eq!(
        error.source().unwrap().to_string(),
        "nobody.test does not exist"
    );

    let error = world
        .sim
        .block_on(dns.dial(addr("/dns4/two.test/tcp/9"), None))
        .err()
        .unwrap();
    let source = error.source().unwrap().to_string();
    assert!(
        source.contains("/ip4/127.0.0.1/tcp") && source.contains("/ip4/127.0.0.2/tcp"),
        "{source}"
    );
}
