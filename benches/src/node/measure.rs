//! Clock, CPU time, memory and percentiles.
#![expect(
    clippy::disallowed_methods,
    reason = "measures how long things take between real processes"
)]

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// `USER_HZ`: 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// The clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// CPU seconds that a process has used; zero where the system does not tell.
pub(crate) fn cpu_seconds(pid: Option<u32>) -> f64 {
    let of = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let text = fs::read_to_string(format!("/proc/{of}/stat")).unwrap_or_default();
    // The name may hold spaces; what follows its bracket does not.
    let fields: Vec<&str> = match text.rsplit_once(')') {
        Some((_, rest)) => rest.split_whitespace().collect(),
        None => return 0.0,
    };
    let ticks = |at: usize| -> f64 {
        let field = fields.get(at).and_then(|field| field.parse().ok());
        field.unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / TICKS
}

/// A line of `/proc/PID/status` in bytes, such as `RssAnon` or `VmHWM`.
pub(crate) fn memory(pid: Option<u32>, line: &str) -> u64 {
    let of = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let text = fs::read_to_string(format!("/proc/{of}/status")).unwrap_or_default();
    let found = text.lines().find_map(|found| {
        let rest = found.strip_prefix(line)?.strip_prefix(':')?;
        rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    found.unwrap_or(0) * 1024
}

/// CPU time and wall time of both ends, from a start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    started: Instant,
    listener: Option<u32>,
    cpu_dialer: f64,
    cpu_listener: f64,
}

/// What a [`Meter`] has counted, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// On the clock.
    pub(crate) wall: f64,
    /// CPU of this process.
    pub(crate) dialer: f64,
    /// CPU of the listener; zero if it is this process.
    pub(crate) listener: f64,
}

impl Meter {
    /// Starts to count. `listener`: its process, if it is another one.
    pub(crate) fn start(listener: Option<u32>) -> Self {
        Self {
            cpu_dialer: cpu_seconds(None),
            cpu_listener: listener.map_or(0.0, |pid| cpu_seconds(Some(pid))),
            listener,
            started: now(),
        }
    }

    /// What was used since the start.
    pub(crate) fn read(&self) -> Reading {
        let wall = self.started.elapsed().as_secs_f64();
        let listener = self.listener.map_or(0.0, |pid| cpu_seconds(Some(pid)));
        Reading {
            wall,
            dialer: cpu_seconds(None) - self.cpu_dialer,
            listener: listener - self.cpu_listener,
        }
    }
}

impl Reading {
    /// CPU of both ends.
    pub(crate) fn cpu(&self) -> f64 {
        self.dialer + self.listener
    }
}

/// Percentiles of `samples`, in microseconds.
pub(crate) fn percentiles(samples: &mut [Duration]) -> Value {
    samples.sort_unstable();
    let at = |share: f64| -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index of a short list"
        )]
        let index = (samples.len() as f64 * share) as usize;
        let sample = samples.get(index.min(samples.len().saturating_sub(1)));
        round(sample.map_or(0.0, |sample| sample.as_secs_f64() * 1e6))
    };
    json!({ "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99) })
}

/// Four significant digits are more than a run repeats.
pub(crate) fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 4.0 - value.abs().log10().ceil();
    let scale = 10f64.powf(digits);
    (value * scale).round() / scale
}
