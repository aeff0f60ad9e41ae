//! The code of docs/simulation.md. A test at the end holds that every block there is from here.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, io};
use p2p::{Host, Keypair, Multiaddr, SecureChannel, Stream};
use p2p_sim::{Config, Link, Sim, Stuck, for_each_seed};

const NOTES: &str = "/notes/1.0.0";

/// What a keeper holds.
type Notes = Arc<Mutex<BTreeSet<u64>>>;

/// Takes one note, keeps it, and says so.
async fn keep(mut stream: Stream, notes: Notes) -> io::Result<()> {
    let mut note = [0; 8];
    stream.read_exact(&mut note).await?;
    notes.lock().unwrap().insert(u64::from_be_bytes(note));
    stream.write_all(b"!").await?;
    stream.close().await
}

/// Hands one note over; `Ok` means that it is kept.
async fn hand_over(host: &Host, keeper: &Multiaddr, note: u64) -> io::Result<()> {
    let stream = host.open(keeper, NOTES).await;
    let mut stream = stream.map_err(io::Error::other)?;
    stream.write_all(&note.to_be_bytes()).await?;
    stream.read_exact(&mut [0]).await
}

/// A node on a simulated machine: its key is its number, so that a seed shows the same bytes.
async fn node(machine: &p2p_sim::Host, number: u8) -> Host {
    Host::builder()
        .runtime(machine.rt())
        .identity(Keypair::ed25519_from_seed([number; 32]))
        .secure_channels(&[SecureChannel::Noise])
        .build()
        .await
        .unwrap()
}

/// A node that keeps notes, and its address.
async fn keeper(machine: &p2p_sim::Host, notes: &Notes) -> (Host, Multiaddr) {
    let host = node(machine, 1).await;
    let notes = notes.clone();
    host.handle(NOTES, move |stream| keep(stream, notes.clone()))
        .unwrap();
    let addr = format!("/ip4/{}/tcp/4001", machine.ip());
    let addr = host.listen(addr.as_str()).await.unwrap();
    (host, addr)
}

#[test]
fn a_note_is_kept_after_three_round_trips_and_the_next_after_one() {
    let sim = Sim::new(1);
    sim.default_link(Link::new(Duration::from_millis(50)));
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let notes = Notes::default();

    sim.block_on(async {
        let (_keeper, addr) = keeper(&alice, &notes).await;
        let host = node(&bob, 2).await;
        let start = host.swarm().rt().now();
        hand_over(&host, &addr, 7).await.unwrap();
        assert_eq!(host.swarm().rt().now() - start, Duration::from_millis(300));

        let start = host.swarm().rt().now();
        hand_over(&host, &addr, 8).await.unwrap();
        assert_eq!(host.swarm().rt().now() - start, Duration::from_millis(100));
    });
    assert_eq!(*notes.lock().unwrap(), BTreeSet::from([7, 8]));
}

/// Hands over ten notes while the network does what it likes; returns those that were confirmed.
async fn ten_notes(host: Host, keeper: Multiaddr) -> Vec<u64> {
    let rt = host.swarm().rt().clone();
    let mut confirmed = Vec::new();
    for note in 0..10 {
        for _attempt in 0..20 {
            let within = Duration::from_secs(5);
            let handed = rt.timeout(within, hand_over(&host, &keeper, note)).await;
            if let Ok(Ok(())) = handed {
                confirmed.push(note);
                break;
            }
            rt.sleep(Duration::from_secs(1)).await;
        }
    }
    confirmed
}

#[test]
fn a_confirmed_note_is_kept_whatever_the_network_does() {
    for_each_seed(5, |sim| {
        let rough = Link::new(Duration::from_millis(30)).jitter(Duration::from_millis(30));
        sim.default_link(rough.loss(0.1));
        let (alice, bob) = (sim.host("alice"), sim.host("bob"));
        let notes = Notes::default();
        let (held, addr) = sim.block_on(keeper(&alice, &notes));
        let host = sim.block_on(node(&bob, 2));

        let (done, result) = futures::channel::oneshot::channel();
        bob.spawn("notes", async move {
            let confirmed = ten_notes(host, addr).await;
            let _ = done.send(confirmed);
        });

        sim.run_for(Duration::from_millis(350));
        let cut = sim.partition(&[&alice], &[&bob]);
        sim.run_for(Duration::from_secs(20));
        sim.heal(cut);
        sim.run_for(Duration::from_secs(2));
        alice.crash();
        drop(held);
        sim.run_for(Duration::from_secs(10));
        alice.restart();
        let (held, _addr) = sim.block_on(keeper(&alice, &notes));

        let confirmed = sim.block_on(result).unwrap();
        assert_eq!(confirmed, (0..10).collect::<Vec<u64>>());
        assert!(
            confirmed
                .iter()
                .all(|note| notes.lock().unwrap().contains(note))
        );

        sim.block_on(held.close());
        drop(held);
        sim.run_for(Duration::from_secs(300));
        assert!(sim.census().is_empty(), "{}", sim.census());
    });
}

#[test]
fn the_same_seed_shows_the_same_events() {
    let run = |seed| {
        let mut config = Config::default();
        config.hash_contents = true;
        let sim = Sim::with_config(seed, config);
        sim.default_link(Link::new(Duration::from_millis(30)).jitter(Duration::from_millis(30)));
        let (alice, bob) = (sim.host("alice"), sim.host("bob"));
        let (_held, addr) = sim.block_on(keeper(&alice, &Notes::default()));
        let host = sim.block_on(node(&bob, 2));
        sim.block_on(ten_notes(host, addr));
        sim.hash()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_test_that_can_never_end_says_who_waits() {
    let sim = Sim::new(1);
    let alice = sim.host("alice");
    alice.spawn("waits for news", futures::future::pending());
    let stuck = sim.try_block_on(futures::future::pending::<()>());
    assert!(matches!(stuck, Err(Stuck::Deadlock(_))));
    let said = stuck.unwrap_err().to_string();
    assert!(said.contains("waits for news of host alice"), "{said}");
}

/// Whatever docs/simulation.md shows is code that runs.
#[test]
fn every_block_of_the_tutorial_is_in_this_file() {
    let squeeze = |text: &str| text.split_whitespace().collect::<String>();
    let here = squeeze(include_str!("tutorial.rs"));
    let tutorial = include_str!("../../../docs/simulation.md");
    let blocks = tutorial.split("```rust\n").skip(1);
    let mut count = 0;
    for block in blocks {
        let code = block.split("```").next().unwrap();
        assert!(here.contains(&squeeze(code)), "not in tutorial.rs:\n{code}");
        count += 1;
    }
    assert!(count >= 6, "{count} blocks");
}
