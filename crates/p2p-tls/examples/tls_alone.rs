//! TLS on a pipe: two peers prove who they are and agree on a multiplexer, with nothing else of
//! the stack. Run it with `cargo run -p p2p-tls --example tls_alone`.
#![expect(clippy::unwrap_used, reason = "an example stops at the first error")]

use futures::executor::block_on;
use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Protocol, Role};
use p2p_keys::Keypair;
use p2p_tls::{Tls, cpu_has_aes};

fn main() {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (dialer, listener) = (Tls::new(&alice).unwrap(), Tls::new(&bob).unwrap());
    let (near, far) = p2p_memory::pipe(16 * 1024);
    let muxers = [Protocol::from_static("/yamux/1.0.0")];
    block_on(async {
        let (mut dialed, mut listened) = try_join(
            async {
                let id = bob.to_peer_id();
                let mut remote = dialer.secure(near, Role::Dialer, Some(id), &muxers).await?;
                // The last message of the handshake travels with the first bytes.
                remote.channel.write_all(b"hello bob").await?;
                remote.channel.flush().await?;
                Ok(remote)
            },
            listener.secure(far, Role::Listener, None, &muxers),
        )
        .await
        .unwrap();
        println!("bob talks to   {}", listened.public_key.to_peer_id());
        println!("they agreed on {:?}", dialed.muxer);
        println!("encrypted with {:?}", dialed.cipher_suite);
        println!("AES in the CPU {}", cpu_has_aes());
        dialed.channel.close().await.unwrap();
        let mut text = String::new();
        listened.channel.read_to_string(&mut text).await.unwrap();
        println!("bob reads      {text:?}");
    });
}
