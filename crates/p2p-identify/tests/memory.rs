//! What a peer says is paid for while it says it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{LATENCY, keys, listen, patient, sim};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use p2p_identify::{Config, Identify, IdentifyError, PROTOCOL, PUSH_PROTOCOL};
use p2p_swarm::{Event, Stream};

/// The length of a part of 8 KiB, less one byte.
const PREFIX: [u8; 2] = [0xff, 0x3f];

#[test]
fn a_push_that_does_not_fit_is_refused_before_it_is_read_and_told_of() {
    let sim = sim(2);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let _ia = Identify::new(&a, keys(1), Config::default()).unwrap();
    let mut events = a.events();
    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let back = b.connections(&a.local_peer()).remove(0);
        let mut stream = back.open(&PUSH_PROTOCOL).await.unwrap();
        stream.write_all(&PREFIX[..1]).await.unwrap();
        stream.flush().await.unwrap();
        a.rt().sleep(LATENCY * 4).await;

        let room = a.budget().available() - 4096;
        let _taken = a.budget().reserve(room).unwrap();
        let start = a.rt().now();
        stream.write_all(&PREFIX[1..]).await.unwrap();
        stream.flush().await.unwrap();
        assert!(stream.read(&mut [0]).await.is_err(), "reset");
        assert_eq!(a.rt().now() - start, LATENCY * 2, "and not at the deadline");
        assert!(connection.end().is_none());
        let hit = std::iter::from_fn(|| events.next().now_or_never().flatten());
        let hit = hit.filter_map(|event| match event {
            Event::LimitHit { exceeded, peer, .. } => Some((exceeded.setting, peer)),
            _ => None,
        });
        let expected = ("memory_budget", Some(b.local_peer()));
        assert_eq!(hit.collect::<Vec<_>>(), [expected]);
    });
}

#[test]
fn an_answer_that_does_not_fit_is_refused_and_told_of() {
    let sim = sim(3);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let ia = Identify::new(&a, keys(1), Config::default()).unwrap();
    let mut events = a.events();
    b.handle(PROTOCOL, |mut stream: Stream| async move {
        let rt = stream.connection().rt().clone();
        rt.sleep(Duration::from_secs(1)).await;
        stream.write_all(&PREFIX).await?;
        stream.flush().await?;
        // And no more.
        rt.sleep(Duration::from_secs(60)).await;
        Ok::<_, std::io::Error>(())
    })
    .unwrap();
    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        a.rt().sleep(LATENCY * 4).await;
        let room = a.budget().available() - 4096;
        let _taken = a.budget().reserve(room).unwrap();
        let error = ia.identified(&connection).await.unwrap_err();
        assert!(matches!(&error, IdentifyError::Limit(_)), "{error}");
        assert!(connection.end().is_none());
        let hits = std::iter::from_fn(|| events.next().now_or_never().flatten())
            .filter(|event| matches!(event, Event::LimitHit { .. }));
        assert_eq!(hits.count(), 1);
    });
}
