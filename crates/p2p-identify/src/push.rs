//! Tells connected peers when we change.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, future, stream};
use p2p_swarm::{Event, Events, WeakConnection};

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

async fn push_all(shared: &Shared, current: &Current) {
    let outdated = shared.state().outdated(current.version);
    let max = shared.config.max_pushes.get();
    stream::iter(outdated)
        .for_each_concurrent(max, |connection| async move {
            let push = push(&connection, current);
            let timeout = shared.config.timeout;
            let (peer, id) = (connection.peer(), connection.id());
            match shared.rt.timeout(timeout, push).await {
                Ok(Ok(())) => tracing::debug!(%peer, connection = %id, "pushed"),
                Ok(Err(error)) => {
                    tracing::debug!(%peer, connection = %id, %error, "push failed");
                }
                Err(_) => tracing::debug!(%peer, connection = %id, ?timeout, "push timed out"),
            }
        })
        .await;
}

async fn push(connection: &WeakConnection, current: &Current) -> Result<(), IdentifyError> {
    let mut stream = connection.open(&PUSH_PROTOCOL).await?;
    let message = current.message(&connection.info().remote);
    Ok(send(&mut stream, &message).await?)
}
