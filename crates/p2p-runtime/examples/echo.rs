//! An echo server and its client over loopback TCP, on whichever runtime is enabled.
//!
//! `cargo run -p p2p-runtime --example echo`, or the same on another runtime:
//! `cargo run -p p2p-runtime --example echo --no-default-features --features tokio`

use std::error::Error;
use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt, copy};
use p2p_core::TcpOptions;

fn main() -> Result<(), Box<dyn Error>> {
    p2p_runtime::block_on(async {
        let rt = p2p_runtime::default_runtime();
        let options = TcpOptions::default();
        let mut listener = rt.net().tcp_listen(([127, 0, 0, 1], 0).into(), &options)?;
        let addr = listener.local_addr()?;
        println!("{rt:?} listens on {addr}");

        rt.spawn(
            "echo",
            Box::pin(async move {
                while let Ok((stream, from)) = listener.accept().await {
                    println!("connected from {from}");
                    let (reader, mut writer) = stream.split();
                    let _ = copy(reader, &mut writer).await;
                    let _ = writer.close().await;
                }
            }),
        );

        let started = rt.now();
        let exchange = async {
            let mut stream = rt.net().tcp_connect(addr, &options).await?;
            stream.write_all(b"hello, runtime").await?;
            stream.close().await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = rt.timeout(Duration::from_secs(5), exchange).await??;
        println!("{answer:?} came back in {:?}", rt.now() - started);
        Ok(())
    })
}
