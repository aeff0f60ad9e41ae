//! Typed requests and answers: one stream each, with limits and deadlines.
//!
//! ```text
//!   asker                                     answerer
//!     | proposal, question, end of stream ----> |
//!     | <------------------ answer, end of stream |     or a reset with a code: refused
//! ```
//!
//! A [`Call`] describes a protocol once: its id, the types of question and answer, how they are
//! written, and what it may cost. [`RequestExt`] asks and answers on a
//! [`Swarm`](p2p_swarm::Swarm):
//!
//! ```no_run
//! use p2p_request::{Call, RequestExt, RequestError};
//!
//! const SHOUT: Call<String, String> = Call::new("/shout/1.0.0");
//!
//! # async fn doc(swarm: p2p_swarm::Swarm, peer: p2p_core::PeerId) -> Result<(), Box<dyn std::error::Error>> {
//! swarm.answer(&SHOUT, |question, _peer| async move { Ok(question.to_uppercase()) })?;
//!
//! let answer = swarm.request(peer, &SHOUT, &"hello".to_owned()).await?;
//! # let _ = answer; Ok(()) }
//! ```
//!
//! On a connection that exists an exchange costs one round trip: the question does not wait for
//! the remote's consent to the protocol. A message is a length and that many bytes; [`ask`] and
//! [`answer`] run the exchange over any byte stream.

mod call;
mod error;
mod exchange;
mod message;
mod service;

pub use call::Call;
pub use error::{BadMessage, Refusal, RequestError, ServeError};
pub use exchange::{answer, ask};
pub use message::Message;
pub use service::RequestExt;
