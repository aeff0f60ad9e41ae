//! Our node behind the contracts of the official interop suites.
//!
//! ```text
//! environment --setup--> listener: listen, tell redis the address, serve
//!                        dialer:   ask redis for it, dial, measure --stats--> YAML on stdout
//! ```
//!
//! Contracts: libp2p/unified-testing `docs/write-a-transport-test-app.md` and
//! `docs/write-a-perf-test-app.md`; the older libp2p/test-plans `transport-interop` has other names
//! for the same. Logs go to standard error.
#![expect(clippy::disallowed_methods, reason = "measures real connections")]

mod gossip;
mod parts;
mod perf;
mod redis;
mod setup;
mod stats;

use std::{
    io,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use futures::future;
use p2p::core::multiaddr_parts::Part;
use p2p::{Host, Multiaddr};
use serde_json::json;

use crate::node::{NodeError, Stack};
use perf::Compat;
use redis::{Redis, RedisError};
use setup::{Setup, SetupError};

/// Which contract.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Contract {
    /// A node of a gossip experiment: `gossipsub-interop` of libp2p/test-plans.
    Gossip(gossip::Args),
    /// Dial, one ping: `transport` of libp2p/unified-testing, or of libp2p/test-plans if the
    /// lower-case variables of that are set.
    Transport,
    /// Upload, download, latency: `perf` of libp2p/unified-testing.
    Perf {
        /// What a perf request starts with.
        #[arg(long, default_value = "spec")]
        compat: Compat,
    },
}

/// Why a test application gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TestingError {
    /// The address found in redis is not one.
    #[error("redis has no address but {0:?}")]
    Addr(String),
    /// Nothing was done in time.
    #[error("not done within {0:?}")]
    Deadline(Duration),
    /// The listener cannot be dialed.
    #[error(transparent)]
    Dial(#[from] p2p::DialError),
    /// The listener cannot listen.
    #[error(transparent)]
    Listen(#[from] p2p::HostListenError),
    /// The experiment cannot be run.
    #[error(transparent)]
    Gossip(#[from] gossip::GossipError),
    /// Our host cannot be built, or does not have what was asked for.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// No perf stream.
    #[error(transparent)]
    Open(#[from] p2p::OpenError),
    /// A ping failed.
    #[error(transparent)]
    Ping(#[from] p2p::ping::PingError),
    /// Redis did not do what it should.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
    /// A variable is missing or makes no sense.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A perf stream failed.
    #[error("perf: {0}")]
    Stream(#[from] io::Error),
}

/// Runs the part that the environment names.
///
/// # Errors
/// See [`TestingError`].
pub(crate) fn run(contract: &Contract) -> Result<(), TestingError> {
    let perf = match contract {
        Contract::Gossip(args) => return p2p::block_on(Box::pin(gossip::run(args))),
        Contract::Transport => None,
        Contract::Perf { compat } => Some(*compat),
    };
    let setup = Setup::from(|name| std::env::var(name).ok())?;
    p2p::block_on(Box::pin(async {
        let security = setup.security.as_deref();
        let stack = Stack::of(&setup.transport, security, setup.muxer.as_deref());
        let host = stack.host().await?;
        if let Some(compat) = perf {
            perf::serve(&host, compat)?;
        }
        if !setup.dialer {
            return listen(&host, &setup, perf).await;
        }
        let work = dial(&host, &setup, perf);
        let done = host.swarm().rt().timeout(setup.timeout, work).await;
        done.unwrap_or(Err(TestingError::Deadline(setup.timeout)))?;
        host.close().await;
        Ok(())
    }))
}

/// Listens, tells redis, and serves until somebody ends the program.
async fn listen(host: &Host, setup: &Setup, perf: Option<Compat>) -> Result<(), TestingError> {
    let addr = format!("/ip4/{}/tcp/0", setup.listener_ip);
    host.listen(addr.as_str()).await?;
    let addr = reachable(&host.listen_addrs()).ok_or_else(|| TestingError::Addr(addr))?;
    eprintln!("listening on {addr}");
    let mut redis = Redis::connect(&setup.redis, setup.timeout)?;
    match perf {
        None => redis.push(&setup.key, &addr)?,
        Some(_) => redis.set(&setup.key, &addr)?,
    }
    drop(redis);
    future::pending().await
}

async fn dial(host: &Host, setup: &Setup, perf: Option<Compat>) -> Result<(), TestingError> {
    let mut redis = Redis::connect(&setup.redis, setup.timeout)?;
    let addr = match perf {
        None => redis.pop(&setup.key, setup.timeout)?,
        Some(_) => redis.poll(&setup.key, setup.timeout)?,
    };
    drop(redis);
    eprintln!("dialing {addr}");
    let parsed: Result<Multiaddr, _> = addr.parse();
    let addr = parsed.map_err(|_| TestingError::Addr(addr))?;
    match perf {
        None => measure_dial(host, &addr, setup.legacy).await,
        Some(compat) => {
            let connection = host.dial(&addr).await?;
            let text = perf::measure(&connection, setup, compat).await?;
            print!("{text}");
            Ok(())
        }
    }
}

/// From the start of the dial to the first echo of a ping, and one ping more.
async fn measure_dial(host: &Host, addr: &Multiaddr, legacy: bool) -> Result<(), TestingError> {
    let started = Instant::now();
    let connection = host.dial(addr).await?;
    let missing = || TestingError::Setup(SetupError::Missing("ping"));
    let ping = host.ping().ok_or_else(missing)?;
    let mut pinger = ping.pinger(connection.peer()).await?;
    pinger.ping().await?;
    let handshake = millis(started.elapsed());
    let ping = millis(pinger.ping().await?);
    pinger.close().await;
    if legacy {
        // Three l's: so it is spelt there.
        let result = json!({ "handshakePlusOneRTTMillis": handshake, "pingRTTMilllis": ping });
        println!("{result}");
    } else {
        println!("latency:");
        println!("  handshake_plus_one_rtt: {handshake:.3}");
        println!("  ping_rtt: {ping:.3}");
        println!("  unit: ms");
    }
    Ok(())
}

/// The first address that another container can dial; loopback if there is no other.
fn reachable(addrs: &[Multiaddr]) -> Option<String> {
    let ip = |addr: &Multiaddr| {
        let first = addr.iter().next()?;
        if let Part::Ip4(ip) = first {
            Some(ip)
        } else {
            None
        }
    };
    let outside = |ip: Ipv4Addr| !ip.is_loopback() && !ip.is_unspecified();
    let best = addrs.iter().find(|addr| ip(addr).is_some_and(outside));
    best.or_else(|| addrs.first()).map(ToString::to_string)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_can_dial_is_told() {
        let addrs = |texts: &[&str]| -> Vec<Multiaddr> {
            texts.iter().map(|it| it.parse().unwrap()).collect()
        };
        let (inside, outside) = ("/ip4/127.0.0.1/tcp/1", "/ip4/10.16.0.3/tcp/1");

        assert_eq!(reachable(&addrs(&[inside, outside])).unwrap(), outside);
        assert_eq!(reachable(&addrs(&[inside])).unwrap(), inside);
        assert_eq!(reachable(&[]), None);
    }
}
