//! A proxy that makes a long path of loopback: each byte takes half a round trip, and the first
//! ones another whole, which is what TCP's own handshake would have taken.
//!
//! ```text
//!   client ──► reader thread ── stamped pieces ──► writer thread, at stamp + RTT / 2 ──► server
//! ```
//!
//! What is under way is bounded, as it is on a real path; no bandwidth is taken away besides.
#![expect(
    clippy::disallowed_methods,
    reason = "delays real bytes by real time, on threads of its own"
)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

/// What is read at a time, in bytes.
const PIECE: usize = 48 * 1024;
/// Pieces under way in each direction: 512 MiB.
const UNDER_WAY: usize = (512 << 20) / PIECE;

/// The flags of the proxy.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Where to pass connections on to.
    #[arg(long)]
    to: SocketAddr,
    /// The round trip.
    #[arg(long, default_value_t = 50.0)]
    rtt_ms: f64,
}

struct Stamped {
    at: Instant,
    bytes: Vec<u8>,
}

/// Serves until the process ends; says where on standard output.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let listening = listener.local_addr()?;
    println!(
        "{}",
        json!({ "listening": format!("/ip4/127.0.0.1/tcp/{}", listening.port()), "pid": std::process::id() })
    );
    let rtt = Duration::from_secs_f64(args.rtt_ms / 1000.0);
    for near in listener.incoming() {
        let (near, accepted) = (near?, Instant::now());
        let far = TcpStream::connect(args.to)?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        // The client may write only after its SYN came back; the server's answer follows it.
        lane(near.try_clone()?, far.try_clone()?, rtt / 2, accepted + rtt);
        lane(far, near, rtt / 2, accepted + rtt);
    }
    Ok(())
}

fn lane(from: TcpStream, to: TcpStream, delay: Duration, not_before: Instant) {
    let (send, receive) = sync_channel(UNDER_WAY);
    thread::spawn(move || read(from, &send, not_before));
    thread::spawn(move || write(to, &receive, delay));
}

fn read(mut from: TcpStream, send: &SyncSender<Stamped>, not_before: Instant) {
    loop {
        let mut bytes = vec![0; PIECE];
        let Ok(count @ 1..) = from.read(&mut bytes) else {
            return;
        };
        bytes.truncate(count);
        let at = Instant::now().max(not_before);
        if send.send(Stamped { at, bytes }).is_err() {
            return;
        }
    }
}

fn write(mut to: TcpStream, receive: &Receiver<Stamped>, delay: Duration) {
    while let Ok(Stamped { at, bytes }) = receive.recv() {
        let wait = (at + delay).saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    // The end of one direction is passed on like its bytes. It may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}
