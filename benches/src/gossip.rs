//! Our own gossipsub as a node of the jobs about publish and subscribe.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use p2p::pubsub::{GossipConfig, MessageIdFn, Pubsub, Received, SignaturePolicy};
use p2p::{Host, Multiaddr};

use crate::node::Result;
use crate::node::args::{Gossip as Args, Validation};
use crate::node::gossip::{Gossip, OnMessage};
use crate::ours;

/// A node; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Ours {
    host: Host,
    pubsub: Pubsub,
}

const TOPIC: &str = "bench";

impl Gossip for Ours {
    async fn join(args: &Args, on_message: OnMessage) -> Result<Self> {
        let rt = ours::runtime("tokio")?;
        let builder = ours::builder(&rt, &args.stack, None)?;
        let host = builder.identify(None).ping(None).build().await?;
        let pubsub = Pubsub::gossip(&host, config(args))?;
        let mut messages = pubsub.subscribe(TOPIC);
        let read = async move {
            while let Some(received) = messages.next().await {
                match received {
                    Received::Message { .. } => on_message(),
                    Received::Lagged(lost) => eprintln!("lagged: {lost} lost"),
                }
            }
        };
        rt.spawn("bench", Box::pin(read));
        Ok(Self { host, pubsub })
    }

    async fn listen(&self, addr: &str) -> Result<String> {
        Ok(self.host.listen(addr).await?.to_string())
    }

    async fn connect(&self, addr: &str) -> Result<()> {
        let addr: Multiaddr = addr.parse()?;
        drop(self.host.dial(addr).await?);
        Ok(())
    }

    async fn publish(&self, data: Vec<u8>) -> Result<()> {
        self.pubsub.publish(TOPIC, data).await?;
        Ok(())
    }

    async fn sleep(seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    fn run<T: Send + 'static>(
        _: &Args,
        threads: usize,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        ours::run("tokio", threads, work)
    }
}

fn config(args: &Args) -> GossipConfig {
    let mut config = GossipConfig::default();
    if args.validation == Validation::Anonymous {
        config.base.policy = SignaturePolicy::StrictNoSign;
        config.base.message_id = MessageIdFn::Custom(Arc::new(|message, id| {
            let head = message.data.and_then(|data| data.get(..8));
            id.extend_from_slice(head.unwrap_or_default());
        }));
    }
    if args.no_stagger {
        config.stagger = None;
    }
    // Nothing is to be lost because the reader waits for a core.
    config.base.subscriber_backlog = 65_536;
    config
}
