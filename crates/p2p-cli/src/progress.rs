//! How far a transfer is: a bar on a terminal, plain lines elsewhere. Always on stderr.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;
use crate::units;

/// Shorter transfers are over before anybody could look at them, in bytes.
const WORTH_SHOWING: u64 = 4 << 20;
/// Lines printed where there is no terminal.
const LINES: u64 = 4;

/// The progress of one transfer.
pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines {
        output: Output,
        total: u64,
        shown: u64,
    },
    Hidden,
}

impl Progress {
    /// Starts to show a transfer of `total` bytes. With `--json` there is nobody to look.
    pub(crate) fn start(output: Output, total: u64) -> Self {
        if output.is_json() || total < WORTH_SHOWING {
            return Self::Hidden;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines {
                output,
                total,
                shown: 0,
            };
        }
        let bar =
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template(
            "  {bar:40} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}",
        ) {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// So many bytes are done, of all.
    pub(crate) fn set(&mut self, done: u64) {
        match self {
            Self::Bar(bar) => bar.set_position(done),
            Self::Lines {
                output,
                total,
                shown,
            } => {
                let step = *total / LINES;
                while *shown < LINES && done >= (*shown + 1) * step {
                    *shown += 1;
                    let done = units::bytes((*shown * step).min(*total));
                    output.aside(format!("  {done} of {}", units::bytes(*total)));
                }
            }
            Self::Hidden => {}
        }
    }
}

impl Drop for Progress {
    /// Takes the bar away: the line with the result follows.
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
