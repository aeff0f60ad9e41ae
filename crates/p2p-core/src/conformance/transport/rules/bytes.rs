//! What is written is read: all of it, in order, at the reader's pace.

use std::io::IoSlice;
use std::time::Duration;

use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};

use super::{KIB, MIB, talk, write_until_stopped};
use crate::conformance::transport::Subject;
use crate::conformance::transport::world::World;
use crate::conformance::{Broken, Verdict, ensure, expect, expect_all, pattern, read_out};

/// A request and its answer.
pub(super) async fn a_connection_carries_bytes_both_ways(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let pair = world.connect(&mut *listener).await?;
    talk(pair).await
}

/// A reader that takes a little now and then gets every byte.
pub(super) async fn a_slow_reader_loses_nothing(subject: Subject) -> Verdict {
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
pub(super) async fn a_stopped_reader_stops_its_writer(subject: Subject) -> Verdict {
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

/// 8 MiB each way at once.
pub(super) async fn both_directions_carry_much_at_once(subject: Subject) -> Verdict {
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

/// 16 MiB in one write, ten thousand bytes one by one, slices, nothing at all: in order.
pub(super) async fn huge_and_tiny_writes_are_one_stream_of_bytes(subject: Subject) -> Verdict {
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
