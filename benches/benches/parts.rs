//! The parts alone, without sockets: `cargo bench -p p2p-bench`.
//!
//! Absolute times: to be compared on one machine, before and after a change. What stands beside
//! other implementations is measured by `p2p-bench compare`.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p::Keypair;
use p2p::noise::{Channel, Noise};
use p2p_core::{Multiplex, Protocol, Role, uvarint};
use p2p_memory::{Pipe, pipe};
use p2p_runtime::Tokio;
use p2p_yamux::Yamux;

#[path = "../src/muxers.rs"]
mod muxers;

use muxers::Load;

/// Both ends of each multiplexer over a pipe; the time is CPU time of the thread.
fn multiplexers(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("the operating system has room for a runtime");
    let _inside = runtime.enter();
    let rt = Tokio::new(runtime.handle().clone());
    let (yamux, mplex) = (Yamux::default(), p2p::mplex::Mplex::default());
    let ours: [(&str, &dyn Multiplex); 2] = [("yamux", &yamux), ("mplex", &mplex)];
    for (streams, write) in [
        (1, 65_536),
        (100, 65_536),
        (1, 1024),
        (100, 1024),
        (1, 100),
        (100, 100),
    ] {
        let load = |writes: u64| Load {
            streams,
            write,
            writes: usize::try_from(writes)
                .unwrap_or(usize::MAX)
                .div_ceil(streams),
            flush: write < 8192,
        };
        let mut group = criterion.benchmark_group(format!("muxer/{streams}x{write}"));
        group.throughput(Throughput::Bytes(write as u64));
        for (name, muxer) in ours {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|iters| {
                    Duration::from_secs_f64(muxers::ours(muxer, &rt, load(iters)))
                });
            });
        }
        group.bench_function("yamux-crate", |bencher| {
            bencher.iter_custom(|iters| Duration::from_secs_f64(muxers::yamux_crate(load(iters))));
        });
        group.bench_function("pipe-alone", |bencher| {
            bencher.iter_custom(|iters| Duration::from_secs_f64(muxers::pipe_alone(load(iters))));
        });
        group.finish();
    }
}

type Channels = (Channel<Pipe>, Channel<Pipe>);

async fn channels(noise: &Noise) -> Channels {
    let (near, far) = pipe(1 << 20);
    let dial = async {
        let mut done = noise.secure(near, Role::Dialer, None, &[]).await?;
        done.channel.flush().await?;
        Ok::<_, p2p_core::SecurityError>(done.channel)
    };
    let listen = async { Ok(noise.secure(far, Role::Listener, None, &[]).await?.channel) };
    try_join(dial, listen)
        .await
        .expect("the handshake succeeds")
}

/// AEAD framing, both ends; and the handshake.
fn noise(criterion: &mut Criterion) {
    let noise = Noise::new(&Keypair::generate_ed25519()).expect("a key pair signs");
    criterion.bench_function("noise/handshake", |bencher| {
        bencher.iter(|| block_on(channels(&noise)));
    });
    let mut group = criterion.benchmark_group("noise/seal-and-open");
    for size in [100, 1024, 16 * 1024, 48 * 1024] {
        let (mut near, mut far) = block_on(channels(&noise));
        let (data, mut buffer) = (vec![7; size], vec![0; size]);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(size.to_string(), |bencher| {
            bencher.iter(|| {
                let moved: std::io::Result<()> = block_on(async {
                    near.write_all(&data).await?;
                    near.flush().await?;
                    far.read_exact(&mut buffer).await
                });
                moved.expect("the pipe has room");
            });
        });
    }
    group.finish();
}

/// multistream-select, both ends: the first proposal fits, or the fourth.
fn negotiation(criterion: &mut Criterion) {
    let config = p2p::multistream::Config::default();
    let all = ["/a/1", "/b/1", "/c/1", "/d/1"].map(Protocol::from_static);
    for (name, known) in [("first", all.get(..1)), ("fourth", all.get(3..))] {
        let known = known.unwrap_or_default();
        criterion.bench_function(&format!("negotiation/{name}"), |bencher| {
            bencher.iter(|| {
                let (near, far) = pipe(4096);
                let dial = p2p::multistream::dial(near, &all, &config);
                let listen = async {
                    let (_, mut io) = p2p::multistream::listen(far, known, &config).await?;
                    io.flush().await?;
                    Ok(io)
                };
                block_on(try_join(dial, listen)).expect("they have one in common")
            });
        });
    }
}

/// Integers and frames of the wire, and RPCs of gossipsub.
fn codecs(criterion: &mut Criterion) {
    criterion.bench_function("codec/uvarint", |bencher| {
        bencher.iter(|| uvarint::encode(std::hint::black_box(300_000)));
    });
    use p2p_pubsub::wire::{Control, Rpc, RpcOut, WireLimits};
    let topic = p2p_pubsub::Topic::new("a topic");
    let rpc = RpcOut {
        control: (0..20)
            .map(|_| Control::Subscription(true, topic.clone()))
            .collect(),
        messages: Vec::new(),
    };
    let mut bytes = Vec::new();
    criterion.bench_function("codec/rpc-encode", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            rpc.encode(&mut bytes);
        });
    });
    let limits = WireLimits::default();
    criterion.bench_function("codec/rpc-parse", |bencher| {
        bencher.iter(|| Rpc::parse(&bytes, &limits).map(|rpc| rpc.parts().count()));
    });
}

criterion_group!(parts, multiplexers, noise, negotiation, codecs);
criterion_main!(parts);
