//! Yamux without a swarm: two ends of a link in memory, one request and its answer.
//!
//! `cargo run -p p2p-yamux --example yamux_alone`

use std::sync::Arc;

use futures::executor::LocalPool;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::task::LocalSpawnExt;
use p2p_core::{Budget, ErrorCode, Multiplex, Role, Rt};
use p2p_mux::conformance::{Clock, pipe};
use p2p_yamux::Yamux;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut pool = LocalPool::new();
    // Any clock and any link will do: these two are made for tests.
    let rt: Rt = Arc::new(Clock::default());
    let (here, there) = pipe(64 * 1024);
    let memory = Budget::new("memory of the example", "none", 1024 * 1024);
    let client = Yamux::default().start(Box::new(here), Role::Dialer, &rt, &memory);
    let server = Yamux::default().start(Box::new(there), Role::Listener, &rt, &memory);
    for driver in [client.driver, server.driver] {
        pool.spawner()
            .spawn_local(async { println!("{}", driver.await) })?;
    }

    pool.spawner().spawn_local(async move {
        while let Ok(mut stream) = server.muxer.accept().await {
            let mut question = String::new();
            if stream.read_to_string(&mut question).await.is_ok() {
                let answer = question.to_uppercase();
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.close().await;
            }
        }
    })?;

    pool.run_until(async {
        let mut stream = client.muxer.open().await?;
        stream.write_all(b"hello over there").await?;
        stream.close().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        println!("{answer}");
        client.muxer.close(ErrorCode::NONE);
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    pool.run();
    Ok(())
}
