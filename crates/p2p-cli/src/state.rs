//! What a node does at the moment, as JSON: made by `p2p listen --metrics`, read by `p2p top`.

use std::collections::BTreeMap;

use p2p::swarm::{ConnectionState, LimitRow, Snapshot, Stats, Swarm, Unit};
use serde_json::{Value, json};

/// The state of `swarm`.
pub(crate) fn of(swarm: &Swarm) -> Value {
    let snapshot = swarm.snapshot();
    let now = swarm.rt().now();
    let texts = |list: Vec<String>| Value::from(list);
    let limits = &swarm.config().limits;
    let usage = snapshot.usage;
    let connections = snapshot.connections.iter().map(|one| {
        let mut value = connection(one);
        let age = now - one.info.established;
        if let Some(value) = value.as_object_mut() {
            value.insert("age_s".to_owned(), age.as_secs().into());
        }
        value
    });
    json!({
        "peer": swarm.local_peer().to_string(),
        "now_ms": u64::try_from(now.elapsed_since_start().as_millis()).unwrap_or(u64::MAX),
        "listen_addrs": texts(snapshot.listen_addrs.iter().map(ToString::to_string).collect()),
        "external_addrs": texts(snapshot.external_addrs.iter().map(ToString::to_string).collect()),
        "serving": serving(&snapshot),
        "protocols": texts(snapshot.protocols.iter().map(ToString::to_string).collect()),
        "usage": [
            ["memory", usage.memory, limits.memory_budget],
            ["connections", usage.connections, limits.max_connections],
            ["upgrading", usage.pending_incoming, limits.max_pending_incoming],
            ["dialing", usage.pending_dials, limits.max_pending_dials],
            ["streams in", usage.streams, limits.max_streams],
            ["known peers", usage.known_peers, limits.max_known_peers],
        ],
        "peers": usage.peers,
        "tasks": usage.tasks,
        "stats": stats(&swarm.stats()),
        "connections": connections.collect::<Vec<Value>>(),
    })
}

/// Incoming streams being served, by protocol.
fn serving(snapshot: &Snapshot) -> Value {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &snapshot.connections {
        for (protocol, count) in &one.serving {
            *counts.entry(protocol.as_str()).or_default() += count;
        }
    }
    json!(counts)
}

fn connection(one: &ConnectionState) -> Value {
    let name = |id: &Option<p2p::Protocol>| id.as_ref().map(ToString::to_string);
    json!({
        "id": one.info.id.to_string(),
        "peer": one.info.peer.to_string(),
        "addr": one.info.remote.to_string(),
        "role": one.info.role.to_string(),
        "security": name(&one.info.security),
        "muxer": name(&one.info.muxer),
        "streams": one.streams,
        "in_use": one.in_use,
        "memory": one.memory,
        "read": one.traffic.map(|(read, _)| read),
        "written": one.traffic.map(|(_, written)| written),
    })
}

fn stats(stats: &Stats) -> Value {
    let failed = |counts: &BTreeMap<_, u64>| counts.values().sum::<u64>();
    json!({
        "connected": stats.connections_dialed + stats.connections_accepted,
        "ended": stats.connections_ended.iter().sum::<u64>(),
        "dials_failed": stats.dials_failed,
        "incoming_failed": failed(&stats.incoming_failed),
        "streams_opened": stats.streams_opened,
        "streams_accepted": stats.streams_accepted,
        "read": stats.bytes_read,
        "written": stats.bytes_written,
        "limits_hit": stats.limits_hit,
    })
}

/// A limit as people read it.
pub(crate) fn value_of(row: &LimitRow) -> String {
    match row.unit {
        Unit::Bytes => crate::units::bytes(u64::try_from(row.value).unwrap_or(u64::MAX)),
        Unit::Bits => format!("{} bits", row.value),
        Unit::PerSecond => format!("{} a second", row.value),
        Unit::Count | _ => row.value.to_string(),
    }
}
