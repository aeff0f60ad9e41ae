//! Frames that are the same, kept once.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::rng::mix;

/// The last frames that were sent. A message goes to every node several times, and each keeps it
/// for a while: as copies they would be most of the memory.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    known: BTreeMap<u64, Bytes>,
    order: VecDeque<u64>,
}

impl Frames {
    /// `frame`, shared with those that are equal.
    pub(crate) fn share(&mut self, frame: &[u8]) -> Bytes {
        let from = frame.len().saturating_sub(TAIL);
        let words = frame.get(from..).unwrap_or_default().chunks(8);
        let key = words.fold(frame.len() as u64, |key, word| {
            let word = word.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            mix(key ^ word)
        });
        if let Some(known) = self.known.get(&key).filter(|known| *known == frame) {
            return known.clone();
        }
        let bytes = Bytes::copy_from_slice(frame);
        if self.known.insert(key, bytes.clone()).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MEMORY
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        bytes
    }
}

/// Where frames of different messages differ: the sequence number is before topic and signature.
const TAIL: usize = 96;
/// More than are under way at a time.
const MEMORY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_frames_are_one_and_others_are_not_mixed_up() {
        let mut frames = Frames::default();
        let long = [7; 500];
        let mut other = long;
        other[0] = 8;

        let first = frames.share(&long);
        assert_eq!(first.as_ptr(), frames.share(&long).as_ptr());
        assert_eq!(frames.share(&other)[..], other, "the same tail");
        for n in 0..3 * MEMORY {
            assert_eq!(frames.share(&n.to_be_bytes())[..], n.to_be_bytes());
        }
        assert!(frames.known.len() <= MEMORY && frames.order.len() <= MEMORY);
    }
}
