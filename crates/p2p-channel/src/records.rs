//! What a protocol has to say about its records.

use std::error::Error;
use std::io;

/// The most that [`Records::due`] and [`Records::farewell`] write, in bytes.
pub const NOTICE: usize = 64;

/// What was in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// This many bytes for whoever reads the channel; may be none.
    Data(usize),
    /// Something between the two ends of the channel, and it was dealt with.
    Control,
    /// The remote has said that it sends nothing more.
    End,
}

/// How a protocol cuts bytes into records, seals and opens them, with the keys of one channel.
///
/// A record is `HEADER` bytes, what is sealed, and `TRAILER` bytes; together at most 64 KiB and a
/// header when received, and 16 KiB and both when sent.
///
/// After an error of [`Self::open`] nothing more is opened, and what is gathered and the last words
/// are still sealed. A seal that failed may be asked for again: each call uses up its nonce.
pub trait Records: Unpin {
    /// How long the part in front of the sealed bytes is.
    const HEADER: usize;
    /// How much sealing adds behind them; `HEADER + TRAILER` is at most 32.
    const TRAILER: usize;
    /// The link ended inside a record.
    const TRUNCATED: Self::Error;

    /// Why a channel fails; found inside the [`io::Error`].
    type Error: Error + Copy + Into<io::Error> + Send + Sync + Unpin + 'static;

    /// How long the first record of `bytes` is, header and all, and so never 0; `None` if too little of it is
    /// there to tell.
    ///
    /// # Errors
    /// What is there begins no record.
    fn measure(&self, bytes: &[u8]) -> Result<Option<usize>, Self::Error>;

    /// Seals `plain` into `record`, which is longer by `HEADER + TRAILER`.
    ///
    /// # Errors
    /// The keys are used up.
    fn seal_from(&mut self, plain: &[u8], record: &mut [u8]) -> Result<(), Self::Error>;

    /// Seals in place what is between the header and the trailer.
    ///
    /// # Errors
    /// The keys are used up.
    fn seal(&mut self, record: &mut [u8]) -> Result<(), Self::Error>;

    /// Opens `record` into the front of `room`, and may change what is behind it. `None` if there is not enough room, and nothing
    /// has happened.
    ///
    /// # Errors
    /// The record was forged, or is not allowed here.
    fn open_to(&mut self, record: &[u8], room: &mut [u8]) -> Result<Option<Opened>, Self::Error>;

    /// Opens `record` in place: what was in it begins behind the header.
    ///
    /// # Errors
    /// The record was forged, or is not allowed here.
    fn open(&mut self, record: &mut [u8]) -> Result<Opened, Self::Error>;

    /// The link ended between two records.
    ///
    /// # Errors
    /// The remote should have said so before.
    fn ended(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Seals what has to go out before the next record into `room`, [`NOTICE`] bytes; returns its
    /// length.
    ///
    /// # Errors
    /// The keys are used up.
    fn due(&mut self, room: &mut [u8]) -> Result<usize, Self::Error> {
        let _ = room;
        Ok(0)
    }

    /// Seals the last words into `room`, [`NOTICE`] bytes; returns their length. `why`: the
    /// channel failed; otherwise we close it.
    fn farewell(&mut self, why: Option<Self::Error>, room: &mut [u8]) -> usize {
        let _ = (why, room);
        0
    }
}
