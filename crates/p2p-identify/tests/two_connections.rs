//! What a peer says on one of two connections, and later on the other.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{LATENCY, keys, listen, sim, swarm_with};
use futures::future::join;
use futures::{FutureExt, StreamExt};
use p2p_core::{AddrExt, Multiaddr};
use p2p_identify::{Announcement, Config, Event, Events, Identify, PROTOCOL, PUSH_PROTOCOL, send};
use p2p_sim::Host;
use p2p_swarm::{Connection, Stream, Swarm};

/// Instead of a record's number: the address alone.
const UNSIGNED: u64 = 0;

/// Bob says that he is at port `seq`, in record `seq`.
fn message(seq: u64, observed: Option<&Multiaddr>) -> Vec<u8> {
    let addrs = match seq {
        UNSIGNED => vec![],
        _ => vec![port(seq)],
    };
    let (protocols, agent) = ([PROTOCOL, PUSH_PROTOCOL], format!("bob/{seq}"));
    let said = Announcement::new(&keys(2), &addrs, &protocols, &agent, "test", seq);
    let mut message = said.unwrap().encode(observed);
    if seq == UNSIGNED {
        // Field 2.
        message.extend([0x12, u8::try_from(port(seq).len()).unwrap()]);
        message.extend(port(seq).to_vec());
    }
    message
}

fn port(seq: u64) -> Multiaddr {
    format!("/ip4/10.0.0.9/tcp/{}", 1000 + seq).parse().unwrap()
}

/// Bob answers the first question with record 7 at once, and the second with `late` after a second.
fn answer(bob: &Swarm, late: u64) {
    let asked = Arc::new(AtomicU64::new(0));
    let answer = move |mut stream: Stream| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let rt = stream.connection().rt().clone();
            let seq = if first { 7 } else { late };
            if !first {
                rt.sleep(Duration::from_secs(1)).await;
            }
            send(&mut stream, &message(seq, None)).await
        }
    };
    bob.handle(PROTOCOL, answer).unwrap();
}

/// One that keeps both connections of a pair.
fn keeping(host: &Host, n: u8) -> Swarm {
    let mut config = p2p_swarm::Config::default();
    config.idle_timeout = Duration::from_secs(24 * 3600);
    config.supplant_timeout = config.idle_timeout;
    swarm_with(host, n, config)
}

/// Two connections, dialed from both sides at once: that on which Bob has answered, that on which
/// he has yet to, and what happens from then on.
async fn connect_twice(
    [a, b]: [&Swarm; 2],
    [alice, bob]: [&Host; 2],
    identify: &Identify,
) -> ([Connection; 2], Events) {
    let (at_a, at_b) = (listen(a, alice).await, listen(b, bob).await);
    let (dialed, came) = join(a.dial(at_b), b.dial(at_a)).await;
    (dialed.unwrap(), came.unwrap());
    a.rt().sleep(Duration::from_millis(500)).await;
    let mut both = a.connections(&b.local_peer());
    let is_identified = |one: &Connection| identify.identified(one).now_or_never().is_some();
    if is_identified(&both[1]) {
        both.reverse();
    }
    assert!(is_identified(&both[0]) && !is_identified(&both[1]));
    (both.try_into().unwrap(), identify.events())
}

async fn push(on: &Connection, bob: &Swarm, message: &[u8]) {
    let back = bob.connections(&keys(1).to_peer_id());
    let local = on.info().local.clone().unwrap();
    let back = back.iter().find(|one| one.info().remote == local).unwrap();
    let mut stream = back.open(&PUSH_PROTOCOL).await.unwrap();
    send(&mut stream, message).await.unwrap();
}

#[test]
fn a_late_answer_on_another_connection_takes_nothing_back_that_a_newer_record_said() {
    for late in [6, UNSIGNED] {
        let sim = sim(1);
        let (alice, bob) = (sim.host("alice"), sim.host("bob"));
        let (a, b) = (keeping(&alice, 1), keeping(&bob, 2));
        let ia = Identify::new(&a, keys(1), Config::default()).unwrap();
        answer(&b, late);
        sim.block_on(async {
            let ([first, second], mut events) = connect_twice([&a, &b], [&alice, &bob], &ia).await;
            push(&first, &b, &message(8, None)).await;
            let Some(Event::Updated { info, .. }) = events.next().await else {
                panic!("not an update");
            };
            assert_eq!(info.listen_addrs, [port(8)]);

            let info = ia.identified(&second).await.unwrap();
            assert_eq!(
                info.agent_version,
                format!("bob/{late}"),
                "what is not in the record"
            );
            assert_eq!(info.signed_record.unwrap().seq, 8);
            assert_eq!(info.listen_addrs, [port(8)], "of the late answer {late}");
            let known = a.addrs(&b.local_peer());
            assert!(
                known.contains(&port(8).with_peer(b.local_peer())),
                "{known:?}"
            );
            for old in [6, 7, UNSIGNED] {
                assert!(
                    !known.contains(&port(old).with_peer(b.local_peer())),
                    "{known:?}"
                );
            }
        });
    }
}

#[test]
fn a_push_without_a_record_or_with_an_older_one_changes_no_signed_address() {
    let sim = sim(2);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (keeping(&alice, 1), keeping(&bob, 2));
    let ia = Identify::new(&a, keys(1), Config::default()).unwrap();
    answer(&b, 7);
    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        ia.identified(&connection).await.unwrap();
        let mut events = ia.events();
        for seq in [UNSIGNED, 6] {
            push(&connection, &b, &message(seq, None)).await;
            let Some(Event::Updated { info, .. }) = events.next().await else {
                panic!("not an update");
            };
            assert_eq!(info.agent_version, format!("bob/{seq}"));
            assert_eq!(info.listen_addrs, [port(7)]);
            let known = a.addrs(&b.local_peer());
            assert!(
                !known.contains(&port(seq).with_peer(b.local_peer())),
                "{known:?}"
            );
        }
        a.rt().sleep(LATENCY).await;
    });
}

#[test]
fn an_observed_address_counts_for_the_connection_on_which_it_was_said() {
    let sim = sim(3);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (keeping(&alice, 1), keeping(&bob, 2));
    let ia = Identify::new(&a, keys(1), Config::default()).unwrap();
    answer(&b, 7);
    sim.block_on(async {
        let ([first, second], mut events) = connect_twice([&a, &b], [&alice, &bob], &ia).await;
        ia.identified(&second).await.unwrap();
        let seen: Multiaddr = "/ip4/203.0.113.7/tcp/9".parse().unwrap();
        push(&first, &b, &message(8, Some(&seen))).await;
        assert!(matches!(
            events.next().await,
            Some(Event::Identified { .. })
        ));
        assert!(matches!(events.next().await, Some(Event::Updated { .. })));
        assert_eq!(ia.observed(), [(first.id(), seen.clone())]);

        // Says nothing of where it sees us.
        push(&second, &b, &message(9, None)).await;
        let Some(Event::Updated { info, .. }) = events.next().await else {
            panic!("not an update");
        };
        assert_eq!(
            info.observed_addr.as_ref(),
            Some(&seen),
            "known of the peer"
        );
        assert_eq!(ia.observed(), [(first.id(), seen.clone())]);

        // What was said on a connection stays until something else is said on it.
        push(&first, &b, &message(10, None)).await;
        assert!(matches!(events.next().await, Some(Event::Updated { .. })));
        assert_eq!(ia.observed(), [(first.id(), seen)]);
    });
}
