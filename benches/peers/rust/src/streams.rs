//! The streams of the benchmark as a behaviour: any number opens at once, and every incoming one
//! is served. (`libp2p-stream` opens one at a time, which costs it four fifths of its rate.)

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures::channel::{mpsc, oneshot};
use futures::{AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::core::{Endpoint, Multiaddr, transport::PortUse, upgrade};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, Stream, StreamProtocol, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::PeerId;

use crate::node::serve::{self, ECHO, HOLD, PERF};

/// A stream to open, and who waits for it.
pub(crate) type Opening = (StreamProtocol, oneshot::Sender<Result<Stream, String>>);

/// The way to the handlers, by connection.
#[derive(Clone, Default)]
pub(crate) struct Handlers(Arc<Mutex<HashMap<ConnectionId, mpsc::UnboundedSender<Opening>>>>);

impl Handlers {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, mpsc::UnboundedSender<Opening>>> {
        self.0.lock().expect("nobody panics holding it")
    }

    pub(crate) fn get(&self, connection: ConnectionId) -> Option<mpsc::UnboundedSender<Opening>> {
        self.lock().get(&connection).cloned()
    }

    pub(crate) fn forget(&self, connection: ConnectionId) {
        self.lock().remove(&connection);
    }
}

pub(crate) struct Behaviour {
    handlers: Handlers,
    chunk: usize,
}

impl Behaviour {
    pub(crate) fn new(handlers: Handlers, chunk: usize) -> Self {
        Self { handlers, chunk }
    }

    fn handler(&self, connection: ConnectionId) -> Handler {
        let (sender, openings) = mpsc::unbounded();
        self.handlers.lock().insert(connection, sender);
        Handler {
            openings,
            chunk: self.chunk,
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = event {
            self.handlers.forget(closed.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

pub(crate) struct Handler {
    openings: mpsc::UnboundedReceiver<Opening>,
    chunk: usize,
}

/// All protocols of the benchmark.
#[derive(Clone)]
pub(crate) struct Any;

impl upgrade::UpgradeInfo for Any {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Map<std::array::IntoIter<&'static str, 3>, fn(&'static str) -> StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        [PERF, ECHO, HOLD].into_iter().map(StreamProtocol::new)
    }
}

impl upgrade::InboundUpgrade<Stream> for Any {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        std::future::ready(Ok((stream, protocol)))
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Any;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = oneshot::Sender<Result<Stream, String>>;

    fn listen_protocol(&self) -> SubstreamProtocol<Any> {
        SubstreamProtocol::new(Any, ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Infallible>>
    {
        match self.openings.poll_next_unpin(cx) {
            Poll::Ready(Some((protocol, waiting))) => {
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                    protocol: SubstreamProtocol::new(ReadyUpgrade::new(protocol), waiting),
                })
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Any, Self::OutboundProtocol, (), Self::OutboundOpenInfo>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => {
                let chunk = self.chunk;
                tokio::spawn(async move {
                    // In a box: a task of the size that holding takes is a larger one.
                    let served = match protocol.as_ref() {
                        PERF => serve::perf(stream, chunk).boxed(),
                        ECHO => serve::echo(stream).boxed(),
                        _ => serve::hold(stream).boxed(),
                    };
                    if let Err(error) = served.await
                        && std::env::var_os("BENCH_VERBOSE").is_some()
                    {
                        eprintln!("{protocol}: {error}");
                    }
                });
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: waiting,
            }) => {
                if let Err(Ok(mut unwanted)) = waiting.send(Ok(stream)) {
                    tokio::spawn(async move { unwanted.close().await });
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError {
                info: waiting,
                error,
            }) => {
                let _nobody = waiting.send(Err(error.to_string()));
            }
            _ => {}
        }
    }
}
