//! The local network: tells it of us, and waits until it tells of the other end.

use std::time::Duration;

use futures::StreamExt;
use p2p::mdns::{Config, Event, Mdns};
use p2p::{Host, HostError, PeerId};
use serde_json::json;

use super::error::NodeError;
use super::report::event;

/// After the first address: one packet has them all, and they come one by one.
const REST: Duration = Duration::from_millis(100);

/// Tells the local network where we are, as long as the host lives.
pub(super) fn tell(host: &Host) -> Result<Mdns, NodeError> {
    Ok(Mdns::new(host.swarm(), Config::default()).map_err(HostError::from)?)
}

/// Waits until the local network says where `peer` is; from then on `host` knows it. The caller
/// sets the deadline.
pub(super) async fn find(host: &Host, peer: PeerId) -> Result<(), NodeError> {
    let mdns = tell(host)?;
    let mut events = mdns.events();
    while !mdns.peers().contains_key(&peer) {
        let happened: Option<Event> = events.next().await;
        if happened.is_none() {
            return Err(NodeError::Unexpected("mdns: discovery ended".into()));
        }
    }
    host.swarm().rt().sleep(REST).await;
    let addrs = mdns.peers().remove(&peer).unwrap_or_default();
    let texts: Vec<_> = addrs.iter().map(ToString::to_string).collect();
    event("found", json!({ "peer": peer.to_string(), "addrs": texts }));
    Ok(())
}
