//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-dns --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use p2p_core::golden::Texts;
use p2p_core::{Denied, Multiaddr, TransportError};
use p2p_dns::{AllFailed, Config, ResolveError, Resolver};
use p2p_sim::Sim;

#[test]
fn every_error_reads_as_it_should() {
    let mut texts = Texts::default();
    texts.blamed("ResolveError", ResolveError::blame, names());
    texts.errors("AllFailed", [failed(2), failed(9)]);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn names() -> [ResolveError; 13] {
    let name = || "node.test".to_owned();
    let server = "192.0.2.53:53".parse().unwrap();
    let reason = "not on a Sunday".to_owned();
    [
        resolve(&format!("/dns4/{}.test/tcp/1", "long".repeat(16))),
        resolve("/dns4/node.test/tcp/1"),
        ResolveError::Circle { name: name() },
        ResolveError::Denied(Denied { reason }),
        ResolveError::NoMatch {
            name: name(),
            suffix: addr("/tcp/4001"),
            records: 3,
        },
        ResolveError::Nothing {
            name: name(),
            kind: "IPv6 address",
        },
        ResolveError::NoServer,
        ResolveError::NoSuchName { name: name() },
        ResolveError::Server {
            server,
            name: name(),
            what: "not an answer".to_owned(),
        },
        ResolveError::Slow {
            name: name(),
            after: Duration::from_secs(5),
        },
        ResolveError::System {
            name: name(),
            source: Arc::new(io::Error::other("what the system says")),
        },
        ResolveError::Timeout {
            name: name(),
            servers: 3,
        },
        ResolveError::TooDeep { name: name() },
    ]
}

/// Asks a name server that does not answer.
fn resolve(text: &str) -> ResolveError {
    let sim = Sim::new(1);
    let mut config = Config::default();
    config.servers = vec![sim.host("nobody").socket(53)];
    let resolver = Resolver::new(sim.host("us").rt(), config);
    sim.block_on(async move { resolver.resolve(&addr(text)).await.unwrap_err() })
}

fn failed(count: u16) -> AllFailed {
    let attempts = (1..=count).map(|port| {
        let addr = addr(&format!("/ip4/192.0.2.1/tcp/{port}"));
        let source = ErrorKind::ConnectionRefused.into();
        let error = match port {
            2 => TransportError::Unsupported { addr: addr.clone() },
            _ => TransportError::Connect {
                addr: addr.clone(),
                source,
            },
        };
        (addr, error)
    });
    AllFailed {
        attempts: attempts.collect(),
        left_out: usize::from(count) / 9 * 84,
    }
}
