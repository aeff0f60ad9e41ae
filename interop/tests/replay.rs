//! Recorded traffic of go, js, py and rust meets our node in the simulator: as it was, cut into
//! single bytes, and changed in every way.
//!
//! `p2p-interop record` makes the recordings. Our node has the keys it had then, so that the recorded
//! handshake of noise is valid again; that of TLS has new keys each time, and ends where it is
//! encrypted. `P2P_REPLAY_SEEDS=<n>` tries more changes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at once"
)]

#[path = "../src/fixture.rs"]
mod fixture;

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, future, io};
use p2p::core::{Rt, TcpOptions, TcpStream};
use p2p::{
    Blame, Connection, ConnectionEnd, DialError, Event, Host, Keypair, Multiaddr, Multiplexer,
    OpenError, Protocol, SecureChannel, Stream, StreamReset,
    multistream::NegotiationError,
    noise::Noise,
    swarm::{Census, UpgradeError, Usage},
};
use p2p_sim::Sim;

use fixture::{Fixture, From};

const ECHO: &str = "/p2p-interop/echo/1.0.0";
const PLAY: &str = "/p2p-interop/play/1.0.0";
const SAID: usize = 1000;
/// Each muxer in each security.
const STACKS: [&str; 6] = [
    "tcp/noise/mplex",
    "tcp/noise/yamux",
    "tcp/plaintext/mplex",
    "tcp/plaintext/yamux",
    "tcp/tls/mplex",
    "tcp/tls/yamux",
];
/// Streams of the recorded test.
const STREAMS: usize = 5;
const PORT: u16 = 4001;
/// How long the recorded side waits for bytes of ours that may never come.
const PATIENCE: Duration = Duration::from_secs(2);
/// Until when everything of a connection has to be gone after its socket is.
const GONE: Duration = Duration::from_secs(120);
/// Changes tried of each recording.
const SEEDS: u64 = 24;

#[test]
fn recordings_of_every_peer_in_both_roles_are_there() {
    let all = recordings();

    for peer in ["go", "js", "py", "rust"] {
        for role in ["dial", "listen"] {
            let of_it = all.iter().filter(|it| it.peer == peer && it.role == role);
            let stacks: BTreeSet<&str> = of_it.map(|it| it.stack.as_str()).collect();
            assert_eq!(stacks, BTreeSet::from(STACKS), "{peer} {role}");
        }
    }
}

#[test]
fn a_recording_replays_as_it_was() {
    for fixture in recordings() {
        let seen = replay(&fixture, &script(&fixture));

        seen.check(&fixture);
    }
}

#[test]
fn a_recording_that_comes_byte_by_byte_is_the_same() {
    for fixture in recordings() {
        let script = split(&script(&fixture), 1);

        let seen = replay(&fixture, &script);

        seen.check(&fixture);
    }
}

#[test]
fn a_changed_recording_ends_in_a_typed_error_and_leaves_nothing_behind() {
    let seeds = std::env::var("P2P_REPLAY_SEEDS").ok();
    let seeds = seeds.and_then(|it| it.parse().ok()).unwrap_or(SEEDS);
    for fixture in recordings() {
        let (mut broken, mut blamed) = (0, 0);
        for seed in 0..seeds {
            let (what, script) = change(&script(&fixture), seed);
            let _shown = Shown(format!("{}, seed {seed}: {what}", name(&fixture)));
            let seen = replay(&fixture, &script);
            broken += usize::from(seen.served < STREAMS);
            blamed += usize::from(seen.end.blame() == Blame::Remote);
        }
        let name = name(&fixture);
        assert!(broken > 0, "{name}: no change had any effect");
        // What is cut off between two frames is nobody's fault; what is wrong is.
        assert!(blamed > 0, "{name}: the remote was never blamed");
    }
}

/// Names the case if the test stops.
struct Shown(String);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case: {}", self.0);
        }
    }
}

fn recordings() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let parse = |path| Fixture::parse(&fs::read_to_string(path).unwrap()).unwrap();
    files.iter().map(parse).collect()
}

/// Streams that have to go as they should if nothing was changed.
///
/// As a listener, all. As a dialer we number our own, and identify does not always come in the same
/// place: one may be somebody else's. js resets the first stream of a dialer like ours, and the test
/// was over (`peers/js/faults/early-end.js`). TLS does not come that far.
fn least(fixture: &Fixture) -> usize {
    if !repeatable(fixture) {
        return 0;
    }
    match (&*fixture.role, &*fixture.peer) {
        ("dial", "js") => 0,
        ("dial", _) => STREAMS - 1,
        _ => STREAMS,
    }
}

/// Whether its handshake is valid again.
fn repeatable(fixture: &Fixture) -> bool {
    !fixture.stack.contains("/tls/")
}

fn name(fixture: &Fixture) -> String {
    format!("{} {} {}", fixture.peer, fixture.role, fixture.stack)
}

/// What the recorded side does.
#[derive(Clone, Debug)]
enum Step {
    /// Waits until so many more bytes came.
    Hear(usize),
    Say(Vec<u8>),
}

fn script(fixture: &Fixture) -> Vec<Step> {
    let step = |chunk: &fixture::Chunk| match chunk.from {
        From::Us => Step::Hear(chunk.bytes.len()),
        From::Remote => Step::Say(chunk.bytes.clone()),
    };
    fixture.chunks.iter().map(step).collect()
}

/// The same bytes in pieces of at most `size`.
fn split(script: &[Step], size: usize) -> Vec<Step> {
    let mut pieces = Vec::new();
    for step in script {
        match step {
            Step::Hear(len) => pieces.push(Step::Hear(*len)),
            Step::Say(bytes) => {
                pieces.extend(bytes.chunks(size).map(|piece| Step::Say(piece.to_vec())));
            }
        }
    }
    pieces
}

/// Something else than was recorded, and what it is.
fn change(script: &[Step], seed: u64) -> (String, Vec<Step>) {
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995);
    let mut script = script.to_vec();
    let said: Vec<usize> = (0..script.len())
        .filter(|&at| matches!(&script[at], Step::Say(bytes) if !bytes.is_empty()))
        .collect();
    let at = said[rng.below(said.len())];
    let Step::Say(bytes) = &mut script[at] else {
        unreachable!("only those were picked")
    };
    let len = bytes.len();
    let place = rng.below(len);
    let what = match seed % 8 {
        0 | 1 => {
            let flips = 1 + rng.below(8);
            for _ in 0..flips {
                let byte = rng.below(len);
                bytes[byte] ^= 1 << rng.below(8);
            }
            format!("{flips} bits of chunk {at} flipped")
        }
        2 => {
            bytes.truncate(place);
            script.truncate(at + 1);
            format!("cut in chunk {at} at {place}")
        }
        3 => {
            let other = said[rng.below(said.len())];
            script.swap(at, other);
            format!("chunks {at} and {other} swapped")
        }
        4 => {
            let again = bytes.clone();
            script.insert(at, Step::Say(again));
            format!("chunk {at} said twice")
        }
        5 => {
            script.remove(at);
            format!("chunk {at} left out")
        }
        6 => {
            let count = 1 + rng.below(64);
            let noise: Vec<u8> = (0..count).map(|_| rng.byte()).collect();
            bytes.splice(place..place, noise);
            format!("{count} bytes put into chunk {at} at {place}")
        }
        _ => {
            let end = place + rng.below(len - place + 1);
            bytes.drain(place..end);
            format!("bytes {place} to {end} of chunk {at} left out")
        }
    };
    (what, script)
}

/// SplitMix64: the same changes for the same seed everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// What became of a replay.
struct Seen {
    connected: bool,
    /// Streams that went as they should.
    served: usize,
    end: End,
}

/// How a connection ended, or why there was none.
#[derive(Debug)]
enum End {
    Connection(ConnectionEnd),
    Dial(DialError),
    Incoming(Arc<UpgradeError>),
}

impl End {
    /// How a connection ended, if that is what happened.
    fn of(event: Event) -> Option<Self> {
        if let Event::IncomingFailed { error, .. } = event {
            return Some(Self::Incoming(error));
        }
        if let Event::Disconnected { end, .. } = event {
            return Some(Self::Connection(end));
        }
        None
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Connection(end) => end.blame(),
            Self::Dial(error) => error.blame(),
            Self::Incoming(error) => error.blame(),
        }
    }
}

impl Seen {
    /// That it went as it was recorded, as far as it can.
    fn check(&self, fixture: &Fixture) {
        let Self {
            connected,
            served,
            end,
        } = self;
        let name = name(fixture);
        assert_eq!(*connected, repeatable(fixture), "{name}: {end:?}");
        assert!(*served >= least(fixture), "{name}: {served}: {end:?}");
    }
}

/// How the streams of a replay went.
#[derive(Debug, Default)]
struct Streams {
    /// As they should.
    served: AtomicUsize,
    /// They failed with an error that says nothing to a program.
    untyped: Mutex<Vec<String>>,
}

impl Streams {
    fn ended(&self, result: io::Result<()>) {
        match result {
            Ok(()) => {
                self.served.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if is_typed(&error) => {}
            Err(error) => self.untyped.lock().unwrap().push(format!("{error:?}")),
        }
    }
}

/// Reset, at the end of its connection, never agreed on, never answered, or ended too early.
fn is_typed(error: &io::Error) -> bool {
    let inner = error.get_ref();
    let agreed = |it: &(dyn Error + Send + Sync + 'static)| {
        it.is::<OpenError>() || it.is::<NegotiationError>()
    };
    StreamReset::of(error).is_some()
        || ConnectionEnd::of(error).is_some()
        || inner.is_some_and(agreed)
        || [io::ErrorKind::TimedOut, io::ErrorKind::UnexpectedEof].contains(&error.kind())
}

/// What a node holds for others. It may remember of whom it heard.
fn held(host: &Host) -> (Census, Usage) {
    let swarm = host.swarm();
    let mut usage = swarm.usage();
    usage.known_peers = 0;
    (swarm.census(), usage)
}

/// Plays `script` to our node and checks that nothing is left of it.
fn replay(fixture: &Fixture, script: &[Step]) -> Seen {
    let sim = Sim::new(1);
    let (us, them) = (sim.host("us"), sim.host("them"));
    let seen = sim.block_on(async {
        let streams = Arc::new(Streams::default());
        let host = node(fixture, us.rt(), &streams).await;
        let there = format!("/ip4/{}/tcp/{PORT}/p2p/{}", them.ip(), fixture.remote);
        let here = format!("/ip4/{}/tcp/{PORT}", us.ip());
        host.listen(here.as_str()).await.unwrap();
        let before = held(&host);
        let mut events = host.events();
        let refused = if fixture.role == "dial" {
            let rt = them.rt();
            let at = them.socket(PORT);
            let mut socket = rt.net().tcp_listen(at, &TcpOptions::default()).unwrap();
            let act = async {
                let (io, _) = socket.accept().await.unwrap();
                act(io, &rt, script).await;
            };
            let work = dial(&host, &there, &streams);
            future::join(act, work).await.1
        } else {
            let rt = them.rt();
            let socket = rt
                .net()
                .tcp_connect(us.socket(PORT), &TcpOptions::default());
            act(socket.await.unwrap(), &rt, script).await;
            None
        };
        let rt = us.rt();
        let until = rt.now() + GONE;
        while held(&host) != before && rt.now() < until {
            rt.sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(held(&host), before, "something is left behind");
        let mut ends: Vec<End> = refused.map(End::Dial).into_iter().collect();
        let mut connected = false;
        while let Some(Some(event)) = events.next().now_or_never() {
            connected |= matches!(event, Event::Connected { .. });
            ends.extend(End::of(event));
        }
        assert_eq!(ends.len(), 1, "one connection ends once: {ends:?}");
        let end = ends.remove(0);
        assert_ne!(end.blame(), Blame::Us, "{end:?}");
        assert_eq!(
            *streams.untyped.lock().unwrap(),
            [""; 0],
            "errors of no type"
        );
        host.close().await;
        Seen {
            connected,
            served: streams.served.load(Ordering::Relaxed),
            end,
        }
    });
    sim.run_until_idle();
    assert!(sim.census().is_empty(), "{}", sim.census());
    seen
}

/// The recorded side: says what it said, and waits for about as much as it heard.
async fn act(mut io: Box<dyn TcpStream>, rt: &Rt, script: &[Step]) {
    let mut block = vec![0; 64 * 1024];
    let (mut heard, mut wanted) = (0, 0);
    for step in script {
        match step {
            Step::Say(bytes) => {
                if io.write_all(bytes).await.is_err() {
                    return;
                }
            }
            Step::Hear(len) => {
                wanted += len;
                while heard < wanted {
                    match rt.timeout(PATIENCE, io.read(&mut block)).await {
                        Ok(Ok(read)) if read > 0 => heard += read,
                        Ok(_) => return,
                        // Ours may be shorter than it was, by an address for one, or come later:
                        // then it still counts for this step, not for the next one.
                        Err(_) => break,
                    }
                }
            }
        }
    }
    // What is under way arrives before the socket is gone.
    while let Ok(Ok(1..)) = rt.timeout(PATIENCE, io.read(&mut block)).await {}
}

/// Our node as it was recorded.
async fn node(fixture: &Fixture, rt: Rt, streams: &Arc<Streams>) -> Host {
    let identity = Keypair::ed25519_from_seed([fixture.seed; 32]);
    let mut builder = Host::builder().identity(identity.clone()).runtime(rt);
    builder = if fixture.stack.contains("/tls/") {
        builder.secure_channels(&[SecureChannel::Tls])
    } else if fixture.stack.contains("/noise/") {
        let config = p2p::noise::Config::default();
        let keys = ([fixture.seed; 32], [fixture.seed ^ 0x55; 32]);
        let noise = Noise::with_fixed_keys(&identity, config, keys.0, keys.1).unwrap();
        builder.secure_channels(&[]).with_security(noise)
    } else {
        builder.secure_channels(&[SecureChannel::Plaintext])
    };
    let muxer = match fixture.stack.ends_with("/mplex") {
        true => Multiplexer::Mplex,
        false => Multiplexer::Yamux,
    };
    let host = builder.multiplexers(&[muxer]).build().await.unwrap();
    let (echoed, played) = (Arc::clone(streams), Arc::clone(streams));
    host.handle(ECHO, move |stream| {
        let streams = Arc::clone(&echoed);
        async move { streams.ended(echo(stream).await) }
    })
    .unwrap();
    host.handle(PLAY, move |stream| {
        let streams = Arc::clone(&played);
        async move { streams.ended(play(stream).await) }
    })
    .unwrap();
    host
}

async fn echo(stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    io::copy(reader, &mut writer).await?;
    writer.close().await
}

/// The listener's part of `orders`.
async fn play(mut stream: Stream) -> io::Result<()> {
    let mut command = [0];
    stream.read_exact(&mut command).await?;
    match command {
        [b'f'] => both(stream, SAID).await,
        [b'n'] => both(stream, 0).await,
        _ => {
            stream.read_to_end(&mut Vec::new()).await?;
            stream.write_all(&vec![1; SAID]).await?;
            stream.close().await
        }
    }
}

/// Writes and ends at once, and reads to the end.
async fn both(stream: Stream, len: usize) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let said = vec![1; len];
    let write = async {
        writer.write_all(&said).await?;
        writer.close().await
    };
    let mut got = Vec::new();
    future::try_join(write, reader.read_to_end(&mut got)).await?;
    Ok(())
}

/// The dialer's part of `orders`; why there was no connection, if there was none.
async fn dial(host: &Host, addr: &str, streams: &Streams) -> Option<DialError> {
    let addr: Multiaddr = addr.parse().unwrap();
    let connection = match host.dial(&addr).await {
        Ok(connection) => connection,
        Err(error) => return Some(error),
    };
    for command in [b"a".as_slice(), b"f", b"F", b"n", b""] {
        let run = host.swarm().rt().timeout(GONE, order(&connection, command));
        // A stream that fails is one thing, a stream that never ends another.
        streams.ended(run.await.expect("a stream ends one way or the other"));
    }
    None
}

/// `F` is the `f` of which they have seen the end before we write.
async fn order(connection: &Connection, command: &[u8]) -> io::Result<()> {
    let id = if command.is_empty() { ECHO } else { PLAY };
    let opened = connection.open(&Protocol::from_static(id)).await;
    let mut stream = opened.map_err(io::Error::other)?;
    stream.write_all(&command.to_ascii_lowercase()).await?;
    stream.flush().await?;
    match command {
        b"f" => both(stream, SAID).await,
        b"F" | b"n" => {
            stream.read_to_end(&mut Vec::new()).await?;
            stream.write_all(&vec![1; SAID]).await?;
            stream.close().await
        }
        _ => {
            let len = if command.is_empty() { 0 } else { SAID };
            stream.write_all(&vec![1; len]).await?;
            stream.close().await?;
            stream.read_to_end(&mut Vec::new()).await?;
            Ok(())
        }
    }
}
