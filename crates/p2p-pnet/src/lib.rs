//! Private networks.
