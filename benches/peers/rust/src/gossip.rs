//! gossipsub of rust-libp2p as a node of the jobs about publish and subscribe.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::{FutureExt as _, StreamExt as _};
use libp2p::gossipsub::{
    self, IdentTopic, MessageAuthenticity, MessageId, PublishError, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{self, ConnectionId, SwarmEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Swarm};

use crate::node::Result;
use crate::node::args::{Gossip as Args, Validation};
use crate::node::gossip::{Gossip, OnMessage};
use crate::stack;

/// A node; clones are the same.
#[derive(Clone)]
pub(crate) struct Rust {
    commands: mpsc::UnboundedSender<Command>,
}

enum Command {
    Listen(Multiaddr, oneshot::Sender<Multiaddr>),
    Dial(Multiaddr, oneshot::Sender<std::result::Result<(), String>>),
    Publish(Vec<u8>),
}

impl Gossip for Rust {
    async fn join(args: &Args, on_message: OnMessage) -> Result<Self> {
        let keys = Keypair::generate_ed25519();
        let mut config = gossipsub::ConfigBuilder::default();
        let author = match args.validation {
            Validation::Strict => {
                config.validation_mode(ValidationMode::Strict);
                MessageAuthenticity::Signed(keys.clone())
            }
            Validation::Anonymous => {
                config.validation_mode(ValidationMode::Anonymous);
                config.message_id_fn(|message| {
                    MessageId::from(message.data.get(..8).unwrap_or_default().to_vec())
                });
                MessageAuthenticity::Anonymous
            }
        };
        let mut behaviour: gossipsub::Behaviour =
            gossipsub::Behaviour::new(author, config.build()?)?;
        behaviour.subscribe(&topic())?;
        let transport = stack::transport(&args.stack, "lazy", None, &keys)?;
        let config = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(Duration::from_secs(600));
        let swarm = Swarm::new(transport, behaviour, keys.public().to_peer_id(), config);
        let (commands, received) = mpsc::unbounded();
        tokio::spawn(drive(swarm, received, on_message));
        Ok(Self { commands })
    }

    async fn listen(&self, addr: &str) -> Result<String> {
        let (say, heard) = oneshot::channel();
        self.commands.unbounded_send(Command::Listen(addr.parse()?, say))?;
        Ok(heard.await?.to_string())
    }

    async fn connect(&self, addr: &str) -> Result<()> {
        let (say, heard) = oneshot::channel();
        self.commands.unbounded_send(Command::Dial(addr.parse()?, say))?;
        Ok(heard.await??)
    }

    async fn publish(&self, data: Vec<u8>) -> Result<()> {
        Ok(self.commands.unbounded_send(Command::Publish(data))?)
    }

    async fn sleep(seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    fn run<T: Send + 'static>(
        _: &Args,
        threads: usize,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        crate::on_tokio(threads, work)
    }
}

fn topic() -> IdentTopic {
    IdentTopic::new("bench")
}

/// All commands that are there first, as a program would that calls `publish` itself; then the
/// swarm.
async fn drive(
    mut swarm: Swarm<gossipsub::Behaviour>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    on_message: OnMessage,
) {
    let topic = topic();
    let mut listening = None;
    let mut dials: HashMap<ConnectionId, oneshot::Sender<_>> = HashMap::new();
    let mut unsent: VecDeque<Vec<u8>> = VecDeque::new();
    loop {
        while let Some(data) = unsent.pop_front() {
            match swarm.behaviour_mut().publish(topic.clone(), data.clone()) {
                Ok(_) => {}
                Err(PublishError::AllQueuesFull(_)) => {
                    unsent.push_front(data);
                    break;
                }
                Err(error) => eprintln!("{error}"),
            }
        }
        futures::select_biased! {
            command = commands.next() => {
                let mut next = command;
                loop {
                    match next {
                        None => return,
                        Some(Command::Listen(addr, say)) => {
                            listening = Some(say);
                            swarm.listen_on(addr).expect("the transport takes the address");
                        }
                        Some(Command::Dial(addr, say)) => {
                            let opts = DialOpts::unknown_peer_id().address(addr).build();
                            dials.insert(opts.connection_id(), say);
                            if let Err(error) = swarm.dial(opts) {
                                eprintln!("{error}");
                            }
                        }
                        Some(Command::Publish(data)) => unsent.push_back(data),
                    }
                    match commands.next().now_or_never() {
                        Some(more) => next = more,
                        None => break,
                    }
                }
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(gossipsub::Event::Message { .. }) => on_message(),
                SwarmEvent::NewListenAddr { address, .. } => {
                    let address = address.with(Protocol::P2p(*swarm.local_peer_id()));
                    if let Some(say) = listening.take() {
                        let _gone = say.send(address);
                    }
                }
                SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                    if let Some(say) = dials.remove(&connection_id) {
                        let _gone = say.send(Ok(()));
                    }
                }
                SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                    if let Some(say) = dials.remove(&connection_id) {
                        let _gone = say.send(Err(error.to_string()));
                    }
                }
                _ => {}
            },
        }
    }
}
