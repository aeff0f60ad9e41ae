//! How streams end: closed, reset or dropped.

use std::io;

use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Blame, BoxStream, ErrorCode, StreamReset};

use super::{CODE, MIB, pass_turns, reset_of, write_until_error};
use crate::conformance::world::expect;
use crate::conformance::{Subject, World, pattern};

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
