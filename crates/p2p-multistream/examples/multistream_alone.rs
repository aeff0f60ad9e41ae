//! Two ends of a plain Unix-style pipe agree on a protocol, with nothing else of the stack.
//!
//! The dialer knows what the listener speaks and does not wait: its question and its proposal
//! travel together, and so do the answers.

use std::error::Error;

use futures::executor::block_on;
use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::Protocol;
use p2p_multistream::{Config, dial_lazy, listen};

#[path = "../tests/common/mod.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "borrowed from the tests"
)]
mod common;

const SHOUT: Protocol = Protocol::from_static("/shout/1.0.0");

fn main() -> Result<(), Box<dyn Error>> {
    let (near, far) = common::link();
    let (sent, answered) = (near.writes(), far.writes());

    let dialer = async {
        let mut stream = dial_lazy(near, SHOUT);
        stream.write_all(b"hello").await?;
        stream.close().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, Box<dyn Error>>(answer)
    };
    let listener = async {
        let (protocol, mut stream) = listen(far, &[SHOUT], &Config::default()).await?;
        let mut question = String::new();
        stream.read_to_string(&mut question).await?;
        stream.write_all(question.to_uppercase().as_bytes()).await?;
        stream.close().await?;
        Ok(protocol)
    };
    let (answer, protocol) = block_on(try_join(dialer, listener))?;

    println!("spoke {protocol}, got {answer:?}");
    println!("writes: {} there, {} back", sent.count(), answered.count());
    Ok(())
}
