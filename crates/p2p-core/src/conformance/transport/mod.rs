//! What every transport must do.
//!
//! ```text
//!   use p2p_core::conformance::transport::{Party, Subject};
//!
//!   fn subject() -> Subject {
//!       let rt = p2p_runtime::default_runtime();
//!       Subject::new(rt, "/ip4/127.0.0.1/tcp/0", |rt| Party::raw(MyTransport::new(rt)))
//!   }
//!   p2p_core::transport_conformance!(subject(), p2p_runtime::block_on);
//! ```
//!
//! makes one test of each rule, and of all rules together one for each further runtime:
//!
//! ```text
//!   p2p_core::transport_conformance_on! {
//!       every_rule_holds_on_smol: subject(Smol::new()), Smol::block_on;
//!   }
//! ```
//!
//! In a simulation there is one subject for each simulation:
//!
//! ```text
//!   for rule in transport::RULES {
//!       let sim = Sim::new(1);
//!       let (near, far) = (sim.host("near"), sim.host("far"));
//!       let subject = Subject::new(near.rt(), "/ip4/10.0.0.2/tcp/4001", make).between(near.rt(), far.rt());
//!       sim.block_on(rule.check(&subject));
//!   }
//! ```
//!
//! Links that the transport secures and multiplexes itself ([`Link::Muxed`](crate::Link)) pass the
//! same rules with one of their streams in the place of the link, and two more.

mod rules;
mod strangers;
mod world;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::{Verdict, judge};
use crate::{Multiaddr, PeerId, Rt, Transport};

pub use rules::RULES;

/// A transport to check.
#[derive(Clone)]
pub struct Subject {
    near: Rt,
    far: Rt,
    listen: Multiaddr,
    make: Arc<dyn Fn(Rt) -> Party + Send + Sync>,
    half_close: bool,
    patience: Duration,
}

/// One node with the transport.
#[derive(Clone, Debug)]
pub struct Party {
    /// The transport.
    pub transport: Arc<dyn Transport>,
    /// Who it is, if the transport secures its links itself.
    pub peer: Option<PeerId>,
}

impl Party {
    /// A node whose links are bytes only.
    pub fn raw(transport: impl Transport) -> Self {
        Self {
            transport: Arc::new(transport),
            peer: None,
        }
    }

    /// A node whose transport proves that it is `peer`.
    pub fn secured(transport: impl Transport, peer: PeerId) -> Self {
        Self {
            transport: Arc::new(transport),
            peer: Some(peer),
        }
    }
}

impl Subject {
    /// The transport that `make` makes on a runtime, a new node with each call. `listen` is where
    /// it listens; its port should be 0, or free.
    ///
    /// # Panics
    /// If `listen` is not an address.
    pub fn new(rt: Rt, listen: &str, make: impl Fn(Rt) -> Party + Send + Sync + 'static) -> Self {
        Self {
            near: rt.clone(),
            far: rt,
            listen: listen.parse().expect("an address to listen on"),
            make: Arc::new(make),
            half_close: true,
            patience: Duration::from_secs(60),
        }
    }

    /// Listens at `listen` instead: for addresses that have no text.
    pub fn at(mut self, listen: Multiaddr) -> Self {
        self.listen = listen;
        self
    }

    /// Dials from one runtime and listens on the other: two hosts of a simulation.
    pub fn between(mut self, near: Rt, far: Rt) -> Self {
        self.near = near;
        self.far = far;
        self
    }

    /// Its links cannot end in one direction alone, as those of WebSocket cannot.
    pub fn without_half_close(mut self) -> Self {
        self.half_close = false;
        self
    }

    /// How long a rule may take before it counts as hanging. Default: 60 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the transport that listens on {}", self.listen)
    }
}

/// A rule of the suite.
#[derive(Clone, Copy)]
pub struct Rule {
    /// What holds, as a sentence.
    pub name: &'static str,
    /// Who says so: a section of libp2p/specs, or the seam.
    pub spec: &'static str,
    run: fn(Subject) -> BoxFuture<'static, Verdict>,
}

impl Rule {
    /// Checks the rule, on the runtime of the subject.
    ///
    /// Not cancel-safe: sockets that strangers opened are closed later.
    ///
    /// # Panics
    /// If `subject` breaks it: with the rule, where it comes from, and what was seen.
    pub async fn check(&self, subject: &Subject) {
        judge(self.name, self.spec, self.verdict(subject).await);
    }

    async fn verdict(&self, subject: &Subject) -> Verdict {
        let patience = subject.patience;
        let run = (self.run)(subject.clone());
        match subject.near.timeout(patience, run).await {
            Ok(verdict) => verdict,
            Err(_) => Err(super::Broken::new(format!("nothing for {patience:?}"))),
        }
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

/// Checks every rule on one subject; the name of each is printed before it runs.
///
/// Not cancel-safe, as [`Rule::check`].
///
/// # Panics
/// At the first rule that is broken.
pub async fn check_all(subject: &Subject) {
    for rule in RULES {
        println!("{subject:?}: {rule:?}");
        rule.check(subject).await;
    }
}

/// Makes a test for each runtime that checks all rules on it, for a transport that also has one
/// test of each rule. The [`Subject`] is made within what runs the future.
#[macro_export]
macro_rules! transport_conformance_on {
    ($($name:ident: $subject:expr, $block_on:expr;)*) => {
        $(#[test]
        fn $name() {
            ($block_on)(async {
                $crate::conformance::transport::check_all(&$subject).await;
            });
        })*
    };
}

/// Makes one test of each rule in [`conformance::transport::RULES`](crate::conformance::transport).
/// The first argument is an expression of type [`Subject`], the second what runs a future to its
/// end.
#[macro_export]
macro_rules! transport_conformance {
    ($subject:expr, $block_on:expr) => {
        $crate::transport_conformance!(
            $subject, $block_on;
            a_close_delivers_what_was_written
            a_connection_carries_bytes_both_ways
            a_dial_given_up_leaves_the_listener_working
            a_dial_to_nobody_fails_and_names_the_address
            a_dial_to_silence_ends_when_it_is_given_up
            a_dial_to_something_else_does_not_hang
            a_dropped_accept_loses_no_connection
            a_dropped_end_reaches_the_other_one
            a_dropped_listener_frees_its_address_and_keeps_its_connections
            a_half_close_ends_one_direction_only
            a_peer_behind_an_address_is_no_obstacle
            a_reset_is_not_a_clean_end
            a_slow_reader_loses_nothing
            a_stopped_reader_stops_its_writer
            a_stream_dropped_behind_its_end_is_no_reset
            a_stranger_is_not_read_for_ever
            a_taken_address_is_refused
            a_wrong_peer_is_refused
            addresses_are_those_of_the_connection
            both_directions_carry_much_at_once
            connections_of_several_listeners_do_not_mix
            huge_and_tiny_writes_are_one_stream_of_bytes
            many_dials_at_once_all_arrive
            nothing_is_left_when_all_is_dropped
            other_kinds_of_addresses_are_unsupported
            silent_strangers_delay_nobody
        );
    };
    ($subject:expr, $block_on:expr; $($rule:ident)*) => {
        $(#[test]
        fn $rule() {
            let subject = $subject;
            let rule = $crate::conformance::transport::rule(stringify!($rule));
            ($block_on)(rule.check(&subject));
        })*

        #[test]
        fn every_rule_has_its_test() {
            let tested = [$(stringify!($rule)),*];
            let rules = $crate::conformance::transport::RULES.iter().map(|rule| rule.name);
            assert!(rules.eq(tested), "the macro lists all rules");
        }
    };
}
