//! Perf on a swarm.

use std::time::Duration;

use p2p_core::Rt;
use p2p_swarm::{Connection, HandleError, HandlerOptions, Swarm};

use crate::exchange::{Pace, Step, exchange, serve};
use crate::{Config, PROTOCOL, PerfError, Plan};

/// Measures how fast bytes move. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Perf {
    pace: Pace,
}

/// How long a measurement took, from our side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was moved.
    pub plan: Plan,
    /// From opening the stream to the end of the upload; where nothing is downloaded, until the
    /// remote has read all of it.
    pub upload_took: Duration,
    /// From there to the last byte.
    pub download_took: Duration,
}

impl Perf {
    /// Measures, and does not answer.
    pub fn client(rt: Rt, config: Config) -> Self {
        Self {
            pace: Pace { rt, config },
        }
    }

    /// Measures, and answers whoever asks: anyone connected can make this node send
    /// [`Config::max_bytes`] again and again.
    ///
    /// # Errors
    /// [`HandleError`] if the protocol has a handler already.
    pub fn serve(swarm: &Swarm, config: Config) -> Result<Self, HandleError> {
        let perf = Self::client(Rt::clone(swarm.rt()), config);
        let pace = perf.pace.clone();
        let max = pace.config.max_streams;
        let answer = move |mut stream: p2p_swarm::Stream| {
            let pace = pace.clone();
            async move { serve(&mut stream, &pace).await.map(drop) }
        };
        swarm.handle_with(PROTOCOL, HandlerOptions::default().max_streams(max), answer)?;
        Ok(perf)
    }

    /// Moves what `plan` says over `connection`, and calls `tell` as it goes on.
    ///
    /// Cancel-safe: a dropped measurement resets its stream.
    ///
    /// # Errors
    /// See [`PerfError`].
    pub async fn measure(
        &self,
        connection: &Connection,
        plan: Plan,
        mut tell: impl FnMut(Step),
    ) -> Result<Report, PerfError> {
        let rt = &self.pace.rt;
        let start = rt.now();
        let mut uploaded = start;
        let mut stream = connection.open(&PROTOCOL).await?;
        let note = |step| {
            if step == Step::UploadDone {
                uploaded = rt.now();
            }
            tell(step);
        };
        exchange(&mut stream, plan, &self.pace, note).await?;
        Ok(Report {
            plan,
            upload_took: uploaded - start,
            download_took: rt.now() - uploaded,
        })
    }
}
