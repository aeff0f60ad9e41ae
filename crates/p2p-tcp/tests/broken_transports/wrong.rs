//! A transport with one thing wrong.

use std::fmt;
use std::future::{pending, ready};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{self, Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use p2p_core::conformance::faulty::{Fault, Faulty};
use p2p_core::{
    AddrExt, BoxIo, BoxStream, ConnectionEnd, Dialed, ErrorCode, Established, Incoming, Instant,
    Link, Listener, Multiaddr, Muxer, Muxing, OpenError, PeerId, Rt, SecurityError, Transport,
    TransportError,
};

use crate::named::Named;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wrong {
    /// A listener ends when an incoming link is dropped.
    AcceptEndsWithALink,
    /// Of the connections as many are lost as accepts were dropped.
    AcceptTakesAlong,
    /// The next accept waits for the link of the last one.
    AcceptWaitsForTheLink,
    /// What the links carry.
    Bytes(Fault),
    /// A dial goes on when it is dropped.
    DialGoesOn,
    /// What is not as it should be is waited for.
    DialHangs,
    /// The error of a dial names no address.
    DialNamesNobody,
    /// A dial leaves a task behind.
    DialLeavesATask,
    /// Dropped links and streams stay open.
    DropIsSilent,
    /// Dropped streams are reset, also closed ones.
    DropResets,
    /// Only so many connections are accepted.
    FewFit(usize),
    /// Each listener says that it has the addresses of all.
    ListenersMix,
    /// Listens on another port if the one is taken.
    ListensElsewhere,
    /// A dropped listener goes on listening.
    ListensOn,
    /// The addresses have the name of somebody in them.
    NamesSomebody,
    Nothing,
    /// No address with a peer is supported.
    RefusesPeers,
    /// The link of a dialer is read up to the end of its first line, wherever that is.
    ReadsLines,
    /// What was not read for a while misses a byte.
    SlowLoses,
    /// Every address is supported.
    SupportsAll,
    /// Whoever answers is the right one.
    TakesAnybody,
}

/// `inner`, but for one thing.
#[derive(Clone)]
pub(crate) struct Broken {
    pub(crate) inner: Arc<dyn Transport>,
    pub(crate) rt: Rt,
    pub(crate) wrong: Wrong,
    /// All that is listened on.
    pub(crate) addrs: Arc<Mutex<Vec<Multiaddr>>>,
}

struct BrokenListener {
    /// There until it is dropped.
    inner: Option<Box<dyn Listener>>,
    node: Broken,
    accepted: usize,
    /// Accepts and links that were dropped before they were done.
    accepts: Arc<AtomicUsize>,
    links: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct BrokenMuxer {
    inner: Arc<dyn Muxer>,
    node: Broken,
}

/// Counts what is dropped before it is done.
struct Undone(Option<Arc<AtomicUsize>>);

impl Undone {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Undone {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Loses a byte of what waited.
struct Slow {
    io: BoxIo,
    rt: Rt,
    last: Instant,
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.wrong, self.inner)
    }
}

impl Broken {
    /// The fault of what carries bytes.
    fn fault(&self) -> Fault {
        match self.wrong {
            Wrong::Bytes(fault) => fault,
            _ => Fault::Nothing,
        }
    }

    fn link(&self, link: Link) -> Link {
        match link {
            Link::Raw(io) => Link::Raw(self.io(io)),
            Link::Muxed(established) => {
                let inner = established.muxing.muxer;
                let muxer = Arc::new(BrokenMuxer {
                    inner,
                    node: self.clone(),
                });
                let driver = established.muxing.driver;
                Link::Muxed(Established {
                    muxing: Muxing { muxer, driver },
                    ..established
                })
            }
        }
    }

    /// Completes an incoming link.
    async fn receive(
        self,
        link: BoxFuture<'static, Result<Link, TransportError>>,
        undone: Undone,
    ) -> Result<Link, TransportError> {
        let mut link = link.await?;
        undone.done();
        if let (Wrong::ReadsLines, Link::Raw(io)) = (self.wrong, &mut link) {
            read_line(io).await.map_err(SecurityError::Io)?;
        }
        Ok(self.link(link))
    }

    fn io(&self, io: BoxIo) -> BoxIo {
        if self.wrong == Wrong::SlowLoses {
            let (rt, last) = (self.rt.clone(), self.rt.now());
            return Box::new(Slow { io, rt, last });
        }
        let io = Faulty::new(io, self.fault());
        match self.wrong == Wrong::DropIsSilent {
            true => Box::new(io.on_drop(std::mem::forget)),
            false => Box::new(io),
        }
    }

    fn stream(&self, stream: BoxStream) -> BoxStream {
        let stream = Faulty::new(stream, self.fault());
        match self.wrong == Wrong::DropResets {
            true => Box::new(stream.on_drop(|mut stream| stream.reset(ErrorCode::NONE))),
            false => Box::new(stream),
        }
    }
}

impl Transport for Broken {
    fn supports(&self, addr: &Multiaddr) -> bool {
        match self.wrong {
            Wrong::SupportsAll => true,
            Wrong::RefusesPeers if addr.peer().is_some() => false,
            _ => self.inner.supports(addr),
        }
    }

    fn dial(
        &self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let expect = expect.filter(|_| self.wrong != Wrong::TakesAnybody);
        let node = self.clone();
        let mut dial = self.inner.dial(addr, expect);
        if self.wrong == Wrong::DialGoesOn {
            let (say, said) = oneshot::channel();
            self.rt.spawn("dials on", dial.map(|_| ()).boxed());
            dial = said.map(|done| done.unwrap()).boxed();
            std::mem::forget(say);
        }
        if self.wrong == Wrong::DialLeavesATask {
            self.rt.spawn("left", pending().boxed());
        }
        async move {
            match dial.await {
                Ok(Dialed { link, local }) => {
                    let link = node.link(link);
                    Ok(Dialed { link, local })
                }
                Err(TransportError::Connect { source, .. })
                    if node.wrong == Wrong::DialNamesNobody =>
                {
                    let addr = Multiaddr::empty();
                    Err(TransportError::Connect { addr, source })
                }
                Err(_) if node.wrong == Wrong::DialHangs => pending().await,
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let node = self.clone();
        async move {
            let mut listening = node.inner.listen(addr.clone()).await;
            if listening.is_err() && node.wrong == Wrong::ListensElsewhere {
                let any: Multiaddr = "/tcp/0".parse().unwrap();
                let elsewhere = addr.iter().take(1).chain(any.iter()).collect();
                listening = node.inner.listen(elsewhere).await;
            }
            let inner = listening?;
            node.addrs.lock().unwrap().extend(inner.addrs());
            Ok(Box::new(BrokenListener {
                inner: Some(inner),
                node,
                accepted: 0,
                accepts: Arc::default(),
                links: Arc::default(),
            }) as Box<dyn Listener>)
        }
        .boxed()
    }
}

impl Drop for BrokenListener {
    fn drop(&mut self) {
        if self.node.wrong == Wrong::ListensOn {
            std::mem::forget(self.inner.take());
        }
    }
}

impl BrokenListener {
    fn loses(&self) -> bool {
        match self.node.wrong {
            Wrong::AcceptEndsWithALink => self.links.load(Ordering::Relaxed) > 0,
            Wrong::AcceptTakesAlong => self.accepted <= self.accepts.load(Ordering::Relaxed),
            Wrong::FewFit(count) => self.accepted > count,
            _ => false,
        }
    }
}

impl Listener for BrokenListener {
    fn addrs(&self) -> Vec<Multiaddr> {
        let addrs = self.inner.as_ref().unwrap().addrs();
        match self.node.wrong {
            Wrong::ListenersMix => self.node.addrs.lock().unwrap().clone(),
            Wrong::NamesSomebody => {
                let somebody = Named::new(self.node.rt.clone()).peer();
                addrs.iter().map(|addr| addr.with_peer(somebody)).collect()
            }
            _ => addrs,
        }
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Incoming>> {
        async move {
            let undone = Undone(Some(self.accepts.clone()));
            let incoming = loop {
                let incoming = self.inner.as_mut().unwrap().accept().await?;
                self.accepted += 1;
                if !self.loses() {
                    break incoming;
                }
            };
            let unasked = Undone(Some(self.links.clone()));
            let mut link = self.node.clone().receive(incoming.link, unasked).boxed();
            if self.node.wrong == Wrong::AcceptWaitsForTheLink {
                link = ready(link.await).boxed();
            }
            undone.done();
            Ok(Incoming { link, ..incoming })
        }
        .boxed()
    }
}

impl Muxer for BrokenMuxer {
    fn open(&self) -> BoxFuture<'static, Result<BoxStream, OpenError>> {
        let node = self.node.clone();
        let open = self.inner.open();
        async move { Ok(node.stream(open.await?)) }.boxed()
    }

    fn accept(&self) -> BoxFuture<'static, Result<BoxStream, ConnectionEnd>> {
        let node = self.node.clone();
        let accept = self.inner.accept();
        async move { Ok(node.stream(accept.await?)) }.boxed()
    }

    fn close(&self, code: ErrorCode) {
        self.inner.close(code);
    }

    fn streams(&self) -> usize {
        self.inner.streams()
    }
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let now = self.rt.now();
        let slow = now - self.last >= Duration::from_millis(2);
        if slow {
            task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut [0]))?;
        }
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        self.last = now;
        read
    }
}

impl AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

async fn read_line(io: &mut BoxIo) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = io.read(&mut buffer).await?;
        if count == 0 || buffer.iter().take(count).any(|byte| *byte == b'\n') {
            return Ok(());
        }
    }
}
