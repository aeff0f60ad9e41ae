//! From an address with a name to addresses without.
//!
//! ```text
//!   /dns4/a.b/tcp/1       ── A ──────> /ip4/1.2.3.4/tcp/1
//!   /dns4/a.b/tcp/1/ws    ── A ──────> /ip4/1.2.3.4/tcp/1/sni/a.b/ws
//!   /dns4/a.b/tcp/1/wss   ── A ──────> /ip4/1.2.3.4/tcp/1/tls/sni/a.b/ws
//!   /dnsaddr/a.b/p2p/Q    ── TXT of _dnsaddr.a.b ──> those that end with /p2p/Q, each again
//! ```
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "addresses have many parts, and ours are few"
)]

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use p2p_core::multiaddr_parts::Part;
use p2p_core::{Multiaddr, Rt};

use crate::cache::{Cache, Remembered};
use crate::servers::Servers;
use crate::wire::{Kind, Record};
use crate::{Config, ResolveError, client};

/// Resolves names in addresses, and remembers the answers. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    rt: Rt,
    config: Config,
    cache: Cache,
    /// Whom to ask for what the system's resolver does not tell.
    servers: Servers,
}

/// One name that is still to be resolved.
struct Step {
    addr: Multiaddr,
    depth: usize,
}

impl Resolver {
    /// Asks through the sockets of `rt`.
    pub fn new(rt: Rt, config: Config) -> Self {
        Self(Arc::new(Inner {
            servers: Servers::new(&rt, &config),
            cache: Cache::new(config.cache_entries),
            rt,
            config,
        }))
    }

    /// The addresses that `addr` stands for, without names, each of them once, at most
    /// [`Config::max_addrs`]. An address without a name stands for itself. Takes at most
    /// [`Config::patience`].
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`ResolveError`] if there is no address at all: the first reason that was met.
    pub async fn resolve(&self, addr: &Multiaddr) -> Result<Vec<Multiaddr>, ResolveError> {
        let Inner { rt, config, .. } = &*self.0;
        let until = rt.now() + config.patience;
        let mut steps = VecDeque::from([Step {
            addr: addr.clone(),
            depth: 0,
        }]);
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut questions = 0;
        let mut error = None;
        while let Some(Step { addr, depth }) = steps.pop_front() {
            if found.len() >= config.max_addrs {
                break;
            }
            if !seen.insert(addr.to_vec()) {
                continue;
            }
            let Some((name, wanted)) = name_in(&addr) else {
                found.push(addr);
                continue;
            };
            questions += 1;
            if depth > config.max_depth || questions > config.max_questions {
                error.get_or_insert(ResolveError::TooDeep { name });
                continue;
            }
            match rt.timeout_at(until, self.step(&addr, &name, wanted)).await {
                Ok(Ok(next)) => {
                    steps.extend(next.into_iter().take(config.max_addrs).map(|addr| Step {
                        addr,
                        depth: depth + 1,
                    }))
                }
                Ok(Err(why)) => {
                    error.get_or_insert(why);
                }
                Err(_) => {
                    let after = config.patience;
                    error.get_or_insert(ResolveError::Slow { name, after });
                }
            }
        }
        match (found.is_empty(), error) {
            (true, Some(error)) => Err(error),
            // Whatever leads on was asked before.
            (true, None) => Err(ResolveError::Circle {
                name: name_in(addr).map_or_else(|| addr.to_string(), |(name, _)| name),
            }),
            (false, _) => Ok(found),
        }
    }

    /// What the first name of `addr` leads to.
    async fn step(
        &self,
        addr: &Multiaddr,
        name: &str,
        wanted: Wanted,
    ) -> Result<Vec<Multiaddr>, ResolveError> {
        let rest: Multiaddr = addr.iter().skip(1).collect();
        match wanted {
            Wanted::Addrs => self.dnsaddr(name, &rest).await,
            Wanted::Ip(family) => {
                let ips = self.ips(name, family).await?;
                let rest = with_name(&rest, name);
                let above = |ip: IpAddr| Multiaddr::from(ip).iter().chain(rest.iter()).collect();
                Ok(ips.into_iter().map(above).collect())
            }
        }
    }

    async fn dnsaddr(&self, name: &str, rest: &Multiaddr) -> Result<Vec<Multiaddr>, ResolveError> {
        let records = self.ask(&format!("_dnsaddr.{name}"), Kind::Txt).await?;
        let addrs: Vec<Multiaddr> = records
            .iter()
            .filter_map(|record| match record {
                Record::Text(text) => text.strip_prefix("dnsaddr=")?.parse().ok(),
                Record::Ip(_) => None,
            })
            .collect();
        let count = addrs.len();
        if count == 0 {
            let kind = Kind::Txt.noun();
            let name = name.to_owned();
            return Err(ResolveError::Nothing { name, kind });
        }
        let fits = |addr: &Multiaddr| ends_with(addr, rest);
        let fitting: Vec<Multiaddr> = addrs.into_iter().filter(fits).collect();
        if fitting.is_empty() {
            return Err(ResolveError::NoMatch {
                name: name.to_owned(),
                suffix: rest.clone(),
                records: count,
            });
        }
        Ok(fitting)
    }

    async fn ips(&self, name: &str, family: Family) -> Result<Vec<IpAddr>, ResolveError> {
        let ips = if self.0.config.servers.is_empty() {
            self.ips_of_the_system(name).await?
        } else {
            self.ips_of_the_servers(name, family).await?
        };
        let fitting: Vec<IpAddr> = ips.into_iter().filter(|ip| family.has(ip)).collect();
        if fitting.is_empty() {
            let (name, kind) = (name.to_owned(), family.noun());
            return Err(ResolveError::Nothing { name, kind });
        }
        Ok(fitting)
    }

    async fn ips_of_the_system(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let Inner {
            rt, config, cache, ..
        } = &*self.0;
        if let Some(Ok(known)) = cache.get(name, None, rt.now()) {
            return Ok(ips_in(&known));
        }
        let resolved = rt.net().resolve(name).await;
        let ips = resolved.map_err(|error| ResolveError::System {
            name: name.to_owned(),
            source: Arc::new(error),
        })?;
        let answer = Ok(ips.iter().copied().map(Record::Ip).collect());
        cache.put(name, None, &answer, config.system_ttl, rt.now());
        Ok(ips)
    }

    async fn ips_of_the_servers(
        &self,
        name: &str,
        family: Family,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        let kinds: &[Kind] = match family {
            Family::V4 => &[Kind::A],
            Family::V6 => &[Kind::Aaaa],
            Family::Both => &[Kind::Aaaa, Kind::A],
        };
        let answers = kinds.iter().map(|kind| self.ask(name, *kind));
        let answers = futures::future::join_all(answers).await;
        let (mut ips, mut error) = (Vec::new(), None);
        for answer in answers {
            match answer {
                Ok(records) => ips.extend(ips_in(&records)),
                Err(why) => error = Some(why),
            }
        }
        match error {
            Some(ResolveError::Nothing { name, .. }) if ips.is_empty() => {
                let kind = family.noun();
                Err(ResolveError::Nothing { name, kind })
            }
            Some(error) if ips.is_empty() => Err(error),
            Some(_) | None => Ok(ips),
        }
    }

    /// One question, from memory if it was asked before.
    async fn ask(&self, name: &str, kind: Kind) -> Remembered {
        let Inner {
            rt,
            config,
            cache,
            servers,
        } = &*self.0;
        // Those that say so are asked from the root in any case.
        let name = name.trim_end_matches('.');
        if let Some(answer) = cache.get(name, Some(kind), rt.now()) {
            return answer;
        }
        let servers = servers.list(rt.now());
        let (answer, ttl) = match client::ask(rt, config, &servers, name, kind).await {
            Ok((records, ttl)) => (Ok(records), ttl.min(config.max_ttl)),
            Err(error) if error.is_answer() => (Err(error), config.negative_ttl),
            // A server that is silent now may answer soon.
            Err(error) => (Err(error), Duration::ZERO),
        };
        cache.put(name, Some(kind), &answer, ttl, rt.now());
        answer
    }
}

fn ips_in(records: &[Record]) -> Vec<IpAddr> {
    let ip = |record: &Record| match record {
        Record::Ip(ip) => Some(*ip),
        Record::Text(_) => None,
    };
    records.iter().filter_map(ip).collect()
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resolver").field(&self.0.servers).finish()
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Ip(Family),
    Addrs,
}

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
    Both,
}

impl Family {
    fn has(self, ip: &IpAddr) -> bool {
        match self {
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
            Self::Both => true,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::V4 => Kind::A.noun(),
            Self::V6 => Kind::Aaaa.noun(),
            Self::Both => "address",
        }
    }
}

/// Whether `addr` starts with a name.
pub(crate) fn has_name(addr: &Multiaddr) -> bool {
    name_in(addr).is_some()
}

fn name_in(addr: &Multiaddr) -> Option<(String, Wanted)> {
    match addr.iter().next()? {
        Part::Dns(name) => Some((name.into_owned(), Wanted::Ip(Family::Both))),
        Part::Dns4(name) => Some((name.into_owned(), Wanted::Ip(Family::V4))),
        Part::Dns6(name) => Some((name.into_owned(), Wanted::Ip(Family::V6))),
        Part::Dnsaddr(name) => Some((name.into_owned(), Wanted::Addrs)),
        _ => None,
    }
}

fn ends_with(addr: &Multiaddr, suffix: &Multiaddr) -> bool {
    let (addr, suffix): (Vec<_>, Vec<_>) = (addr.iter().collect(), suffix.iter().collect());
    addr.ends_with(&suffix)
}

/// The rest of an address behind its name: what has to name the host to the remote keeps it.
fn with_name(rest: &Multiaddr, name: &str) -> Multiaddr {
    let mut named = rest.iter().any(|part| matches!(part, Part::Sni(_)));
    let sni = || Part::Sni(name.trim_end_matches('.').into());
    let mut with = Multiaddr::empty();
    for part in rest.iter() {
        match part {
            Part::Tls if !named => {
                with.push(Part::Tls);
                with.push(sni());
                named = true;
            }
            Part::Ws(path) if !named => {
                with.push(sni());
                with.push(Part::Ws(path));
            }
            Part::Wss(path) if !named => {
                with.push(Part::Tls);
                with.push(sni());
                with.push(Part::Ws(path));
            }
            part => with.push(part),
        }
    }
    with
}
