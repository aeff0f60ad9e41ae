//! The physical floor: loopback TCP, and loopback TCP with one AEAD pass at each end.
//!
//! The stacks `raw` and `raw+aead` of the node program. Blocking sockets, a thread each, no
//! runtime and no multiplexer: nothing that speaks libp2p over TCP can be cheaper. Writes have
//! 48 KiB, which is what loopback takes best (docs/benchmarks.md).

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde_json::{Map, Value, json};

use crate::node::args::{Dial, Options};
use crate::node::measure::Meter;
use crate::node::transfer::report;
use crate::node::{Error, Result};

/// What is sealed at a time, with its tag.
const RECORD: usize = 16 * 1024;
const TAG: usize = 16;
/// What is written at a time.
const PIECE: usize = 3 * RECORD;

/// Whether `stack` is one of the floor.
pub(crate) fn is_floor(stack: &str) -> bool {
    matches!(stack, "raw" | "raw+aead")
}

/// Serves until the process ends.
pub(crate) fn listen(options: &Options) -> Result<()> {
    let sealed = options.stack == "raw+aead";
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let listening = listener.local_addr()?;
    println!(
        "{}",
        json!({ "listening": listening.to_string(), "pid": std::process::id() })
    );
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || serve(stream, sealed));
    }
    Ok(())
}

fn serve(mut stream: TcpStream, sealed: bool) -> io::Result<()> {
    let mut size = [0; 8];
    stream.read_exact(&mut size)?;
    receive(&mut stream, sealed)?;
    send(&mut stream, u64::from_be_bytes(size), sealed)?;
    stream.shutdown(Shutdown::Write)
}

/// The job `bulk`.
pub(crate) fn dial(dial: &Dial) -> Result<Value> {
    let sealed = dial.options.stack == "raw+aead";
    let addr = socket_addr(&dial.options.addr)?;
    let mut results = Map::new();
    for way in dial.dir.split(',') {
        let (up, down) = match way {
            "up" => (dial.bytes, 0),
            _ => (0, dial.bytes),
        };
        once(addr, up / 8, down / 8, sealed)?;
        let meter = Meter::start(dial.listener_pid);
        once(addr, up, down, sealed)?;
        results.insert(way.into(), report(meter.read(), dial.bytes));
    }
    Ok(Value::Object(results))
}

fn once(addr: SocketAddr, up: u64, down: u64, sealed: bool) -> Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.write_all(&down.to_be_bytes())?;
    send(&mut stream, up, sealed)?;
    stream.shutdown(Shutdown::Write)?;
    receive(&mut stream, sealed)?;
    Ok(())
}

fn socket_addr(text: &str) -> Result<SocketAddr> {
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        ["", "ip4", ip, "tcp", port, ..] => Ok(format!("{ip}:{port}").parse()?),
        _ => Err(Error::from("not an address")),
    }
}

fn key() -> io::Result<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]);
    key.map(LessSafeKey::new)
        .map_err(|_| io::Error::other("no key"))
}

fn nonce(count: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    if let Some(low) = bytes.last_chunk_mut() {
        *low = count.to_le_bytes();
    }
    Nonce::assume_unique_for_key(bytes)
}

fn send(stream: &mut TcpStream, bytes: u64, sealed: bool) -> io::Result<()> {
    let (key, plain) = (key()?, vec![0x5a; RECORD - TAG]);
    let mut piece = vec![0x5a; PIECE];
    let (mut left, mut count) = (bytes, 0);
    while left > 0 {
        if sealed {
            for record in piece.chunks_exact_mut(RECORD) {
                let (body, tag) = record.split_at_mut(RECORD - TAG);
                key.seal_out_of_place_scatter(nonce(count), Aad::empty(), &plain, body, &[], tag)
                    .map_err(|_| io::Error::other("cannot seal"))?;
                count += 1;
            }
        }
        stream.write_all(&piece)?;
        left = left.saturating_sub(PIECE as u64);
    }
    Ok(())
}

fn receive(stream: &mut TcpStream, sealed: bool) -> io::Result<()> {
    let key = key()?;
    let mut buffer = vec![0; 2 * PIECE];
    let mut plain = vec![0; RECORD - TAG];
    let (mut filled, mut count) = (0, 0);
    loop {
        match stream.read(buffer.get_mut(filled..).unwrap_or_default())? {
            0 => return Ok(()),
            read => filled += read,
        }
        let mut done = 0;
        if sealed {
            let got = buffer.get(..filled).unwrap_or_default();
            for record in got.chunks_exact(RECORD) {
                let (body, tag) = record.split_at(RECORD - TAG);
                key.open_separate_gather(nonce(count), Aad::empty(), body, tag, &mut plain)
                    .map_err(|_| io::Error::other("cannot open"))?;
                count += 1;
                done += RECORD;
            }
        } else {
            done = filled;
        }
        buffer.copy_within(done..filled, 0);
        filled -= done;
    }
}
