//! Two ends of a Unix socket, without anything above.
//!
//! `cargo run -p p2p-unix --example unix_alone`

use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Link, Transport};
use p2p_unix::{Config, Unix, addr};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    p2p_runtime::block_on(async {
        let unix = Unix::new(p2p_runtime::default_runtime(), Config::default());
        let path = std::env::temp_dir().join("p2p-example.sock");
        let mut listener = unix.listen(addr(&path)?).await?;
        println!("listening at {}", path.display());

        let dial = async { unix.dial(addr(&path)?, None).await.map_err(Into::into) };
        let accept = async {
            let incoming = listener.accept().await?;
            Ok::<_, Box<dyn std::error::Error>>(incoming.link.await?)
        };
        let (dialed, accepted) = try_join(dial, accept).await?;
        let (Link::Raw(mut near), Link::Raw(mut far)) = (dialed.link, accepted) else {
            unreachable!("a Unix socket carries bytes only");
        };
        near.write_all(b"hello").await?;
        near.close().await?;
        let mut said = String::new();
        far.read_to_string(&mut said).await?;
        println!("the other end said {said}");
        Ok(())
    })
}
