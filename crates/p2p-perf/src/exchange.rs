//! One measurement over a stream, from both ends.

use std::future::Future;
use std::io;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use p2p_core::Rt;

use crate::{Config, PerfError, Plan};

/// What is read at a time, in bytes.
const READ: usize = 64 * 1024;

/// How far a measurement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes were written.
    Uploaded(u64),
    /// Everything was written, and our side is closed.
    UploadDone,
    /// So many bytes were read.
    Downloaded(u64),
}

/// The clock of a transfer, and its settings.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Tells when nothing has moved for too long.
    pub rt: Rt,
    /// How long that is, and what is written at a time.
    pub config: Config,
}

impl Pace {
    async fn step<T>(&self, work: impl Future<Output = io::Result<T>>) -> Result<T, PerfError> {
        let after = self.config.patience;
        match self.rt.timeout(after, work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(PerfError::Stalled { after }),
        }
    }

    async fn write<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        bytes: u64,
        mut tell: impl FnMut(u64),
    ) -> Result<(), PerfError> {
        let block = vec![0; self.config.write.max(1)];
        let mut written = 0;
        while written < bytes {
            let left = usize::try_from(bytes - written).unwrap_or(usize::MAX);
            let part = block.get(..left).unwrap_or(&block);
            self.step(stream.write_all(part)).await?;
            written += part.len() as u64;
            tell(written);
        }
        Ok(())
    }

    /// Reads to the end, or until it is more than `most`.
    async fn read<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        most: u64,
        mut tell: impl FnMut(u64),
    ) -> Result<u64, PerfError> {
        let mut buffer = vec![0; READ];
        let mut got: u64 = 0;
        loop {
            match self.step(stream.read(&mut buffer)).await? {
                0 => return Ok(got),
                count => got = got.saturating_add(count as u64),
            }
            tell(got);
            if got > most {
                return Ok(got);
            }
        }
    }
}

/// Moves what `plan` says, and calls `tell` as it goes on.
///
/// Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// [`PerfError`] if the stream fails or stalls, or the remote sends something else.
pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    plan: Plan,
    pace: &Pace,
    mut tell: impl FnMut(Step),
) -> Result<(), PerfError> {
    let header = pace.config.form.encode(plan);
    pace.step(stream.write_all(&header)).await?;
    pace.write(stream, plan.upload, |done| tell(Step::Uploaded(done)))
        .await?;
    pace.step(stream.close()).await?;
    if plan.download == 0 {
        // Only the remote's end says that the upload has arrived.
        let got = pace.read(stream, 0, |_| {}).await?;
        tell(Step::UploadDone);
        return whole(0, got);
    }
    tell(Step::UploadDone);
    let got = pace
        .read(stream, plan.download, |done| tell(Step::Downloaded(done)))
        .await?;
    whole(plan.download, got)
}

fn whole(wanted: u64, got: u64) -> Result<(), PerfError> {
    if wanted == got {
        Ok(())
    } else {
        Err(PerfError::Length { wanted, got })
    }
}

/// Answers one measurement; returns what was moved.
///
/// Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// [`PerfError`] if the stream fails or stalls, or the remote asks for too much.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    pace: &Pace,
) -> Result<Plan, PerfError> {
    let mut header = vec![0; pace.config.form.len()];
    pace.step(stream.read_exact(&mut header)).await?;
    let (announced, download) = pace.config.form.decode(&header);
    let max = pace.config.max_bytes;
    if download > max {
        return Err(PerfError::TooMuch {
            wanted: download,
            max,
        });
    }
    let upload = match announced {
        None => pace.read(stream, u64::MAX, |_| {}).await?,
        // Whoever announces the length may keep its side open.
        Some(length) => {
            let mut upload = stream.take(length);
            pace.read(&mut upload, u64::MAX, |_| {}).await?
        }
    };
    pace.write(stream, download, |_| {}).await?;
    pace.step(stream.close()).await?;
    Ok(Plan { upload, download })
}
