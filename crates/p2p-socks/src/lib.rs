//! Dialing through a SOCKS5 proxy.
