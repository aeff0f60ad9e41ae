//! Bytes that tell when they arrive wrong.
//!
//! A block of random-looking bytes, repeated. Its length is a prime, so that no frame, buffer or
//! page size divides it: a piece that is lost, doubled or swapped does not fit where it lands.
//! Checking costs a comparison of memory, so that what is measured is the transfer.

/// The length of the block: the largest prime below 64 Ki.
const PERIOD: usize = 65_521;
/// The most bytes that [`Pattern::next`] returns at once.
const MAX_PIECE: usize = 64 * 1024;

/// The endless sequence, at some place in it.
#[derive(Clone)]
pub(crate) struct Pattern {
    /// The block and as much of its repetition as a piece needs.
    bytes: Vec<u8>,
    /// How many bytes were taken.
    position: u64,
}

/// Where the received bytes are not those sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Differs {
    /// Counted from the start of the sequence.
    pub(crate) at: u64,
}

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut state = 0_u64;
        let mut bytes: Vec<u8> = (0..PERIOD.div_ceil(8))
            .flat_map(|_| split_mix(&mut state).to_le_bytes())
            .take(PERIOD)
            .collect();
        bytes.extend_from_within(..);
        Self { bytes, position: 0 }
    }

    /// How many bytes were taken or checked.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes of the sequence: `max` of them, but at most 64 KiB.
    pub(crate) fn next(&mut self, max: u64) -> &[u8] {
        let len = usize::try_from(max).map_or(MAX_PIECE, |max| max.min(MAX_PIECE));
        let start = (self.position % PERIOD as u64) as usize;
        let piece = self.bytes.get(start..).unwrap_or_default();
        let piece = piece.get(..len).unwrap_or(piece);
        self.position += piece.len() as u64;
        piece
    }

    /// Compares `received` with the next bytes of the sequence.
    pub(crate) fn check(&mut self, mut received: &[u8]) -> Result<(), Differs> {
        while !received.is_empty() {
            let at = self.position;
            let expected = self.next(received.len() as u64);
            let (now, later) = received.split_at(expected.len().min(received.len()));
            if now != expected {
                let wrong = now.iter().zip(expected).position(|(a, b)| a != b);
                let at = at + wrong.unwrap_or(0) as u64;
                return Err(Differs { at });
            }
            received = later;
        }
        Ok(())
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): one step.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first(len: usize) -> Vec<u8> {
        let mut pattern = Pattern::new();
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let missing = (len - bytes.len()) as u64;
            bytes.extend_from_slice(pattern.next(missing));
        }
        bytes
    }

    proptest! {
        #[test]
        fn the_sequence_fits_however_it_is_cut(cuts in proptest::collection::vec(0usize..100_000, 0..8)) {
            let sent = first(cuts.iter().sum());
            let (mut pattern, mut rest) = (Pattern::new(), &sent[..]);
            for cut in cuts {
                let (now, later) = rest.split_at(cut);
                prop_assert_eq!(pattern.check(now), Ok(()));
                rest = later;
            }
            prop_assert_eq!(pattern.position(), sent.len() as u64);
        }

        #[test]
        fn a_changed_byte_is_found_where_it_is(len in 1usize..200_000, at in any::<prop::sample::Index>()) {
            let mut bytes = first(len);
            let at = at.index(len);
            bytes[at] ^= 1;
            prop_assert_eq!(Pattern::new().check(&bytes), Err(Differs { at: at as u64 }));
        }

        #[test]
        fn a_lost_piece_is_noticed(start in 0usize..100_000, len in 1usize..PERIOD) {
            let mut bytes = first(start + len + 64);
            bytes.drain(start..start + len);
            prop_assert!(Pattern::new().check(&bytes).is_err());
        }
    }
}
