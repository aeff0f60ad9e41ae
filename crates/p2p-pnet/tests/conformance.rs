//! A private network does what every transport must do.

use p2p_core::conformance::transport::{Party, Subject};
use p2p_memory::{Config, Hub, Memory};
use p2p_pnet::{PreSharedKey, Private};

fn subject() -> Subject {
    let hub = Hub::new();
    Subject::new(p2p_runtime::default_runtime(), "/memory/0", move |rt| {
        let memory = Memory::new(hub.clone(), Config::default());
        Party::raw(Private::new(memory, PreSharedKey::new([7; 32]), rt))
    })
}

p2p_core::transport_conformance!(subject(), p2p_runtime::block_on);
