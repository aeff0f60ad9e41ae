//! The handle of one stream.
//!
//! A stream of libp2p is a bidirectional stream of QUIC. A reset is both a `RESET_STREAM` and a
//! `STOP_SENDING`, each with the code.
//!
//! Spec: libp2p/specs `quic/README.md`; RFC 9000, sections 2 and 3.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::io::{AsyncRead, AsyncWrite};
use p2p_core::{Blame, BoxStream, ConnectionEnd, ErrorCode, MuxedStream, StreamReset};
use quinn_proto::{FinishError, ReadError, StreamId, VarInt, WriteError};

use crate::connection::{Shared, State};
use crate::{Config, error};

/// The code of what has none.
const UNCODED: VarInt = VarInt::from_u32(0);

/// What a connection knows of a stream whose handle exists.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    /// It may hold what is not read.
    pub(crate) unread: bool,
    /// The number of its last write among those of the connection.
    pub(crate) wrote: u64,
    reading: Reading,
    writing: Writing,
}

#[derive(Clone, Copy, Default)]
enum Reading {
    #[default]
    Open,
    /// The remote has ended its side, and everything is read.
    Finished,
    Reset(StreamReset),
}

#[derive(Clone, Copy, Default)]
enum Writing {
    #[default]
    Open,
    /// We have ended our side.
    Finished,
    Reset(StreamReset),
}

impl Entry {
    /// Whether our side has not ended in any way.
    pub(crate) fn is_writing(&self) -> bool {
        matches!(self.writing, Writing::Open)
    }

    /// The remote does not want what we write.
    pub(crate) fn handle_stopped(&mut self, reset: StreamReset) {
        if self.is_writing() {
            self.writing = Writing::Reset(reset);
        }
    }
}

/// Streams that we have closed and dropped while the remote may still speak. It has done nothing
/// wrong, so it is heard to its end, within limits: told to stop, a remote could take our words
/// for cut off that it has not read yet.
pub(crate) struct Lingering {
    /// Oldest first, with the bytes that were thrown away.
    streams: VecDeque<(StreamId, usize)>,
    max: usize,
    discard: usize,
}

impl Lingering {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            streams: VecDeque::new(),
            max: config.max_lingering,
            discard: config.discard,
        }
    }
}

/// A stream of a connection. Dropping it ends what is still open of it, and resets it unless it
/// was closed.
pub(crate) struct QuicStream {
    shared: Arc<Shared>,
    id: StreamId,
}

impl QuicStream {
    pub(crate) fn boxed(shared: &Arc<Shared>, id: StreamId) -> BoxStream {
        Box::new(Self {
            shared: shared.clone(),
            id,
        })
    }
}

impl State {
    fn read(&mut self, id: StreamId, buffer: &mut [u8], waker: &Waker) -> Poll<io::Result<usize>> {
        if let Some(end @ ConnectionEnd::Local(_)) = &self.ended {
            return Poll::Ready(Err(end.clone().into()));
        }
        let Some(entry) = self.streams.get_mut(&id) else {
            return Poll::Ready(Ok(0));
        };
        match entry.reading {
            Reading::Open => {}
            Reading::Finished => return Poll::Ready(Ok(0)),
            Reading::Reset(reset) => return Poll::Ready(Err(reset.into())),
        }
        let mut filled = 0;
        let mut outcome = None;
        let mut is_empty = false;
        let mut stream = self.quic.recv_stream(id);
        // Refused only for streams that `reading` knows to be over.
        let Ok(mut chunks) = stream.read(true) else {
            return Poll::Ready(Ok(0));
        };
        while let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) {
            match chunks.next(space.len()) {
                Ok(Some(chunk)) => {
                    if let Some(space) = space.get_mut(..chunk.bytes.len()) {
                        space.copy_from_slice(&chunk.bytes);
                    }
                    filled += chunk.bytes.len();
                }
                Ok(None) => {
                    outcome = Some(Reading::Finished);
                    break;
                }
                Err(ReadError::Reset(code)) => {
                    outcome = Some(Reading::Reset(StreamReset {
                        by: Blame::Remote,
                        code: error::code(code),
                    }));
                    break;
                }
                Err(ReadError::Blocked) => {
                    is_empty = true;
                    break;
                }
            }
        }
        if chunks.finalize().should_transmit() {
            self.notify_driver();
        }
        self.account.handle_read(filled);
        if is_empty || outcome.is_some() {
            self.note_read(id);
        }
        let Some(entry) = self.streams.get_mut(&id) else {
            return Poll::Ready(Ok(filled));
        };
        if let Some(outcome) = outcome {
            entry.reading = outcome;
        }
        match outcome {
            _ if filled > 0 => Poll::Ready(Ok(filled)),
            Some(Reading::Reset(reset)) => Poll::Ready(Err(reset.into())),
            Some(Reading::Finished | Reading::Open) => Poll::Ready(Ok(0)),
            None => {
                if let Some(end) = &self.ended {
                    return Poll::Ready(Err(end.clone().into()));
                }
                keep(&mut entry.reader, waker);
                Poll::Pending
            }
        }
    }

    fn write(&mut self, id: StreamId, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        if let Err(error) = self.check_writing(id) {
            return Poll::Ready(Err(error));
        }
        let segment = self.account.segment();
        let bytes = bytes.get(..segment).unwrap_or(bytes);
        match self.quic.send_stream(id).write(bytes) {
            Ok(count) => {
                self.writes += 1;
                if let Some(entry) = self.streams.get_mut(&id) {
                    entry.wrote = self.writes;
                }
                self.notify_driver();
                Poll::Ready(Ok(count))
            }
            Err(WriteError::Blocked) => {
                if let Some(entry) = self.streams.get_mut(&id) {
                    keep(&mut entry.writer, waker);
                }
                // It may have to tell the remote that it holds us back.
                self.notify_driver();
                Poll::Pending
            }
            Err(WriteError::Stopped(code)) => {
                let reset = self.stopped(id, code);
                Poll::Ready(Err(reset.into()))
            }
            Err(WriteError::ClosedStream) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn finish(&mut self, id: StreamId) -> io::Result<()> {
        if let Some(entry) = self.streams.get(&id)
            && matches!(entry.writing, Writing::Finished)
        {
            return Ok(());
        }
        self.check_writing(id)?;
        match self.quic.send_stream(id).finish() {
            Ok(()) => {
                if let Some(entry) = self.streams.get_mut(&id) {
                    entry.writing = Writing::Finished;
                }
                self.notify_driver();
                Ok(())
            }
            Err(FinishError::Stopped(code)) => Err(self.stopped(id, code).into()),
            Err(FinishError::ClosedStream) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn check_writing(&self, id: StreamId) -> io::Result<()> {
        if let Some(end) = &self.ended {
            return Err(end.clone().into());
        }
        match self.streams.get(&id).map(|entry| entry.writing) {
            Some(Writing::Open) => Ok(()),
            Some(Writing::Reset(reset)) => Err(reset.into()),
            Some(Writing::Finished) | None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The remote does not want what we write, which its `STOP_SENDING` says with `code`.
    fn stopped(&mut self, id: StreamId, code: VarInt) -> StreamReset {
        let reset = StreamReset {
            by: Blame::Remote,
            code: error::code(code),
        };
        let _ = self.quic.send_stream(id).reset(code);
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.handle_stopped(reset);
        }
        self.notify_driver();
        reset
    }

    fn reset(&mut self, id: StreamId, code: ErrorCode) {
        let Some(entry) = self.streams.get_mut(&id) else {
            return;
        };
        let by_us = StreamReset {
            by: Blame::Us,
            code,
        };
        let code = VarInt::from_u32(code.0);
        if !matches!(entry.writing, Writing::Reset(_)) {
            entry.writing = Writing::Reset(by_us);
            // Refused if all of it was delivered already.
            let _ = self.quic.send_stream(id).reset(code);
        }
        if matches!(entry.reading, Reading::Open) {
            entry.reading = Reading::Reset(by_us);
            let _ = self.quic.recv_stream(id).stop(code);
        }
        self.wake_stream(id);
        self.notify_driver();
    }

    fn drop_stream(&mut self, id: StreamId) {
        let Some(entry) = self.streams.get(&id) else {
            return;
        };
        match (entry.writing, entry.reading) {
            (Writing::Finished, Reading::Open) => {
                self.lingering.streams.push_back((id, 0));
                self.throw_away(id);
            }
            (Writing::Open, reading) => {
                let _ = self.quic.send_stream(id).reset(UNCODED);
                if matches!(reading, Reading::Open) {
                    self.stop(id);
                }
            }
            (Writing::Reset(_), Reading::Open) => self.stop(id),
            (Writing::Finished | Writing::Reset(_), _) => {}
        }
        self.forget(id);
        while self.lingering.streams.len() > self.lingering.max
            && let Some((oldest, _)) = self.lingering.streams.pop_front()
        {
            self.stop(oldest);
        }
        self.notify_driver();
    }

    /// Throws away what has come for a stream, if it lingers.
    pub(crate) fn throw_away(&mut self, id: StreamId) {
        let known = |(known, _): &(StreamId, usize)| *known == id;
        let Some(at) = self.lingering.streams.iter().position(known) else {
            return;
        };
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            self.lingering.streams.remove(at);
            return;
        };
        let mut thrown = 0;
        let ended = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => thrown += chunk.bytes.len(),
                Ok(None) | Err(ReadError::Reset(_)) => break true,
                Err(ReadError::Blocked) => break false,
            }
        };
        if chunks.finalize().should_transmit() {
            self.notify_driver();
        }
        self.account.handle_discarded(thrown);
        let Some((_, total)) = self.lingering.streams.get_mut(at) else {
            return;
        };
        *total = total.saturating_add(thrown);
        let too_much = *total > self.lingering.discard;
        if ended || too_much {
            self.lingering.streams.remove(at);
        }
        if too_much && !ended {
            self.stop(id);
        }
    }

    /// Tells the remote that nobody reads.
    fn stop(&mut self, id: StreamId) {
        let _ = self.quic.recv_stream(id).stop(UNCODED);
        self.notify_driver();
    }
}

impl AsyncRead for QuicStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let id = self.id;
        self.shared.with(|state| state.read(id, buffer, cx.waker()))
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let id = self.id;
        self.shared.with(|state| state.write(id, bytes, cx.waker()))
    }

    /// Ready at once: the driver sends what is written without being asked.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.shared.with(|state| state.ended.clone());
        Poll::Ready(ended.map_or(Ok(()), |end| Err(end.into())))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let id = self.id;
        Poll::Ready(self.shared.with(|state| state.finish(id)))
    }
}

impl MuxedStream for QuicStream {
    fn reset(&mut self, code: ErrorCode) {
        self.shared.with(|state| state.reset(self.id, code));
    }

    fn id(&self) -> u64 {
        self.id.into()
    }
}

impl Drop for QuicStream {
    fn drop(&mut self) {
        self.shared.with(|state| state.drop_stream(self.id));
    }
}

fn keep(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(known) => known.clone_from(waker),
        none => *none = Some(waker.clone()),
    }
}
