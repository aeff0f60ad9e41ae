//! Names in addresses.
