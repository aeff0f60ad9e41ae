//! A proxy that does what it is asked, without a login, for addresses of IPv4 and IPv6.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::future::{FutureExt, try_join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Rt, TcpOptions, TcpStream};

/// Starts one on `at`; where it is.
pub(crate) fn proxy(rt: &Rt, at: SocketAddr) -> SocketAddr {
    let mut listener = rt.net().tcp_listen(at, &TcpOptions::default()).unwrap();
    let at = listener.local_addr().unwrap();
    let accepting = Rt::clone(rt);
    let serve = async move {
        while let Ok((client, _)) = listener.accept().await {
            let rt = Rt::clone(&accepting);
            let one = async move { drop(serve(rt, client).await) };
            accepting.spawn("proxied", one.boxed());
        }
    };
    rt.spawn("proxy", serve.boxed());
    at
}

async fn serve(rt: Rt, mut client: Box<dyn TcpStream>) -> io::Result<()> {
    client.read_exact(&mut [0; 3]).await?;
    client.write_all(&[5, 0]).await?;
    let to = destination(&mut client).await?;
    let there = rt.net().tcp_connect(to, &TcpOptions::default()).await;
    let Ok(there) = there else {
        client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        return client.close().await;
    };
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    client.flush().await?;
    // The end of one direction is passed on, its failure ends both: with a reset.
    let (mut from_client, mut to_client) = client.split();
    let (mut from_there, mut to_there) = there.split();
    let out = copy(&mut from_client, &mut to_there);
    let back = copy(&mut from_there, &mut to_client);
    try_join(out, back).await?;
    Ok(())
}

async fn copy(
    from: &mut (impl futures::AsyncRead + Unpin),
    to: &mut (impl futures::AsyncWrite + Unpin),
) -> io::Result<()> {
    futures::io::copy(from, to).await?;
    to.close().await
}

async fn destination(client: &mut Box<dyn TcpStream>) -> io::Result<SocketAddr> {
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let ip = if head[3] == 1 {
        let mut ip = [0; 4];
        client.read_exact(&mut ip).await?;
        Ipv4Addr::from(ip).into()
    } else {
        let mut ip = [0; 16];
        client.read_exact(&mut ip).await?;
        Ipv6Addr::from(ip).into()
    };
    let mut port = [0; 2];
    client.read_exact(&mut port).await?;
    Ok(SocketAddr::new(ip, u16::from_be_bytes(port)))
}
