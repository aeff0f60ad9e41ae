//! What is said to a proxy before the bytes belong to the connection.

use std::net::IpAddr;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{Login, Refused, SocksError};

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const CONNECT: u8 = 1;

/// Where the proxy is to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An address.
    Ip(IpAddr),
    /// A name, which the proxy resolves.
    Name(String),
}

/// Asks the proxy behind `io` to connect to `to`. Takes no byte more than its answer: what follows
/// is the connection.
///
/// The caller sets the deadline. Not cancel-safe: drop `io` with the future.
///
/// # Errors
/// [`SocksError`] names the step.
pub async fn connect<Io: AsyncRead + AsyncWrite + Unpin>(
    io: &mut Io,
    login: Option<&Login>,
    to: &Destination,
    port: u16,
) -> Result<(), SocksError> {
    let request = request(to, port)?;
    let methods: &[u8] = match login {
        None => &[VERSION, 1, NO_LOGIN],
        Some(_) => &[VERSION, 2, NO_LOGIN, PASSWORD],
    };
    send(io, methods).await?;
    match (receive(io).await?, login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, PASSWORD], Some(login)) => log_in(io, login).await?,
        ([VERSION, _], _) => return Err(SocksError::Method),
        _ => return Err(SocksError::NotSocks("its greeting has another version")),
    }
    send(io, &request).await?;
    let [version, reply, _, kind] = receive(io).await?;
    if version != VERSION {
        return Err(SocksError::NotSocks("its answer has another version"));
    }
    if reply != 0 {
        return Err(SocksError::Refused(Refused(reply)));
    }
    // Where the proxy connects from; of no use to us.
    let len = match kind {
        1 => 4,
        4 => 16,
        3 => {
            let [len] = receive(io).await?;
            usize::from(len)
        }
        _ => {
            return Err(SocksError::NotSocks(
                "its answer has an unknown kind of address",
            ));
        }
    };
    let mut rest = vec![0; len + 2];
    io.read_exact(&mut rest).await.map_err(SocksError::HungUp)
}

fn request(to: &Destination, port: u16) -> Result<Vec<u8>, SocksError> {
    let mut request = vec![VERSION, CONNECT, 0];
    match to {
        Destination::Ip(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend(ip.octets());
        }
        Destination::Ip(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend(ip.octets());
        }
        Destination::Name(name) => {
            request.push(3);
            push_text(&mut request, name, "the name")?;
        }
    }
    request.extend(port.to_be_bytes());
    Ok(request)
}

async fn log_in<Io: AsyncRead + AsyncWrite + Unpin>(
    io: &mut Io,
    login: &Login,
) -> Result<(), SocksError> {
    let mut message = vec![1];
    push_text(&mut message, &login.user, "the user")?;
    push_text(&mut message, &login.password, "the password")?;
    send(io, &message).await?;
    match receive(io).await? {
        [_, 0] => Ok(()),
        [_, _] => Err(SocksError::Login),
    }
}

fn push_text(message: &mut Vec<u8>, text: &str, what: &'static str) -> Result<(), SocksError> {
    let len = u8::try_from(text.len()).map_err(|_| SocksError::TooLong(what))?;
    message.push(len);
    message.extend(text.as_bytes());
    Ok(())
}

async fn send(io: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), SocksError> {
    let sent = async {
        io.write_all(bytes).await?;
        io.flush().await
    };
    sent.await.map_err(SocksError::HungUp)
}

async fn receive<const N: usize>(io: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], SocksError> {
    let mut bytes = [0; N];
    io.read_exact(&mut bytes)
        .await
        .map_err(SocksError::HungUp)?;
    Ok(bytes)
}
