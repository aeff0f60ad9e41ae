//! Ping between swarms.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::num::NonZeroU8;
use std::time::Duration;

use common::{LATENCY, frugal, keys, listen, patient, sim, swarm};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use p2p_core::{Blame, ConnectionEnd, ErrorCode, StreamReset};
use p2p_ping::{Config, Event, PROTOCOL, Ping, PingError, SIZE};
use p2p_swarm::{HandlerOptions, Stream, Swarm};

const ROUND_TRIP: Duration = Duration::from_millis(100);

fn ping(swarm: &Swarm) -> Ping {
    Ping::new(swarm, Config::default()).unwrap()
}

fn unwatched(swarm: &Swarm) -> Ping {
    let mut config = Config::default();
    config.watch = false;
    Ping::new(swarm, config).unwrap()
}

/// Answers pings the way `serve` does, without keeping connections alive.
fn handle<Served: Future<Output = ()> + Send + 'static>(
    swarm: &Swarm,
    serve: impl Fn(Stream) -> Served + Send + Sync + 'static,
) {
    let options = HandlerOptions::default().keeps_alive(false);
    swarm.handle_with(PROTOCOL, options, serve).unwrap();
}

/// Takes pings and never answers.
async fn swallow(mut stream: Stream) {
    while stream.read(&mut [0; SIZE]).await.is_ok_and(|read| read > 0) {}
    std::future::pending().await
}

#[test]
fn a_ping_takes_two_link_latencies() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    let (pings, _answers) = (unwatched(&a), unwatched(&b));

    let (rtt, took) = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        a.dial(addr.clone()).await.unwrap();
        let start = a.rt().now();
        let rtt = pings.ping(addr).await.unwrap();
        (rtt, a.rt().now() - start)
    });

    assert_eq!(rtt, 2 * LATENCY);
    assert_eq!(took, rtt, "the stream costs no round trip of its own");
}

#[test]
fn a_series_of_pings_uses_one_stream() {
    let sim = sim(2);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    let (pings, _answers) = (unwatched(&a), unwatched(&b));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut pinger = pings.pinger(addr).await.unwrap();
        for _ in 0..10 {
            assert_eq!(pinger.ping().await.unwrap(), ROUND_TRIP);
            assert_eq!(pinger.connection().streams(), 1);
        }
    });
}

#[test]
fn a_watched_connection_is_measured_each_interval_until_it_ends() {
    let sim = sim(3);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let (pings, _answers) = (ping(&a), unwatched(&b));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let peer = b.local_peer();
        a.rt().sleep(Duration::from_secs(15)).await;
        assert_eq!(pings.rtt(&peer), None);
        a.rt().sleep(Duration::from_secs(1)).await;
        assert_eq!(pings.rtt(&peer), Some(ROUND_TRIP));
        a.rt().sleep(Duration::from_secs(300)).await;
        assert_eq!(connection.streams(), 1, "all on one stream");

        connection.close(ErrorCode::NONE);
        connection.ended().await;
        a.rt().sleep(Duration::from_secs(1)).await;
        assert_eq!(pings.rtt(&peer), None);
        assert!(!a.census().tasks.contains(&"ping"));
    });
}

#[test]
fn watching_does_not_keep_a_connection_alive_even_if_the_remote_ends_idle_streams() {
    let sim = sim(4);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (frugal(&alice, 1), frugal(&bob, 2));
    let mut config = Config::default();
    config.interval = Duration::from_secs(11);
    let pings = Ping::new(&a, config).unwrap();
    // As go does: streams that are idle for ten seconds are ended.
    handle(&b, |mut stream| async move {
        let rt = stream.connection().rt().clone();
        let mut ping = [0; SIZE];
        let within = Duration::from_secs(10);
        while let Ok(Ok(())) = rt.timeout(within, stream.read_exact(&mut ping)).await {
            stream.write_all(&ping).await.unwrap();
        }
    });

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap().downgrade();
        let start = a.rt().now();
        a.rt().sleep(Duration::from_secs(50)).await;
        assert_eq!(pings.rtt(&b.local_peer()), Some(ROUND_TRIP));
        connection.ended().await;
        let lived = a.rt().now() - start;
        assert!(lived < Duration::from_secs(62), "lived {lived:?}");
    });
}

#[test]
fn being_pinged_does_not_keep_a_connection_alive() {
    let sim = sim(5);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (frugal(&alice, 1), frugal(&bob, 2));
    let _answers = unwatched(&b);

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap().downgrade();
        let start = a.rt().now();
        // As js does: a new stream every ten seconds.
        let pinging = async {
            loop {
                a.rt().sleep(Duration::from_secs(10)).await;
                let Ok(mut stream) = connection.open(&PROTOCOL).await else {
                    std::future::pending().await
                };
                let _ = p2p_ping::ping(a.rt(), &mut stream).await;
                let _ = stream.close().await;
            }
        };
        let ended = std::pin::pin!(connection.ended());
        futures::future::select(ended, std::pin::pin!(pinging)).await;
        let lived = a.rt().now() - start;
        assert!(lived < Duration::from_secs(62), "lived {lived:?}");
    });
}

#[test]
fn a_peer_that_stops_answering_is_noticed_after_75_seconds() {
    let sim = sim(6);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let _pings = ping(&a);
    handle(&b, swallow);

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let start = a.rt().now();
        let end = connection.ended().await;
        assert!(matches!(end, ConnectionEnd::Local(_)), "{end}");
        let lived = (a.rt().now() - start).as_secs();
        assert_eq!(lived, 75);
    });
}

#[test]
fn one_unanswered_stream_is_forgiven() {
    let sim = sim(7);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let pings = ping(&a);
    let first = std::sync::atomic::AtomicBool::new(true);
    handle(&b, move |mut stream| {
        let stuck = first.swap(false, std::sync::atomic::Ordering::Relaxed);
        async move {
            if stuck {
                return swallow(stream).await;
            }
            p2p_ping::answer(&mut stream).await.unwrap();
        }
    });

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        a.rt().sleep(Duration::from_secs(40)).await;
        assert_eq!(pings.rtt(&b.local_peer()), Some(ROUND_TRIP));
        a.rt().sleep(Duration::from_secs(400)).await;
        assert!(connection.end().is_none());
    });
}

#[test]
fn a_peer_that_refuses_pings_or_does_not_know_them_is_left_alone() {
    let sim = sim(8);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let mut config = Config::default();
    config.max_missed = NonZeroU8::MIN;
    let pings = Ping::new(&a, config).unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr.clone()).await.unwrap();
        let error = pings.ping(addr.clone()).await.unwrap_err();
        assert!(matches!(error, PingError::Unsupported), "{error}");
        assert_eq!(error.blame(), Blame::Remote);
        a.rt().sleep(Duration::from_secs(200)).await;
        assert!(connection.end().is_none());
        connection.close(ErrorCode::NONE);
        connection.ended().await;

        handle(&b, |mut stream| async move {
            stream.reset(ErrorCode::RATE_LIMITED);
        });
        let connection = a.dial(addr).await.unwrap();
        a.rt().sleep(Duration::from_secs(200)).await;
        assert!(connection.end().is_none());
    });
}

#[test]
fn a_lie_is_told_from_an_echo() {
    let sim = sim(9);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    let pings = unwatched(&a);
    handle(&b, |mut stream| async move {
        stream.write_all(&[0; SIZE]).await.unwrap();
        stream.close().await.unwrap();
    });

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let error = pings.ping(addr).await.unwrap_err();
        assert!(matches!(error, PingError::Echo(_)), "{error}");
    });
}

#[test]
fn a_silent_peer_costs_a_ping_its_patience_and_no_more() {
    let sim = sim(10);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let pings = unwatched(&a);
    handle(&b, swallow);

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr.clone()).await.unwrap();
        let start = a.rt().now();
        let error = pings.ping(addr).await.unwrap_err();
        assert!(matches!(error, PingError::TimedOut { .. }), "{error}");
        assert_eq!(a.rt().now() - start, Duration::from_secs(20));
        a.rt().sleep(Duration::from_secs(1)).await;
        assert_eq!(connection.streams(), 0);
        assert!(connection.end().is_none());
    });
}

#[test]
fn a_peer_that_does_not_even_agree_to_the_protocol_is_silent_too() {
    let sim = sim(13);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let pings = ping(&a);
    handle(&b, |unread| async move {
        std::future::pending::<()>().await;
        drop(unread);
    });

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr.clone()).await.unwrap();
        let start = a.rt().now();
        let error = pings.ping(addr).await.unwrap_err();
        assert!(matches!(error, PingError::TimedOut { .. }), "{error}");
        connection.ended().await;
        assert_eq!((a.rt().now() - start).as_secs(), 75);
    });
}

#[test]
fn a_third_stream_is_reset_and_the_others_go_on() {
    let sim = sim(11);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    let _answers = unwatched(&b);

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let mut streams = Vec::new();
        for _ in 0..2 {
            let mut stream = connection.open(&PROTOCOL).await.unwrap();
            p2p_ping::ping(a.rt(), &mut stream).await.unwrap();
            streams.push(stream);
        }
        let mut third = connection.open(&PROTOCOL).await.unwrap();
        let error = p2p_ping::ping(a.rt(), &mut third).await.unwrap_err();
        let PingError::Io(error) = error else {
            panic!("{error}");
        };
        let reset = StreamReset::of(&error).unwrap();
        assert_eq!(reset.code, ErrorCode::RESOURCE_LIMIT_EXCEEDED);
        for stream in &mut streams {
            p2p_ping::ping(a.rt(), stream).await.unwrap();
        }
    });
}

#[test]
fn a_service_does_not_keep_its_swarm_alive() {
    let sim = sim(12);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    let (pings, _answers) = (ping(&a), ping(&b));
    let weak = a.downgrade();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        pings.ping(addr.clone()).await.unwrap();
        drop(a);
        assert!(weak.upgrade().is_none());
        let error = pings.ping(addr).await.unwrap_err();
        assert!(matches!(error, PingError::Open(_)), "{error}");
        b.rt().sleep(Duration::from_secs(1)).await;
        assert!(b.peers().is_empty());
        assert_eq!(pings.rtt(&keys(2).to_peer_id()), None);
    });
}

#[test]
fn whoever_subscribes_hears_of_every_echo() {
    let sim = sim(20);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let (pings, _answers) = (ping(&a), unwatched(&b));
    let mut events = pings.events();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let held = a.dial(addr).await.unwrap();
        let (peer, connection) = (held.peer(), held.id());
        let rtt = ROUND_TRIP;
        let echoed = Event::Echoed {
            peer,
            connection,
            rtt,
        };
        assert_eq!(events.next().await, Some(echoed));
        assert_eq!(events.next().await, Some(echoed));
    });
}

#[test]
fn three_misses_and_the_end_of_a_connection_are_told_in_this_order() {
    let sim = sim(21);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let pings = ping(&a);
    handle(&b, swallow);
    let mut events = pings.events();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let held = a.dial(addr).await.unwrap();
        let (peer, connection) = (held.peer(), held.id());
        for _ in 0..3 {
            let missed = Event::Missed { peer, connection };
            assert_eq!(events.next().await, Some(missed));
        }
        assert_eq!(events.next().await, Some(Event::Dead { peer, connection }));
        assert!(matches!(held.ended().await, ConnectionEnd::Local(_)));
    });
}

#[test]
fn pings_at_the_same_time_take_turns_beside_the_watch() {
    let sim = sim(22);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let (pings, _answers) = (ping(&a), ping(&b));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let _held = a.dial(addr.clone()).await.unwrap();
        a.rt().sleep(Duration::from_secs(20)).await;
        let start = a.rt().now();
        let all = (0..10).map(|_| pings.ping(addr.clone()));
        for rtt in futures::future::join_all(all).await {
            assert_eq!(rtt.unwrap(), ROUND_TRIP);
        }
        // One round trip for the echo, one until the remote has ended its side.
        assert_eq!(a.rt().now() - start, 19 * ROUND_TRIP);
    });
}

#[test]
fn a_pinger_that_keeps_its_stream_costs_another_its_patience() {
    let sim = sim(23);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let (pings, _answers) = (unwatched(&a), unwatched(&b));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut first = pings.pinger(addr.clone()).await.unwrap();
        first.ping().await.unwrap();
        let refused = pings.ping(addr.clone()).await.unwrap_err();
        assert!(matches!(refused, PingError::TimedOut { .. }), "{refused}");
        first.close().await;
        assert_eq!(pings.ping(addr).await.unwrap(), ROUND_TRIP);
    });
}
