//! What happens to a connection: it ends, it changes, it lives on.

use std::time::{Duration, Instant};

use futures::{AsyncReadExt, StreamExt};
use p2p::{Connection, ErrorCode, Host, PeerId, Stream};
use serde_json::json;

use super::basic::echo_once;
use super::error::{NodeError, unsupported};
use super::report::{event, millis};
use super::serve::{ADDED, play};
use super::streams::play_stream;
use super::{Session, stdin_closed};

/// How long the end of a connection may take to be noticed.
const END_WITHIN: Duration = Duration::from_secs(20);
/// How long the disappearance of a process may take over QUIC: there only silence tells of it,
/// 30 s after a sign of life that was sent 15 s after the last one.
const SILENCE_WITHIN: Duration = Duration::from_secs(50);
/// How long the other end may take to hear of a protocol that we added.
const STAY: Duration = Duration::from_secs(10);
const DISAPPEARANCE: &str = "their disappearance";
const MINUTE: usize = 60;
const IDLE: Duration = Duration::from_secs(120);
const IDLE_BYTES: usize = 100_000;

/// They close in order, then we do, then they are gone without a word.
pub(super) async fn close(session: Session) -> Result<(), NodeError> {
    let Session {
        host,
        addr,
        connection,
        ..
    } = session;
    let _told = tell_to_leave(&connection, play::QUIT).await?;
    ended(&host, &connection, "their close").await?;
    drop(connection);

    let connection = host.dial(&addr).await?;
    // Before it the other end may not know of the connection yet.
    let ping = host.ping().ok_or_else(|| unsupported("service", "ping"))?;
    ping.ping(connection.peer()).await?;
    connection.close(ErrorCode::SHUTDOWN);
    ended(&host, &connection, "our close").await?;
    drop(connection);

    let connection = host.dial(&addr).await?;
    let _told = tell_to_leave(&connection, play::EXIT).await?;
    ended(&host, &connection, DISAPPEARANCE).await?;
    event("close", json!({ "ends": 3 }));
    Ok(())
}

/// Who leaves as soon as it is told may be gone before we have seen that it was: then the end of
/// the connection shows it.
async fn tell_to_leave(connection: &Connection, command: u8) -> Result<Option<Stream>, NodeError> {
    match play_stream(connection, &[command]).await {
        Ok(told) => Ok(Some(told)),
        Err(NodeError::Io { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

async fn ended(host: &Host, connection: &Connection, what: &str) -> Result<(), NodeError> {
    let alone = what == DISAPPEARANCE && connection.info().security.is_none();
    let within = if alone { SILENCE_WITHIN } else { END_WITHIN };
    let ended = host.swarm().rt().timeout(within, connection.ended());
    let late = |_| NodeError::Unexpected(format!("close: {what} was not noticed"));
    ended.await.map(drop).map_err(late)
}

/// They add a protocol and tell us, then the other way round.
pub(super) async fn push(session: &Session) -> Result<(), NodeError> {
    let Session {
        host,
        reports,
        connection,
        ..
    } = session;
    let (Some(identify), Some(mut pushes)) = (host.identify(), reports.pushes()) else {
        return Err(unsupported("service", "identify"));
    };
    identify.identified(connection).await?;
    let mut told = play_stream(connection, &[play::PUSH]).await?;
    let done = told.read_to_end(&mut Vec::new()).await;
    done.map_err(NodeError::at("push"))?;
    loop {
        let pushed = pushes.next().await;
        let Some(protocols) = pushed else {
            return Err(NodeError::Unexpected("push: nothing was told".into()));
        };
        if protocols.contains(ADDED) {
            break;
        }
    }
    host.handle(ADDED, |_stream| async {})?;
    // Either is fine: the runner closes our input when the listener has heard of it.
    let _ = host.swarm().rt().timeout(STAY, stdin_closed()).await;
    Ok(())
}

/// A ping every second for a minute.
pub(super) async fn minute(host: &Host, peer: PeerId) -> Result<(), NodeError> {
    let Some(ping) = host.ping() else {
        return Err(unsupported("service", "ping"));
    };
    let mut pinger = ping.pinger(peer).await?;
    let mut worst = Duration::ZERO;
    for _ in 0..MINUTE {
        worst = worst.max(pinger.ping().await?);
        host.swarm().rt().sleep(Duration::from_secs(1)).await;
    }
    pinger.close().await;
    event(
        "minute",
        json!({ "pings": MINUTE, "worst_ms": millis(worst) }),
    );
    Ok(())
}

/// Two minutes of nothing, then an echo on the same connection.
pub(super) async fn idle(connection: &Connection) -> Result<(), NodeError> {
    connection.rt().sleep(IDLE).await;
    if let Some(end) = connection.end() {
        let text = format!("idle: the connection ended meanwhile: {end}");
        return Err(NodeError::Unexpected(text));
    }
    let started = Instant::now();
    let echoed = echo_once(connection, 1, IDLE_BYTES).await?;
    echoed.map_err(NodeError::at("idle: echo after"))?;
    let ms = millis(started.elapsed());
    event(
        "idle",
        json!({ "idle_s": IDLE.as_secs(), "bytes": IDLE_BYTES, "ms": ms }),
    );
    Ok(())
}
