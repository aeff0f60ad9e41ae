//! Streams that end in every way: in each order, by a reset, many at once, slowly, and large.

use std::time::Instant;

use futures::{AsyncReadExt, AsyncWriteExt, future, io};
use p2p::{Connection, ErrorCode, Stream};
use serde_json::json;

use super::basic::{echo_on, echo_once, exchange, open};
use super::error::NodeError;
use super::pattern;
use super::report::{event, millis};
use super::serve::{ECHO, PERF, PLAY, SAID, play, saw};

/// What the `codes` test resets with.
pub(super) const CODE: u32 = 0x2a17;
/// Of the `streams` test.
const STREAMS: usize = 200;
const STREAM_BYTES: usize = 100;
/// Of the `slow` test: more than a window.
const SLOW_BYTES: u64 = 2_000_000;
const FAST: u8 = 8;
const FAST_BYTES: usize = 100_000;
/// Of the `big` test, each way.
const BIG_BYTES: u64 = 50_000_000;

/// Half-closes in every order; each line below is one stream.
pub(super) async fn orders(connection: &Connection) -> Result<(), NodeError> {
    let started = Instant::now();
    let after = we_first(connection).await?;
    let both = both(connection).await?;
    let first = they_first(connection, play::FIRST, "first").await?;
    let nothing = they_first(connection, play::NOTHING, "nothing").await?;
    let empty = empty(connection).await?;
    event(
        "orders",
        json!({
            "after": after, "both": both, "first": first, "nothing": nothing, "empty": empty,
            "ms": millis(started.elapsed()),
        }),
    );
    Ok(())
}

/// We end first; they answer when they have seen our end.
async fn we_first(connection: &Connection) -> Result<u64, NodeError> {
    let mut stream = play_stream(connection, &[play::AFTER]).await?;
    let done = async {
        pattern::write(&mut stream, SAID).await?;
        stream.close().await?;
        pattern::read(&mut stream).await
    };
    done.await.map_err(NodeError::at("orders: after"))
}

/// Both end at once.
async fn both(connection: &Connection) -> Result<u64, NodeError> {
    let stream = play_stream(connection, &[play::FIRST]).await?;
    let (mut reader, mut writer) = stream.split();
    let write = async {
        pattern::write(&mut writer, SAID).await?;
        writer.close().await
    };
    let done = future::try_join(write, pattern::read(&mut reader)).await;
    let ((), received) = done.map_err(NodeError::at("orders: both"))?;
    Ok(received)
}

/// They end first; we write when we have seen their end.
async fn they_first(connection: &Connection, command: u8, name: &str) -> Result<u64, NodeError> {
    let mut stream = play_stream(connection, &[command]).await?;
    let done = async {
        let received = pattern::read(&mut stream).await?;
        pattern::write(&mut stream, SAID).await?;
        stream.close().await?;
        Ok(received)
    };
    done.await
        .map_err(NodeError::at(&format!("orders: {name}")))
}

/// An echo of nothing.
async fn empty(connection: &Connection) -> Result<u64, NodeError> {
    let mut stream = open(connection, ECHO).await?;
    let done = async {
        stream.close().await?;
        pattern::read(&mut stream).await
    };
    done.await.map_err(NodeError::at("orders: empty"))
}

/// A reset from either side, both with `code`, and a sign of life after.
pub(super) async fn reset(connection: &Connection, test: &str, code: u32) -> Result<(), NodeError> {
    let mut ours = play_stream(connection, &[play::WAIT]).await?;
    let ready = ours.read_exact(&mut [0]).await;
    ready.map_err(NodeError::at("reset: wait"))?;
    ours.reset(ErrorCode(code));

    let mut command = vec![play::RESET];
    command.extend(code.to_be_bytes());
    let mut theirs = play_stream(connection, &command).await?;
    let mut saw = saw(&mut theirs).await;

    let echoed = echo_once(connection, 1, STREAM_BYTES).await?;
    echoed.map_err(NodeError::at("reset: echo after"))?;
    if let Some(saw) = saw.as_object_mut() {
        saw.insert("after".into(), true.into());
    }
    event(test, saw);
    Ok(())
}

/// Many streams that are open at the same time, each with an echo of its own.
pub(super) async fn many(connection: &Connection) -> Result<(), NodeError> {
    let started = Instant::now();
    let opened = (0..STREAMS).map(|_| async {
        let mut stream = open(connection, ECHO).await?;
        // Over QUIC the other end sees a stream with its first byte, and allows more by what it sees.
        stream
            .flush()
            .await
            .map_err(NodeError::at("streams: propose"))?;
        Ok::<_, NodeError>(stream)
    });
    let streams = future::try_join_all(opened).await?;
    let echoes = streams.into_iter().enumerate().map(|(index, stream)| {
        let seed = u8::try_from(index % 256).unwrap_or_default();
        echo_on(stream, seed, STREAM_BYTES)
    });
    let echoed = future::try_join_all(echoes).await;
    echoed.map_err(NodeError::at("streams"))?;
    let ms = millis(started.elapsed());
    event("streams", json!({ "streams": STREAMS, "ms": ms }));
    Ok(())
}

/// A download that nobody reads beside echoes that somebody does; then the download.
pub(super) async fn slow(connection: &Connection) -> Result<(), NodeError> {
    let mut slow = open(connection, PERF).await?;
    let asked = async {
        slow.write_all(&SLOW_BYTES.to_be_bytes()).await?;
        slow.close().await
    };
    asked.await.map_err(NodeError::at("slow: ask"))?;
    let started = Instant::now();
    for round in 1..=FAST {
        let echoed = echo_once(connection, round, FAST_BYTES).await?;
        echoed.map_err(NodeError::at(&format!("slow: echo {round} beside it")))?;
    }
    let fast_ms = millis(started.elapsed());
    let (slow, how) = match pattern::read(&mut slow).await {
        Ok(received) => (received, "end".to_owned()),
        // Without flow control a slow reader may lose its stream, but nobody else's.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (0, "reset".to_owned()),
        Err(error) => (0, error.to_string()),
    };
    event(
        "slow",
        json!({ "fast": FAST, "fast_ms": fast_ms, "slow": slow, "saw": how }),
    );
    Ok(())
}

/// 50 MB up, then down, then both at once.
pub(super) async fn big(connection: &Connection) -> Result<(), NodeError> {
    let run = async |send, want| {
        let stream = open(connection, PERF).await?;
        let moved = exchange(stream, send, want).await;
        moved.map_err(NodeError::at("big"))
    };
    let up = run(BIG_BYTES, 0).await?.0;
    let down = run(0, BIG_BYTES).await?.1;
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

/// A stream on which the other end was told what to do.
pub(super) async fn play_stream(
    connection: &Connection,
    command: &[u8],
) -> Result<Stream, NodeError> {
    let mut stream = open(connection, PLAY).await?;
    let told = async {
        stream.write_all(command).await?;
        stream.flush().await
    };
    told.await.map_err(NodeError::at("play"))?;
    Ok(stream)
}
