//! Conversations: random bytes both ways at once, polite or rude.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{Either, join, select};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use p2p::{Host, Multiaddr, Stream};
use p2p_core::{ErrorCode, Instant, Protocol, Rt};

use crate::dice::Dice;
use crate::ledger::{Ledger, Way};

pub(crate) const TALK: &str = "/talk/1.0.0";
const TALKING: Protocol = Protocol::from_static(TALK);
const NONE: Protocol = Protocol::from_static("/none/1.0.0");

/// How long a conversation may take in fair weather; none does.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same in foul weather. By then the rude have long left, and dead connections were noticed:
/// who still waits has been forgotten. Less than the driver stays quiet.
const FOUL_PATIENCE: Duration = Duration::from_secs(280);
/// How long the rude stay at most.
const RUDE: Duration = Duration::from_secs(120);

/// What the two ends of a conversation share.
#[derive(Clone)]
pub(crate) struct Manners {
    pub(crate) ledger: Arc<Ledger>,
    /// Nothing goes wrong and everybody is polite.
    pub(crate) fair: Arc<AtomicBool>,
    /// What one end writes at most.
    pub(crate) max_bytes: Arc<AtomicUsize>,
}

/// How one end behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Writes everything, reads everything.
    Polite,
    /// Drops the stream at some time.
    Leaves,
    /// Resets the stream at some time.
    Resets,
    /// Stops reading at some time.
    Deaf,
    /// Never says or hears a word.
    Mute,
}

impl Manners {
    pub(crate) fn fair(&self) -> bool {
        self.fair.load(Ordering::Relaxed)
    }

    fn max_bytes(&self) -> usize {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// In fair weather everything works.
    pub(crate) fn check<T, E: fmt::Debug>(&self, what: &str, result: &Result<T, E>) {
        if let Err(error) = result {
            assert!(!self.fair(), "{what} in fair weather: {error:?}");
        }
    }

    /// When a conversation that begins now is over at the latest.
    fn until(&self, rt: &Rt) -> Instant {
        rt.now() + if self.fair() { PATIENCE } else { FOUL_PATIENCE }
    }

    fn mood(&self, dice: &Dice) -> Mood {
        let rude = [Mood::Leaves, Mood::Resets, Mood::Deaf, Mood::Mute];
        match self.fair() || dice.percent(70) {
            true => Mood::Polite,
            false => dice.pick(&rude),
        }
    }

    /// The dialer's end of a new conversation. In fair weather it must go well, in any weather it
    /// must end.
    pub(crate) async fn start(self, host: Host, to: Multiaddr) {
        let dice = Dice(host.swarm().rt().clone());
        let until = self.until(&dice.0);
        let opened = async {
            match dice.percent(70) {
                true => host.open(&to, TALK).await,
                // Nobody speaks the first one: that takes a round trip.
                false => host.swarm().open_any(&to, &[NONE, TALKING]).await,
            }
        };
        let opened = dice.0.timeout_at(until, opened).await;
        let opened = opened.expect("a stream is opened, or that fails");
        self.check("open", &opened);
        // The conversation keeps its connection, not the host.
        drop(host);
        if let Ok(stream) = opened {
            let number = self.ledger.number();
            let mood = self.mood(&dice);
            let way = Way {
                number,
                forth: true,
            };
            self.hold(stream, way, mood, until, dice).await;
        }
    }

    /// The listener's end.
    pub(crate) async fn answer(self, mut stream: Stream) {
        let dice = Dice(stream.connection().rt().clone());
        let until = self.until(&dice.0);
        let mut number = [0; 8];
        let read = dice.0.timeout_at(until, stream.read_exact(&mut number));
        match read.await.expect("a number is read, or that fails") {
            Ok(()) => {
                let (number, mood) = (u64::from_be_bytes(number), self.mood(&dice));
                let way = Way {
                    number,
                    forth: false,
                };
                self.hold(stream, way, mood, until, dice).await;
            }
            error => {
                let clean = matches!(&error, Err(e) if e.kind() == io::ErrorKind::UnexpectedEof);
                assert!(!clean, "a clean end before the first 8 bytes");
                self.check("number", &error);
            }
        }
    }

    /// One end of a conversation, which writes `out`.
    async fn hold(self, mut stream: Stream, out: Way, mood: Mood, until: Instant, dice: Dice) {
        let rt = dice.0.clone();
        let back = Way {
            forth: !out.forth,
            ..out
        };
        match mood {
            Mood::Polite => {
                let (reader, writer) = stream.split();
                let len = dice.size(self.max_bytes());
                let write = self.write(writer, out, len, dice.clone());
                let read = self.read(reader, back, u64::MAX, dice);
                let both = apart_or_together(&rt, write, read);
                let Ok(done) = rt.timeout_at(until, both).await else {
                    panic!("{out:?}: neither end of it was read nor failed");
                };
                let well = matches!(done, (Ok(()), Ok(())));
                self.check("talk", &well.then_some(()).ok_or((out, done)));
            }
            Mood::Leaves | Mood::Deaf => {
                let leaves = dice.time(RUDE / 2);
                let (reader, writer) = stream.split();
                let write = self.write(writer, out, dice.size(self.max_bytes()), dice.clone());
                let hears = match mood {
                    Mood::Deaf => dice.size(self.max_bytes()) as u64,
                    Mood::Leaves | Mood::Mute | Mood::Polite | Mood::Resets => u64::MAX,
                };
                let read = self.read(reader, back, hears, dice);
                let _ = rt.timeout(leaves, join(write, read)).await;
            }
            Mood::Resets => {
                let number = out.number.to_be_bytes();
                if out.forth && stream.write_all(&number).await.is_err() {
                    return;
                }
                rt.sleep(dice.time(RUDE / 10)).await;
                stream.reset(ErrorCode(7));
            }
            Mood::Mute => rt.sleep(dice.time(RUDE)).await,
        }
    }

    /// Bytes written or read at a time, at least: smaller ones take long and show nothing more.
    fn least(&self) -> usize {
        1 + self.max_bytes() / 4096
    }

    /// Writes `len` bytes in pieces, closes, and says so.
    fn write(
        &self,
        mut writer: impl AsyncWrite + Send + Unpin + 'static,
        way: Way,
        len: usize,
        dice: Dice,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let ledger = Arc::clone(&self.ledger);
        let least = self.least();
        async move {
            if way.forth {
                writer.write_all(&way.number.to_be_bytes()).await?;
            }
            let (mut sent, mut pauses) = (0, Pauses::default());
            while sent < len {
                let piece = (least + dice.size(100_000)).min(len - sent);
                writer.write_all(&way.bytes(sent as u64, piece)).await?;
                sent += piece;
                if dice.percent(10) {
                    writer.flush().await?;
                }
                pauses.maybe(&dice).await;
            }
            ledger.closing(way, len as u64);
            writer.close().await
        }
    }

    /// Reads and compares to the end, or until `hears` bytes were read; then it hears no more.
    fn read(
        &self,
        mut reader: impl AsyncRead + Send + Unpin + 'static,
        way: Way,
        hears: u64,
        dice: Dice,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let ledger = Arc::clone(&self.ledger);
        let least = self.least();
        async move {
            let mut buffer = vec![0; least + dice.size(100_000)];
            let (mut at, mut pauses) = (0, Pauses::default());
            while at < hears {
                let read = reader.read(&mut buffer).await?;
                if read == 0 {
                    ledger.ended(way, at);
                    return Ok(());
                }
                way.check(at, &buffer[..read]);
                at += read as u64;
                pauses.maybe(&dice).await;
            }
            std::future::pending().await
        }
    }
}

/// Slows one half of a stream down, now and then.
#[derive(Default)]
struct Pauses(u32);

impl Pauses {
    async fn maybe(&mut self, dice: &Dice) {
        if self.0 < 8 && dice.percent(5) {
            self.0 += 1;
            dice.0.sleep(dice.time(Duration::from_secs(2))).await;
        }
    }
}

/// Runs both in this task, or each in a task of its own: wakers must find either.
async fn apart_or_together<A: Send + 'static, B: Send + 'static>(
    rt: &Rt,
    one: impl Future<Output = A> + Send + 'static,
    other: impl Future<Output = B> + Send + 'static,
) -> (A, B) {
    if Dice(rt.clone()).percent(50) {
        return join(one, other).await;
    }
    let (sender, receiver) = futures::channel::oneshot::channel();
    // Ends with the conversation: dropping the receiver cancels.
    rt.spawn(
        "other half",
        Box::pin(async move {
            let mut sender = sender;
            let done = select(Box::pin(one), sender.cancellation()).await;
            if let Either::Left((done, _)) = done {
                let _ = sender.send(done);
            }
        }),
    );
    let (one, other) = join(receiver, other).await;
    (one.expect("the other half ends first"), other)
}
