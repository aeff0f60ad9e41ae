//! What is compared.

/// One job on one stack.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) job: &'static str,
    pub(crate) security: &'static str,
    pub(crate) muxer: &'static str,
    /// Streams, connections or requests at a time.
    pub(crate) streams: usize,
    /// Bytes of a write or of a request.
    pub(crate) write: usize,
    /// The flags of the dialer; `--chunk` and `--behaviours` go to the listener too.
    pub(crate) flags: Vec<String>,
    pub(crate) both_flags: Vec<String>,
    /// Which number of the result counts, as a JSON pointer; and which one is CPU.
    pub(crate) key: &'static str,
    pub(crate) cpu_key: Option<&'static str>,
    pub(crate) unit: &'static str,
    pub(crate) more_is_better: bool,
    /// Round trip of a delaying proxy between the ends, in milliseconds.
    pub(crate) rtt_ms: Option<f64>,
    /// With whom ours is compared.
    pub(crate) against: Against,
}

/// With whom ours is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    /// The other implementations.
    Peers,
    /// The floor: the `raw` stacks of the node program.
    Floor,
    /// Ours on tokio; what is measured is ours on async-std.
    OursOnTokio,
    /// The `yamux` crate, within this process.
    YamuxCrate,
}

impl Case {
    pub(crate) fn name(&self) -> String {
        let (job, security, muxer) = (self.job, self.security, self.muxer);
        format!(
            "{job} {security}+{muxer} ×{} {} B",
            self.streams, self.write
        )
    }

    pub(crate) fn stack(&self) -> String {
        match (self.security, self.muxer) {
            ("quic", _) => "quic".to_owned(),
            (security, muxer) => format!("tcp+{security}+{muxer}"),
        }
    }

    fn new(job: &'static str, security: &'static str, muxer: &'static str) -> Self {
        Self {
            job,
            security,
            muxer,
            streams: 1,
            write: 0,
            flags: Vec::new(),
            both_flags: Vec::new(),
            key: "",
            cpu_key: None,
            unit: "",
            more_is_better: true,
            rtt_ms: None,
            against: Against::Peers,
        }
    }

    fn flags(mut self, text: &str) -> Self {
        self.flags
            .extend(text.split_whitespace().map(str::to_owned));
        self
    }

    fn counts(
        mut self,
        key: &'static str,
        unit: &'static str,
        cpu_key: Option<&'static str>,
    ) -> Self {
        (self.key, self.unit, self.cpu_key) = (key, unit, cpu_key);
        self
    }

    fn less_is_better(mut self) -> Self {
        self.more_is_better = false;
        self
    }

    fn against(mut self, against: Against) -> Self {
        self.against = against;
        self
    }

    /// Bytes up, `write` at a time.
    fn bulk(
        job: &'static str,
        (security, muxer): (&'static str, &'static str),
        streams: usize,
        write: usize,
    ) -> Self {
        let bytes = match write {
            ..512 => "64m",
            512..8192 => "256m",
            _ => "1g",
        };
        let mut case = Self::new(job, security, muxer)
            .flags(&format!(
                "--job bulk --dir up --bytes {bytes} --streams {streams}"
            ))
            .counts("/up/gib_s", "GiB/s", Some("/up/cpu_s_per_gib"));
        case.both_flags = vec!["--chunk".into(), write.to_string()];
        (case.streams, case.write) = (streams, write);
        case
    }
}

const STACKS: [(&str, &str); 6] = [
    ("noise", "yamux"),
    ("noise", "mplex"),
    ("tls", "yamux"),
    ("quic", "quic"),
    ("plaintext", "yamux"),
    ("plaintext", "mplex"),
];
const NOISE: (&str, &str) = ("noise", "yamux");

/// Every case, in the order of the table.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = bulk();
    cases.extend(little_messages());
    cases.extend(memory());
    cases.extend(path());
    for (streams, write) in [
        (1, 65536),
        (100, 65536),
        (1, 1024),
        (100, 1024),
        (1, 100),
        (100, 100),
    ] {
        let mut case = Case::new("muxer", "none", "yamux")
            .counts("", "GiB/s", None)
            .against(Against::YamuxCrate);
        (case.streams, case.write) = (streams, write);
        cases.push(case);
    }
    cases.extend(runtimes());
    cases
}

fn bulk() -> Vec<Case> {
    let mut cases = Vec::new();
    for stack in STACKS {
        for streams in [1, 10] {
            cases.push(Case::bulk("bulk", stack, streams, 65536));
        }
    }
    for write in [100, 1024, 16 * 1024, 256 * 1024] {
        cases.push(Case::bulk("small-writes", NOISE, 1, write));
    }
    let down = Case::bulk("bulk-down", NOISE, 1, 65536);
    cases.push(Case {
        flags: down
            .flags
            .iter()
            .map(|flag| flag.replace("up", "down"))
            .collect(),
        key: "/down/gib_s",
        cpu_key: Some("/down/cpu_s_per_gib"),
        ..down
    });
    for stack in [NOISE, ("plaintext", "yamux")] {
        cases.push(Case::bulk("floor", stack, 1, 65536).against(Against::Floor));
    }
    cases
}

fn little_messages() -> Vec<Case> {
    let mut cases = Vec::new();
    for (security, muxer) in STACKS {
        let conn = |flags: &str, at_once| {
            let mut case = Case::new("conn", security, muxer).flags(flags);
            (case.streams, case.write) = (at_once, 1);
            case
        };
        let cpu = Some("/cpu_us_per_conn");
        cases.push(
            conn("--job conn --n 500", 1)
                .counts("/latency/p50_us", "µs", cpu)
                .less_is_better(),
        );
        cases.push(
            conn("--job conn --n 3000 --concurrency 100", 100).counts("/conn_s", "conn/s", cpu),
        );
        let rpc = |flags: &str, at_once| {
            let mut case = Case::new("rpc", security, muxer).flags(flags);
            (case.streams, case.write) = (at_once, 100);
            case
        };
        let cpu = Some("/cpu_us_per_req");
        cases.push(
            rpc("--job rpc --n 10000", 1)
                .counts("/latency/p50_us", "µs", cpu)
                .less_is_better(),
        );
        cases.push(rpc("--job rpc --n 60000 --inflight 64", 64).counts("/req_s", "req/s", cpu));
        let mut pingpong = Case::new("pingpong", security, muxer)
            .flags("--job pingpong --n 20000")
            .counts("/latency/p50_us", "µs", cpu)
            .less_is_better();
        pingpong.write = 32;
        cases.push(pingpong);
    }
    cases
}

fn memory() -> Vec<Case> {
    let mut cases = Vec::new();
    for (job, behaviours) in [("memory-conn-min", "min"), ("memory-conn", "std")] {
        let mut case = Case::new(job, "noise", "yamux")
            .flags("--job idle-conns --n 1000 --settle 5")
            .counts("/listener_bytes_per_conn", "B", None)
            .less_is_better();
        case.both_flags = vec!["--behaviours".into(), behaviours.into()];
        case.streams = 1000;
        cases.push(case);
    }
    for (job, key) in [
        ("memory-stream", "/listener_bytes_per_stream"),
        ("memory-stream-dialer", "/dialer_bytes_per_stream"),
    ] {
        let mut case = Case::new(job, "noise", "yamux")
            .flags("--job idle-streams --n 4000 --settle 3")
            .counts(key, "B", None)
            .less_is_better();
        case.both_flags = vec!["--max-streams".into(), "4096".into()];
        case.streams = 4000;
        cases.push(case);
    }
    cases
}

fn path() -> Vec<Case> {
    let mut cases = Vec::new();
    for (job, key) in [
        ("rtt-first-byte", "/first_byte/rtts"),
        ("rtt-next-stream", "/second_stream/rtts"),
    ] {
        let mut case = Case::new(job, "noise", "yamux")
            .flags("--job first-byte --n 3 --rtt-ms 500")
            .counts(key, "RTT", None)
            .less_is_better();
        // Long, so that what a busy machine adds is a small part of it.
        case.rtt_ms = Some(500.0);
        cases.push(case);
    }
    for (against, stack) in [
        (Against::Peers, NOISE),
        (Against::Floor, NOISE),
        (Against::Floor, ("plaintext", "yamux")),
    ] {
        let mut case = Case::bulk("link-63ms", stack, 1, 65536).against(against);
        case.rtt_ms = Some(63.0);
        cases.push(case);
    }
    cases
}

/// The default runtime beside tokio, which every other case runs on.
fn runtimes() -> Vec<Case> {
    let rpc = |flags: &str, at_once| {
        let mut case = Case::new("runtime-rpc", "noise", "yamux")
            .flags(flags)
            .against(Against::OursOnTokio);
        (case.streams, case.write) = (at_once, 100);
        case
    };
    let cpu = Some("/cpu_us_per_req");
    vec![
        Case::bulk("runtime-bulk", NOISE, 1, 65536).against(Against::OursOnTokio),
        rpc("--job rpc --n 10000", 1)
            .counts("/latency/p50_us", "µs", cpu)
            .less_is_better(),
        rpc("--job rpc --n 60000 --inflight 64", 64).counts("/req_s", "req/s", cpu),
    ]
}
