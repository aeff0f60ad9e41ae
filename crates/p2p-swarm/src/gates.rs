//! Policy: lists of peers and addresses, and several gates one after the other.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use p2p_core::{AddrExt, Denied, Gate, Multiaddr, PeerId, Role};

use crate::prefix::IpPrefix;

/// Who may be dialed and who may connect: lists of peers and of blocks of IP addresses that can be
/// changed at any time. Cheap to clone; clones are the same lists.
///
/// What is denied is refused. If any peer is allowed explicitly, all others are denied; the same
/// for blocks of addresses. A denial wins over an allowance. Lists concern what comes: connections
/// that exist stay until [`Swarm::disconnect`](crate::Swarm::disconnect).
///
/// Peers are checked at a dial, and again when the remote has proved who it is; addresses at a
/// dial and before a byte is read. An address without an IP address, such as a name that is yet to
/// be resolved, is in no block and let through: whoever resolves it must ask about what it comes to.
/// `p2p_dns::Dns` does that when it is given the same lists (`Dns::gate`); a host of the facade
/// `p2p` gives them to both.
///
/// ```
/// use p2p_swarm::GateList;
///
/// let lists = GateList::default();
/// lists.deny_addrs("10.0.0.0/8".parse()?);
/// // Swarm::builder(..).gate(lists.clone()), and later at any time:
/// lists.deny_addrs("192.0.2.7".parse()?);
/// # Ok::<(), p2p_swarm::InvalidPrefix>(())
/// ```
#[derive(Clone, Default)]
pub struct GateList(Arc<RwLock<Lists>>);

#[derive(Debug, Default)]
struct Lists {
    allowed_peers: BTreeSet<PeerId>,
    denied_peers: BTreeSet<PeerId>,
    allowed_addrs: BTreeSet<IpPrefix>,
    denied_addrs: BTreeSet<IpPrefix>,
}

impl GateList {
    /// Refuses `peer` from now on. Returns whether that is new.
    pub fn deny_peer(&self, peer: PeerId) -> bool {
        self.change(|lists| lists.denied_peers.insert(peer))
    }

    /// Takes a denial back. Returns whether there was one.
    pub fn undeny_peer(&self, peer: &PeerId) -> bool {
        self.change(|lists| lists.denied_peers.remove(peer))
    }

    /// Lets `peer` through, and from now on only those that are let through. Returns whether that
    /// is new.
    pub fn allow_peer(&self, peer: PeerId) -> bool {
        self.change(|lists| lists.allowed_peers.insert(peer))
    }

    /// Takes an allowance back; without the last one everybody is let through again. Returns
    /// whether there was one.
    pub fn unallow_peer(&self, peer: &PeerId) -> bool {
        self.change(|lists| lists.allowed_peers.remove(peer))
    }

    /// Refuses a block of addresses from now on. Returns whether that is new.
    pub fn deny_addrs(&self, block: IpPrefix) -> bool {
        self.change(|lists| lists.denied_addrs.insert(block))
    }

    /// Takes a denial back. Returns whether there was one.
    pub fn undeny_addrs(&self, block: &IpPrefix) -> bool {
        self.change(|lists| lists.denied_addrs.remove(block))
    }

    /// Lets a block of addresses through, and from now on only those that are let through.
    /// Returns whether that is new.
    pub fn allow_addrs(&self, block: IpPrefix) -> bool {
        self.change(|lists| lists.allowed_addrs.insert(block))
    }

    /// Takes an allowance back; without the last one all addresses are let through again. Returns
    /// whether there was one.
    pub fn unallow_addrs(&self, block: &IpPrefix) -> bool {
        self.change(|lists| lists.allowed_addrs.remove(block))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Lists) -> T) -> T {
        let mut lists = match self.0.write() {
            Ok(lists) => lists,
            Err(poisoned) => poisoned.into_inner(),
        };
        change(&mut lists)
    }

    fn lists(&self) -> RwLockReadGuard<'_, Lists> {
        match self.0.read() {
            Ok(lists) => lists,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

impl Lists {
    fn check_peer(&self, peer: &PeerId) -> Result<(), Denied> {
        if self.denied_peers.contains(peer) {
            return Err(denied(format!("peer {peer} is on the deny list")));
        }
        if !self.allowed_peers.is_empty() && !self.allowed_peers.contains(peer) {
            return Err(denied(format!("peer {peer} is not on the allow list")));
        }
        Ok(())
    }

    fn check_addr(&self, addr: &Multiaddr) -> Result<(), Denied> {
        let Some(ip) = addr.ip() else {
            return Ok(());
        };
        let holds =
            |blocks: &BTreeSet<IpPrefix>| blocks.iter().copied().find(|one| one.contains(ip));
        if let Some(block) = holds(&self.denied_addrs) {
            return Err(denied(format!(
                "{ip} is in {block}, which is on the deny list"
            )));
        }
        if !self.allowed_addrs.is_empty() && holds(&self.allowed_addrs).is_none() {
            return Err(denied(format!("{ip} is in no block of the allow list")));
        }
        Ok(())
    }
}

fn denied(reason: String) -> Denied {
    Denied { reason }
}

impl Gate for GateList {
    fn dial(&self, peer: Option<&PeerId>, addr: &Multiaddr) -> Result<(), Denied> {
        let lists = self.lists();
        if let Some(peer) = peer {
            lists.check_peer(peer)?;
        }
        lists.check_addr(addr)
    }

    fn accept(&self, remote: &Multiaddr) -> Result<(), Denied> {
        self.lists().check_addr(remote)
    }

    fn secured(&self, peer: &PeerId, addr: &Multiaddr, _role: Role) -> Result<(), Denied> {
        let lists = self.lists();
        lists.check_peer(peer)?;
        lists.check_addr(addr)
    }
}

impl fmt::Debug for GateList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.lists(), f)
    }
}

/// Several gates as one: all of them must agree, the first that does not says why.
#[derive(Clone, Debug, Default)]
pub struct Gates(Vec<Arc<dyn Gate>>);

impl Gates {
    /// Adds a gate, to be asked after those already added.
    pub fn push(&mut self, gate: Arc<dyn Gate>) {
        self.0.push(gate);
    }
}

impl Gate for Gates {
    fn dial(&self, peer: Option<&PeerId>, addr: &Multiaddr) -> Result<(), Denied> {
        self.0.iter().try_for_each(|gate| gate.dial(peer, addr))
    }

    fn accept(&self, remote: &Multiaddr) -> Result<(), Denied> {
        self.0.iter().try_for_each(|gate| gate.accept(remote))
    }

    fn secured(&self, peer: &PeerId, addr: &Multiaddr, role: Role) -> Result<(), Denied> {
        self.0
            .iter()
            .try_for_each(|gate| gate.secured(peer, addr, role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes(&[0, 1, n]).unwrap()
    }

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn everybody_is_let_through_until_a_list_says_otherwise() {
        let list = GateList::default();
        let far = addr("/ip4/192.0.2.1/tcp/1");
        assert!(list.dial(Some(&peer(1)), &far).is_ok() && list.accept(&far).is_ok());

        list.deny_addrs("192.0.2.0/24".parse().unwrap());
        let text = list.accept(&far).unwrap_err().to_string();
        assert_eq!(
            text,
            "denied by policy: 192.0.2.1 is in 192.0.2.0/24, which is on the deny list"
        );
        assert!(list.dial(None, &far).is_err());
        assert!(list.undeny_addrs(&"192.0.2.0/24".parse().unwrap()));
        assert!(list.accept(&far).is_ok());
    }

    #[test]
    fn an_allow_list_shuts_out_all_others_and_a_denial_wins() {
        let list = GateList::default();
        let far = addr("/ip4/192.0.2.1/tcp/1");
        list.allow_peer(peer(1));
        list.allow_peer(peer(2));
        list.deny_peer(peer(2));
        assert!(list.secured(&peer(1), &far, Role::Listener).is_ok());
        assert!(list.secured(&peer(2), &far, Role::Listener).is_err());
        assert!(list.secured(&peer(3), &far, Role::Listener).is_err());
        assert!(
            list.dial(None, &far).is_ok(),
            "who is there is not known yet"
        );

        list.allow_addrs("10.0.0.0/8".parse().unwrap());
        assert!(list.accept(&far).is_err());
        assert!(list.accept(&addr("/ip4/10.1.1.1/tcp/1")).is_ok());
        assert!(list.dial(None, &addr("/dns4/example.com/tcp/1")).is_ok());
    }

    #[test]
    fn several_gates_must_all_agree() {
        let (one, two) = (GateList::default(), GateList::default());
        let mut gates = Gates::default();
        gates.push(Arc::new(one.clone()));
        gates.push(Arc::new(two.clone()));
        assert!(gates.accept(&addr("/memory/1")).is_ok());
        two.deny_peer(peer(1));
        assert!(
            gates
                .secured(&peer(1), &addr("/memory/1"), Role::Dialer)
                .is_err()
        );
    }
}
