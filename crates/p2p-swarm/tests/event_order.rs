//! Events come in the order in which things happened, whoever does something in between.
//!
//! What is logged of a change is the moment at which another thread would come in between: here
//! that is done by whoever listens to the log.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::fmt;
use std::sync::{Arc, Mutex};

use common::{listen, sim, swarm};
use futures::{FutureExt, StreamExt};
use p2p_core::{AddrExt, Multiaddr};
use p2p_swarm::{Event, Events, Swarm};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::with_default;
use tracing::{Metadata, Subscriber};

#[test]
fn an_address_that_is_gone_at_once_is_told_of_before_it_is_told_gone() {
    let sim = sim(1);
    let alice = sim.host("alice");
    let a = swarm(&alice, 1);
    let mut events = a.events();
    let intruder = Intruder::at("listening", &a, |a| {
        let addrs = a.listen_addrs();
        assert!(a.unlisten(&addrs[0]));
    });

    let addr = with_default(intruder.clone(), || sim.block_on(listen(&a, &alice)));

    assert!(intruder.came());
    let [Event::ListenAddr(came), Event::ListenAddrGone(gone)] = &pending(&mut events)[..] else {
        panic!("misordered");
    };
    assert_eq!((came, gone), (&addr.without_peer(), &addr.without_peer()));
}

#[test]
fn an_external_address_that_is_taken_back_at_once_is_gone_in_the_end() {
    let sim = sim(2);
    let a = swarm(&sim.host("alice"), 1);
    let mut events = a.events();
    let external: Multiaddr = "/ip4/203.0.113.9/tcp/1".parse().unwrap();
    let addr = external.clone();
    let intruder = Intruder::at("external address", &a, move |a| {
        assert!(a.remove_external_addr(&addr));
    });

    with_default(intruder.clone(), || {
        assert!(a.add_external_addr(&external));
    });

    assert!(intruder.came());
    let [Event::ExternalAddr(came), Event::ExternalAddrGone(gone)] = &pending(&mut events)[..]
    else {
        panic!("misordered");
    };
    assert_eq!((came, gone), (&external, &external));
}

fn pending(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

type Deed = Box<dyn FnOnce(&Swarm) + Send>;

/// Does something once, when something is logged.
#[derive(Clone)]
struct Intruder {
    message: &'static str,
    swarm: Swarm,
    deed: Arc<Mutex<Option<Deed>>>,
}

impl Intruder {
    fn at(
        message: &'static str,
        swarm: &Swarm,
        deed: impl FnOnce(&Swarm) + Send + 'static,
    ) -> Self {
        Self {
            message,
            swarm: swarm.clone(),
            deed: Arc::new(Mutex::new(Some(Box::new(deed)))),
        }
    }

    /// Whether its moment came.
    fn came(&self) -> bool {
        self.deed.lock().unwrap().is_none()
    }
}

impl Subscriber for Intruder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("p2p_swarm")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if message.0 == self.message {
            let deed = self.deed.lock().unwrap().take();
            if let Some(deed) = deed {
                deed(&self.swarm);
            }
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
