//! What lies between two hosts: delay, rate, faults, cuts.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::Config;
use crate::error::SetupError;
use crate::net::shaper::ShaperId;
use crate::net::{Load, NetEvent, Parcel};
use crate::rng::Rng;
use crate::world::{HostId, Nanos, State, nanos};

/// One direction of the path between two hosts.
///
/// ```
/// # use std::time::Duration;
/// # use p2p_sim::Link;
/// let mobile = Link::new(Duration::from_millis(40))
///     .jitter(Duration::from_millis(30))
///     .bandwidth(1_000_000)
///     .loss(0.01);
/// assert_eq!(mobile.latency, Duration::from_millis(40));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Link {
    /// Time from one end to the other. Default: 10 ms.
    pub latency: Duration,
    /// Up to this much is added to the latency, drawn anew each time. Default: none.
    ///
    /// Datagrams overtake each other; the segments of a connection do not.
    pub jitter: Duration,
    /// Bytes in a second, shared fairly among the connections and sockets that send.
    /// Default: `None`, no limit.
    pub bandwidth: Option<NonZeroU64>,
    /// How likely a packet is lost, 0 to 1. Default: 0.
    ///
    /// A lost datagram is gone. A lost segment arrives later, as if sent again after 200 ms (or
    /// one round trip if that is more), twice that the second time, and so on; everything behind
    /// it waits.
    pub loss: f64,
    /// How likely a datagram is held back for another latency (at least 1 ms), so that later
    /// ones overtake it, 0 to 1. Default: 0.
    pub reorder: f64,
    /// How likely a datagram arrives twice, 0 to 1. Default: 0.
    pub duplicate: f64,
    /// The largest IP packet in bytes. Larger datagrams vanish. Default: 1500.
    pub mtu: u16,
}

impl Default for Link {
    fn default() -> Self {
        Self::new(Duration::from_millis(10))
    }
}

impl Link {
    /// A link with this latency on which nothing goes wrong.
    pub const fn new(latency: Duration) -> Self {
        Self {
            latency,
            jitter: Duration::ZERO,
            bandwidth: None,
            loss: 0.0,
            reorder: 0.0,
            duplicate: 0.0,
            mtu: 1500,
        }
    }

    /// Sets [`Link::jitter`].
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets [`Link::bandwidth`], in bytes a second.
    ///
    /// # Panics
    /// If it is zero: use a partition to cut a link.
    #[track_caller]
    pub const fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        let Some(rate) = NonZeroU64::new(bytes_per_second) else {
            panic!("bandwidth of a link is 0: use a partition to cut it");
        };
        self.bandwidth = Some(rate);
        self
    }

    /// Sets [`Link::loss`].
    pub const fn loss(mut self, probability: f64) -> Self {
        self.loss = probability;
        self
    }

    /// Sets [`Link::reorder`].
    pub const fn reorder(mut self, probability: f64) -> Self {
        self.reorder = probability;
        self
    }

    /// Sets [`Link::duplicate`].
    pub const fn duplicate(mut self, probability: f64) -> Self {
        self.duplicate = probability;
        self
    }

    /// Sets [`Link::mtu`].
    pub const fn mtu(mut self, bytes: u16) -> Self {
        self.mtu = bytes;
        self
    }

    /// Its settings, for the log.
    pub(crate) fn numbers(&self) -> [u64; 7] {
        [
            nanos(self.latency),
            nanos(self.jitter),
            self.bandwidth.map_or(0, NonZeroU64::get),
            self.loss.to_bits(),
            self.reorder.to_bits(),
            self.duplicate.to_bits(),
            self.mtu.into(),
        ]
    }

    pub(crate) fn check(&self) -> Result<(), SetupError> {
        let fields = [
            ("loss", self.loss),
            ("reorder", self.reorder),
            ("duplicate", self.duplicate),
        ];
        match fields
            .into_iter()
            .find(|(_, value)| !(0.0..=1.0).contains(value))
        {
            Some((field, value)) => Err(SetupError::BadLink { field, value }),
            None => Ok(()),
        }
    }

    /// The time that one packet takes now.
    pub(crate) fn delay(&self, rng: &mut Rng) -> Nanos {
        let jitter = match nanos(self.jitter) {
            0 => 0,
            jitter => rng.below(jitter.saturating_add(1)),
        };
        nanos(self.latency).saturating_add(jitter)
    }

    /// The time that repeating lost packets adds for a segment of `len` bytes.
    fn repeats(&self, len: u32, rng: &mut Rng) -> Nanos {
        if self.loss <= 0.0 {
            return 0;
        }
        let round_trip = self.latency.saturating_add(self.jitter).saturating_mul(2);
        let mut timeout = nanos(round_trip).max(FIRST_TIMEOUT);
        let mut added: Nanos = 0;
        let mut lost = (0..len.div_ceil(PACKET).max(1)).any(|_| rng.chance(self.loss));
        for _ in 0..MAX_REPEATS {
            if !lost {
                break;
            }
            added = added.saturating_add(timeout);
            timeout = timeout.saturating_mul(2);
            lost = rng.chance(self.loss);
        }
        added
    }
}

/// Bytes of a TCP segment that fit a packet.
const PACKET: u32 = 1440;
/// Until the first repetition of a lost segment.
const FIRST_TIMEOUT: Nanos = 200_000_000;
/// Repetitions after which a segment gets through in any case.
const MAX_REPEATS: u32 = 10;

/// The links that were set, and the cuts.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// By direction: sender, receiver.
    set: BTreeMap<(HostId, HostId), Direction>,
    /// Where the default link has a rate limit: one shaper for each direction that was used.
    default_shapers: BTreeMap<(HostId, HostId), ShaperId>,
    cuts: BTreeMap<u32, Cut>,
    next_cut: u32,
}

#[derive(Debug)]
struct Direction {
    link: Link,
    shaper: Option<ShaperId>,
}

/// Nothing passes between two groups of hosts.
#[derive(Debug)]
struct Cut {
    /// Bit 0: in the first group, bit 1: in the second; by host.
    groups: Vec<u8>,
    both_ways: bool,
}

impl Cut {
    fn blocks(&self, from: HostId, to: HostId) -> bool {
        let group = |host: HostId| self.groups.get(host.0 as usize).copied().unwrap_or(0);
        let (from, to) = (group(from), group(to));
        (from & 1 != 0 && to & 2 != 0) || (self.both_ways && from & 2 != 0 && to & 1 != 0)
    }
}

impl Links {
    /// The link from `from` to `to`.
    pub(crate) fn get<'a>(&'a self, config: &'a Config, from: HostId, to: HostId) -> &'a Link {
        match self.set.get(&(from, to)) {
            Some(direction) => &direction.link,
            None if from == to => &config.loopback,
            None => &config.link,
        }
    }

    pub(crate) fn cut(&mut self, ones: &[HostId], others: &[HostId], both_ways: bool) -> u32 {
        let mut groups = Vec::new();
        for (hosts, bit) in [(ones, 1u8), (others, 2u8)] {
            for host in hosts {
                let index = host.0 as usize;
                if groups.len() <= index {
                    groups.resize(index + 1, 0);
                }
                if let Some(group) = groups.get_mut(index) {
                    *group |= bit;
                }
            }
        }
        let id = self.next_cut;
        self.next_cut += 1;
        self.cuts.insert(id, Cut { groups, both_ways });
        id
    }

    pub(crate) fn heal(&mut self, cut: u32) -> bool {
        self.cuts.remove(&cut).is_some()
    }

    pub(crate) fn heal_all(&mut self) {
        self.cuts.clear();
    }
}

impl State {
    pub(crate) fn link_set(&mut self, from: HostId, to: HostId, link: Link) {
        let shaper = link.bandwidth.map(|rate| self.net.shapers.add(rate));
        let direction = Direction { link, shaper };
        if let Some(old) = self.net.links.set.insert((from, to), direction) {
            self.shaper_retire(old.shaper);
        }
    }

    /// The default link changed: what it was made of goes.
    pub(crate) fn default_link_set(&mut self, link: Link) {
        self.config.link = link;
        let old = std::mem::take(&mut self.net.links.default_shapers);
        for shaper in old.into_values() {
            self.shaper_retire(Some(shaper));
        }
    }

    fn link_shaper(&mut self, from: HostId, to: HostId) -> Option<ShaperId> {
        if let Some(direction) = self.net.links.set.get(&(from, to)) {
            return direction.shaper;
        }
        if from == to {
            return None;
        }
        let rate = self.config.link.bandwidth?;
        let shapers = &mut self.net.shapers;
        let made = &mut self.net.links.default_shapers;
        Some(*made.entry((from, to)).or_insert_with(|| shapers.add(rate)))
    }

    /// The time that one packet takes from `from` to `to` now.
    pub(crate) fn delay(&mut self, from: HostId, to: HostId) -> Nanos {
        let link = self.net.links.get(&self.config, from, to);
        link.delay(&mut self.net.rng)
    }

    /// Whether nothing from `from` gets to `to`, by a cut.
    pub(crate) fn is_cut(&self, from: HostId, to: HostId) -> bool {
        let mut cuts = self.net.links.cuts.values();
        from != to && cuts.any(|cut| cut.blocks(from, to))
    }

    /// Whether what leaves `from` now gets to `to`.
    pub(crate) fn reachable(&self, from: HostId, to: HostId) -> bool {
        self.host(to).up && !self.is_cut(from, to)
    }

    /// Sends a parcel on its way: out of the sender's network card first.
    pub(crate) fn launch(&mut self, parcel: Parcel) {
        match self
            .host(parcel.from)
            .upload
            .filter(|_| parcel.from != parcel.to)
        {
            Some(shaper) => self.shape(shaper, parcel, Stage::Upload),
            None => self.enter_link(parcel),
        }
    }

    /// Behind the sender's network card.
    fn enter_link(&mut self, parcel: Parcel) {
        match self.link_shaper(parcel.from, parcel.to) {
            Some(shaper) => self.shape(shaper, parcel, Stage::Link),
            None => self.propagate(parcel),
        }
    }

    fn propagate(&mut self, parcel: Parcel) {
        let link = self.net.links.get(&self.config, parcel.from, parcel.to);
        let rng = &mut self.net.rng;
        match parcel.load {
            Load::Segment { conn, side, epoch } => {
                let delay = link.delay(rng);
                let delay = delay.saturating_add(link.repeats(parcel.len, rng));
                let at = self.now.saturating_add(delay);
                let at = self.lane_arrival(conn, side, epoch, at);
                self.queue
                    .push(at, crate::net::Event::Net(NetEvent::Arrive(parcel)));
            }
            Load::Datagram(key) => {
                let fate = Fate::draw(link, parcel.len, rng);
                self.datagram_fate(key, parcel, fate);
            }
        }
    }

    /// At the far end of the link: into the receiver's network card.
    pub(crate) fn arrive(&mut self, parcel: Parcel) {
        match self
            .host(parcel.to)
            .download
            .filter(|_| parcel.from != parcel.to)
        {
            Some(shaper) => self.shape(shaper, parcel, Stage::Download),
            None => self.hand_over(parcel),
        }
    }

    /// Goes on behind a rate limit.
    pub(crate) fn shaped(&mut self, parcel: Parcel, stage: Stage) {
        match stage {
            Stage::Upload => self.enter_link(parcel),
            Stage::Link => self.propagate(parcel),
            Stage::Download => self.hand_over(parcel),
        }
    }
}

/// Which rate limit a parcel waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    Upload,
    Link,
    Download,
}

/// What a link does with a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// When it arrives, from now; or why it does not.
    pub(crate) first: Result<Nanos, &'static str>,
    /// When a copy arrives.
    pub(crate) second: Option<Nanos>,
}

impl Fate {
    fn draw(link: &Link, len: u32, rng: &mut Rng) -> Self {
        if len > u32::from(link.mtu) {
            let first = Err("larger than the mtu of the link");
            return Self {
                first,
                second: None,
            };
        }
        if rng.chance(link.loss) {
            let first = Err("lost");
            return Self {
                first,
                second: None,
            };
        }
        let mut delay = link.delay(rng);
        if rng.chance(link.reorder) {
            delay = delay.saturating_add(nanos(link.latency).max(1_000_000));
        }
        let second = rng.chance(link.duplicate).then(|| link.delay(rng));
        let first = Ok(delay);
        Self { first, second }
    }
}
