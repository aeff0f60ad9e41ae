//! Each rule of the suite of transports can be broken: by a transport that is right but for one
//! thing, and the rule says which it is, where it comes from, and what it saw.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test may panic; a fault concerns one place"
)]

mod named;
mod wrong;

use std::sync::Arc;
use std::time::Duration;

use p2p_core::Rt;
use p2p_core::conformance::faulty::{Fault, broken};
use p2p_core::conformance::transport::{Party, RULES, Subject, rule};
use p2p_sim::Sim;
use p2p_tcp::{Config, Tcp};

use named::Named;
use wrong::{Broken, Wrong};

/// Whose rules are broken.
#[derive(Clone, Copy)]
enum Links {
    Raw,
    Muxed,
}
use Links::{Muxed, Raw};

macro_rules! broken {
    ($($rule:ident: $links:expr, $wrong:expr => $seen:expr;)*) => {
        $(#[test]
        fn $rule() {
            is_noticed(stringify!($rule), $links, $wrong, $seen);
        })*

        #[test]
        fn every_rule_can_be_broken() {
            let here = [$(stringify!($rule)),*];
            assert!(RULES.iter().map(|rule| rule.name).eq(here));
        }
    };
}

broken! {
    a_close_delivers_what_was_written:
        Raw, Wrong::Bytes(Fault::CloseForgets) => "unexpected end of file";
    a_connection_carries_bytes_both_ways:
        Raw, Wrong::Bytes(Fault::ChangesByte(3000)) => "other bytes than were written";
    a_dial_given_up_leaves_the_listener_working:
        Raw, Wrong::AcceptEndsWithALink => "nothing for";
    a_dial_to_nobody_fails_and_names_the_address:
        Raw, Wrong::DialNamesNobody => "the error names";
    a_dial_to_silence_ends_when_it_is_given_up:
        Muxed, Wrong::DialGoesOn => "nothing for";
    a_dial_to_something_else_does_not_hang:
        Muxed, Wrong::DialHangs => "no answer to nonsense within 10 s";
    a_dropped_accept_loses_no_connection:
        Raw, Wrong::AcceptTakesAlong => "nothing for";
    a_dropped_end_reaches_the_other_one:
        Raw, Wrong::DropIsSilent => "nothing for";
    a_dropped_listener_frees_its_address_and_keeps_its_connections:
        Raw, Wrong::ListensOn => "cannot listen on";
    a_half_close_ends_one_direction_only:
        Raw, Wrong::Bytes(Fault::CloseEndsBoth) => "unexpected end of file";
    a_peer_behind_an_address_is_no_obstacle:
        Raw, Wrong::RefusesPeers => "unsupported";
    a_reset_is_not_a_clean_end:
        Muxed, Wrong::Bytes(Fault::ErrorIsEnd) => "a clean end";
    a_slow_reader_loses_nothing:
        Raw, Wrong::SlowLoses => "other bytes than were written";
    a_stopped_reader_stops_its_writer:
        Raw, Wrong::Bytes(Fault::Hoards) => "64 MiB are under way and unread";
    a_stream_dropped_behind_its_end_is_no_reset:
        Muxed, Wrong::DropResets => "stream reset by the remote";
    a_stranger_is_not_read_for_ever:
        Raw, Wrong::ReadsLines => "64 MiB are under way and unread";
    a_taken_address_is_refused:
        Raw, Wrong::ListensElsewhere => "two listeners on one address";
    a_wrong_peer_is_refused:
        Muxed, Wrong::TakesAnybody => "connected to the wrong peer";
    addresses_are_those_of_the_connection:
        Raw, Wrong::NamesSomebody => "names a peer";
    both_directions_carry_much_at_once:
        Raw, Wrong::Bytes(Fault::HalfDuplex) => "nothing for";
    connections_of_several_listeners_do_not_mix:
        Raw, Wrong::ListenersMix => "both have";
    huge_and_tiny_writes_are_one_stream_of_bytes:
        Raw, Wrong::Bytes(Fault::Shortens(1 << 20)) => "unexpected end of file";
    many_dials_at_once_all_arrive:
        Raw, Wrong::FewFit(49) => "nothing for";
    nothing_is_left_when_all_is_dropped:
        Raw, Wrong::DialLeavesATask => "left after 10 s: 0 sockets and";
    other_kinds_of_addresses_are_unsupported:
        Raw, Wrong::SupportsAll => "is called supported";
    silent_strangers_delay_nobody:
        Muxed, Wrong::AcceptWaitsForTheLink => "held up for 5 s";
}

#[test]
fn without_a_fault_every_rule_holds() {
    for links in [Raw, Muxed] {
        for rule in RULES {
            println!("{rule:?}");
            in_simulation(links, Wrong::Nothing, |sim, subject| {
                sim.block_on(rule.check(&subject));
            });
        }
    }
}

fn is_noticed(name: &str, links: Links, wrong: Wrong, expected: &str) {
    let rule = rule(name);
    let seen = broken(rule.name, rule.spec, || {
        in_simulation(links, wrong, |sim, subject| {
            sim.block_on(rule.check(&subject))
        });
    });
    assert!(seen.contains(expected), "{name} saw: {seen}");
}

/// Two machines with a transport that has `wrong` wrong with it.
fn in_simulation(links: Links, wrong: Wrong, check: impl FnOnce(&Sim, Subject)) {
    let sim = Sim::new(7);
    let (near, far) = (sim.host("near"), sim.host("far"));
    let make = move |rt: Rt| {
        let named = Named::new(Rt::clone(&rt));
        let peer = named.peer();
        let broken = Broken {
            inner: match links {
                Raw => Arc::new(Tcp::new(Rt::clone(&rt), Config::default())),
                Muxed => Arc::new(named),
            },
            rt,
            wrong,
            addrs: Arc::default(),
        };
        match links {
            Raw => Party::raw(broken),
            Muxed => Party::secured(broken, peer),
        }
    };
    let subject = Subject::new(near.rt(), "/ip4/10.0.0.2/tcp/0", make)
        .between(near.rt(), far.rt())
        .patience(Duration::from_secs(600));
    check(&sim, subject);
}
