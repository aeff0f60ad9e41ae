//! The rules, in the order of their names.

use std::future::poll_fn;
use std::task::Poll;

use futures::future::{join, try_join, try_join4};
use futures::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::wire::{End, Tap, settle, wire};
use super::{Party, Rule, Subject};
use crate::conformance::{Broken, Verdict, ensure, expect, expect_all, pattern, read_out};
use crate::{Blame, BoxIo, PeerId, Protocol, Role, Secured, SecurityError};

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;
/// As much as any handshake may need before it knows who is there.
const HANDSHAKE: usize = 256 * KIB;

const YAMUX: Protocol = Protocol::from_static("/yamux/1.0.0");
const MPLEX: Protocol = Protocol::from_static("/mplex/6.7.0");

const CHANNEL: &str = "libp2p/specs connections/README.md, \"Secure channels\"";
const IDENTITY: &str =
    "libp2p/specs connections/README.md, \"Secure channels\"; peer-ids/peer-ids.md";
const INLINED: &str = "libp2p/specs connections/inlined-muxer-negotiation.md";
const SEAM: &str = "p2p_core::Security::secure";
const SEAM_BOUNDED: &str = "p2p_core::Budget: what a remote makes us hold is bounded";

macro_rules! rules {
    ($($name:ident: $spec:expr,)*) => {
        /// Every rule, in the order of their names.
        pub const RULES: &[Rule] = &[$(Rule {
            name: stringify!($name),
            spec: $spec,
            run: $name,
        }),*];
    };
}

rules! {
    a_changed_handshake_joins_nobody_else: IDENTITY,
    a_changed_record_is_noticed: CHANNEL,
    a_close_ends_one_direction_cleanly: CHANNEL,
    a_dropped_channel_reaches_the_other_end: CHANNEL,
    a_handshake_cut_anywhere_fails: SEAM,
    a_handshake_that_stalls_can_be_dropped: SEAM,
    a_narrow_link_is_wide_enough: SEAM,
    a_stopped_reader_stops_its_writer: SEAM_BOUNDED,
    a_wrong_peer_is_refused: IDENTITY,
    both_directions_carry_much_at_once: CHANNEL,
    bytes_of_any_number_arrive: CHANNEL,
    each_end_learns_who_the_other_is: IDENTITY,
    nonsense_is_refused_and_not_hoarded: SEAM_BOUNDED,
    nothing_is_sent_in_clear: CHANNEL,
    the_first_muxer_of_the_dialer_that_both_have_is_used: INLINED,
}

type Outcome = Result<Secured, SecurityError>;

/// What each end of a handshake asks for.
#[derive(Clone, Default)]
struct Wishes {
    expect: [Option<PeerId>; 2],
    muxers: [Vec<Protocol>; 2],
}

/// A dialer and a listener, and the link between them.
struct World {
    parties: [Party; 2],
    ends: (End, End),
    tap: Tap,
}

impl World {
    fn new(subject: &Subject) -> Self {
        Self::over(subject, 64 * KIB, usize::MAX)
    }

    fn over(subject: &Subject, capacity: usize, step: usize) -> Self {
        let (dialer, listener, tap) = wire(capacity, step);
        Self {
            parties: [subject.party(), subject.party()],
            ends: (dialer, listener),
            tap,
        }
    }

    /// Runs the handshake. `None`: it never ends.
    fn meet(self, wishes: Wishes) -> Option<(Outcome, Outcome)> {
        settle(self.handshake(wishes))
    }

    fn handshake(self, wishes: Wishes) -> impl Future<Output = (Outcome, Outcome)> + 'static {
        let [dialer, listener] = self.parties;
        let [expect_listener, expect_dialer] = wishes.expect;
        let [ours, theirs] = wishes.muxers;
        let (near, far) = self.ends;
        let dial = dialer
            .security
            .secure(Box::new(near), Role::Dialer, expect_listener, ours);
        let listen = listener
            .security
            .secure(Box::new(far), Role::Listener, expect_dialer, theirs);
        join(flushed(dial), flushed(listen))
    }

    /// Both ends of a channel.
    async fn channel(self) -> Result<(BoxIo, BoxIo), Broken> {
        let (near, far) = self.handshake(Wishes::default()).await;
        Ok((near?.io, far?.io))
    }
}

/// The last message of a handshake may wait for the first bytes: sends it.
async fn flushed(secure: impl Future<Output = Outcome>) -> Outcome {
    let mut secured = secure.await?;
    secured.io.flush().await?;
    Ok(secured)
}

/// Runs a rule to its end.
fn check(rule: impl Future<Output = Verdict> + 'static) -> Verdict {
    settle(rule).unwrap_or_else(|| Err(Broken::new("everybody waits, for ever")))
}

/// Whether the channel promises anything.
fn is_secure(subject: &Subject) -> bool {
    subject.party().security.is_secure()
}

/// How many bytes each end writes in a handshake.
fn lengths(subject: &Subject) -> Result<[usize; 2], Broken> {
    let world = World::new(subject);
    let tap = world.tap.clone();
    let Some((Ok(_near), Ok(_far))) = world.meet(Wishes::default()) else {
        return Err(Broken::new("no handshake without any interference"));
    };
    Ok([Role::Dialer, Role::Listener].map(|sender| tap.sent(sender).len()))
}

/// Places to interfere: all of the first ones, and every 23rd of the others.
fn places(len: usize) -> impl Iterator<Item = usize> {
    (0..len).filter(move |at| *at < 64 || at % 23 == 0 || at + 8 > len)
}

/// A byte changed in the handshake: an error, or it did not matter; never another peer, never
/// other bytes.
fn a_changed_handshake_joins_nobody_else(subject: &Subject) -> Verdict {
    if !is_secure(subject) {
        return Ok(());
    }
    let [dialers, listeners] = lengths(subject)?;
    for (sender, len) in [(Role::Dialer, dialers), (Role::Listener, listeners)] {
        for at in places(len) {
            let world = World::new(subject);
            let peers = world.parties.each_ref().map(|party| party.peer);
            world.tap.flip(sender, at, 1 << (at % 8));
            let tried = settle(async move {
                let (near, far) = world.handshake(Wishes::default()).await;
                for (end, peer) in [(&near, peers.last()), (&far, peers.first())] {
                    if let Ok(end) = end {
                        ensure!(Some(&end.peer) == peer, "joined to {}", end.peer);
                    }
                }
                let (Ok(mut near), Ok(mut far)) = (near, far) else {
                    return Ok(());
                };
                let words = pattern(1, 100);
                near.io.write_all(&words).await?;
                near.io.close().await?;
                let (heard, _) = read_out(&mut far.io).await;
                ensure!(words.starts_with(&heard), "other bytes than were written");
                Ok(())
            });
            // That both ends wait, the caller's deadline ends.
            if let Some(Err(broken)) = tried {
                return Err(Broken::new(format!(
                    "byte {at} of the {sender}: {broken:?}"
                )));
            }
        }
    }
    Ok(())
}

/// A byte changed afterwards: what came before arrives, then an error, and no end of file.
fn a_changed_record_is_noticed(subject: &Subject) -> Verdict {
    if !is_secure(subject) {
        return Ok(());
    }
    for offset in [0, 1, 2, 3, 4, 5, 20, 100, 1000, 5000] {
        let world = World::new(subject);
        let tap = world.tap.clone();
        check(async move {
            let (mut near, mut far) = world.channel().await?;
            let at = tap.sent(Role::Dialer).len() + offset;
            tap.flip(Role::Dialer, at, 0x10);
            let words = pattern(2, 10 * KIB);
            near.write_all(&words).await?;
            near.close().await?;
            let (heard, end) = read_out(&mut far).await;
            ensure!(words.starts_with(&heard), "other bytes than were written");
            // A header may have bytes without a meaning: then nothing is missing.
            let whole = heard == words;
            ensure!(
                end.is_err() || whole,
                "byte {offset} changed, and a clean end"
            );
            if whole {
                return Ok(());
            }
            let again = far.read(&mut [0; 16]).await;
            ensure!(!matches!(again, Ok(1..)), "bytes behind a forged record");
            Ok(())
        })?;
    }
    Ok(())
}

/// Closing one direction delivers what was written, and the other direction goes on.
fn a_close_ends_one_direction_cleanly(subject: &Subject) -> Verdict {
    for swapped in [false, true] {
        let world = World::new(subject);
        check(async move {
            let (near, far) = world.channel().await?;
            let (mut first, mut second) = if swapped { (far, near) } else { (near, far) };
            first.write_all(b"last words").await?;
            first.close().await?;
            expect_all(&mut second, b"last words").await?;
            let answer = pattern(3, MIB);
            let write = async {
                second.write_all(&answer).await?;
                second.close().await?;
                Ok(())
            };
            try_join(write, expect_all(&mut first, &answer)).await?;
            Ok(())
        })?;
    }
    Ok(())
}

/// Dropped without a close: the other end's reading and writing end.
fn a_dropped_channel_reaches_the_other_end(subject: &Subject) -> Verdict {
    let world = World::new(subject);
    check(async move {
        let (near, mut far) = world.channel().await?;
        drop(near);
        let (heard, _) = read_out(&mut far).await;
        ensure!(heard.is_empty(), "bytes that nobody wrote");
        let block = pattern(4, 64 * KIB);
        for _ in 0..64 {
            if far.write_all(&block).await.is_err() || far.flush().await.is_err() {
                return Ok(());
            }
        }
        Err(Broken::new("writing into nowhere succeeds"))
    })
}

/// Cut in the handshake: who needed the missing bytes fails, and nobody waits.
fn a_handshake_cut_anywhere_fails(subject: &Subject) -> Verdict {
    let [dialers, listeners] = lengths(subject)?;
    for (sender, len) in [(Role::Dialer, dialers), (Role::Listener, listeners)] {
        // Lengths may vary a little with the signatures.
        for at in places(len.saturating_sub(8)) {
            let world = World::new(subject);
            world.tap.cut(sender, at);
            let Some((near, far)) = world.meet(Wishes::default()) else {
                return Err(Broken::new(format!("cut at {at} of the {sender}: a hang")));
            };
            let (receiver, other) = match sender {
                Role::Dialer => (far, near),
                Role::Listener => (near, far),
            };
            let Err(error) = receiver else {
                let at = format!("cut at {at} of the {sender}: done with half a handshake");
                return Err(Broken::new(at));
            };
            ensure!(error.blame() != Blame::Us, "blames us: {error:?}");
            drop(other);
        }
    }
    Ok(())
}

/// A remote that says nothing is waited for, and dropping the handshake hangs up.
fn a_handshake_that_stalls_can_be_dropped(subject: &Subject) -> Verdict {
    for role in [Role::Dialer, Role::Listener] {
        let (near, mut far, _tap) = wire(64 * KIB, usize::MAX);
        let party = subject.party();
        check(async move {
            let secure = &mut party
                .security
                .secure(Box::new(near), role, None, Vec::new());
            for _ in 0..3 {
                let waits = futures::poll!(&mut *secure).is_pending();
                ensure!(waits, "the {role} is done alone");
            }
            Ok(())
        })?;
        check(async move {
            read_out(&mut far).await.1?;
            Ok(())
        })?;
    }
    Ok(())
}

/// A link that moves one byte at a time and holds sixteen carries everything.
fn a_narrow_link_is_wide_enough(subject: &Subject) -> Verdict {
    for (capacity, step) in [(16, 1), (100, 33)] {
        let world = World::over(subject, capacity, step);
        check(async move {
            let (near, far) = world.channel().await?;
            exchange(near, far, 3 * KIB).await
        })?;
    }
    Ok(())
}

/// Nobody reads: the writer waits before 1 MiB is held, and goes on when somebody does.
fn a_stopped_reader_stops_its_writer(subject: &Subject) -> Verdict {
    let world = World::over(subject, 4 * KIB, usize::MAX);
    check(async move {
        let (mut near, mut far) = world.channel().await?;
        let bytes = pattern(5, 8 * MIB);
        let mut written = 0;
        loop {
            let rest = bytes.get(written..).unwrap_or_default();
            let step =
                poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut near).poll_write(cx, rest)));
            match step.await {
                Poll::Pending => break,
                Poll::Ready(count) => written += count?,
            }
            ensure!(written <= MIB, "{written} bytes are held and unread");
        }
        let written = bytes.get(..written).unwrap_or_default();
        let close = async { Ok(near.close().await?) };
        try_join(close, expect_all(&mut far, written)).await?;
        Ok(())
    })
}

/// Somebody else than expected: an error that says who was there, at the end that expected.
fn a_wrong_peer_is_refused(subject: &Subject) -> Verdict {
    let wrong = subject.party().peer;
    for role in [Role::Dialer, Role::Listener] {
        let world = World::new(subject);
        let [dialer, listener] = world.parties.each_ref().map(|party| party.peer);
        let expect = match role {
            Role::Dialer => [Some(wrong), None],
            Role::Listener => [None, Some(wrong)],
        };
        let wishes = Wishes {
            expect,
            ..Wishes::default()
        };
        let Some((near, far)) = world.meet(wishes) else {
            return Err(Broken::new("a hang"));
        };
        let (outcome, there) = match role {
            Role::Dialer => (near, listener),
            Role::Listener => (far, dialer),
        };
        let Err(error) = outcome else {
            return Err(Broken::new(format!("the {role} took the wrong peer")));
        };
        let SecurityError::WrongPeer { expected, found } = error else {
            return Err(Broken::new(format!("not a WrongPeer error: {error:?}")));
        };
        let right = expected == wrong && found == there;
        ensure!(right, "expected {expected}, found {found}");
    }
    Ok(())
}

/// 4 MiB each way at once.
fn both_directions_carry_much_at_once(subject: &Subject) -> Verdict {
    let world = World::new(subject);
    check(async move {
        let (near, far) = world.channel().await?;
        exchange(near, far, 4 * MIB).await
    })
}

/// Around the sizes of records, and nothing at all.
fn bytes_of_any_number_arrive(subject: &Subject) -> Verdict {
    for len in [
        0, 1, 15, 16, 17, 16_383, 16_384, 16_385, 65_518, 65_519, 65_520, 65_536, 200_001,
    ] {
        let world = World::new(subject);
        check(async move {
            let (near, far) = world.channel().await?;
            exchange(near, far, len).await
        })?;
    }
    let world = World::new(subject);
    check(async move {
        let (mut near, mut far) = world.channel().await?;
        let bytes = pattern(6, 3000);
        let write = async {
            ensure!(near.write(&[]).await? == 0, "an empty write writes");
            for byte in bytes.chunks(1) {
                near.write_all(byte).await?;
                near.flush().await?;
            }
            Ok(near.close().await?)
        };
        let read = async {
            for byte in bytes.chunks(1) {
                expect(&mut far, byte).await?;
            }
            expect_all(&mut far, &[]).await
        };
        try_join(write, read).await?;
        Ok(())
    })
}

/// Peer and key at both ends, whether or not somebody was expected.
fn each_end_learns_who_the_other_is(subject: &Subject) -> Verdict {
    for expects in [false, true] {
        let world = World::new(subject);
        let [dialer, listener] = world.parties.each_ref().map(|party| party.peer);
        let mut wishes = Wishes::default();
        if expects {
            wishes.expect = [Some(listener), Some(dialer)];
        }
        let Some((near, far)) = world.meet(wishes) else {
            return Err(Broken::new("a hang"));
        };
        for (end, peer) in [(near?, listener), (far?, dialer)] {
            ensure!(end.peer == peer, "{} instead of {peer}", end.peer);
            // Short keys stand in the id itself, longer ones as their hash.
            let id = peer.to_bytes();
            let inlined = id
                .strip_prefix(&[0, 36][..])
                .or_else(|| id.strip_prefix(&[0, 37][..]));
            let fits = inlined.is_none_or(|key| key == end.public_key);
            ensure!(
                fits && !end.public_key.is_empty(),
                "the key is not the peer's"
            );
        }
    }
    Ok(())
}

/// Nonsense without end: refused, or waited for, but not collected.
fn nonsense_is_refused_and_not_hoarded(subject: &Subject) -> Verdict {
    let streams = [
        vec![0xff; MIB],
        vec![0; MIB],
        pattern(7, MIB),
        vec![0x16; MIB],
    ];
    for role in [Role::Dialer, Role::Listener] {
        for nonsense in streams.clone() {
            let (near, mut far, tap) = wire(2 * MIB, usize::MAX);
            let party = subject.party();
            let refused = settle(async move {
                let talk = async {
                    // Refused in the middle: fine.
                    let _ = far.write_all(&nonsense).await;
                    far
                };
                let secure = party
                    .security
                    .secure(Box::new(near), role, None, Vec::new());
                join(secure, talk).await.0.map(|_| ())
            });
            let taken = tap.taken(role.other());
            ensure!(taken <= HANDSHAKE, "the {role} took {taken} bytes");
            match refused {
                None => {}
                Some(Ok(())) => return Err(Broken::new("nonsense is a handshake")),
                Some(Err(error)) => {
                    ensure!(error.blame() != Blame::Us, "blames us: {error:?}");
                }
            }
        }
    }
    Ok(())
}

/// Nothing that was written is found on the wire.
fn nothing_is_sent_in_clear(subject: &Subject) -> Verdict {
    if !is_secure(subject) {
        return Ok(());
    }
    let world = World::new(subject);
    let tap = world.tap.clone();
    let words = pattern(8, 4 * KIB);
    let spoken = words.clone();
    check(async move {
        let (mut near, mut far) = world.channel().await?;
        near.write_all(&spoken).await?;
        near.flush().await?;
        expect(&mut far, &spoken).await
    })?;
    let wire = tap.sent(Role::Dialer);
    for part in words.chunks(16) {
        let found = wire.windows(part.len()).any(|window| window == part);
        ensure!(!found, "16 bytes are on the wire as they are");
    }
    Ok(())
}

/// The dialer's order counts; without a common one there is no connection, or none agreed yet.
fn the_first_muxer_of_the_dialer_that_both_have_is_used(subject: &Subject) -> Verdict {
    let other = || Protocol::from_static("/other/1");
    for (dialers, listeners, agreed) in [
        (vec![YAMUX, MPLEX], vec![MPLEX, YAMUX], Some(YAMUX)),
        (vec![MPLEX, YAMUX], vec![YAMUX, MPLEX], Some(MPLEX)),
        (vec![other(), MPLEX], vec![YAMUX, MPLEX], Some(MPLEX)),
        (vec![YAMUX], vec![], None),
        (vec![], vec![YAMUX], None),
        (vec![], vec![], None),
        (vec![YAMUX], vec![MPLEX], None),
    ] {
        let common = dialers.iter().any(|one| listeners.contains(one));
        let may_fail = !common && !dialers.is_empty() && !listeners.is_empty();
        let wishes = Wishes {
            muxers: [dialers, listeners],
            ..Wishes::default()
        };
        let Some((near, far)) = World::new(subject).meet(wishes) else {
            return Err(Broken::new("a hang"));
        };
        if may_fail && near.is_err() && far.is_err() {
            continue;
        }
        let agreed = agreed.filter(|_| subject.early_muxers);
        for end in [near?, far?] {
            ensure!(end.muxer == agreed, "{:?} instead of {agreed:?}", end.muxer);
        }
    }
    Ok(())
}

/// `len` bytes each way at once, with clean ends.
async fn exchange(near: BoxIo, far: BoxIo, len: usize) -> Verdict {
    let (there, back) = (pattern(9, len), pattern(10, len));
    let (mut near_reader, mut near_writer) = near.split();
    let (mut far_reader, mut far_writer) = far.split();
    let near_write = async {
        near_writer.write_all(&there).await?;
        Ok(near_writer.close().await?)
    };
    let far_write = async {
        far_writer.write_all(&back).await?;
        Ok(far_writer.close().await?)
    };
    try_join4(
        near_write,
        far_write,
        expect_all(&mut near_reader, &back),
        expect_all(&mut far_reader, &there),
    )
    .await?;
    Ok(())
}
