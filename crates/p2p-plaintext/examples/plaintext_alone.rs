//! Two ends of an in-memory link say who they are, and everybody on the path can read along.
//!
//! For tests only: see the crate's documentation.

use std::error::Error;

use futures::executor::block_on;
use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_keys::Keypair;
use p2p_plaintext::Plaintext;

#[path = "../tests/common/mod.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "borrowed from the tests"
)]
mod common;

fn main() -> Result<(), Box<dyn Error>> {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (near, far) = common::link();
    let sent = near.writes();

    let (at_alice, at_bob) = block_on(try_join(
        async {
            let mut remote = Plaintext::new(&alice)
                .exchange(near, Some(bob.to_peer_id()))
                .await?;
            remote.io.write_all(b"no secret").await?;
            remote.io.close().await?;
            Ok::<_, Box<dyn Error>>(remote.public_key.to_peer_id())
        },
        async {
            let mut remote = Plaintext::new(&bob).exchange(far, None).await?;
            let mut text = String::new();
            remote.io.read_to_string(&mut text).await?;
            Ok((remote.public_key.to_peer_id(), text))
        },
    ))?;

    println!("alice talks to {at_alice}");
    println!("bob hears {:?} from {}", at_bob.1, at_bob.0);
    println!(
        "the path sees {:?}",
        String::from_utf8_lossy(&sent.all().concat())
    );
    Ok(())
}
