//! What a multiplexer has to say for itself.

use std::task::Poll;
use std::time::Duration;

use p2p_core::{ConnectionEnd, ErrorCode, Instant, OpenError, StreamReset};

use crate::Input;

/// A stream of one machine. Valid from `open` or `accept` to `forget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub(crate) u32);

/// Somebody who was told to wait and can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Who waits in `accept`.
    Acceptor,
    /// Who waits in `open`.
    Opener,
    /// Who reads this stream.
    Reader(Key),
    /// Who writes this stream.
    Writer(Key),
}

/// What the driver has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pending {
    /// Nothing.
    Nothing,
    /// Frames that may ride with others: worth letting the other ready tasks run first.
    Lazy,
    /// Frames that somebody waits for.
    Now,
}

/// Why a stream takes or gives no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Our direction is closed; nothing was written.
    #[error("the writing side of the stream is closed")]
    Closed,
    /// The stream was reset.
    #[error(transparent)]
    Reset(#[from] StreamReset),
}

impl From<StreamError> for std::io::Error {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Closed => Self::new(std::io::ErrorKind::BrokenPipe, error),
            StreamError::Reset(reset) => reset.into(),
        }
    }
}

/// A multiplexing protocol as a pure state machine: bytes and time go in, bytes and wake-ups come
/// out.
///
/// Four kinds of methods:
///
/// - *commands* of the application: [`open`](Machine::open), [`accept`](Machine::accept),
///   [`read`](Machine::read), [`write`](Machine::write), [`close`](Machine::close),
///   [`reset`](Machine::reset), [`forget`](Machine::forget), [`go_away`](Machine::go_away).
///   `Poll::Pending` means: a [`Wake`] will follow when it is worth trying again.
/// - *inputs* from below: [`handle_input`](Machine::handle_input),
///   [`handle_timeout`](Machine::handle_timeout).
/// - *outputs*: [`take_output`](Machine::take_output), [`poll_timeout`](Machine::poll_timeout),
///   [`poll_wake`](Machine::poll_wake). All may have changed after any command or input.
/// - *questions*: [`pending`](Machine::pending), [`wants_input`](Machine::wants_input),
///   [`streams`](Machine::streams), [`stream_id`](Machine::stream_id).
///
/// The owner ends a connection; a machine only says that it must end. [`start`](crate::start)
/// is such an owner.
pub trait Machine: Send + 'static {
    /// Opens a stream. Pending while the remote has too many to acknowledge, or while we owe it
    /// too much.
    ///
    /// # Errors
    /// [`OpenError`]; nothing has changed.
    fn open(&mut self) -> Poll<Result<Key, OpenError>>;

    /// The next stream that the remote opened.
    fn accept(&mut self) -> Poll<Key>;

    /// Moves received bytes into `buf`. `Ok(0)`: the remote closed its side.
    ///
    /// # Errors
    /// [`StreamError::Reset`].
    fn read(&mut self, key: Key, buf: &mut [u8]) -> Poll<Result<usize, StreamError>>;

    /// Takes bytes to send; how many is returned, never zero for a non-empty `bytes`.
    ///
    /// # Errors
    /// [`StreamError`]; nothing was taken.
    fn write(&mut self, key: Key, bytes: &[u8]) -> Poll<Result<usize, StreamError>>;

    /// Makes sure that the remote learns of the stream even if nothing is written.
    fn announce(&mut self, key: Key);

    /// Ends our direction behind what was written. Again: changes nothing.
    ///
    /// # Errors
    /// [`StreamError::Reset`] if the stream was reset before.
    fn close(&mut self, key: Key) -> Result<(), StreamError>;

    /// Ends both directions at once. Later calls change nothing.
    fn reset(&mut self, key: Key, code: ErrorCode);

    /// The application dropped the stream. Resets it unless our direction is closed.
    fn forget(&mut self, key: Key, now: Instant);

    /// Takes received bytes off the front of `input`. Leaves some only if
    /// [`wants_input`](Machine::wants_input) turned false; offer them again when it is true.
    ///
    /// # Errors
    /// How the connection must end. What is worth telling the remote is in the output.
    fn handle_input(&mut self, input: &mut Input<'_>, now: Instant) -> Result<(), ConnectionEnd>;

    /// The remote hung up: how the connection ends.
    fn handle_eof(&mut self) -> ConnectionEnd {
        ConnectionEnd::Eof
    }

    /// Whether `handle_input` may be called: false while the remote makes us owe more than we can
    /// send, or hold more than we want to.
    fn wants_input(&self) -> bool;

    /// When to call [`handle_timeout`](Machine::handle_timeout) next.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Moves the machine to `now`. Early calls are harmless.
    ///
    /// # Errors
    /// How the connection must end.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionEnd>;

    /// How urgent [`take_output`](Machine::take_output) is.
    fn pending(&self) -> Pending;

    /// Swaps everything to send into `out`, which must be empty; its memory is used again.
    fn take_output(&mut self, out: &mut Vec<u8>, now: Instant);

    /// Who can go on.
    fn poll_wake(&mut self) -> Option<Wake>;

    /// Opens and accepts no streams from now on, and tells the remote `code` behind what was
    /// written.
    fn go_away(&mut self, code: ErrorCode);

    /// The connection is over: nothing will be sent or received. What was received can still be
    /// read.
    fn end(&mut self);

    /// Gives spare memory back; called when the connection is idle.
    fn trim(&mut self);

    /// Streams that are open, in both directions together.
    fn streams(&self) -> usize;

    /// A number for logs, unique within the connection.
    fn stream_id(&self, key: Key) -> u64;
}

/// How a session treats its connection, whatever the multiplexer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// How long an orderly end may take: what was written is flushed, the remote told, and its
    /// hang-up awaited. Default: 5 s.
    pub close_timeout: Duration,
    /// After this time without traffic, buffers are given back. Default: 1 s.
    pub idle_after: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            close_timeout: Duration::from_secs(5),
            idle_after: Duration::from_secs(1),
        }
    }
}
