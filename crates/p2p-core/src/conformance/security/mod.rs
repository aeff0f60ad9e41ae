//! What every secure channel must do.
//!
//! ```text
//!   use p2p_core::conformance::security::{Party, Subject};
//!
//!   fn subject() -> Subject {
//!       Subject::new(|| {
//!           let identity = Keypair::generate_ed25519();
//!           Party::new(MyChannel::new(&identity), identity.to_peer_id())
//!       })
//!   }
//!   p2p_core::security_conformance!(subject());
//! ```
//!
//! makes one test of each rule. Both ends run on one thread over a link in memory that records,
//! changes and cuts what passes: a rule has the same result each time, as far as the channel's
//! own randomness allows. A channel that [says](Security::is_secure) that it is not secure is
//! held to what remains.

mod rules;
mod wire;

use std::fmt;
use std::sync::Arc;

use super::{Verdict, judge};
use crate::{PeerId, Security};

pub use rules::RULES;

/// A secure channel to check.
#[derive(Clone)]
pub struct Subject {
    make: Arc<dyn Fn() -> Party + Send + Sync>,
    early_muxers: bool,
}

/// One peer with the channel.
#[derive(Clone, Debug)]
pub struct Party {
    /// The channel.
    pub security: Arc<dyn Security>,
    /// Who it is.
    pub peer: PeerId,
}

impl Party {
    /// The peer `peer` with its channel.
    pub fn new(security: impl Security, peer: PeerId) -> Self {
        Self {
            security: Arc::new(security),
            peer,
        }
    }
}

impl Subject {
    /// The channel of the peers that `make` makes, a new peer with each call.
    pub fn new(make: impl Fn() -> Party + Send + Sync + 'static) -> Self {
        Self {
            make: Arc::new(make),
            early_muxers: true,
        }
    }

    /// It cannot agree on a multiplexer inside its handshake.
    pub fn without_early_muxers(mut self) -> Self {
        self.early_muxers = false;
        self
    }

    fn party(&self) -> Party {
        (self.make)()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.party().security.protocol())
    }
}

/// A rule of the suite.
#[derive(Clone, Copy)]
pub struct Rule {
    /// What holds, as a sentence.
    pub name: &'static str,
    /// Who says so: a section of libp2p/specs, or the seam.
    pub spec: &'static str,
    run: fn(&Subject) -> Verdict,
}

impl Rule {
    /// Checks the rule.
    ///
    /// # Panics
    /// If `subject` breaks it: with the rule, where it comes from, and what was seen.
    pub fn check(&self, subject: &Subject) {
        judge(self.name, self.spec, (self.run)(subject));
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

/// Makes one test of each rule in [`conformance::security::RULES`](crate::conformance::security).
/// The argument is an expression of type [`Subject`].
#[macro_export]
macro_rules! security_conformance {
    ($subject:expr) => {
        $crate::security_conformance!(
            $subject;
            a_changed_handshake_joins_nobody_else
            a_changed_record_is_noticed
            a_close_ends_one_direction_cleanly
            a_dropped_channel_reaches_the_other_end
            a_handshake_cut_anywhere_fails
            a_handshake_that_stalls_can_be_dropped
            a_narrow_link_is_wide_enough
            a_stopped_reader_stops_its_writer
            a_wrong_peer_is_refused
            both_directions_carry_much_at_once
            bytes_of_any_number_arrive
            each_end_learns_who_the_other_is
            nonsense_is_refused_and_not_hoarded
            nothing_is_sent_in_clear
            the_first_muxer_of_the_dialer_that_both_have_is_used
        );
    };
    ($subject:expr; $($rule:ident)*) => {
        $(#[test]
        fn $rule() {
            $crate::conformance::security::rule(stringify!($rule)).check(&$subject);
        })*

        #[test]
        fn every_rule_has_its_test() {
            let tested = [$(stringify!($rule)),*];
            let rules = $crate::conformance::security::RULES.iter().map(|rule| rule.name);
            assert!(rules.eq(tested), "the macro lists all rules");
        }
    };
}
