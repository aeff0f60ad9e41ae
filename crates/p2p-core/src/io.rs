//! A reliable, ordered byte stream as a trait object.

use futures::io::{AsyncRead, AsyncWrite};

/// A reliable, ordered, bidirectional byte stream: a socket, a pipe, a secured channel.
///
/// Implemented for everything that fits.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A boxed [`Io`]. Boxing costs about 10 ns a call and keeps type parameters out of every
/// signature above.
pub type BoxIo = Box<dyn Io>;
