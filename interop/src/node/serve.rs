//! What a peer serves, in both roles: echo, perf, and `play`, where the first byte says what to do.

use std::time::Duration;

use futures::channel::mpsc::Receiver;
use futures::lock::Mutex;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future, io};
use p2p::{ConnectionEnd, ErrorCode, Host, Stream, StreamReset, WeakSwarm};
use serde_json::{Value, json};
use std::sync::Arc;

use super::error::NodeError;
use super::pattern;
use super::report::{Reports, event};

pub(super) const ECHO: &str = "/p2p-interop/echo/1.0.0";
pub(super) const PERF: &str = "/perf/1.0.0";
pub(super) const PLAY: &str = "/p2p-interop/play/1.0.0";
/// Served only once somebody asked for it, to see that the change is told.
pub(super) const ADDED: &str = "/p2p-interop/added/1.0.0";

/// What is sent in either direction by a stream that says something.
pub(super) const SAID: u64 = 1000;
/// Connections that end before [`play::EXIT`] ends the program: the remote's two closes.
const ENDS: usize = 2;
/// How long [`play::EXIT`] waits for them.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// The first byte of a `play` stream.
pub(super) mod play {
    /// Reads to the end, then writes and ends.
    pub(in super::super) const AFTER: u8 = b'a';
    /// Writes and ends at once, then reads to the end.
    pub(in super::super) const FIRST: u8 = b'f';
    /// Ends at once without a byte, then reads to the end.
    pub(in super::super) const NOTHING: u8 = b'n';
    /// Writes one byte, then reads until the stream is reset.
    pub(in super::super) const WAIT: u8 = b'w';
    /// Reads four bytes, and resets the stream with them as the code.
    pub(in super::super) const RESET: u8 = b'r';
    /// Adds [`super::ADDED`] to what is served, then ends.
    pub(in super::super) const PUSH: u8 = b'p';
    /// Closes the connection in order.
    pub(in super::super) const QUIT: u8 = b'q';
    /// Leaves the program without a word, once the earlier connections have ended.
    pub(in super::super) const EXIT: u8 = b'x';
}

/// The ends of connections, for the first who needs them.
type Ends = Arc<Mutex<Option<Receiver<ConnectionEnd>>>>;

/// Answers what the tests ask for; ping and identify come with the host.
pub(super) fn serve(host: &Host, reports: &Reports) -> Result<(), NodeError> {
    host.handle(ECHO, serve_echo)?;
    host.handle(PERF, serve_transfer)?;
    let swarm = host.swarm().downgrade();
    let ends: Ends = Arc::new(Mutex::new(None));
    let reports = reports.clone();
    host.handle(PLAY, move |stream| {
        serve_play(stream, swarm.clone(), reports.clone(), Arc::clone(&ends))
    })?;
    Ok(())
}

async fn serve_echo(stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    io::copy(reader, &mut writer).await?;
    writer.close().await
}

async fn serve_transfer(mut stream: Stream) -> io::Result<()> {
    let mut size = [0; 8];
    stream.read_exact(&mut size).await?;
    let received = pattern::read(&mut stream).await?;
    event("transfer", json!({ "received": received }));
    pattern::write(&mut stream, u64::from_be_bytes(size)).await?;
    stream.close().await
}

async fn serve_play(
    mut stream: Stream,
    swarm: WeakSwarm,
    reports: Reports,
    ends: Ends,
) -> io::Result<()> {
    let mut command = [0];
    stream.read_exact(&mut command).await?;
    let [command] = command;
    match command {
        play::AFTER => {
            let received = pattern::read(&mut stream).await?;
            report_end(command, received);
            pattern::write(&mut stream, SAID).await?;
            stream.close().await
        }
        play::FIRST => end_first(stream, command, SAID).await,
        play::NOTHING => end_first(stream, command, 0).await,
        play::WAIT => {
            stream.write_all(&[command]).await?;
            stream.flush().await?;
            event("reset", saw(&mut stream).await);
            Ok(())
        }
        play::RESET => {
            let mut code = [0; 4];
            stream.read_exact(&mut code).await?;
            stream.reset(ErrorCode(u32::from_be_bytes(code)));
            Ok(())
        }
        play::PUSH => {
            let swarm = swarm.upgrade().ok_or(io::ErrorKind::NotConnected)?;
            swarm.handle(ADDED, serve_echo).map_err(io::Error::other)?;
            stream.close().await
        }
        play::QUIT => {
            stream.connection().close(ErrorCode::SHUTDOWN);
            Ok(())
        }
        play::EXIT => {
            let rt = stream.connection().rt().clone();
            let mut ends = ends.lock().await;
            let ends = ends.get_or_insert_with(|| reports.ends().unwrap_or_else(closed));
            let enough = ends.take(ENDS).collect::<Vec<_>>();
            // What is missing after that, the runner misses too.
            let _ = rt.timeout(ENDS_WITHIN, enough).await;
            leave();
        }
        other => Err(io::Error::other(format!("no such play: {other}"))),
    }
}

/// Ends the program, but not in the middle of a line that another thread prints.
fn leave() -> ! {
    let _nobody_prints = std::io::stdout().lock();
    std::process::exit(0)
}

/// A receiver of nothing.
fn closed() -> Receiver<ConnectionEnd> {
    futures::channel::mpsc::channel(0).1
}

async fn end_first(stream: Stream, command: u8, len: u64) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let write = async {
        pattern::write(&mut writer, len).await?;
        writer.close().await
    };
    let ((), received) = future::try_join(write, pattern::read(&mut reader)).await?;
    report_end(command, received);
    Ok(())
}

fn report_end(command: u8, received: u64) {
    let order = char::from(command).to_string();
    event("ended", json!({ "order": order, "received": received }));
}

/// How a stream ends that should be reset: the kind of end, and the code if it is told.
pub(super) async fn saw(stream: &mut Stream) -> Value {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest).await {
        Ok(_) => json!({ "saw": "end" }),
        Err(error) => match StreamReset::of(&error) {
            Some(reset) => json!({ "saw": "reset", "code": reset.code.0 }),
            None => json!({ "saw": error.to_string() }),
        },
    }
}
