//! What a hostile or broken peer may send on a ping stream.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::time::Duration;

use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::Instant;
use p2p_ping::{Config, Liveness, Output, SIZE, answer};
use proptest::prelude::*;

/// Runs in the simulator, where to wait for what can never come is an error and not a hang.
fn block_on<F: Future>(future: F) -> F::Output {
    p2p_sim::Sim::new(1).block_on(future)
}

/// Sends `chunks`, then ends the stream; returns the echo and how it was served.
fn send(chunks: &[Vec<u8>]) -> (Vec<u8>, io::Result<u64>) {
    let (mut near, mut far) = p2p_memory::pipe(64);
    let (mut reader, mut writer) = (&mut near).split();
    block_on(async {
        let served = async move {
            let served = answer(&mut far).await;
            drop(far);
            served
        };
        let write = async {
            for chunk in chunks {
                writer.write_all(chunk).await.unwrap();
            }
            writer.close().await.unwrap();
        };
        let read = async {
            let mut echo = Vec::new();
            // A handler that fails drops its stream: what came before is still an echo.
            let _ = reader.read_to_end(&mut echo).await;
            echo
        };
        let ((served, ()), echo) = join(join(served, write), read).await;
        (echo, served)
    })
}

#[test]
fn a_stream_that_ends_inside_a_ping_is_an_error_and_echoes_nothing_of_it() {
    let (echo, served) = send(&[vec![1; SIZE + 5]]);
    assert_eq!(echo, [1; SIZE]);
    assert_eq!(served.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_flood_of_pings_is_answered_one_by_one() {
    // The pipe holds two pings: the flood waits for the echoes to be read.
    let (echo, served) = send(&[vec![9; SIZE * 10_000]]);
    assert_eq!(echo.len(), SIZE * 10_000);
    assert_eq!(served.unwrap(), 10_000);
}

#[test]
fn a_clock_that_jumps_a_hundred_years_costs_a_ping_and_panics_nowhere() {
    const FRESH: [u8; SIZE] = [7; SIZE];
    let century = Duration::from_secs(100 * 365 * 86_400);
    let config = Config::default();
    let mut machine = Liveness::new(&config, Instant::ZERO);
    let now = Instant::ZERO + century;
    machine.handle_timeout(now, FRESH);
    assert_eq!(machine.poll_output(), Some(Output::Ping(FRESH)));
    machine.handle_echo(&FRESH, now + century).unwrap();
    assert_eq!(machine.poll_output(), Some(Output::Rtt(century)));
    let due = now + century + config.interval;
    assert_eq!(machine.poll_timeout(), Some(due));

    // Nothing is later than that: what is due then is due at once.
    for _ in 0..2 * 3 {
        machine.handle_timeout(Instant::FAR_FUTURE, FRESH);
        let due = machine.poll_timeout();
        assert!(due.is_none_or(|due| due == Instant::FAR_FUTURE), "{due:?}");
    }
    let outputs: Vec<Output> = std::iter::from_fn(|| machine.poll_output()).collect();
    assert_eq!((outputs.len(), outputs.last()), (6, Some(&Output::Dead)));
    assert_eq!(machine.poll_timeout(), None);
}

proptest! {
    #[test]
    fn whole_pings_come_back_however_they_are_split(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..8),
    ) {
        let sent: Vec<u8> = chunks.concat();
        let whole = sent.len() / SIZE * SIZE;
        let (echo, served) = send(&chunks);
        prop_assert_eq!(&echo[..], &sent[..whole]);
        prop_assert_eq!(served.is_ok(), whole == sent.len());
    }
}
