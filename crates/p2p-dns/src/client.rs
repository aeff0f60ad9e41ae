//! Asks name servers: over UDP, and over TCP what does not fit there.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Datagram, Rt, TcpOptions};

use crate::wire::{self, Answer, Kind, Record};
use crate::{Config, ResolveError};

/// The longest datagram that is read, in bytes.
const BUFFER: usize = 4096;
/// How often each server is asked.
const ROUNDS: usize = 2;

/// Asks `servers` in turn until one answers: records, and how long they hold.
pub(crate) async fn ask(
    rt: &Rt,
    config: &Config,
    servers: &[SocketAddr],
    name: &str,
    kind: Kind,
) -> Result<(Vec<Record>, Duration), ResolveError> {
    let owned = || name.to_owned();
    let mut failed = None;
    for _ in 0..ROUNDS {
        for server in servers {
            match rt
                .timeout(config.timeout, ask_one(rt, *server, name, kind))
                .await
            {
                Err(_) => {}
                Ok(Ok(Answer::Records(records, ttl))) if !records.is_empty() => {
                    return Ok((records, ttl));
                }
                Ok(Ok(Answer::Records(..))) => {
                    let (name, kind) = (owned(), kind.noun());
                    return Err(ResolveError::Nothing { name, kind });
                }
                Ok(Ok(Answer::NoSuchName)) => {
                    return Err(ResolveError::NoSuchName { name: owned() });
                }
                Ok(Ok(Answer::Refused(what))) => failed = Some((*server, what)),
                Ok(Ok(Answer::Truncated)) => {
                    let what = "its answer does not fit, not even over TCP".to_owned();
                    failed = Some((*server, what));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                    return Err(ResolveError::BadName { name: owned() });
                }
                Ok(Err(error)) => failed = Some((*server, error.to_string())),
            }
        }
    }
    let name = owned();
    Err(match (failed, servers.len()) {
        (_, 0) => ResolveError::NoServer,
        (Some((server, what)), _) => ResolveError::Server { server, name, what },
        (None, servers) => ResolveError::Timeout { name, servers },
    })
}

async fn ask_one(rt: &Rt, server: SocketAddr, name: &str, kind: Kind) -> io::Result<Answer> {
    // A number that nobody else can guess, from a port that nobody else can: an answer that
    // fits both is the server's.
    let id = u16::from_le_bytes(rt.random());
    let question = wire::question(id, name, kind).ok_or(io::ErrorKind::InvalidInput)?;
    match over_udp(rt, server, id, &question, name, kind).await? {
        Answer::Truncated => over_tcp(rt, server, id, &question, name, kind).await,
        answer @ (Answer::Records(..) | Answer::NoSuchName | Answer::Refused(_)) => Ok(answer),
    }
}

async fn over_udp(
    rt: &Rt,
    server: SocketAddr,
    id: u16,
    question: &[u8],
    name: &str,
    kind: Kind,
) -> io::Result<Answer> {
    let any: SocketAddr = match server.is_ipv4() {
        true => ([0; 4], 0).into(),
        false => ([0u16; 8], 0).into(),
    };
    let socket = rt.net().udp_bind(any)?;
    let datagram = Datagram::new(server, question);
    poll_fn(|cx| socket.poll_send(cx, &datagram)).await?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let received = poll_fn(|cx| socket.poll_recv(cx, &mut buffer)).await?;
        let bytes = buffer.get(..received.len).unwrap_or_default();
        if received.from != server {
            continue;
        }
        if let Some(answer) = wire::answer(bytes, id, name, kind) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(
    rt: &Rt,
    server: SocketAddr,
    id: u16,
    question: &[u8],
    name: &str,
    kind: Kind,
) -> io::Result<Answer> {
    let len = u16::try_from(question.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let options = TcpOptions::default();
    let mut stream = rt.net().tcp_connect(server, &options).await?;
    stream
        .write_all(&[&len.to_be_bytes(), question].concat())
        .await?;
    stream.flush().await?;
    let mut len = [0; 2];
    stream.read_exact(&mut len).await?;
    // At most 64 KiB, and only as much as comes.
    let mut bytes = Vec::new();
    let len = u64::from(u16::from_be_bytes(len));
    (&mut stream).take(len).read_to_end(&mut bytes).await?;
    let answer = wire::answer(&bytes, id, name, kind);
    answer.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an answer"))
}
