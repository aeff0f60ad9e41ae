//! What runs on each host.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{BoxFuture, Shared, select};
use futures::{FutureExt, StreamExt};
use p2p::{Call, ConnectionEnd, Event, Host, Multiaddr, PeerId, Refusal};
use p2p_core::{ErrorCode, Instant, Rt};

use crate::club::Member;
use crate::dice::Dice;
use crate::talk::{Manners, TALK};

/// A question is answered with the same bytes the other way round.
pub(crate) const TURN: Call<Vec<u8>, Vec<u8>> = Call::new("/turn/1.0.0");

/// Conversations of one node at a time.
const TALKS: usize = 6;

/// What the application on a host does besides answering: it ends when the other end of `gone` is
/// dropped.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) host: Host,
    pub(crate) manners: Manners,
    pub(crate) gone: Shared<oneshot::Receiver<()>>,
}

impl App {
    /// Runs `task` while the application does.
    pub(crate) fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let task = select(task, self.gone.clone());
        let rt = self.host.swarm().rt().clone();
        rt.spawn(name, task.map(drop).boxed());
    }
}

/// Lets the host answer others.
pub(crate) fn serve(host: &Host, manners: &Manners) {
    let own = manners.clone();
    host.handle(TALK, move |stream| own.clone().answer(stream))
        .expect("the protocol is free");
    let own = manners.clone();
    let dice = Dice(host.swarm().rt().clone());
    host.answer(&TURN, move |question: Vec<u8>, _| {
        let (dice, own) = (dice.clone(), own.clone());
        async move {
            dice.0.sleep(dice.time(Duration::from_secs(3))).await;
            if !own.fair() && dice.percent(20) {
                return Err(Refusal::new(ErrorCode(9), "no"));
            }
            Ok(question.into_iter().rev().collect())
        }
    })
    .expect("the protocol is free");
}

/// Talks to random others until `end`.
pub(crate) async fn chat(app: App, member: Member, others: Vec<Multiaddr>, end: Instant) {
    let rt = app.host.swarm().rt().clone();
    let dice = Dice(rt.clone());
    // Pings take turns: not more of them than that.
    let pause = Duration::from_secs(1) + dice.time(Duration::from_secs(9));
    while rt.now() < end {
        rt.sleep(Duration::from_millis(1) + dice.time(pause)).await;
        for _ in 0..dice.below(TALKS) {
            let (host, manners) = (app.host.clone(), app.manners.clone());
            // Whoever knows nobody waits to be dialed.
            let to = others.get(dice.below(others.len().max(1))).cloned();
            let task = match (dice.below(12), to) {
                (4 | 5, _) => say(host.peer_id(), member.clone(), dice.size(50_000)).boxed(),
                (_, None) => continue,
                (0, Some(to)) => ping(host, to, manners).boxed(),
                (1, Some(to)) => identify(host, to, manners).boxed(),
                (2 | 3, Some(to)) => ask(host, to, manners, dice.size(20_000)).boxed(),
                (_, Some(to)) => manners.start(host, to).boxed(),
            };
            app.spawn("talk", task);
        }
    }
}

async fn ping(host: Host, to: Multiaddr, manners: Manners) {
    let pinged = host.ping().expect("on by default").ping(&to).await;
    manners.check("ping", &pinged);
}

async fn say(author: PeerId, member: Member, len: usize) {
    // Whether anybody is there is not for the author to say.
    member.publish(author, len).await;
}

async fn identify(host: Host, to: Multiaddr, manners: Manners) {
    let dialed = host.dial(&to).await;
    manners.check("dial", &dialed);
    let Ok(connection) = dialed else { return };
    let identify = host.identify().expect("on by default");
    let told = identify.identified(&connection).await;
    manners.check("identify", &told);
    if let Ok(info) = told {
        assert_eq!(info.peer, connection.peer());
    }
}

async fn ask(host: Host, to: Multiaddr, manners: Manners, len: usize) {
    let mut question = vec![0; len];
    host.swarm().rt().fill_random(&mut question);
    let answer = host.request(&to, &TURN, &question).await;
    manners.check("request", &answer);
    if let Ok(answer) = answer {
        question.reverse();
        assert!(answer == question, "another answer");
    }
}

/// What the end of a host excuses.
#[derive(Debug, Default)]
pub(crate) struct Excuses {
    /// Connections that were dropped without a word.
    pub(crate) dropped: AtomicBool,
    /// Connections whose end nobody heard of.
    pub(crate) unheard: AtomicBool,
}

/// Follows the connections of a host until it is gone. Every one that begins must end, for a
/// reason that is not "dropped", unless there is an excuse.
pub(crate) fn audit(host: &Host, rt: &Rt, excuses: Arc<Excuses>) {
    let mut events = host.events();
    rt.spawn(
        "audit",
        Box::pin(async move {
            let mut open = BTreeSet::new();
            while let Some(event) = events.next().await {
                match event {
                    Event::Connected { info } => assert!(open.insert(info.id), "new: {info:?}"),
                    Event::Disconnected {
                        connection,
                        end,
                        remaining,
                        ..
                    } => {
                        assert!(open.remove(&connection), "ended once: {connection} {end}");
                        assert!(remaining <= open.len(), "{remaining} of {}", open.len());
                        let dropped = matches!(end, ConnectionEnd::Dropped);
                        let excused = excuses.dropped.load(Ordering::Relaxed);
                        assert!(!dropped || excused, "no reason");
                    }
                    Event::Lagged(lost) => panic!("{lost} events lost"),
                    _ => {}
                }
            }
            let excused = excuses.unheard.load(Ordering::Relaxed);
            assert!(open.is_empty() || excused, "never ended: {open:?}");
        }),
    );
}
