//! The rules, in the order of their names.

use std::io::{self, IoSlice};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join, try_join, try_join_all};
use futures::io::{AsyncReadExt, AsyncWriteExt};

use super::strangers::{self, Below};
use super::world::{A_WHILE, Carrier, Pair, World, first_addr};
use super::{Rule, Subject};
use crate::conformance::{Broken, Verdict, ensure, expect, expect_all, pattern, read_out};
use crate::multiaddr_parts::Part;
use crate::{AddrExt, Blame, BoxIo, ErrorCode, Multiaddr, SecurityError, TransportError};

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

const ADDRESSING: &str = "libp2p/specs addressing/README.md";
const CONNECTIONS: &str = "libp2p/specs connections/README.md";
const HALF_CLOSED: &str =
    "libp2p/specs connections/README.md, \"Stream Multiplexing\" (closing, half-closed, reset)";
const SEAM_DIAL: &str = "p2p_core::Transport::dial";
const SEAM_LISTEN: &str = "p2p_core::Listener";
const SEAM_BOUNDED: &str = "p2p_core::Budget: what a remote makes us hold is bounded";

macro_rules! rules {
    ($($name:ident: $spec:expr,)*) => {
        /// Every rule, in the order of their names.
        pub const RULES: &[Rule] = &[$(Rule {
            name: stringify!($name),
            spec: $spec,
            run: |subject| -> BoxFuture<'static, Verdict> { $name(subject).boxed() },
        }),*];
    };
}

rules! {
    a_close_delivers_what_was_written: HALF_CLOSED,
    a_connection_carries_bytes_both_ways: CONNECTIONS,
    a_dial_given_up_leaves_the_listener_working: SEAM_DIAL,
    a_dial_to_nobody_fails_and_names_the_address: SEAM_DIAL,
    a_dial_to_silence_ends_when_it_is_given_up: SEAM_DIAL,
    a_dial_to_something_else_does_not_hang: SEAM_DIAL,
    a_dropped_accept_loses_no_connection: SEAM_LISTEN,
    a_dropped_end_reaches_the_other_one: HALF_CLOSED,
    a_dropped_listener_frees_its_address_and_keeps_its_connections: SEAM_LISTEN,
    a_half_close_ends_one_direction_only: HALF_CLOSED,
    a_peer_behind_an_address_is_no_obstacle: ADDRESSING,
    a_reset_is_not_a_clean_end: HALF_CLOSED,
    a_slow_reader_loses_nothing: CONNECTIONS,
    a_stopped_reader_stops_its_writer: SEAM_BOUNDED,
    a_stream_dropped_behind_its_end_is_no_reset: HALF_CLOSED,
    a_stranger_is_not_read_for_ever: SEAM_BOUNDED,
    a_taken_address_is_refused: SEAM_LISTEN,
    a_wrong_peer_is_refused: "libp2p/specs peer-ids/peer-ids.md; tls/tls.md, \"Peer Authentication\"",
    addresses_are_those_of_the_connection: ADDRESSING,
    both_directions_carry_much_at_once: CONNECTIONS,
    connections_of_several_listeners_do_not_mix: SEAM_LISTEN,
    huge_and_tiny_writes_are_one_stream_of_bytes: CONNECTIONS,
    many_dials_at_once_all_arrive: SEAM_LISTEN,
    nothing_is_left_when_all_is_dropped: SEAM_BOUNDED,
    other_kinds_of_addresses_are_unsupported: ADDRESSING,
    silent_strangers_delay_nobody: SEAM_LISTEN,
}

/// Written, closed, dropped: everything arrives, and then a clean end. At any size.
async fn a_close_delivers_what_was_written(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    for len in [0, 1, 100, 4 * KIB, 65_535, 65_536, MIB + 1] {
        let pair = world.connect(&mut *listener).await?;
        let bytes = pattern(1, len);
        let (mut far, _far_keep) = pair.far.into_io();
        let (mut near, near_keep) = pair.near.into_io();
        let write = async {
            near.write_all(&bytes).await?;
            near.close().await?;
            drop(near);
            Ok::<(), Broken>(())
        };
        try_join(write, expect_all(&mut far, &bytes)).await?;
        drop(near_keep);
    }
    Ok(())
}

/// A request and its answer.
async fn a_connection_carries_bytes_both_ways(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let pair = world.connect(&mut *listener).await?;
    talk(pair).await
}

/// Dials dropped before they begin, at their first step, or when connected harm nobody else.
async fn a_dial_given_up_leaves_the_listener_working(subject: Subject) -> Verdict {
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
async fn a_dial_to_nobody_fails_and_names_the_address(subject: Subject) -> Verdict {
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
async fn a_dial_to_silence_ends_when_it_is_given_up(subject: Subject) -> Verdict {
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
async fn a_dial_to_something_else_does_not_hang(subject: Subject) -> Verdict {
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

/// An accept that is dropped while it waits, or after it was woken, takes no connection along.
async fn a_dropped_accept_loses_no_connection(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    for _ in 0..3 {
        let mut accept = listener.accept();
        ensure!(futures::poll!(&mut accept).is_pending(), "nobody dialed");
        drop(accept);
    }
    talk(world.connect(&mut *listener).await?).await
}

/// Dropped without a close: the other end's reading and writing end, one way or another.
async fn a_dropped_end_reaches_the_other_one(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    for drops_near in [true, false] {
        let pair = world.connect(&mut *listener).await?;
        let (gone, left) = match drops_near {
            true => (pair.near, pair.far),
            false => (pair.far, pair.near),
        };
        drop(gone);
        let (mut left, _keep) = left.into_io();
        let (received, _) = read_out(&mut left).await;
        ensure!(received.is_empty(), "bytes that nobody wrote");
        let block = pattern(2, 64 * KIB);
        while left.write_all(&block).await.is_ok() {}
    }
    Ok(())
}

/// The address can be listened on again at once; what was accepted goes on.
async fn a_dropped_listener_frees_its_address_and_keeps_its_connections(
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

/// One direction ends; the other carries more than any buffer holds.
async fn a_half_close_ends_one_direction_only(subject: Subject) -> Verdict {
    if !subject.half_close {
        return Ok(());
    }
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    for closes_near in [true, false] {
        let pair = world.connect(&mut *listener).await?;
        let (first, second) = match closes_near {
            true => (pair.near, pair.far),
            false => (pair.far, pair.near),
        };
        let (mut first, _first_keep) = first.into_io();
        let (mut second, _second_keep) = second.into_io();
        first.write_all(b"last words").await?;
        first.close().await?;
        expect_all(&mut second, b"last words").await?;
        let late = first.write_all(b"more").await;
        ensure!(late.is_err(), "writing after a close succeeds");
        let answer = pattern(3, 8 * MIB);
        let write = async {
            second.write_all(&answer).await?;
            second.close().await?;
            Ok::<(), Broken>(())
        };
        try_join(write, expect_all(&mut first, &answer)).await?;
    }
    Ok(())
}

/// `/p2p/<id>` at the end of an address changes nothing.
async fn a_peer_behind_an_address_is_no_obstacle(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let peer = match world.far.party.peer {
        Some(peer) => peer,
        None => "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse()?,
    };
    let mut listener = world
        .listen_on(world.subject.listen.with_peer(peer))
        .await?;
    let to = first_addr(&*listener)?.with_peer(peer);
    ensure!(world.near.party.transport.supports(&to), "{to} unsupported");
    talk(world.connect_to(to, &mut *listener).await?).await
}

/// A reset stream is an error to its reader, never a clean end. (Links with streams only.)
async fn a_reset_is_not_a_clean_end(subject: Subject) -> Verdict {
    let world = World::new(subject);
    if !world.is_secured() {
        return Ok(());
    }
    let mut listener = world.listen().await?;
    for drops in [false, true] {
        let mut pair = world.connect(&mut *listener).await?;
        pair.near.write_all(&pattern(4, KIB)).await?;
        let keep = match pair.near.io {
            Carrier::Link(_) => return Err(Broken::new("a secured link without streams")),
            Carrier::Stream(mut stream) => {
                if !drops {
                    stream.reset(ErrorCode(7));
                }
                pair.near.keep
            }
        };
        let (mut far, _far_keep) = pair.far.into_io();
        let (_, end) = read_out(&mut far).await;
        let Err(error) = end else {
            return Err(Broken::new("a clean end"));
        };
        let kind = error.kind();
        ensure!(kind == io::ErrorKind::ConnectionReset, "{kind:?}: {error}");
        drop(keep);
    }
    Ok(())
}

/// A reader that takes a little now and then gets every byte.
async fn a_slow_reader_loses_nothing(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let pair = world.connect(&mut *listener).await?;
    let bytes = pattern(5, 4 * MIB);
    let (mut near, _near_keep) = pair.near.into_io();
    let (mut far, _far_keep) = pair.far.into_io();
    let write = async {
        near.write_all(&bytes).await?;
        near.close().await?;
        Ok::<(), Broken>(())
    };
    let read = async {
        let (mut first, mut rest) = bytes.split_at(64);
        for byte in first.chunks(1) {
            expect(&mut far, byte).await?;
        }
        while !rest.is_empty() {
            (first, rest) = rest.split_at(rest.len().min(100 * KIB + 1));
            world.far.rt.sleep(Duration::from_millis(2)).await;
            expect(&mut far, first).await?;
        }
        expect_all(&mut far, &[]).await
    };
    try_join(write, read).await?;
    Ok(())
}

/// Nobody reads: the writer waits before 64 MiB are under way, and goes on when somebody does.
async fn a_stopped_reader_stops_its_writer(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let pair = world.connect(&mut *listener).await?;
    let (mut near, _near_keep) = pair.near.into_io();
    let (mut far, _far_keep) = pair.far.into_io();
    let block = pattern(6, 64 * KIB);
    let written = write_until_stopped(&world, &mut near, &block).await?;
    let write = async {
        near.close().await?;
        Ok::<(), Broken>(())
    };
    let read = async {
        let (received, end) = read_out(&mut far).await;
        end?;
        let same = received.iter().eq(block.iter().cycle().take(written));
        ensure!(same, "{} of {written} bytes, or others", received.len());
        Ok(())
    };
    try_join(write, read).await?;
    Ok(())
}

/// Somebody who speaks nonsense without end is not listened to without end.
async fn a_stranger_is_not_read_for_ever(subject: Subject) -> Verdict {
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

/// Closed, dropped: the other end hears all of it and may still answer, to nobody. (Links with
/// streams only.)
async fn a_stream_dropped_behind_its_end_is_no_reset(subject: Subject) -> Verdict {
    let world = World::new(subject);
    if !world.is_secured() {
        return Ok(());
    }
    let mut listener = world.listen().await?;
    let mut pair = world.connect(&mut *listener).await?;
    pair.near.write_all(b"last words").await?;
    let near_keep = match pair.near.io {
        Carrier::Link(_) => return Err(Broken::new("a secured link without streams")),
        Carrier::Stream(mut stream) => {
            stream.close().await?;
            pair.near.keep
        }
    };
    // A dropped stream has told the other end all that it will.
    world.near.rt.sleep(A_WHILE).await;
    let (mut far, far_keep) = pair.far.into_io();
    // An answer first: whoever agrees on a protocol here would be cut off in its middle.
    far.write_all(b"nobody reads this").await?;
    expect_all(&mut far, b"last words").await?;
    far.close().await?;
    drop((near_keep, far_keep));
    Ok(())
}

/// Two listeners do not share an address.
async fn a_taken_address_is_refused(subject: Subject) -> Verdict {
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

/// Somebody else than expected: an error that says who was there. (Secured links only.)
async fn a_wrong_peer_is_refused(subject: Subject) -> Verdict {
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

/// Real ports; the listener's view of the dialer is the dialer's own; no `/p2p` anywhere.
async fn addresses_are_those_of_the_connection(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let addrs = listener.addrs();
    ensure!(!addrs.is_empty(), "the listener has no address");
    for addr in &addrs {
        ensure!(
            world.near.party.transport.supports(addr),
            "{addr} unsupported"
        );
        let zero = addr
            .iter()
            .any(|part| matches!(part, Part::Tcp(0) | Part::Udp(0) | Part::Memory(0)));
        ensure!(!zero, "{addr} is not a place to dial");
        ensure!(addr.peer().is_none(), "{addr} names a peer");
        let pair = world.connect_to(addr.clone(), &mut *listener).await?;
        ensure!(
            pair.local == *addr,
            "dialed {addr}, came in on {}",
            pair.local
        );
        let (own, seen) = &pair.dialer;
        ensure!(seen.peer().is_none(), "{seen} names a peer");
        if let Some(own) = own {
            ensure!(own == seen, "the dialer is {own}, the listener sees {seen}");
        }
    }
    Ok(())
}

/// 8 MiB each way at once.
async fn both_directions_carry_much_at_once(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let pair = world.connect(&mut *listener).await?;
    let (there, back) = (pattern(7, 8 * MIB), pattern(8, 8 * MIB));
    let (near, _near_keep) = pair.near.into_io();
    let (far, _far_keep) = pair.far.into_io();
    let (mut near_reader, mut near_writer) = near.split();
    let (mut far_reader, mut far_writer) = far.split();
    let near_write = async {
        near_writer.write_all(&there).await?;
        Ok::<(), Broken>(near_writer.flush().await?)
    };
    let far_write = async {
        far_writer.write_all(&back).await?;
        Ok::<(), Broken>(far_writer.flush().await?)
    };
    let reads = try_join(
        expect(&mut near_reader, &back),
        expect(&mut far_reader, &there),
    );
    try_join(try_join(near_write, far_write), reads).await?;
    Ok(())
}

/// Each listener gets what was dialed at it.
async fn connections_of_several_listeners_do_not_mix(subject: Subject) -> Verdict {
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

/// 16 MiB in one write, ten thousand bytes one by one, slices, nothing at all: in order.
async fn huge_and_tiny_writes_are_one_stream_of_bytes(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let pair = world.connect(&mut *listener).await?;
    let huge = pattern(9, 16 * MIB);
    let tiny = pattern(10, 10_000);
    let parts = pattern(11, 3000);
    let (mut near, _near_keep) = pair.near.into_io();
    let (mut far, _far_keep) = pair.far.into_io();
    let write = async {
        ensure!(near.write(&[]).await? == 0, "an empty write writes");
        near.write_all(&huge).await?;
        for byte in tiny.chunks(1) {
            near.write_all(byte).await?;
        }
        let mut rest = &parts[..];
        while !rest.is_empty() {
            let (one, two) = rest.split_at(rest.len() / 3);
            let slices = [IoSlice::new(one), IoSlice::new(&[]), IoSlice::new(two)];
            let count = near.write_vectored(&slices).await?;
            ensure!(count > 0, "a vectored write of nothing");
            rest = rest.get(count..).unwrap_or_default();
        }
        near.close().await?;
        Ok(())
    };
    let read = async {
        expect(&mut far, &huge).await?;
        expect(&mut far, &tiny).await?;
        expect_all(&mut far, &parts).await
    };
    try_join(write, read).await?;
    Ok(())
}

/// Fifty at once.
async fn many_dials_at_once_all_arrive(subject: Subject) -> Verdict {
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

/// No socket and no task outlives the nodes and their connections.
async fn nothing_is_left_when_all_is_dropped(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let to = first_addr(&*listener)?;
    for round in 0..6 {
        let pair = world.connect(&mut *listener).await?;
        match round % 3 {
            0 => talk(pair).await?,
            1 => drop(pair),
            _ => {
                pair.near.keep.close();
                let (mut near, _near_keep) = pair.near.into_io();
                near.close().await.ok();
            }
        }
    }
    let dial = || {
        world
            .near
            .party
            .transport
            .dial(to.clone(), world.far.party.peer)
    };
    drop(world.near.rt.timeout(A_WHILE, dial()).await);
    let mut begun = dial();
    let _ = futures::poll!(&mut begun);
    drop((begun, listener));
    world.drop_nodes().await
}

/// Addresses of other kinds are refused by name, not tried.
async fn other_kinds_of_addresses_are_unsupported(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let transport = &world.near.party.transport;
    let relayed = world.subject.listen.clone().with(Part::P2pCircuit);
    let doubled: Multiaddr = world
        .subject
        .listen
        .iter()
        .chain(world.subject.listen.iter())
        .collect();
    let others = ["/ip4/127.0.0.1", "/ip4/127.0.0.1/sctp/5", "/http", "/udt"];
    let others = others.iter().filter_map(|text| text.parse().ok());
    for addr in others.chain([relayed, doubled, Multiaddr::empty()]) {
        ensure!(!transport.supports(&addr), "{addr} is called supported");
        let dialed = transport.dial(addr.clone(), None).await;
        let refused =
            matches!(&dialed, Err(TransportError::Unsupported { addr: named }) if *named == addr);
        ensure!(refused, "{addr} was dialed");
        let listening = transport.listen(addr.clone()).await;
        let refused = matches!(&listening, Err(TransportError::Unsupported { addr: named }) if *named == addr);
        ensure!(refused, "{addr} was listened on");
    }
    Ok(())
}

/// Strangers that connect and say nothing, or nonsense, do not hold up the next one.
async fn silent_strangers_delay_nobody(subject: Subject) -> Verdict {
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

/// A question, its answer, and an orderly end.
async fn talk(pair: Pair) -> Verdict {
    let (mut near, near_keep) = pair.near.into_io();
    let (mut far, far_keep) = pair.far.into_io();
    let (question, answer) = (pattern(12, 3 * KIB), pattern(13, 70 * KIB));
    let ask = async {
        near.write_all(&question).await?;
        near.flush().await?;
        expect(&mut near, &answer).await
    };
    let serve = async {
        expect(&mut far, &question).await?;
        far.write_all(&answer).await?;
        Ok(far.flush().await?)
    };
    try_join(ask, serve).await?;
    near.close().await?;
    expect_all(&mut far, &[]).await?;
    drop((near_keep, far_keep));
    Ok(())
}

/// Writes `block` again and again until that stops; returns the number of bytes.
async fn write_until_stopped(
    world: &World,
    writer: &mut BoxIo,
    block: &[u8],
) -> Result<usize, Broken> {
    let mut written = 0;
    loop {
        let rest = block.get(written % block.len()..).unwrap_or_default();
        match world.near.rt.timeout(A_WHILE, writer.write(rest)).await {
            Err(_) => return Ok(written),
            Ok(count) => written += count?,
        }
        ensure!(written <= 64 * MIB, "64 MiB are under way and unread");
    }
}
