//! NATs.
use crate::net::Proto;
use crate::net::tcp::Side;
use crate::slab::Key;
use crate::world::{HostId, State};
use std::net::SocketAddr;

/// A NAT, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NatId(pub(crate) u32);

#[derive(Debug, Default)]
pub(crate) struct Nats {}

impl State {
    pub(crate) fn nat_out(
        &mut self,
        _: Proto,
        _: HostId,
        _: NatId,
        from: SocketAddr,
        _: SocketAddr,
    ) -> (SocketAddr, Option<NatId>) {
        (from, None)
    }
    pub(crate) fn nat_in(
        &self,
        _: Proto,
        _: NatId,
        _: SocketAddr,
        _: u16,
        _: bool,
    ) -> Result<SocketAddr, &'static str> {
        Err("no")
    }
    pub(crate) fn nat_carries(&mut self, _: Key, _: Side) -> bool {
        true
    }
}
