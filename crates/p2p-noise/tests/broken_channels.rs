//! Each rule of the suite of secure channels can be broken: by a channel that is right but for one
//! thing, and the rule says which it is, where it comes from, and what it saw.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic; a fault concerns one place"
)]

use std::future::pending;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, poll_fn};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::conformance::faulty::{Fault, Faulty, broken};
use p2p_core::conformance::security::{Party, RULES, Subject, rule};
use p2p_core::{Blame, BoxIo, Cause, PeerId, Protocol, Role, Secured, Security, SecurityError};
use p2p_keys::Keypair;
use p2p_noise::Noise;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    /// What the channel carries.
    Bytes(Fault),
    /// A dropped handshake or channel does not hang up.
    DropIsSilent,
    /// A handshake that fails waits instead.
    HandshakeHangs,
    /// The key of the remote is left out.
    KeyIsMissing,
    /// The link below takes whole writes only.
    LinkIsWide,
    /// The listener's order of multiplexers counts.
    MuxersReversed,
    /// It hides nothing and proves nothing, and says that it does.
    IsPlain,
    Nothing,
    /// Reads what there is before it looks at it.
    ReadsFirst,
    /// Whoever answers is the right one.
    TakesAnybody,
}

/// Noise, but for one thing.
#[derive(Clone, Debug)]
struct Broken {
    noise: Arc<Noise>,
    peer: PeerId,
    wrong: Wrong,
}

macro_rules! broken {
    ($($rule:ident: $wrong:expr => $seen:expr;)*) => {
        $(#[test]
        fn $rule() {
            is_noticed(stringify!($rule), $wrong, $seen);
        })*

        #[test]
        fn every_rule_can_be_broken() {
            let here = [$(stringify!($rule)),*];
            assert!(RULES.iter().map(|rule| rule.name).eq(here));
        }
    };
}

const HANGS: &str = "everybody waits, for ever";

broken! {
    a_changed_handshake_joins_nobody_else: Wrong::IsPlain => "joined to";
    a_changed_record_is_noticed: Wrong::Bytes(Fault::ErrorIsEnd) => "changed, and a clean end";
    a_close_ends_one_direction_cleanly:
        Wrong::Bytes(Fault::CloseEndsBoth) => "unexpected end of file";
    a_dropped_channel_reaches_the_other_end: Wrong::DropIsSilent => HANGS;
    a_handshake_cut_anywhere_fails: Wrong::HandshakeHangs => "a hang";
    a_handshake_that_stalls_can_be_dropped: Wrong::DropIsSilent => HANGS;
    a_narrow_link_is_wide_enough: Wrong::LinkIsWide => HANGS;
    a_stopped_reader_stops_its_writer:
        Wrong::Bytes(Fault::Hoards) => "bytes are held and unread";
    a_wrong_peer_is_refused: Wrong::TakesAnybody => "took the wrong peer";
    both_directions_carry_much_at_once: Wrong::Bytes(Fault::HalfDuplex) => HANGS;
    bytes_of_any_number_arrive:
        Wrong::Bytes(Fault::Shortens(65_535)) => "unexpected end of file";
    each_end_learns_who_the_other_is: Wrong::KeyIsMissing => "the key is not the peer's";
    nonsense_is_refused_and_not_hoarded: Wrong::ReadsFirst => "took";
    nothing_is_sent_in_clear: Wrong::IsPlain => "on the wire as they are";
    the_first_muxer_of_the_dialer_that_both_have_is_used:
        Wrong::MuxersReversed => "instead of Some";
}

#[test]
fn without_a_fault_every_rule_holds() {
    let subject = subject(Wrong::Nothing);
    for rule in RULES {
        rule.check(&subject);
    }
}

fn is_noticed(name: &str, wrong: Wrong, expected: &str) {
    let rule = rule(name);
    let seen = broken(rule.name, rule.spec, || rule.check(&subject(wrong)));
    assert!(seen.contains(expected), "{name} saw: {seen}");
}

fn subject(wrong: Wrong) -> Subject {
    Subject::new(move || {
        let identity = Keypair::generate_ed25519();
        let peer = identity.to_peer_id();
        let noise = Arc::new(Noise::new(&identity).unwrap());
        Party::new(Broken { noise, peer, wrong }, peer)
    })
}

impl Security for Broken {
    fn protocol(&self) -> Protocol {
        self.noise.protocol()
    }

    fn secure(
        &self,
        io: BoxIo,
        role: Role,
        expect: Option<PeerId>,
        mut muxers: Vec<Protocol>,
    ) -> BoxFuture<'static, Result<Secured, SecurityError>> {
        let this = self.clone();
        let expect = expect.filter(|_| this.wrong != Wrong::TakesAnybody);
        if this.wrong == Wrong::MuxersReversed {
            muxers.reverse();
        }
        let mut secure = ManuallyDrop::new(this.handshake(io, role, expect, muxers).boxed());
        match self.wrong == Wrong::DropIsSilent {
            true => poll_fn(move |cx| secure.poll_unpin(cx)).boxed(),
            false => ManuallyDrop::into_inner(secure),
        }
    }
}

impl Broken {
    async fn handshake(
        self,
        mut io: BoxIo,
        role: Role,
        expect: Option<PeerId>,
        muxers: Vec<Protocol>,
    ) -> Result<Secured, SecurityError> {
        if self.wrong == Wrong::IsPlain {
            return plain(io, self.peer).await;
        }
        if self.wrong == Wrong::ReadsFirst {
            let _all = io.read_to_end(&mut Vec::new()).await?;
        }
        if self.wrong == Wrong::LinkIsWide {
            io = Box::new(Faulty::new(io, Fault::IgnoresCounts));
        }
        let secured = Security::secure(&*self.noise, io, role, expect, muxers).await;
        if secured.is_err() && self.wrong == Wrong::HandshakeHangs {
            return pending().await;
        }
        let mut secured = secured?;
        if self.wrong == Wrong::KeyIsMissing {
            secured.public_key.clear();
        }
        secured.io = match self.wrong {
            Wrong::Bytes(fault) => Box::new(Faulty::new(secured.io, fault)),
            Wrong::DropIsSilent => {
                Box::new(Faulty::new(secured.io, Fault::Nothing).on_drop(std::mem::forget))
            }
            _ => secured.io,
        };
        Ok(secured)
    }
}

/// Each end says who it is, and is believed.
async fn plain(mut io: BoxIo, peer: PeerId) -> Result<Secured, SecurityError> {
    let mut id = peer.to_bytes();
    io.write_all(&id).await?;
    io.read_exact(&mut id).await?;
    let peer = PeerId::from_bytes(&id);
    Ok(Secured {
        io,
        peer: peer.map_err(|error| {
            SecurityError::Protocol(Cause::new(Blame::Remote, error.to_string()))
        })?,
        public_key: id.split_off(2).into(),
        muxer: None,
    })
}
