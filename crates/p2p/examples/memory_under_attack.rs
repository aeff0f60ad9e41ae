//! What attackers can make a host hold, measured as resident memory: it must stay within the memory
//! budget and 15 % more. Reads `/proc`, so only on Linux.
//!
//! ```text
//! cargo run --release -p p2p --example memory_under_attack
//! ```
//!
//! Each attack meets a host of its own, in a process of its own. The host lets far more attackers
//! in than it would by default, so that the memory budget is what stops them. 10,000 of them need
//! as many file descriptors (`ulimit -n 20000`).

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, future};
use p2p::{AddrExt as _, Config, Connection, Host, Limits, Multiaddr, SecureChannel};

const BUDGET: usize = 64 << 20;
const HOLD: &str = "/hold/1.0.0";
/// How far attackers go before they stop, how many of them there are, and what it is called.
const ATTACKS: [(&str, usize, &str); 6] = [
    ("connect", 10_000, "connect, and say nothing"),
    ("greet", 5000, "stop after the greeting"),
    ("name", 5000, "stop before the handshake"),
    ("identities", 500, "connect whole, and want nothing"),
    ("fill", 16, "fill 64 streams each that nobody reads"),
    ("push", 300, "push what identifies them without end"),
];
/// Streams of each attacker that fills them.
const STREAMS: usize = 64;
const PUSH: &str = "/ipfs/id/push/1.0.0";
/// Pushes of each attacker at the same time, and the parts that it sends of each.
const PUSHES: usize = 4;
const PARTS: usize = 9;

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [] => each_on_its_own(),
        ["defend", stage] => p2p::block_on(defend(stage)),
        ["attack", stage, count, addr] => attack(stage, count.parse()?, addr.parse()?),
        _ => Err("usage: memory_under_attack".into()),
    }
}

fn each_on_its_own() -> Done<()> {
    println!("memory budget {} MiB", BUDGET >> 20);
    println!(
        "attackers                                       waiting  connected  budget MiB  resident MiB"
    );
    for (stage, _, _) in ATTACKS {
        let mut host = Command::new(std::env::current_exe()?);
        if !host.args(["defend", stage]).status()?.success() {
            return Err(format!("{stage} was not withstood").into());
        }
    }
    Ok(())
}

async fn defend(stage: &str) -> Done<()> {
    let attack = ATTACKS.iter().find(|(known, _, _)| *known == stage);
    let (stage, count, name) = attack.copied().ok_or("unknown attack")?;
    let mut config = Config::default();
    config.limits = generous();
    let host = Host::builder()
        .config(config)
        .secure_channels(&[SecureChannel::Noise])
        .build()
        .await?;
    host.handle(HOLD, |stream| async move {
        let _held = stream;
        future::pending::<std::io::Result<()>>().await
    })?;
    let addr = host.listen("/ip4/127.0.0.1/tcp/0").await?;
    let rt = host.swarm().rt().clone();

    let (before, allowed) = (resident()?, BUDGET + BUDGET * 15 / 100);
    let mut attackers = start(stage, count, &addr)?;
    let (mut waiting, mut connected, mut budget, mut grown) = (0, 0, 0, 0);
    for _ in 0..30 {
        rt.sleep(Duration::from_millis(100)).await;
        let usage = host.swarm().usage();
        waiting = waiting.max(usage.pending_incoming);
        connected = connected.max(usage.connections);
        budget = budget.max(usage.memory);
        grown = grown.max(resident()?.saturating_sub(before));
    }
    attackers.kill()?;
    attackers.wait()?;
    host.close().await;
    println!(
        "{count:>6} {name:40} {waiting:>7}  {connected:>9}  {:>10.1}  {:>12.1}",
        mib(budget),
        mib(grown)
    );
    match (grown <= allowed, waiting.max(connected) == count) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("{:.1} MiB are allowed", mib(allowed)).into()),
        (_, false) => Err("some attackers did not come".into()),
    }
}

/// Nothing but memory stops anybody.
fn generous() -> Limits {
    let mut limits = Limits::with_memory_budget(BUDGET);
    limits.max_connections = 20_000;
    limits.max_connections_per_prefix = 20_000;
    limits.max_pending_incoming = 20_000;
    limits.max_pending_per_prefix = 20_000;
    limits.incoming_rate_per_prefix = 0;
    limits
}

/// Attackers in a process of their own that have gone as far as they go.
fn start(stage: &str, count: usize, addr: &Multiaddr) -> Done<Child> {
    let mut attackers = Command::new(std::env::current_exe()?)
        .args(["attack", stage, &count.to_string(), &addr.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let out = attackers.stdout.take().ok_or("no output")?;
    // Ends at once if they fail, which shows as nobody waiting and nobody connected.
    BufReader::new(out).lines().next().transpose()?;
    Ok(attackers)
}

fn attack(stage: &str, count: usize, addr: Multiaddr) -> Done<()> {
    match stage {
        "connect" => stall(count, &addr, b""),
        "greet" => stall(count, &addr, b"\x13/multistream/1.0.0\n"),
        "name" => stall(count, &addr, b"\x13/multistream/1.0.0\n\x07/noise\n"),
        "identities" => p2p::block_on(join(count, addr, 0)),
        "fill" => p2p::block_on(join(count, addr, STREAMS)),
        "push" => p2p::block_on(push(count, addr)),
        _ => Err(format!("unknown attack {stage}").into()),
    }
}

fn stall(count: usize, addr: &Multiaddr, said: &[u8]) -> Done<()> {
    let to: SocketAddr = addr.tcp_socket().ok_or("no TCP address")?;
    let mut held = Vec::new();
    for _ in 0..count {
        let mut socket = TcpStream::connect(to)?;
        socket.write_all(said)?;
        held.push(socket);
    }
    println!("ready");
    loop {
        std::thread::park();
    }
}

async fn connected(count: usize, addr: &Multiaddr) -> Done<Vec<(Connection, Host)>> {
    let mut held = Vec::new();
    for _ in 0..count {
        let host = Host::builder()
            .secure_channels(&[SecureChannel::Noise])
            .build()
            .await?;
        held.push((host.dial(addr.clone()).await?, host));
    }
    Ok(held)
}

/// Hosts that push, again and again: all parts that one push may have but the last, and no end.
async fn push(count: usize, addr: Multiaddr) -> Done<()> {
    let held = connected(count, &addr).await?;
    // A length, and a field that nobody knows and that fills the rest.
    let mut part = vec![0xc0, 0x3e, 0x7a, 0xbd, 0x3e];
    part.resize(8002, 0);
    let pushers = held.iter().flat_map(|(_, host)| [host; PUSHES]);
    let mut pushers: FuturesUnordered<_> = pushers
        .map(|host| async {
            while let Ok(mut stream) = host.open(addr.clone(), PUSH).await {
                let mut sent = 0;
                while sent < PARTS && stream.write_all(&part).await.is_ok() {
                    sent += 1;
                }
                let _ = stream.flush().await;
                let _ = stream.read(&mut [0]).await;
            }
        })
        .collect();
    println!("ready");
    while pushers.next().await.is_some() {}
    future::pending().await
}

/// Hosts that connect, and write into streams until nothing fits any more.
async fn join(count: usize, addr: Multiaddr, streams: usize) -> Done<()> {
    let held = connected(count, &addr).await?;
    let mut writers = FuturesUnordered::new();
    for (_, host) in &held {
        for _ in 0..streams {
            let mut stream = host.open(addr.clone(), HOLD).await?;
            writers.push(async move {
                let chunk = vec![0; 1 << 16];
                while stream.write_all(&chunk).await.is_ok() {}
            });
        }
    }
    println!("ready");
    while writers.next().await.is_some() {}
    future::pending().await
}

/// Of this process, in bytes.
fn resident() -> Done<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = pages.split(' ').nth(1).ok_or("statm")?.parse()?;
    Ok(pages * 4096)
}

#[expect(clippy::cast_precision_loss, reason = "to be read by people")]
fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
