//! The bytes that a stream has received and nobody has read.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use p2p_core::Exceeded;

use crate::copy::{append, copy};
use crate::{Account, Input, Spares};

/// The smallest chunk that small payloads are collected in, in bytes: the answer to a negotiation
/// waits in one for as long as nobody reads the stream.
const CHUNK_MIN: usize = 64;
/// The largest.
const CHUNK_MAX: usize = 16 * 1024;
/// The largest that is kept for whichever stream is next, in bytes.
pub(crate) const SPARE_MAX: usize = 256;

/// A receive queue. Memory follows its contents: at most twice the bytes queued, and 256 more.
/// What is left of it when it is drained goes to [`Spares`], for whichever stream is next.
#[derive(Debug, Default)]
pub struct RecvQueue {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// What the chunks cost.
    held: usize,
    /// What was paid for in advance. The account is charged for the larger of the two.
    prepaid: usize,
}

#[derive(Debug)]
pub(crate) enum Chunk {
    /// Collected small payloads, read up to `at`. Never grows beyond its first capacity.
    Own {
        bytes: Vec<u8>,
        at: usize,
        charged: usize,
    },
    /// A slice of a read buffer, and what it was charged.
    Shared { bytes: Bytes, charged: usize },
}

impl Chunk {
    fn unread(&self) -> &[u8] {
        match self {
            Self::Own { bytes, at, .. } => bytes.get(*at..).unwrap_or_default(),
            Self::Shared { bytes, .. } => bytes,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Own { at, .. } => *at += count,
            Self::Shared { bytes, .. } => bytes.advance(count),
        }
    }

    fn charged(&self) -> usize {
        match self {
            Self::Own { charged, .. } | Self::Shared { charged, .. } => *charged,
        }
    }

    /// Makes it empty, if it is small and can be filled again.
    pub(crate) fn recycle(&mut self) -> bool {
        match self {
            Self::Own { bytes, at, charged } if *charged <= SPARE_MAX => {
                bytes.clear();
                *at = 0;
                true
            }
            Self::Own { .. } | Self::Shared { .. } => false,
        }
    }
}

impl RecvQueue {
    /// Unread bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Pays for `bytes` more that the queue may come to hold.
    ///
    /// # Errors
    /// [`Exceeded`]; nothing has changed.
    pub fn prepay(&mut self, bytes: usize, account: &mut Account) -> Result<(), Exceeded> {
        let before = self.cost();
        self.prepaid = self.prepaid.saturating_add(bytes);
        if let Err(exceeded) = account.charge(self.cost() - before) {
            self.prepaid -= bytes;
            return Err(exceeded);
        }
        Ok(())
    }

    /// Gives back what was paid for in advance.
    pub fn forgo(&mut self, account: &mut Account) {
        let before = self.cost();
        self.prepaid = 0;
        account.refund(before - self.cost());
    }

    fn cost(&self) -> usize {
        self.held.max(self.prepaid)
    }

    fn charge(&mut self, bytes: usize, account: &mut Account) -> Result<(), Exceeded> {
        let before = self.cost();
        self.held += bytes;
        if let Err(exceeded) = account.charge(self.cost() - before) {
            self.held -= bytes;
            return Err(exceeded);
        }
        Ok(())
    }

    fn refund(&mut self, bytes: usize, account: &mut Account) {
        let before = self.cost();
        self.held -= bytes;
        account.refund(before - self.cost());
    }

    /// Takes `count` bytes off the front of `input`, paid for by `account`.
    ///
    /// # Errors
    /// [`Exceeded`]; nothing was taken.
    pub fn push(
        &mut self,
        input: &mut Input<'_>,
        count: usize,
        spares: &mut Spares,
        account: &mut Account,
    ) -> Result<(), Exceeded> {
        let count = count.min(input.len());
        if count == 0 {
            return Ok(());
        }
        if self.chunks.capacity() == 0 {
            self.chunks = spares.take(account);
            let kept: usize = self.chunks.iter().map(Chunk::charged).sum();
            if let Err(exceeded) = self.charge(kept, account) {
                self.chunks = VecDeque::new();
                return Err(exceeded);
            }
        }
        if let Some(bytes) = input.share(count, || self.charge(count, account))? {
            let charged = count;
            self.chunks.push_back(Chunk::Shared { bytes, charged });
        } else {
            self.collect(input.as_slice().get(..count).unwrap_or_default(), account)?;
            input.skip(count);
        }
        self.len += count;
        Ok(())
    }

    /// Copies `payload` behind the last chunk's contents, or into a new chunk.
    fn collect(&mut self, payload: &[u8], account: &mut Account) -> Result<(), Exceeded> {
        let mut last = 0;
        if let Some(Chunk::Own { bytes, .. }) = self.chunks.back_mut() {
            last = bytes.capacity();
            if last - bytes.len() >= payload.len() {
                append(bytes, payload);
                return Ok(());
            }
        }
        // Chunks grow with the queue, so that memory stays in proportion to what is queued.
        let proportion = (self.len + payload.len()).next_power_of_two();
        let capacity = (last * 2).min(proportion).clamp(CHUNK_MIN, CHUNK_MAX);
        let capacity = capacity.max(payload.len());
        self.charge(capacity, account)?;
        let mut bytes = Vec::with_capacity(capacity);
        append(&mut bytes, payload);
        self.chunks.push_back(Chunk::Own {
            bytes,
            at: 0,
            charged: capacity,
        });
        Ok(())
    }

    /// Moves bytes into `buf`; returns how many.
    pub fn read(&mut self, buf: &mut [u8], spares: &mut Spares, account: &mut Account) -> usize {
        let mut copied = 0;
        while copied < buf.len() {
            let Some(chunk) = self.chunks.front_mut() else {
                break;
            };
            let unread = chunk.unread();
            let space = buf.get_mut(copied..).unwrap_or_default();
            let count = unread.len().min(space.len());
            if let (Some(to), Some(from)) = (space.get_mut(..count), unread.get(..count)) {
                copy(to, from);
            }
            let drained = count == unread.len();
            chunk.advance(count);
            copied += count;
            if !drained {
                break;
            }
            if self.chunks.len() == 1 {
                self.put_away(spares, account);
                break;
            }
            self.drop_front(account);
        }
        self.len -= copied;
        copied
    }

    fn drop_front(&mut self, account: &mut Account) {
        if let Some(chunk) = self.chunks.pop_front() {
            self.refund(chunk.charged(), account);
        }
    }

    /// Everything is read: leaves what can be used again to the next stream.
    fn put_away(&mut self, spares: &mut Spares, account: &mut Account) {
        self.refund(self.held, account);
        spares.keep(std::mem::take(&mut self.chunks), account);
    }

    /// Drops everything; returns how many unread bytes that were.
    pub fn clear(&mut self, account: &mut Account) -> usize {
        self.refund(self.held, account);
        self.chunks = VecDeque::new();
        std::mem::take(&mut self.len)
    }

    /// Gives spare memory back.
    pub fn trim(&mut self, account: &mut Account) {
        if self.len == 0 {
            self.clear(account);
        }
    }
}

#[cfg(test)]
mod tests {
    use p2p_core::Budget;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_paid_in_advance_is_not_charged_again(
            ops in proptest::collection::vec((0usize..4, 1usize..40_000), 0..100),
        ) {
            let budget = Budget::unlimited();
            let mut account = Account::new(&budget);
            let mut spares = Spares::default();
            let mut queue = RecvQueue::default();
            let mut prepaid = 0;
            for (op, size) in ops {
                match op {
                    0 => {
                        queue.prepay(size, &mut account).unwrap();
                        prepaid += size;
                    }
                    1 => {
                        let bytes = Bytes::from(vec![7; size]);
                        let input = &mut Input::from(bytes);
                        queue.push(input, size, &mut spares, &mut account).unwrap();
                    }
                    2 => {
                        queue.read(&mut vec![0; size], &mut spares, &mut account);
                    }
                    _ => {
                        queue.clear(&mut account);
                    }
                }
                let held: usize = queue.chunks.iter().map(Chunk::charged).sum();
                prop_assert_eq!(account.used(), held.max(prepaid) + spares.held());
            }
            queue.clear(&mut account);
            queue.forgo(&mut account);
            spares.trim(&mut account);
            prop_assert_eq!(account.used(), 0);
        }

        #[test]
        fn a_refusal_changes_nothing(prepaid in 0usize..1000, size in 1000usize..5000) {
            let budget = Budget::new("test", "test", 999);
            let mut account = Account::new(&budget);
            let mut queue = RecvQueue::default();
            prop_assume!(queue.prepay(prepaid, &mut account).is_ok());
            prop_assert!(queue.prepay(1000, &mut account).is_err());
            let bytes = vec![7; size];
            let input = &mut Input::from(&bytes[..]);
            prop_assert!(queue.push(input, size, &mut Spares::default(), &mut account).is_err());
            prop_assert_eq!((account.used(), queue.len()), (prepaid, 0));
        }
    }

    #[test]
    fn a_payload_that_cannot_be_paid_for_is_not_taken() {
        for len in [1, CHUNK_MAX, 64 * 1024] {
            let budget = Budget::new("memory", "memory_budget", len.min(CHUNK_MIN) - 1);
            let mut account = Account::new(&budget);
            let mut input = Input::from(Bytes::from(vec![7; len + 5]));
            let mut queue = RecvQueue::default();

            let spares = &mut Spares::default();
            assert!(queue.push(&mut input, len, spares, &mut account).is_err());
            assert_eq!((queue.len(), input.len()), (0, len + 5));
        }
    }

    #[test]
    fn a_drained_queue_holds_nothing_and_the_next_message_of_any_stream_takes_over_its_memory() {
        let mut account = Account::new(&Budget::unlimited());
        let mut spares = Spares::default();
        let (mut first, mut second) = (RecvQueue::default(), RecvQueue::default());
        let message = |queue: &mut RecvQueue, spares: &mut Spares, account: &mut Account| {
            let input = &mut Input::from(&[7; 40][..]);
            queue.push(input, 40, spares, account).unwrap();
            queue.chunks.front().unwrap().unread().as_ptr()
        };

        let at = message(&mut first, &mut spares, &mut account);
        assert_eq!(first.read(&mut [0; 40], &mut spares, &mut account), 40);
        assert_eq!((first.chunks.capacity(), first.cost()), (0, 0));
        assert_eq!(account.used(), spares.held());

        assert_eq!(message(&mut second, &mut spares, &mut account), at);
        assert_eq!((spares.held(), account.used()), (0, CHUNK_MIN));
    }

    #[test]
    fn of_a_drained_queue_the_chunk_that_fits_most_is_kept() {
        let mut account = Account::new(&Budget::unlimited());
        let mut spares = Spares::default();
        let mut queue = RecvQueue::default();
        let small = |queue: &RecvQueue| queue.chunks.iter().map(Chunk::charged).collect::<Vec<_>>();
        for (round, kept) in [(0, vec![64, 128]), (1, vec![128])] {
            for len in [40, 70] {
                let input = &mut Input::from(&[7; 70][..len]);
                queue.push(input, len, &mut spares, &mut account).unwrap();
            }
            assert_eq!(small(&queue), kept, "round {round}");
            queue.read(&mut [0; 200], &mut spares, &mut account);
        }
    }

    #[test]
    fn of_many_drained_queues_only_some_are_kept() {
        let mut account = Account::new(&Budget::unlimited());
        let mut spares = Spares::default();
        let mut queues: Vec<_> = (0..1000).map(|_| RecvQueue::default()).collect();
        for queue in &mut queues {
            let input = &mut Input::from(&[7; 40][..]);
            queue.push(input, 40, &mut spares, &mut account).unwrap();
        }
        for queue in &mut queues {
            queue.read(&mut [0; 40], &mut spares, &mut account);
        }
        assert!((1..16 * 1024).contains(&account.used()));
        spares.trim(&mut account);
        assert_eq!(account.used(), 0);
    }
}
