//! How sockets are set up.

/// Settings of [`Unix`](crate::Unix).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Connections that the kernel completes before we accept them, for each listener; further
    /// dialers wait. Default: 1024.
    ///
    /// The kernel may have a lower limit of its own (on Linux `net.core.somaxconn`).
    pub backlog: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { backlog: 1024 }
    }
}
