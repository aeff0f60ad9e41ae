//! What the stack does with any bytes: one function for each decoder and each machine.
//!
//! ```text
//!   TARGETS ── each fn(&[u8]), panics if a rule is broken
//!      ├── tests/replay.rs   the corpus, and random changes to it, with every `cargo test`
//!      └── fuzz/             a coverage-guided fuzzer over the same functions
//! ```
//!
//! - *decoders* take the input as it is: whatever comes out must be encoded and decoded again to
//!   the same, and a refusal is an error.
//! - *exchanges* read the input from a remote that hangs up behind it, in pieces of any size: they
//!   must end.
//! - *machines* take the input as bytes from a remote, or as a list of operations on two machines
//!   back to back: their rules and budgets must hold.
//! - *packets* reach sockets of the simulator: whoever gets them lives on, and nothing is left.
//!
//! The fuzzer needs stable Rust and a C++ compiler. It writes what it finds interesting into the
//! first folder, and what breaks a rule beside it, as `crash-…`:
//!
//! ```text
//! cd crates/p2p-fuzz/fuzz && mkdir -p target/yamux
//! cargo run --release --bin yamux -- target/yamux corpus/yamux -max_total_time=60
//! ```
//!
//! `corpus/` is small on purpose: every `cargo test` tries all of it, and its beginnings. With
//! `-merge=1` in the place of a time, the first folder takes the fewest inputs of the others that
//! reach all that they reach together.

mod decoders;
mod exchanges;
/// Of `p2p`, which is a program and has no library.
#[path = "../../p2p-cli/src/http/wire.rs"]
mod http;
mod machines;
mod packets;
mod parts;
mod remote;
mod roads;

pub use decoders::{
    envelope, frame, http_answer, multistream_token, peer_id, peer_record, private_key, public_key,
    pubsub_rpc, store_record, uvarint,
};
pub use exchanges::{
    http_request, identify, multistream_dialer, multistream_lazy, multistream_listener,
    noise_dialer, noise_listener, perf_client, perf_server, ping, plaintext, request_answer,
    request_question,
};
pub use machines::{
    floodsub, gossipsub, liveness, mplex, mplex_operations, yamux, yamux_operations,
};
pub use packets::{
    address, bootstrap_list, dns_answer, mdns, mdns_packet, quic_dialer, quic_listener,
};
pub use parts::gossipsub_partial;
pub use roads::{
    pnet, pnet_key, socks, tls_certificate, tls_dialer, tls_listener, websocket_dialer,
    websocket_listener,
};

/// Something to feed with bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the function, of the fuzzer's binary and of the corpus.
    pub name: &'static str,
    /// The function. Panics if a rule is broken.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        &[$(Target { name: stringify!($name), run: $name }),*]
    };
}

/// All of them, in alphabetical order.
pub const TARGETS: &[Target] = targets![
    address,
    bootstrap_list,
    dns_answer,
    envelope,
    floodsub,
    frame,
    gossipsub,
    gossipsub_partial,
    http_answer,
    http_request,
    identify,
    liveness,
    mdns,
    mdns_packet,
    mplex,
    mplex_operations,
    multistream_dialer,
    multistream_lazy,
    multistream_listener,
    multistream_token,
    noise_dialer,
    noise_listener,
    peer_id,
    peer_record,
    perf_client,
    perf_server,
    ping,
    plaintext,
    pnet,
    pnet_key,
    private_key,
    public_key,
    pubsub_rpc,
    quic_dialer,
    quic_listener,
    request_answer,
    request_question,
    socks,
    store_record,
    tls_certificate,
    tls_dialer,
    tls_listener,
    uvarint,
    websocket_dialer,
    websocket_listener,
    yamux,
    yamux_operations,
];
