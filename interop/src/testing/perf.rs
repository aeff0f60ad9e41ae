//! `/perf/1.0.0`, as the specification has it and as some official test applications have it.

use std::{
    io,
    time::{Duration, Instant},
};

use futures::{AsyncReadExt, AsyncWriteExt};
use p2p::{Connection, Host, Protocol, Stream};

use super::{TestingError, millis, setup::Setup, stats::section};
use crate::node::NodeError;

const PERF: &str = "/perf/1.0.0";
const BLOCK: usize = 64 * 1024;

/// What a perf request starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Compat {
    /// How much the dialer wants, in 8 bytes; its upload ends with its stream. The specification.
    Spec,
    /// How much it uploads and how much it wants, in 8 bytes each: the test applications of
    /// rust-libp2p 0.56 and dotnet-libp2p.
    Ut16,
}

/// Answers perf requests.
pub(super) fn serve(host: &Host, compat: Compat) -> Result<(), NodeError> {
    host.handle(PERF, move |stream| answer(stream, compat))?;
    Ok(())
}

async fn answer(mut stream: Stream, compat: Compat) -> io::Result<()> {
    let upload = match compat {
        Compat::Spec => u64::MAX,
        Compat::Ut16 => read_number(&mut stream).await?,
    };
    let wanted = read_number(&mut stream).await?;
    read_up_to(&mut stream, upload).await?;
    write(&mut stream, wanted).await?;
    stream.close().await
}

/// All three measurements, as YAML.
pub(super) async fn measure(
    connection: &Connection,
    setup: &Setup,
    compat: Compat,
) -> Result<String, TestingError> {
    let mut text = String::from("# Measurements from dialer\n");
    for (name, upload, download, iterations) in [
        ("upload", setup.upload_bytes, 0, setup.upload_iterations),
        (
            "download",
            0,
            setup.download_bytes,
            setup.download_iterations,
        ),
    ] {
        let mut samples = Vec::new();
        for _ in 0..iterations {
            let took = request(connection, upload, download, compat).await?;
            samples.push(gigabits(upload + download, took));
        }
        eprintln!("{name}: done");
        text.push_str(&section(name, &samples, "Gbps", 2));
    }
    let mut samples = Vec::new();
    for _ in 0..setup.latency_iterations {
        samples.push(millis(request(connection, 1, 1, compat).await?));
    }
    text.push_str(&section("latency", &samples, "ms", 3));
    Ok(text)
}

/// One request on a stream of its own; returns how long it took.
async fn request(
    connection: &Connection,
    upload: u64,
    download: u64,
    compat: Compat,
) -> Result<Duration, TestingError> {
    let started = Instant::now();
    let mut stream = connection.open(&Protocol::from_static(PERF)).await?;
    if compat == Compat::Ut16 {
        stream.write_all(&upload.to_be_bytes()).await?;
    }
    stream.write_all(&download.to_be_bytes()).await?;
    write(&mut stream, upload).await?;
    stream.close().await?;
    let received = read_up_to(&mut stream, u64::MAX).await?;
    if received != download {
        let text = format!("asked for {download} bytes, got {received}");
        return Err(io::Error::other(text).into());
    }
    Ok(started.elapsed())
}

async fn read_number(stream: &mut Stream) -> io::Result<u64> {
    let mut number = [0; 8];
    stream.read_exact(&mut number).await?;
    Ok(u64::from_be_bytes(number))
}

/// Reads to the end or to `limit`; returns how many bytes there were.
async fn read_up_to(stream: &mut Stream, limit: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut received = 0;
    while received < limit {
        let room = usize::try_from(limit - received).map_or(BLOCK, |left| left.min(BLOCK));
        let Some(place) = block.get_mut(..room) else {
            break;
        };
        match stream.read(place).await? {
            0 => break,
            read => received += read as u64,
        }
    }
    Ok(received)
}

async fn write(stream: &mut Stream, len: u64) -> io::Result<()> {
    let block = vec![0; BLOCK];
    let mut left = len;
    while left > 0 {
        let size = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        stream
            .write_all(block.get(..size).unwrap_or(&block))
            .await?;
        left = left.saturating_sub(size as u64);
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a measurement has not so many digits"
)]
fn gigabits(bytes: u64, took: Duration) -> f64 {
    bytes as f64 * 8.0 / 1e9 / took.as_secs_f64().max(f64::MIN_POSITIVE)
}
