//! The records of an established channel (RFC 8446, section 5), and what is said between them:
//! alerts, key updates, tickets.
//!
//! rustls does the handshake, and derives each key. Sealing and opening is done here because its
//! own way moves each byte two times more, and asks for memory for each record.

use std::fmt;
use std::io;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce,
    UnboundKey,
};
use p2p_channel::Opened;
use p2p_core::Blame;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ConnectionTrafficSecrets, ExtractedSecrets};

use crate::refuses_certificate;

/// In front of a record: its type, a version of no meaning, its length.
pub(crate) const HEADER: usize = 5;

/// The tag of each cipher.
const TAG: usize = 16;

/// The most data in a record.
const MAX_PLAIN: usize = 1 << 14;

/// The most that may be behind a header.
const MAX_SEALED: usize = MAX_PLAIN + 256;

/// The longest message between the ends that is taken after the handshake: tickets, of which we
/// use none.
const MAX_MESSAGE: usize = 1 << 14;

/// How often the remote may change its key without sending anything in between.
const MAX_UPDATES: u8 = 32;

/// Types of records. What is encrypted says its own inside.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
pub(crate) const DATA: u8 = 23;

/// Messages after the handshake.
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Why an established channel failed. Found inside an [`io::Error`]; the channel stays failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The remote gave the channel up; its alert. A dialer hears so that its certificate is
    /// refused.
    #[error("the remote ended the channel (alert {0:?})")]
    Alert(AlertDescription),
    /// No new key could be made where the old one must not be used for more.
    #[error("the channel's key is used up")]
    Exhausted,
    /// A record was forged, changed, replayed or lost on the way.
    #[error("a record could not be opened: it was forged or changed on the way")]
    Forged,
    /// A message of TLS is not what its kind has to be; what is wrong with it.
    #[error("a message of TLS is malformed: {0}")]
    Malformed(&'static str),
    /// A record is longer than allowed. Nothing was allocated for it.
    #[error("record of {len} bytes, at most {max} allowed")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The link ended, and the remote had not said that it would.
    #[error("the link ended before the channel did")]
    Truncated,
    /// Something that must not come now; what it was.
    #[error("the remote sent {0}")]
    Unexpected(&'static str),
}

impl ChannelError {
    /// The failure inside `error`, if it is one.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// Who to hold responsible.
    pub fn blame(self) -> Blame {
        match self {
            Self::Exhausted => Blame::Us,
            Self::Alert(alert) if refuses_certificate(alert) => Blame::Network,
            Self::Truncated => Blame::Network,
            Self::Alert(_)
            | Self::Forged
            | Self::Malformed(_)
            | Self::TooLong { .. }
            | Self::Unexpected(_) => Blame::Remote,
        }
    }

    /// What to tell the remote, if anything.
    fn alert(self) -> Option<AlertDescription> {
        match self {
            Self::Alert(_) | Self::Truncated => None,
            Self::Exhausted => Some(AlertDescription::InternalError),
            Self::Forged => Some(AlertDescription::BadRecordMac),
            Self::Malformed(_) => Some(AlertDescription::DecodeError),
            Self::TooLong { .. } => Some(AlertDescription::RecordOverflow),
            Self::Unexpected(_) => Some(AlertDescription::UnexpectedMessage),
        }
    }
}

impl From<ChannelError> for io::Error {
    fn from(error: ChannelError) -> Self {
        let kind = match error {
            ChannelError::Alert(_) => io::ErrorKind::ConnectionAborted,
            ChannelError::Exhausted => io::ErrorKind::Other,
            ChannelError::Truncated => io::ErrorKind::UnexpectedEof,
            ChannelError::Forged
            | ChannelError::Malformed(_)
            | ChannelError::TooLong { .. }
            | ChannelError::Unexpected(_) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// What makes the keys of a channel.
pub(crate) enum Schedule {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

impl Schedule {
    fn next_send(&mut self) -> Result<Keys, ChannelError> {
        let next = match self {
            Self::Client(kernel) => kernel.update_tx_secret(),
            Self::Server(kernel) => kernel.update_tx_secret(),
        };
        next.ok().and_then(Keys::new).ok_or(ChannelError::Exhausted)
    }

    fn next_receive(&mut self) -> Result<Keys, ChannelError> {
        let next = match self {
            Self::Client(kernel) => kernel.update_rx_secret(),
            Self::Server(kernel) => kernel.update_rx_secret(),
        };
        next.ok().and_then(Keys::new).ok_or(ChannelError::Exhausted)
    }

    /// How many records may be sealed with one key.
    fn limit(&self) -> u64 {
        let suite = match self {
            Self::Client(kernel) => kernel.negotiated_cipher_suite(),
            Self::Server(kernel) => kernel.negotiated_cipher_suite(),
        };
        suite
            .tls13()
            .map_or(1, |suite| suite.common.confidentiality_limit)
    }
}

/// One direction, until its key changes.
struct Keys {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    /// The number of the next record. Each is used once.
    sequence: u64,
}

impl Keys {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Option<Self> {
        let (cipher, key, iv): (&'static Algorithm, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return None,
        };
        Some(Self {
            key: LessSafeKey::new(UnboundKey::new(cipher, key.as_ref()).ok()?),
            iv: iv.as_ref().try_into().ok()?,
            sequence,
        })
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().rev().zip(self.sequence.to_le_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals `plain` of this type into `record`, which is longer by a header, a type and a tag.
    fn seal_from(&mut self, kind: u8, plain: &[u8], record: &mut [u8]) -> Option<()> {
        let (header, rest) = record.split_first_chunk_mut()?;
        *header = header_of(plain.len())?;
        let (sealed, tag) = rest.split_at_mut_checked(plain.len())?;
        let (nonce, aad) = (self.nonce(), Aad::from(*header));
        self.sequence = self.sequence.checked_add(1)?;
        self.key
            .seal_out_of_place_scatter(nonce, aad, plain, sealed, &[kind], tag)
            .ok()
    }

    /// Seals data in place between its header and the place of its type and tag.
    fn seal(&mut self, record: &mut [u8]) -> Option<()> {
        let (header, rest) = record.split_first_chunk_mut()?;
        let (plain, tag) = rest.split_last_chunk_mut::<{ 1 + TAG }>()?;
        *header = header_of(plain.len())?;
        let (nonce, aad) = (self.nonce(), Aad::from(*header));
        self.sequence = self.sequence.checked_add(1)?;
        self.key
            .seal_in_place_scatter(nonce, aad, plain, &[DATA], tag)
            .ok()
    }

    /// Opens `record` into `room`, which is longer by one byte than the data at least. Returns
    /// what was sealed: data, its type, padding.
    fn open_to<'a>(&mut self, record: &[u8], room: &'a mut [u8]) -> Option<&'a [u8]> {
        let (header, rest) = record.split_first_chunk::<HEADER>()?;
        let (sealed, tag) = rest.split_last_chunk::<TAG>()?;
        let plain = room.get_mut(..sealed.len())?;
        let (nonce, aad) = (self.nonce(), Aad::from(header));
        self.key
            .open_separate_gather(nonce, aad, sealed, tag, plain)
            .ok()?;
        self.sequence = self.sequence.checked_add(1)?;
        Some(plain)
    }

    fn open<'a>(&mut self, record: &'a mut [u8]) -> Option<&'a [u8]> {
        let (header, rest) = record.split_first_chunk_mut::<HEADER>()?;
        let (nonce, aad) = (self.nonce(), Aad::from(*header));
        let plain = self.key.open_in_place(nonce, aad, rest).ok()?;
        self.sequence = self.sequence.checked_add(1)?;
        Some(plain)
    }
}

/// The header of a record with so many bytes of data.
fn header_of(plain: usize) -> Option<[u8; HEADER]> {
    let [high, low] = u16::try_from(plain + 1 + TAG).ok()?.to_be_bytes();
    Some([DATA, 3, 3, high, low])
}

/// The keys of an established channel, and what the ends of it say to each other.
pub struct Records {
    send: Keys,
    receive: Keys,
    schedule: Box<Schedule>,
    /// Records that one key may seal.
    limit: u64,
    /// The remote wants that we change our key too.
    owes_update: bool,
    /// Changes of the remote's key since its last data.
    updates: u8,
    /// The start of a message that goes on in the next record.
    message: Vec<u8>,
    /// We have ended our direction.
    said_farewell: bool,
}

impl Records {
    /// `None`: the cipher is none of those that we offer.
    pub(crate) fn new(secrets: ExtractedSecrets, schedule: Schedule) -> Option<Self> {
        Some(Self {
            send: Keys::new(secrets.tx)?,
            receive: Keys::new(secrets.rx)?,
            limit: schedule.limit(),
            schedule: Box::new(schedule),
            owes_update: false,
            updates: 0,
            message: Vec::new(),
            said_farewell: false,
        })
    }

    /// Looks at what was sealed: data, its type, and zeros to hide its length.
    fn opened(&mut self, inner: &[u8]) -> Result<Opened, ChannelError> {
        let end = inner.iter().rposition(|byte| *byte != 0);
        let Some((content, [kind, ..])) = end.and_then(|end| inner.split_at_checked(end)) else {
            return Err(ChannelError::Unexpected("a record without a type"));
        };
        // Padding counts (RFC 8446, section 5.4).
        if inner.len() > MAX_PLAIN + 1 {
            let (len, max) = (inner.len(), MAX_PLAIN + 1);
            return Err(ChannelError::TooLong { len, max });
        }
        if *kind != HANDSHAKE && !self.message.is_empty() {
            return Err(ChannelError::Unexpected(
                "another record within a message of the handshake",
            ));
        }
        match *kind {
            DATA => {
                if !content.is_empty() {
                    self.updates = 0;
                }
                Ok(Opened::Data(content.len()))
            }
            ALERT => alert(content),
            HANDSHAKE => self.messages(content).map(|()| Opened::Control),
            _ => Err(ChannelError::Unexpected("a record of an unknown type")),
        }
    }

    /// Takes a part of the messages that come after the handshake.
    fn messages(&mut self, part: &[u8]) -> Result<(), ChannelError> {
        if part.is_empty() {
            return Err(ChannelError::Unexpected("a message without bytes"));
        }
        self.message.extend_from_slice(part);
        let messages = std::mem::take(&mut self.message);
        let mut rest = &messages[..];
        while let Some((&[kind, a, b, c], behind)) = rest.split_first_chunk() {
            let len = u32::from_be_bytes([0, a, b, c]);
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            self.expects(kind, len)?;
            let Some((message, next)) = behind.split_at_checked(len) else {
                break;
            };
            rest = next;
            if kind == KEY_UPDATE {
                self.update(message, next.is_empty())?;
            }
        }
        // Moved once, however many messages there were.
        let taken = messages.len() - rest.len();
        if taken < messages.len() {
            self.message = messages;
            self.message.drain(..taken);
        }
        Ok(())
    }

    /// Whether such a message may come, before any of it is kept.
    fn expects(&self, kind: u8, len: usize) -> Result<(), ChannelError> {
        match (kind, &*self.schedule) {
            // For resumption, which is not for us: each connection proves both ends anew.
            (NEW_SESSION_TICKET, Schedule::Client(_)) if len <= MAX_MESSAGE => Ok(()),
            (NEW_SESSION_TICKET, Schedule::Client(_)) => {
                Err(ChannelError::Malformed("a message of more than 16 KiB"))
            }
            (KEY_UPDATE, _) if len == 1 => Ok(()),
            (KEY_UPDATE, _) => Err(ChannelError::Malformed("a key update")),
            _ => Err(ChannelError::Unexpected(
                "a message that does not belong behind the handshake",
            )),
        }
    }

    fn update(&mut self, message: &[u8], is_last: bool) -> Result<(), ChannelError> {
        let wants_ours = match message {
            [0] => false,
            [1] => true,
            _ => return Err(ChannelError::Malformed("a key update")),
        };
        if !is_last {
            return Err(ChannelError::Unexpected(
                "more under a key that it has changed",
            ));
        }
        self.updates += 1;
        if self.updates > MAX_UPDATES {
            return Err(ChannelError::Unexpected("nothing but key updates"));
        }
        self.receive = self.schedule.next_receive()?;
        self.owes_update |= wants_ours;
        Ok(())
    }

    /// Seals a short message; returns how long the record is.
    fn notice(&mut self, kind: u8, plain: &[u8], room: &mut [u8]) -> Option<usize> {
        let len = HEADER + plain.len() + 1 + TAG;
        self.send.seal_from(kind, plain, room.get_mut(..len)?)?;
        Some(len)
    }
}

fn alert(content: &[u8]) -> Result<Opened, ChannelError> {
    let [_, code] = content else {
        return Err(ChannelError::Malformed("an alert"));
    };
    let alert = AlertDescription::from(*code);
    if alert == AlertDescription::CloseNotify {
        Ok(Opened::End)
    } else if alert == AlertDescription::UserCanceled {
        Ok(Opened::Control)
    } else {
        Err(ChannelError::Alert(alert))
    }
}

impl p2p_channel::Records for Records {
    const HEADER: usize = HEADER;
    const TRAILER: usize = 1 + TAG;
    const TRUNCATED: ChannelError = ChannelError::Truncated;

    type Error = ChannelError;

    fn measure(&self, bytes: &[u8]) -> Result<Option<usize>, ChannelError> {
        let Some(&[kind, _, _, high, low]) = bytes.first_chunk() else {
            return Ok(None);
        };
        if kind != DATA {
            return Err(ChannelError::Unexpected("a record that is not encrypted"));
        }
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > MAX_SEALED {
            let max = MAX_SEALED;
            return Err(ChannelError::TooLong { len, max });
        }
        Ok(Some(HEADER + len))
    }

    fn seal_from(&mut self, plain: &[u8], record: &mut [u8]) -> Result<(), ChannelError> {
        let sealed = self.send.seal_from(DATA, plain, record);
        sealed.ok_or(ChannelError::Exhausted)
    }

    fn seal(&mut self, record: &mut [u8]) -> Result<(), ChannelError> {
        self.send.seal(record).ok_or(ChannelError::Exhausted)
    }

    fn open_to(&mut self, record: &[u8], room: &mut [u8]) -> Result<Option<Opened>, ChannelError> {
        if room.len() + HEADER + TAG < record.len() {
            return Ok(None);
        }
        let inner = self.receive.open_to(record, room);
        self.opened(inner.ok_or(ChannelError::Forged)?).map(Some)
    }

    fn open(&mut self, record: &mut [u8]) -> Result<Opened, ChannelError> {
        let inner = self.receive.open(record);
        self.opened(inner.ok_or(ChannelError::Forged)?)
    }

    /// A remote that ends without a word may have been cut off (RFC 8446, section 6.1).
    fn ended(&self) -> Result<(), ChannelError> {
        Err(ChannelError::Truncated)
    }

    fn due(&mut self, room: &mut [u8]) -> Result<usize, ChannelError> {
        // One more for the update itself, and one for an alert.
        if !self.owes_update && self.send.sequence.saturating_add(2) < self.limit {
            return Ok(0);
        }
        let update = [KEY_UPDATE, 0, 0, 1, 0];
        let len = self.notice(HANDSHAKE, &update, room);
        self.send = self.schedule.next_send()?;
        self.owes_update = false;
        len.ok_or(ChannelError::Exhausted)
    }

    fn farewell(&mut self, why: Option<ChannelError>, room: &mut [u8]) -> usize {
        /// Levels, which say nothing that the alert does not.
        const WARNING: u8 = 1;
        const FATAL: u8 = 2;
        let said = std::mem::replace(&mut self.said_farewell, true);
        let alert = match why {
            _ if said => None,
            None => Some([WARNING, AlertDescription::CloseNotify.into()]),
            Some(error) => error.alert().map(|alert| [FATAL, alert.into()]),
        };
        alert
            .and_then(|alert| self.notice(ALERT, &alert, room))
            .unwrap_or(0)
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tls::Records")
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use futures::executor::block_on;
    use futures::future::join;
    use p2p_channel::Records as _;
    use p2p_keys::Keypair;
    use proptest::prelude::*;
    use rustls::client::UnbufferedClientConnection;
    use rustls::pki_types::ServerName;
    use rustls::server::UnbufferedServerConnection;

    use super::*;
    use crate::Credentials;
    use crate::handshake::{Link, Side};

    #[test]
    fn data_arrives_with_and_without_padding() {
        let (mut near, mut far) = pair();
        for padding in [0, 1, 255] {
            let record = sealed(&mut near, DATA, b"hello", padding);
            for room in [0, 5, 5 + padding, 6 + padding, 300] {
                let mut place = vec![0xaa; room];
                let fits = room > 5 + padding;
                // What did not fit can be opened all the same.
                if fits {
                    let opened = far.open_to(&record, &mut place);
                    assert_eq!(opened, Ok(Some(Opened::Data(5))));
                    assert_eq!(place.get(..5), Some(&b"hello"[..]));
                    break;
                }
                assert_eq!(far.open_to(&record, &mut place), Ok(None));
            }
        }
        let mut record = sealed(&mut near, DATA, b"in place", 3);
        assert_eq!(far.open(&mut record), Ok(Opened::Data(8)));
        assert_eq!(record.get(HEADER..HEADER + 8), Some(&b"in place"[..]));
    }

    #[test]
    fn what_is_said_between_the_ends_is_dealt_with() {
        let (mut client, mut server) = pair();
        let ticket = message(NEW_SESSION_TICKET, &[7; 200]);
        assert_eq!(give(&mut server, &mut client, HANDSHAKE, &ticket), CONTROL);
        // Two in one record, and one over two records.
        let two = [&ticket[..], &ticket].concat();
        assert_eq!(give(&mut server, &mut client, HANDSHAKE, &two), CONTROL);
        let (start, end) = ticket.split_at(2);
        assert_eq!(give(&mut server, &mut client, HANDSHAKE, start), CONTROL);
        assert_eq!(give(&mut server, &mut client, HANDSHAKE, end), CONTROL);
        assert!(client.message.capacity() == 0);
        assert_eq!(give(&mut server, &mut client, ALERT, &[1, 90]), CONTROL);
        assert_eq!(
            give(&mut server, &mut client, DATA, b""),
            Ok(Opened::Data(0))
        );
        let end = give(&mut server, &mut client, ALERT, &[1, 0]);
        assert_eq!(end, Ok(Opened::End));
    }

    #[test]
    fn a_key_that_the_remote_changes_is_changed_here_and_answered() {
        let (mut near, mut far) = pair();
        near.owes_update = true;
        assert_eq!(give_due(&mut near, &mut far), Some(CONTROL));
        assert_eq!(give_due(&mut near, &mut far), None, "it was paid");
        assert_eq!(
            give(&mut near, &mut far, DATA, b"new key"),
            Ok(Opened::Data(7))
        );
        assert!(!far.owes_update);

        let request = message(KEY_UPDATE, &[1]);
        assert_eq!(give(&mut near, &mut far, HANDSHAKE, &request), CONTROL);
        near.send = near.schedule.next_send().unwrap();
        assert_eq!(
            give(&mut near, &mut far, DATA, b"newer key"),
            Ok(Opened::Data(9))
        );
        assert_eq!(give_due(&mut far, &mut near), Some(CONTROL));
        assert_eq!(
            give(&mut far, &mut near, DATA, b"ours too"),
            Ok(Opened::Data(8))
        );
    }

    #[test]
    fn a_key_is_changed_before_it_has_sealed_too_much() {
        let (mut near, mut far) = pair();
        near.limit = 8;
        let mut changes = 0;
        for _ in 0..100 {
            changes += usize::from(give_due(&mut near, &mut far).is_some());
            assert_eq!(give(&mut near, &mut far, DATA, b"x"), Ok(Opened::Data(1)));
            // Room for an alert is left.
            assert!(near.send.sequence < near.limit, "{}", near.send.sequence);
        }
        assert_eq!(changes, 100 / 6);
    }

    /// Attack: every way to break the rules between the ends.
    #[test]
    fn what_must_not_come_ends_the_channel() {
        let malformed = ChannelError::Malformed;
        let unexpected = ChannelError::Unexpected;
        // At its header, whatever would come.
        let long = [NEW_SESSION_TICKET, 0, 64, 1];
        let update = message(KEY_UPDATE, &[0]);
        let more = [&update[..], &update].concat();
        for (kind, content, error) in [
            (ALERT, &[][..], malformed("an alert")),
            (ALERT, &[2], malformed("an alert")),
            (ALERT, &[2, 0, 0], malformed("an alert")),
            (
                ALERT,
                &[2, 42],
                ChannelError::Alert(AlertDescription::BadCertificate),
            ),
            (
                ALERT,
                &[1, 200],
                ChannelError::Alert(AlertDescription::Unknown(200)),
            ),
            (HANDSHAKE, &[], unexpected("a message without bytes")),
            (
                HANDSHAKE,
                &message(KEY_UPDATE, &[2]),
                malformed("a key update"),
            ),
            (
                HANDSHAKE,
                &message(KEY_UPDATE, &[]),
                malformed("a key update"),
            ),
            (
                HANDSHAKE,
                &message(KEY_UPDATE, &[0, 0]),
                malformed("a key update"),
            ),
            (
                HANDSHAKE,
                &more,
                unexpected("more under a key that it has changed"),
            ),
            (HANDSHAKE, &long, malformed("a message of more than 16 KiB")),
            (
                HANDSHAKE,
                &message(1, &[0; 50]),
                unexpected("a message that does not belong behind the handshake"),
            ),
            (20, &[1], unexpected("a record of an unknown type")),
            (24, &[1], unexpected("a record of an unknown type")),
            (0, &[], unexpected("a record without a type")),
            (0, &[0, 0], unexpected("a record without a type")),
        ] {
            // A client, which takes more than a server does.
            let (mut far, mut near) = pair();
            assert_eq!(give(&mut near, &mut far, kind, content), Err(error));
        }
        // Padding counts too.
        let (mut near, mut far) = pair();
        let padded = far.open(&mut sealed(&mut near, DATA, &[0; MAX_PLAIN], 1));
        let (len, max) = (MAX_PLAIN + 2, MAX_PLAIN + 1);
        assert_eq!(padded, Err(ChannelError::TooLong { len, max }));
        // Only a server has tickets to give.
        let (mut client, mut server) = pair();
        let ticket = message(NEW_SESSION_TICKET, &[7; 200]);
        let refused = give(&mut client, &mut server, HANDSHAKE, &ticket);
        assert!(matches!(refused, Err(ChannelError::Unexpected(_))));
        // Nothing may come between the parts of a message.
        let (mut near, mut far) = pair();
        assert_eq!(
            give(&mut near, &mut far, HANDSHAKE, &[KEY_UPDATE, 0]),
            CONTROL
        );
        let refused = give(&mut near, &mut far, DATA, b"data");
        assert!(matches!(refused, Err(ChannelError::Unexpected(_))));
    }

    /// Attack: a remote that changes its key for ever.
    #[test]
    fn nothing_but_key_updates_ends_the_channel() {
        let (mut near, mut far) = pair();
        let mut update = || {
            near.owes_update = true;
            give_due(&mut near, &mut far)
        };
        for _ in 0..MAX_UPDATES {
            assert_eq!(update(), Some(CONTROL));
        }
        let refused = Err(ChannelError::Unexpected("nothing but key updates"));
        assert_eq!(update(), Some(refused));
    }

    #[test]
    fn headers_are_measured_before_anything_is_opened() {
        let (records, _) = pair();
        for short in 0..HEADER {
            assert_eq!(records.measure(&[DATA, 3, 3, 1, 0][..short]), Ok(None));
        }
        assert_eq!(records.measure(&[DATA, 3, 3, 1, 0]), Ok(Some(HEADER + 256)));
        assert_eq!(
            records.measure(&[DATA, 3, 3, 0x41, 0]),
            Ok(Some(HEADER + MAX_SEALED))
        );
        let too_long = records.measure(&[DATA, 3, 3, 0x41, 1]);
        let (len, max) = (MAX_SEALED + 1, MAX_SEALED);
        assert_eq!(too_long, Err(ChannelError::TooLong { len, max }));
        for kind in [0, 20, 21, 22, 24, 255] {
            let refused = records.measure(&[kind, 3, 3, 0, 2]);
            assert!(matches!(refused, Err(ChannelError::Unexpected(_))));
        }
    }

    #[test]
    fn the_last_words_are_said_once_and_fit_what_happened() {
        let (mut near, mut far) = pair();
        let mut room = [0; p2p_channel::NOTICE];
        let len = near.farewell(None, &mut room);
        let heard = far.open(&mut room[..len]);
        assert_eq!(heard, Ok(Opened::End));
        assert_eq!(near.farewell(None, &mut room), 0);
        assert_eq!(near.farewell(Some(ChannelError::Forged), &mut room), 0);

        let (mut near, mut far) = pair();
        let len = near.farewell(Some(ChannelError::Forged), &mut room);
        let heard = far.open(&mut room[..len]);
        assert_eq!(
            heard,
            Err(ChannelError::Alert(AlertDescription::BadRecordMac))
        );
        assert_eq!(far.farewell(heard.err(), &mut room), 0, "no answer to that");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Attack: bytes of any kind for records, in place and not.
        #[test]
        fn a_record_that_was_changed_is_refused(
            len in 0..300_usize,
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
            room in 0..400_usize,
        ) {
            let (near, far) = &mut pair();
            let mut record = sealed(near, DATA, &vec![9; len], 0);
            let at = HEADER + at.index(record.len() - HEADER);
            record[at] ^= flip;
            let direct = far.open_to(&record, &mut vec![0; room]);
            prop_assert!(matches!(direct, Ok(None) | Err(ChannelError::Forged)), "{direct:?}");
            prop_assert_eq!(far.open(&mut record), Err(ChannelError::Forged));
        }

        /// Attack: anything, from a remote that has the keys.
        #[test]
        fn whatever_is_sealed_is_taken_or_refused_and_little_is_kept(
            records in prop::collection::vec(
                (20..25_u8, prop::collection::vec(prop_oneof![0..6_u8, Just(KEY_UPDATE)], 0..40)),
                0..12,
            ),
        ) {
            let (client, server) = &mut pair();
            for (kind, content) in records {
                let updates = client.updates;
                if give(server, client, kind, &content).is_err() {
                    break;
                }
                prop_assert!(client.message.len() <= MAX_MESSAGE + 4);
                // A key that was changed there has to be changed here.
                if client.updates > updates {
                    server.send = server.schedule.next_send().unwrap();
                }
            }
        }

        /// Attack: records of bytes that nobody sealed.
        #[test]
        fn nonsense_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let (_, far) = &mut pair();
            let mut record = bytes;
            prop_assert_eq!(far.open_to(&record, &mut [0; 200]), Err(ChannelError::Forged));
            prop_assert_eq!(far.open(&mut record), Err(ChannelError::Forged));
        }
    }

    const CONTROL: Result<Opened, ChannelError> = Ok(Opened::Control);

    fn message(kind: u8, content: &[u8]) -> Vec<u8> {
        let [.., high, low] = content.len().to_be_bytes();
        [&[kind, 0, high, low], content].concat()
    }

    /// A record of any type; 0 stands for nothing but padding.
    fn sealed(by: &mut Records, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        // The type that sealing adds is a part of the padding, unless there is none.
        let mut inner = content.to_vec();
        let mut last = kind;
        if padding > 0 {
            inner.push(kind);
            inner.resize(content.len() + padding, 0);
            last = 0;
        }
        let mut record = vec![0; HEADER + inner.len() + 1 + TAG];
        by.send.seal_from(last, &inner, &mut record).unwrap();
        record
    }

    fn give(
        from: &mut Records,
        to: &mut Records,
        kind: u8,
        content: &[u8],
    ) -> Result<Opened, ChannelError> {
        to.open(&mut sealed(from, kind, content, 0))
    }

    /// What is due goes over, if anything is.
    fn give_due(from: &mut Records, to: &mut Records) -> Option<Result<Opened, ChannelError>> {
        let mut room = [0; p2p_channel::NOTICE];
        let len = from.due(&mut room).unwrap();
        (len > 0).then(|| to.open(&mut room[..len]))
    }

    /// A client's and a server's end.
    fn pair() -> (Records, Records) {
        let credentials = || Credentials::new(&Keypair::generate_ed25519()).unwrap();
        let (mut client, mut server) = (
            credentials().client(None, Vec::new()),
            credentials().server(Vec::new()),
        );
        client.enable_secret_extraction = true;
        server.enable_secret_extraction = true;
        let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let client = UnbufferedClientConnection::new(Arc::new(client), name).unwrap();
        let server = UnbufferedServerConnection::new(Arc::new(server)).unwrap();
        let (near, far) = p2p_memory::pipe(64 * 1024);
        let (near, far) = block_on(join(shaken(near, client), shaken(far, server)));
        (near, far)
    }

    async fn shaken<S: Side>(io: p2p_memory::Pipe, mut side: S) -> Records {
        let mut link = Link::new(io);
        assert!(link.run(&mut side).await.is_ok());
        assert!(link.send().await.is_ok());
        side.into_records().unwrap()
    }
}
