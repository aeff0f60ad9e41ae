//! The rules, by what they are about.

mod addresses;
mod bytes;
mod dialing;
mod ends;
mod listening;

use futures::FutureExt;
use futures::future::{BoxFuture, try_join};
use futures::io::AsyncWriteExt;

use super::Rule;
use super::world::{A_WHILE, Pair, World};
use crate::BoxIo;
use crate::conformance::{Broken, Verdict, ensure, expect, expect_all, pattern};
use addresses::{
    a_peer_behind_an_address_is_no_obstacle, addresses_are_those_of_the_connection,
    other_kinds_of_addresses_are_unsupported,
};
use bytes::{
    a_connection_carries_bytes_both_ways, a_slow_reader_loses_nothing,
    a_stopped_reader_stops_its_writer, both_directions_carry_much_at_once,
    huge_and_tiny_writes_are_one_stream_of_bytes,
};
use dialing::{
    a_dial_given_up_leaves_the_listener_working, a_dial_to_nobody_fails_and_names_the_address,
    a_dial_to_silence_ends_when_it_is_given_up, a_dial_to_something_else_does_not_hang,
    a_wrong_peer_is_refused,
};
use ends::{
    a_close_delivers_what_was_written, a_dropped_end_reaches_the_other_one,
    a_half_close_ends_one_direction_only, a_reset_is_not_a_clean_end,
    a_stream_dropped_behind_its_end_is_no_reset, nothing_is_left_when_all_is_dropped,
};
use listening::{
    a_dropped_accept_loses_no_connection,
    a_dropped_listener_frees_its_address_and_keeps_its_connections,
    a_stranger_is_not_read_for_ever, a_taken_address_is_refused,
    connections_of_several_listeners_do_not_mix, many_dials_at_once_all_arrive,
    silent_strangers_delay_nobody,
};

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
