//! Name resolution.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::trace::{Name, What};
use crate::world::{HostId, State};

impl State {
    /// What a host is told when it asks for `name`.
    pub(crate) fn resolve(&mut self, host: HostId, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = self.lookup(name);
        let addrs = found.as_deref().unwrap_or_default();
        let addrs = u32::try_from(addrs.len()).unwrap_or(u32::MAX);
        let short = Name::new(name);
        self.note(host, What::Resolved { name: short, addrs });
        self.log.add_contents(name.as_bytes());
        found
    }

    /// The addresses of `name`, ASCII case aside.
    fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
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
        let count = u32::try_from(addrs.len()).unwrap_or(u32::MAX);
        self.note_world(What::NameSet {
            name: Name::new(&name),
            addrs: count,
        });
        self.log.add_contents(name.as_bytes());
        self.log.add_addrs(&addrs);
        if addrs.is_empty() {
            self.net.names.remove(&name);
        } else {
            self.net.names.insert(name, addrs);
        }
    }
}
