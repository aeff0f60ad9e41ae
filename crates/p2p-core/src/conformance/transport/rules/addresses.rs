//! Which addresses are ours, and what they say.

use super::talk;
use crate::conformance::transport::Subject;
use crate::conformance::transport::world::{World, first_addr};
use crate::conformance::{Verdict, ensure};
use crate::multiaddr_parts::Part;
use crate::{AddrExt, Multiaddr, TransportError};

/// `/p2p/<id>` at the end of an address changes nothing.
pub(super) async fn a_peer_behind_an_address_is_no_obstacle(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let peer = match world.far.party.peer {
        Some(peer) => peer,
        None => "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse()?,
    };
    let mut listener = world
        .listen_on(world.subject.listen.with_peer(peer))
        .await?;
    let to = first_addr(&*listener)?.with_peer(peer);
    ensure!(world.near.party.transport.supports(&to), "{to} unsupported");
    talk(world.connect_to(to, &mut *listener).await?).await
}

/// Real ports; the listener's view of the dialer is the dialer's own; no `/p2p` anywhere.
pub(super) async fn addresses_are_those_of_the_connection(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let mut listener = world.listen().await?;
    let addrs = listener.addrs();
    ensure!(!addrs.is_empty(), "the listener has no address");
    for addr in &addrs {
        ensure!(
            world.near.party.transport.supports(addr),
            "{addr} unsupported"
        );
        let zero = addr
            .iter()
            .any(|part| matches!(part, Part::Tcp(0) | Part::Udp(0) | Part::Memory(0)));
        ensure!(!zero, "{addr} is not a place to dial");
        ensure!(addr.peer().is_none(), "{addr} names a peer");
        let pair = world.connect_to(addr.clone(), &mut *listener).await?;
        ensure!(
            pair.local == *addr,
            "dialed {addr}, came in on {}",
            pair.local
        );
        let (own, seen) = &pair.dialer;
        ensure!(seen.peer().is_none(), "{seen} names a peer");
        if let Some(own) = own {
            ensure!(own == seen, "the dialer is {own}, the listener sees {seen}");
        }
    }
    Ok(())
}

/// Addresses of other kinds are refused by name, not tried.
pub(super) async fn other_kinds_of_addresses_are_unsupported(subject: Subject) -> Verdict {
    let world = World::new(subject);
    let transport = &world.near.party.transport;
    let relayed = world.subject.listen.clone().with(Part::P2pCircuit);
    let doubled: Multiaddr = world
        .subject
        .listen
        .iter()
        .chain(world.subject.listen.iter())
        .collect();
    let others = ["/ip4/127.0.0.1", "/ip4/127.0.0.1/sctp/5", "/http", "/udt"];
    let others = others.iter().filter_map(|text| text.parse().ok());
    for addr in others.chain([relayed, doubled, Multiaddr::empty()]) {
        ensure!(!transport.supports(&addr), "{addr} is called supported");
        let dialed = transport.dial(addr.clone(), None).await;
        let refused =
            matches!(&dialed, Err(TransportError::Unsupported { addr: named }) if *named == addr);
        ensure!(refused, "{addr} was dialed");
        let listening = transport.listen(addr.clone()).await;
        let refused = matches!(&listening, Err(TransportError::Unsupported { addr: named }) if *named == addr);
        ensure!(refused, "{addr} was listened on");
    }
    Ok(())
}
