//! One measurement over a pipe in memory, without a swarm.
//!
//! `cargo run -p p2p-perf --example perf_alone`

use futures::future::try_join;
use p2p_perf::{Config, Pace, PerfError, Plan, Step, exchange, serve};

fn main() -> Result<(), PerfError> {
    let rt = p2p_runtime::default_runtime();
    let pace = Pace {
        rt: rt.clone(),
        config: Config::default(),
    };
    let plan = Plan {
        upload: 64 << 20,
        download: 64 << 20,
    };
    let (mut near, mut far) = p2p_memory::pipe(64 * 1024);
    let start = rt.now();
    let tell = |step| {
        if step == Step::UploadDone {
            println!("64 MiB up after {:?}", rt.now() - start);
        }
    };
    let measured = try_join(
        exchange(&mut near, plan, &pace, tell),
        serve(&mut far, &pace),
    );
    let ((), moved) = p2p_runtime::block_on(measured)?;
    println!("{moved:?} in {:?}", rt.now() - start);
    Ok(())
}
