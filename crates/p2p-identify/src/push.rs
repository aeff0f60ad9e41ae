//! Tells connected peers when we change.
//!
//! ```text
//!            sent, in turn                    reset, or not in time
//!   Outdated ────────────> waits for the end ──────────────────────> sent again, later each time
//!                              │ the remote ends its side, or says nothing: taken
//! ```

use std::sync::Arc;

use futures::{AsyncReadExt, FutureExt, StreamExt, future, stream};
use p2p_core::Elapsed;
use p2p_swarm::{Event, Events, Stream, WeakConnection};

use crate::PUSH_PROTOCOL;
use crate::error::IdentifyError;
use crate::exchange::send;
use crate::service::Shared;
use crate::state::Current;

/// Pushes after every change, until the swarm ends.
pub(crate) async fn run(shared: Arc<Shared>, events: Events) {
    let mut changes = events.filter(|event| future::ready(is_change(event)));
    while changes.next().await.is_some() {
        shared.rt.sleep(shared.config.push_delay).await;
        // What changed meanwhile travels with it.
        while let Some(Some(_)) = changes.next().now_or_never() {}
        let Ok(current) = shared.current() else {
            return;
        };
        push_all(&shared, &current).await;
    }
}

fn is_change(event: &Event) -> bool {
    matches!(
        event,
        Event::ExternalAddr(_)
            | Event::ExternalAddrGone(_)
            | Event::ListenAddr(_)
            | Event::ListenAddrGone(_)
            | Event::ProtocolsChanged
            | Event::Lagged(_)
    )
}

async fn push_all(shared: &Arc<Shared>, current: &Current) {
    let outdated = shared.state().outdated(current.version);
    let max = shared.config.max_pushes.get();
    stream::iter(outdated)
        .for_each_concurrent(max, |connection| async move {
            let sent = push(shared, &connection, current).await;
            // On its own: a remote that does not take it keeps nobody else waiting.
            if let Some(swarm) = shared.swarm.upgrade() {
                let rest = see_through(Arc::clone(shared), connection, current.version, sent);
                swarm.spawn("identify push", rest);
            }
        })
        .await;
}

async fn push(
    shared: &Shared,
    connection: &WeakConnection,
    current: &Current,
) -> Result<Stream, IdentifyError> {
    let after = shared.config.timeout;
    let sent = async {
        let mut stream = connection.open(&PUSH_PROTOCOL).await?;
        let message = current.message(&connection.info().remote);
        send(&mut stream, &message).await?;
        Ok(stream)
    };
    match shared.rt.timeout(after, sent).await {
        Ok(sent) => sent,
        Err(Elapsed) => Err(IdentifyError::TimedOut { after }),
    }
}

/// Waits until a push is taken, and repeats it while it is not, as long as nothing newer is told.
async fn see_through(
    shared: Arc<Shared>,
    connection: WeakConnection,
    version: u64,
    sent: Result<Stream, IdentifyError>,
) {
    let peer = connection.peer();
    let (mut sent, mut connection) = (sent, connection);
    let mut wait = shared.config.push_interval;
    for left in (0..=shared.config.push_retries).rev() {
        let id = connection.id();
        let Err(error) = taken(&shared, sent).await else {
            tracing::debug!(%peer, connection = %id, "pushed");
            return;
        };
        tracing::debug!(%peer, connection = %id, %error, left, "push failed");
        if left == 0 || matches!(error, IdentifyError::Unsupported) {
            return;
        }
        shared.rt.sleep(wait).await;
        wait = wait.saturating_mul(2);
        let newest = shared.state().newest(&peer);
        let (Some(newest), Ok(current)) = (newest, shared.current()) else {
            return;
        };
        if current.version != version {
            return;
        }
        sent = push(&shared, &newest, &current).await;
        connection = newest;
    }
}

/// Whether the remote ended its side after a push, as it does when it has read it.
async fn taken(shared: &Shared, sent: Result<Stream, IdentifyError>) -> Result<(), IdentifyError> {
    let mut stream = sent?;
    let after = shared.config.timeout;
    match shared.rt.timeout(after, stream.read(&mut [0])).await {
        Ok(end) => Ok(end.map(drop)?),
        // It has not complained either.
        Err(Elapsed) => Ok(()),
    }
}
