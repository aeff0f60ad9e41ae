//! A host like any other, whose links do what no link should.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use p2p_core::{BoxIo, Dialed, Link, Listener, Multiaddr, PeerId, Transport, TransportError};
use p2p_tcp::Tcp;

/// What a link does to the bytes that are written to it, and from which byte on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sabotage {
    /// Turns these bits of one byte around.
    Flips { at: u64, bits: u8 },
    /// Hangs up behind so many bytes.
    HangsUp(u64),
    /// Says no more behind so many bytes, and reads no more.
    Stalls(u64),
}

/// TCP with a fault.
#[derive(Clone, Debug)]
pub(crate) struct Saboteur {
    pub(crate) tcp: Tcp,
    pub(crate) sabotage: Sabotage,
}

impl Transport for Saboteur {
    fn supports(&self, addr: &Multiaddr) -> bool {
        self.tcp.supports(addr)
    }

    fn dial(
        &self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let (dialing, sabotage) = (self.tcp.dial(addr, expect), self.sabotage);
        async move {
            let dialed = dialing.await?;
            let Link::Raw(io) = dialed.link else {
                unreachable!("TCP makes raw links");
            };
            let written = 0;
            let io: BoxIo = Box::new(Sabotaged {
                io,
                sabotage,
                written,
            });
            let link = Link::Raw(io);
            Ok(Dialed { link, ..dialed })
        }
        .boxed()
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        self.tcp.listen(addr)
    }
}

struct Sabotaged {
    io: BoxIo,
    sabotage: Sabotage,
    written: u64,
}

impl Sabotaged {
    /// Whether the link says no more.
    fn is_over(&self) -> bool {
        match self.sabotage {
            Sabotage::Flips { .. } => false,
            Sabotage::HangsUp(at) | Sabotage::Stalls(at) => self.written >= at,
        }
    }
}

impl AsyncRead for Sabotaged {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_over() {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Sabotaged {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut data = data.to_vec();
        let from = self.written;
        match self.sabotage {
            Sabotage::Flips { at, bits } => {
                let place = at.checked_sub(from).and_then(|at| usize::try_from(at).ok());
                if let Some(byte) = place.and_then(|place| data.get_mut(place)) {
                    *byte ^= bits;
                }
            }
            Sabotage::HangsUp(at) | Sabotage::Stalls(at) => {
                let room = usize::try_from(at - from.min(at)).unwrap_or(usize::MAX);
                if room == 0 {
                    return match self.sabotage {
                        Sabotage::HangsUp(_) => {
                            let _ = Pin::new(&mut self.io).poll_close(cx);
                            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
                        }
                        Sabotage::Flips { .. } | Sabotage::Stalls(_) => Poll::Pending,
                    };
                }
                data.truncate(room);
            }
        }
        let polled = Pin::new(&mut self.io).poll_write(cx, &data);
        if let Poll::Ready(Ok(count)) = polled {
            self.written += count as u64;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_over() {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_close(cx)
    }
}
