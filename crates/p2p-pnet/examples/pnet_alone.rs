//! A private network of two on a pipe, and a stranger who understands nothing:
//! `cargo run -p p2p-pnet --example pnet_alone`.

use futures::executor::block_on;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_pnet::{PreSharedKey, Protected};

fn main() -> std::io::Result<()> {
    let (ours, other) = (PreSharedKey::new([7; 32]), PreSharedKey::new([8; 32]));
    println!("our network is {}", ours.fingerprint());
    for (who, key) in [("a member", &ours), ("a stranger", &other)] {
        let (near, far) = p2p_memory::pipe(1024);
        // Real nonces are random; these are the same in every run.
        let mut near = Protected::new(near, &ours, [1; 24]);
        let mut far = Protected::new(far, key, [2; 24]);
        block_on(async {
            near.write_all(b"/multistream/1.0.0").await?;
            near.close().await?;
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await?;
            println!("{who} hears {:?}", String::from_utf8_lossy(&heard));
            std::io::Result::Ok(())
        })?;
    }
    Ok(())
}
