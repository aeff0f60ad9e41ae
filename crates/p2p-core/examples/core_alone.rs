//! Messages that are paid for before they are taken, with nothing else of the stack.
//!
//! `cargo run -p p2p-core --example core_alone`

use std::error::Error;
use std::io;

use futures::executor::block_on;
use p2p_core::{Budget, Permit, frame};

/// The longest message, in bytes.
const MAX: usize = 600;

/// A message and the receipt for its memory: dropping it gives the memory back.
struct Paid {
    bytes: Vec<u8>,
    _permit: Permit,
}

fn main() -> Result<(), Box<dyn Error>> {
    let host = Budget::new("memory of the host", "memory_budget", 1000);
    let peer = host.child("memory of the peer", "peer_memory", 800);

    block_on(async {
        let mut wire = Vec::new();
        for len in [500, 400, 200, 5000] {
            frame::write(&mut wire, &vec![b'x'; len]).await?;
        }
        let mut stream: &[u8] = &wire;

        let first = take(&mut stream, &peer).await?;
        println!("took {} bytes; {host:?}", first.bytes.len());
        match take(&mut stream, &peer).await {
            Err(refusal) => println!("refused: {refusal}"),
            Ok(_) => return Err("there was no room for it".into()),
        }
        drop(first);
        println!("dropped the first; {host:?}");

        // The refused body is still on the stream: whoever refuses a message skips or resets.
        let (_, rest) = stream.split_at(400);
        stream = rest;
        let third = take(&mut stream, &peer).await?;
        println!("took {} bytes; {host:?}", third.bytes.len());
        match frame::read(&mut stream, MAX).await {
            Err(error) => println!("refused: {error}; to blame: {}", error.blame()),
            Ok(_) => return Err("it is longer than allowed".into()),
        }
        Ok(())
    })
}

/// Reads the length, pays, and only then takes the message.
async fn take(stream: &mut &[u8], budget: &Budget) -> io::Result<Paid> {
    let len = frame::read_length(stream, MAX).await?;
    let permit = budget.reserve(len).map_err(io::Error::other)?;
    let bytes = frame::read_body(stream, len).await?;
    Ok(Paid {
        bytes,
        _permit: permit,
    })
}
