//! Attacks on complete hosts, in the simulator. Those on single protocols are with their crates;
//! docs/ATTACKS.md has the whole list.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod saboteur;

use std::io::ErrorKind;
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use futures::future::{join, join_all, maybe_done, pending, poll_fn, select};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, io};
use p2p::{
    Blame, Config, ConnectionEnd, ErrorCode, Event, Host, HostBuilder, Keypair, Multiaddr,
    Multiplexer, SecureChannel, Stream, StreamReset,
};
use p2p_sim::{Link, Sim};
use p2p_tcp::Tcp;
use saboteur::{Sabotage, Saboteur};

const ECHO: &str = "/echo/1.0.0";
const LATENCY: Duration = Duration::from_millis(10);
/// More than a dialer writes until its first answer is there.
const CONVERSATION: u64 = 700;

fn builder(machine: &p2p_sim::Host, n: u16) -> HostBuilder {
    let [high, low] = n.to_be_bytes();
    let mut seed = [high; 32];
    seed[0] = low;
    Host::builder()
        .runtime(machine.rt())
        .identity(Keypair::ed25519_from_seed(seed))
        .secure_channels(&[SecureChannel::Noise])
}

async fn echo(stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    io::copy(reader, &mut writer).await?;
    writer.close().await
}

/// A host that answers [`ECHO`], and its address.
async fn server(machine: &p2p_sim::Host) -> (Host, Multiaddr) {
    serve(machine, builder(machine, 0)).await
}

async fn serve(machine: &p2p_sim::Host, builder: HostBuilder) -> (Host, Multiaddr) {
    let host = builder.build().await.unwrap();
    host.handle(ECHO, echo).unwrap();
    let addr = format!("/ip4/{}/tcp/4001", machine.ip());
    let addr = host.listen(addr.as_str()).await.unwrap();
    (host, addr)
}

/// A host whose links are sabotaged.
async fn saboteur(machine: &p2p_sim::Host, n: u16, sabotage: Sabotage) -> Host {
    sabotaged(machine, builder(machine, n), sabotage).await
}

async fn sabotaged(machine: &p2p_sim::Host, builder: HostBuilder, sabotage: Sabotage) -> Host {
    let tcp = Tcp::new(machine.rt(), p2p_tcp::Config::default());
    builder
        .tcp(None)
        .with_transport(Saboteur { tcp, sabotage })
        .build()
        .await
        .unwrap()
}

/// Says hello and reads it again; how long that took.
async fn hello(host: &Host, to: &Multiaddr) -> Result<Duration, Box<dyn std::error::Error>> {
    let rt = host.swarm().rt();
    let start = rt.now();
    let mut stream = host.open(to, ECHO).await?;
    stream.write_all(b"hello").await?;
    stream.close().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer != b"hello" {
        return Err("another answer".into());
    }
    Ok(rt.now() - start)
}

/// Nothing is held for anybody.
fn assert_free(host: &Host) {
    let census = host.swarm().census();
    assert_eq!(
        (census.connections, census.memory, census.sharing_peers),
        (0, 0, 0),
        "{census:?}"
    );
}

#[test]
fn stalled_handshakes_at_every_stage_delay_nobody_and_are_gone_in_time() {
    // Each run stalls at other bytes.
    let seed = p2p_sim::seeds(1).next().unwrap();
    let sim = Sim::new(seed);
    sim.default_link(Link::new(LATENCY));
    let (target, crowd) = (sim.host("target"), sim.host("crowd"));
    // Limits count by prefix: who stalls takes the places of its own.
    let honest = sim.host_at("honest", [IpAddr::from([192, 0, 2, 1])]);
    sim.block_on(async {
        let (server, addr) = server(&target).await;
        let stages = (seed % 7..CONVERSATION).step_by(7);
        let stallers = stages
            .zip(1..)
            .map(|(at, n)| saboteur(&crowd, n, Sabotage::Stalls(at)));
        let stallers = join_all(stallers).await;
        let stall = stallers.iter().map(|host| hello(host, &addr));
        let stall = join_all(stall).map(drop);

        let rt = honest.rt();
        let honest = async {
            rt.sleep(Duration::from_secs(1)).await;
            let host = builder(&honest, 9999).build().await.unwrap();
            hello(&host, &addr).await.unwrap()
        };
        let (_, took) = join(rt.timeout(Duration::from_secs(5), stall), honest).await;
        assert_eq!(took, LATENCY * 6, "as if nobody else was there");

        // What got through the handshake falls silent and is noticed; the rest has a deadline.
        rt.sleep(Duration::from_secs(11)).await;
        let waiting = sim
            .census()
            .host("target")
            .unwrap()
            .tasks
            .get("incoming")
            .copied();
        let connected = server.swarm().census().connections;
        assert!(
            waiting.unwrap_or(0) <= connected,
            "{waiting:?} of {connected}"
        );
        drop(stallers);
        rt.sleep(Duration::from_secs(120)).await;
        assert_free(&server);
    });
}

#[test]
fn whatever_is_flipped_or_cut_off_on_the_way_the_listener_lives_and_owes_nothing() {
    spoil(SecureChannel::Noise, CONVERSATION, 3);
}

#[cfg(feature = "tls")]
#[test]
fn whatever_is_flipped_or_cut_off_of_tls_the_listener_lives_and_owes_nothing() {
    // A hello and a certificate are longer.
    spoil(SecureChannel::Tls, 2 * CONVERSATION, 7);
}

/// Spoils every `step`-th byte of the first `most` that a dialer sends: each run others, and other
/// bits of them.
fn spoil(channel: SecureChannel, most: u64, step: u8) {
    let seed = p2p_sim::seeds(1).next().unwrap();
    let sim = Sim::new(seed);
    sim.default_link(Link::new(LATENCY));
    let (target, crowd, honest) = (sim.host("target"), sim.host("crowd"), sim.host("honest"));
    let builder = |machine, n| builder(machine, n).secure_channels(&[channel]);
    sim.block_on(async {
        let (server, addr) = serve(&target, builder(&target, 0)).await;
        let mut spoiled = 0;
        let first = seed % u64::from(step);
        for at in (first..most).step_by(usize::from(step)) {
            let [bit] = crowd.rt().random();
            let bits = 1 << (bit % 8);
            for sabotage in [Sabotage::Flips { at, bits }, Sabotage::HangsUp(at)] {
                let builder = builder(&crowd, u16::try_from(at).unwrap());
                let host = sabotaged(&crowd, builder, sabotage).await;
                let rt = crowd.rt();
                let greeted = rt.timeout(Duration::from_secs(30), hello(&host, &addr));
                spoiled += u32::from(!matches!(greeted.await, Ok(Ok(_))));
                drop(host);
            }
        }
        assert!(spoiled > 200, "{spoiled}");
        let host = builder(&honest, 9999).build().await.unwrap();
        assert_eq!(hello(&host, &addr).await.unwrap(), LATENCY * 6);
        drop(host);
        honest.rt().sleep(Duration::from_secs(120)).await;
        assert_free(&server);
    });
}

#[test]
fn a_reset_is_an_error_on_every_stack_also_before_the_protocol_is_agreed() {
    for channel in [SecureChannel::Noise, SecureChannel::Plaintext]
        .into_iter()
        .chain(SecureChannel::preferred())
    {
        for muxer in [Multiplexer::Yamux, Multiplexer::Mplex] {
            let sim = Sim::new(3);
            let (one, other) = (sim.host("one"), sim.host("other"));
            let build = |machine, n| {
                builder(machine, n)
                    .secure_channels(&[channel])
                    .multiplexers(&[muxer])
            };
            sim.block_on(async {
                let (server, addr) = serve(&one, build(&one, 1)).await;
                server
                    .handle("/ten/1.0.0", |mut stream: Stream| async move {
                        stream.write_all(&[7; 10]).await?;
                        stream.flush().await?;
                        stream.connection().rt().sleep(LATENCY).await;
                        stream.reset(ErrorCode(5));
                        io::Result::Ok(())
                    })
                    .unwrap();
                let host = build(&other, 2).build().await.unwrap();
                let mut stream = host.open(&addr, "/ten/1.0.0").await.unwrap();
                let mut read = Vec::new();
                let error = stream.read_to_end(&mut read).await.unwrap_err();
                assert_eq!(
                    error.kind(),
                    ErrorKind::ConnectionReset,
                    "{channel:?} {muxer:?}"
                );
                let reset = StreamReset::of(&error).unwrap();
                assert_eq!(reset.by, Blame::Remote);

                // Dropped before the other end has said a word.
                server.swarm().unhandle(&"/ten/1.0.0".try_into().unwrap());
                server
                    .handle("/ten/1.0.0", |stream: Stream| async move { drop(stream) })
                    .unwrap();
                let mut stream = host.open(&addr, "/ten/1.0.0").await.unwrap();
                let ended = stream.read_to_end(&mut read).await;
                assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
            });
        }
    }
}

#[test]
fn a_remote_that_breaks_its_multiplexer_is_hung_up_on_and_blamed() {
    for muxer in [Multiplexer::Yamux, Multiplexer::Mplex] {
        let sim = Sim::new(4);
        let (one, other) = (sim.host("one"), sim.host("other"));
        sim.block_on(async {
            // In the clear, so that a flipped bit reaches the multiplexer.
            let build = |machine, n| {
                builder(machine, n)
                    .secure_channels(&[SecureChannel::Plaintext])
                    .multiplexers(&[muxer])
            };
            let (server, addr) = serve(&one, build(&one, 1)).await;
            let mut events = server.events();
            let mut blamed = 0;
            for at in 60..400 {
                let tcp = Tcp::new(other.rt(), p2p_tcp::Config::default());
                let sabotage = Sabotage::Flips { at, bits: 0x17 };
                let bad = build(&other, 2).tcp(None);
                let bad = bad.with_transport(Saboteur { tcp, sabotage });
                let bad = bad.build().await.unwrap();
                let rt = other.rt();
                let _ = rt.timeout(Duration::from_secs(1), hello(&bad, &addr)).await;
                while let Some(Some(event)) = events.next().now_or_never() {
                    let Event::Disconnected { end, .. } = event else {
                        continue;
                    };
                    if let ConnectionEnd::Protocol { .. } = end {
                        assert_eq!(end.blame(), Blame::Remote);
                        blamed += 1;
                        // Our end is closed for good: the socket is gone.
                        let sockets = sim.census().host("one").unwrap().tcp_streams;
                        assert_eq!(sockets, server.swarm().census().connections);
                    }
                }
                drop(bad);
            }
            // Most of what mplex can be told means something.
            assert!(blamed > 1, "{muxer:?}: {blamed}");
            one.rt().sleep(Duration::from_secs(120)).await;
            assert_free(&server);
        });
    }
}

#[test]
fn two_hosts_that_dial_each_other_a_thousand_times_get_along() {
    let sim = Sim::new(5);
    sim.default_link(Link::new(LATENCY).jitter(LATENCY));
    let (one, other) = (sim.host("one"), sim.host("other"));
    let bare = |machine, n| builder(machine, n).identify(None).ping(None);
    sim.block_on(async {
        let (a, at_a) = serve(&one, bare(&one, 1)).await;
        let (b, at_b) = serve(&other, bare(&other, 2)).await;
        for _ in 0..1000 {
            let (here, there) = join(a.dial(&at_b), b.dial(&at_a)).await;
            let (here, there) = (here.unwrap(), there.unwrap());
            here.close(ErrorCode::NONE);
            there.close(ErrorCode::NONE);
            join(here.ended(), there.ended()).await;
        }
        one.rt().sleep(Duration::from_secs(5)).await;
        assert_free(&a);
        assert_free(&b);
    });
}

#[test]
fn a_host_dropped_at_any_moment_leaves_nothing() {
    // Things happen when a packet arrives: 60 ms until the first answer, identify and its end are
    // a little later. In such a moment tasks take turns, and the host is dropped behind any of them.
    for moment in 0..9 {
        for turns in 0..TURNS {
            for dying in [Dying::Dialer, Dying::Listener] {
                drop_in_the_middle(dying, moment, turns);
            }
        }
    }
}

/// More than the tasks of a host take in one moment.
const TURNS: u32 = 20;

/// Which of two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dying {
    Dialer,
    Listener,
}

/// Drops one of two hosts that talk, so many `turns` of others into a `moment`; the other lives on.
fn drop_in_the_middle(dying: Dying, moment: u32, turns: u32) {
    let sim = Sim::new(u64::from(moment * TURNS + turns));
    sim.default_link(Link::new(LATENCY));
    let (one, other) = (sim.host("one"), sim.host("other"));
    let (server, addr) = sim.block_on(server(&one));
    let client = sim.block_on(builder(&other, 2).build()).unwrap();
    let [gone, left] = match dying {
        Dying::Dialer => [&client, &server],
        Dying::Listener => [&server, &client],
    };
    let (gone, budget) = (gone.swarm().downgrade(), gone.swarm().budget().clone());
    let left = left.swarm().downgrade();
    let rt = one.rt();
    let own = client.clone();
    // It stays here and is not sent to a task: it holds what is not `Send`.
    let mut greeting = Some(Box::pin(maybe_done(async move {
        let hellos = (0..5).map(|_| hello(&own, &addr).map(drop));
        join_all(hellos).await;
        // Holds its host until it is dropped.
        drop(own);
    })));
    let mut hosts = [Some(client), Some(server)];
    sim.block_on(async {
        let now = async {
            rt.sleep(LATENCY * moment).await;
            for _ in 0..turns {
                pending_once().await;
            }
        };
        let greeting = greeting.as_mut().unwrap();
        select(Box::pin(now), Box::pin(join(greeting, pending::<()>()))).await;
    });
    match dying {
        Dying::Dialer => {
            greeting = None;
            hosts[0] = None;
        }
        Dying::Listener => hosts[1] = None,
    }
    sim.run_for(Duration::ZERO);

    let case = format!("{dying:?} at {moment}, {turns}");
    let census = sim.census();
    let name = if dying == Dying::Dialer {
        "other"
    } else {
        "one"
    };
    assert!(census.host(name).unwrap().is_empty(), "{case}: {census}");
    assert!(gone.is_gone(), "{case}: somebody holds the swarm");
    assert_eq!(budget.used(), 0, "{case}");
    if let Some(greeting) = greeting {
        // Whoever waits for the dead hears of it.
        sim.block_on(greeting);
    }
    sim.run_for(Duration::from_secs(180));
    let census = left.upgrade().unwrap().census();
    let held = (census.connections, census.memory, census.sharing_peers);
    assert_eq!(held, (0, 0, 0), "{case}: {census:?}");
    drop(hosts);
    sim.run_until_idle();
    assert!(sim.census().is_empty(), "{case}: {}", sim.census());
    assert!(left.is_gone(), "{case}");
}

/// Lets every other task that is ready have a turn.
async fn pending_once() {
    let mut waited = false;
    poll_fn(|cx| match std::mem::replace(&mut waited, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

#[test]
fn ten_thousand_streams_on_one_connection_leave_nothing_behind() {
    for muxer in [Multiplexer::Yamux, Multiplexer::Mplex] {
        let sim = Sim::new(7);
        let (one, other) = (sim.host("one"), sim.host("other"));
        sim.block_on(async {
            let build = |machine, n| builder(machine, n).multiplexers(&[muxer]);
            let mut config = Config::default();
            config.low_water = Some(0);
            let (server, addr) = serve(&one, build(&one, 1).config(config)).await;
            let host = build(&other, 2).build().await.unwrap();
            let connection = host.dial(&addr).await.unwrap();
            hello(&host, &addr).await.unwrap();
            let rt = one.rt();
            rt.sleep(Duration::from_secs(10)).await;
            for _ in 0..100 {
                let hellos = (0..100).map(|_| hello(&host, &addr));
                assert!(join_all(hellos).await.iter().all(Result::is_ok));
            }
            rt.sleep(Duration::from_secs(70)).await;
            // Nobody has used the connection for a minute; that a handle still exists costs nothing.
            assert!(connection.end().is_some());
            assert_free(&host);
            assert_free(&server);
            drop(connection);
        });
    }
}

#[test]
fn hundreds_of_connections_identified_and_closed_leave_nothing_behind() {
    let sim = Sim::new(8);
    let (target, crowd) = (sim.host("target"), sim.host("crowd"));
    sim.block_on(async {
        let (server, addr) = server(&target).await;
        for n in 0..400 {
            let host = builder(&crowd, 1 + n % 100).build().await.unwrap();
            let connection = host.dial(&addr).await.unwrap();
            host.identify()
                .unwrap()
                .identified(&connection)
                .await
                .unwrap();
            drop(connection);
            host.close().await;
            crowd.rt().sleep(LATENCY * 3).await;
            assert_free(&server);
            let tasks = server.swarm().census().tasks;
            assert_eq!(tasks, ["identify push", "listener"], "{n}");
        }
        assert!(server.identify().unwrap().observed().is_empty());
    });
}

#[test]
fn an_application_that_reads_neither_events_nor_streams_slows_nobody_else() {
    let sim = Sim::new(9);
    sim.default_link(Link::new(LATENCY));
    let (target, crowd, honest) = (sim.host("target"), sim.host("crowd"), sim.host("honest"));
    sim.block_on(async {
        let (server, addr) = server(&target).await;
        let _unread = server.events();
        server
            .handle("/deaf/1.0.0", |stream: Stream| async move {
                let rt = stream.connection().rt().clone();
                rt.sleep(Duration::from_secs(3600)).await;
                drop(stream);
            })
            .unwrap();
        let talker = builder(&crowd, 1).multiplexers(&[Multiplexer::Yamux]);
        let talker = talker.build().await.unwrap();
        let mut held = Vec::new();
        for _ in 0..100 {
            let mut stream = talker.open(&addr, "/deaf/1.0.0").await.unwrap();
            let written = stream.write_all(&[7; 300_000]);
            let _ = crowd
                .rt()
                .timeout(Duration::from_millis(200), written)
                .await;
            held.push(stream);
        }
        for n in 0..300 {
            let host = builder(&honest, 2 + n).build().await.unwrap();
            assert_eq!(hello(&host, &addr).await.unwrap(), LATENCY * 6);
            host.close().await;
        }
        // On the very connection that is full of unread streams, too.
        assert_eq!(hello(&talker, &addr).await.unwrap(), LATENCY * 2);
        let (census, config) = (server.swarm().census(), Config::default());
        assert!(census.memory <= config.limits.memory_budget, "{census:?}");
    });
}

#[test]
fn quic_handshakes_left_alone_by_many_networks_keep_nobody_out() {
    let sim = Sim::new(31);
    sim.default_link(Link::new(LATENCY));
    let at = |name: &str, ip: [u8; 4]| sim.host_at(name, [IpAddr::from(ip)]);
    let target = at("target", [203, 0, 113, 1]);
    let visitor = at("visitor", [198, 51, 100, 1]);
    let crowd: Vec<_> = (0..20_u8)
        .map(|n| at(&format!("m{n}"), [192, 0, n, 1]))
        .collect();

    sim.block_on(async {
        let (host, _) = server(&target).await;
        let addr = host.listen("/ip4/203.0.113.1/udp/4001/quic-v1").await;
        let addr = addr.unwrap();
        let visit = |n: u16| {
            let (addr, visitor) = (addr.clone(), visitor.clone());
            async move {
                let guest = builder(&visitor, n).build().await.unwrap();
                let start = visitor.rt().now();
                let mut stream = guest.open(&addr, ECHO).await.unwrap();
                stream.write_all(b"x").await.unwrap();
                stream.read_exact(&mut [0]).await.unwrap();
                let took = visitor.rt().now() - start;
                guest.close().await;
                took
            }
        };
        let idle = visit(9000).await;
        let mut n = 1;
        for machine in &crowd {
            for _ in 0..40 {
                let attacker = builder(machine, n).build().await.unwrap();
                let addr = addr.clone();
                machine.spawn("attacker", async move {
                    let _ = attacker.dial(&addr).await;
                });
                n += 1;
            }
            // Its first packets have arrived, the last ones never will.
            visitor.rt().sleep(LATENCY * 3).await;
            machine.crash();
        }
        let waiting = host.swarm().usage().pending_incoming;
        assert!(waiting > 400, "{waiting} handshakes are waiting");
        for n in 9001..9006 {
            // Whoever comes while many wait has to show its address: a round trip more.
            let took = visit(n).await;
            assert!(took <= idle + LATENCY * 2, "{took:?} instead of {idle:?}");
        }
    });
}
