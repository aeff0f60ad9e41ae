//! One stream of a table, and the limits of all of them.

use std::time::Duration;

use p2p_core::{ErrorCode, Instant, StreamReset};

use crate::RecvQueue;
use crate::turns::Turn;

/// The limits of a [`Table`](crate::Table).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Streams the remote may have open. Default: 1024.
    pub max_inbound: usize,
    /// Streams we may have open. Default: 1024.
    pub max_outbound: usize,
    /// Streams of the remote that wait to be accepted. Default: 256.
    pub backlog: usize,
    /// How long a stream that the application has closed and dropped waits for the remote's end.
    /// Default: 60 s.
    pub linger: Duration,
    /// How much of the remote's data such a stream takes and throws away, in bytes. Default: 1 MiB.
    pub discard: usize,
    /// Resets a second that the remote may send for its own streams; twice as many at once.
    /// Default: 1000.
    pub resets_per_second: u32,
    /// Size of the staging buffer, in bytes. Default: 48 KiB.
    pub send_buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_inbound: 1024,
            max_outbound: 1024,
            backlog: 256,
            linger: Duration::from_secs(60),
            discard: 1024 * 1024,
            resets_per_second: 1000,
            send_buffer: 48 * 1024,
        }
    }
}

/// One stream; `X` is what the protocol keeps in addition.
#[derive(Debug)]
pub struct Stream<X> {
    /// Its number on the wire, made unique within the connection.
    pub id: u64,
    /// Whether we opened it.
    pub local: bool,
    /// Whether the remote knows of it.
    pub announced: bool,
    /// Our direction.
    pub send: Send,
    /// Whether the remote closed its direction.
    pub finished: bool,
    /// Whether and why it was reset.
    pub reset: Option<StreamReset>,
    /// A reset that we have to tell the remote.
    pub owes_reset: Option<ErrorCode>,
    /// What the protocol keeps.
    pub ext: X,
    pub(crate) queue: RecvQueue,
    pub(crate) owner: Owner,
    /// Boxed: few streams have any of it, and there is an entry for each.
    pub(crate) rare: Option<Box<Rare>>,
    /// In `control`.
    pub(crate) scheduled: bool,
    /// Its turns to write.
    pub(crate) turn: Turn,
    pub(crate) reader_waits: bool,
    pub(crate) writer_waits: bool,
}

/// What most streams never need.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// Bytes thrown away since the application dropped the stream.
    pub(crate) discarded: usize,
    pub(crate) deadline: Option<Instant>,
}

/// Our direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send {
    /// Takes bytes.
    Open,
    /// Closed; the remote has to be told.
    Closing,
    /// Closed, and the remote knows.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Backlog,
    App,
    Gone,
}

/// What became of received payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It waits for the application.
    Queued,
    /// Nobody wants it: the application is gone, or the stream was reset.
    Discarded,
}

impl<X> Stream<X> {
    pub(crate) fn new(id: u64, local: bool, owner: Owner, ext: X) -> Self {
        Self {
            id,
            local,
            announced: !local,
            send: Send::Open,
            finished: false,
            reset: None,
            owes_reset: None,
            ext,
            queue: RecvQueue::default(),
            owner,
            rare: None,
            scheduled: false,
            turn: Turn::default(),
            reader_waits: false,
            writer_waits: false,
        }
    }

    /// Bytes that the application has not read.
    pub fn unread(&self) -> usize {
        self.queue.len()
    }

    /// Bytes thrown away since the application dropped the stream.
    pub fn discarded(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.discarded)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.rare.as_ref()?.deadline
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Whether the application has dropped it.
    pub fn is_gone(&self) -> bool {
        self.owner == Owner::Gone
    }

    /// Whether payload can still arrive.
    pub fn receives(&self) -> bool {
        self.reset.is_none() && !self.finished
    }

    pub(crate) fn is_over(&self) -> bool {
        let quiet = !self.scheduled && !self.turn.waits && self.owes_reset.is_none();
        let done = self.reset.is_some() || (self.finished && self.send == Send::Closed);
        self.is_gone() && quiet && done
    }
}
