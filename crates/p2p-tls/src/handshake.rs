//! Drives rustls through a handshake over a stream, and takes the keys from it.

use std::future::poll_fn;
use std::io;

use futures::future::poll_immediate;
use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use p2p_channel::Received;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{Accepted, Acceptor, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, InsufficientSizeError, UnbufferedStatus};
use rustls::{CommonState, Error, ExtractedSecrets, InvalidMessage};

use crate::HandshakeError;
use crate::records::{DATA, HEADER, Records, Schedule};

/// What a handshake may hold of the remote's bytes. Certificates are a few KiB.
const MAX_RECEIVED: usize = 16 * 1024;

/// What may wait for the first bytes of the channel.
const MAX_UNSENT: usize = 16 * 1024;

/// rustls refuses records from this length on by their header alone.
const MAX_OF_RUSTLS: usize = (1 << 14) + 2048;

/// Why a handshake did not come to its end.
pub(crate) enum Failure {
    Io(io::Error),
    Handshake(HandshakeError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Handshake(error.into())
    }
}

/// A stream of records, some of which were read ahead.
pub(crate) struct Link<Io> {
    pub(crate) io: Io,
    pub(crate) received: Received,
    /// Not sent yet.
    pub(crate) unsent: Vec<u8>,
}

/// An end of a handshake, as rustls plays it.
pub(crate) trait Side:
    std::ops::Deref<Target: std::ops::Deref<Target = CommonState>>
{
    type Data;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8])
    -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn extract(self) -> Result<(ExtractedSecrets, Schedule), Error>;

    /// The keys, once the handshake has ended.
    fn into_records(self) -> Result<Records, Error>
    where
        Self: Sized,
    {
        let (secrets, schedule) = self.extract()?;
        let unknown = || Error::General("a cipher that we did not offer".into());
        Records::new(secrets, schedule).ok_or_else(unknown)
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }

    fn extract(self) -> Result<(ExtractedSecrets, Schedule), Error> {
        let (secrets, kernel) = self.dangerous_into_kernel_connection()?;
        Ok((secrets, Schedule::Client(kernel)))
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }

    fn extract(self) -> Result<(ExtractedSecrets, Schedule), Error> {
        let (secrets, kernel) = self.dangerous_into_kernel_connection()?;
        Ok((secrets, Schedule::Server(kernel)))
    }
}

/// What to do next.
enum Step {
    /// Ask rustls again.
    Again,
    /// It needs another record.
    Receive,
    Done,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Link<Io> {
    pub(crate) fn new(io: Io) -> Self {
        Self {
            io,
            received: Received::default(),
            unsent: Vec::new(),
        }
    }

    /// The client's first message, which stays in `received`.
    pub(crate) async fn hello(&mut self) -> Result<Accepted, Failure> {
        let mut acceptor = Acceptor::default();
        let mut shown = 0;
        loop {
            let mut fresh = self.received.bytes().get(shown..).unwrap_or_default();
            if fresh.is_empty() {
                self.fill().await?;
                continue;
            }
            shown += acceptor.read_tls(&mut fresh)?;
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok(accepted),
                Ok(None) => {}
                Err((error, mut alert)) => {
                    alert.write_all(&mut self.unsent)?;
                    self.complain().await;
                    return Err(error.into());
                }
            }
        }
    }

    /// Takes the handshake to its end. Our last message may be left in `unsent`.
    pub(crate) async fn run<S: Side>(&mut self, side: &mut S) -> Result<(), Failure> {
        // How many bytes rustls may look at: whole records, and none behind the last one of the
        // handshake, which is ours to open.
        let mut shown = 0;
        loop {
            match self.step(side, &mut shown) {
                Ok(Step::Again) => {}
                Ok(Step::Done) if self.unsent.len() > MAX_UNSENT => return Ok(self.send().await?),
                Ok(Step::Done) => return Ok(()),
                Ok(Step::Receive) => {
                    self.send().await?;
                    shown = self.next_record(shown).await?;
                }
                Err(error) => {
                    // What it wants to tell the remote of it comes first, and nothing is to be
                    // asked of it after that.
                    let _ = self.step(side, &mut shown);
                    self.complain().await;
                    return Err(error.into());
                }
            }
        }
    }

    fn step<S: Side>(&mut self, side: &mut S, shown: &mut usize) -> Result<Step, Error> {
        let records = self.received.bytes_mut().get_mut(..*shown);
        let status = side.process(records.unwrap_or_default());
        let discard = status.discard;
        let mut traffic = false;
        let step = match status.state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut self.unsent, |room| data.encode(room))?;
                Ok(Step::Again)
            }
            // It is told that this was done before it is: nothing else may be done in between.
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(Step::Again)
            }
            Ok(ConnectionState::BlockedHandshake) => Ok(Step::Receive),
            Ok(ConnectionState::WriteTraffic(_)) => {
                traffic = true;
                Ok(Step::Done)
            }
            // Each record is shown alone, and the last one of the handshake ends with its keys.
            Ok(_) => {
                let text = "something within a handshake that is no part of it";
                Err(Error::General(text.into()))
            }
            Err(error) => Err(error),
        };
        self.received.consume(discard);
        *shown = shown.saturating_sub(discard);
        // A listener could write before it knows who is there.
        if traffic && side.is_handshaking() {
            return Ok(Step::Receive);
        }
        step
    }

    /// Shows another record than the `shown` bytes, once it is there.
    async fn next_record(&mut self, shown: usize) -> Result<usize, Failure> {
        loop {
            let bytes = self.received.bytes();
            let rest = bytes.get(shown..).unwrap_or_default();
            if let Some(&[kind, _, _, high, low]) = rest.first_chunk() {
                let len = usize::from(u16::from_be_bytes([high, low]));
                // What is no record is for rustls to refuse, at once.
                if !(20..=24).contains(&kind) || len >= MAX_OF_RUSTLS {
                    return Ok(bytes.len());
                }
                // No cipher makes one, and rustls may try each of them again with every further
                // record.
                if kind == DATA && len == 0 {
                    return Err(Error::from(InvalidMessage::InvalidEmptyPayload).into());
                }
                if rest.len() >= HEADER + len {
                    return Ok(shown + HEADER + len);
                }
            }
            self.fill().await?;
        }
    }

    /// Reads more.
    async fn fill(&mut self) -> Result<(), Failure> {
        if self.received.bytes().len() >= MAX_RECEIVED {
            let max = MAX_RECEIVED;
            return Err(Failure::Handshake(HandshakeError::TooLong { max }));
        }
        let (received, io) = (&mut self.received, &mut self.io);
        if poll_fn(|cx| received.poll_fill(io, cx, MAX_RECEIVED)).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    pub(crate) async fn send(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.io.write_all(&self.unsent).await?;
            self.io.flush().await?;
            self.unsent.clear();
        }
        Ok(())
    }

    /// Sends what is there as far as the link takes it at once: the failure matters, not that the
    /// remote hears of it.
    async fn complain(&mut self) {
        let _ = poll_immediate(self.send()).await;
    }
}

/// Adds what `encode` writes, which says how much room it needs.
fn encode(
    to: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), Error> {
    let start = to.len();
    let mut size = 0;
    loop {
        to.resize(start + size, 0);
        match encode(to.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                to.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size }))
                if required_size > size =>
            {
                size = required_size;
            }
            Err(error) => return Err(Error::General(error.to_string())),
        }
    }
}
