//! What a pipe promises to both its ends.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::join;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::task::{ArcWake, noop_waker_ref, waker};
use p2p_memory::{Pipe, pipe};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs in the simulator, where to wait for what can never come is an error and not a hang.
fn block_on<F: Future>(future: F) -> F::Output {
    p2p_sim::Sim::new(1).block_on(future)
}

#[test]
fn what_is_written_arrives_in_order_and_then_the_end_of_file() {
    let (mut near, mut far) = pipe(7);
    let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let send = async {
        near.write_all(&sent).await.unwrap();
        near.close().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = block_on(join(send, far.read_to_end(&mut received)));
    assert_eq!(read.unwrap(), sent.len());
    assert_eq!(received, sent);
}

#[test]
fn both_directions_run_at_once_through_split_halves() {
    let (near, far) = pipe(64);
    let exchange = |end: Pipe, byte: u8| async move {
        let (mut reader, mut writer) = end.split();
        let send = async {
            writer.write_all(&[byte; 5_000]).await.unwrap();
            writer.close().await.unwrap();
        };
        let mut received = Vec::new();
        join(send, reader.read_to_end(&mut received))
            .await
            .1
            .unwrap();
        received
    };
    let (at_near, at_far) = block_on(join(exchange(near, 1), exchange(far, 2)));
    assert_eq!(at_near, [2; 5_000]);
    assert_eq!(at_far, [1; 5_000]);
}

#[test]
fn a_closed_end_still_reads_and_no_longer_writes() {
    let (mut near, mut far) = pipe(16);
    block_on(async {
        near.close().await.unwrap();
        near.close().await.unwrap();
        far.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        near.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
        let refused = near.write(b"more").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn dropping_an_end_delivers_what_it_wrote_and_then_resets() {
    let (mut near, mut far) = pipe(16);
    block_on(async {
        near.write_all(b"last").await.unwrap();
        drop(near);
        let mut last = [0; 4];
        far.read_exact(&mut last).await.unwrap();
        let reset = far.read(&mut [0]).await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        let broken = far.write(b"x").await.unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn an_end_that_closes_and_then_drops_ended_in_order() {
    let (mut near, mut far) = pipe(16);
    block_on(async {
        near.write_all(b"bye").await.unwrap();
        near.close().await.unwrap();
        drop(near);
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"bye");
    });
}

#[test]
fn every_change_wakes_who_waits_for_it() {
    let wakes = Arc::new(Wakes::default());
    let waker = waker(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let waits = |poll: bool| assert!(poll, "expected to wait");

    let (mut near, mut far) = pipe(2);
    waits(read(&mut far, &mut cx, &mut [0; 8]).is_pending());
    assert_eq!(ready(write(&mut near, &mut cx, b"abc")), 2);
    assert_eq!(wakes.count(), 1, "bytes wake the reader");

    waits(write(&mut near, &mut cx, b"c").is_pending());
    assert_eq!(ready(read(&mut far, &mut cx, &mut [0])), 1);
    assert_eq!(wakes.count(), 2, "room wakes the writer");

    ready(read(&mut far, &mut cx, &mut [0]));
    waits(read(&mut far, &mut cx, &mut [0]).is_pending());
    drop(near);
    assert_eq!(wakes.count(), 3, "the end wakes the reader");

    let (mut near, far) = pipe(1);
    ready(write(&mut near, &mut cx, b"x"));
    waits(write(&mut near, &mut cx, b"y").is_pending());
    drop(far);
    assert_eq!(wakes.count(), 4, "the reader's end wakes the writer");
}

#[test]
fn a_pipe_holds_no_more_than_its_capacity() {
    let mut cx = Context::from_waker(noop_waker_ref());
    let (mut near, mut far) = pipe(1_000);
    assert_eq!(ready(write(&mut near, &mut cx, &[1; 5_000])), 1_000);
    assert!(write(&mut near, &mut cx, &[1]).is_pending());
    assert_eq!(ready(read(&mut far, &mut cx, &mut [0; 300])), 300);
    assert_eq!(ready(write(&mut near, &mut cx, &[1; 5_000])), 300);

    let (mut near, _far) = pipe(0);
    assert_eq!(ready(write(&mut near, &mut cx, b"abc")), 1);
}

proptest! {
    /// Against the plainest model there is: a queue of bytes.
    #[test]
    fn any_order_of_reads_and_writes_behaves_like_a_queue(
        // Small, and larger than what is copied at a time.
        scale in prop_oneof![Just(1usize), Just(97)],
        capacity in 1usize..40,
        steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 0usize..50, 0usize..50), 0..200),
    ) {
        let mut cx = Context::from_waker(noop_waker_ref());
        let capacity = capacity * scale;
        let (mut near, mut far) = pipe(capacity);
        let mut model = VecDeque::new();
        let mut next = 0u8;
        for (writes, vectored, first, second) in steps {
            let first = first * scale;
            let len = first + if vectored { second * scale } else { 0 };
            if writes {
                let bytes: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
                let poll = if vectored {
                    let (a, b) = bytes.split_at(first);
                    Pin::new(&mut near).poll_write_vectored(&mut cx, &[IoSlice::new(a), IoSlice::new(b)])
                } else {
                    write(&mut near, &mut cx, &bytes)
                };
                let room = capacity - model.len();
                if len > 0 && room == 0 {
                    prop_assert!(poll.is_pending());
                } else {
                    let written = ready(poll);
                    prop_assert_eq!(written, len.min(room));
                    model.extend(&bytes[..written]);
                    next = next.wrapping_add(written as u8);
                }
            } else {
                let mut bytes = vec![0; len];
                let poll = if vectored {
                    let (a, b) = bytes.split_at_mut(first);
                    Pin::new(&mut far).poll_read_vectored(&mut cx, &mut [IoSliceMut::new(a), IoSliceMut::new(b)])
                } else {
                    read(&mut far, &mut cx, &mut bytes)
                };
                if len > 0 && model.is_empty() {
                    prop_assert!(poll.is_pending());
                } else {
                    let n = ready(poll);
                    prop_assert_eq!(n, len.min(model.len()));
                    let expected: Vec<u8> = model.drain(..n).collect();
                    prop_assert_eq!(&bytes[..n], &expected[..]);
                }
            }
        }
    }
}

fn read(pipe: &mut Pipe, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<std::io::Result<usize>> {
    Pin::new(pipe).poll_read(cx, buffer)
}

fn write(pipe: &mut Pipe, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
    Pin::new(pipe).poll_write(cx, bytes)
}

fn ready(poll: Poll<std::io::Result<usize>>) -> usize {
    match poll {
        Poll::Ready(result) => result.expect("neither end is gone"),
        Poll::Pending => panic!("expected to be ready"),
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl ArcWake for Wakes {
    fn wake_by_ref(wakes: &Arc<Self>) {
        wakes.0.fetch_add(1, Ordering::Relaxed);
    }
}
