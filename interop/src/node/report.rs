//! What a peer prints.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use futures::channel::mpsc::{Receiver, Sender, channel};
use p2p::identify::{Event as Learned, IdentifyInfo};
use p2p::{ConnectionEnd, Event, Host};
use serde_json::{Value, json};

/// Kept of what nobody has looked at yet.
const KEPT: usize = 64;

/// Reports connections and what identify learns, as long as the host lives.
#[derive(Clone)]
pub(super) struct Reports(Arc<Mutex<Kept>>);

struct Kept {
    ends: Option<Receiver<ConnectionEnd>>,
    pushes: Option<Receiver<BTreeSet<String>>>,
    met: Option<Receiver<()>>,
    identified: Option<Receiver<()>>,
}

impl Reports {
    /// Starts to report what happens on `host`.
    pub(super) fn watch(host: &Host) -> Self {
        let (ended, ends) = channel(KEPT);
        let (pushed, pushes) = channel(KEPT);
        let (meets, met) = channel(0);
        watch_connections(host, ended, meets);
        let (identifies, identified) = channel(0);
        watch_identify(host, pushed, identifies);
        Self(Arc::new(Mutex::new(Kept {
            ends: Some(ends),
            pushes: Some(pushes),
            met: Some(met),
            identified: Some(identified),
        })))
    }

    /// The ends of connections from the first on. For one caller.
    pub(super) fn ends(&self) -> Option<Receiver<ConnectionEnd>> {
        self.with(|kept| kept.ends.take())
    }

    /// The protocols of each identify push from the first on. For one caller.
    pub(super) fn pushes(&self) -> Option<Receiver<BTreeSet<String>>> {
        self.with(|kept| kept.pushes.take())
    }

    /// Waits until the first connection was reported. For one caller.
    pub(super) async fn met(&self) {
        let met = self.with(|kept| kept.met.take());
        if let Some(mut met) = met {
            met.next().await;
        }
    }

    /// Waits until the first peer has told of itself. For one caller.
    pub(super) async fn identified(&self) {
        let identified = self.with(|kept| kept.identified.take());
        if let Some(mut identified) = identified {
            identified.next().await;
        }
    }

    fn with<T>(&self, take: impl FnOnce(&mut Kept) -> T) -> T {
        take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn watch_connections(host: &Host, mut ended: Sender<ConnectionEnd>, mut meets: Sender<()>) {
    let mut events = host.events();
    host.swarm().spawn("report connections", async move {
        while let Some(happened) = events.next().await {
            if let Event::Connected { info } = happened {
                let word = |protocol: &Option<p2p::Protocol>| protocol.as_ref().map(short);
                let (security, muxer) = (word(&info.security), word(&info.muxer));
                let peer = info.peer.to_string();
                event(
                    "connected",
                    json!({ "peer": peer, "security": security, "muxer": muxer }),
                );
                // One is enough, and nobody may be waiting.
                let _ = meets.try_send(());
            } else if let Event::IncomingFailed { error, .. } = happened {
                let why = p2p::Chain(&*error).to_string();
                event("refused", json!({ "why": why }));
            } else if let Event::Disconnected { peer, end, .. } = happened {
                let (peer, why) = (peer.to_string(), end.to_string());
                event("disconnected", json!({ "peer": peer, "why": why }));
                // Nobody may be counting.
                let _ = ended.try_send(end);
            }
        }
    });
}

fn watch_identify(host: &Host, mut pushed: Sender<BTreeSet<String>>, mut identifies: Sender<()>) {
    let Some(identify) = host.identify() else {
        return;
    };
    let mut learned = identify.events();
    host.swarm().spawn("report identify", async move {
        while let Some(happened) = learned.next().await {
            if let Learned::Identified { info, .. } = happened {
                event("identify", describe(&info));
                // One is enough, and nobody may be waiting.
                let _ = identifies.try_send(());
            } else if let Learned::Updated { info, .. } = happened {
                event("push", describe(&info));
                let protocols = info.protocols.iter().map(ToString::to_string);
                // Nobody may be waiting.
                let _ = pushed.try_send(protocols.collect());
            }
        }
    });
}

fn describe(info: &IdentifyInfo) -> Value {
    let texts = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>();
    json!({
        "peer": info.peer.to_string(),
        "agent": info.agent_version,
        "protocols": texts(&mut info.protocols.iter().map(ToString::to_string)),
        "addrs": texts(&mut info.listen_addrs.iter().map(ToString::to_string)),
        "observed": info.observed_addr.as_ref().map(ToString::to_string),
        "signed": info.signed_record.is_some(),
    })
}

/// The runner's word for a protocol: the first part of its id.
fn short(protocol: &p2p::Protocol) -> String {
    let mut parts = protocol.as_str().split('/');
    parts.nth(1).unwrap_or_default().to_owned()
}

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Prints one line for the runner.
pub(super) fn event(name: &str, mut fields: Value) {
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("event".into(), name.into());
    }
    println!("{fields}");
}
