//! How a connection ends, in one direction and in both.

use std::io;

use futures::future::try_join;
use futures::io::AsyncWriteExt;

use super::{KIB, MIB, talk};
use crate::ErrorCode;
use crate::conformance::transport::Subject;
use crate::conformance::transport::world::{A_WHILE, Carrier, World, first_addr};
use crate::conformance::{Broken, Verdict, ensure, expect_all, pattern, read_out};

/// Written, closed, dropped: everything arrives, and then a clean end. At any size.
pub(super) async fn a_close_delivers_what_was_written(subject: Subject) -> Verdict {
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

/// Dropped without a close: the other end's reading and writing end, one way or another.
pub(super) async fn a_dropped_end_reaches_the_other_one(subject: Subject) -> Verdict {
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

/// One direction ends; the other carries more than any buffer holds.
pub(super) async fn a_half_close_ends_one_direction_only(subject: Subject) -> Verdict {
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

/// A reset stream is an error to its reader, never a clean end. (Links with streams only.)
pub(super) async fn a_reset_is_not_a_clean_end(subject: Subject) -> Verdict {
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

/// Closed, dropped: the other end hears all of it and may still answer, to nobody. (Links with
/// streams only.)
pub(super) async fn a_stream_dropped_behind_its_end_is_no_reset(subject: Subject) -> Verdict {
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

/// No socket and no task outlives the nodes and their connections.
pub(super) async fn nothing_is_left_when_all_is_dropped(subject: Subject) -> Verdict {
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
