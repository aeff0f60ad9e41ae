//! A node of the official gossip experiments: it does what a script tells it, and logs what it got.
//!
//! Contract: libp2p/test-plans `gossipsub-interop/test-specs/implementation.md`. One JSON object a
//! line on standard output; everything else goes to standard error.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt as _;
use p2p::core::Instant;
use p2p::pubsub::{
    Candidate, DropCause, GossipConfig, MessageId, MessageIdFn, Opinion, PartialMode, Parts,
    Pubsub, SignaturePolicy, Subscription, Topic, Trace, Traced, Validator,
};
use p2p::{Host, Keypair, PeerId, Rt, SecureChannel};
use serde::Deserialize;
use serde_json::json;

use super::TestingError;
use super::parts::{self, Message, Order, Orders};

/// The longest message of an experiment, in bytes.
const MAX_MESSAGE: usize = 10 << 20;
/// Events that may wait to be logged.
const BACKLOG: usize = 1 << 16;
/// The bytes at the start of each message that are its id.
const ID: usize = 8;

/// What a node of an experiment is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to do: `ExperimentParams`, as JSON.
    #[arg(long, value_name = "FILE")]
    params: PathBuf,
    /// Our number. Default: that in the name of this machine, `node7`.
    #[arg(long, value_name = "N")]
    node: Option<u32>,
    /// Where the others listen, with `{}` in place of their number.
    #[arg(
        long,
        value_name = "MULTIADDR",
        default_value = "/dns4/node{}/tcp/9000"
    )]
    others: String,
    /// Where we listen, with `{}` in place of our number.
    #[arg(
        long,
        value_name = "MULTIADDR",
        default_value = "/ip4/0.0.0.0/tcp/9000"
    )]
    listen: String,
}

/// Why an experiment cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GossipError {
    /// There is no such file.
    #[error("cannot read {}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    /// Another thing than parameters of an experiment.
    #[error("{} is not what an experiment is described by", path.display())]
    Params {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// This machine has another name.
    #[error("this machine is not called node<N>, and --node is not there")]
    Number,
    /// The script does something else first.
    #[error("the script begins without initGossipSub")]
    NotStarted,
    /// Too short for its id.
    #[error("a message of {0} bytes, at least {ID} are its id")]
    TooShort(usize),
    /// Our settings contradict each other.
    #[error(transparent)]
    Start(#[from] p2p::pubsub::StartError),
    /// A message could not be published.
    #[error(transparent)]
    Publish(#[from] p2p::pubsub::PublishFailed),
    /// The host cannot be built.
    #[error(transparent)]
    Host(#[from] p2p::HostError),
}

#[derive(Debug, Deserialize)]
struct Params {
    script: Vec<Instruction>,
}

/// One step of a script, by the names of the contract.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Instruction {
    AddPartialMessage {
        #[serde(rename = "topicID")]
        topic: String,
        #[serde(rename = "groupID")]
        group: u64,
        /// A bitmap of what we have.
        parts: u8,
        /// A bitmap of what goes out unasked.
        #[serde(rename = "eagerPushParts", default)]
        eager: u8,
    },
    Connect {
        #[serde(rename = "connectTo")]
        to: Vec<u32>,
    },
    #[serde(rename = "ifNodeIDEquals")]
    IfNode {
        #[serde(rename = "nodeID")]
        node: u32,
        instruction: Box<Self>,
    },
    InitGossipSub {
        #[serde(rename = "gossipSubParams")]
        params: Box<GoParams>,
    },
    Publish {
        #[serde(rename = "messageID")]
        id: u64,
        #[serde(rename = "messageSizeBytes")]
        size: usize,
        #[serde(rename = "topicID")]
        topic: String,
    },
    PublishPartial {
        #[serde(rename = "topicID")]
        topic: String,
        #[serde(rename = "groupID")]
        group: u64,
        /// Nobody else, at first. Without any: whoever is in the topic.
        #[serde(rename = "publishToNodeIDs", default)]
        to: Option<Vec<u32>>,
    },
    SetTopicValidationDelay {
        #[serde(rename = "topicID")]
        topic: String,
        #[serde(rename = "delaySeconds")]
        seconds: f64,
    },
    SubscribeToTopic {
        #[serde(rename = "topicID")]
        topic: String,
        /// Whether parts of messages are wanted there.
        #[serde(default)]
        partial: bool,
    },
    WaitUntil {
        #[serde(rename = "elapsedSeconds")]
        seconds: u64,
    },
}

/// `GossipSubParams` of go-libp2p-pubsub: what is not there keeps our default, durations are in
/// nanoseconds. What only concerns how go is built is not read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct GoParams {
    d: Option<usize>,
    dlo: Option<usize>,
    dhi: Option<usize>,
    dscore: Option<usize>,
    dout: Option<usize>,
    dlazy: Option<usize>,
    history_length: Option<usize>,
    history_gossip: Option<usize>,
    gossip_factor: Option<f64>,
    gossip_retransmission: Option<u32>,
    heartbeat_initial_delay: Option<u64>,
    heartbeat_interval: Option<u64>,
    #[serde(rename = "FanoutTTL")]
    fanout_ttl: Option<u64>,
    prune_peers: Option<usize>,
    prune_backoff: Option<u64>,
    unsubscribe_backoff: Option<u64>,
    opportunistic_graft_ticks: Option<u64>,
    opportunistic_graft_peers: Option<usize>,
    graft_flood_threshold: Option<u64>,
    #[serde(rename = "MaxIHaveLength")]
    max_ihave_length: Option<usize>,
    #[serde(rename = "MaxIHaveMessages")]
    max_ihave_messages: Option<usize>,
    #[serde(rename = "MaxIDontWantLength")]
    max_idontwant_length: Option<usize>,
    #[serde(rename = "MaxIDontWantMessages")]
    max_idontwant_messages: Option<usize>,
    #[serde(rename = "IWantFollowupTime")]
    iwant_followup_time: Option<u64>,
    #[serde(rename = "IDontWantMessageThreshold")]
    idontwant_threshold: Option<usize>,
    #[serde(rename = "IDontWantMessageTTL")]
    idontwant_ttl: Option<u32>,
}

impl GoParams {
    fn config(&self) -> GossipConfig {
        let mut config = GossipConfig::default();
        config.base.policy = SignaturePolicy::StrictNoSign;
        config.base.message_id = MessageIdFn::Custom(Arc::new(|message, id| {
            let data = message.data.unwrap_or_default();
            id.extend_from_slice(data.get(..ID).unwrap_or(data));
        }));
        config.base.max_message_size = MAX_MESSAGE;
        config.base.max_rpc_size = MAX_MESSAGE + 1024;
        config.base.queue.own_bytes = 4 * MAX_MESSAGE;
        config.base.queue.forwarded_bytes = 4 * MAX_MESSAGE;
        config.base.trace = true;
        config.base.trace_backlog = BACKLOG;
        set(&mut config.d, self.d);
        set(&mut config.d_low, self.dlo);
        set(&mut config.d_high, self.dhi);
        set(&mut config.d_score, self.dscore);
        set(&mut config.d_out, self.dout);
        set(&mut config.d_lazy, self.dlazy);
        set(&mut config.history_length, self.history_length);
        set(&mut config.history_gossip, self.history_gossip);
        set(&mut config.gossip_factor, self.gossip_factor);
        set(
            &mut config.gossip_retransmission,
            self.gossip_retransmission,
        );
        set(&mut config.prune_peers, self.prune_peers);
        set(
            &mut config.opportunistic_graft_ticks,
            self.opportunistic_graft_ticks,
        );
        set(
            &mut config.opportunistic_graft_peers,
            self.opportunistic_graft_peers,
        );
        set(&mut config.max_ihave_length, self.max_ihave_length);
        set(&mut config.max_ihave_messages, self.max_ihave_messages);
        set(&mut config.max_idontwant_length, self.max_idontwant_length);
        set(
            &mut config.max_idontwant_messages,
            self.max_idontwant_messages,
        );
        set(&mut config.idontwant_threshold, self.idontwant_threshold);
        set(&mut config.idontwant_ttl, self.idontwant_ttl);
        for (ours, theirs) in [
            (
                &mut config.heartbeat_initial_delay,
                self.heartbeat_initial_delay,
            ),
            (&mut config.heartbeat_interval, self.heartbeat_interval),
            (&mut config.fanout_ttl, self.fanout_ttl),
            (&mut config.prune_backoff, self.prune_backoff),
            (&mut config.unsubscribe_backoff, self.unsubscribe_backoff),
            (
                &mut config.graft_flood_threshold,
                self.graft_flood_threshold,
            ),
            (&mut config.iwant_followup_time, self.iwant_followup_time),
        ] {
            set(ours, theirs.map(Duration::from_nanos));
        }
        config
    }
}

fn set<T>(ours: &mut T, theirs: Option<T>) {
    if let Some(theirs) = theirs {
        *ours = theirs;
    }
}

/// Runs one node to the end of its script.
///
/// # Errors
/// See [`TestingError`].
pub(super) async fn run(args: &Args) -> Result<(), TestingError> {
    let path = || args.params.clone();
    let text = fs::read_to_string(&args.params).map_err(|source| {
        let path = path();
        GossipError::File { path, source }
    })?;
    let params: Params = serde_json::from_str(&text).map_err(|source| {
        let path = path();
        GossipError::Params { path, source }
    })?;
    let number = args.node.or_else(named).ok_or(GossipError::Number)?;
    let host = Host::builder()
        .identity(key_of(number))
        .secure_channels(&[SecureChannel::Noise])
        .build()
        .await
        .map_err(GossipError::Host)?;
    let here = args.listen.replace("{}", &number.to_string());
    host.listen(here.as_str()).await?;
    let mut node = ScriptedNode {
        log: Log(Rt::clone(host.swarm().rt())),
        started: host.swarm().rt().now(),
        others: args.others.clone(),
        number,
        host,
        pubsub: None,
        subscriptions: BTreeMap::new(),
        parts: BTreeMap::new(),
    };
    node.log.say(
        "PeerID",
        json!({ "id": node.host.peer_id().to_string(), "node_id": number }),
    );
    for instruction in &params.script {
        node.follow(instruction).await?;
    }
    node.host.close().await;
    Ok(())
}

/// The key that everybody knows for node `number`. Worthless as security.
fn key_of(number: u32) -> Keypair {
    let mut seed = [0; 32];
    for (to, from) in seed.iter_mut().zip(number.to_le_bytes()) {
        *to = from;
    }
    Keypair::ed25519_from_seed(seed)
}

/// The number in the name of this machine.
#[cfg(unix)]
fn named() -> Option<u32> {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_str().ok()?;
    name.strip_prefix("node")?.parse().ok()
}

#[cfg(not(unix))]
fn named() -> Option<u32> {
    None
}

struct ScriptedNode {
    log: Log,
    started: Instant,
    others: String,
    number: u32,
    host: Host,
    pubsub: Option<Pubsub>,
    /// Kept to stay in the topics; what arrives is logged from the trace.
    subscriptions: BTreeMap<String, Subscription>,
    /// The topics in which messages come in parts.
    parts: BTreeMap<String, Orders>,
}

impl ScriptedNode {
    async fn follow(&mut self, mut instruction: &Instruction) -> Result<(), TestingError> {
        while let Instruction::IfNode {
            node,
            instruction: inner,
        } = instruction
        {
            if *node != self.number {
                return Ok(());
            }
            instruction = inner;
        }
        match instruction {
            Instruction::AddPartialMessage {
                topic,
                group,
                parts,
                eager,
            } => {
                let message = Message::new(*group, *parts, *eager);
                if message.is_whole() {
                    self.log.whole(topic, *group, None);
                }
                self.order(topic, Order::Add(Box::new(message)))?;
            }
            Instruction::Connect { to } => {
                for &other in to {
                    self.connect(other).await?;
                }
            }
            // Unwrapped above.
            Instruction::IfNode { .. } => {}
            Instruction::InitGossipSub { params } => self.start(params)?,
            Instruction::Publish { id, size, topic } => self.publish(*id, *size, topic).await?,
            Instruction::PublishPartial { topic, group, to } => {
                let to = to.iter().flatten().map(|&node| key_of(node).to_peer_id());
                self.order(topic, Order::Publish(*group, to.collect()))?;
            }
            Instruction::SetTopicValidationDelay { topic, seconds } => {
                let delay = Duration::try_from_secs_f64(*seconds).unwrap_or_default();
                let validator = delayed(Rt::clone(self.host.swarm().rt()), delay);
                self.pubsub()?
                    .set_validator(Topic::from(topic.as_str()), validator);
            }
            Instruction::SubscribeToTopic {
                topic,
                partial: true,
            } => self.subscribe_parts(topic, PartialMode::Requests)?,
            Instruction::SubscribeToTopic {
                topic,
                partial: false,
            } => {
                let subscription = self.pubsub()?.subscribe(topic.as_str());
                self.subscriptions.insert(topic.clone(), subscription);
            }
            Instruction::WaitUntil { seconds } => {
                let rt = self.host.swarm().rt();
                rt.sleep_until(self.started + Duration::from_secs(*seconds))
                    .await;
            }
        }
        Ok(())
    }

    fn pubsub(&self) -> Result<&Pubsub, GossipError> {
        self.pubsub.as_ref().ok_or(GossipError::NotStarted)
    }

    fn start(&mut self, params: &GoParams) -> Result<(), GossipError> {
        let pubsub = Pubsub::gossip(&self.host, params.config())?;
        let (mut traces, log) = (pubsub.traces(), Log(Rt::clone(&self.log.0)));
        self.host.swarm().spawn("gossip log", async move {
            while let Some(traced) = traces.next().await {
                log.received(&traced);
            }
        });
        self.pubsub = Some(pubsub);
        Ok(())
    }

    fn subscribe_parts(&mut self, topic: &str, mode: PartialMode) -> Result<(), GossipError> {
        let subscription = self.pubsub()?.subscribe_parts(topic, mode);
        let (task, orders) = parts::Task::new(subscription, mode);
        let log = Log(Rt::clone(&self.log.0));
        let completed = move |parts: &Parts| {
            let group = parts.group.as_ref().try_into().map(u64::from_be_bytes);
            log.whole(&parts.topic, group.unwrap_or_default(), Some(&parts.from));
        };
        let swarm = self.host.swarm();
        swarm.spawn("gossip parts", async move { task.run(completed).await });
        self.parts.insert(topic.to_owned(), orders);
        Ok(())
    }

    /// Joins a topic that the script speaks of before it subscribes: we can send parts there.
    fn order(&mut self, topic: &str, order: Order) -> Result<(), GossipError> {
        if !self.parts.contains_key(topic) {
            self.subscribe_parts(topic, PartialMode::Supports)?;
        }
        if let Some(orders) = self.parts.get(topic) {
            // Its task ends with the host, and the script with it.
            let _ended = orders.unbounded_send(order);
        }
        Ok(())
    }

    async fn connect(&self, other: u32) -> Result<(), TestingError> {
        let at = self.others.replace("{}", &other.to_string());
        let addr = format!("{at}/p2p/{}", key_of(other).to_peer_id());
        eprintln!("dialing {addr}");
        self.host.dial(&*addr).await?;
        Ok(())
    }

    async fn publish(&self, id: u64, size: usize, topic: &str) -> Result<(), GossipError> {
        let mut data = vec![0; size];
        data.get_mut(..ID)
            .ok_or(GossipError::TooShort(size))?
            .copy_from_slice(&id.to_be_bytes());
        self.pubsub()?.publish(topic, data).await?;
        eprintln!("published {id}");
        Ok(())
    }
}

/// Accepts everything, each message after `delay`.
fn delayed(rt: Rt, delay: Duration) -> Validator {
    Validator::later(BACKLOG, move |_: Candidate| {
        let rt = Rt::clone(&rt);
        async move {
            rt.sleep(delay).await;
            Opinion::Accept
        }
    })
}

/// Writes events as the analysis reads them.
struct Log(Rt);

impl Log {
    fn say(&self, msg: &str, mut fields: serde_json::Value) {
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("time".to_owned(), rfc3339(self.0.unix_time()).into());
            fields.insert("msg".to_owned(), msg.into());
        }
        println!("{fields}");
    }

    /// `from` brought the last part; nobody if the script did.
    fn whole(&self, topic: impl fmt::Display, group: u64, from: Option<&PeerId>) {
        let fields = json!({
            "from": from.map(ToString::to_string),
            "topic": topic.to_string(),
            "group_id": group.to_string(),
            "service": "gossipsub",
        });
        self.say("All parts received", fields);
    }

    /// Every copy of every message counts.
    fn received(&self, traced: &Traced) {
        match traced {
            Traced::Event {
                event: Trace::Delivered { id, topic, from },
                ..
            } => self.copy(id, from, Some(topic)),
            Traced::Event {
                event:
                    Trace::Dropped {
                        id: Some(id),
                        peer,
                        why: DropCause::Duplicate,
                    },
                ..
            } => self.copy(id, peer, None),
            Traced::Lagged(lost) => eprintln!("{lost} events were not logged"),
            Traced::Event { .. } => {}
        }
    }

    fn copy(&self, id: &MessageId, from: &PeerId, topic: Option<&Topic>) {
        let Some(bytes) = id.as_bytes().first_chunk() else {
            return;
        };
        let mut fields = json!({
            "id": u64::from_be_bytes(*bytes).to_string(),
            "from": from.to_string(),
            "service": "gossipsub",
        });
        if let (Some(fields), Some(topic)) = (fields.as_object_mut(), topic) {
            fields.insert("topic".to_owned(), topic.to_string().into());
        }
        self.say("Received Message", fields);
    }
}

/// `2026-01-31T12:00:00.000000Z`: days since 1 March of the year 0 make years of 365.2425 days whose
/// last one is the leap day.
fn rfc3339(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{:02}.{:06}Z",
        seconds % 60,
        since_epoch.subsec_micros(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_the_analysis_reads_it() {
        let at = |seconds| rfc3339(Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000Z");
        assert_eq!(at(1_798_761_599), "2026-12-31T23:59:59.000000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn the_keys_of_the_nodes_are_those_that_everybody_knows() {
        let id = |number| key_of(number).to_peer_id().to_string();
        // The public key of the seed of zeros, as in RFC 8032 implementations everywhere.
        assert_eq!(
            id(0),
            "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
        );
        assert_ne!(id(0), id(1));
    }

    #[test]
    fn every_instruction_of_the_contract_is_read() {
        let script = json!({ "script": [
            { "type": "initGossipSub", "gossipSubParams": {
                "D": 8, "Dlo": 6, "HeartbeatInterval": 700_000_000, "MaxIHaveLength": 7,
                "IDontWantMessageThreshold": 100, "Connectors": 8, "Dout": null } },
            { "type": "connect", "connectTo": [1, 2] },
            { "type": "ifNodeIDEquals", "nodeID": 3, "instruction":
                { "type": "publish", "messageID": 4, "messageSizeBytes": 2048, "topicID": "a" } },
            { "type": "waitUntil", "elapsedSeconds": 30 },
            { "type": "subscribeToTopic", "topicID": "a" },
            { "type": "setTopicValidationDelay", "topicID": "a", "delaySeconds": 0.2 },
            { "type": "subscribeToTopic", "topicID": "b", "partial": true },
            { "type": "addPartialMessage", "topicID": "b", "groupID": 42, "parts": 255 },
            { "type": "addPartialMessage", "topicID": "b", "groupID": 43, "parts": 3,
              "eagerPushParts": 1 },
            { "type": "publishPartial", "topicID": "b", "groupID": 42, "publishToNodeIDs": [1] },
        ] });
        let params: Params = serde_json::from_value(script).unwrap();
        assert_eq!(params.script.len(), 10);
        let Instruction::PublishPartial { to, .. } = &params.script[9] else {
            panic!("{params:?}");
        };
        assert_eq!(to.as_deref(), Some(&[1][..]));
        let Instruction::InitGossipSub { params } = &params.script[0] else {
            panic!("{params:?}");
        };
        let (config, default) = (params.config(), GossipConfig::default());
        assert_eq!((config.d, config.d_low), (8, 6));
        assert_eq!(config.d_out, default.d_out);
        assert_eq!(config.heartbeat_interval, Duration::from_millis(700));
        assert_eq!(config.max_ihave_length, 7);
        assert_eq!(config.idontwant_threshold, 100);
    }
}
