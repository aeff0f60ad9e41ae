//! The rules, by what they are about.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a rule that is broken is a failed test"
)]

mod bytes;
mod connection;
mod ends;
mod opening;

use std::io;
use std::sync::Arc;
use std::task::Poll;

use futures::future::{join, join_all, poll_fn};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{BoxStream, ConnectionEnd, ErrorCode, Muxer, StreamReset};

use super::world::expect;
use super::{Pair, Rule, pattern};
pub use bytes::{
    a_slow_reader_harms_only_itself, a_stopped_reader_stops_its_writer_and_memory_stays_bounded,
    a_stream_carries_bytes_both_ways, no_wake_up_is_lost_between_threads,
    no_wake_up_is_lost_within, split_halves_carry_64_mib_both_ways_at_once,
};
pub use connection::{
    a_close_of_the_connection_delivers_what_was_written, a_close_of_the_connection_never_hangs,
    a_dropped_driver_ends_everything, a_lost_link_reaches_everybody,
    an_open_after_the_remote_closed_fails,
};
pub use ends::{
    a_dropped_open_stream_is_reset, a_reset_by_the_acceptor_reaches_both_ends,
    a_reset_by_the_opener_reaches_both_ends, a_reset_interrupts_a_blocked_writer,
    close_then_drop_delivers_everything, either_end_may_close_first,
    nothing_is_left_when_all_streams_are_done, writing_after_close_is_a_broken_pipe,
};
pub use opening::{
    a_cancelled_accept_loses_no_stream, a_refused_stream_leaves_the_connection_open,
    both_sides_open_at_once, many_streams_at_once,
};

const CODE: ErrorCode = ErrorCode(0x1234);
const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

const MULTIPLEXING: &str = "libp2p/specs connections/README.md, \"Stream Multiplexing\"";
const HALF_CLOSED: &str =
    "libp2p/specs connections/README.md, \"Stream Multiplexing\" (closing, half-closed, reset)";
const SEAM_MUXER: &str = "p2p_core::Muxer";
const SEAM_MUXING: &str = "p2p_core::Muxing";
const SEAM_STREAM: &str = "p2p_core::MuxedStream";
const SEAM_BOUNDED: &str = "p2p_core::Budget: what a remote makes us hold is bounded";

macro_rules! rules {
    ($($name:ident: $spec:expr,)*) => {
        /// Every rule, in the order of their names.
        pub const RULES: &[Rule] = &[$(Rule {
            name: stringify!($name),
            spec: $spec,
            run: $name,
        }),*];
    };
}

rules! {
    a_cancelled_accept_loses_no_stream: SEAM_MUXER,
    a_close_of_the_connection_delivers_what_was_written: SEAM_MUXER,
    a_close_of_the_connection_never_hangs: SEAM_MUXER,
    a_dropped_driver_ends_everything: SEAM_MUXING,
    a_dropped_open_stream_is_reset: SEAM_STREAM,
    a_lost_link_reaches_everybody: SEAM_STREAM,
    a_refused_stream_leaves_the_connection_open: SEAM_BOUNDED,
    a_reset_by_the_acceptor_reaches_both_ends: HALF_CLOSED,
    a_reset_by_the_opener_reaches_both_ends: HALF_CLOSED,
    a_reset_interrupts_a_blocked_writer: HALF_CLOSED,
    a_slow_reader_harms_only_itself: MULTIPLEXING,
    a_stopped_reader_stops_its_writer_and_memory_stays_bounded: SEAM_BOUNDED,
    a_stream_carries_bytes_both_ways: MULTIPLEXING,
    an_open_after_the_remote_closed_fails: SEAM_MUXER,
    both_sides_open_at_once: MULTIPLEXING,
    close_then_drop_delivers_everything: SEAM_STREAM,
    either_end_may_close_first: HALF_CLOSED,
    many_streams_at_once: MULTIPLEXING,
    no_wake_up_is_lost_between_threads: MULTIPLEXING,
    nothing_is_left_when_all_streams_are_done: SEAM_BOUNDED,
    split_halves_carry_64_mib_both_ways_at_once: MULTIPLEXING,
    writing_after_close_is_a_broken_pipe: HALF_CLOSED,
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
