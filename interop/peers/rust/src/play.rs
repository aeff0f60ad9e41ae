//! The tests of streams and connections, and `play`, where the first byte says what to do.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, future, io};
use libp2p::{PeerId, Stream, StreamProtocol};
use serde_json::{Value, json};

use crate::{
    Result, event,
    node::{Order, Seen, Served, Session, millis},
    protocols::{
        ECHO, ECHO_BYTES, PERF, echo_on, echo_once, exchange, log, read_pattern, write_pattern,
    },
    stdin_closed,
};

const PLAY: StreamProtocol = StreamProtocol::new("/p2p-interop/play/1.0.0");
const ADDED: StreamProtocol = StreamProtocol::new("/p2p-interop/added/1.0.0");

const SAID: u64 = 1000;
const STREAMS: usize = 200;
const STREAM_BYTES: usize = 100;
const SLOW_BYTES: u64 = 2_000_000;
const FAST: usize = 8;
const BIG_BYTES: u64 = 50_000_000;
const IDLE: Duration = Duration::from_secs(120);
/// How long an end of a connection, or a push, may take.
const NOTICE: Duration = Duration::from_secs(20);
/// How long the disappearance of a process may take over QUIC, where only silence tells of it.
const SILENCE: Duration = Duration::from_secs(50);
const DISAPPEARANCE: &str = "their disappearance";
/// Connections that have ended before `x` ends the program.
const ENDS_BEFORE_EXIT: usize = 2;

/// Does what the first byte of a stream says; `interop/README.md` lists the bytes.
pub(crate) fn serve(served: &Served) -> Result<()> {
    let mut plays = served.control.clone().accept(PLAY)?;
    let served = served.clone();
    tokio::spawn(async move {
        while let Some((peer, stream)) = plays.next().await {
            let served = served.clone();
            tokio::spawn(async move { log("play", play(stream, peer, served).await) });
        }
    });
    Ok(())
}

async fn play(mut stream: Stream, peer: PeerId, mut served: Served) -> io::Result<()> {
    let mut command = [0];
    stream.read_exact(&mut command).await?;
    let [command] = command;
    match command {
        b'a' => {
            let received = read_pattern(&mut stream).await?;
            report_end(command, received);
            write_pattern(&mut stream, SAID).await?;
            stream.close().await
        }
        b'f' => end_first(stream, command, SAID).await,
        b'n' => end_first(stream, command, 0).await,
        b'w' => {
            stream.write_all(&[command]).await?;
            stream.flush().await?;
            event("reset", saw(&mut stream).await);
            Ok(())
        }
        b'r' => {
            stream.read_exact(&mut [0; 4]).await?;
            // A stream that is dropped before it is closed is reset.
            drop(stream);
            Ok(())
        }
        b'p' => {
            add_protocol(&mut served, peer).map_err(io::Error::other)?;
            stream.close().await
        }
        b'q' => {
            let closing = served.orders.send(Order::Close(peer));
            closing.map_err(|_| io::ErrorKind::NotConnected.into())
        }
        b'x' => {
            let started = Instant::now();
            while served.ended.load(Ordering::Relaxed) < ENDS_BEFORE_EXIT
                && started.elapsed() < NOTICE / 2
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // Not in the middle of a line that another thread prints.
            let _nobody_prints = std::io::stdout().lock();
            std::process::exit(0);
        }
        other => Err(io::Error::other(format!("no such play: {other}"))),
    }
}

async fn end_first(stream: Stream, command: u8, size: u64) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let write = async {
        write_pattern(&mut writer, size).await?;
        writer.close().await
    };
    let ((), received) = future::try_join(write, read_pattern(&mut reader)).await?;
    report_end(command, received);
    Ok(())
}

fn report_end(command: u8, received: u64) {
    let order = char::from(command).to_string();
    event("ended", json!({ "order": order, "received": received }));
}

/// How a stream ended that should have been reset.
async fn saw(stream: &mut Stream) -> Value {
    match stream.read_to_end(&mut Vec::new()).await {
        Ok(_) => json!({ "saw": "end" }),
        Err(error) if is_reset(&error) => json!({ "saw": "reset" }),
        Err(error) => json!({ "saw": error.to_string() }),
    }
}

/// yamux says `ConnectionReset`, mplex `UnexpectedEof`.
fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

/// Asks for a push as well: a connection on which nothing happens does not see the change.
fn add_protocol(served: &mut Served, peer: PeerId) -> Result<()> {
    let mut added = served.control.accept(ADDED)?;
    tokio::spawn(async move { while added.next().await.is_some() {} });
    let pushing = served.orders.send(Order::Push(peer));
    pushing.map_err(|_| "the swarm ended".into())
}

/// A stream on which the other end was told what to do.
async fn play_stream(session: &Session, command: &[u8]) -> Result<Stream> {
    let mut control = session.served.control.clone();
    let mut stream = control.open_stream(session.remote, PLAY).await?;
    stream.write_all(command).await?;
    stream.flush().await?;
    Ok(stream)
}

/// Half-closes in every order, one stream each.
pub(crate) async fn orders_test(session: &Session) -> Result<()> {
    let started = Instant::now();
    let after = we_first(session).await;
    let after = after.map_err(|error| format!("orders: after: {error}"))?;
    let both = both_at_once(session).await;
    let both = both.map_err(|error| format!("orders: both: {error}"))?;
    let first = they_first(session, b'f').await;
    let first = first.map_err(|error| format!("orders: first: {error}"))?;
    let nothing = they_first(session, b'n').await;
    let nothing = nothing.map_err(|error| format!("orders: nothing: {error}"))?;
    let empty = empty(session).await;
    let empty = empty.map_err(|error| format!("orders: empty: {error}"))?;
    event(
        "orders",
        json!({
            "after": after, "both": both, "first": first, "nothing": nothing, "empty": empty,
            "ms": millis(started.elapsed()),
        }),
    );
    Ok(())
}

async fn we_first(session: &Session) -> Result<u64> {
    let mut stream = play_stream(session, b"a").await?;
    write_pattern(&mut stream, SAID).await?;
    stream.close().await?;
    Ok(read_pattern(&mut stream).await?)
}

async fn both_at_once(session: &Session) -> Result<u64> {
    let (mut reader, mut writer) = play_stream(session, b"f").await?.split();
    let write = async {
        write_pattern(&mut writer, SAID).await?;
        writer.close().await
    };
    let ((), received) = future::try_join(write, read_pattern(&mut reader)).await?;
    Ok(received)
}

async fn they_first(session: &Session, command: u8) -> Result<u64> {
    let mut stream = play_stream(session, &[command]).await?;
    let received = read_pattern(&mut stream).await?;
    write_pattern(&mut stream, SAID).await?;
    stream.close().await?;
    Ok(received)
}

async fn empty(session: &Session) -> Result<u64> {
    let mut control = session.served.control.clone();
    let mut stream = control.open_stream(session.remote, ECHO).await?;
    stream.close().await?;
    Ok(read_pattern(&mut stream).await?)
}

/// A reset from either side, and a sign of life after.
pub(crate) async fn reset_test(session: &Session) -> Result<()> {
    let mut ours = play_stream(session, b"w").await?;
    ours.read_exact(&mut [0]).await?;
    // A stream that is dropped before it is closed is reset.
    drop(ours);
    let mut theirs = play_stream(session, b"r\0\0\0\0").await?;
    let fields = saw(&mut theirs).await;
    let mut control = session.served.control.clone();
    echo_once(&mut control, session.remote, STREAM_BYTES).await?;
    event("reset", fields);
    Ok(())
}

pub(crate) async fn streams_test(session: &Session) -> Result<()> {
    let started = Instant::now();
    let mut control = session.served.control.clone();
    let mut streams = Vec::new();
    while streams.len() < STREAMS {
        streams.push(control.open_stream(session.remote, ECHO).await?);
    }
    let echoes = streams.into_iter().map(|it| echo_on(it, STREAM_BYTES));
    future::try_join_all(echoes).await?;
    let ms = millis(started.elapsed());
    event("streams", json!({ "streams": STREAMS, "ms": ms }));
    Ok(())
}

/// Asks for a download and reads it only after the echoes beside it.
pub(crate) async fn slow_test(session: &Session) -> Result<()> {
    let mut control = session.served.control.clone();
    let mut slow = control.open_stream(session.remote, PERF).await?;
    slow.write_all(&SLOW_BYTES.to_be_bytes()).await?;
    slow.close().await?;
    let started = Instant::now();
    for _ in 0..FAST {
        echo_once(&mut control, session.remote, ECHO_BYTES).await?;
    }
    let fast_ms = millis(started.elapsed());
    let (slow, saw) = match read_pattern(&mut slow).await {
        Ok(received) => (received, "end".to_owned()),
        Err(error) if is_reset(&error) => (0, "reset".to_owned()),
        Err(error) => (0, error.to_string()),
    };
    event(
        "slow",
        json!({ "fast": FAST, "fast_ms": fast_ms, "slow": slow, "saw": saw }),
    );
    Ok(())
}

pub(crate) async fn big_test(session: &Session) -> Result<()> {
    let run = |send, want| {
        let (mut control, remote) = (session.served.control.clone(), session.remote);
        async move { exchange(&mut control, remote, send, want).await }
    };
    let (up, _) = run(BIG_BYTES, 0).await?;
    let (_, down) = run(0, BIG_BYTES).await?;
    let started = Instant::now();
    future::try_join(run(BIG_BYTES, 0), run(0, BIG_BYTES)).await?;
    event(
        "big",
        json!({
            "up": BIG_BYTES, "down": BIG_BYTES, "both": 2 * BIG_BYTES,
            "up_ms": millis(up), "down_ms": millis(down), "both_ms": millis(started.elapsed()),
        }),
    );
    Ok(())
}

/// They close, then we do, then they are gone without a word.
pub(crate) async fn close_test(session: &mut Session) -> Result<()> {
    let told = play_stream(session, b"q").await?;
    gone(session, "their close").await?;
    drop(told);
    session.order(Order::Dial(session.addr.clone()))?;
    session.wait(|it| matches!(it, Seen::Connected)).await?;
    // Before it the other end may not know of the connection yet.
    let mut control = session.served.control.clone();
    echo_once(&mut control, session.remote, STREAM_BYTES).await?;
    session.order(Order::Close(session.remote))?;
    gone(session, "our close").await?;
    session.order(Order::Dial(session.addr.clone()))?;
    session.wait(|it| matches!(it, Seen::Connected)).await?;
    let told = play_stream(session, b"x").await?;
    gone(session, DISAPPEARANCE).await?;
    drop(told);
    event("close", json!({ "ends": 3 }));
    Ok(())
}

async fn gone(session: &mut Session, what: &str) -> Result<()> {
    let silent = what == DISAPPEARANCE && session.addr.to_string().contains("/quic-v1");
    let within = if silent { SILENCE } else { NOTICE };
    let closed = async {
        loop {
            match session.seen.recv().await {
                // Requests under way fail as well, which says nothing.
                Some(Seen::Closed(_)) => return Ok(()),
                Some(_) => {}
                None => return Err("the swarm ended".into()),
            }
        }
    };
    let closed = tokio::time::timeout(within, closed).await;
    closed.map_err(|_| format!("{what} was not noticed"))?
}

/// They add a protocol and tell us, then the other way round.
pub(crate) async fn push_test(session: &mut Session) -> Result<()> {
    session.wait(|it| matches!(it, Seen::Identified)).await?;
    let mut told = play_stream(session, b"p").await?;
    told.read_to_end(&mut Vec::new()).await?;
    let wanted = |it: &Seen| match it {
        Seen::Pushed(protocols) => protocols.iter().any(|it| *it == ADDED.to_string()),
        _ => false,
    };
    let pushed = tokio::time::timeout(NOTICE, session.wait(wanted)).await;
    pushed.map_err(|_| "nothing was told")??;
    add_protocol(&mut session.served, session.remote)?;
    let _either = tokio::time::timeout(NOTICE, stdin_closed()).await;
    Ok(())
}

pub(crate) async fn idle_test(session: &mut Session) -> Result<()> {
    tokio::time::sleep(IDLE).await;
    if session.is_closed() {
        return Err("the connection ended meanwhile".into());
    }
    let started = Instant::now();
    let mut control = session.served.control.clone();
    echo_once(&mut control, session.remote, ECHO_BYTES).await?;
    event(
        "idle",
        json!({ "idle_s": IDLE.as_secs(), "bytes": ECHO_BYTES, "ms": millis(started.elapsed()) }),
    );
    Ok(())
}
