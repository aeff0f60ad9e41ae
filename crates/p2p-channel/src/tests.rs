//! A protocol for tests, and what holds for every protocol.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use futures::executor::block_on;
use futures::future::poll_immediate;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use proptest::prelude::*;

use crate::{Channel, Opened, Received, Records};

/// Kinds of records.
const DATA: u8 = 1;
const NOTICE: u8 = 2;
const END: u8 = 3;
const COMPLAINT: u8 = 4;

/// A kind, a length, bytes turned around, the number of the record. Each `every`th record but one
/// goes out behind a notice.
struct Toy {
    every: u32,
    sent: u32,
    received: u32,
    notices: u32,
    fails_to_seal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum ToyError {
    #[error("cut")]
    Cut,
    #[error("forged")]
    Forged,
    #[error("used up")]
    UsedUp,
}

impl From<ToyError> for io::Error {
    fn from(error: ToyError) -> Self {
        Self::other(error)
    }
}

impl Toy {
    fn new(every: u32) -> Self {
        Self {
            every,
            sent: 0,
            received: 0,
            notices: 0,
            fails_to_seal: false,
        }
    }

    fn seal_kind(&mut self, kind: u8, record: &mut [u8]) -> Result<(), ToyError> {
        if self.fails_to_seal {
            return Err(ToyError::UsedUp);
        }
        let len = record.len() - Self::HEADER - Self::TRAILER;
        let (header, rest) = record.split_at_mut(Self::HEADER);
        let (body, trailer) = rest.split_at_mut(len);
        let [.., high, low] = len.to_be_bytes();
        header.copy_from_slice(&[kind, high, low]);
        body.iter_mut().for_each(|byte| *byte = !*byte);
        trailer.copy_from_slice(&self.sent.to_be_bytes());
        self.sent += 1;
        Ok(())
    }

    fn notice(&mut self, kind: u8, room: &mut [u8]) -> Result<usize, ToyError> {
        let record = &mut room[..Self::HEADER + 2 + Self::TRAILER];
        record[Self::HEADER..][..2].copy_from_slice(&[7, 7]);
        self.seal_kind(kind, record)?;
        Ok(record.len())
    }

    fn opened(&mut self, kind: u8, len: usize, trailer: &[u8]) -> Result<Opened, ToyError> {
        if trailer != self.received.to_be_bytes() {
            return Err(ToyError::Forged);
        }
        self.received += 1;
        match kind {
            DATA => Ok(Opened::Data(len)),
            NOTICE => {
                self.notices += 1;
                Ok(Opened::Control)
            }
            END => Ok(Opened::End),
            _ => Err(ToyError::Forged),
        }
    }
}

impl Records for Toy {
    const HEADER: usize = 3;
    const TRAILER: usize = 4;
    const TRUNCATED: ToyError = ToyError::Cut;

    type Error = ToyError;

    fn measure(&self, bytes: &[u8]) -> Result<Option<usize>, ToyError> {
        let header: Option<&[u8; 3]> = bytes.first_chunk();
        Ok(header.map(|&[_, high, low]| {
            Self::HEADER + usize::from(u16::from_be_bytes([high, low])) + Self::TRAILER
        }))
    }

    fn seal_from(&mut self, plain: &[u8], record: &mut [u8]) -> Result<(), ToyError> {
        record[Self::HEADER..][..plain.len()].copy_from_slice(plain);
        self.seal_kind(DATA, record)
    }

    fn seal(&mut self, record: &mut [u8]) -> Result<(), ToyError> {
        self.seal_kind(DATA, record)
    }

    fn open_to(&mut self, record: &[u8], room: &mut [u8]) -> Result<Option<Opened>, ToyError> {
        let (body, trailer) = record[Self::HEADER..].split_at(record.len() - 7);
        let Some(plain) = room.get_mut(..body.len()) else {
            return Ok(None);
        };
        let opened = self.opened(record[0], body.len(), trailer)?;
        for (to, from) in plain.iter_mut().zip(body) {
            *to = !from;
        }
        Ok(Some(opened))
    }

    fn open(&mut self, record: &mut [u8]) -> Result<Opened, ToyError> {
        let kind = record[0];
        let len = record.len() - 7;
        let (body, trailer) = record[Self::HEADER..].split_at_mut(len);
        let opened = self.opened(kind, len, trailer)?;
        body.iter_mut().for_each(|byte| *byte = !*byte);
        Ok(opened)
    }

    fn ended(&self) -> Result<(), ToyError> {
        Err(ToyError::Cut)
    }

    fn due(&mut self, room: &mut [u8]) -> Result<usize, ToyError> {
        if self.sent % self.every == self.every - 1 {
            self.notice(NOTICE, room)
        } else {
            Ok(0)
        }
    }

    fn farewell(&mut self, why: Option<ToyError>, room: &mut [u8]) -> usize {
        let kind = why.map_or(END, |_| COMPLAINT);
        self.notice(kind, room).unwrap_or(0)
    }
}

/// One direction of a link. Moves `step` bytes a call and holds at most `capacity`.
#[derive(Clone)]
struct Wire(Arc<Mutex<VecDeque<u8>>>, usize, usize);

impl Wire {
    fn new(step: usize, capacity: usize) -> Self {
        Self(Arc::default(), step, capacity)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().iter().copied().collect()
    }

    fn carry(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend(bytes);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut bytes = self.0.lock().unwrap();
        let count = buf.len().min(bytes.len()).min(self.1);
        if count == 0 {
            return Poll::Pending;
        }
        for (to, from) in buf.iter_mut().zip(bytes.drain(..count)) {
            *to = from;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut bytes = self.0.lock().unwrap();
        let count = buf.len().min(self.2 - bytes.len()).min(self.1);
        if count == 0 {
            return Poll::Pending;
        }
        bytes.extend(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn channel(wire: &Wire, every: u32) -> Channel<Wire, Toy> {
    Channel::new(wire.clone(), Toy::new(every), Received::default(), &[])
}

/// Both directions of a link: where reads come from, and where writes go.
struct Link<From>(From, Wire);

impl<From: AsyncRead + Unpin> AsyncRead for Link<From> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<From: Unpin> AsyncWrite for Link<From> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.1).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Everything that there is to read now; true if that is the end.
fn read_now(channel: &mut Channel<Wire, Toy>, size: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut all = Vec::new();
    let mut part = vec![0; size];
    loop {
        match block_on(poll_immediate(channel.read(&mut part))) {
            // A waker that was woken asks for another turn; the wire itself wakes nobody.
            None if !channel.get_ref().bytes().is_empty() => {}
            None => return Ok((all, false)),
            Some(Ok(0)) => return Ok((all, true)),
            Some(Ok(count)) => all.extend_from_slice(&part[..count]),
            Some(Err(error)) => return Err(error),
        }
    }
}

fn toy_error(error: &io::Error) -> Option<ToyError> {
    error.get_ref()?.downcast_ref().copied()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_read_whatever_is_said_in_between(
        every in 1_u32..6,
        step in 1_usize..50_000,
        capacity in 1_usize..100_000,
        writes in prop::collection::vec((0_usize..60_000, any::<bool>()), 0..8),
        size in 1_usize..50_000,
        unsent in 0_usize..2,
    ) {
        // A notice as the last message of a handshake.
        let wire = Wire::new(step, capacity);
        let mut first = Toy::new(every);
        let mut notice = [0; crate::NOTICE];
        let len = first.notice(NOTICE, &mut notice).unwrap() * unsent;
        first.sent = u32::from(unsent > 0);
        let mut near = Channel::new(wire.clone(), first, Received::default(), &notice[..len]);
        let mut far = channel(&wire, every);
        let (mut sent, mut read, mut ended) = (Vec::new(), Vec::new(), false);
        let mut take = |far: &mut _| {
            let (more, end) = read_now(far, size).unwrap();
            read.extend(more);
            ended |= end;
        };
        for (number, (len, flush)) in writes.iter().enumerate() {
            let data: Vec<u8> = (0..*len).map(|at| (at * 31 + number) as u8).collect();
            let mut rest = &data[..];
            while !rest.is_empty() {
                match block_on(poll_immediate(near.write(rest))) {
                    Some(count) => rest = &rest[count.unwrap()..],
                    None => take(&mut far),
                }
                prop_assert!(near.held() <= 3 * (16_384 + 32) + 64 + 128 * 1024);
            }
            sent.extend(data);
            while *flush && block_on(poll_immediate(near.flush())).is_none() {
                take(&mut far);
            }
        }
        while block_on(poll_immediate(near.close())).is_none() {
            take(&mut far);
        }
        prop_assert_eq!(near.held(), 0, "an idle channel holds no buffer");
        take(&mut far);
        prop_assert_eq!(far.held(), 0, "nor does one that has read everything");
        prop_assert!(read == sent);
        prop_assert!(ended, "the farewell ends it, though the link is still there");
    }
}

#[test]
fn who_closed_writes_no_more_and_still_reads() {
    let (there, back) = (Wire::new(99, 999), Wire::new(99, 999));
    let mut near = channel(&there, 9);
    block_on(near.close()).unwrap();
    let refused = block_on(near.write(b"more")).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
    let mut other = channel(&back, 9);
    block_on(other.write_all(b"still here")).unwrap();
    block_on(other.flush()).unwrap();
    there.0.lock().unwrap().clear();
    there.carry(&back.bytes());
    let mut buffer = [0; 10];
    block_on(near.read_exact(&mut buffer)).unwrap();
    assert_eq!(&buffer, b"still here");
}

#[test]
fn a_failure_is_told_to_the_remote_and_stays() {
    let wire = Wire::new(9999, 9999);
    let mut near = channel(&wire, 9);
    wire.carry(&[9, 0, 1, 0xff, 9, 9, 9, 9]);
    for _ in 0..2 {
        let error = block_on(near.read(&mut [0; 10])).unwrap_err();
        assert_eq!(toy_error(&error), Some(ToyError::Forged));
        let said = wire.bytes();
        assert_eq!(said.first(), Some(&COMPLAINT), "once: {said:?}");
        assert_eq!(said.len(), 9);
    }
    assert_eq!(near.failure(), Some(ToyError::Forged));
    let error = block_on(near.write(b"x")).unwrap_err();
    assert_eq!(toy_error(&error), Some(ToyError::Forged));
    assert!(block_on(near.flush()).is_err());
    block_on(near.close()).unwrap();
}

#[test]
fn a_writer_that_waits_hears_of_a_failure_that_a_reader_finds() {
    let (there, back) = (Wire::new(9999, 10), Wire::new(9999, 9999));
    let link = Link(back.clone(), there.clone());
    let mut near = Channel::new(link, Toy::new(9), Received::default(), &[]);
    block_on(near.write_all(&[7; 100])).unwrap();
    let (writer, reader) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let (wake_writer, wake_reader) = (Waker::from(writer.clone()), Waker::from(reader));
    let mut cx = Context::from_waker(&wake_writer);
    assert!(Pin::new(&mut near).poll_flush(&mut cx).is_pending());
    back.carry(&[9, 0, 1, 0xff, 9, 9, 9, 9]);
    let mut reading = Context::from_waker(&wake_reader);
    let read = Pin::new(&mut near).poll_read(&mut reading, &mut [0; 9]);
    assert!(matches!(read, Poll::Ready(Err(_))));
    assert_eq!(writer.0.load(Relaxed), 1);
    let flushed = Pin::new(&mut near).poll_flush(&mut cx);
    assert!(matches!(flushed, Poll::Ready(Err(_))));
    // What was written never went out, and closing says so.
    let error = block_on(near.close()).unwrap_err();
    assert_eq!(toy_error(&error), Some(ToyError::Forged));
}

#[test]
fn a_link_that_ends_too_early_can_still_be_written() {
    let there = Wire::new(9999, 9999);
    let ended = Link(futures::io::empty(), there.clone());
    let mut near = Channel::new(ended, Toy::new(9), Received::default(), &[]);
    for _ in 0..2 {
        let error = block_on(near.read(&mut [0; 9])).unwrap_err();
        assert_eq!(toy_error(&error), Some(ToyError::Cut));
    }
    assert_eq!(near.failure(), None);
    block_on(near.write_all(b"answer")).unwrap();
    block_on(near.close()).unwrap();
    let mut far = channel(&there, 99);
    assert_eq!(read_now(&mut far, 9).unwrap(), (b"answer".to_vec(), true));
}

#[test]
fn a_cipher_that_is_used_up_ends_writing_and_reading() {
    let wire = Wire::new(9999, 9999);
    let mut near = channel(&wire, 9);
    block_on(near.write_all(b"gathered")).unwrap();
    near.records_mut().fails_to_seal = true;
    let error = block_on(near.flush()).unwrap_err();
    assert_eq!(toy_error(&error), Some(ToyError::UsedUp));
    let error = block_on(near.read(&mut [0; 9])).unwrap_err();
    assert_eq!(toy_error(&error), Some(ToyError::UsedUp));
    assert!(wire.bytes().is_empty());
}

#[test]
fn good_records_in_front_of_an_end_or_a_failure_are_read_first() {
    for (last, expected) in [(END, Ok(0)), (COMPLAINT, Err(ToyError::Forged))] {
        let wire = Wire::new(9999, 9999);
        let mut sender = channel(&wire, 99);
        block_on(sender.write_all(b"good")).unwrap();
        block_on(sender.flush()).unwrap();
        let mut notice = [0; crate::NOTICE];
        let len = sender.records_mut().notice(last, &mut notice).unwrap();
        wire.carry(&notice[..len]);
        let mut near = channel(&wire, 99);
        let mut buffer = [0; 100];
        assert_eq!(block_on(near.read(&mut buffer)).unwrap(), 4);
        assert_eq!(&buffer[..4], b"good");
        for _ in 0..2 {
            let read = block_on(near.read(&mut buffer));
            assert_eq!(read.map_err(|error| toy_error(&error).unwrap()), expected);
        }
    }
}

#[test]
fn a_flood_of_notices_lets_others_run_however_it_is_cut() {
    // A read brings less than what is too much at once.
    let wire = Wire::new(60 * 9, usize::MAX);
    let mut toy = Toy::new(1);
    for _ in 0..200 {
        let mut notice = [0; crate::NOTICE];
        let len = toy.notice(NOTICE, &mut notice).unwrap();
        wire.carry(&notice[..len]);
    }
    let mut near = channel(&wire, 99);
    let mut yields = 0;
    block_on(poll_fn(|cx| {
        yields += 1;
        let read = Pin::new(&mut near).poll_read(cx, &mut [0; 9]);
        assert!(read.is_pending());
        if near.records_mut().notices < 200 {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }));
    assert_eq!(yields, 4);
}

#[test]
fn a_record_that_waits_for_its_end_holds_little() {
    let wire = Wire::new(9999, 9999);
    let mut near = channel(&wire, 9);
    wire.carry(&[DATA, 0, 9, 1, 2]);
    assert!(block_on(poll_immediate(near.read(&mut [0; 100]))).is_none());
    assert_eq!(near.held(), 5);
}
