//! One stream each way with a peer.
//!
//! We only write on the stream that we open, and only read to notice its end; the peer does the
//! same on its own. A second stream of the peer replaces the first.
//!
//! ```text
//!   open ──> connected ──> ended ── pause, longer each time ──> open
//!    └──> refused ── the peer opens a stream of its own ──> open
//! ```
//!
//! Nothing is given up for good while the connection lives.

use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{AbortHandle, Abortable, Either, poll_fn, select};
use futures::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use p2p_core::{AddrExt, Budget, PeerId, Permit, Role, frame};
use p2p_swarm::{OpenError, Stream, WeakConnection};

use crate::calls::{Call, called};
use crate::check::check;
use crate::router::{Remote, Version};
use crate::state::{Session, Shared};

/// Talks with the peer at the other end of `connection`, unless another connection does.
pub(crate) async fn talk(shared: Arc<Shared>, connection: WeakConnection) {
    let mut quick_ends = 0;
    loop {
        let turn = Turn::take(&shared, &connection).await;
        let (began, heard) = (shared.rt.now(), shared.lock().readers);
        // In a box: most of a task that waits would be room for it.
        let ended = Box::pin(speak(&turn)).await;
        drop(turn);
        match ended {
            Ended::Refused => called(&shared, &connection, heard).await,
            Ended::Broken => {
                if shared.rt.now() - began >= LONGEST_PAUSE {
                    quick_ends = 0;
                }
                let pause = PAUSE.saturating_mul(1 << quick_ends).min(LONGEST_PAUSE);
                quick_ends = (quick_ends + 1).min(DOUBLINGS);
                shared.rt.sleep(PAUSE).await;
                let call = called(&shared, &connection, heard);
                let _waited = shared.rt.timeout(pause.saturating_sub(PAUSE), call).await;
            }
        }
    }
}

/// Why a stream is no longer there.
enum Ended {
    /// It was, or could not be opened for now.
    Broken,
    /// The peer knows none of our protocols, as yet.
    Refused,
}

/// Opens a stream and writes on it until it ends.
async fn speak(turn: &Turn<'_>) -> Ended {
    let (shared, peer) = (turn.shared, turn.connection.peer());
    let protocols = shared.lock().router.protocols();
    let opened = turn.connection.upgrade().open_any(&protocols).await;
    match opened {
        Ok(stream) => {
            turn.connected(&stream);
            let ended = write(shared, peer, stream).await;
            tracing::debug!(%peer, ?ended, "pubsub stream ended");
            Ended::Broken
        }
        Err(error) if is_refusal(&error) => {
            tracing::trace!(%peer, %error, "peer does not speak pubsub");
            Ended::Refused
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "no stream for pubsub");
            Ended::Broken
        }
    }
}

/// Whether the peer knows none of our protocols.
fn is_refusal(error: &OpenError) -> bool {
    let OpenError::Negotiation(error) = error else {
        return false;
    };
    matches!(**error, p2p_multistream::Error::Negotiation(_))
}

/// Being the one session with a peer. Dropping it tells the router that the peer is gone.
struct Turn<'a> {
    shared: &'a Shared,
    connection: WeakConnection,
}

impl<'a> Turn<'a> {
    async fn take(shared: &'a Shared, connection: &WeakConnection) -> Self {
        let peer = connection.peer();
        poll_fn(|cx| {
            let mut state = shared.lock();
            if state.peers.contains_key(&peer) {
                return state.wait(cx);
            }
            let session = Session {
                connected: false,
                writer: None,
                reader: None,
            };
            state.peers.insert(peer, session);
            Poll::Ready(())
        })
        .await;
        Self {
            shared,
            connection: connection.clone(),
        }
    }

    fn connected(&self, stream: &Stream) {
        let info = self.connection.info();
        let remote = Remote {
            peer: info.peer,
            version: Version::of(stream.protocol()).unwrap_or(Version::Floodsub),
            outbound: info.role == Role::Dialer,
            ips: info.remote.ip().into_iter().collect(),
        };
        let record = self.shared.record_of(&info.peer);
        let waiting = self.shared.step(|state, now| {
            if let Some(session) = state.peers.get_mut(&info.peer) {
                session.connected = true;
            }
            state.router.handle_peer_connected(remote, now);
            if let Some(record) = record {
                state.router.set_record(&info.peer, record);
            }
            state.changed()
        });
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let peer = self.connection.peer();
        let (session, waiting) = self.shared.step(|state, now| {
            state.router.handle_peer_disconnected(&peer, now);
            (state.peers.remove(&peer), state.changed())
        });
        // The peer opens its stream anew and tells us its topics again.
        if let Some((_, reader)) = session.and_then(|session| session.reader) {
            reader.abort();
        }
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Writes what waits for `peer` until its end of the stream is gone.
async fn write(shared: &Shared, peer: PeerId, stream: Stream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let send = async {
        let mut batch = Vec::new();
        loop {
            next_batch(shared, peer, &mut batch).await?;
            let written = async {
                writer.write_all(&batch).await?;
                writer.flush().await
            };
            let timeout = shared.config.write_timeout;
            let written = shared.rt.timeout(timeout, written).await;
            written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            batch.clear();
        }
    };
    let mut byte = [0];
    let end = reader.read(&mut byte);
    match select(std::pin::pin!(send), end).await {
        Either::Left((Ok(never), _)) => never,
        Either::Left((Err(error), _)) | Either::Right((Err(error), _)) => Err(error),
        Either::Right((Ok(_), _)) => Ok(()),
    }
}

/// Appends frames for `peer` to `batch`, about 64 KiB of them at most. The memory of an empty
/// batch is given back before it waits.
async fn next_batch(shared: &Shared, peer: PeerId, batch: &mut Vec<u8>) -> io::Result<()> {
    let waiting = poll_fn(|cx| {
        let mut state = shared.lock();
        if !state.peers.contains_key(&peer) {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::NotConnected)));
        }
        while batch.len() < BATCH && state.router.take_frame(&peer, batch) {}
        if !batch.is_empty() {
            return Poll::Ready(Ok(state.changed()));
        }
        if batch.capacity() > IDLE_BATCH {
            *batch = Vec::new();
        }
        if let Some(session) = state.peers.get_mut(&peer) {
            session.writer = Some(cx.waker().clone());
        }
        Poll::Pending
    })
    .await?;
    waiting.into_iter().for_each(Waker::wake);
    Ok(())
}

/// Reads the RPCs of a peer from the stream that it opened.
pub(crate) async fn serve(shared: Arc<Shared>, mut stream: Stream) -> Result<(), frame::Error> {
    let peer = stream.peer();
    // Our consent to the protocol: the peer waits for it, as we do for the peer's.
    stream.flush().await?;
    let number = shared.next_reader();
    let call = Call::new(&shared, peer, number);
    let timeout = shared.config.write_timeout;
    let known = shared.rt.timeout(timeout, wait_for(&shared, peer)).await;
    drop(call);
    known.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    let (abort, registration) = AbortHandle::new_pair();
    if !take_over(&shared, peer, number, abort) {
        return Ok(());
    }
    match Abortable::new(read(&shared, (peer, number), stream), registration).await {
        Ok(ended) => ended,
        Err(_replaced) => Ok(()),
    }
}

/// Makes this the one stream that we read; false if a newer one came first.
fn take_over(shared: &Shared, peer: PeerId, number: u64, abort: AbortHandle) -> bool {
    shared.step(|state, _| {
        let Some(session) = state.peers.get_mut(&peer) else {
            return false;
        };
        if session.reads().is_some_and(|newer| newer > number) {
            return false;
        }
        if let Some((_, older)) = session.reader.replace((number, abort)) {
            older.abort();
            state.router.handle_stream_opened(&peer);
        }
        true
    })
}

/// Waits until the router knows of `peer`: what it says earlier would be lost.
async fn wait_for(shared: &Shared, peer: PeerId) {
    poll_fn(|cx| {
        let mut state = shared.lock();
        if state
            .peers
            .get(&peer)
            .is_some_and(|session| session.connected)
        {
            return Poll::Ready(());
        }
        state.wait(cx)
    })
    .await;
}

async fn read(
    shared: &Arc<Shared>,
    (peer, number): (PeerId, u64),
    stream: Stream,
) -> Result<(), frame::Error> {
    let connection = stream.connection();
    let budget = connection.budget();
    let mut paid = budget.reserve(0).map_err(io::Error::other)?;
    let mut stream = BufReader::with_capacity(READ_BUFFER, stream);
    let mut spare = Vec::new();
    loop {
        let max = shared.config.max_rpc_size;
        let rpc = match read_rpc(&mut stream, max, spare, &mut paid).await {
            Ok(rpc) => Bytes::from(rpc),
            Err(frame::Error::Ended) => return Ok(()),
            Err(error) => {
                tell_of_limit(budget, &error);
                return Err(error);
            }
        };
        let (read, jobs) = shared.step_and_check(|state, now| {
            let session = state.peers.get(&peer);
            // Another stream may have taken over since the last look.
            match session.and_then(Session::reads) == Some(number) {
                true => state.router.handle_rpc(&peer, rpc.clone(), now),
                false => Ok(()),
            }
        });
        read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        check(shared, jobs).await;
        // Messages that share an RPC with others were copied out of it.
        spare = match rpc.is_unique() && rpc.len() <= MAX_SPARE {
            true => Vec::from(rpc),
            false => Vec::new(),
        };
        paid.shrink(paid.amount());
    }
}

/// A limit of ours kept us from reading what the peer sends.
fn tell_of_limit(budget: &Budget, error: &frame::Error) {
    if let frame::Error::Io(error) = error
        && let Some(exceeded) = error.get_ref().and_then(|error| error.downcast_ref())
    {
        budget.refused(exceeded);
    }
}

/// Reads one RPC into `spare`, which `paid` grows by before that. What is longer than [`MAX_SPARE`]
/// takes memory as it arrives.
async fn read_rpc(
    stream: &mut BufReader<Stream>,
    max: usize,
    mut spare: Vec<u8>,
    paid: &mut Permit,
) -> Result<Vec<u8>, frame::Error> {
    let len = {
        let mut length = std::pin::pin!(frame::read_length(stream, max));
        match futures::poll!(&mut length) {
            Poll::Ready(len) => len?,
            Poll::Pending => {
                // Whoever is silent keeps nothing.
                spare = Vec::new();
                length.await?
            }
        }
    };
    paid.grow(len).map_err(io::Error::other)?;
    if len > MAX_SPARE {
        return frame::read_body(stream, len).await;
    }
    // What was in it is written over: no need for zeros.
    spare.resize(len, 0);
    stream.read_exact(&mut spare).await?;
    Ok(spare)
}

/// The first pause before we try again to open a stream; each next one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest one. A stream that lived as long has failed for another reason than the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// From [`PAUSE`] to [`LONGEST_PAUSE`].
const DOUBLINGS: u32 = 10;
/// Frames gather up to this many bytes.
const BATCH: usize = 64 * 1024;
/// What the writer of an idle peer keeps, in bytes.
const IDLE_BATCH: usize = 4 * 1024;
/// Small RPCs are read together.
const READ_BUFFER: usize = 16 * 1024;
/// RPCs up to this many bytes are read into the memory of the last one.
const MAX_SPARE: usize = 64 * 1024;
