//! A fault of libp2p-mplex 0.44.0: a stream that nobody reads stops all the others, by default.
//!
//! `src/config.rs`, `MaxBufferBehaviour::Block`: once 32 frames wait in a stream nothing is read from
//! the connection any more.
//!
//! `cargo run --release --locked --example mplex_block` here; prints what happened and leaves with 1
//! if the fault is there.

use std::{future::poll_fn, pin::Pin, process::ExitCode};

use futures::{FutureExt as _, executor::block_on, io::Cursor};
use libp2p::core::{StreamMuxer as _, upgrade::InboundConnectionUpgrade as _};

/// More than wait in a stream.
const FRAMES: usize = 40;
const NEW_STREAM: u8 = 0;
const MESSAGE: u8 = 2;

fn main() -> ExitCode {
    let mut connection = frame(1, NEW_STREAM, b"1");
    for _ in 0..FRAMES {
        connection.extend(frame(1, MESSAGE, b"nobody reads this"));
    }
    connection.extend(frame(2, NEW_STREAM, b"2"));
    let config = libp2p_mplex::Config::new();
    let upgrade = config.upgrade_inbound(Cursor::new(connection), "/mplex/6.7.0");
    let mut muxer = block_on(upgrade).expect("nothing to go wrong");

    // What is dropped is not in the way.
    let mut kept = Vec::new();
    while let Some(Ok(stream)) = poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx)).now_or_never()
    {
        kept.push(stream);
    }

    println!(
        "of 2 streams {} came: {FRAMES} frames wait in the first one",
        kept.len()
    );
    ExitCode::from(u8::from(kept.len() != 2))
}

fn frame(stream: u8, tag: u8, data: &[u8]) -> Vec<u8> {
    let len = u8::try_from(data.len()).expect("one byte holds all lengths here");
    [&[stream << 3 | tag, len], data].concat()
}
