//! Checks of a machine alone: lists of operations on two of them back to back, and what one of
//! them makes of received bytes.
#![expect(
    clippy::indexing_slicing,
    reason = "a machine that breaks a rule is a failed test"
)]

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use p2p_core::{Budget, ConnectionEnd, ErrorCode, Instant};

use crate::{Input, Key, Machine};

/// One step of a test: what, at which side, at which of its streams, how much.
pub type Op = (u8, bool, u8, u16);

/// Bytes are under way for this long at most: well within the keep-alive of a machine.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// Two machines and the bytes between them.
pub struct Duo<M> {
    sides: [Half<M>; 2],
    peer_id: fn(u64) -> u64,
    now: Instant,
    /// How long bytes may have been under way.
    under_way: Duration,
    trace: Vec<u64>,
}

struct Half<M> {
    machine: M,
    budget: Budget,
    /// Sent by the other side, not received.
    wire: Vec<u8>,
    open: Vec<Key>,
    /// By stream: what was accepted for sending, and how far the other side has read.
    written: BTreeMap<u64, u64>,
    read: BTreeMap<u64, u64>,
    closed: BTreeMap<u64, bool>,
}

/// The byte at `at` of a stream.
fn byte(id: u64, at: u64) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 8) ^ id).to_le_bytes()[0]
}

impl<M: Machine> Duo<M> {
    /// Two machines with their budgets. `peer_id` translates the stream id of one side to the one
    /// of the other.
    pub fn new(make: impl Fn(bool, &Budget) -> M, peer_id: fn(u64) -> u64) -> Self {
        let sides = [true, false].map(|dialer| {
            let budget = Budget::new("memory of a side", "test", 32 << 20);
            Half {
                machine: make(dialer, &budget),
                budget,
                wire: Vec::new(),
                open: Vec::new(),
                written: BTreeMap::new(),
                read: BTreeMap::new(),
                closed: BTreeMap::new(),
            }
        });
        Self {
            sides,
            peer_id,
            now: Instant::ZERO,
            under_way: Duration::ZERO,
            trace: Vec::new(),
        }
    }

    /// Runs `ops`, then ends everything, and checks that each byte written was read in order, or
    /// its reader had an error, and that nothing is left. Returns what happened, to compare.
    ///
    /// # Panics
    /// If a machine breaks a rule.
    pub fn run(mut self, ops: &[Op]) -> Vec<u64> {
        for op in ops {
            self.step(*op);
        }
        self.finish();
        self.trace
    }

    fn step(&mut self, (what, dialer, which, amount): Op) {
        let at = usize::from(dialer);
        let side = &mut self.sides[at];
        let key = side
            .open
            .get(usize::from(which) % side.open.len().max(1))
            .copied();
        let amount = usize::from(amount);
        let result = match (what % 12, key) {
            (0, _) => self.open(at),
            (1, _) => self.accept(at),
            (2..=4, Some(key)) => self.write(at, key, amount),
            (5 | 6, Some(key)) => self.read(at, key, amount),
            (7, Some(key)) => self.close(at, key),
            (8, Some(key)) if amount % 4 == 0 => {
                side.machine.reset(key, ErrorCode(7));
                1
            }
            (9, Some(key)) if amount % 4 == 0 => self.forget(at, key),
            (10, _) if amount % 16 == 0 => self.wait(Duration::from_millis(amount as u64)),
            _ => self.deliver(at, amount),
        };
        self.trace.push(result);
    }

    fn open(&mut self, at: usize) -> u64 {
        let side = &mut self.sides[at];
        match side.machine.open() {
            Poll::Ready(Ok(key)) => {
                side.open.push(key);
                side.machine.stream_id(key)
            }
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        }
    }

    fn accept(&mut self, at: usize) -> u64 {
        let side = &mut self.sides[at];
        match side.machine.accept() {
            Poll::Ready(key) => {
                side.open.push(key);
                side.machine.stream_id(key)
            }
            Poll::Pending => 0,
        }
    }

    fn write(&mut self, at: usize, key: Key, amount: usize) -> u64 {
        let side = &mut self.sides[at];
        let id = side.machine.stream_id(key);
        let so_far = side.written.entry(id).or_default();
        let shared_id = id.min((self.peer_id)(id));
        let end = *so_far + amount as u64;
        let bytes: Vec<u8> = (*so_far..end).map(|at| byte(shared_id, at)).collect();
        match side.machine.write(key, &bytes) {
            Poll::Ready(Ok(count)) => {
                assert!(count <= amount && (count > 0 || amount == 0));
                *so_far += count as u64;
                count as u64
            }
            Poll::Ready(Err(_)) => u64::MAX,
            Poll::Pending => 0,
        }
    }

    fn read(&mut self, at: usize, key: Key, amount: usize) -> u64 {
        let mut buffer = vec![0; amount + 1];
        let side = &mut self.sides[at];
        let id = side.machine.stream_id(key);
        let peer_id = (self.peer_id)(id);
        let result = side.machine.read(key, &mut buffer);
        let position = side.read.entry(id).or_default();
        match result {
            Poll::Ready(Ok(0)) => {
                let position = *position;
                let other = &self.sides[1 - at];
                assert_eq!(other.written.get(&peer_id).copied().unwrap_or(0), position);
                assert_eq!(other.closed.get(&peer_id), Some(&true), "end without close");
                u64::MAX - 1
            }
            Poll::Ready(Ok(count)) => {
                for read in &buffer[..count] {
                    assert_eq!(*read, byte(id.min(peer_id), *position), "stream {id}");
                    *position += 1;
                }
                count as u64
            }
            Poll::Ready(Err(_)) => u64::MAX,
            Poll::Pending => 0,
        }
    }

    fn close(&mut self, at: usize, key: Key) -> u64 {
        let side = &mut self.sides[at];
        let id = side.machine.stream_id(key);
        let done = side.machine.close(key).is_ok();
        if done {
            side.closed.insert(id, true);
        }
        u64::from(done)
    }

    fn forget(&mut self, at: usize, key: Key) -> u64 {
        let side = &mut self.sides[at];
        side.open.retain(|open| *open != key);
        side.machine.forget(key, self.now);
        1
    }

    /// Lets `time` pass. What is under way arrives before the other end would be taken for dead.
    fn wait(&mut self, mut time: Duration) -> u64 {
        while !time.is_zero() {
            let step = time.min(UNDER_WAY);
            time -= step;
            self.under_way += step;
            if self.under_way > UNDER_WAY {
                for at in [0, 1, 0, 1] {
                    self.deliver(at, usize::MAX);
                }
                self.under_way = step;
            }
            self.pass(step);
        }
        1
    }

    fn pass(&mut self, time: Duration) -> u64 {
        self.now += time;
        for side in &mut self.sides {
            if side.machine.poll_timeout().is_some_and(|at| at <= self.now) {
                let result = side.machine.handle_timeout(self.now);
                result.expect("honest peers do not end the connection");
            }
        }
        1
    }

    /// Moves output to the wire, and up to `amount` bytes of the wire into the other machine.
    fn deliver(&mut self, at: usize, amount: usize) -> u64 {
        let mut out = Vec::new();
        self.sides[at].machine.take_output(&mut out, self.now);
        let other = &mut self.sides[1 - at];
        other.wire.extend(out);
        let count = other.wire.len().min(amount);
        let bytes: Vec<u8> = other.wire.drain(..count).collect();
        let mut input = match amount % 2 {
            0 => Input::Borrowed(&bytes),
            _ => Input::Shared(Bytes::from(bytes.clone())),
        };
        let result = other.machine.handle_input(&mut input, self.now);
        result.expect("honest peers do not end the connection");
        assert!(input.is_empty() || !other.machine.wants_input());
        let rest = input.as_slice().to_vec();
        other.wire.splice(0..0, rest);
        for side in &mut self.sides {
            while side.machine.poll_wake().is_some() {}
        }
        count as u64
    }

    fn finish(&mut self) {
        for _ in 0..24 {
            for at in [0, 1] {
                while self.accept(at) != 0 {}
                for key in self.sides[at].open.clone() {
                    self.close(at, key);
                    while !matches!(self.read(at, key, 1 << 16), 0 | 0xffff_ffff_ffff_fffe..) {}
                }
                self.deliver(at, usize::MAX);
            }
        }
        for at in [0, 1] {
            for key in self.sides[at].open.clone() {
                let end = self.read(at, key, 10);
                assert!(end >= u64::MAX - 1, "a reader waits for ever");
                self.forget(at, key);
            }
        }
        for _ in 0..4 {
            self.deliver(0, usize::MAX);
            self.deliver(1, usize::MAX);
            self.pass(Duration::from_secs(5));
        }
        for side in &mut self.sides {
            side.machine.trim();
            assert_eq!(side.machine.streams(), 0, "streams left");
            assert_eq!(side.budget.used(), 0, "bytes left");
        }
    }
}

/// What the owner of a machine can see after some input.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// Accepted streams: id, what was read, and how it ended (`None`: open, else the error).
    pub streams: Vec<(u64, Vec<u8>, Option<String>)>,
    /// What the machine sends.
    pub output: Vec<u8>,
    /// How the connection ended.
    pub end: Option<String>,
}

/// Feeds `parts` to `machine`, then accepts and reads everything.
pub fn observe<M: Machine>(mut machine: M, parts: &[&[u8]]) -> Seen {
    let mut end = None;
    for part in parts {
        let mut input = Input::Borrowed(part);
        if let Err(error) = machine.handle_input(&mut input, Instant::ZERO) {
            end = Some(error.to_string());
            break;
        }
    }
    let mut streams = Vec::new();
    while let Poll::Ready(key) = machine.accept() {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        let state = loop {
            match machine.read(key, &mut buffer) {
                Poll::Ready(Ok(0)) => break Some("end".to_owned()),
                Poll::Ready(Ok(count)) => bytes.extend_from_slice(&buffer[..count]),
                Poll::Ready(Err(error)) => break Some(error.to_string()),
                Poll::Pending => break None,
            }
        };
        streams.push((machine.stream_id(key), bytes, state));
    }
    let mut output = Vec::new();
    machine.take_output(&mut output, Instant::ZERO);
    Seen {
        streams,
        output,
        end,
    }
}

/// Checks that `bytes` mean the same however they are cut.
///
/// # Panics
/// If they do not.
pub fn check_every_split<M: Machine>(make: impl Fn() -> M, bytes: &[u8]) -> Seen {
    let whole = observe(make(), &[bytes]);
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(observe(make(), &[head, tail]), whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(observe(make(), &single), whole, "byte by byte");
    whole
}

/// Feeds bytes from a hostile remote; nobody accepts, reads or sends.
///
/// # Errors
/// How the connection ended.
pub fn feed<M: Machine>(machine: &mut M, bytes: &[u8]) -> Result<(), ConnectionEnd> {
    let mut input = Input::Borrowed(bytes);
    machine.handle_input(&mut input, Instant::ZERO)
}
