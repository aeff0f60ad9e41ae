//! Host names and the addresses of our own interfaces, as the operating system knows them.
//!
//! The system's resolver blocks, for half a minute if name servers are silent. It runs on a few
//! threads that start with the first lookup and end with the last.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use futures::channel::oneshot;
use futures::future::{BoxFuture, FutureExt, ready};
use p2p_core::Interface;

/// Lookups that run at once: a thread each, and hanging name servers hold it.
const MAX_THREADS: usize = 4;
/// Lookups that wait for a thread; further ones fail at once.
const MAX_WAITING: usize = 256;
/// The longest host name, in bytes (RFC 1035).
const MAX_NAME: usize = 253;

static LOOKUPS: Mutex<Lookups> = Mutex::new(Lookups {
    threads: 0,
    waiting: VecDeque::new(),
});

struct Lookups {
    /// Invariant: at most `MAX_THREADS`, and not zero while any lookup waits.
    threads: usize,
    /// Invariant: at most `MAX_WAITING` long.
    waiting: VecDeque<Lookup>,
}

struct Lookup {
    host: String,
    answer: oneshot::Sender<io::Result<Vec<IpAddr>>>,
}

pub(crate) fn resolve(host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
    if let Ok(ip) = host.parse() {
        return ready(Ok(vec![ip])).boxed();
    }
    match start_lookup(host) {
        Err(error) => ready(Err(error)).boxed(),
        Ok(answer) => async {
            answer
                .await
                .unwrap_or_else(|_| Err(io::Error::other("the resolver's thread ended")))
        }
        .boxed(),
    }
}

pub(crate) fn interface_addrs() -> io::Result<Vec<IpAddr>> {
    let addrs: BTreeSet<IpAddr> = if_addrs::get_if_addrs()?
        .iter()
        .map(if_addrs::Interface::ip)
        .filter(|ip| !is_bound_to_a_link(ip))
        .collect();
    Ok(addrs.into_iter().collect())
}

/// The interfaces that are up and reach others.
pub(crate) fn interfaces() -> io::Result<Vec<Interface>> {
    let mut all: BTreeMap<(u32, String), BTreeSet<IpAddr>> = BTreeMap::new();
    for one in if_addrs::get_if_addrs()? {
        if !one.is_loopback() && one.is_oper_up() {
            let key = (one.index.unwrap_or(0), one.name.clone());
            all.entry(key).or_default().insert(one.ip());
        }
    }
    let interface = |((index, name), addrs): (_, BTreeSet<_>)| Interface {
        name,
        index,
        addrs: addrs.into_iter().collect(),
    };
    Ok(all.into_iter().map(interface).collect())
}

/// IPv6 link-local addresses mean nothing without the name of the interface.
fn is_bound_to_a_link(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn start_lookup(host: &str) -> io::Result<oneshot::Receiver<io::Result<Vec<IpAddr>>>> {
    if host.is_empty() || host.len() > MAX_NAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a host name: it must have 1 to 253 bytes",
        ));
    }
    let mut lookups = lookups();
    if lookups.waiting.len() >= MAX_WAITING {
        return Err(io::Error::other("too many host name lookups are waiting"));
    }
    if lookups.threads < MAX_THREADS {
        let started = thread::Builder::new()
            .name("p2p-resolve".into())
            .spawn(answer_lookups);
        match started {
            Ok(_) => lookups.threads += 1,
            Err(error) if lookups.threads == 0 => return Err(error),
            Err(_) => {}
        }
    }
    let (answer, answered) = oneshot::channel();
    let host = host.to_owned();
    lookups.waiting.push_back(Lookup { host, answer });
    Ok(answered)
}

fn answer_lookups() {
    while let Some(Lookup { host, answer }) = next_lookup() {
        if !answer.is_canceled() {
            // Nobody waits any more: nothing to do about it.
            let _ = answer.send(look_up(&host));
        }
    }
}

/// The next lookup; `None` tells the thread to end.
fn next_lookup() -> Option<Lookup> {
    let mut lookups = lookups();
    let next = lookups.waiting.pop_front();
    if next.is_none() {
        lookups.threads -= 1;
    }
    next
}

fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut addrs = Vec::new();
    for socket in (host, 0).to_socket_addrs()? {
        if !addrs.contains(&socket.ip()) {
            addrs.push(socket.ip());
        }
    }
    Ok(addrs)
}

fn lookups() -> MutexGuard<'static, Lookups> {
    LOOKUPS.lock().unwrap_or_else(PoisonError::into_inner)
}
