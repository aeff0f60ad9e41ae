//! Dials addresses with names through transports that know none.

use std::io;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use p2p_core::{
    AddrExt, AllowAll, Carrier, Dialed, Gate, Listener, Multiaddr, PeerId, Rt, Transport,
    TransportError,
};

use crate::resolver::has_name;
use crate::{AllFailed, Config, ResolveError, Resolver};

/// Dials `/dns`, `/dns4`, `/dns6` and `/dnsaddr` through other transports. Cheap to clone.
///
/// Where a name has several addresses they are dialed one after the other, a little apart, QUIC
/// before TCP before WebSocket, and the first connection wins.
#[derive(Clone, Debug)]
pub struct Dns {
    rt: Rt,
    config: Config,
    resolver: Resolver,
    below: Vec<Arc<dyn Transport>>,
    gate: Arc<dyn Gate>,
}

impl Dns {
    /// Dials what names come to through the first of `below` that can.
    pub fn new(rt: Rt, config: Config, below: Vec<Arc<dyn Transport>>) -> Self {
        Self {
            resolver: Resolver::new(rt.clone(), config.clone()),
            rt,
            config,
            below,
            gate: Arc::new(AllowAll),
        }
    }

    /// Asks `gate` before each address that a name comes to is dialed: whoever owns the name may
    /// have pointed it into our own network. Default: everything is allowed.
    pub fn gate(mut self, gate: Arc<dyn Gate>) -> Self {
        self.gate = gate;
        self
    }

    /// The resolver, with its memory.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    async fn dial_name(
        &self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> Result<Dialed, TransportError> {
        let failed = |source: io::Error| TransportError::Connect {
            addr: addr.clone(),
            source,
        };
        let resolved = self.resolver.resolve(&addr).await;
        let resolved = resolved.map_err(|error| failed(error.into()))?;
        tracing::debug!(%addr, addrs = resolved.len(), "resolved");
        let mut targets = Vec::new();
        let mut denied = None;
        for to in resolved {
            match self.gate.dial(expect.as_ref(), &to) {
                Err(why) => denied = Some(why),
                Ok(()) => targets.extend(self.target(to)),
            }
        }
        // Stable: addresses of one kind stay as the records have them.
        targets.sort_by_key(|(_, to)| Carrier::of(to));
        let left_out = targets.len().saturating_sub(self.config.max_dials.get());
        targets.truncate(self.config.max_dials.get());
        if targets.is_empty() {
            return Err(match denied {
                Some(why) => failed(ResolveError::Denied(why).into()),
                None => TransportError::Unsupported { addr },
            });
        }
        let raced = self.race(targets, expect).await;
        raced.map_err(|mut attempts| match attempts.pop() {
            Some((_, error)) if attempts.is_empty() && left_out == 0 => error,
            last => {
                attempts.extend(last);
                failed(io::Error::other(AllFailed { attempts, left_out }))
            }
        })
    }

    fn target(&self, to: Multiaddr) -> Option<(Arc<dyn Transport>, Multiaddr)> {
        let transport = self.below.iter().find(|one| one.supports(&to))?;
        Some((Arc::clone(transport), to))
    }

    async fn race(
        &self,
        targets: Vec<(Arc<dyn Transport>, Multiaddr)>,
        expect: Option<PeerId>,
    ) -> Result<Dialed, Vec<(Multiaddr, TransportError)>> {
        let mut waiting = targets.into_iter();
        let mut under_way = FuturesUnordered::new();
        let mut failed = Vec::new();
        let max = self.config.max_parallel_dials.get();
        loop {
            if let Some((transport, to)) = waiting.next() {
                let expect = expect.or_else(|| to.peer());
                let dial = transport.dial(to.clone(), expect);
                under_way.push(async move { (to, dial.await) });
            } else if under_way.is_empty() {
                return Err(failed);
            }
            let more = waiting.len() > 0 && under_way.len() < max;
            let due = more.then(|| self.rt.now() + self.config.dial_stagger);
            // Until one is a connection, or the next one's turn comes: at once after a failure,
            // and only then if there are enough.
            let ended = match due {
                None => under_way.next().await,
                Some(due) => match select(under_way.next(), self.rt.timer(due)).await {
                    Either::Left((ended, _)) => ended,
                    Either::Right(_) => None,
                },
            };
            match ended {
                Some((_, Ok(dialed))) => return Ok(dialed),
                Some((to, Err(error))) => failed.push((to, error)),
                None => {}
            }
        }
    }
}

impl Transport for Dns {
    fn supports(&self, addr: &Multiaddr) -> bool {
        has_name(addr)
    }

    fn dial(
        &self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let dns = self.clone();
        async move {
            if has_name(&addr) {
                dns.dial_name(addr, expect).await
            } else {
                Err(TransportError::Unsupported { addr })
            }
        }
        .boxed()
    }

    /// Names are for dialing: this is always [`TransportError::Unsupported`].
    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        async move { Err(TransportError::Unsupported { addr }) }.boxed()
    }
}
