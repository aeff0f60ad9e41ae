//! The rules that every transport must meet, over real sockets and on every runtime.

use p2p_core::Rt;
use p2p_core::conformance::transport::{Party, Subject};
use p2p_keys::Keypair;
use p2p_quic::{Config, Quic};
use p2p_runtime::{AsyncStd, Smol, Tokio};

fn party(rt: Rt) -> Party {
    let identity = Keypair::ed25519_from_seed(rt.random());
    let quic = Quic::new(rt, &identity, Config::default()).expect("a working system");
    Party::secured(quic, identity.to_peer_id())
}

fn subject(rt: Rt) -> Subject {
    Subject::new(rt, "/ip4/127.0.0.1/udp/0/quic-v1", party)
}

p2p_core::transport_conformance!(subject(AsyncStd::new()), AsyncStd::block_on);

p2p_core::transport_conformance_on! {
    every_rule_holds_on_smol: subject(Smol::new()), Smol::block_on;
    every_rule_holds_on_tokio: subject(Tokio::current()), Tokio::block_on;
}
