//! What runs on each host: a node with everything on, which keeps its neighbours connected.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::stream::{self, StreamExt};
use p2p::{
    Config, Event, Host, Keypair, Multiaddr, Multiplexer, Rt, SecureChannel, identify, ping,
};

use super::tally::Shared;

/// Between two attempts at a neighbour that cannot be reached, drawn anew each time.
const RETRY: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];

/// Everything that one life of a node needs.
pub(crate) struct Life {
    pub(crate) rt: Rt,
    pub(crate) identity: Keypair,
    pub(crate) listen: Multiaddr,
    pub(crate) neighbours: Vec<Multiaddr>,
    pub(crate) tally: Arc<Shared>,
    /// Hears of the node once it listens.
    pub(crate) started: oneshot::Sender<p2p::WeakSwarm>,
    /// Ends the node in order.
    pub(crate) stop: oneshot::Receiver<()>,
}

impl Life {
    /// Runs the node until it is told to stop, or to its crash.
    pub(crate) async fn run(self) {
        let Some(host) = self.start().await else {
            return;
        };
        let swarm = host.swarm().clone();
        // Nobody may be interested any more.
        let _ = self.started.send(swarm.downgrade());
        let company = keep_company(&host, self.neighbours);
        match select(Box::pin(company), self.stop).await {
            Either::Left((never, _)) => match never {},
            Either::Right(_) => host.close().await,
        }
        let leaked = u64::try_from(swarm.census().memory).unwrap_or(u64::MAX);
        self.tally.change(|tally| tally.leaked += leaked);
    }

    async fn start(&self) -> Option<Host> {
        let mut config = Config::default();
        // The hosts want to stay connected although they have nothing to say.
        config.idle_timeout = Duration::from_secs(7 * 24 * 3600);
        let builder = Host::builder()
            .runtime(self.rt.clone())
            .identity(self.identity.clone())
            // Takes its randomness from the runtime; TLS draws its own, which no seed repeats.
            .secure_channels(&[SecureChannel::Noise])
            .multiplexers(&[Multiplexer::Yamux])
            .config(config);
        let built = builder.build().await;
        let host = self.expect("start", built)?;
        self.rt.spawn("tally", listen_to(&host, self.tally.clone()));
        self.expect("listen", host.listen(&self.listen).await)?;
        Some(host)
    }

    fn expect<T, E: std::fmt::Display>(&self, what: &str, result: Result<T, E>) -> Option<T> {
        result
            .inspect_err(|error| self.tally.change(|tally| tally.failed(what, error)))
            .ok()
    }
}

/// Counts everything that a node says about itself, until it is gone.
fn listen_to(host: &Host, tally: Arc<Shared>) -> p2p::core::BoxFuture<'static, ()> {
    enum Heard {
        Identify(identify::Event),
        Ping(ping::Event),
        Swarm(Event),
    }
    let swarm = host.events().map(Heard::Swarm);
    let identify = stream::iter(host.identify().map(identify::Identify::events));
    let ping = stream::iter(host.ping().map(ping::Ping::events));
    let services = stream::select(
        identify.flatten().map(Heard::Identify),
        ping.flatten().map(Heard::Ping),
    );
    let mut heard = stream::select(swarm, services);
    Box::pin(async move {
        while let Some(heard) = heard.next().await {
            tally.change(|tally| match heard {
                Heard::Identify(event) => tally.identify(&event),
                Heard::Ping(event) => tally.ping(&event),
                Heard::Swarm(event) => tally.swarm(&event),
            });
        }
    })
}

/// Dials every neighbour, and again when its connection ends.
async fn keep_company(host: &Host, neighbours: Vec<Multiaddr>) -> Infallible {
    let visits = neighbours.iter().map(|neighbour| visit(host, neighbour));
    futures::future::join_all(visits).await;
    futures::future::pending().await
}

/// Stays connected with one neighbour.
async fn visit(host: &Host, neighbour: &Multiaddr) -> Infallible {
    let rt = host.swarm().rt();
    // Not all at the same instant: nobody starts a network like that.
    rt.sleep(between(rt, [Duration::ZERO, RETRY[0]])).await;
    loop {
        // Why a dial failed is among the events that are counted.
        if let Ok(connection) = host.dial(neighbour).await {
            connection.ended().await;
        }
        rt.sleep(between(rt, RETRY)).await;
    }
}

/// A time from `from` on, before `to`, from the host's own randomness.
fn between(rt: &Rt, [from, to]: [Duration; 2]) -> Duration {
    let part = f64::from(u32::from_le_bytes(rt.random())) / f64::from(u32::MAX);
    from + (to - from).mul_f64(part)
}
