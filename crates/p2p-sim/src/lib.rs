//! Whole networks in one thread, in virtual time, repeatable from a seed.
//!
//! ```text
//!   your protocol, unchanged
//!        | p2p_core::{Runtime, Net, Timer, TcpStream, TcpListener, UdpSocket}
//!   Host "alice"     Host "bob"   ...         tasks, clock, randomness, addresses of each
//!        |  socket        |
//!   network card ---- link ---- NAT ---- network card      latency, rate, loss, cuts
//!        |________________|
//!   Sim: one queue of events, one seed, one log and its hash
//! ```
//!
//! [`Sim`] decides what happens when, and draws every choice from its seed: which ready task runs
//! next, how long a packet takes, which one is lost. Time stands still while anything runs and
//! jumps to the next event when nothing does: ten minutes of a quiet network take milliseconds.
//!
//! # A network in ten lines
//!
//! A host is a [`Runtime`](p2p_core::Runtime): give [`Host::rt`] to code that takes one.
//!
//! ```
//! use futures::{AsyncReadExt, AsyncWriteExt};
//! use p2p_core::TcpOptions;
//! use p2p_sim::Sim;
//!
//! let sim = Sim::new(1);
//! let hosts = sim.hosts(1000);
//! for host in hosts.clone() {
//!     let mut listener = host.rt().net().tcp_listen(host.socket(7), &TcpOptions::default())?;
//!     host.spawn("greet", async move {
//!         while let Ok((mut stream, _)) = listener.accept().await {
//!             stream.write_all(b"hello").await.unwrap();
//!         }
//!     });
//! }
//! sim.block_on(async {
//!     for (one, next) in hosts.iter().zip(&hosts[1..]) {
//!         let rt = one.rt();
//!         let mut stream = rt.net().tcp_connect(next.socket(7), &TcpOptions::default()).await?;
//!         stream.read_exact(&mut [0; 5]).await?;
//!     }
//!     std::io::Result::Ok(())
//! })?;
//! // 999 times: 20 ms to connect and 20 ms until the greeting is here.
//! assert_eq!(sim.now().elapsed_since_start().as_millis(), 999 * 40);
//! # std::io::Result::Ok(())
//! ```
//!
//! # Make it hard
//!
//! [`Link`] sets latency, jitter, rate, loss, reordering and duplication, for one pair of hosts
//! ([`Sim::link`]) or all others ([`Sim::default_link`]), at any time. [`Sim::partition`] cuts
//! hosts off, [`Host::crash`] pulls the plug, [`Sim::nat`] puts hosts behind a NAT,
//! [`Host::set_addrs`] takes addresses away and gives new ones, [`Host::bandwidth`] limits a network
//! card, [`Host::clock_ahead`] sets a clock wrong.
//!
//! # Assert, and see a failure again
//!
//! - [`for_each_seed`] runs a test with seeds that differ from run to run. A failure prints the
//!   seed and the last events; `P2P_SIM_SEED=<seed>` shows the very same ones again, and
//!   [`Sim::trace`] prints all of them. `P2P_SIM_SEEDS=<n>` tries more.
//! - [`Sim::census`] counts tasks, sockets and timers of each host: nothing may be left.
//! - [`Sim::flights`] counts round trips by what depended on what, not by time.
//! - [`Sim::hash`] is equal exactly if the same is in the log: see [`EventHash`].
//! - A test that can never end does not hang: [`Stuck`] says who waits.
//!
//! ```
//! # use std::time::Duration;
//! # use p2p_sim::{Link, for_each_seed};
//! for_each_seed(10, |sim| {
//!     sim.default_link(Link::new(Duration::from_millis(30)).jitter(Duration::from_millis(50)));
//!     let [client, server] = [sim.host("client"), sim.host("server")];
//!     let socket = server.rt().net().udp_bind(server.socket(9)).unwrap();
//!     assert_eq!(sim.census().host("server").unwrap().udp_sockets, 1);
//!     drop(socket);
//!     sim.run_until_idle();
//!     assert!(sim.census().is_empty(), "{}", sim.census());
//!     # let _ = client;
//! });
//! ```
//!
//! # For your own protocol
//!
//! 1. Take time, tasks, randomness and sockets from a [`Runtime`](p2p_core::Runtime) only. A
//!    thread, a real clock, a global random number or the order of a hash map make runs differ,
//!    and a wake from another thread is not waited for.
//! 2. Write one scenario as a function of `&Sim` that asserts what must hold at its end.
//! 3. Run it under [`for_each_seed`], then add faults to it until something breaks.
//!
//! # What it does not show
//!
//! Work takes no time: a host is infinitely fast. TCP has no slow start, no congestion control
//! and no timeout of closed connections: a rate limit delays, and loss only adds the time to send
//! again. Randomness that a library draws for itself is not repeatable; the event hash covers
//! lengths, not contents, unless [`Config::hash_contents`] is set.
//!
//! [`Rt::fill_random`](p2p_core::Runtime::fill_random) of a host comes from the seed: never use a
//! key that was made in a simulation.

mod census;
mod config;
mod error;
mod executor;
mod host;
mod net;
mod rng;
mod runtime;
mod seeds;
mod sim;
mod slab;
mod timers;
mod trace;
mod world;

pub use census::{Census, HostCensus};
pub use config::{Config, Tcp};
pub use error::{Report, SetupError, Stuck};
pub use host::Host;
pub use net::link::Link;
pub use net::nat::{Nat, NatConfig, NatRule};
pub use net::tap::Flights;
pub use seeds::{for_each_seed, seeds};
pub use sim::{Partition, Sim, Stats};
pub use trace::EventHash;
