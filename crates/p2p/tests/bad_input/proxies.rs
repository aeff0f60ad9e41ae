//! A SOCKS5 proxy that does not do what it is asked.

use futures::{AsyncReadExt, AsyncWriteExt};
use p2p::HostBuilder;
use p2p_socks::{Config, Login, Socks5};

use crate::{World, plain, same};

/// A host that dials through a proxy far away, which says one thing after the other. It has heard
/// `heard` bytes before it says one.
fn through(world: &World, says: &'static [(usize, &'static [u8])], login: bool) -> HostBuilder {
    let at = world.far.socket(1080);
    let options = p2p::core::TcpOptions::default();
    let mut listener = world.far.rt().net().tcp_listen(at, &options).unwrap();
    world.far.spawn("proxy", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for (heard, said) in says {
            stream.read_exact(&mut vec![0; *heard]).await.unwrap();
            stream.write_all(said).await.unwrap();
        }
    });
    let mut config = Config::new(at);
    config.login = login.then(|| Login {
        user: "me".into(),
        password: "secret".into(),
    });
    let socks = Socks5::new(world.near.rt(), config);
    plain()
        .tcp(None)
        .websocket(None)
        .dns(None)
        .with_transport(socks)
}

fn refuse(says: &'static [(usize, &'static [u8])], login: bool, took: &str, expected: &str) {
    let world = World::new();
    let near = through(&world, says, login);
    let to = "/ip4/1.2.3.4/tcp/80";
    let text = world.fail(near, to);
    let expected = format!("transport failed after {took}: cannot connect to {to}: {expected}");
    same(&text, to, &expected);
}

#[test]
fn each_step_at_which_a_proxy_fails_us_is_named() {
    const NO_LOGIN: (usize, &[u8]) = (3, &[5, 0]);
    refuse(
        &[NO_LOGIN, (10, &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0])],
        false,
        "60.0ms",
        "the proxy refuses: connection refused by the destination",
    );
    refuse(
        &[NO_LOGIN, (10, &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0])],
        false,
        "60.0ms",
        "the proxy refuses: not allowed by its rules",
    );
    refuse(
        &[(3, &[5, 0xff])],
        false,
        "40.0ms",
        "the proxy wants another way to log in (setting: login)",
    );
    refuse(
        &[(4, &[5, 2]), (11, &[1, 1])],
        true,
        "60.0ms",
        "the proxy refuses the login: user or password is wrong (setting: login)",
    );
    let not_socks = "the proxy does not speak SOCKS5: its greeting has another version";
    refuse(&[(3, b"HTTP/1.1 400")], false, "40.0ms", not_socks);
    let hung_up = "the proxy hung up before it answered: unexpected end of file";
    refuse(&[NO_LOGIN], false, "40.0ms", hung_up);
}

#[test]
fn a_proxy_that_is_not_there_is_told_from_a_destination_that_is_not() {
    let world = World::new();
    let mut config = Config::new(world.far.socket(1081));
    config.login = None;
    let socks = Socks5::new(world.near.rt(), config);
    let near = plain()
        .tcp(None)
        .websocket(None)
        .dns(None)
        .with_transport(socks);
    let to = "/ip4/1.2.3.4/tcp/80";
    let expected = "transport failed after 20.0ms: cannot connect to /ip4/1.2.3.4/tcp/80: the proxy \
                    cannot be reached: nobody listens there";
    same(&world.fail(near, to), to, expected);
}
