//! Whatever two ends of a connection do, and whatever happens to the path: bytes are read in
//! order, and who closed in order was heard or there was an error.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod support;

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use futures::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use p2p_sim::{Config, Host, Link, Partition, Sim};
use proptest::prelude::*;
use support::{MS, SEC, Stream, pair, sleep};

#[derive(Clone, Debug)]
enum Op {
    Write(usize),
    Read(usize),
    Wait(u32),
    Close,
}

#[derive(Clone, Debug)]
enum Fault {
    Wait(u32),
    Cut,
    Heal,
    Slow(u64),
    Crash(bool),
}

/// What one end has seen.
#[derive(Debug, Default)]
struct Seen {
    written: usize,
    closed: bool,
    read: usize,
    eof: bool,
    error: Option<ErrorKind>,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (1usize..3000).prop_map(Op::Write),
        3 => (1usize..3000).prop_map(Op::Read),
        2 => (0u32..400).prop_map(Op::Wait),
        1 => Just(Op::Close),
    ];
    proptest::collection::vec(op, 0..20)
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        6 => (0u32..400).prop_map(Fault::Wait),
        1 => Just(Fault::Cut),
        2 => Just(Fault::Heal),
        1 => (1000u64..1_000_000).prop_map(Fault::Slow),
        1 => any::<bool>().prop_map(Fault::Crash),
    ];
    proptest::collection::vec(fault, 0..10)
}

/// The byte at `place` of what a side writes.
fn byte(place: usize, side: u8) -> u8 {
    place.to_le_bytes()[0].wrapping_mul(31) ^ side
}

async fn write(mut to: WriteHalf<Stream>, host: Host, ops: Vec<Op>, side: u8, seen: Shared) {
    for op in ops {
        match op {
            Op::Write(len) => {
                let start = seen.lock().unwrap().written;
                let bytes: Vec<u8> = (start..start + len).map(|n| byte(n, side)).collect();
                let mut left = bytes.as_slice();
                while !left.is_empty() {
                    match to.write(left).await {
                        Ok(count) => {
                            seen.lock().unwrap().written += count;
                            left = &left[count..];
                        }
                        Err(_) => return,
                    }
                }
            }
            Op::Wait(ms) => sleep(&host, MS * ms).await,
            Op::Close => break,
            Op::Read(_) => {}
        }
    }
    if to.close().await.is_ok() {
        seen.lock().unwrap().closed = true;
    }
}

async fn read(mut from: ReadHalf<Stream>, host: Host, ops: Vec<Op>, side: u8, seen: Shared) {
    let pauses = ops.into_iter().filter_map(|op| match op {
        Op::Read(len) => Some((len, 0)),
        Op::Wait(ms) => Some((1, ms)),
        Op::Write(_) | Op::Close => None,
    });
    for (len, pause) in pauses.chain(std::iter::repeat((1000, 0))) {
        sleep(&host, MS * pause).await;
        let mut buffer = vec![0; len];
        match from.read(&mut buffer).await {
            Ok(0) => {
                seen.lock().unwrap().eof = true;
                return;
            }
            Ok(count) => {
                let mut seen = seen.lock().unwrap();
                for (offset, got) in buffer[..count].iter().enumerate() {
                    assert_eq!(*got, byte(seen.read + offset, side), "out of order");
                }
                seen.read += count;
            }
            Err(error) => {
                seen.lock().unwrap().error = Some(error.kind());
                return;
            }
        }
    }
}

type Shared = Arc<Mutex<Seen>>;

fn start(host: &Host, stream: Stream, ops: Vec<Op>, side: u8) -> Shared {
    let seen = Shared::default();
    let (reader, writer) = stream.split();
    let writing = write(writer, host.clone(), ops.clone(), side, seen.clone());
    let reading = read(reader, host.clone(), ops, 1 - side, seen.clone());
    host.spawn("writer", writing);
    host.spawn("reader", reading);
    seen
}

fn apply(sim: &Sim, hosts: [&Host; 2], faults: Vec<Fault>) -> bool {
    let mut cut: Option<Partition> = None;
    let mut crashed = false;
    for fault in faults {
        match fault {
            Fault::Wait(ms) => sim.run_for(MS * ms),
            Fault::Cut => cut = Some(sim.partition(&[hosts[0]], &[hosts[1]])),
            Fault::Heal => cut.into_iter().for_each(|cut| sim.heal(cut)),
            Fault::Slow(rate) => sim.default_link(Link::new(5 * MS).bandwidth(rate)),
            Fault::Crash(which) => {
                hosts[usize::from(which)].crash();
                crashed = true;
                sim.run_for(100 * MS);
                hosts[usize::from(which)].restart();
            }
        }
    }
    sim.heal_all();
    crashed
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_in_order_or_the_reader_gets_an_error(
        seed in any::<u64>(),
        buffer in 1usize..5000,
        loss in 0.0..0.2f64,
        one in ops(),
        other in ops(),
        faults in faults(),
    ) {
        let mut config = Config::default();
        config.tcp.buffer = NonZeroUsize::new(buffer).unwrap();
        let sim = Sim::with_config(seed, config);
        sim.default_link(Link::new(10 * MS).jitter(10 * MS).loss(loss));
        let (a, b) = (sim.host("a"), sim.host("b"));
        let (dialed, accepted) = sim.block_on(pair(&a, &b));
        let ends = [start(&a, dialed, one, 0), start(&b, accepted, other, 1)];
        let crashed = apply(&sim, [&a, &b], faults);
        sim.run_for(3000 * SEC);

        for (reader, writer) in [(0, 1), (1, 0)] {
            let (reader, writer) = (ends[reader].lock().unwrap(), ends[writer].lock().unwrap());
            prop_assert!(reader.read <= writer.written);
            if reader.eof {
                prop_assert!(writer.closed);
                prop_assert_eq!(reader.read, writer.written);
            }
            if !crashed {
                prop_assert!(reader.eof || reader.error.is_some(), "{reader:?} {writer:?}");
            }
        }
        if !crashed {
            prop_assert!(sim.census().is_empty(), "{}", sim.census());
        }
        drop(sim);
    }

    #[test]
    fn datagrams_arrive_whole_or_not_at_all(
        seed in any::<u64>(),
        sizes in proptest::collection::vec(0usize..1473, 1..50),
        loss in 0.0..1.0f64,
        rate in 1000u64..10_000_000,
    ) {
        let sim = Sim::new(seed);
        let rough = Link::new(10 * MS).jitter(10 * MS).loss(loss);
        sim.default_link(rough.duplicate(0.5).reorder(0.5).bandwidth(rate));
        let (a, b) = (sim.host("a"), sim.host("b"));
        let (one, other) = (support::bind(&a, 0), support::bind(&b, 7));
        sim.block_on(async {
            for size in &sizes {
                support::send(&one, b.socket(7), &vec![size.to_le_bytes()[0]; *size]).await.unwrap();
            }
        });
        let received = sim.block_on(support::receive_for(&b, &other, 1000 * SEC));
        for bytes in received {
            let expected = bytes.len().to_le_bytes()[0];
            prop_assert!(sizes.contains(&bytes.len()));
            prop_assert!(bytes.iter().all(|byte| *byte == expected));
        }
    }
}
