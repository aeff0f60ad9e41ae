//! Securities and muxers chosen at run time, and a note of what each connection got.
//!
//! The swarm does not tell what was negotiated; the upgrade that ran does.

use std::{
    io,
    sync::{Arc, Mutex},
};

use futures::{AsyncRead, AsyncWrite, FutureExt as _, future::BoxFuture};
use libp2p::{
    PeerId,
    core::{
        muxing::StreamMuxerBox,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
    },
    identity::Keypair,
    noise, plaintext, tls, yamux,
};

use crate::{Result, Unsupported};

/// What the newest connection negotiated.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen(Arc<Mutex<(&'static str, &'static str)>>);

impl Chosen {
    /// Security and muxer, in the words of the command line.
    pub(crate) fn names(&self) -> (&'static str, &'static str) {
        *self.0.lock().expect("nobody panics holding it")
    }

    fn set_security(&self, name: &'static str) {
        self.0.lock().expect("nobody panics holding it").0 = name;
    }

    fn set_muxer(&self, name: &'static str) {
        self.0.lock().expect("nobody panics holding it").1 = name;
    }
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Secured = (PeerId, Box<dyn Io>);

#[derive(Clone)]
enum Security {
    Noise(noise::Config),
    Plaintext(Box<plaintext::Config>),
    Tls(Box<tls::Config>),
}

/// The securities on offer, most wanted first.
#[derive(Clone)]
pub(crate) struct Securities {
    offers: Vec<(&'static str, Security)>,
    chosen: Chosen,
}

impl Securities {
    pub(crate) fn new(names: &[String], keys: &Keypair, chosen: Chosen) -> Result<Self> {
        let mut offers = Vec::new();
        for name in names {
            offers.push(match name.as_str() {
                "noise" => ("/noise", Security::Noise(noise::Config::new(keys)?)),
                "plaintext" => (
                    "/plaintext/2.0.0",
                    Security::Plaintext(Box::new(plaintext::Config::new(keys))),
                ),
                "tls" => (
                    "/tls/1.0.0",
                    Security::Tls(Box::new(tls::Config::new(keys)?)),
                ),
                _ => return Err(Unsupported(format!("security {name}")).into()),
            });
        }
        Ok(Self { offers, chosen })
    }

    fn choose(self, id: &str) -> Option<Security> {
        let (_, security) = self
            .offers
            .into_iter()
            .find(|(offered, _)| *offered == id)?;
        self.chosen.set_security(match security {
            Security::Noise(_) => "noise",
            Security::Plaintext(_) => "plaintext",
            Security::Tls(_) => "tls",
        });
        Some(security)
    }
}

impl UpgradeInfo for Securities {
    type Info = &'static str;
    type InfoIter = Vec<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.offers.iter().map(|(id, _)| *id).collect()
    }
}

impl<C: Io + 'static> InboundConnectionUpgrade<C> for Securities {
    type Output = Secured;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Secured>>;

    fn upgrade_inbound(self, socket: C, id: Self::Info) -> Self::Future {
        async move {
            match self.choose(id).ok_or(io::ErrorKind::Unsupported)? {
                Security::Noise(it) => boxed(it.upgrade_inbound(socket, id).await),
                Security::Plaintext(it) => boxed(it.upgrade_inbound(socket, id).await),
                Security::Tls(it) => boxed(it.upgrade_inbound(socket, id).await),
            }
        }
        .boxed()
    }
}

impl<C: Io + 'static> OutboundConnectionUpgrade<C> for Securities {
    type Output = Secured;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Secured>>;

    fn upgrade_outbound(self, socket: C, id: Self::Info) -> Self::Future {
        async move {
            match self.choose(id).ok_or(io::ErrorKind::Unsupported)? {
                Security::Noise(it) => boxed(it.upgrade_outbound(socket, id).await),
                Security::Plaintext(it) => boxed(it.upgrade_outbound(socket, id).await),
                Security::Tls(it) => boxed(it.upgrade_outbound(socket, id).await),
            }
        }
        .boxed()
    }
}

fn boxed<S: Io + 'static, E>(secured: std::result::Result<(PeerId, S), E>) -> io::Result<Secured>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match secured {
        Ok((peer, stream)) => Ok((peer, Box::new(stream))),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// With room for the test of many streams: by default no more than 128 are open.
fn mplex() -> libp2p_mplex::Config {
    let mut config = libp2p_mplex::Config::new();
    config.set_max_num_streams(1000);
    config
}

#[derive(Clone)]
enum Muxer {
    Mplex(libp2p_mplex::Config),
    Yamux(yamux::Config),
}

/// The muxers on offer, most wanted first.
#[derive(Clone)]
pub(crate) struct Muxers {
    offers: Vec<(&'static str, Muxer)>,
    chosen: Chosen,
}

impl Muxers {
    pub(crate) fn new(names: &[String], chosen: Chosen) -> Result<Self> {
        let mut offers = Vec::new();
        for name in names {
            offers.push(match name.as_str() {
                "mplex" => ("/mplex/6.7.0", Muxer::Mplex(mplex())),
                "yamux" => ("/yamux/1.0.0", Muxer::Yamux(yamux::Config::default())),
                _ => return Err(Unsupported(format!("muxer {name}")).into()),
            });
        }
        Ok(Self { offers, chosen })
    }

    fn choose(self, id: &str) -> Option<Muxer> {
        let (_, muxer) = self
            .offers
            .into_iter()
            .find(|(offered, _)| *offered == id)?;
        self.chosen.set_muxer(match muxer {
            Muxer::Mplex(_) => "mplex",
            Muxer::Yamux(_) => "yamux",
        });
        Some(muxer)
    }
}

impl UpgradeInfo for Muxers {
    type Info = &'static str;
    type InfoIter = Vec<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.offers.iter().map(|(id, _)| *id).collect()
    }
}

impl<C: Io + 'static> InboundConnectionUpgrade<C> for Muxers {
    type Output = StreamMuxerBox;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<StreamMuxerBox>>;

    fn upgrade_inbound(self, socket: C, id: Self::Info) -> Self::Future {
        async move {
            match self.choose(id).ok_or(io::ErrorKind::Unsupported)? {
                Muxer::Mplex(it) => Ok(StreamMuxerBox::new(it.upgrade_inbound(socket, id).await?)),
                Muxer::Yamux(it) => Ok(StreamMuxerBox::new(it.upgrade_inbound(socket, id).await?)),
            }
        }
        .boxed()
    }
}

impl<C: Io + 'static> OutboundConnectionUpgrade<C> for Muxers {
    type Output = StreamMuxerBox;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<StreamMuxerBox>>;

    fn upgrade_outbound(self, socket: C, id: Self::Info) -> Self::Future {
        async move {
            match self.choose(id).ok_or(io::ErrorKind::Unsupported)? {
                Muxer::Mplex(it) => Ok(StreamMuxerBox::new(it.upgrade_outbound(socket, id).await?)),
                Muxer::Yamux(it) => Ok(StreamMuxerBox::new(it.upgrade_outbound(socket, id).await?)),
            }
        }
        .boxed()
    }
}
