//! How sockets are set up.

/// Settings of [`Tcp`](crate::Tcp).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Connections that the kernel completes before we accept them, for each listener.
    /// Default: 1024.
    ///
    /// The kernel drops the first packet of further ones; their dialers try again. It may have a
    /// lower limit of its own (on Linux `net.core.somaxconn`).
    pub backlog: u32,
    /// Dial from the port that we listen on, if one fits. Default: false.
    ///
    /// Remotes and routers then see one address of us for both directions, which hole punching
    /// needs. In return the port can be shared: another program of the same user that asks for
    /// it too can listen on it beside us.
    pub dial_from_listening_port: bool,
    /// Use several network paths at once where both ends and the system can (Multipath TCP, on
    /// Linux); plain TCP otherwise. Default: false.
    ///
    /// A connection then outlives the loss of one network, and costs the kernel more per byte. That
    /// a remote went away without closing may show only by the deadlines of whoever uses the
    /// connection: Linux was seen not to pass it on.
    pub multipath: bool,
    /// Send small segments at once (`TCP_NODELAY`). Default: true.
    ///
    /// Off, the kernel holds small writes back for up to a round trip to join them; the stack
    /// above joins its writes itself.
    pub nodelay: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backlog: 1024,
            dial_from_listening_port: false,
            multipath: false,
            nodelay: true,
        }
    }
}
