//! Pushes that do not arrive at first.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{LATENCY, keys, listen, patient, sim};
use futures::AsyncReadExt;
use p2p_core::{ErrorCode, Instant, Protocol};
use p2p_identify::{Announcement, Config, Identify, PROTOCOL, PUSH_PROTOCOL, request, send};
use p2p_sim::Host;
use p2p_swarm::{Connection, Stream, Swarm};

type Times = Arc<Mutex<Vec<Instant>>>;

/// Bob answers, and resets the first `resets` pushes. When they came.
fn reset_pushes(bob: &Swarm, resets: usize) -> Times {
    bob.handle(PROTOCOL, |mut stream: Stream| async move {
        let protocols = [PROTOCOL, PUSH_PROTOCOL];
        let said = Announcement::new(&keys(2), &[], &protocols, "bob", "test", 1);
        send(&mut stream, &said.unwrap().encode(None)).await
    })
    .unwrap();
    let times = Times::default();
    let came = Arc::clone(&times);
    let rt = bob.rt().clone();
    bob.handle(PUSH_PROTOCOL, move |mut stream: Stream| {
        let mut came = came.lock().unwrap();
        came.push(rt.now());
        let refused = came.len() <= resets;
        async move {
            if refused {
                stream.reset(ErrorCode::RATE_LIMITED);
            } else {
                stream.read_to_end(&mut Vec::new()).await.unwrap();
                futures::AsyncWriteExt::close(&mut stream).await.unwrap();
            }
        }
    })
    .unwrap();
    times
}

/// Bob asks, as whoever is to be pushed to has.
async fn ask(bob: &Swarm, alice: &Swarm) {
    let back: Connection = bob.connections(&alice.local_peer()).remove(0);
    let mut stream = back.open(&PROTOCOL).await.unwrap();
    let (peer, key) = (back.peer(), back.info().public_key.clone());
    let limits = Config::default().limits;
    request(&mut stream, peer, key, &limits).await.unwrap();
}

/// Alice dials Bob, whose machine is `bob`, and each asks the other; nothing is left to be pushed.
async fn meet(a: &Swarm, ia: &Identify, b: &Swarm, bob: &Host) -> Connection {
    let addr = listen(b, bob).await;
    let connection = a.dial(addr).await.unwrap();
    ia.identified(&connection).await.unwrap();
    ask(b, a).await;
    a.rt().sleep(Duration::from_secs(5)).await;
    connection
}

fn change(alice: &Swarm, n: u32) -> Instant {
    let id = Protocol::new(&format!("/change/{n}")).unwrap();
    alice.handle(id, |_: Stream| async {}).unwrap();
    alice.rt().now()
}

/// How long after `start` each of `times` was, which are then forgotten.
fn since(times: &Times, start: Instant) -> Vec<Duration> {
    let times = std::mem::take(&mut *times.lock().unwrap());
    times.iter().map(|at| *at - start).collect()
}

#[test]
fn a_push_that_is_reset_is_repeated_ever_more_rarely_until_it_is_taken() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let ia = Identify::new(&a, keys(1), Config::default()).unwrap();
    let pushes = reset_pushes(&b, 2);
    sim.block_on(async {
        let _connection = meet(&a, &ia, &b, &bob).await;
        let start = change(&a, 1);
        a.rt().sleep(Duration::from_secs(600)).await;
        let first = Duration::from_secs(1) + LATENCY;
        let second = first + Duration::from_secs(5) + 2 * LATENCY;
        let third = second + Duration::from_secs(10) + 2 * LATENCY;
        assert_eq!(since(&pushes, start), [first, second, third]);
    });
}

#[test]
fn a_push_that_is_never_taken_is_given_up_until_the_next_change() {
    let sim = sim(2);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let ia = Identify::new(&a, keys(1), Config::default()).unwrap();
    let pushes = reset_pushes(&b, usize::MAX);
    sim.block_on(async {
        let connection = meet(&a, &ia, &b, &bob).await;
        for n in 1..=2 {
            let start = change(&a, n);
            a.rt().sleep(Duration::from_secs(600)).await;
            assert_eq!(since(&pushes, start).len(), 1 + 3);
        }
        // A newer change takes the place of what is still to be repeated.
        let start = change(&a, 3);
        a.rt().sleep(Duration::from_secs(3)).await;
        change(&a, 4);
        a.rt().sleep(Duration::from_secs(600)).await;
        assert_eq!(since(&pushes, start).len(), 1 + 4);
        let tasks = a.census().tasks;
        let pushing = tasks.iter().filter(|task| **task == "identify push");
        assert_eq!(pushing.count(), 1, "only the one that waits for changes");
        assert!(connection.end().is_none());
    });
}
