//! An address book that outlives its process.
//!
//! [`BookStore`] is where it is kept. What is kept is a record per peer ([`StoredPeer`]) with an
//! encoding of its own, so that any key-value store will do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use p2p_core::{AddrExt, Instant, Multiaddr, PeerId, Protocol, uvarint};

use crate::book::{AddrSource, Entry, KnownAddr};
use crate::shared::Shared;
use crate::tasks::lock;

/// Where an address book is kept between runs.
///
/// Both methods may block for as long as a disk takes. `load` is called once, while the swarm is
/// built; `save` from a task of its own every [`Config::store_interval`](crate::Config) in which
/// something changed, and for [`Swarm::close`](crate::Swarm::close), which waits for it no longer
/// than [`Config::shutdown_timeout`](crate::Config).
pub trait BookStore: Send + Sync + fmt::Debug + 'static {
    /// Everything that was kept, at most `max` peers: those whose addresses expire last, in the
    /// order in which they expire.
    ///
    /// # Errors
    /// [`StoreError`]: the swarm starts with an empty book, and logs it.
    fn load(&self, max: usize) -> Result<Vec<StoredPeer>, StoreError>;

    /// Keeps these peers instead of what was kept of them; `None` forgets one.
    ///
    /// # Errors
    /// [`StoreError`]: nothing has changed. It is logged, and tried again after the next interval.
    fn save(&self, changes: &BTreeMap<PeerId, Option<StoredPeer>>) -> Result<(), StoreError>;
}

/// Why an address book could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("address book: {0}")]
pub struct StoreError(pub String);

/// What is kept of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredPeer {
    /// Who.
    pub peer: PeerId,
    /// Where, best first.
    pub addrs: Vec<StoredAddr>,
    /// The number of its newest signed record.
    pub seq: Option<u64>,
    /// What it answers.
    pub protocols: Vec<Protocol>,
}

/// An address of a [`StoredPeer`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredAddr {
    /// The address, ending in `/p2p/<peer>`.
    pub addr: Multiaddr,
    /// Who said so.
    pub source: AddrSource,
    /// When it is forgotten, in seconds since the Unix epoch. `None`: never.
    pub expires: Option<u64>,
    /// Whether the last dial to it worked.
    pub worked: bool,
}

/// A stored record is damaged, or of a version that we do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is damaged")]
pub struct Damaged;

/// The first byte of a record.
const VERSION: u8 = 1;

impl StoredPeer {
    /// The record as bytes; [`StoredPeer::decode`] reads it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put(&mut out, &self.peer.to_bytes());
        match self.seq {
            None => out.push(0),
            Some(seq) => {
                out.push(1);
                out.extend_from_slice(&seq.to_be_bytes());
            }
        }
        number(&mut out, self.addrs.len());
        for one in &self.addrs {
            let source = match one.source {
                AddrSource::Told => 0,
                AddrSource::Signed => 1,
                AddrSource::User => 2,
                AddrSource::Nearby => 3,
            };
            out.push(source | u8::from(one.worked) << 2);
            out.extend_from_slice(&one.expires.unwrap_or(u64::MAX).to_be_bytes());
            put(&mut out, one.addr.as_ref());
        }
        number(&mut out, self.protocols.len());
        for protocol in &self.protocols {
            put(&mut out, protocol.as_str().as_bytes());
        }
        out
    }

    /// Reads what [`StoredPeer::encode`] wrote.
    ///
    /// # Errors
    /// [`Damaged`] if it is anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut rest = bytes;
        let rest = &mut rest;
        if take(rest, 1)? != [VERSION] {
            return Err(Damaged);
        }
        let peer = PeerId::from_bytes(counted(rest)?).map_err(|_| Damaged)?;
        let seq = match take(rest, 1)? {
            [0] => None,
            [1] => Some(fixed(rest)?),
            _ => return Err(Damaged),
        };
        let mut addrs = Vec::new();
        for _ in 0..length(rest)? {
            addrs.push(StoredAddr::decode(rest, peer)?);
        }
        let mut protocols = Vec::new();
        for _ in 0..length(rest)? {
            let text = std::str::from_utf8(counted(rest)?).map_err(|_| Damaged)?;
            protocols.push(Protocol::new(text).map_err(|_| Damaged)?);
        }
        if !rest.is_empty() {
            return Err(Damaged);
        }
        Ok(Self {
            peer,
            addrs,
            seq,
            protocols,
        })
    }
}

impl StoredAddr {
    fn decode(rest: &mut &[u8], peer: PeerId) -> Result<Self, Damaged> {
        let &[flags] = take(rest, 1)? else {
            return Err(Damaged);
        };
        let source = match flags & 3 {
            0 => AddrSource::Told,
            1 => AddrSource::Signed,
            2 => AddrSource::User,
            _ => AddrSource::Nearby,
        };
        let expires = Some(fixed(rest)?).filter(|at| *at != u64::MAX);
        let addr = Multiaddr::try_from(counted(rest)?.to_vec()).map_err(|_| Damaged)?;
        if addr.peer() != Some(peer) || flags > 7 {
            return Err(Damaged);
        }
        Ok(Self {
            addr,
            source,
            expires,
            worked: flags & 4 != 0,
        })
    }
}

fn number(out: &mut Vec<u8>, number: usize) {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    out.extend_from_slice(uvarint::encode(number).as_slice());
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Damaged> {
    let (taken, tail) = rest.split_at_checked(len).ok_or(Damaged)?;
    *rest = tail;
    Ok(taken)
}

fn fixed(rest: &mut &[u8]) -> Result<u64, Damaged> {
    let bytes = take(rest, 8)?.try_into().map_err(|_| Damaged)?;
    Ok(u64::from_be_bytes(bytes))
}

/// A length, or a count of things of at least one byte: never more than what is left.
fn length(rest: &mut &[u8]) -> Result<usize, Damaged> {
    let (value, len) = uvarint::decode(rest).map_err(|_| Damaged)?;
    take(rest, len)?;
    let value = usize::try_from(value).map_err(|_| Damaged)?;
    if value > rest.len() {
        return Err(Damaged);
    }
    Ok(value)
}

fn counted<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Damaged> {
    let len = length(rest)?;
    take(rest, len)
}

/// Writes changes to a store.
pub(crate) struct Keeper {
    store: Arc<dyn BookStore>,
    /// Locked while the store works, so that nothing is written over what is newer.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Who is in the store: never more than the book had when it was last written.
    peers: BTreeSet<PeerId>,
    /// Changes that could not be written.
    left: BTreeMap<PeerId, Option<StoredPeer>>,
}

impl Keeper {
    pub(crate) fn new(store: Arc<dyn BookStore>) -> Self {
        Self {
            store,
            kept: Mutex::default(),
        }
    }
}

impl Shared {
    /// Takes back what was stored, and starts to store what changes.
    pub(crate) fn load_book(self: &Arc<Self>) {
        let Some(keeper) = &self.keeper else {
            return;
        };
        let max = self.config.limits.max_known_peers;
        match keeper.store.load(max) {
            Ok(peers) => self.restore(&mut lock(&keeper.kept), peers.into_iter().take(max)),
            Err(error) => tracing::error!(%error, "the stored address book cannot be read"),
        }
        let shared = Arc::clone(self);
        self.tasks.spawn("address book", async move {
            loop {
                shared.rt.sleep(shared.config.store_interval).await;
                shared.store_book();
            }
        });
    }

    fn restore(&self, kept: &mut Kept, peers: impl Iterator<Item = StoredPeer>) {
        let (now, unix) = (self.rt.now(), self.rt.unix_time());
        let mut state = lock(&self.state);
        for stored in peers {
            let peer = stored.peer;
            kept.peers.insert(peer);
            let entry = entry(stored, now, unix);
            if entry.addrs.iter().any(|one| one.expires > now) {
                state.book.restore(peer, entry, now);
            } else {
                kept.left.insert(peer, None);
            }
        }
    }

    /// Stores what has changed, in a task of its own, and waits for it no longer than `timeout`.
    pub(crate) async fn store_book_within(self: &Arc<Self>, timeout: Duration) {
        if self.keeper.is_none() {
            return;
        }
        let (done, stored) = oneshot::channel();
        let shared = Arc::clone(self);
        self.tasks.spawn("address book", async move {
            shared.store_book();
            // Whoever waits may have given up.
            let _ = done.send(());
        });
        if self.rt.timeout(timeout, stored).await.is_err() {
            tracing::error!(?timeout, "the address book was not stored in time");
        }
    }

    /// Stores what has changed. Blocks as long as the store does.
    fn store_book(&self) {
        let Some(keeper) = &self.keeper else {
            return;
        };
        let mut kept = lock(&keeper.kept);
        let mut changes = std::mem::take(&mut kept.left);
        let (now, unix) = (self.rt.now(), self.rt.unix_time());
        {
            let mut state = lock(&self.state);
            for peer in state.book.take_changed() {
                let entry = state.book.entry(&peer);
                changes.insert(peer, entry.map(|entry| stored(peer, entry, now, unix)));
            }
        }
        // Who is not in there need not be forgotten. It also bounds what is left over: at most what
        // the book has, and who is in the store.
        changes.retain(|peer, stored| stored.is_some() || kept.peers.contains(peer));
        if changes.is_empty() {
            return;
        }
        if let Err(error) = keeper.store.save(&changes) {
            tracing::error!(%error, "the address book cannot be stored");
            kept.left = changes;
            return;
        }
        for (peer, stored) in changes {
            match stored {
                Some(_) => kept.peers.insert(peer),
                None => kept.peers.remove(&peer),
            };
        }
    }
}

fn entry(stored: StoredPeer, now: Instant, unix: Duration) -> Entry {
    let known = |one: StoredAddr| KnownAddr {
        addr: one.addr,
        source: one.source,
        expires: match one.expires {
            None => Instant::FAR_FUTURE,
            Some(at) => now + Duration::from_secs(at).saturating_sub(unix),
        },
        worked: one.worked,
    };
    Entry {
        addrs: stored.addrs.into_iter().map(known).collect(),
        seq: stored.seq,
        protocols: stored.protocols,
    }
}

fn stored(peer: PeerId, entry: Entry, now: Instant, unix: Duration) -> StoredPeer {
    let addr = |known: KnownAddr| StoredAddr {
        addr: known.addr,
        source: known.source,
        expires: (known.expires != Instant::FAR_FUTURE)
            .then(|| (unix + known.expires.since(now)).as_secs()),
        worked: known.worked,
    };
    StoredPeer {
        peer,
        addrs: entry.addrs.into_iter().map(addr).collect(),
        seq: entry.seq,
        protocols: entry.protocols,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> StoredPeer {
        let peer = PeerId::from_bytes(&[0, 1, 7]).unwrap();
        let addr = |port: u16, source, expires, worked| StoredAddr {
            addr: format!("/ip4/1.2.3.4/tcp/{port}")
                .parse::<Multiaddr>()
                .unwrap()
                .with_peer(peer),
            source,
            expires,
            worked,
        };
        StoredPeer {
            peer,
            addrs: vec![
                addr(1, AddrSource::User, None, true),
                addr(2, AddrSource::Signed, Some(1_000_000), false),
                addr(3, AddrSource::Told, Some(0), true),
                addr(4, AddrSource::Nearby, Some(1), false),
            ],
            seq: Some(u64::MAX),
            protocols: vec![Protocol::from_static("/a"), Protocol::from_static("/b/1")],
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let peer = sample();
        assert_eq!(StoredPeer::decode(&peer.encode()), Ok(peer));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_read_without_a_panic() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            assert_eq!(
                StoredPeer::decode(&bytes[..end]),
                Err(Damaged),
                "cut at {end}"
            );
        }
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let _ = StoredPeer::decode(&flipped);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_do_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(peer) = StoredPeer::decode(&bytes) {
                prop_assert_eq!(StoredPeer::decode(&peer.encode()), Ok(peer));
            }
        }
    }
}
