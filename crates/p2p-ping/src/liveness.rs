//! Notices that a connection is dead.
//!
//! Asks for a ping every [`Config::interval`] and gives the remote [`Config::patience`] to echo
//! it. Gives up after [`Config::max_missed`] silent pings in a row.
//!
//! ```text
//!          due: ping
//!   Idle ---------------> Waiting ---- patience over: abandon, missed + 1
//!    ^                     |   |                          |           |
//!    |   echo: missed = 0  |   |             < max_missed |           | = max_missed
//!    +---------------------+   +--> stream ended:         v           v
//!    +-------------------------------- missed = 0       Idle, due    Dead (final)
//! ```
//!
//! A silent ping is abandoned with its stream: a late echo cannot be taken for the next one, and
//! a remote that only forgot the stream gets another chance. A stream that the remote ends or
//! resets is a sign of life; the next ping takes its time and a new stream.

use std::collections::VecDeque;
use std::time::Duration;

use p2p_core::Instant;

use crate::config::Config;
use crate::error::EchoError;
use crate::wire::Payload;

/// The schedule of pings on one connection. Pure.
#[derive(Debug)]
pub struct Liveness {
    interval: Duration,
    patience: Duration,
    max_missed: u8,
    state: State,
    /// Silent pings in a row. Invariant: below `max_missed` unless dead.
    missed: u8,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing in flight.
    Idle { due: Instant },
    /// One ping in flight.
    Waiting { payload: Payload, sent: Instant },
    /// Given up; nothing leaves this state.
    Dead,
}

/// What the owner must do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Drop the stream: its echo did not come in time.
    Abandon,
    /// The connection is dead. The last output.
    Dead,
    /// Send this ping.
    Ping(Payload),
    /// An echo came after this time.
    Rtt(Duration),
}

impl Liveness {
    /// Starts the schedule at `now`: the first ping is due one interval later.
    pub fn new(config: &Config, now: Instant) -> Self {
        Self {
            interval: config.interval,
            patience: config.patience,
            max_missed: config.max_missed.get(),
            state: State::Idle {
                due: now + config.interval,
            },
            missed: 0,
            outputs: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            // Between two pings there is nothing to keep room for.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When to call [`Liveness::handle_timeout`] next; `None` once dead.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Idle { due } => Some(due),
            State::Waiting { sent, .. } => Some(sent + self.patience),
            State::Dead => None,
        }
    }

    /// Whether a ping is in flight, or among the outputs.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Moves the schedule to `now`. Early calls are harmless. `fresh` are random bytes for the
    /// ping that may be due.
    pub fn handle_timeout(&mut self, now: Instant, fresh: Payload) {
        self.state = match self.state {
            State::Idle { due } if now >= due => self.send(now, fresh),
            State::Waiting { sent, .. } if now >= sent + self.patience => self.miss(now),
            early @ (State::Idle { .. } | State::Waiting { .. } | State::Dead) => early,
        };
    }

    /// Takes an echo that arrived at `now`.
    ///
    /// # Errors
    /// [`EchoError`] if no such ping is in flight. The schedule is unchanged.
    pub fn handle_echo(&mut self, echo: &Payload, now: Instant) -> Result<(), EchoError> {
        match self.state {
            State::Waiting { payload, sent } if payload == *echo => {
                self.missed = 0;
                self.outputs.push_back(Output::Rtt(now - sent));
                self.state = self.rest(now);
                Ok(())
            }
            State::Idle { .. } | State::Waiting { .. } | State::Dead => Err(EchoError),
        }
    }

    /// Takes note that the remote ended or reset the stream, with or without a ping in flight.
    pub fn handle_stream_end(&mut self, now: Instant) {
        if let State::Waiting { .. } = self.state {
            self.missed = 0;
            self.state = self.rest(now);
        }
    }

    fn send(&mut self, now: Instant, payload: Payload) -> State {
        self.outputs.push_back(Output::Ping(payload));
        State::Waiting { payload, sent: now }
    }

    fn miss(&mut self, now: Instant) -> State {
        self.missed += 1;
        if self.missed >= self.max_missed {
            self.outputs.push_back(Output::Dead);
            return State::Dead;
        }
        self.outputs.push_back(Output::Abandon);
        State::Idle { due: now }
    }

    fn rest(&self, now: Instant) -> State {
        State::Idle {
            due: now + self.interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRESH: Payload = [7; 32];

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn three_silent_pings_end_the_connection_after_75_seconds() {
        let mut machine = Liveness::new(&Config::default(), Instant::ZERO);

        let (pings, died) = run_in_silence(&mut machine);

        assert_eq!(pings, 3);
        assert_eq!(died - Instant::ZERO, secs(15 + 3 * 20));
        assert_eq!(machine.poll_timeout(), None);
    }

    #[test]
    fn an_echo_is_a_round_trip_and_forgives_what_was_missed() {
        let mut machine = Liveness::new(&Config::default(), Instant::ZERO);
        let due = machine.poll_timeout().unwrap();
        machine.handle_timeout(due, FRESH);
        machine.handle_timeout(due + secs(20), FRESH);
        machine.handle_timeout(due + secs(20), FRESH);
        let sent = due + secs(20);
        machine.handle_echo(&FRESH, sent + secs(1)).unwrap();

        let outputs: Vec<Output> = std::iter::from_fn(|| machine.poll_output()).collect();
        let expected = [
            Output::Ping(FRESH),
            Output::Abandon,
            Output::Ping(FRESH),
            Output::Rtt(secs(1)),
        ];
        assert_eq!(outputs, expected);
        assert_eq!(machine.poll_timeout(), Some(sent + secs(1) + secs(15)));
        assert_eq!(run_in_silence(&mut machine).0, 3);
    }

    #[test]
    fn an_echo_that_was_not_asked_for_changes_nothing() {
        let mut machine = Liveness::new(&Config::default(), Instant::ZERO);
        assert_eq!(machine.handle_echo(&FRESH, Instant::ZERO), Err(EchoError));
        let due = machine.poll_timeout().unwrap();
        machine.handle_timeout(due, FRESH);
        assert_eq!(machine.handle_echo(&[8; 32], due), Err(EchoError));
        assert_eq!(machine.poll_timeout(), Some(due + secs(20)));
    }

    #[test]
    fn a_stream_that_the_remote_ends_is_no_sign_of_death() {
        let mut machine = Liveness::new(&Config::default(), Instant::ZERO);
        for _ in 0..100 {
            let due = machine.poll_timeout().unwrap();
            machine.handle_timeout(due, FRESH);
            assert_eq!(machine.poll_output(), Some(Output::Ping(FRESH)));
            machine.handle_stream_end(due + secs(1));
            assert_eq!(machine.poll_output(), None);
            assert_eq!(machine.poll_timeout(), Some(due + secs(16)));
        }
    }

    /// Jumps from deadline to deadline; returns pings sent and when it gave up.
    fn run_in_silence(machine: &mut Liveness) -> (usize, Instant) {
        let mut pings = 0;
        let mut now = Instant::ZERO;
        while let Some(deadline) = machine.poll_timeout() {
            now = deadline;
            machine.handle_timeout(now, FRESH);
            while let Some(output) = machine.poll_output() {
                pings += usize::from(matches!(output, Output::Ping(_)));
            }
        }
        (pings, now)
    }

    proptest! {
        #[test]
        fn any_list_of_inputs_keeps_one_ping_in_flight(
            inputs in proptest::collection::vec((0u8..4, 0u64..40), 0..200),
            interval in prop_oneof![Just(Duration::MAX), (0u64..30).prop_map(secs)],
        ) {
            let config = Config { interval, ..Config::default() };
            let mut machine = Liveness::new(&config, Instant::ZERO);
            let mut now = Instant::ZERO;
            let mut in_flight: Option<Payload> = None;
            let mut dead = false;
            for (number, (input, step)) in inputs.into_iter().enumerate() {
                now += secs(step);
                match (input, in_flight) {
                    (0, Some(payload)) => prop_assert!(machine.handle_echo(&payload, now).is_ok()),
                    (0, None) => prop_assert!(machine.handle_echo(&FRESH, now).is_err()),
                    (1, _) => { machine.handle_stream_end(now); in_flight = None; }
                    _ => machine.handle_timeout(now, [number as u8; 32]),
                }
                while let Some(output) = machine.poll_output() {
                    prop_assert!(!dead, "nothing comes after the end");
                    match output {
                        Output::Ping(payload) => {
                            prop_assert_eq!(in_flight, None);
                            in_flight = Some(payload);
                        }
                        Output::Rtt(_) | Output::Abandon => in_flight = None,
                        Output::Dead => { in_flight = None; dead = true; }
                    }
                }
                prop_assert_eq!(dead, machine.poll_timeout().is_none());
            }
        }
    }
}
