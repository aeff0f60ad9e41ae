//! Connects [`Liveness`] to a stream and a clock.

use std::io;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use p2p_core::{Elapsed, Rt};

use crate::error::EchoError;
use crate::liveness::{Liveness, Output};
use crate::wire::SIZE;

/// Why [`drive`] ended. The stream is of no use any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// An echo did not come in time. Go on with a new stream.
    #[error("no echo in time")]
    Abandoned,
    /// Too many echoes in a row did not come in time.
    #[error("the remote stopped answering")]
    Dead,
    /// The remote sent what was not asked for.
    #[error(transparent)]
    Echo(#[from] EchoError),
    /// The remote ended or reset the stream, or its connection ended. Go on with a new stream.
    #[error("stream ended: {0}")]
    Stream(#[from] io::Error),
}

/// Runs `machine` over `stream` until one of them ends; the result says why.
///
/// Cancel-safe: dropping the future drops the stream and nothing else.
pub async fn drive(
    machine: &mut Liveness,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    rt: &Rt,
    mut on_rtt: impl FnMut(Duration),
) -> Ended {
    let (mut echo, mut filled) = ([0; SIZE], 0);
    loop {
        let mut ping = None;
        while let Some(output) = machine.poll_output() {
            match output {
                Output::Abandon => return Ended::Abandoned,
                Output::Dead => return Ended::Dead,
                Output::Ping(payload) => ping = Some(payload),
                Output::Rtt(rtt) => on_rtt(rtt),
            }
        }
        let Some(wake) = machine.poll_timeout() else {
            return Ended::Dead;
        };
        // A write that is cut off by the deadline is not resumed: the stream is abandoned.
        let step = async {
            if let Some(payload) = ping {
                stream.write_all(&payload).await?;
                stream.flush().await?;
            }
            // `read`, not `read_exact`: when the timer wins, the read is dropped, and
            // `read_exact` would lose the bytes it already holds.
            let room = echo.get_mut(filled..).unwrap_or_default();
            stream.read(room).await
        };
        match rt.timeout_at(wake, step).await {
            Err(Elapsed) => machine.handle_timeout(rt.now(), rt.random()),
            Ok(Err(error)) => return Ended::Stream(error),
            Ok(Ok(0)) => return Ended::Stream(io::ErrorKind::UnexpectedEof.into()),
            Ok(Ok(read)) => filled += read,
        }
        if filled == SIZE {
            filled = 0;
            if let Err(error) = machine.handle_echo(&echo, rt.now()) {
                return Ended::Echo(error);
            }
        }
    }
}
