//! When to stop: Ctrl-C, SIGTERM, the end of stdin.
//!
//! `ctrlc` because it is safe to call, works on Windows too, and brings one small crate; a thread
//! of its own runs the handler, so that it may lock and wake.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::oneshot;

use crate::failure::Failure;

/// The exit code of a program that was interrupted, by convention: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Why to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Signal,
    StdinEnded,
}

impl Stop {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::StdinEnded => "end of stdin",
        }
    }
}

/// Resolves at the first Ctrl-C or SIGTERM, and with `until_eof` at the end of stdin. A second
/// signal ends the process at once. To be called once in a process.
pub(crate) fn stop(until_eof: bool) -> Result<oneshot::Receiver<Stop>, Failure> {
    let (sender, receiver) = oneshot::channel();
    let sender = Arc::new(Mutex::new(Some(sender)));
    let tell = move |why: Stop| {
        let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nobody waits any more: the program is ending anyway.
        sender.map(|sender| sender.send(why));
    };
    let tell_too = tell.clone();
    let again = AtomicBool::new(false);
    let handled = ctrlc::set_handler(move || {
        if again.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED);
        }
        tell(Stop::Signal);
    });
    handled.map_err(|error| {
        Failure::new("cannot wait for Ctrl-C", "start", error)
            .help("this is a fault of the system or of this program")
    })?;
    if until_eof {
        std::thread::spawn(move || {
            let mut ignored = [0; 1024];
            while std::io::stdin()
                .read(&mut ignored)
                .is_ok_and(|read| read > 0)
            {}
            tell_too(Stop::StdinEnded);
        });
    }
    Ok(receiver)
}
