//! Two ends of an in-memory link talk in secret, with nothing else of the stack.
//!
//! Alice knows whom she wants to reach; Bob learns who came.

use std::error::Error;

use futures::executor::block_on;
use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::Role;
use p2p_keys::Keypair;
use p2p_noise::Noise;

#[path = "../tests/common/mod.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "borrowed from the tests"
)]
mod common;

fn main() -> Result<(), Box<dyn Error>> {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (dialer, listener) = (Noise::new(&alice)?, Noise::new(&bob)?);
    let (near, far) = common::link();
    let sent = near.writes();

    let (at_alice, (at_bob, text)) = block_on(try_join(
        async {
            let bob = Some(bob.to_peer_id());
            let mut remote = dialer.secure(near, Role::Dialer, bob, &[]).await?;
            remote.channel.write_all(b"a secret").await?;
            remote.channel.close().await?;
            Ok::<_, Box<dyn Error>>(remote.public_key.to_peer_id())
        },
        async {
            let mut remote = listener.secure(far, Role::Listener, None, &[]).await?;
            let mut text = String::new();
            remote.channel.read_to_string(&mut text).await?;
            Ok((remote.public_key.to_peer_id(), text))
        },
    ))?;

    println!("alice talks to {at_alice}");
    println!("bob hears {text:?} from {at_bob}");
    for (index, write) in sent.all().iter().enumerate() {
        println!(
            "the path sees, in write {}: {} bytes",
            index + 1,
            write.len()
        );
    }
    Ok(())
}
