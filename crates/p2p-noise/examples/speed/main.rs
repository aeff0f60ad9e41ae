//! How much of one core the channel and the handshake take, both ends on one thread, without a
//! network, beside what their cryptography alone takes.
//!
//! Each figure is the best of many short slices, and the two of a line alternate, so that a busy
//! machine disturbs them little.
//!
//! `cargo run --release -p p2p-noise --example speed`

use std::error::Error;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use futures::executor::block_on;
use futures::future::{join, try_join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{BoxIo, Role};
use p2p_keys::Keypair;
use p2p_noise::{Channel, Noise};

mod ring;

const RING: usize = 1 << 20;
const SLICES: usize = 40;

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let identity = Keypair::generate_ed25519();
    let (alice, bob) = (Noise::new(&identity)?, Noise::new(&identity)?);

    let (ours, floor) = alternate(
        || handshakes(&alice, &bob, 20),
        || handshake_cryptography(&identity, 20),
    )?;
    println!(
        "handshake, both sides:                {:?}, cryptography alone {:?}",
        ours / 20,
        floor / 20
    );
    for size in [64 << 10, 16 << 10, 1 << 10, 100] {
        let (ours, floor) = alternate(|| bulk(&alice, &bob, size), bulk_cryptography)?;
        println!(
            "{size:>6} B writes, each flushed, both sides: {:.2} GiB/s, cryptography alone {:.2}",
            rate(ours),
            rate(floor)
        );
    }
    let (ours, floor) = alternate(|| messages(&alice, &bob, 2000), || seal_and_open(100, 2000))?;
    println!(
        "100 B message there, both sides:      {:?}, cryptography alone {:?}",
        ours / 2000,
        floor / 2000
    );
    Ok(())
}

/// The best times of two jobs.
fn alternate(
    mut one: impl FnMut() -> Result<Duration, Box<dyn Error>>,
    mut two: impl FnMut() -> Result<Duration, Box<dyn Error>>,
) -> Result<(Duration, Duration), Box<dyn Error>> {
    let (mut best_one, mut best_two) = (Duration::MAX, Duration::MAX);
    for _ in 0..SLICES {
        best_one = best_one.min(one()?);
        best_two = best_two.min(two()?);
    }
    Ok((best_one, best_two))
}

async fn channels(
    alice: &Noise,
    bob: &Noise,
    capacity: usize,
) -> Result<(Channel<BoxIo>, Channel<BoxIo>), Box<dyn Error>> {
    let (near, far) = ring::ring(capacity);
    let (near, far): (BoxIo, BoxIo) = (Box::new(near), Box::new(far));
    try_join(
        async {
            let mut remote = alice.secure(near, Role::Dialer, None, &[]).await?;
            remote.channel.flush().await?;
            Ok(remote.channel)
        },
        async {
            let remote = bob.secure(far, Role::Listener, None, &[]).await?;
            Ok(remote.channel)
        },
    )
    .await
}

fn handshakes(alice: &Noise, bob: &Noise, count: u32) -> Result<Duration, Box<dyn Error>> {
    let start = now();
    for _ in 0..count {
        black_box(block_on(channels(alice, bob, 4096))?);
    }
    Ok(start.elapsed())
}

/// What two sides cannot do without: a key, three Diffie-Hellman steps and a verification each.
fn handshake_cryptography(identity: &Keypair, count: u32) -> Result<Duration, Box<dyn Error>> {
    let signature = identity.sign(&[7; 56])?;
    let start = now();
    for _ in 0..2 * count {
        let key = PrivateKey::generate(&X25519)?;
        let public = key.compute_public_key()?;
        for _ in 0..3 {
            let remote = UnparsedPublicKey::new(&X25519, public.as_ref());
            agree(&key, remote, "no agreement", |secret| {
                black_box(secret);
                Ok(())
            })?;
        }
        black_box(identity.public().verify(&[7; 56], &signature));
    }
    Ok(start.elapsed())
}

const SLICE: usize = 8 << 20;

fn rate(time: Duration) -> f64 {
    SLICE as f64 / f64::from(1 << 30) / time.as_secs_f64()
}

/// Writes of `size` bytes, each flushed; the other end reads into a large buffer.
fn bulk(alice: &Noise, bob: &Noise, size: usize) -> Result<Duration, Box<dyn Error>> {
    let (mut sender, mut receiver) = block_on(channels(alice, bob, RING))?;
    let data = vec![7; size];
    let mut buffer = vec![0; 256 << 10];
    let start = now();
    let (sent, received) = block_on(join(
        async {
            for _ in 0..SLICE.div_ceil(size) {
                sender.write_all(&data).await?;
                sender.flush().await?;
            }
            io::Result::Ok(())
        },
        async {
            let mut received = 0;
            while received < SLICE {
                received += receiver.read(&mut buffer).await?;
            }
            io::Result::Ok(())
        },
    ));
    sent?;
    received?;
    Ok(start.elapsed())
}

fn bulk_cryptography() -> Result<Duration, Box<dyn Error>> {
    seal_and_open(16 << 10, SLICE / (16 << 10))
}

fn seal_and_open(size: usize, count: usize) -> Result<Duration, Box<dyn Error>> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32])?);
    let nonce = || Nonce::assume_unique_for_key([0; 12]);
    let mut record = vec![7; size];
    let start = now();
    for _ in 0..count {
        record.truncate(size);
        key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut record)?;
        key.open_in_place(nonce(), Aad::empty(), &mut record)?;
    }
    Ok(start.elapsed())
}

/// Messages of 100 bytes, there one at a time.
fn messages(alice: &Noise, bob: &Noise, count: u32) -> Result<Duration, Box<dyn Error>> {
    let (mut sender, mut receiver) = block_on(channels(alice, bob, RING))?;
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
    Ok(start.elapsed())
}

#[expect(clippy::disallowed_methods, reason = "this measures real time")]
fn now() -> Instant {
    Instant::now()
}
