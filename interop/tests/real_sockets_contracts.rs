//! The official contracts against a real redis: two processes of ours that find each other there.
#![expect(clippy::unwrap_used, reason = "a test may stop at once")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

const OURS: &str = env!("CARGO_BIN_EXE_p2p-interop");
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs redis-server (apt-get install redis-server): .ci/run contracts"]
fn the_transport_contract_holds_in_its_new_and_its_old_form() {
    let redis = Redis::start();

    for (key, muxer) in [("a5b50d5e", "yamux"), ("b5b50d5e", "mplex")] {
        let common = [
            ("REDIS_ADDR", &*redis.addr),
            ("TEST_KEY", key),
            ("TRANSPORT", "tcp"),
            ("SECURE_CHANNEL", "noise"),
            ("MUXER", muxer),
        ];
        let said = meet(&["transport"], "IS_DIALER", &common);

        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 4, "{said}");
        assert_eq!(lines.first(), Some(&"latency:"));
        let handshake = number(&said, "  handshake_plus_one_rtt: ");
        assert!(handshake > number(&said, "  ping_rtt: "), "{said}");
        assert_eq!(lines.last(), Some(&"  unit: ms"));
    }

    let common = [
        ("redis_addr", &*redis.addr),
        ("transport", "tcp"),
        ("security", "noise"),
        ("muxer", "yamux"),
        ("ip", "127.0.0.1"),
    ];
    let said = meet(&["transport"], "is_dialer", &common);
    assert!(
        said.starts_with("{\"handshakePlusOneRTTMillis\":"),
        "{said}"
    );
    assert!(said.contains("\"pingRTTMilllis\":"), "{said}");
}

#[test]
#[ignore = "needs redis-server (apt-get install redis-server): .ci/run contracts"]
fn the_perf_contract_holds_as_specified_and_as_others_have_it() {
    let redis = Redis::start();

    for (key, compat) in [("c5b50d5e", "spec"), ("d5b50d5e", "ut16")] {
        let common = [
            ("REDIS_ADDR", &*redis.addr),
            ("TEST_KEY", key),
            ("TRANSPORT", "tcp"),
            ("SECURE_CHANNEL", "noise"),
            ("MUXER", "yamux"),
            ("UPLOAD_BYTES", "1000000"),
            ("DOWNLOAD_BYTES", "1000000"),
            ("UPLOAD_ITERATIONS", "3"),
            ("DOWNLOAD_ITERATIONS", "3"),
            ("LATENCY_ITERATIONS", "5"),
        ];
        let said = meet(&["perf", "--compat", compat], "IS_DIALER", &common);

        let sections = ["upload:", "download:", "latency:"];
        for (section, samples) in sections.into_iter().zip([3, 3, 5]) {
            let (_, after) = said.split_once(&format!("\n{section}\n")).unwrap();
            assert!(
                after.starts_with(&format!("  iterations: {samples}\n")),
                "{said}"
            );
            assert!(number(after, "  median: ") > 0.0, "{said}");
        }
        assert_eq!(said.matches("  unit: Gbps\n").count(), 2, "{said}");
        assert!(said.ends_with("  unit: ms\n"), "{said}");
    }
}

#[test]
#[ignore = "needs redis-server (apt-get install redis-server): .ci/run contracts"]
fn a_dialer_without_a_listener_gives_up_with_an_error() {
    let redis = Redis::start();
    let mut command = application(&["transport"]);
    command.envs([
        ("IS_DIALER", "true"),
        ("REDIS_ADDR", &*redis.addr),
        ("TEST_KEY", "e5b50d5e"),
        ("TRANSPORT", "tcp"),
        ("SECURE_CHANNEL", "noise"),
        ("MUXER", "yamux"),
        ("TEST_TIMEOUT_SECS", "1"),
    ]);

    let output = command.stderr(Stdio::piped()).output().unwrap();

    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("nothing at \"e5b50d5e_listener_multiaddr\""),
        "{said}"
    );
}

/// What an image would do, with the tools of this machine.
#[test]
fn the_steps_of_the_dockerfile_make_the_program_that_it_starts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = fs::read_to_string(root.join("interop/Dockerfile")).unwrap();
    let after = |start: &str| -> Vec<String> {
        let lines = file.lines().filter_map(|line| line.strip_prefix(start));
        lines.map(str::to_owned).collect()
    };

    let build = after("RUN cargo ");
    let binary = after("COPY --from=build ");
    let entries = after("ENTRYPOINT ");

    assert_eq!(build, ["build --release --locked -p p2p-interop"]);
    assert!(
        binary
            .iter()
            .all(|it| it.starts_with("/p2p/target/release/p2p-interop "))
    );
    // What is copied is enough to build from: every member, and the versions of the lock file.
    let image = std::env::temp_dir().join(format!("p2p-image-{}", std::process::id()));
    fs::create_dir_all(&image).unwrap();
    for source in after("COPY ").iter().filter(|it| !it.starts_with("--from")) {
        let sources: Vec<_> = source.split(' ').collect();
        for source in sources.split_last().unwrap().1 {
            let from = root.join(source).canonicalize().unwrap();
            std::os::unix::fs::symlink(from, image.join(source)).unwrap();
        }
    }
    let resolved = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--depth",
            "0",
            "-p",
            "p2p-interop",
        ])
        .current_dir(&image)
        .output()
        .unwrap();
    fs::remove_dir_all(&image).unwrap();
    let said = String::from_utf8(resolved.stderr).unwrap();
    assert!(resolved.status.success(), "{said}");
    assert_eq!(entries.len(), 3, "one for each contract");
    for entry in entries {
        let words: Vec<String> = serde_json::from_str(&entry).unwrap();
        let (program, args) = words.split_first().unwrap();
        assert_eq!(program, "p2p-interop");
        let help = Command::new(OURS)
            .args(args)
            .arg("--help")
            .output()
            .unwrap();
        assert!(help.status.success(), "{entry}");
    }
}

/// Runs a listener and a dialer; what the dialer printed.
fn meet(args: &[&str], role: &str, variables: &[(&str, &str)]) -> String {
    let start = |dialer: &str| {
        let mut command = application(args);
        command.envs(variables.iter().copied()).env(role, dialer);
        Ended(command.spawn().unwrap())
    };
    let _listener = start("false");
    let mut dialer = start("true");
    let mut stdout = dialer.0.stdout.take().unwrap();
    let (say, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut said = String::new();
        stdout.read_to_string(&mut said).unwrap();
        say.send(said)
    });
    let said = heard.recv_timeout(PATIENCE);
    let said = said.expect("the dialer is done in time");
    assert!(dialer.0.wait().unwrap().success(), "{said}");
    said
}

fn application(args: &[&str]) -> Command {
    let mut command = Command::new(OURS);
    command.arg("testing").args(args).stdin(Stdio::null());
    command.stdout(Stdio::piped());
    command
}

fn number(text: &str, key: &str) -> f64 {
    let (_, after) = text.split_once(key).unwrap();
    after.lines().next().unwrap().parse().unwrap()
}

/// A server of our own, without a disk.
struct Redis {
    addr: String,
    _server: Ended,
}

impl Redis {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port().to_string();
        drop(free);
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let started = command.spawn();
        let mut server = Ended(started.expect("redis-server is installed"));
        let said = BufReader::new(server.0.stdout.take().unwrap());
        let (say, ready) = mpsc::channel();
        // To its end: a pipe that nobody reads would stop it.
        thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if line.to_ascii_lowercase().contains("ready to accept") {
                    let _ = say.send(());
                }
            }
        });
        let ready = ready.recv_timeout(PATIENCE);
        ready.expect("redis is ready in time");
        Self {
            addr: format!("127.0.0.1:{port}"),
            _server: server,
        }
    }
}

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
#[ignore = "takes as many seconds as its script says: .ci/run contracts"]
fn nodes_of_a_gossip_experiment_get_every_message_and_log_each_copy() {
    // node0 and node2 know node1 only: what node0 publishes passes through it.
    let said = experiment(
        91,
        &serde_json::json!({ "script": [
        { "type": "initGossipSub", "gossipSubParams": { "HeartbeatInterval": 100_000_000 } },
        { "type": "subscribeToTopic", "topicID": "experiment" },
        { "type": "waitUntil", "elapsedSeconds": 2 },
        { "type": "ifNodeIDEquals", "nodeID": 0,
          "instruction": { "type": "connect", "connectTo": [1] } },
        { "type": "ifNodeIDEquals", "nodeID": 2,
          "instruction": { "type": "connect", "connectTo": [1] } },
        { "type": "waitUntil", "elapsedSeconds": 5 },
        { "type": "ifNodeIDEquals", "nodeID": 0, "instruction":
          { "type": "publish", "messageID": 77, "messageSizeBytes": 2048, "topicID": "experiment" } },
        { "type": "waitUntil", "elapsedSeconds": 8 },
    ] }),
    );

    for (number, lines) in said.iter().enumerate().skip(1) {
        let got = |line: &&serde_json::Value| line["msg"] == "Received Message";
        let received: Vec<_> = lines.iter().filter(got).collect();
        assert_eq!(received.len(), 1, "node {number}: {lines:?}");
        assert_eq!(received[0]["id"], "77");
        assert_eq!(received[0]["topic"], "experiment");
    }
}

#[test]
#[ignore = "takes as many seconds as its script says: .ci/run contracts"]
fn nodes_of_a_gossip_experiment_put_a_message_together_from_its_parts() {
    // A chain: the halves are at its ends, and node1 has nothing.
    let said = experiment(
        92,
        &serde_json::json!({ "script": [
        { "type": "initGossipSub", "gossipSubParams": { "HeartbeatInterval": 100_000_000 } },
        { "type": "subscribeToTopic", "topicID": "parts", "partial": true },
        { "type": "ifNodeIDEquals", "nodeID": 0, "instruction":
          { "type": "addPartialMessage", "topicID": "parts", "groupID": 42, "parts": 15 } },
        { "type": "ifNodeIDEquals", "nodeID": 1, "instruction":
          { "type": "addPartialMessage", "topicID": "parts", "groupID": 42, "parts": 0 } },
        { "type": "ifNodeIDEquals", "nodeID": 2, "instruction":
          { "type": "addPartialMessage", "topicID": "parts", "groupID": 42, "parts": 240,
            "eagerPushParts": 16 } },
        { "type": "waitUntil", "elapsedSeconds": 2 },
        { "type": "ifNodeIDEquals", "nodeID": 0,
          "instruction": { "type": "connect", "connectTo": [1] } },
        { "type": "ifNodeIDEquals", "nodeID": 2,
          "instruction": { "type": "connect", "connectTo": [1] } },
        { "type": "waitUntil", "elapsedSeconds": 5 },
        { "type": "publishPartial", "topicID": "parts", "groupID": 42 },
        { "type": "waitUntil", "elapsedSeconds": 8 },
    ] }),
    );

    for (number, lines) in said.iter().enumerate() {
        let whole = |line: &&serde_json::Value| line["msg"] == "All parts received";
        let wholes: Vec<_> = lines.iter().filter(whole).collect();
        assert_eq!(wholes.len(), 1, "node {number}: {lines:?}");
        assert_eq!(wholes[0]["group_id"], "42");
        assert_eq!(wholes[0]["topic"], "parts");
    }
}

#[test]
#[ignore = "takes as many seconds as its script says: .ci/run contracts"]
fn nodes_of_a_gossip_experiment_publish_parts_to_the_nodes_that_are_named() {
    // node1 has everything and is not in the topic; the others know it and not each other.
    let said = experiment(
        93,
        &serde_json::json!({ "script": [
        { "type": "initGossipSub", "gossipSubParams": { "HeartbeatInterval": 100_000_000 } },
        { "type": "ifNodeIDEquals", "nodeID": 0, "instruction":
          { "type": "subscribeToTopic", "topicID": "parts", "partial": true } },
        { "type": "ifNodeIDEquals", "nodeID": 2, "instruction":
          { "type": "subscribeToTopic", "topicID": "parts", "partial": true } },
        { "type": "ifNodeIDEquals", "nodeID": 1, "instruction":
          { "type": "addPartialMessage", "topicID": "parts", "groupID": 42, "parts": 255 } },
        { "type": "waitUntil", "elapsedSeconds": 2 },
        { "type": "ifNodeIDEquals", "nodeID": 0,
          "instruction": { "type": "connect", "connectTo": [1] } },
        { "type": "ifNodeIDEquals", "nodeID": 2,
          "instruction": { "type": "connect", "connectTo": [1] } },
        { "type": "waitUntil", "elapsedSeconds": 5 },
        { "type": "ifNodeIDEquals", "nodeID": 1, "instruction":
          { "type": "publishPartial", "topicID": "parts", "groupID": 42,
            "publishToNodeIDs": [2] } },
        { "type": "waitUntil", "elapsedSeconds": 8 },
    ] }),
    );

    let [unnamed, publisher, named] = said.map(|lines| {
        let whole = |line: &&serde_json::Value| line["msg"] == "All parts received";
        lines.iter().filter(whole).count()
    });
    assert_eq!(publisher, 1, "the script gave it all parts");
    assert_eq!(named, 1, "it was published to");
    assert_eq!(unnamed, 0, "nobody named it");
}

/// What three nodes said, each a process of its own at `127.0.<net>.1<number>`.
fn experiment(net: u8, script: &serde_json::Value) -> [Vec<serde_json::Value>; 3] {
    let name = format!("p2p-gossip-{}-{net}.json", std::process::id());
    let params = std::env::temp_dir().join(name);
    fs::write(&params, script.to_string()).unwrap();
    // Any free port, taken again at once: the contract has them fixed.
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = port.local_addr().unwrap().port();

    let nodes = [0, 1, 2].map(|number| {
        Command::new(OURS)
            .args(["testing", "gossip", "--node", &number.to_string()])
            .arg("--params")
            .arg(&params)
            .args(["--listen", &format!("/ip4/127.0.{net}.1{{}}/tcp/{port}")])
            .args(["--others", &format!("/ip4/127.0.{net}.1{{}}/tcp/{port}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let said = nodes.map(|node| node.wait_with_output().unwrap());
    fs::remove_file(&params).unwrap();

    let mut number = 0;
    said.map(|output| {
        assert!(output.status.success(), "node {number}");
        let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let first = lines.first().unwrap();
        assert_eq!(first.get("msg").unwrap(), "PeerID");
        assert_eq!(first.get("node_id").unwrap(), number);
        number += 1;
        lines
    })
}
