//! Silence, and words that come now and then for ever: one deadline each, however little is said.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "an unexpected error is a failed test"
)]

mod common;

use std::time::Duration;

use common::{
    Credulous, ECHO, GREETING, LATENCY, Terse, assert_nothing_left, attempt, builder, connect,
    failed, listen, muxed, peer, sim, swarm, token,
};
use futures::{AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use p2p_core::{
    AddrExt, Budget, Instant, Multiaddr, Multiplex, Role, Rt, Security, TcpOptions, frame,
};
use p2p_sim::Host;
use p2p_swarm::{Event, Events, Step, StreamError, SwarmBuilder, UpgradeError};

/// What both deadlines are when nobody sets them.
const DEADLINE: Duration = Duration::from_secs(10);
/// Shorter than the deadline: where each read had one of its own, it would never pass.
const PAUSE: Duration = Duration::from_secs(9);

type Pieces = Vec<Vec<u8>>;

fn one_by_one(bytes: &[u8]) -> Pieces {
    bytes.iter().map(|byte| vec![*byte]).collect()
}

/// Says each of `pieces`, rests after it, and at last holds on in silence.
async fn drip(rt: &Rt, mut io: impl AsyncWrite + Unpin, pieces: Pieces) {
    for piece in pieces {
        if io.write_all(&piece).await.is_err() || io.flush().await.is_err() {
            return;
        }
        rt.sleep(PAUSE).await;
    }
    rt.sleep(Duration::from_secs(3600)).await;
}

/// Connects to a server that `new` makes and says `pieces`, one every nine seconds; at which step
/// the server had enough, how long after it accepted the socket.
fn incoming(new: impl Fn(&Host) -> SwarmBuilder, pieces: Pieces) -> (Step, Duration) {
    let sim = sim(8);
    let (bob, mallory) = (sim.host("bob"), sim.host("mallory"));
    let b = new(&bob).build().unwrap();
    let mut events = b.events();

    let failed = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        // When the third packet of its handshake has come.
        let accepted = b.rt().now() + LATENCY * 3;
        let rt = mallory.rt();
        mallory.spawn("attacker", async move {
            let io = connect(&rt, &addr).await.unwrap();
            drip(&rt, io, pieces).await;
        });
        let step = timed_out(&mut events).await;
        (step, b.rt().now() - accepted)
    });
    assert_nothing_left(&b);
    failed
}

async fn timed_out(events: &mut Events) -> Step {
    let error = failed(events).await;
    let UpgradeError::Timeout { step, after, .. } = *error else {
        panic!("no timeout: {error}");
    };
    assert_eq!(after, DEADLINE);
    step
}

#[test]
fn a_half_open_connection_is_gone_when_its_deadline_passes() {
    let gone = incoming(|host| builder(host, 2), Vec::new());
    assert_eq!(gone, (Step::Security, DEADLINE));
}

#[test]
fn a_dialer_that_says_a_byte_every_nine_seconds_is_gone_at_its_one_deadline() {
    let hello = frame::encode(&peer(9).to_bytes());
    let named = [token(GREETING), token("/credulous/1.0.0")].concat();
    let credulous = |host: &Host| builder(host, 2);
    let terse = |host: &Host| builder(host, 2).security(Terse(peer(2)));
    let terse_named = [token(GREETING), token("/terse/1.0.0"), hello.clone()].concat();

    // From the first byte on.
    let all = [named.clone(), hello.clone()].concat();
    let gone = incoming(credulous, one_by_one(&all));
    assert_eq!(gone, (Step::Security, DEADLINE));
    // Inside the handshake of the secure channel.
    let gone = incoming(credulous, [vec![named], one_by_one(&hello)].concat());
    assert_eq!(gone, (Step::Security, DEADLINE));
    // While a multiplexer is negotiated.
    let muxer = one_by_one(&token(GREETING));
    let gone = incoming(terse, [vec![terse_named.clone()], muxer].concat());
    assert_eq!(gone, (Step::Muxer, DEADLINE));
    // No step gets a deadline of its own either: this one is through with the first after nine
    // seconds.
    let (first, rest) = terse_named.split_at(5);
    let steps = vec![first.to_vec(), rest.to_vec(), token(GREETING)];
    assert_eq!(incoming(terse, steps), (Step::Muxer, DEADLINE));
}

/// A TCP listener on `host` that says `pieces` to everybody, one every nine seconds.
fn stranger(host: &Host, pieces: Pieces) -> Multiaddr {
    let rt = host.rt();
    let options = TcpOptions::default();
    let mut listener = rt.net().tcp_listen(host.socket(80), &options).unwrap();
    let from = host.clone();
    host.spawn("stranger", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (rt, pieces) = (rt.clone(), pieces.clone());
            from.spawn("drip", async move { drip(&rt, stream, pieces).await });
        }
    });
    Multiaddr::from_tcp_socket(host.socket(80))
}

#[test]
fn a_listener_that_is_silent_or_says_a_byte_every_nine_seconds_costs_a_dial_its_one_deadline() {
    let answer = [token(GREETING), token("/credulous/1.0.0")].concat();
    let hello = frame::encode(&peer(2).to_bytes());
    for pieces in [
        Vec::new(),
        one_by_one(&answer),
        [vec![answer], one_by_one(&hello)].concat(),
    ] {
        let sim = sim(5);
        let (alice, mallory) = (sim.host("alice"), sim.host("mallory"));
        let a = swarm(&alice, 1);
        let addr = stranger(&mallory, pieces);

        let start = a.rt().now();
        let failed = attempt(sim.block_on(a.dial(addr)).unwrap_err());

        let error = &*failed.error;
        assert!(matches!(error, UpgradeError::Timeout { .. }), "{error}");
        assert_eq!(error.step(), Step::Security);
        assert_eq!(a.rt().now() - start, DEADLINE);
        assert_nothing_left(&a);
    }
}

#[test]
fn a_stream_that_names_its_protocol_a_byte_every_nine_seconds_is_gone_and_its_connection_stays() {
    let sim = sim(6);
    let (bob, mallory) = (sim.host("bob"), sim.host("mallory"));
    let b = swarm(&bob, 2);
    let mut events = b.events();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let rt = mallory.rt();
        let muxing = muxed(&rt, &addr, peer(9)).await.unwrap();
        mallory.spawn("connection", async move {
            muxing.driver.await;
        });
        let opened = rt.now();
        let stream = muxing.muxer.open().await.unwrap();
        let name = [token(GREETING), token(ECHO.as_str())].concat();
        let clock = rt.clone();
        mallory.spawn("attacker", async move {
            drip(&clock, stream, one_by_one(&name)).await;
        });

        let (error, at) = failed_stream(&mut events, b.rt()).await;
        assert!(matches!(error, StreamError::Timeout(DEADLINE)), "{error}");
        assert_eq!(at, opened + LATENCY + DEADLINE);
        assert_eq!(b.usage().streams, 0);

        assert_eq!(b.connections(&peer(9)).len(), 1, "the connection stays");
        let stream = muxing.muxer.open().await.unwrap();
        let mut stream = p2p_multistream::dial_lazy(stream, ECHO);
        stream.write_all(b"still here").await.unwrap();
        stream.close().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"still here");
    });
}

async fn failed_stream(events: &mut Events, rt: &Rt) -> (StreamError, Instant) {
    loop {
        if let Event::StreamFailed { error, .. } = events.next().await.unwrap() {
            return (error, rt.now());
        }
    }
}

/// Upgrades a connection and says `pieces` on each of its streams, one every nine seconds.
fn deaf(host: &Host, pieces: Pieces) -> Multiaddr {
    let rt = host.rt();
    let options = TcpOptions::default();
    let mut listener = rt.net().tcp_listen(host.socket(80), &options).unwrap();
    let from = host.clone();
    host.spawn("deaf", async move {
        let (io, _) = listener.accept().await.unwrap();
        let id = Credulous(peer(2));
        let offered = vec![id.protocol()];
        let config = p2p_multistream::Config::default();
        let (_, io) = p2p_multistream::listen(io, &offered, &config)
            .await
            .unwrap();
        let yamux = p2p_yamux::Yamux::default();
        let secured = id.secure(Box::new(io), Role::Listener, None, vec![yamux.protocol()]);
        let io = secured.await.unwrap().io;
        let muxing = yamux.start(io, Role::Listener, &rt, &Budget::unlimited());
        from.spawn("connection", async move {
            muxing.driver.await;
        });
        while let Ok(stream) = muxing.muxer.accept().await {
            let (rt, pieces) = (rt.clone(), pieces.clone());
            from.spawn("drip", async move { drip(&rt, stream, pieces).await });
        }
    });
    Multiaddr::from_tcp_socket(host.socket(80))
}

#[test]
fn a_remote_that_never_answers_a_proposal_is_not_waited_for_forever() {
    let answer = [token(GREETING), token(ECHO.as_str())].concat();
    for pieces in [Vec::new(), one_by_one(&answer)] {
        let sim = sim(12);
        let (alice, bob) = (sim.host("alice"), sim.host("bob"));
        let a = swarm(&alice, 1);
        let addr = deaf(&bob, pieces);

        sim.block_on(async {
            let mut stream = a.open(addr, ECHO).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            let start = a.rt().now();
            let error = stream.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
            assert_eq!(a.rt().now() - start, DEADLINE);
        });
        assert_eq!(a.connections(&peer(2)).len(), 1, "the connection stays");
    }
}
