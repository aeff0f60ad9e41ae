//! TLS 1.3 as a secure channel.
