//! Listeners, and who comes to them.

use std::io;
use std::time::Duration;

use futures::future::{join, try_join, try_join_all};
use futures::io::AsyncWriteExt;

use super::{KIB, talk, write_until_stopped};
use crate::conformance::transport::Subject;
use crate::conformance::transport::strangers::{self, Below};
use crate::conformance::transport::world::{World, first_addr};
use crate::conformance::{Broken, Verdict, ensure};
use crate::{BoxIo, TransportError};

/// An accept that is dropped while it waits, or after it was woken, takes no connection along.
pub(super) async fn a_dropped_accept_loses_no_connection(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    for _ in 0..3 {
        let mut accept = listener.accept();
        ensure!(futures::poll!(&mut accept).is_pending(), "nobody dialed");
        drop(accept);
    }
    talk(world.connect(&mut *listener).await?).await
}

/// The address can be listened on again at once; what was accepted goes on.
pub(super) async fn a_dropped_listener_frees_its_address_and_keeps_its_connections(
    subject: Subject,
) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let at = first_addr(&*listener)?;
    let pair = world.connect(&mut *listener).await?;
    drop(listener);
    talk(pair).await?;
    let mut listener = world.listen_on(at.clone()).await?;
    ensure!(first_addr(&*listener)? == at, "listens elsewhere");
    talk(world.connect(&mut *listener).await?).await
}

/// Somebody who speaks nonsense without end is not listened to without end.
pub(super) async fn a_stranger_is_not_read_for_ever(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let at = first_addr(&*listener)?;
    match strangers::below(&at) {
        Below::Nothing => {}
        Below::Udp(to) => {
            for len in [1, 20, 1200, 1400] {
                strangers::send_datagram(&world.near.rt, to, len).await?;
            }
        }
        Below::Tcp(to) => {
            let stranger = strangers::connect(&world.near.rt, to).await?;
            let mut stranger: BoxIo = Box::new(stranger);
            let incoming = listener.accept().await?;
            let link = world.far.rt.timeout(Duration::from_secs(5), incoming.link);
            // No line ends, no length fits: nothing of it can be complete.
            let block = vec![b'x'; 64 * KIB];
            let write = write_until_stopped(&world, &mut stranger, &block);
            let (_link, _written) = join(link, write).await;
            if let Err(error) = _written {
                ensure!(_link.is_ok_and(|link| link.is_err()), "{error:?}");
            }
        }
    }
    talk(world.connect(&mut *listener).await?).await
}

/// Two listeners do not share an address.
pub(super) async fn a_taken_address_is_refused(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let at = first_addr(&*listener)?;
    match world.listen_on(at.clone()).await {
        Ok(_) => return Err(Broken::new("two listeners on one address")),
        Err(TransportError::Listen { addr, source }) => {
            ensure!(addr == at, "the error names {addr}");
            let kind = source.kind();
            ensure!(kind == io::ErrorKind::AddrInUse, "{kind:?}: {source}");
        }
        Err(error) => return Err(Broken::new(format!("not a Listen error: {error:?}"))),
    }
    talk(world.connect(&mut *listener).await?).await
}

/// Each listener gets what was dialed at it.
pub(super) async fn connections_of_several_listeners_do_not_mix(subject: Subject) -> Verdict {
    let world = World::new(subject);
    if first_addr(&*world.listen().await?)? == world.subject.listen {
        // A fixed address has one listener.
        return Ok(());
    }
    let (mut one, mut two) = (world.listen().await?, world.listen().await?);
    ensure!(one.addrs() != two.addrs(), "both have {:?}", one.addrs());
    let to_two = world.connect(&mut *two).await?;
    let to_one = world.connect(&mut *one).await?;
    ensure!(one.addrs().contains(&to_one.local), "{}", to_one.local);
    ensure!(two.addrs().contains(&to_two.local), "{}", to_two.local);
    drop(one);
    talk(to_two).await?;
    talk(to_one).await?;
    talk(world.connect(&mut *two).await?).await
}

/// Fifty at once.
pub(super) async fn many_dials_at_once_all_arrive(subject: Subject) -> Verdict {
    const COUNT: u8 = 50;
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let to = first_addr(&*listener)?;
    let dials = (0..COUNT).map(|n| world.near.dial(to.clone(), world.far.party.peer, [n; 16]));
    let mut expected: Vec<_> = (0..COUNT).map(|n| [n; 16]).collect();
    let arrivals = world.arrivals(&mut *listener, &expected);
    let (dialed, arrived) = try_join(try_join_all(dials), arrivals).await?;
    for arrival in arrived {
        expected.retain(|greeting| *greeting != arrival.greeting);
    }
    ensure!(expected.is_empty(), "{} did not arrive", expected.len());
    drop(dialed);
    Ok(())
}

/// Strangers that connect and say nothing, or nonsense, do not hold up the next one.
pub(super) async fn silent_strangers_delay_nobody(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let at = first_addr(&*listener)?;
    let mut strangers = Vec::new();
    let mut sockets = Vec::new();
    match strangers::below(&at) {
        Below::Nothing => {}
        Below::Udp(to) => {
            for len in [1, 1200] {
                sockets.push(strangers::send_datagram(&world.near.rt, to, len).await?);
            }
        }
        Below::Tcp(to) => {
            for words in [
                &b""[..],
                b"\x16",
                b"GET / HTTP/1.1\r\n",
                b"\x13/multistream",
            ] {
                let mut stranger = strangers::connect(&world.near.rt, to).await?;
                stranger.write_all(words).await?;
                strangers.push(stranger);
            }
        }
    }
    let connect = world.connect(&mut *listener);
    let Ok(pair) = world.near.rt.timeout(Duration::from_secs(5), connect).await else {
        return Err(Broken::new("held up for 5 s"));
    };
    talk(pair?).await
}
