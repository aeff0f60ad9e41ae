//! WebSocket as a transport.
