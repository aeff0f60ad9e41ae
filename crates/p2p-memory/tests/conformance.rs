//! Memory does what every transport must do.

use p2p_core::conformance::transport::{Party, Subject};
use p2p_memory::{Config, Hub, Memory};

fn subject() -> Subject {
    let hub = Hub::new();
    Subject::new(p2p_runtime::default_runtime(), "/memory/0", move |_| {
        Party::raw(Memory::new(hub.clone(), Config::default()))
    })
}

p2p_core::transport_conformance!(subject(), p2p_runtime::block_on);
