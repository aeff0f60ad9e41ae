//! A transport that secures its links itself cannot be made private, and is not tried.

use futures::FutureExt;
use futures::future::BoxFuture;
use p2p_core::{Blame, Dialed, Listener, Multiaddr, PeerId, Transport, TransportError};
use p2p_pnet::{PreSharedKey, Private};
use p2p_sim::Sim;

/// As QUIC is: its links come with streams.
#[derive(Debug)]
struct Whole;

impl Transport for Whole {
    fn supports(&self, _: &Multiaddr) -> bool {
        true
    }

    fn needs_upgrade(&self) -> bool {
        false
    }

    fn dial(
        &self,
        _: Multiaddr,
        _: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        panic!("a packet went out")
    }

    fn listen(
        &self,
        _: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        panic!("a socket was opened")
    }
}

#[test]
fn a_transport_that_secures_its_links_itself_is_left_alone() {
    let rt = Sim::new(1).host("us").rt();
    let private = Private::new(Whole, PreSharedKey::new([7; 32]), rt);
    let addr: Multiaddr = "/ip4/192.0.2.1/udp/4001/quic-v1".parse().unwrap();
    assert!(!private.supports(&addr));
    let dialed = private.dial(addr.clone(), None).now_or_never().unwrap();
    let listening = private.listen(addr).now_or_never().unwrap();
    for error in [dialed.err().unwrap(), listening.err().unwrap()] {
        assert!(matches!(error, TransportError::Unsupported { .. }));
        assert_eq!(error.blame(), Blame::Us);
    }
}
