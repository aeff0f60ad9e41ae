//! A proxy that the test plays: what is said to it, and what its answers come to.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use std::error::Error as _;
use std::sync::{Arc, Mutex};

use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Link, Multiaddr, TcpOptions, Transport, TransportError};
use p2p_sim::{Host, Sim};
use p2p_socks::{Config, Login, Refused, Socks5, SocksError};
use proptest::prelude::*;

/// Us and a proxy for one client.
struct World {
    sim: Sim,
    us: Host,
    config: Config,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl World {
    /// For each step, how many bytes the proxy hears and what it then says.
    fn new(steps: Vec<(usize, Vec<u8>)>) -> Self {
        let sim = Sim::new(1);
        let (us, proxy) = (sim.host("us"), sim.host("proxy"));
        let at = proxy.socket(1080);
        let listener = proxy.rt().net().tcp_listen(at, &TcpOptions::default());
        let mut listener = listener.unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        proxy.spawn("proxy", async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for (len, says) in steps {
                let mut bytes = vec![0; len];
                stream.read_exact(&mut bytes).await.unwrap();
                hears.lock().unwrap().push(bytes);
                stream.write_all(&says).await.unwrap();
            }
        });
        let config = Config::new(at);
        Self {
            sim,
            us,
            config,
            heard,
        }
    }

    fn dial(&self, addr: &str) -> Result<Link, TransportError> {
        let addr: Multiaddr = addr.parse().unwrap();
        let socks = Socks5::new(self.us.rt(), self.config.clone());
        let dialed = self.sim.block_on(Transport::dial(&socks, addr, None))?;
        assert_eq!(dialed.local, None, "our address stays ours");
        Ok(dialed.link)
    }

    /// What the proxy has heard once nothing happens any more.
    fn heard(&self) -> Vec<Vec<u8>> {
        self.sim.run_until_idle();
        self.heard.lock().unwrap().clone()
    }
}

fn refused(steps: Vec<(usize, Vec<u8>)>, login: Option<Login>) -> TransportError {
    let mut world = World::new(steps);
    world.config.login = login;
    world.dial("/dns4/a.example/tcp/80").err().unwrap()
}

/// What the proxy did wrong, taken out of the error of the dial.
fn cause(error: &TransportError) -> &SocksError {
    let source = error.source().unwrap().downcast_ref::<std::io::Error>();
    let inner = source.unwrap().get_ref().unwrap();
    inner.downcast_ref::<SocksError>().unwrap()
}

const DONE: [u8; 10] = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

#[test]
fn a_name_is_sent_as_it_is_and_the_bytes_that_follow_are_the_connection() {
    let answer = [&DONE[..], b"hello"].concat();
    let world = World::new(vec![(3, vec![5, 0]), (16, answer), (3, vec![])]);
    let Link::Raw(mut io) = world.dial("/dns4/a.example/tcp/80").unwrap() else {
        panic!("a raw link");
    };
    world.sim.block_on(async {
        let mut hello = [0; 5];
        io.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        io.write_all(b"hey").await.unwrap();
    });
    let heard = world.heard();
    assert_eq!(heard[0], [5, 1, 0]);
    assert_eq!(
        heard[1],
        [&[5, 1, 0, 3, 9][..], b"a.example", &[0, 80]].concat()
    );
    assert_eq!(heard[2], b"hey");
}

#[test]
fn a_proxy_may_ask_for_a_login() {
    let login = Login {
        user: "me".into(),
        password: "secret".into(),
    };
    let steps = vec![(4, vec![5, 2]), (11, vec![1, 0]), (10, DONE.to_vec())];
    let mut world = World::new(steps);
    world.config.login = Some(login.clone());
    let link = world.dial("/ip4/1.2.3.4/tcp/80").unwrap();
    let heard = world.heard();
    assert_eq!(heard[1], b"\x01\x02me\x06secret");
    assert_eq!(heard[2], [5, 1, 0, 1, 1, 2, 3, 4, 0, 80]);
    drop(link);

    let wrong = refused(vec![(4, vec![5, 2]), (11, vec![1, 1])], Some(login));
    assert!(matches!(cause(&wrong), SocksError::Login), "{wrong}");
}

#[test]
fn each_refusal_has_its_name() {
    let method = refused(vec![(3, vec![5, 0xff])], None);
    assert!(matches!(cause(&method), SocksError::Method), "{method}");
    let other = refused(vec![(3, b"HTTP/1.1 400".to_vec())], None);
    assert!(matches!(cause(&other), SocksError::NotSocks(_)), "{other}");
    let answer = vec![5, 5, 0, 1, 0, 0, 0, 0, 0, 0];
    let closed = refused(vec![(3, vec![5, 0]), (16, answer)], None);
    assert!(
        matches!(cause(&closed), SocksError::Refused(Refused(5))),
        "{closed}"
    );
    let silent = refused(vec![(3, vec![5])], None);
    assert!(matches!(cause(&silent), SocksError::HungUp(_)), "{silent}");
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let mut world = World::new(Vec::new());
    world.config.proxy.set_port(1081);
    let error = world.dial("/ip4/1.2.3.4/tcp/80").err().unwrap();
    let source = error.source().unwrap().to_string();
    assert_eq!(source, "the proxy cannot be reached");
}

proptest! {
    #[test]
    fn whatever_a_proxy_says_is_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        use p2p_socks::{Destination, connect};
        let mut io = futures::io::Cursor::new([&[0; 8][..], &bytes].concat());
        let to = Destination::Name("a".into());
        let _ = futures::executor::block_on(connect(&mut io, None, &to, 1));
    }
}
