//! What all stream multiplexers share.
//!
//! ```text
//!    applications            one task                   below
//!   ┌────────────┐   lock   ┌─────────┐  take_output   ┌──────┐
//!   │ streams    ├─────────►│ Machine ├───────────────►│      │
//!   │ open       │  copy    │ (pure)  │     driver     │ link │
//!   │ accept     │◄─────────┤         │◄───────────────┤      │
//!   └────────────┘   wake   └─────────┘  handle_input  └──────┘
//! ```
//!
//! - [`Machine`]: a multiplexing protocol without I/O, clock or tasks.
//! - [`start`]: runs any machine over any link and gives out [`p2p_core::Muxing`].
//! - [`Table`], [`Outbox`], [`RecvQueue`], [`Spares`], [`Account`], [`Meter`]: what a machine is built from.
//! - `conformance` (feature): what every multiplexer must do, as a suite.
//!
//! The data path in one paragraph: a write copies into one staging buffer, which the driver swaps
//! out and writes to the link; what the driver reads is handed to the machine, which queues large
//! payloads as slices of the read buffer and copies small ones; a read copies out of the queue.
//! Nobody waits in a channel, the lock is held for a copy, only those are woken whom a frame
//! concerns, small frames of many streams gather until the driver runs, and all of it is paid for
//! from a [`Budget`](p2p_core::Budget).

mod account;
mod alarm;
#[cfg(feature = "conformance")]
pub mod conformance;
mod copy;
mod driver;
mod ending;
mod entry;
#[cfg(test)]
mod golden;
mod inbox;
mod input;
mod machine;
mod meter;
mod outbox;
mod outgoing;
mod queue;
mod session;
mod spares;
mod stream;
mod table;
mod turns;

pub use account::Account;
pub use entry::{Limits, Received, Send, Stream};
pub use input::Input;
pub use machine::{Key, Machine, Pending, SessionConfig, StreamError, Wake};
pub use meter::Meter;
pub use outbox::Outbox;
pub use queue::RecvQueue;
pub use session::start;
pub use spares::Spares;
pub use table::Table;
