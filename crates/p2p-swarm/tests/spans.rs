//! Spans of connections and streams: what they say, and that each of them ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use common::{ECHO, LATENCY, ask, listen, sim, swarm};
use futures::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{ErrorCode, Protocol};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{NoSubscriber, with_default};
use tracing::{Event, Instrument, Metadata, Subscriber};

const OTHER: Protocol = Protocol::from_static("/other/1.0.0");

#[test]
fn streams_of_both_directions_lie_in_their_connection_and_say_what_they_are() {
    let ledger = Ledger::default();
    with_default(ledger.clone(), || {
        let sim = sim(1);
        let (alice, bob) = (sim.host("alice"), sim.host("bob"));
        let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
        sim.block_on(async {
            let addr = listen(&b, &bob).await;
            let mut stream = a.open(addr, ECHO).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();

            let opened = ledger.opened();
            let role = |role| find(&opened, "connection", ("role", role));
            let (dialer, listener) = (role("dialer"), role("listener"));
            assert_eq!(opened[&dialer].fields["peer"], b.local_peer().to_string());
            assert_eq!(opened[&dialer].fields["remote"].split("/tcp/").count(), 2);
            let direction = |direction| find(&opened, "stream", ("direction", direction));
            for (stream, connection) in [(direction("out"), dialer), (direction("in"), listener)] {
                let span = &opened[&stream];
                assert_eq!(span.parent, Some(connection), "{span:?}");
                assert_eq!(span.fields["protocol"], "/echo/1.0.0");
                assert!(span.is_open);
            }
            assert_eq!(
                opened[&direction("out")].fields["number"],
                opened[&direction("in")].fields["number"]
            );

            // What happens on a stream is logged in it, and what its user wants to be.
            let own = async { tracing::debug!("own words") };
            own.instrument(stream.span()).await;
            for said in ["stream opened", "protocol agreed", "own words"] {
                assert_eq!(ledger.said_in(said), [direction("out")], "{said}");
            }
            assert_eq!(ledger.said_in("stream accepted"), [direction("in")]);

            // Dropped, while the connection is up.
            drop(stream);
            b.rt().sleep(LATENCY * 2).await;
            let open = ledger.open();
            assert_eq!(open, ["connection", "connection"]);
        });
    });
}

#[test]
fn nothing_is_left_after_shutdown() {
    let ledger = Ledger::default();
    with_default(ledger.clone(), || {
        let sim = sim(2);
        let (alice, bob, carol) = (sim.host("alice"), sim.host("bob"), sim.host("carol"));
        let (a, b, c) = (swarm(&alice, 1), swarm(&bob, 2), swarm(&carol, 3));
        let handles = sim.block_on(async {
            let addr = listen(&b, &bob).await;
            for _ in 0..10 {
                ask(&a, addr.clone(), b"hello").await.unwrap();
            }
            // Refused, agreed on the second proposal, opened and forgotten, never answered.
            let connection = a.dial(addr.clone()).await.unwrap();
            let mut refused = connection.open(&OTHER).await.unwrap();
            refused.write_all(b"x").await.unwrap();
            refused.read(&mut [0]).await.unwrap_err();
            let second = connection.open_any(&[OTHER, ECHO]).await.unwrap();
            drop(connection.open(&ECHO).await.unwrap());
            let kept = connection.downgrade().open(&ECHO).await.unwrap();
            let one_more = c.open(addr, ECHO).await.unwrap();
            let weak = connection.downgrade();
            a.close().await;
            (connection, weak, refused, second, kept, one_more)
        });
        assert_eq!(ledger.names("connection").len(), 4);
        assert!(ledger.names("stream").len() > 24, "both ends of most");
        drop((a, b, c));
        sim.run_for(Duration::from_secs(600));
        let (connection, weak, refused, second, kept, one_more) = handles;
        // Streams that their users hold are theirs; connections are over.
        let open = ledger.open();
        assert_eq!(open, ["stream"; 4], "{open:?}");
        drop((refused, second, kept, one_more));
        assert_eq!(ledger.open(), [""; 0]);
        connection.close(ErrorCode::NONE);
        drop((connection, weak));
        sim.run_until_idle();
        assert_eq!(ledger.open(), [""; 0]);
    });
}

#[test]
fn a_swarm_that_is_dropped_in_the_middle_of_everything_leaves_no_span() {
    let ledger = Ledger::default();
    with_default(ledger.clone(), || {
        let sim = sim(3);
        let (alice, bob) = (sim.host("alice"), sim.host("bob"));
        let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
        sim.block_on(async {
            let addr = listen(&b, &bob).await;
            let mut streams = Vec::new();
            for _ in 0..20 {
                let mut stream = a.open(addr.clone(), ECHO).await.unwrap();
                stream.write_all(b"x").await.unwrap();
                streams.push(stream);
            }
            b.rt().sleep(LATENCY / 2).await;
        });
        assert_eq!(ledger.names("stream").len(), 20);
        bob.crash();
        drop((a, b));
        sim.run_for(Duration::from_secs(600));
        assert_eq!(ledger.open(), [""; 0]);
    });
}

#[test]
fn nobody_who_listens_to_spans_is_no_span() {
    // Said aloud: other tests of this process listen at the same time.
    with_default(NoSubscriber::default(), || {
        let sim = sim(4);
        let (alice, bob) = (sim.host("alice"), sim.host("bob"));
        let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
        sim.block_on(async {
            let addr = listen(&b, &bob).await;
            let stream = a.open(addr, ECHO).await.unwrap();
            assert!(stream.span().is_disabled());
        });
    });
}

// ---- a subscriber that counts ----

#[derive(Clone, Debug)]
struct Opened {
    name: &'static str,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
    is_open: bool,
}

#[derive(Default)]
struct Book {
    spans: BTreeMap<u64, Opened>,
    handles: BTreeMap<u64, usize>,
    metadata: BTreeMap<u64, &'static Metadata<'static>>,
    entered: Vec<u64>,
    /// Messages, each with the span that it was said in.
    said: Vec<(String, Option<u64>)>,
}

/// Writes down every span of the swarm. The simulation has one thread.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Book>>);

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    fn opened(&self) -> BTreeMap<u64, Opened> {
        self.book().spans.clone()
    }

    fn names(&self, name: &str) -> Vec<u64> {
        let opened = self.opened();
        let named = opened.iter().filter(|(_, span)| span.name == name);
        named.map(|(id, _)| *id).collect()
    }

    /// The names of those that have not ended, in order.
    fn open(&self) -> Vec<&'static str> {
        let book = self.book();
        let open = book.spans.values().filter(|span| span.is_open);
        let mut names: Vec<_> = open.map(|span| span.name).collect();
        names.sort_unstable();
        names
    }

    fn said_in(&self, message: &str) -> Vec<u64> {
        let book = self.book();
        let said = book.said.iter().filter(|(said, _)| said == message);
        said.filter_map(|(_, span)| *span).collect()
    }
}

/// The only span of this name with this field.
fn find(opened: &BTreeMap<u64, Opened>, name: &str, (field, value): (&str, &str)) -> u64 {
    let found: Vec<u64> = opened
        .iter()
        .filter(|(_, span)| span.name == name)
        .filter(|(_, span)| span.fields.get(field).is_some_and(|is| is == value))
        .map(|(id, _)| *id)
        .collect();
    let [one] = found[..] else {
        panic!("{name} with {field}={value}: {found:?} of {opened:?}");
    };
    one
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Ledger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("p2p_swarm") || metadata.target().starts_with("spans")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        let mut book = self.book();
        let parent = match attributes.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if attributes.is_contextual() => book.entered.last().copied(),
            None => None,
        };
        if let Some(parent) = parent {
            let handles = book.handles.get(&parent);
            assert!(handles > Some(&0), "in a span that has ended");
        }
        let id = u64::try_from(book.spans.len()).unwrap() + 1;
        let metadata = attributes.metadata();
        book.spans.insert(
            id,
            Opened {
                name: metadata.name(),
                parent,
                fields,
                is_open: true,
            },
        );
        book.handles.insert(id, 1);
        book.metadata.insert(id, metadata);
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut book = self.book();
        let span = book.spans.get_mut(&id.into_u64()).unwrap();
        values.record(&mut Fields(&mut span.fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let mut book = self.book();
        let within = book.entered.last().copied();
        let message = fields.remove("message").unwrap_or_default();
        book.said.push((message, within));
    }

    fn enter(&self, id: &Id) {
        self.book().entered.push(id.into_u64());
    }

    fn exit(&self, id: &Id) {
        let mut book = self.book();
        let at = book.entered.iter().rposition(|one| *one == id.into_u64());
        book.entered.remove(at.unwrap());
    }

    fn clone_span(&self, id: &Id) -> Id {
        *self.book().handles.get_mut(&id.into_u64()).unwrap() += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let id = id.into_u64();
        let mut book = self.book();
        let handles = book.handles.get_mut(&id).unwrap();
        *handles -= 1;
        let closed = *handles == 0;
        if closed {
            book.spans.get_mut(&id).unwrap().is_open = false;
        }
        closed
    }
}
