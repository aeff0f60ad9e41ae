//! The rules, in the order of their names.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a rule that is broken is a failed test"
)]

use std::io;
use std::sync::Arc;
use std::task::Poll;

use futures::executor::{ThreadPool, block_on};
use futures::future::{join, join_all, poll_fn};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::poll;
use futures::task::SpawnExt;
use p2p_core::{
    Blame, BoxStream, Budget, ConnectionEnd, ErrorCode, Muxer, OpenError, Role, Rt, StreamReset,
};

use super::world::expect;
use super::{Clock, Pair, Rule, Subject, World, pattern, pipe};

const CODE: ErrorCode = ErrorCode(0x1234);
const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

macro_rules! rules {
    ($($rule:ident)*) => {
        /// Every rule with its name, in order.
        pub const RULES: &[(&str, Rule)] = &[$((stringify!($rule), $rule)),*];
    };
}

rules! {
    a_cancelled_accept_loses_no_stream
    a_close_of_the_connection_delivers_what_was_written
    a_close_of_the_connection_never_hangs
    a_dropped_driver_ends_everything
    a_dropped_open_stream_is_reset
    a_lost_link_reaches_everybody
    a_refused_stream_leaves_the_connection_open
    a_reset_by_the_acceptor_reaches_both_ends
    a_reset_by_the_opener_reaches_both_ends
    a_reset_interrupts_a_blocked_writer
    a_slow_reader_harms_only_itself
    a_stopped_reader_stops_its_writer_and_memory_stays_bounded
    a_stream_carries_bytes_both_ways
    an_open_after_the_remote_closed_fails
    both_sides_open_at_once
    close_then_drop_delivers_everything
    either_end_may_close_first
    many_streams_at_once
    no_wake_up_is_lost_between_threads
    nothing_is_left_when_all_streams_are_done
    split_halves_carry_64_mib_both_ways_at_once
    writing_after_close_is_a_broken_pipe
}

/// Dropping an accept future that was polled, or even woken, loses no stream.
pub fn a_cancelled_accept_loses_no_stream(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let accept = || pair.listener.muxer.accept();
        let (mut first, mut second) = (accept(), accept());
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        let mut stream = pair.dialer.muxer.open().await.unwrap();
        stream.write_all(b"here").await.unwrap();
        pass_turns(20).await;
        drop(first);
        let mut accepted = second.await.unwrap();
        stream.close().await.unwrap();
        expect(&mut accepted, b"here").await.unwrap();
    });
}

/// Bytes written before the connection is closed arrive; then the end does, not an end of file.
pub fn a_close_of_the_connection_delivers_what_was_written(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (mut ours, mut theirs) = pair.stream().await;
        let bytes = pattern(1, 20 * KIB);
        ours.write_all(&bytes).await.unwrap();
        pair.dialer.muxer.close(CODE);
        assert_eq!(ended(&ours.write_all(b"more").await), "local");

        let mut received = Vec::new();
        let error = theirs.read_to_end(&mut received).await.unwrap_err();
        assert!(ConnectionEnd::of(&error).is_some(), "{error:?}");
        assert!(
            received == bytes,
            "{} bytes of {}",
            received.len(),
            bytes.len()
        );
        let (here, there) = join(pair.dialer.end.clone(), pair.listener.end.clone()).await;
        assert!(matches!(here, ConnectionEnd::Local(CODE)), "{here:?}");
        let told = matches!(there, ConnectionEnd::Remote(CODE) | ConnectionEnd::Eof);
        assert!(told, "{there:?}");
    });
}

/// An orderly end comes to an end although the remote reads nothing and says nothing.
pub fn a_close_of_the_connection_never_hangs(subject: &Subject) {
    let multiplex = subject.normal.clone();
    World::check(&subject.normal, |pair| async move {
        let (mute_end, io) = pipe(100);
        let clock: Rt = Arc::new(pair.clock.clone());
        let muxing = multiplex.start(Box::new(io), Role::Dialer, &clock, &Budget::unlimited());
        let driver = pair.tasks.spawn(muxing.driver);
        let mut stream = muxing.muxer.open().await.unwrap();
        stream.write_all(&[0; 4 * KIB]).await.unwrap();
        muxing.muxer.close(CODE);
        let end = driver.await;
        assert!(matches!(end, ConnectionEnd::Local(CODE)), "{end:?}");
        drop(mute_end);
    });
}

/// A dropped driver ends reads, writes, opens and accepts with `Dropped`.
pub fn a_dropped_driver_ends_everything(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (mut ours, _theirs) = pair.stream().await;
        let accept = pair.tasks.spawn(accept_ends(pair.dialer.muxer.clone()));
        pass_turns(3).await;
        pair.dialer.driver.abort();
        assert_eq!(ended(&ours.read(&mut [0; 9]).await), "dropped");
        assert_eq!(ended(&ours.write(&[0; 9]).await), "dropped");
        assert_eq!(accept.await, "dropped");
        let opened = pair.dialer.muxer.open().await.map(|_| ());
        assert!(
            matches!(opened, Err(OpenError::Ended(ConnectionEnd::Dropped))),
            "{opened:?}"
        );
        let there = pair.listener.end.clone().await;
        assert!(matches!(there, ConnectionEnd::Eof), "{there:?}");
    });
}

/// Dropping a stream that was not closed resets it.
pub fn a_dropped_open_stream_is_reset(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (mut ours, mut theirs) = pair.stream().await;
        ours.write_all(b"ten bytes.").await.unwrap();
        drop(ours);
        let error = theirs.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(reset_of(&error).by, Blame::Remote);

        let (ours, mut theirs) = pair.stream().await;
        drop(ours);
        let error = write_until_error(&mut theirs).await;
        assert_eq!(reset_of(&error).by, Blame::Remote);
    });
}

/// A link that fails ends readers, writers, openers and accepters of both sides, with an error.
pub fn a_lost_link_reaches_everybody(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (ours, mut theirs) = pair.stream().await;
        let (mut reader, mut writer) = ours.split();
        let reader = pair
            .tasks
            .spawn(async move { ended(&reader.read(&mut [0; 9]).await) });
        let writer = pair.tasks.spawn(async move {
            let bytes = vec![0; 64 * KIB];
            loop {
                if let Err(error) = writer.write_all(&bytes).await {
                    return ended::<()>(&Err(error));
                }
            }
        });
        let accept = pair.tasks.spawn(accept_ends(pair.listener.muxer.clone()));
        pass_turns(50).await;
        pair.link.cut();
        assert_eq!(reader.await, "io");
        assert_eq!(writer.await, "io");
        assert_eq!(accept.await, "io");
        let mut received = Vec::new();
        assert_eq!(ended(&theirs.read_to_end(&mut received).await), "io");
        for side in [&pair.dialer, &pair.listener] {
            let end = side.end.clone().await;
            assert!(matches!(end, ConnectionEnd::Io(_)), "{end:?}");
            let opened = side.muxer.open().await.map(|_| ());
            assert!(matches!(opened, Err(OpenError::Ended(_))), "{opened:?}");
        }
    });
}

/// Streams beyond the limit are reset; those within it, and new ones later, go on.
pub fn a_refused_stream_leaves_the_connection_open(subject: &Subject) {
    World::check(&subject.eight, |pair| async move {
        let mut kept = Vec::new();
        for _ in 0..8 {
            kept.push(pair.stream().await);
        }
        for _ in 0..3 {
            let mut refused = pair.dialer.muxer.open().await.unwrap();
            refused.write_all(b"one too many").await.unwrap();
            let error = refused.read(&mut [0; 9]).await.unwrap_err();
            assert_eq!(reset_of(&error).by, Blame::Remote);
        }
        for (ours, theirs) in &mut kept {
            ours.write_all(b"still here").await.unwrap();
            ours.close().await.unwrap();
            expect(theirs, b"still here").await.unwrap();
            theirs.close().await.unwrap();
            expect(ours, b"").await.unwrap();
        }
        drop(kept);
        pass_turns(20).await;
        pair.stream().await;
    });
}

/// The end that accepted a stream resets it: both see an error, with who did it.
pub fn a_reset_by_the_acceptor_reaches_both_ends(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (ours, theirs) = pair.stream().await;
        resets(theirs, ours).await;
    });
}

/// The end that opened a stream resets it: both see an error, with who did it.
pub fn a_reset_by_the_opener_reaches_both_ends(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (ours, theirs) = pair.stream().await;
        resets(ours, theirs).await;
    });
}

async fn resets(mut resetter: BoxStream, mut other: BoxStream) {
    resetter.write_all(b"ten bytes.").await.unwrap();
    resetter.reset(CODE);
    resetter.reset(ErrorCode::NONE);
    let by_us = StreamReset {
        by: Blame::Us,
        code: CODE,
    };
    let error = resetter.read(&mut [0; 9]).await.unwrap_err();
    assert_eq!(reset_of(&error), by_us);
    assert_eq!(reset_of(&resetter.write(&[0; 9]).await.unwrap_err()), by_us);

    let error = other.read_to_end(&mut Vec::new()).await.unwrap_err();
    let reset = reset_of(&error);
    assert_eq!(reset.by, Blame::Remote);
    assert!(
        reset.code == CODE || reset.code == ErrorCode::NONE,
        "{reset}"
    );
    let error = other.write(&[0; 9]).await.unwrap_err();
    assert_eq!(reset_of(&error), reset);
}

/// A writer that waits for a remote that does not read learns of a reset.
pub fn a_reset_interrupts_a_blocked_writer(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (mut ours, mut theirs) = pair.stream().await;
        let writer = pair
            .tasks
            .spawn(async move { reset_of(&write_until_error(&mut ours).await).by });
        pass_turns(50).await;
        theirs.reset(CODE);
        assert_eq!(writer.await, Blame::Remote);
    });
}

/// A stream that nobody reads does not stop the others for ever.
pub fn a_slow_reader_harms_only_itself(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (mut unread, held) = pair.stream().await;
        let (ours, theirs) = pair.stream().await;
        pair.tasks.run(async move {
            write_until_error(&mut unread).await;
        });
        pass_turns(50).await;
        both_ways(&pair, ours, theirs, MIB).await;
        drop(held);
    });
}

/// A writer waits for its reader, what both sides hold stays small, and all of it is given back.
pub fn a_stopped_reader_stops_its_writer_and_memory_stays_bounded(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (mut ours, theirs) = pair.stream().await;
        let bytes = vec![0; 64 * KIB];
        let mut written = 0;
        loop {
            match poll!(ours.write(&bytes)) {
                Poll::Ready(count) => written += count.unwrap(),
                Poll::Pending => {
                    pass_turns(50).await;
                    if poll!(ours.write(&[0])).is_pending() {
                        break;
                    }
                }
            }
            assert!(written < 8 * MIB, "nothing stops the writer");
        }
        let (here, there) = (pair.dialer.budget.used(), pair.listener.budget.used());
        assert!(here < 512 * KIB, "the writer's side holds {here} bytes");
        assert!(
            (1..4 * MIB).contains(&there),
            "the reader's side holds {there} bytes"
        );

        drop((ours, theirs));
        pair.dialer.muxer.close(CODE);
        join(pair.dialer.end.clone(), pair.listener.end.clone()).await;
        pass_turns(5).await;
        let left = (pair.dialer.budget.used(), pair.listener.budget.used());
        assert_eq!(left, (0, 0), "bytes held after the end");
    });
}

/// Bytes go both ways and arrive as they were; a closed direction is a clean end.
pub fn a_stream_carries_bytes_both_ways(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (ours, theirs) = pair.stream().await;
        assert_eq!(pair.dialer.muxer.streams(), 1);
        assert_eq!(pair.listener.muxer.streams(), 1);
        both_ways(&pair, ours, theirs, 300 * KIB).await;
    });
}

/// Once the remote has closed the connection, opening and accepting fail.
pub fn an_open_after_the_remote_closed_fails(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let accept = pair.tasks.spawn(accept_ends(pair.dialer.muxer.clone()));
        pass_turns(3).await;
        pair.listener.muxer.close(CODE);
        let opened = pair.listener.muxer.open().await.map(|_| ());
        assert!(matches!(
            opened,
            Err(OpenError::Ended(ConnectionEnd::Local(CODE)))
        ));
        pair.dialer.end.clone().await;
        let opened = pair.dialer.muxer.open().await.map(|_| ());
        assert!(
            matches!(opened, Err(OpenError::Ended(_) | OpenError::GoneAway)),
            "{opened:?}"
        );
        assert!(["remote", "eof"].contains(&accept.await));
    });
}

/// Both sides open streams at the same time, and no stream is taken for another.
pub fn both_sides_open_at_once(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let sides = [
            (&pair.dialer, &pair.listener),
            (&pair.listener, &pair.dialer),
        ];
        let all = sides.map(|(from, to)| {
            let (from, to) = (from.muxer.clone(), to.muxer.clone());
            async move {
                let opened = join_all((0..20u8).map(|seed| {
                    let from = from.clone();
                    async move {
                        let mut stream = from.open().await.unwrap();
                        stream.write_all(&[seed]).await.unwrap();
                        stream.write_all(&pattern(seed, 5 * KIB)).await.unwrap();
                        stream.close().await.unwrap();
                        expect(&mut stream, &[seed]).await.unwrap();
                    }
                }));
                let accepted = async {
                    for _ in 0..20 {
                        let mut stream = to.accept().await.unwrap();
                        let mut seed = [0];
                        stream.read_exact(&mut seed).await.unwrap();
                        expect(&mut stream, &pattern(seed[0], 5 * KIB))
                            .await
                            .unwrap();
                        stream.write_all(&seed).await.unwrap();
                        stream.close().await.unwrap();
                    }
                };
                join(opened, accepted).await;
            }
        });
        join_all(all).await;
    });
}

/// A stream that is closed and then dropped delivers everything and ends cleanly.
pub fn close_then_drop_delivers_everything(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (mut ours, mut theirs) = pair.stream().await;
        let bytes = pattern(3, MIB);
        let sent = bytes.clone();
        let writer = pair.tasks.spawn(async move {
            ours.write_all(&sent).await.unwrap();
            ours.close().await.unwrap();
        });
        expect(&mut theirs, &bytes).await.unwrap();
        writer.await;
        // The other direction may still be used for a while: nobody reads it, nobody suffers.
        theirs.write_all(b"nobody reads this").await.unwrap();
        theirs.close().await.unwrap();
    });
}

/// Directions end one by one, in any order.
pub fn either_end_may_close_first(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (mut ours, mut theirs) = pair.stream().await;
        ours.write_all(b"question").await.unwrap();
        ours.close().await.unwrap();
        ours.close().await.unwrap();
        expect(&mut theirs, b"question").await.unwrap();
        theirs.write_all(b"answer").await.unwrap();
        theirs.close().await.unwrap();
        expect(&mut ours, b"answer").await.unwrap();
        expect(&mut ours, b"").await.unwrap();

        let (mut ours, mut theirs) = pair.stream().await;
        theirs.close().await.unwrap();
        expect(&mut ours, b"").await.unwrap();
        ours.write_all(b"still open").await.unwrap();
        ours.close().await.unwrap();
        expect(&mut theirs, b"still open").await.unwrap();

        let (mut ours, mut theirs) = pair.stream().await;
        let (here, there) = join(ours.close(), theirs.close()).await;
        here.and(there).unwrap();
        expect(&mut ours, b"").await.unwrap();
        expect(&mut theirs, b"").await.unwrap();
    });
}

/// A hundred streams carry their own bytes at the same time.
pub fn many_streams_at_once(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let listener = pair.listener.muxer.clone();
        let tasks = pair.tasks.clone();
        let server = pair.tasks.spawn(async move {
            for _ in 0..100 {
                let mut stream = listener.accept().await.unwrap();
                tasks.run(async move {
                    let mut bytes = Vec::new();
                    stream.read_to_end(&mut bytes).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                    stream.close().await.unwrap();
                });
            }
        });
        let muxer = &pair.dialer.muxer;
        join_all((0..100u8).map(|seed| async move {
            let mut stream = muxer.open().await.unwrap();
            let bytes = pattern(seed, 30 * KIB + usize::from(seed));
            stream.write_all(&bytes).await.unwrap();
            stream.close().await.unwrap();
            expect(&mut stream, &bytes).await.unwrap();
        }))
        .await;
        server.await;
    });
}

/// 64 MiB both ways between threads: every wake-up arrives.
pub fn no_wake_up_is_lost_between_threads(subject: &Subject) {
    let clock: Rt = Arc::new(Clock::default());
    let (dialer_io, listener_io) = pipe(64 * KIB);
    let budget = Budget::unlimited();
    let start = |io, role| subject.normal.start(Box::new(io), role, &clock, &budget);
    let (dialer, listener) = (
        start(dialer_io, Role::Dialer),
        start(listener_io, Role::Listener),
    );
    let pool = ThreadPool::builder()
        .pool_size(4)
        .create()
        .expect("threads");
    let drivers = [dialer.driver, listener.driver];
    let drivers = drivers.map(|driver| pool.spawn_with_handle(driver).expect("spawns"));
    block_on(async {
        let mut ours = dialer.muxer.open().await.unwrap();
        ours.write_all(&[0]).await.unwrap();
        let mut theirs = listener.muxer.accept().await.unwrap();
        theirs.read_exact(&mut [0]).await.unwrap();
        let tasks = [ours, theirs].map(|stream| {
            let (mut reader, mut writer) = stream.split();
            let write = async move {
                let bytes = pattern(9, 5 * KIB + 3);
                for _ in 0..64 * MIB / bytes.len() {
                    writer.write_all(&bytes).await.unwrap();
                }
                writer.close().await.unwrap();
            };
            let read = async move {
                let bytes = pattern(9, 5 * KIB + 3);
                let mut buffer = vec![0; bytes.len()];
                for _ in 0..64 * MIB / bytes.len() {
                    reader.read_exact(&mut buffer).await.unwrap();
                    assert!(buffer == bytes, "other bytes than were written");
                }
                assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
            };
            let write = pool.spawn_with_handle(write).expect("spawns");
            join(write, pool.spawn_with_handle(read).expect("spawns"))
        });
        join_all(tasks).await;
        dialer.muxer.close(ErrorCode::NONE);
        join_all(drivers).await;
    });
}

/// Streams that are done leave nothing behind: no entry, and after a while no byte.
pub fn nothing_is_left_when_all_streams_are_done(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        for round in 0..30 {
            let (mut ours, mut theirs) = pair.stream().await;
            match round % 4 {
                0 => {
                    ours.close().await.unwrap();
                    theirs.close().await.unwrap();
                    expect(&mut ours, b"").await.unwrap();
                    expect(&mut theirs, b"").await.unwrap();
                }
                1 => ours.reset(CODE),
                2 => {
                    ours.close().await.unwrap();
                    theirs.close().await.unwrap();
                }
                _ => {}
            }
        }
        pass_turns(50).await;
        let left = [&pair.dialer, &pair.listener].map(|side| side.muxer.streams());
        assert_eq!(left, [0, 0], "streams left");
        pair.sleep(std::time::Duration::from_secs(20)).await;
        let left = [&pair.dialer, &pair.listener].map(|side| side.budget.used());
        assert_eq!(left, [0, 0], "bytes left on an idle connection");
        pair.stream().await;
    });
}

/// 64 MiB each way at once on one stream whose halves live in different tasks.
pub fn split_halves_carry_64_mib_both_ways_at_once(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (ours, theirs) = pair.stream().await;
        both_ways(&pair, ours, theirs, 64 * MIB).await;
    });
}

/// Writing after `close` fails, and says that it is the writer's own doing.
pub fn writing_after_close_is_a_broken_pipe(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (mut ours, mut theirs) = pair.stream().await;
        ours.close().await.unwrap();
        let error = ours.write(b"late").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        theirs.write_all(b"but reading works").await.unwrap();
        theirs.close().await.unwrap();
        expect(&mut ours, b"but reading works").await.unwrap();
        expect(&mut theirs, b"").await.unwrap();
    });
}

/// `len` bytes each way at once, four tasks, clean ends.
async fn both_ways(pair: &Pair, ours: BoxStream, theirs: BoxStream, len: usize) {
    let bytes = Arc::new(pattern(7, len));
    let ends = [ours, theirs].map(|stream| {
        let (mut reader, mut writer) = stream.split();
        let (sent, expected) = (bytes.clone(), bytes.clone());
        let write = pair.tasks.spawn(async move {
            writer.write_all(&sent).await.unwrap();
            writer.close().await.unwrap();
        });
        let read = pair.tasks.spawn(async move {
            expect(&mut reader, &expected).await.unwrap();
        });
        join(write, read)
    });
    join_all(ends).await;
}

async fn write_until_error(stream: &mut BoxStream) -> io::Error {
    let bytes = vec![0; 64 * KIB];
    loop {
        if let Err(error) = stream.write_all(&bytes).await {
            return error;
        }
    }
}

/// Lets every other task run `count` times.
async fn pass_turns(count: usize) {
    for _ in 0..count {
        let mut passed = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut passed, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

fn reset_of(error: &io::Error) -> StreamReset {
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error:?}");
    StreamReset::of(error).expect("a StreamReset inside")
}

/// Which end of the connection the error holds.
fn ended<T>(result: &io::Result<T>) -> &'static str {
    let error = result.as_ref().err().expect("the connection is over");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{error:?}");
    kind(ConnectionEnd::of(error).expect("a ConnectionEnd inside"))
}

async fn accept_ends(muxer: Arc<dyn Muxer>) -> &'static str {
    kind(
        &muxer
            .accept()
            .await
            .map(|_| ())
            .expect_err("the connection is over"),
    )
}

fn kind(end: &ConnectionEnd) -> &'static str {
    match end {
        ConnectionEnd::Dropped => "dropped",
        ConnectionEnd::Eof => "eof",
        ConnectionEnd::Io(_) => "io",
        ConnectionEnd::Local(_) => "local",
        ConnectionEnd::Remote(_) => "remote",
        _ => "other",
    }
}
