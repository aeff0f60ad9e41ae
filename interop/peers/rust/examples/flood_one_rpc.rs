//! A fault of libp2p-floodsub 0.48.0: of a stream it reads one RPC, whatever comes after is lost.
//!
//! `src/protocol.rs`, `upgrade_inbound`: it ends with the first RPC, and the stream is dropped. All
//! others write all their RPCs to one long stream.
//!
//! `cargo run --release --locked --example flood_one_rpc` here; prints what happened and leaves with
//! 1 if the fault is there.

use std::process::ExitCode;

use futures::{executor::block_on, io::Cursor};
use libp2p::{
    PeerId, StreamProtocol, core::upgrade::InboundUpgrade as _,
    floodsub::protocol::FloodsubProtocol,
};

const SENT: u8 = 3;

fn main() -> ExitCode {
    let author = PeerId::random().to_bytes();
    let stream: Vec<u8> = (0..SENT).flat_map(|data| rpc(&author, data)).collect();
    let protocol = StreamProtocol::new("/floodsub/1.0.0");

    let read = FloodsubProtocol::new().upgrade_inbound(Cursor::new(stream), protocol);
    let messages = block_on(read).map_or(0, |rpc| rpc.messages.len());

    println!("{SENT} RPCs with a message each were on the stream, {messages} was read");
    ExitCode::from(u8::from(messages != usize::from(SENT)))
}

/// Length, then an RPC with one message: author and one byte.
fn rpc(author: &[u8], data: u8) -> Vec<u8> {
    let message = [&field(1, author)[..], &field(2, &[data])].concat();
    let rpc = field(2, &message);
    [&[short(&rpc)], &rpc[..]].concat()
}

/// Of bytes, in protobuf.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, short(bytes)], bytes].concat()
}

fn short(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len()).expect("one byte holds all lengths here")
}
