//! Name resolution.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::world::State;

impl State {
    /// The addresses of `name`, ASCII case aside.
    pub(crate) fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if name == "localhost" {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        match self.net.names.get(&name) {
            Some(addrs) => Ok(addrs.clone()),
            None => {
                let message = format!("no such host is known: {name}");
                Err(io::Error::new(io::ErrorKind::NotFound, message))
            }
        }
    }

    pub(crate) fn name_set(&mut self, name: &str, addrs: Vec<IpAddr>) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if addrs.is_empty() {
            self.net.names.remove(&name);
        } else {
            self.net.names.insert(name, addrs);
        }
    }
}
