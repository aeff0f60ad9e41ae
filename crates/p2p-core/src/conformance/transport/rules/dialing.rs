//! Dials that fail, and dials that are given up.

use std::io;
use std::time::Duration;

use futures::future::join;
use futures::io::AsyncWriteExt;

use super::talk;
use crate::conformance::transport::Subject;
use crate::conformance::transport::strangers::{self, Below};
use crate::conformance::transport::world::{A_WHILE, World, first_addr};
use crate::conformance::{Broken, Verdict, ensure, read_out};
use crate::{Blame, SecurityError, TransportError};

/// Dials dropped before they begin, at their first step, or when connected harm nobody else.
pub(super) async fn a_dial_given_up_leaves_the_listener_working(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let to = first_addr(&*listener)?;
    let dial = || {
        world
            .near
            .party
            .transport
            .dial(to.clone(), world.far.party.peer)
    };
    drop(dial());
    for _ in 0..3 {
        let mut begun = dial();
        let _ = futures::poll!(&mut begun);
        drop(begun);
    }
    // Connected, and dropped before anybody accepts it.
    let pair = world.connect(&mut *listener).await?;
    drop(world.near.rt.timeout(A_WHILE, dial()).await);
    // Accepted, and dropped before its link is asked for.
    let (dialed, incoming) = join(
        world.near.rt.timeout(A_WHILE, dial()),
        world.far.rt.timeout(A_WHILE, listener.accept()),
    )
    .await;
    drop((dialed, incoming));
    talk(world.connect(&mut *listener).await?).await?;
    talk(pair).await
}

/// Where nobody listens there is no connection, and the error says where that was.
pub(super) async fn a_dial_to_nobody_fails_and_names_the_address(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let listener = world.listen().await?;
    let to = first_addr(&*listener)?;
    drop(listener);
    let dial = world
        .near
        .party
        .transport
        .dial(to.clone(), world.far.party.peer);
    // Where nothing tells that nobody is there, the caller's deadline ends it.
    match world.near.rt.timeout(A_WHILE, dial).await {
        Err(_) => Ok(()),
        Ok(Ok(_)) => Err(Broken::new("connected to nobody")),
        Ok(Err(error)) => {
            let TransportError::Connect { addr, .. } = &error else {
                return Err(Broken::new(format!("not a Connect error: {error:?}")));
            };
            ensure!(*addr == to, "dialed {to}, the error names {addr}");
            ensure!(error.blame() == Blame::Network, "blames {}", error.blame());
            Ok(())
        }
    }
}

/// A dial to a port that accepts and says nothing holds nothing once it is dropped.
pub(super) async fn a_dial_to_silence_ends_when_it_is_given_up(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let at = first_addr(&*listener)?;
    let Below::Tcp(socket) = strangers::below(&at) else {
        return Ok(());
    };
    let mut silent = strangers::listen(&world.far.rt, socket)?;
    let to = strangers::on_port(&at, silent.local_addr()?.port());
    let dial = world.near.party.transport.dial(to, world.far.party.peer);
    let (dialed, accepted) = join(world.near.rt.timeout(A_WHILE, dial), silent.accept()).await;
    drop(dialed);
    let (mut stream, _) = accepted?;
    read_out(&mut stream).await.1.ok();
    talk(world.connect(&mut *listener).await?).await
}

/// A port that speaks another protocol is an error, if the transport speaks one at all.
pub(super) async fn a_dial_to_something_else_does_not_hang(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let listener = world.listen().await?;
    let at = first_addr(&*listener)?;
    let Below::Tcp(socket) = strangers::below(&at) else {
        return Ok(());
    };
    for greeting in [&b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..], b"", &[0xff; 300]] {
        let mut other = strangers::listen(&world.far.rt, socket)?;
        let to = strangers::on_port(&at, other.local_addr()?.port());
        let dial = world.near.party.transport.dial(to, world.far.party.peer);
        let serve = async {
            let (mut stream, _) = other.accept().await?;
            // It may have hung up already.
            let _ = stream.write_all(greeting).await;
            let _ = stream.close().await;
            Ok::<_, io::Error>(stream)
        };
        let both = world
            .near
            .rt
            .timeout(Duration::from_secs(10), join(dial, serve));
        let Ok((dialed, served)) = both.await else {
            return Err(Broken::new("no answer to nonsense within 10 s"));
        };
        served?;
        if let Err(error) = dialed {
            ensure!(error.blame() != Blame::Us, "blames us: {error:?}");
        }
    }
    Ok(())
}

/// Somebody else than expected: an error that says who was there. (Secured links only.)
pub(super) async fn a_wrong_peer_is_refused(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let (Some(there), Some(wrong)) = (world.far.party.peer, world.near.party.peer) else {
        return Ok(());
    };
    let mut listener = world.listen().await?;
    let to = first_addr(&*listener)?;
    let dial = world.near.party.transport.dial(to, Some(wrong));
    let serve = async {
        match listener.accept().await {
            Ok(incoming) => drop(incoming.link.await),
            Err(error) => return Err(error),
        }
        Ok(())
    };
    let (dialed, served) = join(dial, world.far.rt.timeout(A_WHILE, serve)).await;
    drop(served);
    match dialed {
        Ok(_) => return Err(Broken::new("connected to the wrong peer")),
        Err(TransportError::Security(SecurityError::WrongPeer { expected, found })) => {
            ensure!(expected == wrong && found == there, "{expected}, {found}");
        }
        Err(error) => return Err(Broken::new(format!("not a WrongPeer error: {error:?}"))),
    }
    let pair = world.connect(&mut *listener).await?;
    let peers = (pair.near.keep.peer(), pair.far.keep.peer());
    let right = peers == (Some(there), Some(wrong));
    ensure!(right, "peers of the connection: {peers:?}");
    talk(pair).await
}
