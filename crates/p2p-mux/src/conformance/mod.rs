//! What every multiplexer must do.
//!
//! ```text
//!   #[cfg(test)]
//!   mod conformance {
//!       p2p_mux::conformance!(p2p_mux::conformance::Subject {
//!           normal: std::sync::Arc::new(MyMux::default()),
//!           eight: std::sync::Arc::new(MyMux::with_at_most_eight_inbound_streams()),
//!       });
//!   }
//! ```
//!
//! makes one test of each rule. A rule that is broken says which one, where it comes from, and what
//! was seen. [`run_all`] runs them in a loop. Two sessions talk over a link in
//! memory, on one thread, with a clock that moves only when everybody waits: a rule has the same
//! result each time. Only the rule on lost wake-ups uses real threads.

mod clock;
pub mod load;
pub mod machines;
mod pipe;
pub mod rules;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use p2p_core::Multiplex;
use p2p_core::conformance::{Broken, judge};

pub use clock::Clock;
pub use pipe::{Cutter, End, pipe};
pub use rules::RULES;
pub use world::{Pair, Side, Tasks, World, pattern};

/// A multiplexer to check.
#[derive(Clone)]
pub struct Subject {
    /// With its usual settings.
    pub normal: Arc<dyn Multiplex>,
    /// Accepts at most eight streams that the remote opens.
    pub eight: Arc<dyn Multiplex>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.normal.protocol())
    }
}

/// A rule of the suite.
#[derive(Clone, Copy)]
pub struct Rule {
    /// What holds, as a sentence.
    pub name: &'static str,
    /// Who says so: a section of libp2p/specs, or the seam.
    pub spec: &'static str,
    run: fn(&Subject),
}

impl Rule {
    /// Checks the rule.
    ///
    /// # Panics
    /// If `subject` breaks it: with the rule, where it comes from, and what was seen.
    pub fn check(&self, subject: &Subject) {
        self.judge(|| (self.run)(subject));
    }

    /// Runs `check` in the place of the rule: where it panics, the rule is broken.
    ///
    /// # Panics
    /// As [`check`](Self::check).
    pub fn judge(&self, check: impl FnOnce()) {
        let Err(panic) = catch_unwind(AssertUnwindSafe(check)) else {
            return;
        };
        let text = panic.downcast_ref::<String>().cloned();
        let seen = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let Some(seen) = seen else {
            resume_unwind(panic);
        };
        judge(self.name, self.spec, Err(Broken::new(seen)));
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The rule with this name.
///
/// # Panics
/// If there is none.
pub fn rule(name: &str) -> &'static Rule {
    let found = RULES.iter().find(|rule| rule.name == name);
    found.expect("the name of a rule")
}

/// Checks every rule.
///
/// # Panics
/// At the first rule that is broken; its name is printed before it runs.
pub fn run_all(subject: &Subject) {
    for rule in RULES {
        println!("{subject:?}: {rule:?}");
        rule.check(subject);
    }
}

/// Makes one test of each rule in [`conformance::RULES`](crate::conformance::RULES). The argument
/// is an expression of type [`Subject`].
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance!(
            $subject;
            a_cancelled_accept_loses_no_stream
            a_close_of_the_connection_delivers_what_was_written
            a_close_of_the_connection_never_hangs
            a_dropped_driver_ends_everything
            a_dropped_open_stream_is_reset
            a_lost_link_reaches_everybody
            a_refused_stream_leaves_the_connection_open
            a_reset_by_the_acceptor_reaches_both_ends
            a_reset_by_the_opener_reaches_both_ends
            a_reset_interrupts_a_blocked_writer
            a_slow_reader_harms_only_itself
            a_stopped_reader_stops_its_writer_and_memory_stays_bounded
            a_stream_carries_bytes_both_ways
            an_open_after_the_remote_closed_fails
            both_sides_open_at_once
            close_then_drop_delivers_everything
            either_end_may_close_first
            many_streams_at_once
            no_wake_up_is_lost_between_threads
            nothing_is_left_when_all_streams_are_done
            split_halves_carry_64_mib_both_ways_at_once
            writing_after_close_is_a_broken_pipe
        );
    };
    ($subject:expr; $($rule:ident)*) => {
        $(#[test]
        fn $rule() {
            $crate::conformance::rule(stringify!($rule)).check(&$subject);
        })*

        #[test]
        fn every_rule_has_its_test() {
            let tested = [$(stringify!($rule)),*];
            let rules = $crate::conformance::RULES.iter().map(|rule| rule.name);
            assert!(rules.eq(tested), "the macro lists all rules");
        }
    };
}
