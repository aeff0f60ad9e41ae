//! What is written is read, at the reader's pace.

use std::panic::resume_unwind;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures::executor::{ThreadPool, block_on};
use futures::future::{join, join_all};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::poll;
use futures::task::SpawnExt;
use p2p_core::{Budget, ErrorCode, Role, Rt};

use super::{CODE, KIB, MIB, both_ways, pass_turns, write_until_error};
use crate::conformance::{Clock, Subject, World, pattern, pipe};

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

/// Far more real time than anything takes between threads, even on a busy machine: the one rule
/// that cannot run in virtual time must not hang either.
const LOST: Duration = Duration::from_secs(120);

/// 64 MiB both ways between threads: every wake-up arrives.
pub fn no_wake_up_is_lost_between_threads(subject: &Subject) {
    no_wake_up_is_lost_within(LOST, subject);
}

/// The same with another patience, in real time: where it is known to end in vain.
pub fn no_wake_up_is_lost_within(patience: Duration, subject: &Subject) {
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
    within(patience, async move {
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

/// Runs `task` on a thread of its own, and fails if it is not done in time.
fn within(patience: Duration, task: impl Future<Output = ()> + Send + 'static) {
    let (say, done) = mpsc::channel();
    let runs = thread::spawn(move || {
        block_on(task);
        // Nobody listens any more if it comes too late.
        let _ = say.send(());
    });
    let waited = done.recv_timeout(patience);
    assert!(
        waited != Err(mpsc::RecvTimeoutError::Timeout),
        "a wake-up is lost: not done within {patience:?}"
    );
    if let Err(panic) = runs.join() {
        resume_unwind(panic);
    }
}

/// 64 MiB each way at once on one stream whose halves live in different tasks.
pub fn split_halves_carry_64_mib_both_ways_at_once(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (ours, theirs) = pair.stream().await;
        both_ways(&pair, ours, theirs, 64 * MIB).await;
    });
}
