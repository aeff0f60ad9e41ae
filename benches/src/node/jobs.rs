//! From flags to the job, and from the job to a line of JSON.

use serde_json::{Value, json};

use super::args::{Dial, Job, Options};
use super::measure::{memory, round};
use super::{Node, Result, idle, requests, transfer};

/// Serves until the process ends; says where on standard output.
///
/// # Errors
/// If the stack cannot listen.
pub(crate) async fn listen<N: Node>(options: &Options) -> Result<std::convert::Infallible> {
    let node = N::start(options).await?;
    let listening = node
        .listen(&options.addr, usize::try_from(options.chunk)?)
        .await?;
    println!(
        "{}",
        json!({ "listening": listening, "pid": std::process::id() })
    );
    futures::future::pending().await
}

/// Runs the job.
///
/// # Errors
/// If anything fails: half a measurement is none.
pub(crate) async fn dial<N: Node>(dial: &Dial) -> Result<Value> {
    let node = N::start(&dial.options).await?;
    let mut result = match dial.job {
        Job::Bulk => transfer::bulk(&node, dial).await,
        Job::Conn => requests::conn(&node, dial).await,
        Job::Rpc => requests::rpc(&node, dial).await,
        Job::Pingpong => requests::pingpong(&node, dial).await,
        Job::FirstByte => requests::first_byte_job(&node, dial).await,
        Job::IdleConns => idle::conns(&node, dial).await,
        Job::IdleStreams => idle::streams(&node, dial).await,
    }?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let mib = |pid| round(memory(pid, "VmHWM") as f64 / f64::from(1 << 20));
    if let Some(fields) = result.as_object_mut() {
        fields.insert("dialer_peak_mib".into(), mib(None).into());
        if let Some(pid) = dial.listener_pid {
            fields.insert("listener_peak_mib".into(), mib(Some(pid)).into());
        }
    }
    Ok(result)
}
