//! What a program may ask and say about peers, and about where we are seen.

use std::fmt;

use p2p_core::{AddrExt, Instant, Multiaddr, PeerId, Protocol, Role, Rt};

use crate::backoff::Backoff;
use crate::book::{AddrSource, KnownAddr};
use crate::external::Change;
use crate::info::ConnectionInfo;
use crate::prefix::Grain;
use crate::reach::{Reach, is_relayed};
use crate::swarm::{Swarm, WeakSwarm};
use crate::tasks::lock;

/// Addresses and protocols of peers.
impl Swarm {
    /// Remembers addresses of `peer` for later dials, for good: what is learned later does not
    /// crowd them out. Addresses that name somebody else and those beyond
    /// [`Limits::max_addrs_per_peer`](crate::Limits::max_addrs_per_peer) are left out.
    pub fn add_addrs(&self, peer: PeerId, addrs: impl IntoIterator<Item = Multiaddr>) {
        let shared = self.shared();
        let now = shared.rt.now();
        let mut state = lock(&shared.state);
        let until = Instant::FAR_FUTURE;
        state.book.add(peer, addrs, AddrSource::User, until, now);
    }

    /// Replaces the addresses that were given with [`Swarm::add_addrs`] or this. What was learned
    /// stays.
    pub fn set_addrs(&self, peer: PeerId, addrs: impl IntoIterator<Item = Multiaddr>) {
        let shared = self.shared();
        let now = shared.rt.now();
        let mut state = lock(&shared.state);
        let until = Instant::FAR_FUTURE;
        state.book.set(peer, addrs, AddrSource::User, until, now);
    }

    /// Takes what somebody said of where `peer` is, instead of what was said before. Forgotten
    /// after [`Config::addr_ttl`](crate::Config::addr_ttl); changes nothing while a signed record
    /// is known.
    pub fn learn_addrs(&self, peer: PeerId, addrs: impl IntoIterator<Item = Multiaddr>) {
        let shared = self.shared();
        let now = shared.rt.now();
        let until = now + shared.config.addr_ttl;
        let mut state = lock(&shared.state);
        state.book.set(peer, addrs, AddrSource::Told, until, now);
    }

    /// Takes what the local network says of where `peer` is, instead of what it said before: no
    /// addresses, if it says so no more. Forgotten at `until`. Anybody there may say it, so of all
    /// that is known of `peer` it counts least; a signed record stands beside it.
    pub fn learn_nearby_addrs(
        &self,
        peer: PeerId,
        addrs: impl IntoIterator<Item = Multiaddr>,
        until: Instant,
    ) {
        let shared = self.shared();
        let now = shared.rt.now();
        let mut state = lock(&shared.state);
        state.book.set(peer, addrs, AddrSource::Nearby, until, now);
    }

    /// Takes what `peer` signed of where it is, whose signature the caller has checked. Replaces
    /// what was signed or said before; forgotten after
    /// [`Config::addr_ttl`](crate::Config::addr_ttl). False if a newer record (a higher `seq`) is
    /// known.
    pub fn learn_signed_addrs(
        &self,
        peer: PeerId,
        seq: u64,
        addrs: impl IntoIterator<Item = Multiaddr>,
    ) -> bool {
        let shared = self.shared();
        let now = shared.rt.now();
        let until = now + shared.config.addr_ttl;
        let mut state = lock(&shared.state);
        state.book.set_signed(peer, seq, addrs, until, now)
    }

    /// Forgets everything about `peer`: addresses, protocols, failures. Returns whether anything
    /// was known. Connections stay.
    pub fn forget_peer(&self, peer: &PeerId) -> bool {
        let mut state = lock(&self.shared().state);
        let failures = state.backoffs.reset(peer);
        state.book.forget(peer) || failures > 0
    }

    /// The addresses known of `peer`, best first.
    pub fn addrs(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let shared = self.shared();
        lock(&shared.state).book.addrs(peer, shared.rt.now())
    }

    /// The same, with who said so and until when.
    pub fn known_addrs(&self, peer: &PeerId) -> Vec<KnownAddr> {
        let shared = self.shared();
        lock(&shared.state).book.known(peer, shared.rt.now())
    }

    /// The peers that something is known of, in order.
    pub fn known_peers(&self) -> Vec<PeerId> {
        lock(&self.shared().state).book.peers().copied().collect()
    }

    /// Remembers which protocols `peer` answers.
    pub fn set_protocols_of(&self, peer: PeerId, protocols: Vec<Protocol>) {
        lock(&self.shared().state)
            .book
            .set_protocols(peer, protocols);
    }

    /// The protocols that `peer` is known to answer; empty if nothing is known.
    pub fn protocols_of(&self, peer: &PeerId) -> Vec<Protocol> {
        lock(&self.shared().state).book.protocols(peer)
    }

    /// The addresses of `peer` that are left alone for a while because dials to them failed.
    pub fn backoffs(&self, peer: &PeerId) -> Vec<Backoff> {
        let shared = self.shared();
        lock(&shared.state).backoffs.of(peer, shared.rt.now())
    }

    /// Forgets the failures of `peer`, so that every address is tried by the next dial. Returns
    /// how many addresses had failed.
    pub fn reset_backoff(&self, peer: &PeerId) -> usize {
        lock(&self.shared().state).backoffs.reset(peer)
    }
}

/// Which connections to keep.
impl Swarm {
    /// Never closes connections with `peer` because there are too many, until every `tag` is
    /// taken back. It does not keep them from being closed when nobody uses them: that is what
    /// [`Swarm::keep_alive`] is for.
    pub fn protect(&self, peer: PeerId, tag: &str) {
        lock(&self.shared().state).manager.protect(peer, tag);
    }

    /// Takes a protection back. Returns whether another one is left.
    pub fn unprotect(&self, peer: PeerId, tag: &str) -> bool {
        lock(&self.shared().state).manager.unprotect(peer, tag)
    }

    /// Whether connections with `peer` are never closed because there are too many.
    pub fn is_protected(&self, peer: &PeerId) -> bool {
        lock(&self.shared().state).manager.is_protected(peer)
    }

    /// Says how useful `peer` is under the name `tag`: of unused connections those with the lowest
    /// sum of tags go first when there are too many.
    pub fn tag_peer(&self, peer: PeerId, tag: &str, value: i64) {
        lock(&self.shared().state).manager.set_tag(peer, tag, value);
    }

    /// Takes a tag back; returns its value.
    pub fn untag_peer(&self, peer: PeerId, tag: &str) -> Option<i64> {
        lock(&self.shared().state).manager.remove_tag(peer, tag)
    }

    /// The sum of the tags of `peer`.
    pub fn score(&self, peer: &PeerId) -> i64 {
        lock(&self.shared().state).manager.score(peer)
    }

    /// Keeps every connection with `peer`, those to come too, from being closed because it is
    /// idle or because there are too many, until the handle is dropped. Does not dial.
    pub fn keep_alive(&self, peer: PeerId) -> KeepAlive {
        lock(&self.shared().state).manager.keep(peer);
        KeepAlive {
            swarm: self.downgrade(),
            peer,
        }
    }
}

/// Keeps connections with a peer: see [`Swarm::keep_alive`].
#[must_use = "dropping it lets the connections go"]
pub struct KeepAlive {
    swarm: WeakSwarm,
    peer: PeerId,
}

impl KeepAlive {
    /// With whom.
    pub fn peer(&self) -> PeerId {
        self.peer
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        if let Some(swarm) = self.swarm.upgrade() {
            lock(&swarm.shared().state).manager.release(self.peer);
        }
    }
}

impl fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeepAlive({})", self.peer)
    }
}

/// Where we can be reached.
impl Swarm {
    /// Notes that the peer at the other end of a connection sees us at `addr`. When
    /// [`Config::observers_needed`](crate::Config::observers_needed) peers from different prefixes
    /// agree, it is an external address.
    ///
    /// Words from relayed connections do not count, nor those about addresses that only one
    /// network can reach, about names, or about another transport than the connection's; on
    /// connections that we dialed, only if they come from a port that we listen on. Of each
    /// transport the [`Limits::max_external_addrs`](crate::Limits::max_external_addrs) that most
    /// agree on are believed.
    pub fn observed(&self, by: &ConnectionInfo, addr: &Multiaddr) {
        let shared = self.shared();
        let addr = addr.without_peer();
        if is_relayed(&by.remote) || is_relayed(&addr) || Reach::of(&addr) != Reach::World {
            return;
        }
        if !is_seen_over(&addr, by.local.as_ref().unwrap_or(&by.remote)) {
            return;
        }
        // A network of one's own is one observer, however its addresses are spread.
        let grain = shared.config.limits.grain();
        let Some(observer) = Grain::source(grain, &by.remote) else {
            return;
        };
        shared.change_external(|state| {
            let listening = by.role == Role::Listener
                || by
                    .local
                    .as_ref()
                    .is_some_and(|local| state.listen_addrs().any(|own| tail(own) == tail(local)));
            if !listening {
                return (Vec::new(), ());
            }
            let now = shared.rt.now();
            (state.external.observe(observer, addr, now), ())
        });
        self.forget_in_time();
    }

    /// Sees to it that an address is lost when too few still say it, though nobody asks.
    fn forget_in_time(&self) {
        let shared = self.shared();
        let Some(mut until) = lock(&shared.state).external.start_forgetting() else {
            return;
        };
        let (rt, swarm) = (Rt::clone(&shared.rt), self.downgrade());
        self.spawn("external addresses", async move {
            loop {
                rt.sleep_until(until).await;
                let Some(swarm) = swarm.upgrade() else { return };
                let shared = swarm.shared();
                let next = shared.change_external(|state| {
                    let changes = state.external.expire(rt.now());
                    (changes, state.external.go_on_forgetting())
                });
                let Some(next) = next else { return };
                until = next;
            }
        });
    }

    /// Adds an address at which we can be reached from elsewhere, such as that of a forwarded
    /// port. Believed at once, told to others, and never forgotten. Returns whether it is new.
    pub fn add_external_addr(&self, addr: &Multiaddr) -> bool {
        let shared = self.shared();
        let addr = addr.without_peer();
        shared.change_external(|state| {
            let new = state.external.add(addr.clone());
            let change = new.then_some(Change::Confirmed(addr));
            (change.into_iter().collect(), new)
        })
    }

    /// Takes an external address back, whoever said it. Returns whether it was one.
    pub fn remove_external_addr(&self, addr: &Multiaddr) -> bool {
        let shared = self.shared();
        let addr = addr.without_peer();
        shared.change_external(|state| {
            let was = state.external.remove(&addr);
            let change = was.then_some(Change::Lost(addr));
            (change.into_iter().collect(), was)
        })
    }

    /// Addresses at which we can be reached from elsewhere: added, or confirmed by enough others.
    /// Each with our `/p2p/<id>`.
    pub fn external_addrs(&self) -> Vec<Multiaddr> {
        let shared = self.shared();
        let addrs = shared.change_external(|state| {
            let changes = state.external.expire(shared.rt.now());
            (changes, state.external.confirmed())
        });
        let local = shared.local;
        addrs
            .into_iter()
            .map(|addr| addr.with_peer(local))
            .collect()
    }

    /// What to tell others of where we can be reached: external addresses first, then those that
    /// we listen on. Each with our `/p2p/<id>`.
    pub fn announced_addrs(&self) -> Vec<Multiaddr> {
        let mut addrs = self.external_addrs();
        for addr in self.listen_addrs() {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        addrs
    }
}

/// Whether a remote can have seen `addr` at the other end of a connection with `end`: an IP address
/// under the same transport. What else it says it has made up.
fn is_seen_over(addr: &Multiaddr, end: &Multiaddr) -> bool {
    fn transport(addr: &Multiaddr) -> impl Iterator<Item = &'static str> {
        addr.iter().skip(1).map(|part| part.tag())
    }
    addr.ip().is_some() && transport(addr).eq(transport(&end.without_peer()))
}

/// An address without the IP address in front: which port of which transport.
fn tail(addr: &Multiaddr) -> Multiaddr {
    addr.without_peer().iter().skip(1).collect()
}
