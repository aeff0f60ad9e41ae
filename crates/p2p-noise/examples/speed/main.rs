//! How fast the channel and the handshake are, both ends on one thread, without a network.
//!
//! `cargo run --release -p p2p-noise --example speed`

use std::error::Error;
use std::hint::black_box;
use std::io;
use std::time::Instant;

use futures::executor::block_on;
use futures::future::{join, try_join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{BoxIo, Role};
use p2p_keys::Keypair;
use p2p_noise::{Channel, Noise};

mod ring;

const RING: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (alice, bob) = (Noise::new(&alice)?, Noise::new(&bob)?);
    for _ in 0..3 {
        handshakes(&alice, &bob, 1000)?;
        for size in [64 << 10, 16 << 10, 1 << 10] {
            bulk(&alice, &bob, size)?;
        }
        messages(&alice, &bob, 200_000)?;
    }
    Ok(())
}

async fn channels(
    alice: &Noise,
    bob: &Noise,
) -> Result<(Channel<BoxIo>, Channel<BoxIo>), Box<dyn Error>> {
    let (near, far) = ring::ring(RING);
    let (near, far): (BoxIo, BoxIo) = (Box::new(near), Box::new(far));
    Ok(try_join(
        async {
            let mut remote = alice.secure(near, Role::Dialer, None, &[]).await?;
            remote.channel.flush().await?;
            Ok::<_, Box<dyn Error>>(remote.channel)
        },
        async { Ok(bob.secure(far, Role::Listener, None, &[]).await?.channel) },
    )
    .await?)
}

fn handshakes(alice: &Noise, bob: &Noise, count: u32) -> Result<(), Box<dyn Error>> {
    let start = now();
    for _ in 0..count {
        black_box(block_on(channels(alice, bob))?);
    }
    println!("handshake, both sides: {:?}", start.elapsed() / count);
    Ok(())
}

/// Writes of `size` bytes, each flushed, 1 GiB in all.
fn bulk(alice: &Noise, bob: &Noise, size: usize) -> Result<(), Box<dyn Error>> {
    const TOTAL: usize = 1 << 30;
    let (mut sender, mut receiver) = block_on(channels(alice, bob))?;
    let data = vec![7; size];
    let mut buffer = vec![0; 256 << 10];
    let start = now();
    let (sent, received) = block_on(join(
        async {
            for _ in 0..TOTAL / size {
                sender.write_all(&data).await?;
                sender.flush().await?;
            }
            io::Result::Ok(())
        },
        async {
            let mut received = 0;
            while received < TOTAL {
                received += receiver.read(&mut buffer).await?;
            }
            io::Result::Ok(received)
        },
    ));
    sent?;
    let seconds = start.elapsed().as_secs_f64();
    let gib = received? as f64 / f64::from(1 << 30);
    println!(
        "writes of {size} bytes, both sides: {:.2} GiB/s",
        gib / seconds
    );
    Ok(())
}

/// Messages of 100 bytes, there one at a time.
fn messages(alice: &Noise, bob: &Noise, count: u32) -> Result<(), Box<dyn Error>> {
    let (mut sender, mut receiver) = block_on(channels(alice, bob))?;
    let mut buffer = [0; 100];
    let start = now();
    block_on(async {
        for _ in 0..count {
            sender.write_all(&[7; 100]).await?;
            sender.flush().await?;
            receiver.read_exact(&mut buffer).await?;
        }
        io::Result::Ok(())
    })?;
    println!(
        "messages of 100 bytes, both sides: {:?} each",
        start.elapsed() / count
    );
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this measures real time")]
fn now() -> Instant {
    Instant::now()
}
